"""The matched cohort: scans of the same subjects on several scanners."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import combinations
from pathlib import Path
from types import MappingProxyType

import numpy as np

from harmobench.errors import MethodError
from harmobench.imaging.volume import (
    BoolArray,
    FloatArray,
    Grid,
    LabelArray,
    at_least,
    read_grid,
    read_labels,
    read_voxels,
)

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
        return at_least(self.probability(tissue), threshold)

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
        The manifest's other columns, as text. A plugin sees those that it declares: a method the
        covariates and the clinical group that it needs, a metric the columns of its `truth`.
    inputs
        Shared intermediate results of this scan that a method asked for (`Needs.inputs`):
        "tissue" a label image, others an image.
    segmentation
        Tissue maps, for metrics that read them.
    measures
        Region measures, for metrics that read them.
    others
        RAW of all scans that a control may look at (`Needs.sees`): the subject's, or the cohort's,
        this one among them; in the manifest's order.
    """

    subject: str
    scanner: str
    image: Path
    mask: Path | None = None
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    inputs: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    segmentation: Segmentation | None = None
    measures: tuple[Measure, ...] | None = None
    others: tuple[Scan, ...] = field(default=(), repr=False)
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

    def lying_on(self, grid: Grid) -> Scan:
        """Return the same scan with a grid that is known, and not read from its image."""
        own = replace(self)
        own.__dict__["grid"] = grid
        return own

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


def place_of(subject: str, scanner: str) -> str:
    """Name a scan in the role of a need, whatever characters its names have."""
    return json.dumps([subject, scanner], ensure_ascii=False)


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


def derivatives_description(name: str, version: str) -> dict[str, object]:
    """Return what dataset_description.json says of images that harmobench made."""
    return {
        "Name": f"harmobench: {name}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "harmobench", "Version": version}],
    }
