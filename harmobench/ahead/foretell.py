"""`harmobench run --dry-run`: the plan of a run, and nothing of it done or written."""

from __future__ import annotations

import os
from math import prod

from harmobench.ahead.beforehand import beforehand, read_earlier
from harmobench.ahead.forecast import forecast, image_size
from harmobench.ahead.outlook import sums, table
from harmobench.cluster import refuse_site
from harmobench.cluster.sites import Local, Site
from harmobench.cluster.where import read_where
from harmobench.cohort import Progress
from harmobench.folder import refuse_foreign_folder, refuse_system_errors
from harmobench.job import Job, Options
from harmobench.plan import Plan, make_plan
from harmobench.resolve import resolve
from harmobench.store import Store


def foretell(options: Options, command: str, progress: Progress) -> list[str]:
    """Check and plan a run as it would be done; return what a person should read.

    Raises
    ------
    HarmobenchError
        It would be refused.
    """
    with refuse_system_errors():
        refuse_foreign_folder(options.out, "run.json")
        site = read_where(options.where)
        refuse_site(site)
        job = resolve(options, command, progress)
        plan = make_plan(job)
        return [*job.notes, _head(job, len(plan.tasks)), *_estimate(options, site, job, plan)]


def _head(job: Job, tasks: int) -> str:
    cohort = job.cohort
    shape = " x ".join(str(n) for n in cohort.scans[0].grid.shape)
    return (
        f"{len(cohort):,} scans of {len(cohort.subjects):,} subjects on {len(cohort.scanners)} "
        f"scanners, {shape} voxels; {len(job.methods)} methods, {len(job.metrics)} metrics; "
        f"{tasks:,} tasks"
    )


def _workers(site: Site) -> int | None:
    """How many workers there will be; None where a scheduler or a batch system decides."""
    if not isinstance(site, Local):
        return None
    return site.workers or os.cpu_count() or 1


def _estimate(options: Options, site: Site, job: Job, plan: Plan) -> list[str]:
    folder = options.out.absolute()
    store, earlier = Store(folder / "store"), read_earlier(folder)
    there = [key for key in plan.tasks if store.has(key)]
    tasks = (earlier.plan.tasks if earlier is not None else {}) | plan.tasks
    done = [task for key, task in tasks.items() if store.has(key)]
    voxels = prod(job.cohort.scans[0].grid.shape)
    found = forecast(plan, there, store, done, image_size(job.cohort), voxels)
    return [
        *beforehand(plan, there, store, earlier, job),
        *table(found),
        *sums(found, _workers(site), job.device == "cuda"),
        f"nothing was written into {folder}: give the command without --dry-run",
    ]
