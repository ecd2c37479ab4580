"""Intervals: Student's t for means, the jackknife-t for all that is no mean.

The unit is the subject, so the jackknife leaves out a subject at a time. On a scale where the
estimate is nearly normal (its logarithm, say), the interval is estimate -+ t SE with
SE^2 = (n - 1)/n sum (left_out - mean left_out)^2 and n - 1 degrees of freedom. In strata (the
clinical groups) the squares are summed stratum by stratum, and the degrees of freedom are n minus
the number of strata. Sources: Efron & Tibshirani 1993, chapter 11; for strata Wolter 2007,
chapter 4.

Functions take arrays of plain numbers and raise nothing: where there is no estimate or no interval
they say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

COVERAGE = 0.95
ROUNDING = 1e-12  # of the numbers' size: a spread below that is what rounding left of none
Array = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval.

    Attributes
    ----------
    value
        None where it is undefined.
    n
        Subjects behind it.
    low, high
        None where there is no interval.
    interval
        How the interval was made; empty where there is none.
    reason
        Why it is undefined.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Transform:
    """A scale for the jackknife-t: the open range where it is defined, there and back."""

    low: float
    high: float
    there: Callable[[Any], Any]
    back: Callable[[Any], Any]


def logit(low: float, high: float) -> Transform:
    """Logit of the place between two bounds."""
    return Transform(
        low,
        high,
        lambda x: np.log((x - low) / (high - x)),
        lambda z: low + (high - low) / (1 + np.exp(-z)),
    )


TRANSFORMS = {
    "": Transform(-inf, inf, lambda x: x, lambda z: z),
    "log": Transform(0.0, inf, np.log, np.exp),
    "Fisher z": Transform(-1.0, 1.0, np.arctanh, np.tanh),
    "logit": logit(0.0, 1.0),
}


def undefined(reason: str, n: int = 0) -> Estimate:
    """Return an estimate that has no value, and why."""
    return Estimate(None, n, reason=reason)


def too_few(least: int, n: int, what: str = "subjects") -> Estimate:
    """Return an estimate that is undefined since there are too few of something."""
    return undefined(f"expected at least {least} {what}, found {n}", n)


def estimate(value: float, n: int, interval: Interval | None, how: str) -> Estimate:
    """Return an estimate, with its interval where there is one."""
    if interval is None:
        return Estimate(value, n)
    return Estimate(value, n, *interval, how)


def t_interval(values: Array, level: float = COVERAGE) -> Estimate:
    """Mean with Student's t interval.

    Parameters
    ----------
    values
        One number a subject.
    level
        Coverage.

    Examples
    --------
    >>> found = t_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)
    """
    values = np.asarray(values, dtype=np.float64)
    n = values.size
    if n == 0:
        return too_few(1, 0)
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, 1)
    half = t_quantile(n - 1, level) * float(values.std(ddof=1)) / n**0.5
    return estimate(mean, n, (mean - half, mean + half), "t")


def jackknife_interval(
    value: float,
    left_out: Array,
    transform: str | Transform = "",
    level: float = COVERAGE,
    strata: NDArray[np.int64] | None = None,
) -> Interval | None:
    """Jackknife-t interval of an estimate.

    Parameters
    ----------
    value
        The estimate from all subjects.
    left_out
        The estimate without each subject in turn.
    transform
        A name of `TRANSFORMS`, or another scale.
    level
        Coverage.
    strata
        Stratum of each subject, where subjects were sampled in strata.

    Returns
    -------
    (low, high) or None
        None where there are fewer than 3 subjects (2 in a stratum), or where the estimate, or one
        without a subject, is not finite or outside the transform's range.

    Examples
    --------
    >>> low, high = jackknife_interval(2.0, np.array([2.5, 2.0, 1.5]))
    >>> round(low, 3), round(high, 3)  # of a mean it is the t interval
    (-0.484, 4.484)
    """
    scale = TRANSFORMS[transform] if isinstance(transform, str) else transform
    every = np.append(np.asarray(left_out, dtype=np.float64), value)
    if (
        every.size < 4
        or not (np.isfinite(every) & (every > scale.low) & (every < scale.high)).all()
    ):
        return None
    moved = scale.there(every)
    centre, rest = float(moved[-1]), moved[:-1]
    groups = [rest] if strata is None else [rest[strata == s] for s in np.unique(strata)]
    df = rest.size - len(groups)
    if df < 1 or min(group.size for group in groups) < 2:
        return None
    variance = sum((g.size - 1) / g.size * float(((g - g.mean()) ** 2).sum()) for g in groups)
    half = t_quantile(df, level) * float(np.sqrt(variance))
    with np.errstate(over="ignore"):
        low, high = (float(scale.back(centre + side * half)) for side in (-1.0, 1.0))
    # rounding must not put the estimate outside, where there is no spread
    return (min(low, value), max(high, value)) if isfinite(low) and isfinite(high) else None


def named(transform: str, stratified: bool = False) -> str:
    """Name a jackknife-t interval as tables do.

    >>> named("log")
    'jackknife-t, log'
    """
    return ", ".join(filter(None, ("jackknife-t", transform, "stratified" * stratified)))


def jackknifed(
    value: float, left_out: Array, transform: str = "", strata: NDArray[np.int64] | None = None
) -> Estimate:
    """Return an estimate with its 95% jackknife-t interval; see `jackknife_interval`."""
    interval = jackknife_interval(value, left_out, transform, strata=strata)
    return estimate(value, left_out.size, interval, named(transform, strata is not None))


@lru_cache(maxsize=4096)
def t_quantile(df: float, level: float = COVERAGE) -> float:
    """Half-width of a two-sided t interval in standard errors.

    >>> round(t_quantile(17), 4)
    2.1098
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + level) / 2))


def f_quantile(p: float, df1: float, df2: float) -> float:
    """Quantile p of the F distribution; `inf` degrees of freedom give a chi-square over its df."""
    from scipy.special import chdtri, fdtri

    if df2 == inf:
        return float(chdtri(df1, 1 - p)) / df1
    return float(fdtri(df1, df2, p))
