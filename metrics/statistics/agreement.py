"""Agreement of scanners: ICC(A,1), within-subject CoV, RMSD, Bland-Altman.

A table has one row a subject and one column a scanner, NaN where there is no scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harmobench.metrics.statistics.intervals import (
    COVERAGE,
    ROUNDING,
    Array,
    Estimate,
    Interval,
    estimate,
    f_quantile,
    jackknifed,
    t_interval,
    too_few,
    undefined,
)

AGREEMENT = 1.96  # SDs from the bias to a limit of agreement (Bland & Altman 1986)


@dataclass(frozen=True)
class Squares:
    """Mean squares of a complete two-way table: of subjects, scanners and the residual."""

    n: int
    k: int
    subjects: float
    scanners: float
    residual: float


def complete(table: Array) -> Array:
    """Return the subjects that were seen on every scanner."""
    return table[~np.isnan(table).any(axis=1)]


def mean_squares(table: Array) -> Squares:
    """Mean squares of a complete table of at least 2 x 2; what rounding left is 0."""
    n, k = table.shape
    x = table - table.mean()
    rows, columns = x.mean(axis=1), x.mean(axis=0)
    rest = x - rows[:, None] - columns
    squares = (
        k * float(rows @ rows) / (n - 1),
        n * float(columns @ columns) / (k - 1),
        float((rest**2).sum()) / ((n - 1) * (k - 1)),
    )
    nothing = (ROUNDING * float(np.abs(table).max())) ** 2
    return Squares(n, k, *(s if s > nothing else 0.0 for s in squares))


def icc_agreement(table: Array, level: float = COVERAGE) -> Estimate:
    """Intraclass correlation of single scans for absolute agreement, with its F interval.

    Subjects with a missing scan are left out. The interval takes scanners for a sample of many, so
    with few scanners it is wide; the share of the subject's component (`components`) is the same
    number with an interval for these very scanners.

    Source: McGraw & Wong 1996, Tables 4 and 7, ICC(A,1); the interval's degrees of freedom are
    Satterthwaite's.

    Parameters
    ----------
    table
        Subjects x scanners.
    level
        Coverage.

    Examples
    --------
    >>> found = icc_agreement(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]))
    >>> round(found.value, 4), found.interval
    (0.9302, 'F')
    """
    table = complete(np.asarray(table, dtype=np.float64))
    n, k = table.shape
    if n < 2 or k < 2:
        return too_few(2, n) if n < 2 else too_few(2, k, "scanners")
    ms = mean_squares(table)
    r, c, e = ms.subjects, ms.scanners, ms.residual
    total = r + (k - 1) * e + k / n * (c - e)
    if total <= 0:
        return undefined("all values are equal", n)
    icc = (r - e) / total
    return estimate(icc, n, _icc_interval(icc, ms, level), "F")


def _icc_interval(icc: float, ms: Squares, level: float) -> Interval | None:
    n, k, r, c, e = ms.n, ms.k, ms.subjects, ms.scanners, ms.residual
    a, b = k * icc * c, (n * (1 + (k - 1) * icc) - k * icc) * e
    spread = a**2 / (k - 1) + b**2 / ((n - 1) * (k - 1))
    if spread <= 0:
        return None
    df = (a + b) ** 2 / spread
    if df <= 1e-6:  # a and b cancel: F has no quantile there
        return None
    p = (1 + level) / 2
    upper, lower = f_quantile(p, n - 1, df), f_quantile(p, df, n - 1)
    rest = k * c + (k * n - k - n) * e
    low = n * (r - upper * e) / (upper * rest + n * r)
    high = n * (lower * r - e) / (rest + n * lower * r)
    return (low, high) if np.isfinite([low, high]).all() else None


def within_subject_cov(table: Array) -> Estimate:
    """Within-subject coefficient of variation: root mean square over subjects of SD / mean.

    SD (n-1) over the subject's scanners, scanner effects included. Interval: jackknife-t on the
    log. Source: Raunig et al. 2015, "Quantitative imaging biomarkers: a review of statistical
    methods for technical performance assessment", the root-mean-square wCV.

    Examples
    --------
    >>> round(within_subject_cov(np.array([[9.0, 11.0], [19.0, 21.0], [9.0, 11.0]])).value, 4)
    0.1225
    """
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    n = table.shape[0]
    if n < 2:
        return too_few(2, n, "subjects on two scanners")
    means = np.nanmean(table, axis=1)
    if (np.abs(means) <= ROUNDING * np.abs(means).max()).any():
        return undefined("a subject's mean is 0", n)
    squares = (np.nanstd(table, axis=1, ddof=1) / means) ** 2
    squares[squares <= ROUNDING**2] = 0.0
    return jackknifed(float(np.sqrt(squares.mean())), np.sqrt(mean_without_each(squares)), "log")


def rmsd(table: Array) -> Estimate:
    """Mean over scanner pairs of the pair's root mean square difference (paper, Figs. 9 and 11).

    Interval: jackknife-t on the log.

    Examples
    --------
    >>> rmsd(np.array([[1.0, 2.0], [5.0, 4.0], [7.0, 8.0]])).value
    1.0
    """
    first, second = np.triu_indices(table.shape[1], 1)
    squares = (table[:, first] - table[:, second]) ** 2
    squares = squares[:, ~np.isnan(squares).all(axis=0)]
    squares = squares[~np.isnan(squares).all(axis=1)]
    if not squares.size:
        return too_few(1, 0, "subjects on two scanners")
    squares[squares <= (ROUNDING * np.nanmax(np.abs(table))) ** 2] = 0.0
    value = float(np.sqrt(np.nanmean(squares, axis=0)).mean())
    return jackknifed(value, np.sqrt(mean_without_each(squares)).mean(axis=1), "log")


def mean_without_each(squares: Array) -> Array:
    """Mean of the other rows for each row, column by column; NaN counts as missing.

    >>> mean_without_each(np.array([1.0, 2.0, 6.0]))
    array([4. , 3.5, 1.5])
    """
    there = ~np.isnan(squares)
    filled = np.where(there, squares, 0.0)
    count = there.sum(axis=0) - there
    total = np.maximum(filled.sum(axis=0) - filled, 0.0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def bland_altman(
    differences: Array, level: float = COVERAGE
) -> tuple[Estimate, Estimate, Estimate]:
    """Return the bias and the lower and upper limit of agreement, mean -+ 1.96 SD (n-1).

    The bias has a t interval. A limit's is exact for normal differences: (limit - mean) sqrt(n)/SD
    has a noncentral t distribution. Source: Bland & Altman 1986; interval: Carkeet 2015, "Exact
    parametric confidence intervals for Bland-Altman limits of agreement".

    Parameters
    ----------
    differences
        First minus second scanner, one a subject.
    level
        Coverage.

    Examples
    --------
    >>> bias, low, high = bland_altman(np.array([-1.0, 0.0, 1.0]))
    >>> bias.value, low.value, high.value
    (0.0, -1.96, 1.96)
    """
    n = differences.size
    bias = t_interval(differences, level)
    if bias.value is None or n < 2:
        return bias, too_few(2, n), too_few(2, n)
    sd = float(differences.std(ddof=1))
    near, far = (q * sd / n**0.5 for q in _limit_quantiles(n, level))
    upper, mean = AGREEMENT * sd, bias.value
    low = estimate(mean - upper, n, (mean - far, mean - near), "noncentral t")
    high = estimate(mean + upper, n, (mean + near, mean + far), "noncentral t")
    return bias, low, high


@lru_cache(maxsize=1024)
def _limit_quantiles(n: int, level: float) -> tuple[float, float]:
    from scipy.stats import nct

    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    low, high = nct.ppf(tails, n - 1, AGREEMENT * n**0.5)
    return float(low), float(high)
