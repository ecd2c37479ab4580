"""From native T1 images to RAW: the images that a run compares methods on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from harmobench.atlas import Atlas, bring_atlas
from harmobench.atlas_check import check_atlas
from harmobench.cluster import announce, connect
from harmobench.cluster.sites import at_most
from harmobench.cluster.where import read_where
from harmobench.errors import AtlasError
from harmobench.folder import locked, make_folder, refuse_system_errors
from harmobench.imaging.registration import shear_fault
from harmobench.place import atlas_digest, read_atlas_source
from harmobench.plan import Plan
from harmobench.preprocess.page import write_page
from harmobench.preprocess.publish import publish
from harmobench.preprocess.request import (
    Native,
    Request,
    check_request,
    read_scans,
)
from harmobench.preprocess.steps import do, make_tasks
from harmobench.runner import run_all
from harmobench.store import Store
from harmobench.task import Task
from harmobench.watcher import Watcher

__all__ = ["Preprocessed", "Request", "preprocess"]


class Preprocessed(NamedTuple):
    """What came of it.

    The new manifest and the page to open; how many scans stand in it, how many of them stand out,
    and how many failed.
    """

    manifest: Path
    page: Path
    scans: int
    flagged: int
    failed: int


def preprocess(request: Request, watcher: Watcher) -> Preprocessed:
    """Register native T1 images to an atlas, correct their bias, mask and scale them.

    The order is the paper's (section 2.2): SyN to the atlas, N4, the atlas's brain mask, division
    by the mean within it. What is finished is found again by the next call.

    Raises
    ------
    HarmobenchError
        It was refused; then nothing was written.
    """
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        with refuse_system_errors():
            check_request(request)
            own = read_atlas_source(request.atlas, Path(scratch) / "own")
            refuse_atlas(own, watcher)
            scans = read_scans(request, own, watcher.step)
        site = at_most(read_where(request.where), len(scans))
        with connect(site, request.out, watcher.say) as client:
            make_folder(request.out, "--out")
            with locked(request.out):
                return _preprocess(request, own, scans, client, watcher)


def refuse_atlas(own: Atlas, watcher: Watcher) -> None:
    """Refuse an atlas that nothing can be registered to; say what is doubtful about it."""
    fault = shear_fault(own.grid)
    if fault:
        raise AtlasError(f"{own.template}: {fault}")
    for doubt in check_atlas(own).doubts:
        watcher.say(f"doubtful atlas: {doubt}")


def _preprocess(
    request: Request, own: Atlas, scans: list[Native], client: object, watcher: Watcher
) -> Preprocessed:
    folder = request.out.absolute()
    store = Store(folder / "store")
    store.sweep()
    atlas = bring_atlas(own, own.grid, folder / "atlas")
    tasks = make_tasks(scans, request.quality, atlas_digest(own))
    for note in (_announcement(scans, request), *announce(client)):
        watcher.say(note)
    there = [key for key in tasks if store.has(key)]
    watcher.start(Plan(tasks), there, folder)
    left: dict[str, Task] = {key: task for key, task in tasks.items() if key not in there}
    failed = run_all(folder, do, left, client, watcher.task, watcher.must)
    made = publish(request, atlas, scans, tasks, failed)
    page = write_page(folder, made, atlas, watcher.step)
    flagged = sum(bool(row.flags) for row in made.rows)
    return Preprocessed(made.manifest, page, len(made.rows), flagged, len(failed))


def _announcement(scans: list[Native], request: Request) -> str:
    heads = sum(native.skull for native in scans)
    how = {0: "all skull-stripped", len(scans): "all with skull"}.get(
        heads, f"{heads} with skull, the others stripped"
    )
    much = {
        "paper": "--quality paper takes about 5 minutes of one core for a scan of 1 mm",
        "quick": "--quality quick takes about a minute of one core for a scan of 1 mm",
    }[request.quality]
    return f"{len(scans)} scans, {how}; {much}"
