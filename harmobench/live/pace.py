"""How long what is left of a plan takes, learned from the tasks that ended."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

from harmobench.task import Task

Group = tuple[str, str]
NAMES = {"segment": "tool", "measure": "tool", "summary": "metric", "merge": "metric"}
NAMES |= {"score": "metric", "calibrate": "metric", "rescore": "metric"}
RECENT = 20  # tasks of a group whose mean is taken: the first also load libraries
ENOUGH = 5  # tasks that must have ended before anything is said
SHORT = (
    "space",
    "everyone",
    "regions",
    "merge",
    "picture",
    "mosaic",
    "calibrate",
    "rescore",
)  # kinds that may be unseen: they take no time
ALIKE = ("image", "summary", "score")  # kinds whose groups take about as long as each other
MINUTE, HOUR, DAY = 60, 3600, 86400


class Left(NamedTuple):
    """Time left.

    Attributes
    ----------
    seconds
        Of what can be estimated.
    whole
        Whether that is all that is left.
    """

    seconds: float
    whole: bool


def group_of(task: Task) -> Group:
    """Tasks that take about as long as each other: kind, and tool, metric or method."""
    return task.kind, str(task.args.get(NAMES.get(task.kind, "method"), ""))


class Pace:
    """Counts what is left of tasks by group, and learns how long a task of each takes.

    Parameters
    ----------
    tasks
        Of the plan, by key.
    finished
        Keys of those that are finished already.
    """

    def __init__(self, tasks: Mapping[str, Task], finished: Collection[str]) -> None:
        self.seconds: dict[Group, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))
        self.left: Counter[tuple[str, Group]] = Counter()
        self.heavy: set[Group] = set()
        self.seen = 0
        self.workers = self.trainers = 1
        for key, task in tasks.items():
            self.heavy |= {group_of(task)} if task.heavy else set()
            self.left[_owner(task), group_of(task)] += key not in finished

    def learn(self, task: Task, seconds: float) -> None:
        """Take in how long a task took; one of 0 seconds was found finished."""
        if seconds > 0:
            self.seen += 1
            self.seconds[group_of(task)].append(seconds)

    def end(self, task: Task, seconds: float) -> None:
        """Count off a task that ended, however it did."""
        self.left[_owner(task), group_of(task)] -= 1
        self.learn(task, seconds)

    def watch(self, at_work: Collection[Task]) -> None:
        """Learn how many tasks are done at once, and how many of these train."""
        self.workers = max(self.workers, len(at_work))
        self.trainers = max(self.trainers, sum(task.heavy for task in at_work))

    def each(self, group: Group) -> float | None:
        """Seconds that a task of a group takes; None where none was seen."""
        own = self.seconds.get(group)
        if own:
            return sum(own) / len(own)
        if group[0] in SHORT:
            return 0.0
        others = [t for other, times in self.seconds.items() if other[0] == group[0] for t in times]
        return sum(others) / len(others) if others and group[0] in ALIKE else None

    def estimate(self, at_work: Mapping[str, tuple[Task, float]]) -> Left | None:
        """Time left, given tasks at work by key with their seconds so far; None: too early to say.

        Workers share all that is left; training is shared by those alone that train, and what the
        last fit holds up comes after it.
        """
        known = {place: self.each(place[1]) for place, count in self.left.items() if count > 0}
        unseen = sum(self.left[place] for place, each in known.items() if each is None)
        if self.seen < ENOUGH or 2 * unseen > sum(self.left.values()):
            return None
        work = {place: self.left[place] * each for place, each in known.items() if each is not None}
        begun = self._begun(at_work)
        heavy = sum(time for place, time in work.items() if place[1] in self.heavy) - begun[True]
        every = sum(work.values()) - begun[True] - begun[False]
        after = heavy / self.trainers + self._held_up(work) / self.workers
        return Left(max(every / self.workers, after if heavy > 0 else 0.0), unseen == 0)

    def _begun(self, at_work: Mapping[str, tuple[Task, float]]) -> Counter[bool]:
        """Seconds that are done already of heavy tasks, and of others."""
        begun: Counter[bool] = Counter()
        for task, seconds in at_work.values():
            begun[task.heavy] += min(seconds, self.each(group_of(task)) or 0.0)  # type: ignore[assignment]
        return begun

    def _held_up(self, work: Mapping[tuple[str, Group], float]) -> float:
        """Seconds of work that one more fit sets free: the most of any method."""
        most = 0.0
        for owner in {owner for (owner, group), time in work.items() if group in self.heavy}:
            fits = sum(self.left[p] for p in self.left if p[0] == owner and p[1][0] == "fit")
            freed = sum(t for (o, g), t in work.items() if o == owner and g not in self.heavy)
            most = max(most, freed / max(1, fits))
        return most


def _owner(task: Task) -> str:
    return str(task.args.get("method", ""))


def said(left: Left | None) -> str:
    """Time left as a person says it.

    >>> said(None), said(Left(40, True)), said(Left(700, True)), said(Left(12000, False))
    ('unknown yet', 'under a minute', 'about 12 min', 'at least 3 h 20 min')
    """
    if left is None:
        return "unknown yet"
    if left.seconds < MINUTE - 5 and left.whole:
        return "under a minute"
    return f"{'about' if left.whole else 'at least'} {spell(left.seconds)}"


def spell(seconds: float) -> str:
    """Spell a duration, coarser the longer it is.

    >>> spell(10), spell(700), spell(3000), spell(3590), spell(100000)
    ('1 min', '12 min', '50 min', '1 h', '1 day 4 h')
    """
    step = 1 if seconds < 20 * MINUTE else 5 if seconds < 3 * HOUR else 10
    minutes = max(1, round(seconds / MINUTE / step) * step)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < DAY // MINUTE:
        rest = minutes % 60
        return f"{minutes // 60} h" + (f" {rest} min" if rest else "")
    hours = round(seconds / HOUR)
    days, rest = divmod(hours, 24)
    return f"{days} day{'s' if days != 1 else ''}" + (f" {rest} h" if rest else "")
