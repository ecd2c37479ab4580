"""A whole run: check, plan, execute around failures, write tables, publish, report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harmobench import checksums, removed
from harmobench.ahead.beforehand import beforehand, read_earlier
from harmobench.cluster import JOB_LOGS, announce, connect, refuse_site
from harmobench.cluster.where import read_where
from harmobench.cohort import Progress
from harmobench.crate import write_crate
from harmobench.damage import naming_damage
from harmobench.errors import StoppedError
from harmobench.finish import (
    Run,
    finished,
    publish,
    require_run,
    write_reports,
    write_results,
    write_shown,
)
from harmobench.folder import (
    locked,
    make_folder,
    refuse_busy,
    refuse_foreign_folder,
    refuse_system_errors,
)
from harmobench.guard import seconds_of
from harmobench.job import Job, Options
from harmobench.plan import Plan, make_plan
from harmobench.resolve import resolve
from harmobench.runner import LOST, run_tasks
from harmobench.staging import aside, put_in_place, remember, take_away
from harmobench.store import Store, write_json, write_text
from harmobench.task import Task
from harmobench.tasks import do
from harmobench.watcher import Watcher
from harmobench.worker import Outcome


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes
    ----------
    folder
        The run folder.
    report
        The page to open.
    failed
        Scores that could not be had because something failed, or tasks where that cost no score.
    computed, reused
        Tasks done now, and found finished in the store.
    broken, undone
        Tasks that failed, and that could not be done without them.
    """

    folder: Path
    report: Path
    failed: int
    computed: int
    reused: int
    broken: int = 0
    undone: int = 0


def run(options: Options, command: str, watcher: Watcher) -> Result:
    """Run every method on a cohort, score all, and write tables and reports.

    Raises
    ------
    HarmobenchError
        It was refused; then nothing was written.
    """
    limit, site = seconds_of(options.time_limit), read_where(options.where)
    with refuse_system_errors():
        refuse_foreign_folder(options.out, "run.json", JOB_LOGS)
        refuse_busy(options.out)
        refuse_site(site)
        job = resolve(options, command, watcher.step)
    plan = make_plan(job)  # what cannot be planned is refused before anything is written
    with connect(site, options.out, watcher.say, job.device == "cuda") as client:
        make_folder(options.out, "--out")
        with locked(options.out):
            return _run(options, job, plan, client, watcher, limit)


def _run(
    options: Options, job: Job, plan: Plan, client: Any, watcher: Watcher, limit: float
) -> Result:
    folder = options.out.absolute()
    store = Store(folder / "store")
    store.sweep()
    there = [key for key in plan.tasks if store.has(key)]
    earlier = read_earlier(folder) if len(there) < len(plan.tasks) else None
    finished_before = (folder / checksums.NAME).is_file()
    place = _place_of(folder)
    store.folder.mkdir(exist_ok=True)
    write_text(folder / checksums.UNFINISHED, f"{job.run_id}\n")  # tables of an earlier run stay
    remember(folder)
    write_json(folder / "run.json", job.to_json())
    write_text(folder / "cohort.csv", _manifest(job))
    (folder / checksums.NAME).unlink(missing_ok=True)  # it is there where the run is finished
    (folder / removed.NAME).unlink(missing_ok=True)  # what it names is made again
    known = beforehand(plan, there, store, earlier, job)
    if earlier is not None and finished_before:
        known.append(
            "the tables and the report that are there stay those of the earlier settings until "
            "this run has ended; who stops it gets them whole again by the earlier command"
        )
    for note in [*job.notes, *known, *announce(client)]:
        watcher.say(note)
    failed: dict[str, tuple[Task, str]] = {}
    counts: dict[str, int] = {}
    watcher.start(plan, there, folder)
    execute = partial(
        run_tasks,
        folder,
        partial(do, job.run_id),
        client=client,
        done=_counting(watcher.task, counts),
        limit=limit,
        say=watcher.must,
    )
    plan = _execute(store, job, plan, failed, execute)
    store.sweep()  # of workers that died while the run went on
    shutil.rmtree(folder / "running", ignore_errors=True)
    if _place_of(folder) != place:
        raise StoppedError(f"{folder} was moved or replaced while the run was going on")
    executed = Run(folder, job, plan, store)
    watcher.say("writing tables, images and the report")
    watcher.step(0, 2, "scores and statistics")
    scores = write_results(executed, failed)
    watcher.step(1, 2, "images and models")
    published = publish(executed)
    write_shown(executed)
    page, written = _write_reports(folder, watcher.step, ended=False)
    take_away(folder, {*published, *written})
    checksums.write(folder, written, watcher.step)
    (folder / checksums.UNFINISHED).unlink()
    bad = int((scores["status"] == "failed").sum()) or len(failed)  # an image without any score
    undone = counts.get("skipped", 0)
    return Result(folder, page, bad, counts.get("done", 0), len(there), len(failed), undone)


def _place_of(folder: Path) -> tuple[int, int]:
    """Tell a folder from another one that takes its name."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _write_reports(folder: Path, progress: Progress, *, ended: bool) -> tuple[Path, list[Path]]:
    """Write reports and the crate; return the page to open, and all files written."""
    run = finished(folder, ended=ended)
    with aside(folder) as partial:
        page = write_reports(replace(run, folder=partial), progress)[-1][0]
        written = put_in_place(partial, folder)
    if page.is_relative_to(partial):  # else a report wrote elsewhere
        page = folder / page.relative_to(partial)
    return page, [*written, write_crate(run)]


def _counting(
    show: Callable[[Task, Outcome], None], counts: dict[str, int]
) -> Callable[[Task, Outcome], None]:
    def done(task: Task, outcome: Outcome) -> None:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
        show(task, outcome)

    return done


def _execute(
    store: Store,
    job: Job,
    plan: Plan,
    failed: dict[str, tuple[Task, str]],
    execute: Callable[[Mapping[str, Task]], dict[str, str]],
) -> Plan:
    """Execute a plan; after failures, plan again around them until nothing new fails."""
    left = [key for key in plan.tasks if not store.has(key)]
    while True:
        reasons = execute(plan.tasks)
        before, left = left, [key for key in plan.tasks if not store.has(key)]
        if not left:
            return plan
        if not reasons and left == before:  # no task is at fault, and none gets done
            reasons = dict.fromkeys(left, LOST)
        if not reasons:
            continue
        failed |= {key: (plan.tasks[key], _named(plan.tasks[key], r)) for key, r in reasons.items()}
        plan = make_plan(job, {key: reason for key, (_, reason) in failed.items()})


def _named(task: Task, reason: str) -> str:
    return f"{task.label}: {reason}"


def _manifest(job: Job) -> str:
    import csv
    import io

    columns = list(dict.fromkeys(name for row in job.scans for name in row["values"]))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["subject", "scanner", "image", "mask", *columns])
    for row in job.scans:
        head = [row["subject"], row["scanner"], row["image"], row["mask"]]
        writer.writerow([*head, *(row["values"].get(name, "") for name in columns)])
    return out.getvalue()


def report(folder: Path, progress: Progress) -> Path:
    """Write the reports of a finished run again, from its folder alone.

    Of the run's checksums, only those of the files written here are renewed. Where it is stopped,
    the reports that were there stay.

    Raises
    ------
    HarmobenchError
        The folder holds no finished run, a damaged one, or one at work.
    """
    require_run(folder)  # before a lock is put into it
    folder = folder.absolute()
    with locked(folder), naming_damage(folder):
        page, written = _write_reports(folder, progress, ended=True)
        checksums.renew(folder, written, progress)
    return page
