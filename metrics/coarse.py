"""Images averaged over blocks of the brain, and standardized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.metrics.guards import Indices, flat, flat_where

FLAT = 1e-7  # of the largest value: less than float32 resolves is no variation

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """A brain cut into blocks.

    Attributes
    ----------
    where
        Flat indices (n,) of the voxels in blocks.
    labels, counts
        Block of each of these voxels, and voxels of each block.
    """

    where: Indices
    labels: Indices
    counts: Indices

    @classmethod
    def of(cls, brain: BoolArray, grid: Grid, edge: float, filled: float) -> Blocks:
        """Cut into cubes of `edge` mm; voxels go by their centres.

        Kept are blocks that lie in the brain with at least `filled` (0 to 1) of their voxels.
        """
        cells = [
            ((np.arange(n) + 0.5) * mm / edge).astype(np.intp)
            for n, mm in zip(grid.shape, grid.voxel_sizes, strict=True)
        ]
        a, b, c = (np.bincount(cell) for cell in cells)  # voxels of a block along each axis
        full = flat(a[:, None, None] * b[:, None] * c)
        x, y, z = cells
        where = flat_where(brain)
        labels = flat(x[:, None, None] + a.size * (y[:, None] + b.size * z))[where]
        counts = np.bincount(labels, minlength=full.size)
        keep = counts >= np.maximum(filled * full, 1)
        inside = keep[labels]
        renumbered = np.cumsum(keep) - 1
        return cls(where[inside], renumbered[labels[inside]], counts[keep])

    def means(self, voxels: FloatArray) -> Vector:
        """Mean of each block."""
        sums = np.bincount(self.labels, flat(voxels)[self.where], minlength=self.counts.size)
        means: Vector = sums / self.counts
        return means


def standardized(values: Vector) -> Vector:
    """Z-score and scale to length 1: the inner product of two is Pearson's r; 0 where constant.

    >>> standardized(np.array([1.0, 2.0, 3.0])).round(3)
    array([-0.707,  0.   ,  0.707])
    """
    if not values.size:
        return values
    centred = values - values.mean()
    length = float(np.linalg.norm(centred))
    if length <= FLAT * float(np.abs(values).max()) * np.sqrt(values.size):
        return np.zeros_like(values)
    scaled: Vector = centred / length
    return scaled
