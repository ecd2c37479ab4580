"""Where a cohort lies: its atlas, its masks, its way back to native space, its files' hashes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.atlas import (
    BUILTIN,
    Atlas,
    bring_atlas,
    builtin_atlas,
    check_space,
    read_atlas,
    refuse_other_space,
)
from harmobench.cohort import Cohort, Progress, Scan
from harmobench.errors import AtlasError, HarmobenchError, ManifestError
from harmobench.imaging.landmarks import contrast_to_noise
from harmobench.imaging.volume import read_grid, read_voxels, without_spikes
from harmobench.imaging.warp import likeness, read_field
from harmobench.manifest import is_file_column
from harmobench.store import hash_file, hash_once, merkle

FARTHEST = 3.0  # times the median mean of the cohort: units differ by more, anatomy by far less
LEAST_LIKENESS = 0.75  # of an image brought back with the native one
COARSE = 3.5  # mm: two interpolations of such voxels make an image unlike itself
SMALLEST_COMMON_MASK = 0.8  # of the median mask: below it one bad mask would decide every score


def ways_back(cohort: Cohort, notes: list[str], progress: Progress) -> bool:
    """Whether every scan has its way back to native space; each is read and checked.

    Raises
    ------
    ManifestError
        Each `to_native` file that is no displacement field, or is not that of its `native_image`.
    """
    found = [scan for scan in cohort.scans if scan.values.get("to_native")]
    if len(found) < len(cohort.scans):
        if found:
            missing = next(s for s in cohort.scans if not s.values.get("to_native"))
            notes.append(
                f"volumes are measured in template space: only {len(found)} of {len(cohort)} scans "
                f"have a to_native, {missing} has none"
            )
        return False
    faults = []
    for done, scan in enumerate(found, start=1):
        fault = _way_back_fault(scan)
        faults += [f"{scan}, column to_native: {fault}"] if fault else []
        progress(done, len(found), f"reading the way back to native space of {scan}")
    if faults:
        raise ManifestError(faults, Path(cohort.source))
    return True


def _way_back_fault(scan: Scan) -> str:
    """Say what is wrong with a scan's way back, as far as its native image tells; "" for nothing.

    Another person's brain, brought back, is like this one's native image to r = .73 at most on ten
    real scans; its own to .97 at least.
    """
    path = Path(scan.values["to_native"])
    try:
        field, native = read_field(path)
        if not scan.values.get("native_image") or native.voxel_sizes.max() > COARSE:
            return ""
        other = Path(scan.values["native_image"])
        grid = read_grid(other)
        if not grid.matches(native):
            return (
                f"expected a field on the grid of {other.name} ({grid}), found {native} in {path}"
            )
        r = likeness(scan.voxels(), scan.grid, field, native, read_voxels(other))
    except HarmobenchError as error:
        return str(error)
    if r >= LEAST_LIKENESS:
        return ""
    return (
        f"expected the way back from {scan.image.name} to {other.name}, with a correlation of at "
        f"least {LEAST_LIKENESS:g} between the two there, found {r:.2f}: is {path.name} of another "
        "scan?"
    )


def place(
    source: str, cohort: Cohort, progress: Progress
) -> tuple[dict[str, Any], dict[str, float]]:
    """Check that a cohort lies in an atlas's space.

    Returns
    -------
    tuple
        What to remember of the atlas, and the mean GM/WM contrast-to-noise of each scanner's RAW.

    Raises
    ------
    AtlasError
        No such atlas, a scan in another space, or brain masks that share too little.
    """
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        own = read_atlas_source(source, Path(scratch) / "own")
        grid = cohort.scans[0].grid
        atlas = bring_atlas(own, grid, Path(scratch) / "atlas")
        contrast, sizes, common = _measure_scans(cohort, atlas, progress)
        _refuse_small_mask(cohort, sizes, common)
        described = {
            "source": source if source == BUILTIN else str(Path(source).absolute()),
            "digest": atlas_digest(own),
            "name": own.name,
            "space": own.space,
            "reference": own.reference,
            "regions": sorted(own.labels),
        }
    return described, contrast


def atlas_digest(atlas: Atlas) -> str:
    """Hash of an atlas's description and of every file that it is made of."""
    toml = (atlas.template.parent / "atlas.toml").read_text(encoding="utf-8")
    return merkle(toml, [hash_file(file) for file in atlas.files])


def read_atlas_source(source: str, folder: Path) -> Atlas:
    """Read an atlas from its folder, or write the built-in one to `folder`."""
    return builtin_atlas(folder) if source == BUILTIN else read_atlas(Path(source).absolute())


def _measure_scans(
    cohort: Cohort, atlas: Atlas, progress: Progress
) -> tuple[dict[str, float], list[int], int]:
    contrast: dict[str, list[float]] = {scanner: [] for scanner in cohort.scanners}
    common = atlas.brain().copy()
    sizes, levels = [], []
    for done, scan in enumerate(cohort.scans, start=1):
        voxels = scan.voxels()
        brain = scan.brain()
        refuse_other_space(str(scan), *check_space(voxels, brain, atlas), atlas)
        if scan.mask is not None:
            common &= brain
            sizes.append(int(np.count_nonzero(brain & atlas.brain())))
        levels.append(float(np.abs(without_spikes(voxels[brain])).mean(dtype=np.float64)))
        gm, wm = atlas.tissue("gm") & brain, atlas.tissue("wm") & brain
        contrast[scan.scanner].append(contrast_to_noise(voxels, gm, wm))
        progress(done, len(cohort), f"placing {scan} in {atlas.space}")
    _refuse_other_scale(cohort, levels)
    means = {scanner: float(np.mean(values)) for scanner, values in contrast.items()}
    return means, sizes, int(np.count_nonzero(common))


def _refuse_other_scale(cohort: Cohort, levels: Sequence[float]) -> None:
    """Refuse images in other units than the rest: scores of RAW share one scale of intensities."""
    usual = float(np.median(levels))
    wrong = [
        f"{scan} has a mean of {level:g}"
        for scan, level in zip(cohort.scans, levels, strict=True)
        if not usual / FARTHEST <= level <= usual * FARTHEST
    ]
    if wrong:
        raise ManifestError(
            [
                f"column image: expected intensities on one scale (within the brain a mean within "
                f"a factor of {FARTHEST:g} of the cohort's median, {usual:g}), found that "
                f"{'; '.join(wrong)}: divide every image by its mean within the brain"
            ],
            Path(cohort.source),
        )


def _refuse_small_mask(cohort: Cohort, sizes: Sequence[int], common: int) -> None:
    if sizes and common < SMALLEST_COMMON_MASK * float(np.median(sizes)):
        masked = [scan for scan in cohort.scans if scan.mask is not None]
        smallest = masked[int(np.argmin(sizes))]
        raise AtlasError(
            f"the voxels that all brain masks share are only {common}, less than "
            f"{SMALLEST_COMMON_MASK:.0%} of the median mask ({float(np.median(sizes)):.0f}): every "
            f"score is taken there. The smallest mask is that of {smallest}: {smallest.mask}"
        )


def hashed(scan: Scan) -> dict[str, Any]:
    """Describe a scan as plain data: absolute paths, and the SHA-256 of each file it names."""
    files = [scan.image] if scan.mask is None else [scan.image, scan.mask]
    files += [Path(text) for name, text in scan.values.items() if text and is_file_column(name)]
    return {
        "subject": scan.subject,
        "scanner": scan.scanner,
        "image": str(scan.image.absolute()),
        "mask": str(scan.mask.absolute()) if scan.mask else "",
        "values": {
            name: str(Path(text).absolute()) if text and is_file_column(name) else text
            for name, text in scan.values.items()
        },
        "hashes": {str(path.absolute()): hash_once(path) for path in files},
    }
