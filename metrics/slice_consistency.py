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
    reference: ClassVar[Reference] = Reference(
        title="MISPEL: A supervised deep learning harmonization method for multi-scanner "
        "neuroimaging data",
        authors="Torbati ME, Minhas DS, Laymon CM, Maillard P, Wilson JD, Chen CL, Crainiceanu CM, "
        "DeCarli CS, Hwang SJ, Tudorascu DL",
        year=2023,
        venue="Medical Image Analysis 89, 102926",
        doi="10.1016/j.media.2023.102926",
        key="torbati2023mispel",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan and plane."""
        for scan in scans:
            brain = scan.brain()
            own, raw = scan.voxels(), context.raw(scan).voxels()
            axes = plane_axes(scan.grid.affine)
            for plane in self.structures:
                profiles = (slice_profile(v, brain, axes[plane], self.least) for v in (own, raw))
                value, reason = _pearson(*profiles)
                if value is None:
                    yield Row(plane, None, scanner=scan.scanner, status="undefined", reason=reason)
                else:
                    yield Row(plane, value, scanner=scan.scanner)


def plane_axes(affine: NDArray[np.float64]) -> dict[str, int]:
    """Voxel axis across which each plane's slices are stacked, whatever the orientation."""
    from nibabel.orientations import io_orientation

    world = io_orientation(affine)[:, 0]
    return {PLANES[int(to)]: axis for axis, to in enumerate(world) if np.isfinite(to)}


def slice_profile(
    voxels: FloatArray, brain: BoolArray, axis: int, least: int = 500
) -> NDArray[np.float64]:
    """SSIM of neighbouring slices along an axis, where both have enough mask voxels.

    Parameters
    ----------
    voxels, brain
        Intensities and mask (x, y, z).
    axis
        Along which slices follow one another.
    least
        Mask voxels that both slices must have.

    Returns
    -------
    NDArray[np.float64]
        One number a pair of slices, in their order; empty where the brain is constant.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((4, 12, 12), dtype=np.float32)
    >>> slice_profile(noise[[0, 0, 1, 1]], np.ones((4, 12, 12), dtype=bool), 0, 1).round(2)
    array([1.  , 0.12, 1.  ])
    """
    inside = voxels[brain]
    low, high = np.percentile(inside, TAILS) if inside.size else (0.0, 0.0)
    if not high > low:
        return np.empty(0)
    mapped = ((voxels - np.float32(low)) * np.float32(1 / (high - low))) * brain
    box = bounding_box(brain)
    along = np.moveaxis(with_margin(mapped, box), axis, 0)[MARGIN:-MARGIN]
    mask = np.moveaxis(brain[tuple(slice(a, b) for a, b in box)], axis, 0)
    similar = _neighbours(np.ascontiguousarray(along))
    both = mask[:-1] & mask[1:]
    count = both.sum(axis=IN_PLANE)
    enough = mask.sum(axis=IN_PLANE) >= least
    keep = enough[:-1] & enough[1:] & (count > 0)
    total = np.where(both, similar, 0).sum(axis=IN_PLANE, dtype=np.float64)
    profile: NDArray[np.float64] = total[keep] / count[keep]
    return profile


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
