"""What a run will compute, and why again: said before it begins.

A folder holds finished tasks under hashes of all that they depend on. The plan of the run.json that
is there is made again, so that what was finished under earlier settings is known by its keys, and
the two jobs are compared: whoever waits for hours should read which setting it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmobench.job import Job, job_from
from harmobench.live.pace import Group, group_of
from harmobench.parts import Part
from harmobench.plan import Plan, make_plan
from harmobench.provenance import differing
from harmobench.store import Store, read_json
from harmobench.task import Task

NOUNS = {
    "space": ("common brain", "common brains"),
    "everyone": ("list of RAW", "lists of RAW"),
    "piece": ("training of candidates", "trainings of candidates"),
    "fit": ("training", "trainings"),
    "tissue": ("tissue map", "tissue maps"),
    "segment": ("segmentation", "segmentations"),
    "regions": ("map of regions", "maps of regions"),
    "summary": ("summary", "summaries"),
    "merge": ("merge", "merges"),
    "calibrate": ("fit on measures", "fits on measures"),
    "rescore": ("change of measures", "changes of measures"),
}  # others: the kind's name with an s
SHOWN = 8  # groups of tasks that are named
NAMED = 3  # names in a list
KINDS = ("methods", "metrics", "segmenters", "morphometry")
SETTINGS = ("seed", "threads", "device", "target")


@dataclass(frozen=True)
class Earlier:
    """What a folder's run.json asked for, and its plan.

    Attributes
    ----------
    job, plan
        As they are made again by the code that is installed.
    """

    job: Job
    plan: Plan


def read_earlier(folder: Path) -> Earlier | None:
    """Read the run that is in a folder; None where there is none, or none that can be planned."""
    try:
        job = job_from(read_json(folder / "run.json"))
        return Earlier(job, make_plan(job))
    except Exception:  # a damaged run.json must not stop the run that replaces it
        return None


def beforehand(
    plan: Plan, there: Collection[str], store: Store, earlier: Earlier | None, job: Job
) -> list[str]:
    """Say what of a plan is finished, what will be computed, and why something is done again.

    Parameters
    ----------
    plan, job
        What is asked for now.
    there
        Keys of the plan's tasks that are finished.
    store
        Of the run folder.
    earlier
        The run that was there before, where there was one.

    Returns
    -------
    list
        Sentences; none where the folder holds nothing of use.
    """
    again = done_again(plan, there, store, earlier.plan) if earlier is not None else []
    if not there and not again:
        return []
    finished = set(there)
    left = [task for key, task in plan.tasks.items() if key not in finished]
    text = f"{len(there):,} of {len(plan.tasks):,} tasks are finished already"
    told = [
        f"{text}; to compute: {listed(left)}" if left else f"{text}: nothing is left to compute"
    ]
    if earlier is not None and again:
        many = "task was" if len(again) == 1 else "tasks were"
        why = "; ".join(changes(earlier.job, job)) or "it depends on what is new"
        told.append(f"{len(again):,} {many} finished under other settings, done again now: {why}")
    return told


def done_again(plan: Plan, there: Collection[str], store: Store, earlier: Plan) -> list[Task]:
    """Tasks of a plan that were finished under an earlier plan's settings, and are to be done."""
    finished = set(there)
    before = {_what(task): key for key, task in earlier.tasks.items()}
    left = [task for key, task in plan.tasks.items() if key not in finished]
    keys = [(task, before.get(_what(task))) for task in left]
    return [task for task, key in keys if key is not None and store.has(key)]


def _what(task: Task) -> tuple[Any, ...]:
    """Name what a task makes, however it is made."""
    names = ("method", "metric", "tool", "subject", "scanner", "space", "repeat", "fold", "piece")
    where = tuple(task.args.get(name, "") for name in names)
    return (task.kind, *(where if task.kind != "image" else where[:7]))  # its fold may change


def listed(tasks: Collection[Task]) -> str:
    """Count tasks by what they make, the most first.

    >>> image = Task("1", "image", {}, {"method": "ravel"})
    >>> listed([image, image, Task("2", "space", {}, {})])
    '2 images of ravel, 1 common brain'
    """
    groups = Counter(group_of(task) for task in tasks).most_common()
    texts = [_counted(group, count) for group, count in groups[:SHOWN]]
    rest = sum(count for _, count in groups[SHOWN:])
    return ", ".join(texts) + (f" and {rest:,} others" if rest else "")


def _counted(group: Group, count: int) -> str:
    kind, name = group
    one, many = NOUNS.get(kind, (kind, f"{kind}s"))
    of = f" of {name}" if name else ""
    return f"{count:,} {one if count == 1 else many}{of}"


def changes(old: Job, new: Job) -> list[str]:
    """Say in what two jobs differ, as far as results of one are none of the other."""
    return [*_code(old, new), *_settings(old, new), *_parts(old, new), *_scans(old, new)]


def _code(old: Job, new: Job) -> list[str]:
    told = []
    if old.version != new.version:
        told.append(f"harmobench {old.version} made them, {new.version} is installed")
    elif old.kernel != new.kernel:
        told.append(f"another state of harmobench {new.version} made them than is installed")
    libraries = differing(old.environment, new.environment)
    return told + [f"{name} was {then} and is {now}" for name, then, now in libraries]


def _settings(old: Job, new: Job) -> list[str]:
    told = [
        f"{name} was {getattr(old, name)} and is {getattr(new, name)}"
        for name in SETTINGS
        if getattr(old, name) != getattr(new, name)
    ]
    if old.atlas["digest"] != new.atlas["digest"]:
        told.append(f"the atlas was {old.atlas['name']} and is {new.atlas['name']}, or has changed")
    if old.groups != new.groups:
        told.append(f"the clinical groups were {_group(old)} and are {_group(new)}")
    if set(old.covariates) != set(new.covariates):
        then, now = (", ".join(job.covariates) or "none" for job in (old, new))
        told.append(f"covariates were {then} and are {now}")
    folds = [(then, now) for then, now in zip(old.folds, new.folds, strict=False)]
    if any(then[s] != now[s] for then, now in folds for s in then if s in now):
        told.append("folds are others")
    return told


def _group(job: Job) -> str:
    group = job.groups
    return "none" if group is None else f"{group.column}:{group.first},{group.second}"


def _parts(old: Job, new: Job) -> list[str]:
    told = []
    for kind in KINDS:
        before = {part.name: part for part in getattr(old, kind)}
        for part in getattr(new, kind):
            why = _changed(before[part.name], part) if part.name in before else ""
            told += [f"{part.name}{why}"] if why else []
    return told


def _changed(old: Part, new: Part) -> str:
    names = sorted({*old.parameters, *new.parameters})
    then, now = old.parameters, new.parameters
    other = [n for n in names if then.get(n) != now.get(n) and n not in new.aside]
    if other:
        shown = ", ".join(f"{n} was {then.get(n)} and is {now.get(n)}" for n in other[:NAMED])
        return f": {shown}" + (f" and {len(other) - NAMED} more" if len(other) > NAMED else "")
    if old.version != new.version:
        return f" was version {old.version or 'unknown'} and is {new.version or 'unknown'}"
    return "'s code has changed" if old.digest != new.digest else ""


def _scans(old: Job, new: Job) -> list[str]:
    then, now = ({(r["subject"], r["scanner"]): r for r in job.scans} for job in (old, new))
    told = []
    for what, names in (
        ("added", [k for k in now if k not in then]),
        ("no longer there", [k for k in then if k not in now]),
        ("of other files", [k for k in now if k in then and _files(now[k]) != _files(then[k])]),
    ):
        if names:
            shown = ", ".join(" on ".join(name) for name in names[:NAMED])
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            told.append(
                f"{len(names)} scan{'s are' if len(names) > 1 else ' is'} {what} ({shown}{more})"
            )
    if _masks(old) != _masks(new):
        told.append("masks are others, and so is the brain that all scans share")
    return told


def _files(row: Mapping[str, Any]) -> list[str]:
    return sorted(row["hashes"].values())


def _masks(job: Job) -> set[str]:
    return {row["hashes"][row["mask"]] for row in job.scans if row["mask"]}
