"""What a run would do, and an estimate of its time and disk: `harmobench run --dry-run`.

Time and disk come from tasks of the same sort that are finished in the run folder, under whatever
settings. For those that were never done there, a guess stands in where there is one: `GUESSES`,
which `benchmarks/overhead.py --rates` measured. The rest is said to be unknown, and is left out of
the sums.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harmobench.cohort import Cohort
from harmobench.imaging.volume import write_image
from harmobench.live.course import WORDS
from harmobench.live.pace import ALIKE, Group, group_of
from harmobench.plan import Plan
from harmobench.store import Store, read_json
from harmobench.task import Task

SAME = ("picture", "mosaic")  # kinds that take as long for every method
SAMPLES = 20  # finished tasks of a sort that are looked at, evenly over the plan
# kinds whose results are as large whatever they look at
STEADY = ("fit", "piece", "merge", "calibrate", "rescore")
GROWING = ("merge", "mosaic", "everyone")  # kinds whose guesses are for each scan
FILLING = 1.1  # fills a float's digits as harmonizing does: whole numbers compress too well
# Seconds and bytes of a task for each million voxels of the grid, on one core of a server.
# Of kinds in `GROWING`: for each scan that they look at.
GUESSES: Mapping[Group | str, tuple[float, float]] = {
    "space": (4.0, 6e5),
    "everyone": (0.0, 1e3),
    "tissue": (0.1, 9e4),
    "regions": (1.0, 1e5),
    "summary": (0.25, 2.5e5),
    "merge": (0.02, 6e5),
    "picture": (0.25, 6e5),
    "mosaic": (0.1, 2e4),
    "image": (0.25, 0.0),  # its bytes are measured on the cohort's own RAW
    "score": (0.4, 9e3),
    "calibrate": (0.1, 1e4),
    "rescore": (0.05, 4e3),
    ("segment", "hmrf"): (0.5, 4.5e5),
    ("measure", "atlas-roi"): (0.3, 9e3),
}


class Each(NamedTuple):
    """What one task of a sort takes.

    Attributes
    ----------
    seconds, size
        For each result that it needs; seconds, and bytes on the disk (of kinds in `STEADY` for all
        together).
    """

    seconds: float
    size: float


@dataclass
class Line:
    """Tasks of one sort.

    Attributes
    ----------
    tasks, left
        How many the plan has, and how many of them are not finished.
    seconds, size
        Of those that are left; None where unknown.
    measured
        Whether tasks of this sort were measured in the run folder.
    """

    group: Group
    tasks: int = 0
    left: int = 0
    seconds: float | None = 0.0
    size: float | None = 0.0
    measured: bool = True


@dataclass
class Forecast:
    """An estimate of a plan.

    Attributes
    ----------
    lines
        One a sort of task, in the plan's order.
    heavy
        Seconds of training, as far as known.
    """

    lines: list[Line] = field(default_factory=list)
    heavy: float = 0.0

    def unknown(self) -> list[Line]:
        """Sorts of which tasks are left that nothing is known of."""
        return [line for line in self.lines if line.left and line.seconds is None]

    def seconds(self) -> float:
        """Seconds of all that is known."""
        return sum(line.seconds or 0.0 for line in self.lines)

    def size(self) -> float:
        """Bytes of all that is known."""
        return sum(line.size or 0.0 for line in self.lines)


def forecast(
    plan: Plan,
    there: Collection[str],
    store: Store,
    done: Iterable[Task],
    image_bytes: float,
    voxels: int,
) -> Forecast:
    """Estimate what is left of a plan.

    Parameters
    ----------
    plan
        What is asked for.
    there
        Keys of its tasks that are finished.
    store
        Of the run folder.
    done
        Tasks that are finished in it, of this plan or an earlier one.
    image_bytes
        Of one harmonized image on the disk.
    voxels
        Of the cohort's grid.
    """
    known, finished = measured(done, store), set(there)
    trained = {_sort(task)[1] for task in plan.of_kind("fit") if task.heavy}
    lines: dict[Group, Line] = {}
    found = Forecast()
    for key, task in plan.tasks.items():
        group = _sort(task)
        line = lines.setdefault(group, Line(group))
        line.tasks += 1
        if key in finished:
            continue
        line.left += 1
        line.measured = group in known
        each = known.get(group) or _guess(task, known, image_bytes, voxels / 1e6, trained)
        if each is None or line.seconds is None or line.size is None:
            line.seconds = line.size = None
            continue
        seconds = each.seconds * _parts(task)
        line.seconds += seconds
        line.size += each.size * (1 if task.kind in STEADY else _parts(task))
        found.heavy += seconds if task.heavy else 0.0
    order = {kind: place for place, kind in enumerate(WORDS)}
    found.lines = sorted(lines.values(), key=lambda line: order.get(line.group[0], len(order)))
    return found


def _sort(task: Task) -> Group:
    """Tasks that take about as long as each other, in one line of the table."""
    kind, name = group_of(task)
    return kind, "" if kind in SAME else name


def measured(done: Iterable[Task], store: Store) -> dict[Group, Each]:
    """Mean seconds and bytes of finished tasks by sort, for each result that they need.

    A task that looks at twice as many results, a merge of all scans say, is taken to last twice as
    long.
    """
    sorts: dict[Group, list[Task]] = defaultdict(list)
    for task in done:
        sorts[_sort(task)].append(task)
    return {group: _mean(tasks, store) for group, tasks in sorts.items()}


def _parts(task: Task) -> int:
    """Count the results that a task looks at, and itself where it needs none."""
    return max(1, len(task.needs))


def _mean(tasks: list[Task], store: Store) -> Each:
    seen = tasks[:: max(1, len(tasks) // SAMPLES)][:SAMPLES]
    parts = sum(_parts(task) for task in seen)
    folders = [store.path(task.key) for task in seen]
    seconds = sum(float(read_json(folder / "cost.json")["seconds"]) for folder in folders)
    sizes = (
        path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()
    )
    return Each(seconds / parts, sum(sizes) / (len(seen) if seen[0].kind in STEADY else parts))


def _guess(
    task: Task,
    known: Mapping[Group, Each],
    image_bytes: float,
    millions: float,
    trained: Collection[str],
) -> Each | None:
    """Guess what a task takes of a sort that was never done in this folder; None: nobody knows.

    What a network takes for an image is like no other method's.
    """
    kind, name = group = _sort(task)
    rates = GUESSES.get(group) or GUESSES.get(kind)
    if rates is None or (kind == "image" and name in trained):
        return None
    parts = _parts(task)
    alike = [each for other, each in known.items() if other[0] == kind and kind in ALIKE]
    seconds = rates[0] * millions / parts
    if alike:
        seconds = sum(each.seconds for each in alike) / len(alike)
    each_scan = parts if kind in GROWING else 1
    size = image_bytes if kind == "image" else rates[1] * millions
    return Each(seconds * each_scan, size if kind in STEADY else size / parts * each_scan)


def image_size(cohort: Cohort) -> float:
    """Bytes of a harmonized image: the first scan as float32, compressed as a run compresses.

    A grid's zeros outside the brain go, and noise within it stays, as in any other scan.
    """
    scan = cohort.scans[0]
    voxels = (scan.voxels() * np.float32(FILLING) * scan.brain()).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        path = Path(scratch) / "image.nii.gz"
        write_image(path, voxels, scan.grid)
        return float(path.stat().st_size)
