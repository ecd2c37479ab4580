"""The new scans, taken through the tasks that the cohort's went through, and written.

They are harmonized in a scratch folder that looks like a run's, with the same tasks on the same
workers: a scan of the cohort comes out as the bytes that it has in the run.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from harmobench.apply.checks import Scans
from harmobench.apply.model import Final, finish
from harmobench.apply.request import Request
from harmobench.cohort import Scan
from harmobench.errors import HarmobenchError
from harmobench.folder import make_folder
from harmobench.imaging.volume import read_grid, read_voxels, write_image
from harmobench.job import Job
from harmobench.parts import Part
from harmobench.place import hashed
from harmobench.plan import NEEDS_TISSUE, TISSUE_SEGMENTER, Plan
from harmobench.store import Store, link_folder, merkle, write_json, write_text
from harmobench.task import Task
from harmobench.watcher import Watcher
from harmobench.worker import Outcome


def harmonize(request: Request, job: Job, final: Final, scans: Scans, watcher: Watcher) -> int:
    """Harmonize scans, and write each as soon as it is done; return how many failed.

    Where it was to be one image, its failure is an error.
    """
    if request.many:
        make_folder(request.out, "OUT")
    job = replace(job, source=str(request.source), scans=tuple(hashed(scan) for scan in scans))
    with tempfile.TemporaryDirectory(
        prefix=".apply-", dir=request.place, ignore_cleanup_errors=True
    ) as scratch:
        side = Path(scratch)
        store = Store(side / "store")
        write_json(side / "run.json", job.to_json())
        spaces = _lay_out(request.store, store, final, scans)
        part = job.part("methods", request.method)
        chains = {scan: list(_chain(scan, part, spaces[scan.mask], final.fit)) for scan in scans}
        tasks = {task.key: task for chain in chains.values() for task in chain}
        scan_of = {task.key: scan for scan, chain in chains.items() for task in chain}

        def ended(task: Task, outcome: Outcome) -> None:
            if request.many or outcome.status == "done":  # of one image, the failure is raised
                watcher.task(task, outcome)
            scan = scan_of[task.key]
            if task is chains[scan][-1]:
                if outcome.status == "done":
                    _deliver(store.path(task.key) / "image.nii.gz", scans[scan], side)
                for each in chains[scan]:
                    shutil.rmtree(store.path(each.key), ignore_errors=True)

        watcher.start(Plan(tasks), (), side)
        reasons = finish(side, job, tasks, request, ended, watcher.must)
        with suppress(OSError):  # a run folder that may only be read
            link_folder(side / "logs", request.home / "logs")
    failed: dict[Scan, str] = {}
    for key, reason in reasons.items():
        failed.setdefault(scan_of[key], f"{tasks[key].label}: {reason}")
    if request.many:
        write_text(request.out / "manifest.csv", _table(scans, failed, request.out))
    elif failed:
        raise HarmobenchError(f"cannot harmonize {request.source}: {next(iter(failed.values()))}")
    return len(failed)


def _lay_out(model: Store, own: Store, final: Final, scans: Scans) -> dict[Path | None, str]:
    """Link the model, and make a space for each mask of the scans; return the spaces' keys."""
    for key in final.keys:
        link_folder(model.path(key), own.path(key))
    common = own.path(final.space)
    grid = read_grid(common / "brain.nii.gz")
    spaces: dict[Path | None, str] = {None: final.space}
    for mask in {scan.mask for scan in scans if scan.mask is not None}:
        spaces[mask] = merkle("apply", final.space, str(mask))
        made = own.path(spaces[mask])
        link_folder(common / "atlas", made / "atlas")
        brain = (read_voxels(common / "brain.nii.gz") > 0) & (read_voxels(mask) > 0)
        write_image(made / "brain.nii.gz", np.asarray(brain), grid)
    return spaces


def _chain(scan: Scan, part: Part, space: str, fit: str | None) -> Iterator[Task]:
    """Tasks of one scan, as the run plans them for its own: RAW, shared inputs, the method."""
    where = {"subject": scan.subject, "scanner": scan.scanner}

    def task(kind: str, needs: Mapping[str, str], **args: str) -> Task:
        needs = {"space": space, **needs}
        key = merkle("apply", kind, sorted(needs.items()), args, where)
        return Task(key, kind, needs, {**args, **where})

    yield (raw := task("image", {}, method="raw"))
    needs = {"raw": raw.key}
    for name in part.needs["inputs"]:
        if name != NEEDS_TISSUE:
            made = task("image", {"raw": raw.key}, method=name)
        elif scan.values.get("tissue"):
            made = task("tissue", {})
        else:
            tool = {"tool": TISSUE_SEGMENTER, "method": "raw", "space": "template"}
            yield (segmented := task("segment", {"image": raw.key, "raw": raw.key}, **tool))
            made = task("tissue", {"segmentation": segmented.key})
        yield made
        needs[f"input:{name}"] = made.key
    if fit is not None:
        needs["fit"] = fit
    yield task("image", needs, method=part.name)


def _deliver(source: Path, target: Path, scratch: Path) -> None:
    """Write an image under its name in one step."""
    ready = scratch / target.name
    if target.suffix == ".gz":
        shutil.copyfile(source, ready)  # a stored file may not be written to, this one may
    else:
        write_image(ready, read_voxels(source), read_grid(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    ready.replace(target)


def _table(scans: Scans, failed: Mapping[Scan, str], folder: Path) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["subject", "scanner", "image", "status", "reason"])
    for scan, target in scans.items():
        reason = failed.get(scan, "")
        image = "" if reason else target.relative_to(folder).as_posix()
        status = "failed" if reason else "ok"
        writer.writerow([scan.subject, scan.scanner, image, status, reason])
    return out.getvalue()
