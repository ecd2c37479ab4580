"""Where an image is compared with others: masks that images share, and their inside."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harmobench.imaging.volume import BoolArray


def intersect(masks: Iterable[BoolArray], prob: float) -> BoolArray:
    """Voxels that are in at least floor(prob x n), and at least one, of n masks."""
    n, count = 0, np.zeros((), dtype=np.int32)
    for mask in masks:
        n, count = n + 1, count + mask
    return np.asarray(count >= needed(prob, n))


def needed(prob: float, n: int) -> int:
    """Of how many of n masks a voxel has to be: floor(prob x n), and at least one."""
    return max(int(prob * n + 1e-9), 1)


def erode(mask: BoolArray, steps: int, min_voxels: int) -> tuple[BoolArray, int]:
    """Erode by up to `steps` voxels (six neighbours), as long as `min_voxels` remain.

    Returns
    -------
    tuple
        The mask and the steps that were made.
    """
    from scipy import ndimage

    for step in range(steps):
        smaller = np.asarray(ndimage.binary_erosion(mask))
        if np.count_nonzero(smaller) < min_voxels:
            return mask, step
        mask = smaller
    return mask, steps
