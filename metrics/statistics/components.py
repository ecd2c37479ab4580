"""Variance components of a crossed table: scanner, subject, residual; absolute and as shares.

y_ij = m_j + s_i + e_ij, subjects random, scanners FIXED: they are the cohort's scanners and no
sample of many. The scanner's component is the variance (n-1) of the k scanner means, less what the
residual adds to it (MSE / n); the subject's is (MSR - MSE) / k, the residual's MSE, with the mean
squares of the two-way analysis of variance. Incomplete tables by REML (`reml`). Shares are
components over their sum. Values are not truncated: a component that is 0 comes out below 0 half
the time, and only then is it 0 on average. Who displays them may truncate.

Intervals are jackknife-t over subjects. Components are not normal and may be negative, but what
they are made of is positive and nearly log-normal: the variance of the scanner means is the
scanner's component plus an error of MSE / n, MSR / k is the subject's plus MSE / k. Their logs are
jackknifed, and the error taken off both ends. A share's scale is the logit between the smallest and
the largest value that sampling can give it, which depends on n and k alone; but the scanner's is
often near 0, so it is moved by the error too. On an incomplete table the largest number of scans of
a subject stands for k. Source of the estimators: Searle, Casella & McCulloch 1992, chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harmobench.metrics.statistics import reml
from harmobench.metrics.statistics.intervals import (
    COVERAGE,
    ROUNDING,
    Array,
    Estimate,
    Transform,
    estimate,
    jackknife_interval,
    logit,
    named,
    too_few,
    undefined,
)

NAMES = ("scanner", "subject", "residual")


@dataclass(frozen=True)
class Components:
    """Variances (the measure's units squared) and shares (0 to 1 but for sampling), by `NAMES`."""

    variances: dict[str, Estimate]
    shares: dict[str, Estimate]


def components(table: Array, level: float = COVERAGE) -> Components:
    """Split the variance of a table into scanner, subject and residual.

    Parameters
    ----------
    table
        Subjects x scanners, NaN where there is no scan. Subjects with one scan are left out.
    level
        Coverage.

    Examples
    --------
    >>> found = components(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> [round(found.variances[name].value, 3) for name in NAMES]
    [0.5, 4.0, 0.0]
    """
    table = np.asarray(table, dtype=np.float64)
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    table = table[:, (~np.isnan(table)).any(axis=0)]
    n, k = table.shape
    if n < 2 or k < 2:
        return _undefined(too_few(2, n, "subjects on two scanners"))
    seen = ~np.isnan(table)
    if seen.sum(axis=0).min() < 2:
        return _undefined(undefined("a scanner has scans of one subject only", n))
    nothing = (ROUNDING * float(np.abs(table[seen]).max())) ** 2
    return _with_intervals(_parts(table - table[seen].mean(), nothing), n, level)


@dataclass(frozen=True)
class _Parts:
    """Estimates from all subjects, and from all but each (where there are enough).

    `values` are components in the order of `NAMES`, `error` is what the residual adds to the
    variance of the scanner means, `scans` the largest number of scans of a subject.
    """

    values: Array
    error: Array
    scans: int


def _parts(table: Array, nothing: float) -> _Parts:
    seen = ~np.isnan(table)
    scans = int(seen.sum(axis=1).max())
    if seen.all():
        spread, error, subject, residual = _balanced(table)
    else:
        n = len(table)
        # without a subject a scanner may have too few scans left: then there is no interval
        others = 1 - np.eye(n) if seen.sum(axis=0).min() > 2 and n > 2 else np.empty((0, n))
        means, error, subject, residual = reml.fit(table, np.vstack([np.ones(n), others]))
        spread = means.var(axis=1, ddof=1)
    error = np.where(error <= nothing, 0.0, error)
    values = np.stack([spread - error, subject, residual])
    return _Parts(np.where(np.abs(values) <= nothing, 0.0, values), error, scans)


def _balanced(table: Array) -> tuple[Array, Array, Array, Array]:
    """Variance of scanner means, its error, subject and residual; of all, then without each."""
    n, k = table.shape
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + table.mean()
    rows = rows - rows.mean()
    # leaving out x of n changes a sum of squares about the mean by x^2 n / (n - 1)
    own = np.vstack([np.zeros((1, 2)), np.column_stack([rows**2, (rest**2).sum(axis=1)])])
    size = np.append(n, np.full(n, n - 1))
    squares = np.maximum(np.sum(own, axis=0) - own * n / (n - 1), 0.0)
    df = np.where(size > 1, size - 1, np.nan)
    between, residual = k * squares[:, 0] / df, squares[:, 1] / (df * (k - 1))
    means = np.vstack([columns, columns - (table - columns) / (n - 1)])
    return means.var(axis=1, ddof=1), residual / size, (between - residual) / k, residual


def _with_intervals(parts: _Parts, n: int, level: float) -> Components:
    scanner, subject, residual = parts.values
    values = dict(zip(NAMES, parts.values, strict=True))
    # what is jackknifed, and what is then taken off
    error, noise = parts.error[0], residual[0] / parts.scans
    sums = {
        "scanner": (scanner + parts.error, error),
        "subject": (subject + residual / parts.scans, noise),
        "residual": (residual, 0.0),
    }
    variances = {name: _estimate(values[name][0], *sums[name], "log", n, level) for name in NAMES}
    total = parts.values.sum(axis=0)
    if total[0] <= 0:
        return Components(variances, dict.fromkeys(NAMES, undefined("all values are equal", n)))
    total[total <= 0] = np.nan
    free = 1 - 1 / n - 1 / parts.scans
    most = 1 / free if free > 0 else np.inf
    bounds = {
        "scanner": (scanner + parts.error, error / total[0], logit(0.0, 1.0)),
        "subject": (subject, 0.0, logit(-most / parts.scans, 1.0)),
        "residual": (residual, 0.0, logit(0.0, most)),
    }
    shares = {
        name: _estimate(values[name][0] / total[0], made / total, off, scale, n, level)
        for name, (made, off, scale) in bounds.items()
    }
    return Components(variances, shares)


def _estimate(
    value: float, made: Array, off: float, scale: str | Transform, n: int, level: float
) -> Estimate:
    ends = jackknife_interval(float(made[0]), made[1:], scale, level)
    value, off = float(value), float(off)
    interval = None if ends is None else (min(ends[0] - off, value), max(ends[1] - off, value))
    return estimate(value, n, interval, named("log" if scale == "log" else "logit"))


def _undefined(why: Estimate) -> Components:
    return Components(dict.fromkeys(NAMES, why), dict.fromkeys(NAMES, why))
