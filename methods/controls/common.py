"""What all controls share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Scan

IMAGE_ONLY = ("image",)  # what the quick preset reads of a control


def within(voxels: NDArray[Any], brain: BoolArray) -> FloatArray:
    """Return voxels (x, y, z) as float32, 0 outside the brain."""
    return np.where(brain, voxels, 0).astype(np.float32)


def contrast(scan: Scan, brain: BoolArray) -> FloatArray:
    """Intensities of the scan's brain voxels (n,).

    Raises
    ------
    MethodError
        None, one value only, or NaN or inf among them.
    """
    values: FloatArray = scan.voxels()[brain]
    if not np.isfinite(values).all():
        raise MethodError(f"expected finite intensities, found NaN or inf in {scan}")
    if not values.size or values.min() == values.max():
        found = f"the one value {values[0]:g}" if values.size else "no voxel"
        raise MethodError(f"expected a brain with contrast in {scan}, found {found} in its mask")
    return values
