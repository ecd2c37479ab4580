"""What a segmentation and the true tissue fractions of its scan have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harmobench.imaging.volume import BoolArray, FloatArray, at_least, read_grid, read_voxels
from harmobench.interface import Reference, Scan, Status

# Why a known truth, and tissue fractions in each of its voxels: the phantom that began it.
KWAN_1999 = Reference(
    title="MRI simulation-based evaluation of image-processing and classification methods",
    authors="Kwan RKS, Evans AC, Pike GB",
    year=1999,
    venue="IEEE Transactions on Medical Imaging 18(11), 1085-1097",
    doi="10.1109/42.816072",
    key="kwan1999simulation",
)


@dataclass(frozen=True, eq=False)
class TrueMap:
    """A tissue as it was segmented, and as it is.

    Attributes
    ----------
    mask
        Voxels of at least the threshold's probability.
    fraction
        True share of the tissue in each voxel, 0 to 1, on the same grid.
    voxel_ml
        Volume of a voxel, ml.
    """

    mask: BoolArray
    fraction: FloatArray
    voxel_ml: float

    def true_mask(self, threshold: float) -> BoolArray:
        """Voxels of at least this true fraction."""
        return at_least(self.fraction, threshold)


@dataclass(frozen=True)
class Absent:
    """Why a segmentation cannot be held against the truth: status and reason of the row."""

    status: Status
    reason: str


def true_map(scan: Scan, tissue: str, threshold: float) -> TrueMap | Absent:
    """Read a tissue's segmentation and the file that the scan's column `truth_<tissue>` names.

    Parameters
    ----------
    scan
        With a segmentation, or not.
    tissue
        "csf", "gm" or "wm".
    threshold
        Of the segmentation's probability.

    Returns
    -------
    TrueMap or Absent
        The truth is of the scanner's own voxels: a segmentation in template space, or on another
        grid, is not resampled to it, since that would blur what is to be judged.
    """
    segmentation = scan.segmentation
    if segmentation is None:
        return Absent("not_measured", "no segmentation")
    if segmentation.space != "native":
        reason = (
            f"the truth lies in native space, the segmentation in {segmentation.space} space: "
            "the cohort has no way back (column to_native)"
        )
        return Absent("not_applicable", reason)
    truth = Path(scan.values[f"truth_{tissue}"])
    own, true = read_grid(segmentation.maps[tissue]), read_grid(truth)
    if not own.matches(true):
        reason = f"the segmentation lies on another grid ({own}) than truth_{tissue} ({true})"
        return Absent("not_applicable", reason)
    mask = segmentation.mask(tissue, threshold)
    return TrueMap(mask, read_voxels(truth), segmentation.voxel_ml)
