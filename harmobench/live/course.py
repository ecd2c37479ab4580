"""Where a plan stands while it is done: what ended, what is at work, and the time left."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from harmobench.doing import Doing, read, stamps
from harmobench.live.pace import Group, Left, Pace, group_of
from harmobench.store import Store
from harmobench.task import Task

LOOK_SECONDS = 1.0  # between two looks at what is at work
SHARED = "for all"  # the line of tasks that are of no method
SAMPLES = 3  # finished tasks of a group whose seconds are read where a run goes on
WORDS = {
    "preprocess": "preprocessing",
    "space": "bringing the atlas",
    "image": "harmonizing",
    "everyone": "listing RAW",
    "piece": "training candidates",
    "fit": "training",
    "tissue": "tissue labels",
    "segment": "segmenting",
    "regions": "carrying regions",
    "measure": "measuring regions",
    "summary": "summarizing",
    "merge": "merging",
    "score": "scoring",
    "calibrate": "learning from measures",
    "rescore": "changing measures",
    "picture": "pictures",
    "mosaic": "mosaics",
}


class Course:
    """Follows the tasks of a plan.

    Parameters
    ----------
    tasks
        By key.
    finished
        Keys of those that were finished before.
    folder
        The run folder: what is at work stands in its running/, what tasks took in its store.
    clock
        Gives seconds.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        finished: Collection[str],
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tasks = dict(tasks)
        self.ended = set(finished)
        self.folder = folder
        self.clock = clock
        self.begun = clock()
        self.failed = 0
        self.at_work: dict[str, Doing] = {}
        self.total = Counter(line_of(task) for task in tasks.values())
        self.done = Counter(line_of(tasks[key]) for key in finished)
        self.folds = _folds(tasks)
        self.pace = Pace(tasks, finished)
        self._order = {key: place for place, key in enumerate(tasks)}
        self._since: dict[str, float] = {}
        self._looked = -LOOK_SECONDS
        self._old = stamps(folder)  # of a run that was stopped
        self._lock = threading.Lock()
        self._remember(finished)

    def _remember(self, finished: Collection[str]) -> None:
        store, read_already = Store(self.folder / "store"), Counter[Group]()
        for key in sorted(finished):
            task = self.tasks[key]
            if read_already[group_of(task)] < SAMPLES:
                read_already[group_of(task)] += 1
                self.pace.learn(task, _seconds(store.path(key) / "cost.json"))

    def end(self, task: Task, status: str, seconds: float) -> None:
        """Take in how a task ended; one that was lost with its worker is done again."""
        with self._lock:
            self.at_work.pop(task.key, None)
            if status == "lost" or task.key in self.ended:
                return
            self.ended.add(task.key)
            self.failed += status == "failed"
            self.done[line_of(task)] += 1
            if task.key in self.tasks:
                self.pace.end(task, seconds if status == "done" else 0.0)
            else:  # a plan around failures has others
                self.tasks[task.key] = task
                self.total[line_of(task)] += 1

    def look(self) -> None:
        """See what is at work, at most once a second."""
        with self._lock:
            now = self.clock()
            if now - self._looked < LOOK_SECONDS:
                return
            self._looked = now
            found = stamps(self.folder)
            new = {k for k, stamp in found.items() if self._old.get(k) != stamp} - self.ended
            keys = sorted(new & self._order.keys(), key=self._order.__getitem__)
            self._since = {key: self._since.get(key, now) for key in keys}
            self.at_work = {key: read(self.folder, key) for key in keys}
            self.pace.watch([self.tasks[key] for key in keys])

    @property
    def left(self) -> Left | None:
        """Time left; None where it is too early to say."""
        with self._lock:
            now = self.clock()
            return self.pace.estimate(
                {
                    key: (self.tasks[key], now - since)
                    for key, since in self._since.items()
                    if key not in self.ended
                }
            )

    @property
    def over(self) -> bool:
        """Whether every task ended."""
        return len(self.ended) >= len(self.tasks)

    def now(self, line: str) -> str:
        """Say what is at work of a line: training first, else one of the others."""
        at_work = [(self.tasks[key], doing) for key, doing in self.at_work.items()]
        own = [(task, doing) for task, doing in at_work if line_of(task) == line]
        training = [self._trains(task, doing) for task, doing in own if _by_fold(task)]
        return "; ".join(training) or next((_does(task) for task, _ in own), "")

    def _trains(self, task: Task, doing: Doing) -> str:
        fold, folds = task.args.get("fold", -1), self.folds[line_of(task)]
        which = f"fold {fold + 1} of {folds} " if fold >= 0 else ""
        again = f"of repeat {task.args['repeat'] + 1} " if task.args.get("repeat") else ""
        share = f" {100 * doing.done // doing.total}%" if doing.total > 0 else ""
        what = _without_name(doing.what, line_of(task))
        return f"{which}{again}{WORDS[task.kind]}{share}{', ' if what else ''}{what}"


def line_of(task: Task) -> str:
    """Line of the display that a task belongs to: its method, else what methods share."""
    return str(task.args.get("method") or (SHARED if task.kind in WORDS else task.kind))


def _without_name(what: str, name: str) -> str:
    head, colon, rest = what.partition(": ")
    return rest if colon and head.casefold() == name.casefold() else what


def _by_fold(task: Task) -> bool:
    return task.kind in ("fit", "piece")


def _does(task: Task) -> str:
    parts = [str(task.args.get(name) or "") for name in ("tool", "metric", "subject", "scanner")]
    return " ".join(filter(None, [WORDS.get(task.kind, task.kind), *parts]))


def _folds(tasks: Mapping[str, Task]) -> Counter[str]:
    seen = {(line_of(t), t.args.get("fold", -1)) for t in tasks.values() if t.kind == "fit"}
    return Counter(line for line, fold in seen if fold >= 0)


def _seconds(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # it only serves an estimate
        return 0.0
