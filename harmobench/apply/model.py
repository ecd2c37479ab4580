"""The final model: a method fitted on every subject of the cohort that it can learn from.

It is made in RUN/apply/METHOD, a folder like a run's with a job of that one method; what the run
has finished is linked there and not done again. What new scans must be like is kept beside it, so
that the cohort may go.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from harmobench.apply.request import Request, listed
from harmobench.atlas import BUILTIN, read_atlas
from harmobench.cluster import connect
from harmobench.cluster.sites import Site, at_most, has_gpu
from harmobench.cluster.where import read_where
from harmobench.cohort import Progress
from harmobench.errors import HarmobenchError
from harmobench.imaging.volume import read_voxels, without_spikes
from harmobench.job import Job
from harmobench.place import atlas_digest
from harmobench.plan import Plan, plan_final
from harmobench.runner import DAY, run_all
from harmobench.store import Store, hash_file, link_folder, read_json, write_json
from harmobench.task import Task
from harmobench.tasks import do
from harmobench.watcher import Watcher
from harmobench.worker import Outcome, execute


@dataclass(frozen=True)
class Final:
    """A final model, and what new scans must be like.

    Keys of the common brain mask and of the model (none for a method that learns nothing), the
    number of subjects that it is fitted on, and of the cohort's images within the brain the
    smallest and the largest mean and the least intensity.
    """

    space: str
    fit: str | None
    subjects: int
    low: float
    high: float
    least: float

    @property
    def keys(self) -> list[str]:
        """Keys of all that it is made of."""
        return [self.space] if self.fit is None else [self.space, self.fit]


def recall(request: Request, job: Job) -> Final | None:
    """Return the final model of this job, where it was made before, on whatever device."""
    memory = request.home / "final.json"
    try:
        kept = read_json(memory) if memory.is_file() else {}
    except ValueError:  # damaged: it is made again
        kept = {}
    if kept.get("asked") != _asked(job):
        return None
    final = Final(**kept["final"])
    if not all(request.store.has(key) for key in final.keys):
        return None
    _refuse_damaged(request, job, final)
    return final


def _refuse_damaged(request: Request, job: Job, final: Final) -> None:
    if final.fit is None:
        return
    folder = request.store.path(final.fit) / "model"
    try:
        type(job.part("methods", request.method).build()).load(folder)
    except Exception as error:  # of whatever library reads the plugin's files
        raise HarmobenchError(
            f"the final model of {request.method} is damaged ({type(error).__name__}: {error}): "
            f"delete {request.home} and {model_folder(request)}, and give the command again to "
            "train it anew"
        ) from error


def _asked(job: Job) -> str:
    return replace(job, device="any").run_id


def for_site(job: Job, site: Site, watcher: Watcher) -> Job:
    """Return the job for the CPU where it is one for a GPU and there is none."""
    if job.device == "cuda" and not has_gpu(site):
        watcher.say("the run trained on a GPU and there is none here: training on the CPU")
        return replace(job, device="cpu")
    return job


def prepare(request: Request, job: Job, watcher: Watcher) -> tuple[Final, dict[str, Task]]:
    """Do all for the final model that is quick; return also the tasks that are left.

    Refuses a cohort that is not as it was when it was run.
    """
    _refuse_changed(job, watcher.step)
    plan, fit = plan_final(job, request.method)
    run, own = Store(request.run.absolute() / "store"), request.store
    own.sweep()
    write_json(request.home / "run.json", job.to_json())
    own.folder.mkdir(exist_ok=True)
    for key in plan.tasks:
        if run.has(key) and not own.has(key):
            with own.writing(key) as folder:
                link_folder(run.path(key), folder)
    space = plan.of_kind("space")[0]
    outcome = execute(request.home, partial(do, job.run_id), DAY, space)
    if outcome.status != "done":
        raise HarmobenchError(f"the final model cannot be made: {space.label}: {outcome.reason}")
    levels = _levels(job, own.path(space.key) / "brain.nii.gz", watcher.step)
    subjects = len(plan.tasks[fit].args["training"]) if fit is not None else 0
    left = {key: task for key, task in plan.tasks.items() if not own.has(key)}
    return Final(space.key, fit, subjects, *levels), left


def _refuse_changed(job: Job, progress: Progress) -> None:
    """Refuse other images, masks, labels or atlas than the run had."""
    wanted: dict[str, str] = {}
    for row in job.scans:
        for path in (row["image"], row["mask"], row["values"].get("tissue", "")):
            wanted |= {path: row["hashes"][path]} if path else {}
    faults = []
    for done, (path, content) in enumerate(wanted.items(), start=1):
        if not Path(path).is_file():
            faults.append(f"{path} is missing")
        elif hash_file(Path(path)) != content:
            faults.append(f"{path} has changed")
        progress(done, len(wanted), "checking that the cohort is that of the run")
    source = job.atlas["source"]
    if source != BUILTIN and atlas_digest(read_atlas(Path(source))) != job.atlas["digest"]:
        faults.append(f"the atlas {source} has changed")
    if faults:
        raise HarmobenchError(
            f"expected the cohort as it was when it was run, found that {listed(faults)}: bring "
            "the files back, or run again"
        )


def _levels(job: Job, mask: Path, progress: Progress) -> tuple[float, float, float]:
    brain = read_voxels(mask) > 0
    means, least = [], []
    for done, row in enumerate(job.scans, start=1):
        inside = read_voxels(Path(row["image"]))[brain]
        means.append(float(without_spikes(inside).mean(dtype=np.float64)))
        least.append(float(inside.min()))
        progress(done, len(job.scans), "measuring the cohort's intensities")
    return min(means), max(means), min(least)


def train(
    request: Request, job: Job, final: Final, left: dict[str, Task], watcher: Watcher
) -> None:
    """Do the tasks that are left of the final model; one that fails is an error."""
    watcher.say(
        "no final model of these versions and parameters yet: training "
        f"{request.method} on {final.subjects} subjects"
    )
    watcher.start(Plan(left), (), request.home)

    def show(task: Task, outcome: Outcome) -> None:
        if outcome.status == "done":  # a failure is raised
            watcher.task(task, outcome)

    failed = finish(request.home, job, left, request, show, watcher.must)
    for key, reason in failed.items():
        raise HarmobenchError(
            f"the final model cannot be made: {left[key].label}: {reason}; "
            f"more stands in {request.home / 'logs'}"
        )


def finish(
    folder: Path,
    job: Job,
    tasks: Mapping[str, Task],
    request: Request,
    done: Callable[[Task, Outcome], None],
    say: Callable[[str], None],
) -> dict[str, str]:
    """Execute tasks until each has ended; return the reason of each that failed, causes first.

    `folder` looks like a run's: the job is in its run.json, what tasks need in its store.
    """
    site = at_most(read_where(request.where), len(tasks))
    with connect(site, folder, say, job.device == "cuda") as client:
        return run_all(folder, partial(do, job.run_id), tasks, client, done, say)


def keep(request: Request, job: Job, final: Final) -> None:
    """Remember a final model that is finished, and link it under a readable name."""
    if final.fit is not None:
        shutil.rmtree(model_folder(request), ignore_errors=True)  # of another version
        link_folder(request.store.path(final.fit) / "model", model_folder(request))
    write_json(request.home / "final.json", {"asked": _asked(job), "final": asdict(final)})


def model_folder(request: Request) -> Path:
    """Folder of the final model for a person."""
    return request.run.absolute() / "models" / request.method / "all"
