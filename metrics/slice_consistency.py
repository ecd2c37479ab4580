"""Whether neighbouring slices stay as alike as in RAW (paper, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Stateless
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.windows import (
    MARGIN,
    Local,
    bounding_box,
    local_moments,
    sample_covariance,
    similarity,
    window_mean,
    with_margin,
)
from harmobench.references import TORBATI_2023

TAILS = (0.1, 99.9)
PLANES = ("sagittal", "coronal", "axial")  # slices across the world's x, y and z axis
IN_PLANE = (1, 2)


@dataclass
class SliceConsistency(Stateless):
    """Pearson correlation of a scan's slice-to-slice similarity with its RAW's, a plane at a time.

    The similarity is the 2-D SSIM (7 x 7 uniform window) of neighbouring slices, averaged over the
    pixels in both masks, after the scan's own 0.1 and 99.9 percentiles went to 0 and 1: no affine
    map of the intensities changes it. The paper found .994 axial, .992 sagittal, .991 coronal.

    Attributes
    ----------
    least
        Mask voxels that both slices must have.
    """

    least: int = 500

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = ("axial", "sagittal", "coronal")
    reference: ClassVar[Reference] = TORBATI_2023

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan and plane."""
        for scan in scans:
            brain = scan.brain()
            own = slice_profiles(scan.voxels(), brain, self.least)
            raw = slice_profiles(context.raw(scan).voxels(), brain, self.least)
            axes = plane_axes(scan.grid.affine)
            for plane in self.structures:
                value, reason = _pearson(own[axes[plane]], raw[axes[plane]])
                status: Literal["ok", "undefined"] = "undefined" if value is None else "ok"
                yield Row(plane, value, scanner=scan.scanner, status=status, reason=reason)


def plane_axes(affine: NDArray[np.float64]) -> dict[str, int]:
    """Voxel axis across which each plane's slices are stacked, whatever the orientation."""
    from nibabel.orientations import io_orientation

    world = io_orientation(affine)[:, 0]
    return {PLANES[int(to)]: axis for axis, to in enumerate(world) if np.isfinite(to)}


def slice_profiles(
    voxels: FloatArray, brain: BoolArray, least: int = 500
) -> tuple[NDArray[np.float64], ...]:
    """SSIM of neighbouring slices along each axis, where both have enough mask voxels.

    Parameters
    ----------
    voxels, brain
        Intensities and mask (x, y, z).
    least
        Mask voxels that both slices must have.

    Returns
    -------
    tuple of NDArray[np.float64]
        For each axis one number a pair of slices, in their order; empty where the brain is
        constant.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((4, 12, 12), dtype=np.float32)
    >>> slice_profiles(noise[[0, 0, 1, 1]], np.ones((4, 12, 12), dtype=bool), 1)[0].round(2)
    array([1.  , 0.12, 1.  ])
    """
    inside = voxels[brain]
    low, high = np.percentile(inside, TAILS) if inside.size else (0.0, 0.0)
    if not high > low:
        return (np.empty(0),) * brain.ndim
    box = bounding_box(brain)
    mask = brain[tuple(slice(a, b) for a, b in box)]
    scale = np.float32(1 / (high - low))
    mapped = (with_margin(voxels, box) - np.float32(low)) * scale
    mapped *= with_margin(brain, box)
    return tuple(_profile(mapped, mask, axis, least) for axis in range(brain.ndim))


def _profile(mapped: FloatArray, mask: BoolArray, axis: int, least: int) -> NDArray[np.float64]:
    slices = np.moveaxis(mapped, axis, 0)[MARGIN:-MARGIN]
    brain = np.moveaxis(mask, axis, 0)
    both = brain[:-1] & brain[1:]
    enough = np.count_nonzero(brain, axis=IN_PLANE) >= least
    count = np.count_nonzero(both, axis=IN_PLANE)
    keep = np.flatnonzero(enough[:-1] & enough[1:] & (count > 0))
    similar = _neighbours(np.ascontiguousarray(slices))
    return np.array([similar[k][both[k]].mean(dtype=np.float64) for k in keep])


def _neighbours(slices: FloatArray) -> NDArray[np.floating]:
    mean, variance = local_moments(slices, IN_PLANE)
    first, second = Local(mean[:-1], variance[:-1]), Local(mean[1:], variance[1:])
    product = window_mean(slices[:-1] * slices[1:], IN_PLANE)
    covariance = sample_covariance(product, first.mean, second.mean, len(IN_PLANE))
    return similarity(first, second, covariance)


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float | None, str]:
    if not a.size or not b.size:
        return None, "the image is constant, or no two neighbouring slices have enough brain"
    if a.size < 3:
        return None, f"expected at least 3 pairs of neighbouring slices, found {a.size}"
    if np.ptp(a) < 1e-9 or np.ptp(b) < 1e-9:
        return None, "all neighbouring slices are equally alike"
    return float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0)), ""
