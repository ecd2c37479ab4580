"""The one form in which every segmenter gets every method's image."""

from __future__ import annotations

import numpy as np

from harmobench.errors import MeasurementError
from harmobench.imaging.volume import BoolArray, FloatArray

LOW, HIGH = 10.0, 110.0  # where the robust range goes: positive, clear of the background's zero
TAILS = (0.5, 99.5)


def canonical(voxels: FloatArray, brain: BoolArray) -> FloatArray:
    """Robust affine map of the brain to positive values, background exactly 0.

    White Stripe's zero is white matter, while FAST and SPM take zero for background; so every
    image goes through this before any segmenter. The 0.5 and 99.5 percentiles of the brain go to
    10 and 110, what lies below 1 is set to 1 and what lies above 210 to 210. Any positive affine
    map of the input gives the same result.

    Raises
    ------
    MeasurementError
        The brain is empty or constant.
    """
    inside = voxels[brain].astype(np.float64)
    if inside.size == 0:
        raise MeasurementError("expected brain voxels to segment, found an empty mask")
    low, high = np.percentile(inside, TAILS)
    if not high > low:
        low, high = float(inside.min()), float(inside.max())
    if not high > low:
        raise MeasurementError("expected an image to segment, found a constant one")
    out = np.zeros(voxels.shape, dtype=np.float32)
    mapped = LOW + (inside - low) * ((HIGH - LOW) / (high - low))
    out[brain] = np.clip(mapped, 1.0, 210.0)
    return out
