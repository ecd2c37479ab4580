"""What a person sees while something runs: progress bars by kind of task, or nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from harmobench.plan import Plan
    from harmobench.runner import Outcome
    from harmobench.task import Task

TOLD = 10
WORDS = {
    "preprocess": "preprocessing",
    "space": "bringing the atlas",
    "image": "harmonizing",
    "piece": "training candidates",
    "fit": "training",
    "tissue": "tissue labels",
    "segment": "segmenting",
    "regions": "carrying regions",
    "measure": "measuring regions",
    "summary": "summarizing",
    "merge": "merging",
    "score": "scoring",
    "picture": "pictures",
}


def news(task: Task, outcome: Outcome) -> list[str]:
    """Lines that must be read: what failed, and what a plugin warned of."""
    failed = [f"failed: {task.label}: {outcome.reason}"] if outcome.status == "failed" else []
    return failed + [f"warning: {task.label}: {text}" for text in outcome.warnings]


class Quiet:
    """Shows nothing but what must be read: for scripts."""

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""

    def step(self, done: int, total: int, what: str) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def start(self, plan: Plan, finished: Collection[str]) -> None:
        """Show nothing."""

    def task(self, task: Task, outcome: Outcome) -> None:
        """Show failures and warnings alone."""
        for text in news(task, outcome):
            sys.stderr.write(f"{text}\n")


class Bars(Quiet):
    """Progress bars on a terminal; plain lines where there is none."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self.console = Console(highlight=False, soft_wrap=True)
        self.bars: Progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[what]}"),
            console=self.console,
        )
        self.kinds: dict[str, TaskID] = {}
        self.stepping: TaskID | None = None
        self.totals: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Start the display."""
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self.bars.stop()

    def step(self, done: int, total: int, what: str) -> None:
        """Show progress of work in this process on one bar that is used again."""
        if self.stepping is None:
            self.stepping = self.bars.add_task("preparing", total=total, what="")
        self.bars.update(self.stepping, completed=done, total=total, what=what[:48])

    def say(self, text: str) -> None:
        """Show one line above the bars."""
        self.console.print(text, markup=False)

    def start(self, plan: Plan, finished: Collection[str]) -> None:
        """Show a bar for each kind of task."""
        if finished:
            total = len(plan.tasks)
            self.say(f"{len(finished)} of {total} tasks are finished already and are not repeated")
        counts = Counter(task.kind for task in plan.tasks.values())
        there = Counter(plan.tasks[key].kind for key in finished)
        self.totals, self.ended = counts, there.copy()
        for kind in (kind for kind in WORDS if counts[kind]):
            total = counts[kind]
            self.kinds[kind] = self.bars.add_task(
                WORDS[kind], total=total, completed=there[kind], what=""
            )

    def tell(self, kind: str) -> None:
        """Say how many of a kind are done, ten times at most: a log file shows no bars."""
        self.ended[kind] += 1
        total = self.totals[kind]
        before, now = ((done * TOLD) // total for done in (self.ended[kind] - 1, self.ended[kind]))
        if now > before:
            self.say(f"{WORDS.get(kind, kind)}: {self.ended[kind]} of {total}")

    def task(self, task: Task, outcome: Outcome) -> None:
        """Advance the bar of this kind, and say what failed."""
        for text in news(task, outcome):
            self.say(text)
        if not self.console.is_terminal:
            self.tell(task.kind)
        if task.kind in self.kinds:
            label = task.label.partition(" ")[2]
            self.bars.update(self.kinds[task.kind], advance=1, what=label[:48])
