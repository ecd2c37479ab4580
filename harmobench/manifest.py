"""The manifest: one row a scan, read strictly, with every fault at once."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from harmobench.cells import cell_faults, header_faults, read_cells
from harmobench.cohort import Cohort, Progress, Scan, no_progress
from harmobench.errors import HarmobenchError, ManifestError, nearest
from harmobench.facts import Facts, facts_of
from harmobench.imaging.nifti import is_file
from harmobench.imaging.volume import Grid
from harmobench.pool import each
from harmobench.soundness import looker, seen_before

REQUIRED = ("subject", "scanner", "image")
FILES = ("image", "mask", "to_native", "native_image", "tissue")
EMPTY = ("", "n/a", "NA", "NaN", "nan")  # BIDS writes n/a, R writes NA, pandas nan
Check = Callable[[Scan, bool], list[str]]


def read_cohort(
    path: Path,
    progress: Progress = no_progress,
    *,
    unmatched: Check | None = None,
    facts: Facts | None = None,
) -> Cohort:
    """Read a manifest and every image in it, strictly.

    Parameters
    ----------
    path
        A .csv or .tsv file with the columns subject, scanner, image; one row a scan. Optional:
        mask, tissue, to_native, native_image, truth_* (files, relative to the manifest), group,
        age, sex, fold and any covariate. All is read as text: subject 01 stays 01.
    progress
        Called with (images read, images in all, what).
    unmatched
        Where given, this is no cohort but a list of scans: one scanner, subjects seen once and
        several grids are fine. Called with (scan, whether its files are sound); returns what else
        is at fault with it, beginning with the column.

    Raises
    ------
    ManifestError
        Naming every fault at once, each with its row, column and remedy.
    """
    rows, faults = _read_rows(path)
    scans, more = _scans(rows, path)
    faults += more
    if unmatched is None:
        faults += _structure_faults(scans)
    facts = facts_of(path) if facts is None else facts
    try:
        faults += _image_faults(scans, progress, unmatched, facts)
    finally:  # of what was read before Ctrl-C, too
        facts.save()
    if faults:
        raise ManifestError(faults, path)
    return Cohort(tuple(scan for _, scan in scans), str(path))


def _read_rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    lines = read_cells(path)
    if not lines:
        raise HarmobenchError(f"expected a header and one row a scan, found an empty file: {path}")
    header = [name.strip() for name in lines[0][1]]
    faults = _header_faults(header)
    if faults:
        raise ManifestError(faults, path)
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            faults.append(
                f"row {number}: expected {len(header)} columns as in the header, "
                f"found {len(cells)}: put quotes around a value with a separator in it"
            )
            continue
        values = (cell.strip() for cell in cells)
        row = dict(zip(header, ("" if v in EMPTY else v for v in values), strict=True))
        odd = list(cell_faults(number, row))
        faults += odd
        if not odd:
            rows.append((number, row))
    if not rows and not faults:
        faults.append("expected one row a scan, found a header only")
    return rows, faults


def doubtful_columns(cohort: Cohort) -> list[str]:
    """One sentence for each column that is named almost like one that has a meaning."""
    known = (*FILES, "group", "age", "sex", "fold")
    found = []
    for name in cohort.scans[0].values:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if name not in known and near and len(name) > 2 and not is_file_column(name):
            found.append(f"column '{name}' is taken for a covariate; is '{near[0]}' meant?")
    return found


def _header_faults(header: Sequence[str]) -> list[str]:
    faults = []
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        return [
            "row 1: expected columns separated by commas (.csv) or tabs (.tsv), "
            f"found '{header[0]}'"
        ]
    for name in REQUIRED:
        if name not in header:
            hint = nearest(name, header, 0.6)
            faults.append(f"row 1: expected a column '{name}', found {', '.join(header)}{hint}")
    for name, count in Counter(header).items():
        if count > 1:
            faults.append(f"row 1: column '{name}' stands {count} times: keep one")
        if not name:
            faults.append("row 1: a column has no name: give it one")
    return [*faults, *header_faults(header)]


def _scans(
    rows: Sequence[tuple[int, Mapping[str, str]]], path: Path
) -> tuple[list[tuple[int, Scan]], list[str]]:
    scans: list[tuple[int, Scan]] = []
    faults: list[str] = []
    seen: dict[tuple[str, str], int] = {}
    images: dict[Path, int] = {}
    for number, row in rows:
        missing = [name for name in REQUIRED if not row[name]]
        for name in missing:
            faults.append(f"row {number}, column {name}: expected a value, found none")
        for name in row:
            if row[name] and name != "image" and is_file_column(name):
                target = path.parent / row[name]
                if not is_file(target):
                    faults.append(
                        f"row {number}, column {name}: found no file at {target}: "
                        "paths are relative to the manifest"
                    )
        if missing:
            continue
        key = (row["subject"], row["scanner"])
        if key in seen:
            faults.append(
                f"row {number}: subject {key[0]} on scanner {key[1]} already stands in row "
                f"{seen[key]}: keep one scan for each subject and scanner"
            )
            continue
        image = Path(os.path.realpath(path.parent / row["image"]))  # links may go in a circle
        if image in images:
            faults.append(
                f"row {number}, column image: {row['image']} already stands in row "
                f"{images[image]}: each scan has an image of its own"
            )
        images.setdefault(image, number)
        seen[key] = number
        scans.append((number, _scan(row, path.parent)))
    return scans, faults


def is_file_column(name: str) -> bool:
    """Whether a manifest column names a file."""
    return name in FILES or name.startswith("truth_")


def _scan(row: Mapping[str, str], folder: Path) -> Scan:
    values = {
        name: str(folder / text) if text and is_file_column(name) else text
        for name, text in row.items()
        if name not in ("subject", "scanner", "image", "mask")
    }
    mask = row.get("mask", "")
    return Scan(
        subject=row["subject"],
        scanner=row["scanner"],
        image=folder / row["image"],
        mask=folder / mask if mask else None,
        values=MappingProxyType(values),
    )


def _structure_faults(scans: Sequence[tuple[int, Scan]]) -> list[str]:
    if not scans:
        return []
    cohort = Cohort(tuple(scan for _, scan in scans))
    faults = []
    if len(cohort.scanners) < 2:
        faults.append(
            f"column scanner: expected at least 2 scanners, found 1 ({cohort.scanners[0]}): "
            "a matched cohort has the same people on several"
        )
    elif not cohort.matched:
        faults.append(
            "expected subjects seen on at least 2 scanners, found none: each subject has one "
            "scan; write the same subject name in each of a person's rows"
        )
    if len(cohort.subjects) < 2:
        faults.append(
            f"column subject: expected at least 2 subjects, found 1 ({cohort.subjects[0]})"
        )
    return faults


def _image_faults(
    scans: Sequence[tuple[int, Scan]], progress: Progress, unmatched: Check | None, facts: Facts
) -> list[str]:
    faults: list[str] = []
    grids: list[tuple[int, Scan, Grid]] = []
    known = {scan: seen_before(scan, facts) for _, scan in scans}
    fresh = each(looker(facts), [scan for scan, seen in known.items() if seen is None])
    for done, (number, scan) in enumerate(scans, start=1):
        seen = known[scan] or next(fresh)
        if seen.grid is not None:
            grids.append((number, scan, seen.grid))
        own = list(seen.faults)
        own += unmatched(scan, not own) if unmatched else []
        faults += [f"row {number}, {text}" for text in own]
        progress(done, len(scans), f"reading {scan}")
    return faults + (_grid_faults(grids) if unmatched is None else [])


def _grid_faults(grids: Sequence[tuple[int, Scan, Grid]]) -> list[str]:
    if not grids:
        return []
    usual, _ = Counter(grid for _, _, grid in grids).most_common(1)[0]
    faults = []
    for number, scan, grid in grids:
        if grid.matches(usual):
            continue
        what = "shape" if grid.shape != usual.shape else "affine"
        faults.append(
            f"row {number}, column image: expected the grid of most scans ({usual}), found another "
            f"{what} ({grid}) in {scan.image}: register every scan to the atlas's grid, as "
            "harmobench preprocess does"
        )
    return faults
