"""`harmobench clean RUN`: what a finished run holds and no table needs, and how to be rid of it.

The list of checksums is renewed before a file goes: who is stopped in between has files too many,
which the next call removes, and never a list that names files that are gone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harmobench import checksums
from harmobench.ahead.outlook import sized
from harmobench.cohort import Progress
from harmobench.crate import NAME as CRATE
from harmobench.crate import write_crate
from harmobench.damage import naming_damage
from harmobench.errors import HarmobenchError
from harmobench.finish import finished, require_run
from harmobench.folder import locked
from harmobench.job import job_from
from harmobench.links import refuse_links
from harmobench.plan import Plan
from harmobench.recompute import plan_again
from harmobench.removed import KINDS, write_removed
from harmobench.removed import NAME as REMOVED
from harmobench.store import Store, read_json
from harmobench.verify import at_work

IMAGES = ("harmonized", "segmentations")
KEY = 40  # letters of a task's name in the store
LOG_KEY = 12  # and in logs/


@dataclass(frozen=True)
class Waste:
    """Files of one sort that can go.

    Attributes
    ----------
    what
        As a person reads it.
    paths
        Files and whole folders.
    """

    what: str
    paths: tuple[Path, ...]


def clean(folder: Path, images: bool, dry: bool, progress: Progress) -> list[str]:
    """Remove from a finished run what no table needs; return what a person should read.

    Parameters
    ----------
    folder
        The run folder.
    images
        Whether harmonized images and segmentations go too; the run's command makes them again.
    dry
        Only say what would go.
    progress
        Told what is looked at.

    Raises
    ------
    HarmobenchError
        No run folder, a run that did not end or is at work, or one whose results this version of
        harmobench cannot tell from those of earlier settings.
    """
    require_run(folder)
    folder = folder.absolute()
    refuse_links(folder)
    if at_work(folder):
        raise HarmobenchError(f"a run is at work in {folder}: wait until it has ended")
    with nullcontext() if dry else locked(folder), naming_damage(folder):
        run = finished(folder)
        plan, logs = _plan(folder, progress)
        found = [*_waste(folder, plan, logs), *(_images(folder, plan) if images else ())]
        told = [f"{waste.what}: {_count(waste)}" for waste in found if waste.paths]
        freed = sized(freed_by(path for waste in found for path in waste.paths))
        if not told:
            return ["nothing to remove"]
        if dry:
            return [*told, f"{freed} would be freed; nothing was removed"]
        if images:
            write_removed(folder, _costs(folder, plan))
        _renew(folder, found, progress)
        for waste in found:
            _remove(waste, folder)
        write_crate(replace(run, folder=folder))
        checksums.renew(folder, [folder / CRATE], progress)
    return [*told, f"{freed} freed"]


def _plan(folder: Path, progress: Progress) -> tuple[Plan, set[str]]:
    """Plan the run again; return also the names of logs of what failed in it.

    Raises
    ------
    HarmobenchError
        Not all that is planned is in the store: then nobody knows what in it is of the run.
    """
    progress(0, 1, "planning the run again")
    plan, failed, why = plan_again(folder, job_from(read_json(folder / "run.json")))
    progress(1, 1, "planning the run again")
    if plan is None:
        raise HarmobenchError(
            f"expected in {folder} what this version of harmobench plans for its run.json, found "
            f"that {why[0]}: give the run's command again with the same --out, then clean"
        )
    return plan, {f"{key[:LOG_KEY]}.log" for key in failed}


def _waste(folder: Path, plan: Plan, logs: set[str]) -> list[Waste]:
    keys = [path for path in folder.glob("store/??/*") if not path.name.startswith(".")]
    others = [path for path in keys if len(path.name) == KEY and path.name not in plan.tasks]
    old = [path for path in folder.glob("logs/*.log") if path.name not in logs]
    running = [path for path in [folder / "running"] if path.is_dir() and any(path.iterdir())]
    return [
        Waste("results of earlier settings", tuple(sorted(others))),
        Waste("logs of failures that are no more", tuple(sorted(old))),
        Waste("left by what was stopped", tuple(sorted([*_partial(folder), *running]))),
    ]


def _partial(folder: Path) -> Iterator[Path]:
    """Give what a killed process left half-written."""
    yield from folder.glob("store/??/.*-*")
    yield from (path for path in [folder / checksums.PARTIAL] if path.is_dir())
    for top in checksums.FOLDERS:
        for place, folders, files in os.walk(folder / top):
            if top == "store" and Path(place) != folder / top:
                folders.clear()
            yield from (
                Path(place) / n for n in files if n.startswith(".") and n.endswith(".partial")
            )


def _images(folder: Path, plan: Plan) -> list[Waste]:
    listed = checksums.read(folder).entries
    links = [folder / name for name in listed if name.partition("/")[0] in IMAGES]
    store = Store(folder / "store")
    own = [store.path(task.key) for task in plan.tasks.values() if task.kind in KINDS]
    return [
        Waste(
            "harmonized images and segmentations, which the run's command makes again",
            tuple(path for path in [*links, *own] if path.exists()),
        )
    ]


def _costs(folder: Path, plan: Plan) -> dict[str, Any]:
    store = Store(folder / "store")
    keys = [task.key for task in plan.tasks.values() if task.kind in KINDS and store.has(task.key)]
    return {key: read_json(store.path(key) / "cost.json") for key in keys}


def _renew(folder: Path, found: Iterable[Waste], progress: Progress) -> None:
    gone = {path for waste in found for path in _files(waste.paths)}
    names = {path.relative_to(folder).as_posix() for path in gone}
    written = [path for path in [folder / REMOVED] if path.is_file()]
    checksums.without(folder, names, written, progress)


def _remove(waste: Waste, folder: Path) -> None:
    for path in waste.paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        _prune(path.parent, folder)


def _prune(place: Path, folder: Path) -> None:
    """Remove folders that are empty now, up to the run folder."""
    while place != folder and not any(place.iterdir()):
        place.rmdir()
        place = place.parent


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            for place, _, files in os.walk(path):
                yield from (Path(place) / name for name in files)
        else:
            yield path


def _count(waste: Waste) -> str:
    number = sum(1 for _ in _files(waste.paths))
    size = sum({_inode(p): p.lstat().st_size for p in _files(waste.paths)}.values())
    return f"{number:,} file{'' if number == 1 else 's'}, {sized(size)}"


def freed_by(paths: Iterable[Path]) -> int:
    """Bytes that are free once files are gone: of a file with several names when all go."""
    names: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for path in _files(paths):
        status = path.lstat()
        inode = (status.st_dev, status.st_ino)
        names[inode] = names.get(inode, 0) + 1
        sizes[inode] = (status.st_nlink, status.st_size)
    return sum(size for inode, (links, size) in sizes.items() if names[inode] >= links)


def _inode(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
