"""Local means over a moving window, and the similarity index made of them.

Source: Wang et al. 2004, equation 13, with the constants and the sample covariance that
scikit-image uses: a uniform window of 7 voxels an axis, K1 = .01, K2 = .03, data range 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.volume import BoolArray

Floats = NDArray[np.floating[Any]]
Box = tuple[tuple[int, int], ...]

WINDOW = 7
MARGIN = WINDOW // 2
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with data range L = 1
SLAB = 16  # slices at a time: what they need stays in the processor's cache


class Local(NamedTuple):
    """Mean and sample variance of the window around each voxel."""

    mean: Floats
    variance: Floats


def bounding_box(mask: BoolArray) -> Box:
    """First and last-plus-one index of the true voxels along each axis; the mask is not empty."""
    found = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        found.append((int(hits[0]), int(hits[-1]) + 1))
    return tuple(found)


def with_margin(voxels: NDArray[Any], box: Box) -> NDArray[Any]:
    """Crop to a box and half a window around it, mirrored where the image ends."""
    inside = all(
        a >= MARGIN and b + MARGIN <= n for (a, b), n in zip(box, voxels.shape, strict=True)
    )
    if inside:
        return voxels[tuple(slice(a - MARGIN, b + MARGIN) for a, b in box)]
    where = [
        _mirrored(np.arange(a - MARGIN, b + MARGIN), n)
        for (a, b), n in zip(box, voxels.shape, strict=True)
    ]
    cropped: NDArray[Any] = voxels[np.ix_(*where)]
    return cropped


def _mirrored(index: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Bring indices within 0 to n-1, mirrored about the outer edges (b a | a b c | c b)."""
    folded = index % (2 * n)
    return np.minimum(folded, 2 * n - 1 - folded)


def window_mean(values: Floats, axes: Sequence[int]) -> Floats:
    """Mean over the window along `axes`, where it fits: these axes lose 6 voxels.

    >>> window_mean(np.arange(9.0).reshape(1, 9), axes=(1,))
    array([[3., 4., 5.]])
    """
    lost = [WINDOW - 1 if axis in axes else 0 for axis in range(values.ndim)]
    out = np.empty(
        [n - less for n, less in zip(values.shape, lost, strict=True)], dtype=values.dtype
    )
    scale = values.dtype.type(1.0 / WINDOW ** len(axes))
    for start in range(0, out.shape[0], SLAB):
        total = values[start : start + SLAB + lost[0]]
        for axis in axes:
            total = _window_sum(total, axis)
        np.multiply(total, scale, out=out[start : start + SLAB])
    return out


def _window_sum(values: Floats, axis: int) -> Floats:
    """Sum of 7 neighbours in 4 additions: of pairs, of pairs of pairs, and the rest."""

    def part(array: Floats, start: int, length: int) -> Floats:
        index = [slice(None)] * array.ndim
        index[axis] = slice(start, start + length)
        return array[tuple(index)]

    n = values.shape[axis]
    twos = part(values, 0, n - 1) + part(values, 1, n - 1)
    fours = part(twos, 0, n - 3) + part(twos, 2, n - 3)
    total: Floats = part(fours, 0, n - 6) + part(twos, 4, n - 6)
    total += part(values, 6, n - 6)
    return total


def local_moments(values: Floats, axes: Sequence[int]) -> Local:
    """Mean and sample variance of each window along `axes`."""
    mean = window_mean(values, axes)
    return Local(mean, sample_covariance(window_mean(values * values, axes), mean, mean, len(axes)))


def sample_covariance(product: Floats, mean_a: Floats, mean_b: Floats, dimensions: int) -> Floats:
    """Covariance of windows (n-1) from the mean of products and the two means."""
    count = WINDOW**dimensions
    factor = product.dtype.type(count / (count - 1))
    covariance: Floats = factor * (product - mean_a * mean_b)
    return covariance


def similarity(a: Local, b: Local, covariance: Floats) -> Floats:
    """Structural similarity of each voxel, -1 to 1 (Wang et al. 2004, equation 13)."""
    kind = covariance.dtype.type
    c1, c2 = kind(C1), kind(C2)
    product = a.mean * b.mean
    above = (2 * product + c1) * (2 * covariance + c2)
    below = (a.mean * a.mean + b.mean * b.mean + c1) * (a.variance + b.variance + c2)
    index: Floats = above / below
    return index
