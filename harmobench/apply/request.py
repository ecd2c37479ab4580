"""What was asked for: the command's arguments, the method of the run, and what is refused early."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harmobench.cluster.where import Where, read_where
from harmobench.cohort import Scan
from harmobench.errors import HarmobenchError, SettingsError, nearest
from harmobench.job import Job, job_from
from harmobench.links import refuse_links
from harmobench.parts import Part, plugin_part
from harmobench.plan import NEEDS_TISSUE, TISSUE_SEGMENTER
from harmobench.provenance import environment, kernel_digest
from harmobench.registry import find, plugins
from harmobench.store import Store, read_json

MANIFESTS = (".csv", ".tsv")
IMAGES = (".nii", ".nii.gz")
SHOWN = 5  # files that a message names


@dataclass(frozen=True)
class Request:
    """What the user typed; `harmobench apply --help` says what each means."""

    run: Path
    method: str
    source: Path
    out: Path
    scanner: str | None = None
    mask: Path | None = None
    where: Where = field(default_factory=Where)
    overwrite: bool = False

    @property
    def many(self) -> bool:
        """Whether the source is a manifest."""
        return self.source.suffix.lower() in MANIFESTS

    @property
    def scan(self) -> Scan:
        """The source, where it is one image."""
        name = self.source.name.removesuffix(".gz").removesuffix(".nii")
        return Scan(name, self.scanner or "", self.source, self.mask)

    @property
    def home(self) -> Path:
        """Folder in which the final model is made and kept; it looks like a run's."""
        return self.run.absolute() / "apply" / self.method

    @property
    def store(self) -> Store:
        """What the final model is made of."""
        return Store(self.home / "store")

    @property
    def place(self) -> Path:
        """The folder to write into, or the nearest one above it that is there."""
        out = self.out.absolute()
        return next(path for path in (out, *out.parents) if path.is_dir())


def check_request(request: Request) -> None:
    """Refuse arguments that cannot be right, before anything is read."""
    read_where(request.where)
    for fault in _faults(request):
        raise SettingsError(fault)
    refuse_links(request.run)


def _faults(request: Request) -> Iterator[str]:
    if not (request.run / "run.json").is_file():
        yield (
            f"expected the folder of a run, found no run.json in {request.run}: name the folder "
            "that `harmobench run` wrote to"
        )
    if not request.source.is_file():
        yield (
            "expected an image (.nii, .nii.gz) or a manifest (.csv, .tsv), found no file at "
            f"{request.source}"
        )
    yield from _many_faults(request) if request.many else _one_faults(request)
    if not os.access(request.place, os.W_OK):  # said now, not after hours of training
        yield f"expected a place to write {request.out}, may not write into {request.place}"


def _many_faults(request: Request) -> Iterator[str]:
    for name, given in (("scanner", request.scanner), ("mask", request.mask)):
        if given is not None:
            yield (
                f"--{name}: a manifest says it for each scan, in its column {name}: leave the "
                "option out"
            )
    out, table = request.out, request.out / "manifest.csv"
    if out.name.endswith(IMAGES) or (out.exists() and not out.is_dir()):
        yield f"expected a folder for the images of a manifest, found {out}"
    if table.exists() and table.samefile(request.source):
        yield f"{table} would be written over: name another folder than its own"


def _one_faults(request: Request) -> Iterator[str]:
    out, mask = request.out, request.mask
    if out.is_dir():
        yield f"expected an image to write, found a folder at {out}"
    if not out.name.endswith(IMAGES):
        yield f"expected an image to write, .nii or .nii.gz, found {out}"
    if not out.parent.is_dir():
        yield f"expected a folder to write {out.name} into, found none: make {out.parent}"
    if out.exists() and out.samefile(request.source):
        yield f"{out} is the image to harmonize: name another one to write"
    if mask is not None and not mask.is_file():
        yield f"--mask: expected an image, found no file at {mask}"
    refuse_existing([out], request)


def refuse_existing(targets: Sequence[Path], request: Request) -> None:
    """Refuse to write over files, unless that was asked for."""
    found = [str(target) for target in targets if target.exists() or target.is_symlink()]
    if found and not request.overwrite:
        raise SettingsError(
            f"expected a new name, found {listed(found)} there already: choose another, or give "
            "--overwrite"
        )


def listed(names: Sequence[str]) -> str:
    """Join names for a message, the first few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def final_job(request: Request) -> Job:
    """Cut the run's job down to one method and what it needs, with the code that is installed now.

    Refuses a method that the run has not, and a run.json that is damaged or of another version.
    """
    path = request.run / "run.json"
    try:
        job = job_from(read_json(path))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HarmobenchError(
            f"expected a run of this version of harmobench, found {path} damaged or of another "
            f"version ({error}): give the run's command again"
        ) from error
    part = _asked_part(job, request.method)
    inputs = [name for name in part.needs["inputs"] if name != NEEDS_TISSUE]
    used = [job.part("methods", name) for name in dict.fromkeys(["raw", *inputs, part.name])]
    unused = ("metrics", "morphometry", "statistics", "reports", "folds", "notes")
    nothing: dict[str, Any] = dict.fromkeys(unused, ())
    return replace(
        job,
        methods=tuple(_as_installed("methods", part) for part in used),
        segmenters=(_as_installed("segmenters", job.part("segmenters", TISSUE_SEGMENTER)),),
        device=job.device if part.needs["gpu"] else "cpu",
        environment=environment(),
        kernel=kernel_digest(),
        **nothing,
    )


def _asked_part(job: Job, method: str) -> Part:
    known = {
        part.name: part
        for part in job.methods
        if part.name != "raw" and not part.images and part.changes == "images"
    }
    if method in known:
        part = known[method]
        if part.needs["sees"] != "scan":
            raise SettingsError(
                f"method '{method}' is a control that looks at other scans of the cohort, for "
                "testing metrics: it has nothing to say of a new scan"
            )
        return part
    why = nearest(method, known)
    if method == "raw":
        why = ", which leaves images as they are"
    elif any(part.name == method and part.changes == "measures" for part in job.methods):
        why = ", which changes measures and no image"
    elif any(part.name == method for part in job.methods):
        why = ", whose images were made elsewhere (--precomputed): harmonize new ones there"
    elif method in plugins("methods"):
        why = (
            "; it is installed: add it to the run first, by the run's command with it among "
            "--methods"
        )
    names = ", ".join(known) or "none"
    raise SettingsError(f"expected a method of this run ({names}), found '{method}'{why}")


def _as_installed(kind: str, part: Part) -> Part:
    now = plugin_part(find(kind, part.name), part.parameters, preset="")
    return replace(now, config=part.config)
