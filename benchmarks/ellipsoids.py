"""Synthetic brains of the size of a head's, for the other scripts."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from harmobench.imaging.volume import BoolArray, FloatArray

FIELD_MM = (182, 218, 182)  # of the MNI grid
SEMI_AXES_MM = (68, 86, 66)  # of the brain


def brain_mask(resolution: float) -> BoolArray:
    """Ellipsoid of the size of a brain on the MNI grid, with voxels of `resolution` mm."""
    shape = tuple(round(mm / resolution) for mm in FIELD_MM)
    where = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing="ij", sparse=True)
    x, y, z = (w * f / a for w, f, a in zip(where, FIELD_MM, SEMI_AXES_MM, strict=True))
    return np.asarray(x**2 + y**2 + z**2 <= 1)


def subject(scanners: int, resolution: float, seed: int) -> tuple[list[FloatArray], BoolArray]:
    """Smooth anatomy, 0 to 1, with noise of its own on each scanner, and the brain."""
    rng = np.random.default_rng(seed)
    brain = brain_mask(resolution)
    shape = brain.shape
    anatomy = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 2 / resolution)
    anatomy = np.clip(0.5 + 0.15 * anatomy / anatomy[brain].std(), 0, 1)
    scans = []
    for k in range(scanners):
        noise = rng.normal(scale=0.03, size=shape).astype(np.float32)
        scans.append(((anatomy ** (1 + 0.1 * k) + noise) * brain).astype(np.float32))
    return scans, brain
