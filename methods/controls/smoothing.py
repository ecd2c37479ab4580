"""Smoothing within a mask, and gradients within it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.landmarks import eroded
from harmobench.imaging.volume import BoolArray, FloatArray

FEWEST = 100  # voxels that a second layer's erosion must leave
FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian with SD 1


def smooth_within(
    voxels: FloatArray, brain: BoolArray, sizes: NDArray[np.float64], fwhm: float
) -> FloatArray:
    """Smooth a brain by a Gaussian over the voxels of the brain alone.

    Each voxel becomes the mean of the brain voxels around it, weighted by the Gaussian, so that
    the edge is not darkened by the background: what a constant brain is, it stays.

    Parameters
    ----------
    voxels, brain
        Image and mask (x, y, z).
    sizes
        Edge lengths of a voxel, mm (3,).
    fwhm
        Full width at half maximum, mm.

    Returns
    -------
    array
        Float32 (x, y, z); 0 outside the brain.

    Examples
    --------
    >>> brain = np.array([[[True, True, True, False]]])
    >>> smooth_within(np.full(brain.shape, 2.0, np.float32), brain, np.ones(3), 4.0)
    array([[[2., 2., 2., 0.]]], dtype=float32)
    """
    from scipy import ndimage

    out = np.zeros(brain.shape, dtype=np.float32)
    for box in ndimage.find_objects(brain.astype(np.uint8)):  # the one label: outside is only 0
        inside, sigma = brain[box], fwhm / FWHM / sizes
        weight = ndimage.gaussian_filter(inside.astype(np.float64), sigma, mode="constant")
        masked = np.where(inside, voxels[box], 0).astype(np.float64)
        smooth = ndimage.gaussian_filter(masked, sigma, mode="constant")
        out[box][inside] = smooth[inside] / weight[inside]
    return out


def interior(brain: BoolArray) -> NDArray[np.intp]:
    """Flat indices of the brain two voxels from its edge, where the sharpness of images is judged.

    In a small brain, one voxel from it: there too all six neighbours are brain.
    """
    return np.flatnonzero(eroded(eroded(brain, 1), 1, FEWEST))


def gradient(
    voxels: FloatArray, inside: NDArray[np.intp], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Central differences at some voxels, per mm (3, n).

    Parameters
    ----------
    voxels
        Image (x, y, z).
    inside
        Flat indices of voxels that have all six neighbours (n,).
    sizes
        Edge lengths of a voxel, mm (3,).

    Examples
    --------
    >>> ramp = np.arange(27.0).reshape(3, 3, 3)
    >>> gradient(ramp, np.array([13]), np.array([1.0, 1.0, 2.0])).ravel().tolist()
    [9.0, 3.0, 0.5]
    """
    flat = voxels.reshape(-1)
    steps = (voxels.shape[1] * voxels.shape[2], voxels.shape[2], 1)
    return np.stack(
        [
            (flat[inside + step].astype(np.float64) - flat[inside - step]) / (2 * size)
            for step, size in zip(steps, sizes, strict=True)
        ]
    )


def noise_amount(
    wanted: NDArray[np.float64], there: NDArray[np.float64], noise: NDArray[np.float64]
) -> float:
    """How much of a noise gives an image the gradient energy of another, exactly.

    Solves |there + a noise|^2 = |wanted|^2 for a; all three are gradients (3, n).

    Returns
    -------
    float
        a, at least 0; 0 where the image has that energy already, or more.

    Examples
    --------
    >>> three, four = np.array([[0.0, 3.0]]), np.array([[4.0, 0.0]])
    >>> noise_amount(np.array([[3.0, 4.0]]), three, four)
    1.0
    """
    lacking = float(np.vdot(wanted, wanted) - np.vdot(there, there))
    energy, cross = float(np.vdot(noise, noise)), float(np.vdot(there, noise))
    if lacking <= 0 or energy <= 0:
        return 0.0
    return (math.sqrt(cross**2 + energy * lacking) - cross) / energy
