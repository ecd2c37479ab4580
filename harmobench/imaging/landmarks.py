"""Where grey and white matter lie in an image's intensities."""

from __future__ import annotations

import numpy as np

from harmobench.imaging.volume import BoolArray, FloatArray


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
