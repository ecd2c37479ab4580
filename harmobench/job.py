"""What a run is asked to do: options of a person, resolved into plain data a worker can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harmobench.cluster.where import Where
from harmobench.cohort import Cohort, Scan
from harmobench.errors import StoppedError
from harmobench.imaging.volume import Grid
from harmobench.interface import Group
from harmobench.parts import Part, installed
from harmobench.reasons import lost
from harmobench.store import hash_once, merkle, read_json, stamp


@dataclass(frozen=True)
class Options:
    """What the user typed; `harmobench run --help` says what each means."""

    cohort: Path
    out: Path
    methods: str = "all"
    atlas: str = "builtin"
    preset: str = "default"
    segmenters: str = "hmrf"
    metrics: str = "all"
    folds: int | None = None
    seed: int = 0
    repeats: int = 1
    device: str = "auto"
    workers: int | None = None
    memory: str | None = None
    scheduler: str | None = None
    slurm: str | None = None
    cluster: Path | None = None
    target: str | None = None
    group: str | None = None
    covariates: str | None = None
    set: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    biomarkers: Path | None = None
    precomputed: tuple[str, ...] = ()
    margin: tuple[str, ...] = ()
    controls: str = "auto"
    time_limit: str = "24h"

    @property
    def where(self) -> Where:
        """Where tasks are to be done."""
        return Where(self.workers, self.memory, self.scheduler, self.slurm, self.cluster)


@dataclass(frozen=True)
class Job:
    """A run, resolved: all that tasks depend on, as plain data.

    Attributes
    ----------
    scans
        Each with subject, scanner, image, mask, values (columns), hashes (file to SHA-256), grid.
    source
        The manifest.
    atlas
        source ("builtin" or a folder), digest, name, space, reference.
    methods, metrics, segmenters, morphometry, statistics, reports
        Plugins in the order they are run and shown.
    folds
        Test fold of each subject, one dictionary a repeat.
    places
        Where the results of a morphometry tool stand that were made before, by tool.
    native
        Whether every scan has its way back to native space.
    notes
        Sentences that the user should read.
    declared
        Methods that the user named or that ship with harmobench: `Design.declared`.
    margins
        Differences that the user declared too small to matter, by metric.
    """

    version: str
    command: str
    scans: tuple[Mapping[str, Any], ...]
    source: str
    atlas: Mapping[str, Any]
    methods: tuple[Part, ...]
    metrics: tuple[Part, ...]
    segmenters: tuple[Part, ...]
    morphometry: tuple[Part, ...]
    statistics: tuple[Part, ...]
    reports: tuple[Part, ...]
    folds: tuple[Mapping[str, int], ...]
    seed: int
    preset: str
    device: str
    target: str | None
    group: Mapping[str, str] | None
    covariates: tuple[str, ...]
    places: Mapping[str, str]
    native: bool
    environment: Mapping[str, str]
    kernel: str
    threads: int = 1
    notes: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    margins: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def cohort(self) -> Cohort:
        """The scans as the manifest has them."""
        return Cohort(tuple(_scan(row) for row in self.scans), self.source)

    @cached_property
    def contents(self) -> Mapping[str, str]:
        """SHA-256 of each file that the manifest names, as it was when the run began."""
        return {path: content for row in self.scans for path, content in row["hashes"].items()}

    def content_elsewhere(self, path: Path) -> str:
        """SHA-256 of a file that was made elsewhere, as it was when this job first asked.

        A plan that is made again within a run has the keys that it had.
        """
        if path not in self._elsewhere:
            self._elsewhere[path] = hash_once(path)
        return self._elsewhere[path]

    @cached_property
    def _elsewhere(self) -> dict[Path, str]:
        return {}

    def part(self, kind: str, name: str) -> Part:
        """One plugin of this run; where it is only a shared input, the installed one."""
        for part in getattr(self, kind):
            if part.name == name:
                return part  # type: ignore[no-any-return]
        return installed(kind, name, self.preset)

    def trained(self, method: str) -> bool:
        """Whether a method is cross-validated: its test scans share a model within a fold."""
        return bool(self.part("methods", method).needs["folds"])

    def columns_of(self, method: Part) -> tuple[str, ...]:
        """Columns of the manifest that a method sees: those that it declared, which its keys hold.

        The clinical group's column is none of the covariates of a method that may not see it.
        """
        column = self.group["column"] if self.group else None
        names = self.covariates if method.needs["covariates"] else ()
        own = [name for name in names if name != column]
        if column is not None and method.needs["group"]:
            own.append(column)
        return tuple(own)

    @property
    def groups(self) -> Group | None:
        """The clinical groups."""
        return Group(**self.group) if self.group else None

    @property
    def cohort_hash(self) -> str:
        """Hash of the manifest's rows and of every file they name, wherever they lie."""
        return merkle([_content(row) for row in self.scans])[:16]

    @property
    def run_id(self) -> str:
        """Hash of what was asked, with what, on what."""
        data = asdict(self)
        for place in ("command", "source", "notes", "scans", "places"):
            data.pop(place)
        data["atlas"] = self.atlas["digest"]
        return merkle(self.cohort_hash, data)[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain data for run.json."""
        return asdict(self) | {"cohort_hash": self.cohort_hash, "run_id": self.run_id}


def _content(row: Mapping[str, Any]) -> list[Any]:
    files = row["hashes"]
    values = {name: files.get(text, text) for name, text in row["values"].items()}
    mask = files[row["mask"]] if row["mask"] else None
    return [row["subject"], row["scanner"], files[row["image"]], mask, values]


def _scan(row: Mapping[str, Any]) -> Scan:
    scan = Scan(
        subject=row["subject"],
        scanner=row["scanner"],
        image=Path(row["image"]),
        mask=Path(row["mask"]) if row["mask"] else None,
        values=MappingProxyType(dict(row["values"])),
    )
    if "grid" not in row:  # of runs of earlier versions
        return scan
    shape, matrix = row["grid"]
    return scan.lying_on(Grid.make(shape, np.array(matrix)))


def read_job(run: Path, run_id: str) -> Job:
    """Read a run's job.

    Raises
    ------
    StoppedError
        run.json is gone, is that of another run now, or was edited.
    """
    try:
        seen = stamp(run / "run.json")  # a worker may live through many runs of one folder
    except FileNotFoundError:  # tasks at work make the folder anew where it was moved away
        raise StoppedError(lost(run)) from None
    return _read_job(run, run_id, seen)


@lru_cache(maxsize=4)
def _read_job(run: Path, run_id: str, seen: tuple[int, ...]) -> Job:
    job = job_from(read_json(run / "run.json"))
    if job.run_id != run_id:
        raise StoppedError(
            "expected the run.json that the run began with, found another: it changed while the "
            "run was going on"
        )
    return job


def job_from(data: Mapping[str, Any]) -> Job:
    """Job from what `Job.to_json` gave."""
    known = {f.name for f in fields(Job)}
    kept = {name: value for name, value in data.items() if name in known}
    # runs of earlier versions do not say which methods were declared: all that they have
    kept.setdefault("declared", [part["name"] for part in kept["methods"]])
    for kind in ("methods", "metrics", "segmenters", "morphometry", "statistics", "reports"):
        kept[kind] = tuple(Part(**part) for part in kept[kind])
    for name in ("scans", "folds", "covariates", "notes", "declared"):
        kept[name] = tuple(kept[name])
    return Job(**kept)
