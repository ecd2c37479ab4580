"""Effect sizes of two clinical groups, averaged over scanners, with jackknife-t intervals.

A method that removes biology with the scanner lowers d; one that invents it raises it: so d is
judged against RAW's (`change`), or against the true volumes' on a phantom. Subjects were sampled in
groups, so the jackknife is stratified by group, with n - 2 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.metrics.statistics.effect_size import cohen_d, hedges_g
from harmobench.metrics.statistics.intervals import (
    COVERAGE,
    Array,
    Estimate,
    estimate,
    jackknife_interval,
    named,
    undefined,
)

Groups = NDArray[np.bool_]


@dataclass(frozen=True)
class Effects:
    """Cohen's d and Hedges' g: means over scanners, from all subjects and without each."""

    d: float
    g: float
    d_left_out: Array
    g_left_out: Array


def effects(table: Array, first: Groups) -> Effects | str:
    """Effect sizes of a table, or why there are none.

    A scanner counts where it has scans of at least 2 subjects of each group.

    Parameters
    ----------
    table
        Subjects x scanners, NaN where there is no scan.
    first
        Whether a subject is of the first group; else it is of the second.
    """
    seen = ~np.isnan(table)
    counts = np.stack([seen[first].sum(axis=0), seen[~first].sum(axis=0)])
    used = counts.min(axis=0) > 1
    if not used.any():
        return f"groups of {int(first.sum())} and {int((~first).sum())} are too small"
    table, seen, counts = table[:, used], seen[:, used], counts[:, used]
    found = []
    for column, there, (n1, n2) in zip(table.T, seen.T, counts.T, strict=True):
        d = cohen_d(column[there & first], column[there & ~first])
        if d is None:
            return "neither group varies on a scanner"
        found.append((d, hedges_g(d, int(n1), int(n2))))
    d_without, g_without = _without_each(table, first)
    d, g = np.mean(found, axis=0)
    return Effects(float(d), float(g), d_without.mean(axis=1), g_without.mean(axis=1))


def _without_each(table: Array, first: Groups) -> tuple[Array, Array]:
    """Cohen's d and Hedges' g without each subject, subjects x scanners; NaN where undefined."""
    means, squares, sizes = [], [], []
    for own in (first, ~first):
        x = np.where(own[:, None], table, np.nan)
        there = ~np.isnan(x)
        size = there.sum(axis=0)
        mean = np.nansum(x, axis=0) / size
        u = np.where(there, x - mean, 0.0)
        left = size - there
        # leaving out u of n moves the mean by -u / (n - 1), the sum of squares by -u^2 n / (n - 1)
        share = u / np.maximum(size - 1, 1)
        means.append(mean - share)
        squares.append(np.maximum((u**2).sum(axis=0) - u * share * size, 0.0))
        sizes.append(np.where(left > 1, left, np.nan))
    n = sizes[0] + sizes[1]
    pooled = np.sqrt((squares[0] + squares[1]) / (n - 2))
    gap = means[0] - means[1]
    tiny = pooled <= 1e-12 * np.nanmax(np.abs(table))
    d = gap / np.where(tiny, np.nan, pooled)
    return d, d * (1.0 - 3.0 / (4.0 * n - 9.0))


def standardized(table: Array, first: Groups, level: float = COVERAGE) -> tuple[Estimate, Estimate]:
    """Cohen's d and Hedges' g, mean over scanners.

    Examples
    --------
    >>> table = np.array([[3.0], [4.0], [5.0], [2.0], [3.0], [4.0]])
    >>> d, g = standardized(table, np.array([1, 1, 1, 0, 0, 0], dtype=bool))
    >>> round(d.value, 6), round(g.value, 6), d.interval
    (1.0, 0.8, 'jackknife-t, stratified')
    """
    found = effects(table, first)
    if isinstance(found, str):
        return undefined(found, first.size), undefined(found, first.size)
    return (
        _jackknifed(found.d, found.d_left_out, first, level),
        _jackknifed(found.g, found.g_left_out, first, level),
    )


def change(table: Array, baseline: Array, first: Groups, level: float = COVERAGE) -> Estimate:
    """Cohen's d of a table minus that of another, of the same subjects and scanners."""
    own, other = effects(table, first), effects(baseline, first)
    if isinstance(own, str) or isinstance(other, str):
        return undefined(own if isinstance(own, str) else str(other), first.size)
    return _jackknifed(own.d - other.d, own.d_left_out - other.d_left_out, first, level)


def _jackknifed(value: float, left_out: Array, first: Groups, level: float) -> Estimate:
    interval = jackknife_interval(value, left_out, level=level, strata=first.astype(np.int64))
    return estimate(value, first.size, interval, named("", stratified=True))
