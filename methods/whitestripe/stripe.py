"""White Stripe's arithmetic: from a brain's sorted intensities to its white stripe.

Shinohara et al., NeuroImage: Clinical 2014, section 2.3; the numbers are those of the R package
WhiteStripe 2.5.0 with `stripped=TRUE`. Once the brain is sorted, the histogram, the quantiles and
the stripe are all slices of one array.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import MethodError
from harmobench.imaging.volume import FloatArray

Array = NDArray[np.float64]

BINS = 2000  # asked for; round bin widths make it 1400 to 3500
RARE = 1 / 5  # of the fullest bin: what is emptier does not count as part of a mode
KNOTS = 250
DEGREE = 4


@dataclass(frozen=True)
class Stripe:
    """What White Stripe found in one image, in the image's own units.

    Attributes
    ----------
    mode
        Intensity of the white-matter peak.
    low, high
        The stripe's bounds, both outside it.
    mean, sd
        Of the voxels in the stripe (sd with n - 1): what the image is normalized by.
    count
        Voxels in the stripe.
    """

    mode: float
    low: float
    high: float
    mean: float
    sd: float
    count: int


def round_breaks(low: float, high: float, bins: int = BINS) -> Array:
    """Histogram breaks that cover [low, high] in steps of 1, 2 or 5 times a power of ten.

    The step is the largest that is not too far above (high - low) / bins, by the rule and with the
    biases of R's `pretty` (Becker, Chambers and Wilks 1988, The New S Language).

    >>> round_breaks(0.3, 9.7, bins=5)
    array([ 0.,  2.,  4.,  6.,  8., 10.])
    """
    wanted = (high - low) / bins
    base = 10.0 ** math.floor(math.log10(wanted))
    step = base
    for factor, bias in ((2, 1.5), (5, 2.75), (10, 1.5)):
        if factor * base - wanted >= bias * (wanted - step):
            break
        step = factor * base
    first, last = math.floor(low / step + 1e-7), math.ceil(high / step - 1e-7)
    return np.linspace(first * step, last * step, last - first + 1)


def histogram(ordered: FloatArray, breaks: Array) -> tuple[Array, Array]:
    """Bin mids and counts of sorted values; bins are closed on the right, the first on both sides.

    Breaks are moved outwards by 1e-7 of a bin, as R's `hist` does, so that a value that is a
    break up to rounding is counted as one.
    """
    fuzz = 1e-7 * float(np.median(np.diff(breaks)))
    edges = breaks + fuzz
    edges[0] = breaks[0] - fuzz
    below = np.searchsorted(ordered, edges, side="right")
    return (breaks[:-1] + breaks[1:]) / 2, np.diff(below).astype(np.float64)


def smooth(x: Array, y: Array) -> tuple[Array, Array]:
    """Penalized quartic spline of y on x, its smoothing parameter by REML: values and slopes at x.

    Fixed 1, x .. x^4; random coefficients of (x - knot)_+^4 at floor(min(250, n / 2)) quantiles of
    x. As a mixed model with one variance ratio it is diagonal in the singular basis of the knots'
    columns, so each REML criterion costs one sum (Ruppert, Wand and Carroll 2003, section 4.9).

    Parameters
    ----------
    x, y
        Rising positions and values, (n,).

    Returns
    -------
    tuple
        The smooth and its derivative, (n,) each.
    """
    span = float(x[-1] - x[0]) or 1.0
    t = (x - x[0]) / span
    powers = np.arange(min(DEGREE, x.size - 1) + 1)
    fixed = t[:, None] ** powers
    q, r = np.linalg.qr(fixed)
    knots = np.quantile(t, np.linspace(0, 1, min(KNOTS, x.size // 2) + 2)[1:-1])
    ramps = np.clip(t[:, None] - knots, 0, None)
    free = ramps**DEGREE
    left, s, right = np.linalg.svd(free - q @ (q.T @ free), full_matrices=False)
    rest = y - q @ (q.T @ y)
    scores = left.T @ rest
    penalty = _reml(s**2, scores**2, float(rest @ rest), x.size - powers.size)
    random = right.T @ (s / (s**2 + penalty) * scores)
    coefficients = np.linalg.solve(r, q.T @ (y - free @ random))
    slope = (powers[1:] * t[:, None] ** powers[:-1]) @ coefficients[1:]
    slope += DEGREE * ramps ** (DEGREE - 1) @ random
    return fixed @ coefficients + free @ random, slope / span


def _reml(energy: Array, squares: Array, total: float, freedom: int) -> float:
    """Penalty that maximizes the restricted likelihood, by zooming in on a grid of its logarithm.

    `energy`: squared singular values; `squares`: squared data in their basis; `total`: sum of
    squares that the fixed part leaves; `freedom`: its degrees of freedom.
    """
    top = float(energy[0]) if energy.size else 0.0
    if top <= 0 or freedom < 1 or total <= 0:
        return 1.0
    outside = max(total - float(squares.sum()), 1e-12 * total)
    low, high, points = math.log(top) - 41.0, math.log(top) + 14.0, 111
    for _ in range(7):
        grid = np.linspace(low, high, points)
        gain = 1 + energy / np.exp(grid)[:, None]
        criterion = freedom * np.log(outside + (squares / gain).sum(axis=1))
        best = int(np.argmin(criterion + np.log(gain).sum(axis=1)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]
    return math.exp((low + high) / 2)


def find_mode(x: Array, y: Array, peak: str = "last") -> float:
    """Bin at which the smoothed histogram peaks.

    A peak is the last bin before the slope turns from positive to not positive. "last" and "first"
    first leave out every bin with less than a fifth of the largest count, valleys too; "largest"
    takes the peak of the highest raw count. Without any peak, the bin where the smooth is highest.

    Parameters
    ----------
    x, y
        Bin mids and counts, (n,).
    peak
        "last", "first" or "largest".
    """
    if peak != "largest":
        common = y >= RARE * y.max()
        x, y = x[common], y[common]
    fit, slope = smooth(x, y)
    turns = np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))
    if turns.size == 0:
        return float(x[np.argmax(fit)])
    largest = int(turns[np.argmax(y[turns])])
    return float(x[{"last": int(turns[-1]), "first": int(turns[0])}.get(peak, largest)])


def white_stripe(
    ordered: FloatArray,
    mean: float,
    peak: str = "last",
    width: float = 0.05,
    cap: float = 0.0,
    where: str = "the image",
) -> Stripe:
    """Find the stripe of quantiles within `width` of the mode's.

    Parameters
    ----------
    ordered
        The brain's positive intensities, sorted.
    mean
        Of the whole image: where no voxel, or only one level, lies in the stripe, it warns and
        takes the voxels above this instead.
    peak
        See `find_mode`.
    width
        Half-width of the stripe, as a share of the brain.
    cap
        Leave voxels above `cap` times the 99.9th percentile out of the histogram and warn: a few
        very bright ones would widen its bins until they hold the whole brain. 0: keep them, as R.
    where
        Names the image in warnings and errors.

    Raises
    ------
    MethodError
        A brain of one intensity, or with none above 0.
    """
    shown = ordered[: _without_outliers(ordered, cap, where)]
    if shown.size < 2 or shown[0] == shown[-1]:
        found = f"the one value {shown[0]:g} in all of it" if shown.size else "no positive voxel"
        raise MethodError(
            f"{where}: expected a brain with contrast, found {found}: White Stripe needs a "
            "skull-stripped image with positive intensities"
        )
    mode = find_mode(*histogram(shown, round_breaks(float(shown[0]), float(shown[-1]))), peak)
    share = float(np.searchsorted(ordered, mode, side="left")) / ordered.size
    low = _quantile(ordered, max(share - width, 0.0))
    high = _quantile(ordered, min(share + width, 1.0))
    first = int(np.searchsorted(ordered, low, side="right"))
    last = int(np.searchsorted(ordered, high, side="left"))
    if last <= first or ordered[first] == ordered[last - 1]:
        warnings.warn(
            f"{where}: the white stripe ({low:g} to {high:g}) holds {max(last - first, 0)} voxels "
            "of at most one intensity: normalizing by all voxels above the image's mean instead",
            stacklevel=2,
        )
        first, last = int(np.searchsorted(ordered, mean, side="right")), ordered.size
    inside = ordered[first:last].astype(np.float64)
    if inside.size < 2 or inside[0] == inside[-1]:
        raise MethodError(
            f"{where}: expected a white stripe with more than one intensity, found none, nor "
            "above the image's mean: give an image with more grey levels, or raise "
            "whitestripe.width"
        )
    return Stripe(mode, low, high, float(inside.mean()), float(inside.std(ddof=1)), inside.size)


def _without_outliers(ordered: FloatArray, cap: float, where: str) -> int:
    """How many of the sorted values the histogram shows."""
    if cap <= 0 or ordered.size == 0:
        return ordered.size
    bound = cap * float(ordered[int(0.999 * (ordered.size - 1))])
    keep = int(np.searchsorted(ordered, bound, side="right"))
    if keep < ordered.size:
        warnings.warn(
            f"{where}: {ordered.size - keep} voxels are brighter than {cap:g} times the 99.9th "
            f"percentile (the brightest {ordered[-1]:g}): left out of White Stripe's histogram",
            stacklevel=3,
        )
    return keep


def _quantile(ordered: FloatArray, p: float) -> float:
    """Type 7 quantile of sorted values, rounded as R rounds it: counted from 1, and weighted."""
    at = 1 + (ordered.size - 1) * p
    low = math.floor(at)
    a, b = float(ordered[low - 1]), float(ordered[min(low, ordered.size - 1)])
    return a if a == b else (1 - (at - low)) * a + (at - low) * b
