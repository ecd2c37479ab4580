"""What was asked for, and which native scans it is about; what is wrong is refused here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harmobench.atlas import Atlas
from harmobench.cluster import JOB_LOGS
from harmobench.cluster.where import Where, read_where
from harmobench.cohort import Progress, Scan
from harmobench.errors import ManifestError, SettingsError
from harmobench.folder import refuse_foreign_folder
from harmobench.imaging.registration import shear_fault
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.manifest import read_cohort

QUALITIES = ("paper", "quick")
SKULLS = ("auto", "on", "off")
MANIFEST = "matched.csv"
FIELD_BYTES = 7  # of a voxel of a packed displacement field, measured on brains at 1 mm
HEAD_ML = 2200.0  # no brain is larger, no head of a grown-up smaller
LEAST_MM = 80.0  # no brain of any age fits into less
COARSEST_MM = 10.0
EMPTY_SHARE = 0.4  # of a stripped image's voxels are exactly 0, at least


@dataclass(frozen=True)
class Request:
    """What the user typed; `harmobench preprocess --help` says what each means."""

    source: Path
    atlas: str
    out: Path
    quality: str = "paper"
    skull: str = "auto"
    where: Where = field(default_factory=Where)


@dataclass(frozen=True)
class Native:
    """A native scan, and whether its image shows the skull."""

    scan: Scan
    skull: bool


def check_request(request: Request) -> None:
    """Refuse arguments that cannot be right, before anything is read."""
    for name, value, known in (
        ("--quality", request.quality, QUALITIES),
        ("--skull", request.skull, SKULLS),
    ):
        if value not in known:
            raise SettingsError(f"{name}: expected {', '.join(known)}, found '{value}'")
    read_where(request.where)
    refuse_foreign_folder(request.out, MANIFEST, "atlas", JOB_LOGS)


def read_scans(request: Request, atlas: Atlas, progress: Progress) -> list[Native]:
    """Read the manifest and every image, strictly; say which images show the skull.

    Raises
    ------
    ManifestError
        All faults at once, each with its row.
    SettingsError
        The disk has too little room for what will be written.
    """
    found: dict[tuple[str, str], bool] = {}

    def look(scan: Scan, sound: bool) -> list[str]:
        if not sound:
            return []
        fault = shear_fault(scan.grid) or _extent_fault(scan)
        if fault:
            return [f"column image: {fault} in {scan.image}"]
        unmasked = scan.mask is None
        found[scan.subject, scan.scanner] = unmasked and (
            request.skull == "on" or (request.skull == "auto" and shows_skull(scan))
        )
        return _too_large(scan) if request.skull == "off" and unmasked else []

    cohort = read_cohort(request.source, progress, unmatched=look)
    if not cohort.scans:
        raise ManifestError(["expected one row a scan, found none"], request.source)
    _refuse_small_disk(request.out, cohort.scans, atlas)
    return [Native(scan, found[scan.subject, scan.scanner]) for scan in cohort.scans]


def _extent_fault(scan: Scan) -> str:
    extent = scan.grid.voxel_sizes * scan.grid.shape
    if extent.min() >= LEAST_MM and scan.grid.voxel_sizes.max() <= COARSEST_MM:
        return ""
    return (
        f"expected an image of a whole brain (at least {LEAST_MM:g} mm along each axis, voxels of "
        f"at most {COARSEST_MM:g} mm), found {scan.grid}"
    )


def shows_skull(scan: Scan) -> bool:
    """Whether an image shows more than a brain: it is larger than one, or its background is not 0.

    Parameters
    ----------
    scan
        A native scan without a mask.
    """
    voxels = scan.voxels()
    empty = float(np.count_nonzero(voxels == 0)) / voxels.size
    return empty < EMPTY_SHARE or _shown_ml(voxels, scan) > HEAD_ML


def _shown_ml(voxels: FloatArray, scan: Scan) -> float:
    bright: BoolArray = voxels > 0.1 * np.percentile(voxels[voxels != 0], 98)
    return float(np.count_nonzero(bright)) * scan.grid.voxel_ml


def _too_large(scan: Scan) -> list[str]:
    size = _shown_ml(scan.voxels(), scan)
    if size <= HEAD_ML:
        return []
    return [
        f"column image: expected a skull-stripped image (--skull off), found {size / 1000:.1f} "
        f"litres of tissue in {scan.image}: a brain has less than {HEAD_ML / 1000:g}. Leave "
        "--skull out, or name a brain mask in the column mask"
    ]


def _refuse_small_disk(out: Path, scans: Sequence[Scan], atlas: Atlas) -> None:
    voxels = [int(np.prod(scan.grid.shape)) for scan in scans]
    needed = FIELD_BYTES * (sum(voxels) + len(scans) * int(np.prod(atlas.grid.shape)))
    folder = next(p for p in (out.absolute(), *out.absolute().parents) if p.is_dir())
    if (out / MANIFEST).is_file():
        return  # most of it is there already
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SettingsError(
            f"--out: expected about {needed / 1e9:.1f} GB of free disk for {len(scans)} scans, "
            f"found {free / 1e9:.1f} GB at {folder}: name another folder"
        )
