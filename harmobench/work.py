"""A task at work: what its function is given, and what a plugin may see of it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harmobench.atlas import Atlas, read_atlas
from harmobench.cohort import Scan
from harmobench.doing import teller
from harmobench.errors import PluginError
from harmobench.interface import Context
from harmobench.job import Job
from harmobench.originals import Originals
from harmobench.parts import Part
from harmobench.store import LOG, Store
from harmobench.task import Task


@dataclass(frozen=True)
class Work:
    """A task at work: its job, the store, and the folder to write into."""

    job: Job
    store: Store
    task: Task
    folder: Path
    originals: Originals

    def need(self, role: str) -> Path:
        """Folder of a task that this one needs."""
        return self.store.path(self.task.needs[role])

    @property
    def args(self) -> Mapping[str, Any]:
        """The task's arguments."""
        return self.task.args

    def roles(self, prefix: str) -> dict[str, Path]:
        """Folders of needs whose role starts with `prefix:`, by place."""
        return {
            role.partition(":")[2]: self.store.path(key)
            for role, key in self.task.needs.items()
            if role.startswith(f"{prefix}:")
        }

    @property
    def atlas(self) -> Atlas:
        """The atlas on the cohort's grid."""
        return read_atlas(self.need("space") / "atlas")

    @property
    def brain(self) -> Path:
        """The brain mask that all scans share."""
        return self.need("space") / "brain.nii.gz"

    @contextmanager
    def context(self, **more: Any) -> Iterator[Context]:
        """Context of this task, with a scratch folder that is removed afterwards."""
        job = self.job
        with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
            yield Context(
                seed=int(self.args.get("seed", 0)),
                atlas=self.atlas,
                scratch=Path(scratch),
                device=job.device if self.task.heavy else "cpu",
                threads=job.threads,
                progress=teller(self.store.folder.parent, self.task),
                log=self.folder / LOG,
                **more,
            )

    def scan(self, subject: str, scanner: str) -> Scan:
        """Scan as the manifest has it, with the common brain mask."""
        own = self.job.cohort.scan(subject, scanner)
        if own is None:
            raise PluginError(f"no scan of subject {subject} on {scanner}")
        return replace(own, mask=self.brain).lying_on(own.grid)

    def shown(self, subject: str, scanner: str, columns: Collection[str] = ()) -> Scan:
        """Scan as a plugin sees it: with those columns alone that this task's key holds."""
        return showing(self.scan(subject, scanner), columns)


def showing(scan: Scan, columns: Collection[str]) -> Scan:
    """Return a scan without the manifest's other columns: results cannot hang on them."""
    return replace(scan, values={name: scan.values.get(name, "") for name in columns})


def scanners_of(scans: Iterable[Scan]) -> tuple[str, ...]:
    """Scanners in order of first appearance."""
    return tuple(dict.fromkeys(scan.scanner for scan in scans))


def declared_by(job: Job, part: Part, scanners: tuple[str, ...]) -> dict[str, Any]:
    """Return what a method declared that it uses: nothing else is in its task's key."""
    return {
        "scanners": scanners,
        "target": job.target if part.needs["target"] else None,
        "group": job.groups if part.needs["group"] else None,
        "covariates": _covariates(job, part),
    }


def _covariates(job: Job, part: Part) -> tuple[str, ...]:
    """Covariates of a method; without the clinical group's column where it may not see that."""
    if not part.needs["covariates"]:
        return ()
    column = job.group["column"] if job.group and not part.needs["group"] else None
    return tuple(name for name in job.covariates if name != column)


def load_fitted(part: Part, folder: Path) -> Any:
    """Load a method of a run from what its fit saved."""
    return type(part.build()).load(folder)
