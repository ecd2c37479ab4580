"""The new scans, read, and held to the cohort: a known scanner, and images prepared alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harmobench.apply.model import Final
from harmobench.apply.request import Request, refuse_existing
from harmobench.atlas import Atlas, check_space, read_atlas, refuse_other_space
from harmobench.cohort import Scan, bids_labels
from harmobench.errors import AtlasError, SettingsError, nearest
from harmobench.imaging.volume import BoolArray, FloatArray, read_grid, read_voxels, without_spikes
from harmobench.job import Job
from harmobench.links import refuse_linked
from harmobench.manifest import read_cohort
from harmobench.soundness import scan_faults
from harmobench.watcher import Watcher

Scans = dict[Scan, Path]  # each with the image to write

SMALLEST_SHARE = 0.8  # of the run's brain that a scan's own mask must leave
FARTHEST = 2.0  # times the cohort's range of means: a factor of units, not of anatomy, is above it
REMEDY = (
    "prepare the image as the cohort's RAW images were: register it to the atlas, correct its bias "
    "field, mask it, and divide it by its mean within the mask"
)


def check_scan(request: Request, job: Job) -> None:
    """Refuse one image of a scanner that is not known, or that cannot be read."""
    if not request.many:
        _refuse(_scanner_faults(request.scan, job.cohort.scanners) or scan_faults(request.scan))


def _refuse(faults: Sequence[str]) -> None:
    """Refuse one image: what is a column in a manifest is an option here."""
    options = {"column scanner": "--scanner: ", "column mask": "--mask: "}
    for fault in faults:
        column, _, text = fault.partition(": ")
        raise SettingsError(options.get(column, "") + text)


def read_scans(request: Request, job: Job, final: Final, watcher: Watcher) -> Scans:
    """Read what is to be harmonized, and refuse what is not like the cohort, all at once."""
    unlike = _image_faults(request.store.path(final.space), final)
    scanners = job.cohort.scanners
    if not request.many:
        _refuse(unlike(request.scan))
        return {request.scan: request.out}

    def faults(scan: Scan, sound: bool) -> list[str]:
        return _scanner_faults(scan, scanners) + (unlike(scan) if sound else [])

    cohort = read_cohort(request.source, watcher.step, unmatched=faults)
    subjects, sessions = bids_labels(cohort.subjects), bids_labels(scanners)
    label = bids_labels([request.method])[request.method]
    scans = {}
    for scan in cohort.scans:
        sub, ses = f"sub-{subjects[scan.subject]}", f"ses-{sessions[scan.scanner]}"
        scans[scan] = request.out / sub / ses / "anat" / f"{sub}_{ses}_desc-{label}_T1w.nii.gz"
    refuse_linked(scans.values(), request.out)
    refuse_existing([*scans.values(), request.out / "manifest.csv"], request)
    return scans


def _scanner_faults(scan: Scan, known: Sequence[str]) -> list[str]:
    if scan.scanner in known:
        return []
    found = f"'{scan.scanner}'{nearest(scan.scanner, known)}" if scan.scanner else "none"
    return [
        f"column scanner: expected one of the run's scanners, {', '.join(known)}, found {found}"
    ]


def _image_faults(space: Path, final: Final) -> Callable[[Scan], list[str]]:
    """Return what says how a scan's image is unlike the cohort's, beginning with the column."""
    atlas, grid = read_atlas(space / "atlas"), read_grid(space / "brain.nii.gz")
    common = np.asarray(read_voxels(space / "brain.nii.gz") > 0)

    def faults(scan: Scan) -> list[str]:
        if not scan.grid.matches(grid):
            return [
                f"column image: expected the grid of the run ({grid}), found another shape or "
                f"affine ({scan.grid}) in {scan.image}: register it to the atlas, on the grid that "
                "the cohort has"
            ]
        voxels, own = scan.voxels(), scan.brain()
        brain = common & own if scan.mask else common
        share = np.count_nonzero(brain) / np.count_nonzero(common)
        if share < SMALLEST_SHARE:
            return [
                f"column mask: expected at least {SMALLEST_SHARE:.0%} of the run's brain in it, "
                f"found {share:.0%} in {scan.mask}: the mask or the registration is not right"
            ]
        fault = _space_fault(scan, voxels, own, atlas) or _level_fault(scan, voxels[brain], final)
        return [f"column image: {fault}"] if fault else []

    return faults


def _space_fault(scan: Scan, voxels: FloatArray, own: BoolArray, atlas: Atlas) -> str:
    dice, correlation = check_space(voxels, own, atlas)
    try:
        refuse_other_space(str(scan), dice, correlation, atlas)
    except AtlasError:  # its remedy is that of a run
        return (
            f"expected a brain in the space of the run's atlas '{atlas.name}' ({atlas.space}), "
            f"found an overlap (Dice) of {dice:.2f} and a correlation of {correlation:.2f} with it "
            f"in {scan.image}: register the image to that atlas, and leave out what is no brain "
            "(set it to 0, or name a mask)"
        )
    return ""


def _level_fault(scan: Scan, inside: FloatArray, final: Final) -> str:
    low, high = final.low / FARTHEST, final.high * FARTHEST
    mean = float(without_spikes(inside).mean(dtype=np.float64))
    if final.least >= 0 > inside.min():
        expected = "intensities of at least 0 in the brain, as in the cohort"
        return f"expected {expected}, found {inside.min():g} in {scan.image}: {REMEDY}"
    if final.low > 0 and not low <= mean <= high:
        expected = (
            f"a mean intensity within the brain of {low:.3g} to {high:.3g} (half the smallest to "
            "twice the largest of the cohort)"
        )
        return f"expected {expected}, found {mean:.4g} in {scan.image}: {REMEDY}"
    return ""
