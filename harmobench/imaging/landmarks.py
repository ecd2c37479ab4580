"""Where grey and white matter lie in an image's intensities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harmobench.imaging.volume import BoolArray, FloatArray


class TissueScale(NamedTuple):
    """An image's own units: its grey matter's median is 0 there, its white matter's 1.

    No rising affine map of the intensities changes what an image is in these units.

    Attributes
    ----------
    grey, white
        The two medians, in the image's units.
    """

    grey: float
    white: float

    @property
    def distance(self) -> float:
        """White matter's median less grey matter's: not above 0 where T1 contrast is lost."""
        return self.white - self.grey

    def apply(self, voxels: FloatArray) -> FloatArray:
        """Bring intensities to these units; `distance` is not 0.

        >>> TissueScale(grey=80.0, white=100.0).apply(np.float32([70, 80, 100]))
        array([-0.5,  0. ,  1. ], dtype=float32)
        """
        return (voxels - np.float32(self.grey)) / np.float32(self.distance)


def eroded(mask: BoolArray, by: int, least: int = 0) -> BoolArray:
    """Take away the outermost voxels of a mask `by` times, by face neighbours.

    Parameters
    ----------
    mask
        Of any dimension; what lies beyond the image counts as outside.
    by
        Voxels.
    least
        Stop before fewer than so many voxels would remain, so that a coarse grid keeps some.

    Examples
    --------
    >>> eroded(np.array([0, 1, 1, 1, 1, 1, 0], dtype=bool), 2).astype(int)
    array([0, 0, 0, 1, 0, 0, 0])
    """
    for _ in range(by):
        smaller = _eroded_once(mask)
        if np.count_nonzero(smaller) < least:
            break
        mask = smaller
    return mask


def _eroded_once(mask: BoolArray) -> BoolArray:
    out = mask.copy(order="K")
    for axis in range(mask.ndim):
        to, own = np.moveaxis(out, axis, 0), np.moveaxis(mask, axis, 0)
        to[1:] &= own[:-1]
        to[:-1] &= own[1:]
        to[[0, -1]] = False
    return out


def tissue_medians(voxels: FloatArray, gm: BoolArray, wm: BoolArray) -> tuple[float, float]:
    """Median intensity of grey and of white matter, in the image's own units."""
    return float(np.median(voxels[gm])), float(np.median(voxels[wm]))


def contrast_to_noise(voxels: FloatArray, gm: BoolArray, wm: BoolArray) -> float:
    """Contrast-to-noise of grey and white matter: |difference of means| over the pooled SD.

    It has no unit and does not change under any affine map of the intensities.

    Returns
    -------
    float
        0 where both tissues are constant and equal, inf where constant and different.
    """
    grey = voxels[gm].astype(np.float64)
    white = voxels[wm].astype(np.float64)
    noise = float(np.sqrt((grey.var() + white.var()) / 2))
    contrast = abs(float(white.mean() - grey.mean()))
    if noise == 0.0:
        return 0.0 if contrast == 0.0 else float("inf")
    return contrast / noise
