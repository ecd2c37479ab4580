"""The way back to native space: that it is the scan's own."""

from __future__ import annotations

from pathlib import Path

from harmobench.cohort import Cohort, Progress, Scan
from harmobench.errors import HarmobenchError, ManifestError
from harmobench.facts import Facts
from harmobench.imaging.volume import read_grid, read_voxels
from harmobench.imaging.warp import likeness, read_field

LEAST_LIKENESS = 0.75  # of an image brought back with the native one
COARSE = 3.5  # mm: two interpolations of such voxels make an image unlike itself


def ways_back(
    cohort: Cohort, notes: list[str], progress: Progress, facts: Facts | None = None
) -> bool:
    """Whether every scan has its way back to native space; each that is not known is checked.

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
    facts = Facts() if facts is None else facts
    faults = []
    for done, scan in enumerate(found, start=1):
        fault = _way_back_known(scan, facts)
        faults += [f"{scan}, column to_native: {fault}"] if fault else []
        progress(done, len(found), f"reading the way back to native space of {scan}")
    if faults:
        raise ManifestError(faults, Path(cohort.source))
    return True


def _way_back_known(scan: Scan, facts: Facts) -> str:
    """Say what is wrong with a scan's way back, which is read where it is not known."""
    try:
        native = scan.values.get("native_image")
        others = [facts.hash(path) for path in (scan.image, *([Path(native)] if native else []))]
        field = facts.hash(Path(scan.values["to_native"]))
    except OSError as error:
        return f"expected files that can be read, found that one cannot: {error}"
    name = f"way:{':'.join(others)}"
    if facts.get(field, name) is True:
        return ""
    fault = _way_back_fault(scan)
    if not fault:
        facts.put(field, name, True)
    return fault


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
