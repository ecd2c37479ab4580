"""Slope of one measure on another over subjects: shrinking to the mean shows as a slope under 1."""

from __future__ import annotations

import numpy as np

from harmobench.metrics.statistics.intervals import (
    COVERAGE,
    ROUNDING,
    Array,
    Estimate,
    estimate,
    jackknife_interval,
    named,
    too_few,
    undefined,
)


def slope(x: Array, y: Array, level: float = COVERAGE) -> Estimate:
    """Least-squares slope of y on x, with its jackknife-t interval.

    The jackknife needs no equal spread around the line. x is taken as it is: true volumes have no
    error, and the subject means of RAW are what a method was given.

    Parameters
    ----------
    x, y
        One number a subject each.
    level
        Coverage.

    Examples
    --------
    >>> slope(np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.5, 6.0])).value
    0.5
    """
    n = x.size
    if n < 2:
        return too_few(2, n)
    u, v = x - x.mean(), y - y.mean()
    if np.abs(u).max() <= ROUNDING * np.abs(x).max():
        return undefined("the measure to compare with is equal in all subjects", n)
    # leaving out (u, v) of n changes a sum of products about the means by u v n / (n - 1)
    xx, xy = u @ u - u**2 * n / (n - 1), u @ v - u * v * n / (n - 1)
    left_out = np.divide(xy, xx, out=np.full(n, np.nan), where=xx > ROUNDING * (u @ u))
    value = float(u @ v) / float(u @ u)
    return estimate(value, n, jackknife_interval(value, left_out, level=level), named(""))
