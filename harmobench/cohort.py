"""The matched cohort: scans, the manifest that lists them, and the strict reading of it."""

from __future__ import annotations

import csv
import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

import numpy as np

from harmobench.errors import HarmobenchError, ManifestError, MethodError
from harmobench.imaging.volume import (
    BoolArray,
    FloatArray,
    Grid,
    LabelArray,
    read_grid,
    read_labels,
    read_voxels,
)

REQUIRED = ("subject", "scanner", "image")
FILES = ("image", "mask", "to_native", "native_image", "tissue")
EMPTY = ("", "n/a", "NA", "NaN", "nan")  # BIDS writes n/a, R writes NA, pandas nan
TISSUES = ("csf", "gm", "wm")
Progress = Callable[[int, int, str], None]


def no_progress(done: int, total: int, what: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Segmentation:
    """Tissue probabilities of one scan, as one segmenter gave them.

    Attributes
    ----------
    tool
        The segmenter's registered name.
    space
        "template" or "native": the space that the image was segmented in.
    maps
        Path of the probability map (0 to 1) of each of csf, gm, wm.
    """

    tool: str
    space: str
    maps: Mapping[str, Path]

    def probability(self, tissue: str) -> FloatArray:
        """Probability of one tissue, 0 to 1, in steps of 1/250 rounded down."""
        return read_voxels(self.maps[tissue])

    def mask(self, tissue: str, threshold: float = 0.8) -> BoolArray:
        """Voxels of at least this probability (paper, section 2.5: .8)."""
        mask: BoolArray = self.probability(tissue) >= threshold - 1e-6
        return mask

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, ml."""
        return read_grid(self.maps["gm"]).voxel_ml


@dataclass(frozen=True)
class Measure:
    """One number that a morphometry tool measured.

    Attributes
    ----------
    structure
        What was measured, such as "hippocampus".
    value
        The number, in `units`.
    units
        Such as "mm" or "ml".
    """

    structure: str
    value: float
    units: str


@dataclass(frozen=True, eq=False)
class Scan:
    """One T1 image of one subject on one scanner; voxels are read when asked for.

    Attributes
    ----------
    subject, scanner
        Names as the manifest has them.
    image
        Where the voxels lie.
    mask
        Brain mask on the same grid; None means every voxel that is not 0.
    values
        The manifest's other columns, as text.
    inputs
        Shared intermediate results of this scan that a method asked for (`Needs.inputs`):
        "tissue" a label image, others an image.
    segmentation
        Tissue maps, for metrics that read them.
    measures
        Region measures, for metrics that read them.
    """

    subject: str
    scanner: str
    image: Path
    mask: Path | None = None
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    inputs: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    segmentation: Segmentation | None = None
    measures: tuple[Measure, ...] | None = None
    memory: FloatArray | None = field(default=None, repr=False)

    def voxels(self) -> FloatArray:
        """Intensities (x, y, z), float32; a fresh array at every call."""
        return read_voxels(self.image) if self.memory is None else self.memory.copy()

    def brain(self) -> BoolArray:
        """Brain mask (x, y, z); shared between calls and read-only."""
        if self.mask is not None:
            return _read_mask(self.mask)
        return np.asarray(self.voxels() != 0)

    @cached_property
    def grid(self) -> Grid:
        """Voxel counts and affine."""
        return read_grid(self.image)

    def with_voxels(self, voxels: FloatArray) -> Scan:
        """Return the same scan with other intensities: what `Harmonizer.transform` returns."""
        return replace(self, memory=np.asarray(voxels))

    def input(self, name: str) -> FloatArray:
        """Return a shared intermediate image that the method named in `Needs.inputs`."""
        return read_voxels(self._input_path(name))

    def input_labels(self, name: str) -> LabelArray:
        """Return a shared intermediate label image, such as "tissue" (1 CSF, 2 GM, 3 WM)."""
        return read_labels(self._input_path(name))

    def _input_path(self, name: str) -> Path:
        if name not in self.inputs:
            raise MethodError(
                f"expected the shared input '{name}' of {self}, found "
                f"{', '.join(sorted(self.inputs)) or 'none'}: name it in Needs(inputs=...)"
            )
        return self.inputs[name]

    def covariate(self, name: str) -> float:
        """Return a manifest column of this scan as a number.

        Raises
        ------
        MethodError
            No such column, no value, or not a number.
        """
        text = self.values.get(name, "")
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not np.isfinite(number):
            raise MethodError(
                f"expected a number in column '{name}' for {self}, found '{text}': "
                "give every scan a number, or leave the covariate out"
            )
        return number

    def __str__(self) -> str:
        """Subject and scanner, for messages."""
        return f"subject {self.subject} on {self.scanner}"


@lru_cache(maxsize=4)
def _read_mask(path: Path) -> BoolArray:
    mask: BoolArray = read_voxels(path) > 0
    mask.flags.writeable = False
    return mask


@dataclass(frozen=True)
class Cohort:
    """Scans of subjects on scanners; order is the manifest's.

    Attributes
    ----------
    scans
        At most one for each subject and scanner.
    source
        Where the list came from, for messages.
    """

    scans: tuple[Scan, ...]
    source: str = "cohort"

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in order of first appearance."""
        return tuple(dict.fromkeys(scan.subject for scan in self.scans))

    @cached_property
    def scanners(self) -> tuple[str, ...]:
        """Scanners in order of first appearance."""
        return tuple(dict.fromkeys(scan.scanner for scan in self.scans))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All scanner pairs, each once, in scanner order."""
        return tuple(combinations(self.scanners, 2))

    @cached_property
    def _index(self) -> dict[tuple[str, str], Scan]:
        return {(scan.subject, scan.scanner): scan for scan in self.scans}

    def scan(self, subject: str, scanner: str) -> Scan | None:
        """One scan, or None where the subject was not on that scanner."""
        return self._index.get((subject, scanner))

    def of(self, subject: str) -> tuple[Scan, ...]:
        """One subject's scans, in scanner order."""
        found = (self.scan(subject, scanner) for scanner in self.scanners)
        return tuple(scan for scan in found if scan is not None)

    @cached_property
    def matched(self) -> tuple[str, ...]:
        """Subjects that were seen on at least two scanners."""
        counts = Counter(scan.subject for scan in self.scans)
        return tuple(s for s in self.subjects if counts[s] > 1)

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Subjects that were seen on one scanner only."""
        return tuple(s for s in self.subjects if s not in self.matched)

    @property
    def complete(self) -> bool:
        """Whether every subject was seen on every scanner."""
        return len(self.scans) == len(self.subjects) * len(self.scanners)

    def select(self, subjects: Iterable[str]) -> Cohort:
        """Return the same cohort with these subjects only."""
        keep = set(subjects)
        return replace(self, scans=tuple(s for s in self.scans if s.subject in keep))

    def __len__(self) -> int:
        """Count the scans."""
        return len(self.scans)


def read_cohort(path: Path, progress: Progress = no_progress) -> Cohort:
    """Read a manifest and every image in it, strictly.

    Parameters
    ----------
    path
        A .csv or .tsv file with the columns subject, scanner, image; one row a scan. Optional:
        mask, tissue, to_native, native_image, truth_* (files, relative to the manifest), group,
        age, sex, fold and any covariate. All is read as text: subject 01 stays 01.
    progress
        Called with (images read, images in all, what).

    Raises
    ------
    ManifestError
        Naming every fault at once, each with its row, column and remedy.
    """
    rows, faults = _read_rows(path)
    scans, more = _scans(rows, path)
    faults += more
    faults += _structure_faults(scans)
    faults += _image_faults(scans, progress)
    if faults:
        raise ManifestError(faults, path)
    return Cohort(tuple(scan for _, scan in scans), str(path))


def _read_rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    if not path.is_file():
        raise HarmobenchError(f"expected a manifest (.csv or .tsv), found no file at {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarmobenchError(f"expected text in UTF-8, found other bytes in {path}") from error
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    table = list(csv.reader(text.splitlines(), delimiter=delimiter))
    lines = [(n, row) for n, row in enumerate(table, start=1) if any(cell.strip() for cell in row)]
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
        rows.append((number, row))
    if not rows and not faults:
        faults.append("expected one row a scan, found a header only")
    return rows, faults


def _header_faults(header: Sequence[str]) -> list[str]:
    faults = []
    for name in REQUIRED:
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1, cutoff=0.6)
            hint = f"; is '{near[0]}' meant?" if near else ""
            faults.append(f"row 1: expected a column '{name}', found {', '.join(header)}{hint}")
    for name, count in Counter(header).items():
        if count > 1:
            faults.append(f"row 1: column '{name}' stands {count} times: keep one")
        if not name:
            faults.append("row 1: a column has no name: give it one")
    return faults


def _scans(
    rows: Sequence[tuple[int, Mapping[str, str]]], path: Path
) -> tuple[list[tuple[int, Scan]], list[str]]:
    scans: list[tuple[int, Scan]] = []
    faults: list[str] = []
    seen: dict[tuple[str, str], int] = {}
    for number, row in rows:
        missing = [name for name in REQUIRED if not row[name]]
        for name in missing:
            faults.append(f"row {number}, column {name}: expected a value, found none")
        for name in row:
            if row[name] and name != "image" and is_file_column(name):
                target = path.parent / row[name]
                if not target.is_file():
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


def _image_faults(scans: Sequence[tuple[int, Scan]], progress: Progress) -> list[str]:
    faults: list[str] = []
    grids: list[tuple[int, Scan, Grid]] = []
    for done, (number, scan) in enumerate(scans, start=1):
        try:
            grids.append((number, scan, read_grid(scan.image)))
            faults += [f"row {number}, column image: {text}" for text in _voxel_faults(scan)]
        except HarmobenchError as error:
            faults.append(f"row {number}, column image: {error}")
        progress(done, len(scans), f"reading {scan}")
    return faults + _grid_faults(grids)


def _voxel_faults(scan: Scan) -> list[str]:
    voxels = read_voxels(scan.image)
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        return [
            f"expected finite intensities, found {broken} NaN or inf voxels in {scan.image}: "
            "set them to 0 outside the brain, or make the image again"
        ]
    if not voxels.any():
        return [f"expected a brain, found only zeros in {scan.image}: make the image again"]
    if scan.mask is None:
        inside = voxels[voxels != 0]
    else:
        mask = read_voxels(scan.mask)
        if mask.shape != voxels.shape:
            return [
                f"expected a mask of {voxels.shape} voxels, found {mask.shape} in {scan.mask}: "
                "give the mask on the image's grid"
            ]
        inside = voxels[mask > 0]
    if inside.size == 0:
        return [f"expected a brain mask, found an empty one in {scan.mask}"]
    if inside.min() == inside.max():
        return [
            f"expected an image with contrast, found the one value {inside.min():g} "
            f"in the whole brain in {scan.image}"
        ]
    return []


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
            f"{what} ({grid}) in {scan.image}: register every scan to the atlas's grid"
        )
    return faults


def bids_labels(names: Iterable[str]) -> dict[str, str]:
    """Map names to BIDS labels (letters and digits), unlike for unlike names.

    A name that changes, or that would collide with another (also on file systems blind to case),
    gets a suffix of six hexadecimal digits of its SHA-256.

    >>> bids_labels(["01", "GE"])
    {'01': '01', 'GE': 'GE'}
    """
    unique = list(dict.fromkeys(names))
    plain = {name: re.sub(r"[^A-Za-z0-9]", "", name) for name in unique}
    uses = Counter(label.lower() for label in plain.values())
    labels = {}
    for name, label in plain.items():
        if label == name and uses[label.lower()] == 1:
            labels[name] = label
        else:
            labels[name] = label + hashlib.sha256(name.encode()).hexdigest()[:6]
    return labels
