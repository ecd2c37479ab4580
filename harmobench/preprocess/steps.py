"""The work on one scan: registration, bias, mask, scale, and how well it went (paper, 2.2)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from harmobench.atlas import Atlas, check_space, read_atlas, refuse_other_space
from harmobench.errors import AtlasError
from harmobench.imaging import registration
from harmobench.imaging.volume import (
    BoolArray,
    FloatArray,
    Grid,
    read_grid,
    read_voxels,
    write_image,
)
from harmobench.imaging.warp import likeness, write_field
from harmobench.preprocess.request import Native
from harmobench.provenance import environment, source_digest
from harmobench.store import hash_once, merkle, write_json
from harmobench.task import Task

PREPROCESS = "preprocess"
SOURCES = ("preprocess", "imaging", "atlas.py")  # whose change may change an image
MARGIN_MM = 6.0  # around the template's brain, where images with skull are compared
JACOBIAN_STEP = 2  # voxels: a field is smooth
ASTRAY = 0.5  # correlation with the template below which other starts are tried


@dataclass(frozen=True)
class Quality:
    """How hard to try.

    Attributes
    ----------
    iterations
        Of SyN, from coarse to fine.
    spacing
        Voxel size (mm) at which images are registered; 0 is their own.
    """

    iterations: tuple[int, ...]
    spacing: float


QUALITY = {
    "paper": Quality((40, 20, 10), 0.0),
    "quick": Quality((40, 20), 2.0),
}


@dataclass(frozen=True)
class Measured:
    """How well a scan was registered.

    Attributes
    ----------
    correlation
        Of RAW with the template, in the atlas's brain.
    overlap
        Dice of the scan's brain, moved, and the atlas's; None where the image shows the skull.
    round_trip
        Correlation of the native image with RAW brought back, in the native brain.
    folded
        Share of the brain where the transform turns space inside out: 0 for a diffeomorphism.
    stretch
        SD of the logarithm of the local change of volume over the brain.
    bias
        95th over 5th percentile of the correction by N4, in the brain.
    search
        Whether the first start went astray and others were tried.
    skull
        Whether the image shows the skull.
    """

    correlation: float
    overlap: float | None
    round_trip: float
    folded: float
    stretch: float
    bias: float
    search: bool
    skull: bool


def make_tasks(scans: Sequence[Native], quality: str, atlas: str) -> dict[str, Task]:
    """One task a scan, by a key of all that its result depends on; `atlas` is its digest."""
    base = [source_digest(*SOURCES), environment(), atlas, asdict(QUALITY[quality])]
    tasks = {}
    for native in scans:
        scan = native.scan
        files = [hash_once(path) if path else "" for path in (scan.image, scan.mask)]
        key = merkle(PREPROCESS, *base, files, native.skull, [scan.subject, scan.scanner])
        args = {
            "subject": scan.subject,
            "scanner": scan.scanner,
            "image": str(scan.image.absolute()),
            "mask": str(scan.mask.absolute()) if scan.mask else "",
            "skull": native.skull,
            "quality": quality,
        }
        tasks[key] = Task(key, PREPROCESS, {}, args)
    return tasks


def do(run: Path, task: Task, folder: Path) -> None:
    """Preprocess one scan into a folder; the atlas stands in `run`."""
    atlas = read_atlas(run / "atlas")
    args = task.args
    mask = Path(args["mask"]) if args["mask"] else None
    voxels, grid = native_image(Path(args["image"]), mask)
    quality = QUALITY[args["quality"]]
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        found = _registered(voxels, grid, atlas, quality, args["skull"], Path(scratch))
    moved, forward, inverse, search = found
    raw, correction = finish(moved, atlas)
    measured = _measured(raw, moved, correction, atlas, forward, search, args["skull"])
    measured["round_trip"] = likeness(raw, atlas.grid, inverse, grid, voxels)
    write_image(folder / "image.nii.gz", raw, atlas.grid)
    write_field(folder / "forward.nii.gz", forward, atlas.grid)
    write_field(folder / "inverse.nii.gz", inverse, grid)
    write_json(folder / "quality.json", asdict(Measured(**measured)))


def native_image(image: Path, mask: Path | None) -> tuple[FloatArray, Grid]:
    """Intensities (x, y, z) and grid of a native scan, 0 outside its mask where it has one.

    Voxels below 0, which reconstruction leaves in air, become 0: N4 takes logarithms.
    """
    voxels = np.clip(read_voxels(image), 0, None)
    if mask is not None:
        voxels *= read_voxels(mask) > 0
    return voxels, read_grid(image)


def _registered(
    voxels: FloatArray, grid: Grid, atlas: Atlas, quality: Quality, skull: bool, scratch: Path
) -> tuple[FloatArray, FloatArray, FloatArray, bool]:
    """Return the image on the template's grid, both fields, and whether other starts were tried."""
    template = atlas.template_voxels()
    brain = atlas.brain()
    fixed = registration.ants_image(template, atlas.grid)
    native = registration.ants_image(voxels, grid)
    within = registration.ants_image(_around(brain, atlas.grid), atlas.grid) if skull else None
    coarse = registration.at_spacing(fixed, quality.spacing)
    moving = registration.at_spacing(native, quality.spacing)
    for search in (False, True):
        transforms = registration.register(
            coarse, moving, quality.iterations, scratch, within, search
        )
        moved = registration.to_template(transforms, fixed, native)
        if np.corrcoef(moved[brain], template[brain])[0, 1] >= ASTRAY:
            break
    return moved, *registration.fields(transforms, fixed, native, scratch), search


def _around(brain: BoolArray, grid: Grid) -> FloatArray:
    distance = ndimage.distance_transform_edt(~brain, sampling=grid.voxel_sizes)
    return np.asarray(distance <= MARGIN_MM, dtype=np.float32)


def finish(moved: FloatArray, atlas: Atlas) -> tuple[FloatArray, FloatArray]:
    """From a registered image to RAW: N4, brain mask, division by the mean within it.

    Returns
    -------
    tuple
        RAW, and what N4 divided by, up to a factor, in the brain (n,).
    """
    brain = atlas.brain()
    corrected = registration.correct_bias(moved, brain, atlas.grid)
    seen = corrected[brain] > 0
    correction = moved[brain][seen] / corrected[brain][seen]
    raw = np.where(brain, corrected, 0)
    raw /= raw[brain].mean(dtype=np.float64)
    return raw.astype(np.float32), correction


def _measured(
    raw: FloatArray,
    moved: FloatArray,
    correction: FloatArray,
    atlas: Atlas,
    forward: FloatArray,
    search: bool,
    skull: bool,
) -> dict[str, Any]:
    own = atlas.brain() if skull else np.asarray(moved > 0)
    overlap, correlation = check_space(raw, own, atlas)
    try:
        refuse_other_space("the registered image", overlap, correlation, atlas)
    except AtlasError as error:
        raise AtlasError(
            f"{error}. Is it a T1 of a whole brain, and does its header tell left from right? "
            "Look at it, or leave it out"
        ) from error
    inner = (slice(1, -1, JACOBIAN_STEP),) * 3
    volume = jacobian(forward, atlas.grid, JACOBIAN_STEP)[atlas.brain()[inner]]
    stretched = np.log(np.clip(volume, 1e-3, None))
    low, high = np.percentile(correction, [5, 95])
    return {
        "correlation": correlation,
        "overlap": None if skull else overlap,
        "folded": float(np.mean(volume <= 0)),
        "stretch": float(stretched.std()),
        "bias": float(high / low),
        "search": search,
        "skull": skull,
    }


def jacobian(field: FloatArray, grid: Grid, step: int = 2) -> FloatArray:
    """Local change of volume of a transform: the determinant of its derivative.

    Parameters
    ----------
    field
        Displacements (x, y, z, 3), mm in RAS axes, on `grid`.
    step
        It is taken at every so many voxels along each axis, from the second to the last but one.
    """
    inner = (slice(1, -1, step),) * 3
    differences = []
    for axis in range(3):
        after, before = list(inner), list(inner)
        after[axis], before[axis] = slice(2, None, step), slice(0, -2, step)
        differences.append((field[tuple(after)] - field[tuple(before)]) / 2)
    by_voxel = np.stack(differences, axis=-1)
    slopes = by_voxel @ np.linalg.inv(grid.affine[:3, :3]).astype(np.float32)
    slopes += np.eye(3, dtype=np.float32)
    return np.asarray(np.linalg.det(slopes), dtype=np.float32)
