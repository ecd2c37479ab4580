"""What a person sees while something runs: a live view, plain lines in a log, or nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harmobench.live.board import Step, board
from harmobench.live.course import WORDS, Course
from harmobench.live.pace import said
from harmobench.plain import one_line, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from harmobench.plan import Plan
    from harmobench.task import Task
    from harmobench.worker import Outcome

TOLD = 10  # lines of a log for each kind of task, at most
STEP_SECONDS = 10.0  # between two lines of a log about steps
REFRESHES = 2  # of the live view a second


def news(task: Task, outcome: Outcome) -> list[str]:
    """Lines that must be read: what failed, and what a plugin warned of."""
    failed = [f"failed: {task.label}: {outcome.reason}"] if outcome.status == "failed" else []
    warned = [f"warning: {task.label}: {text}" for text in outcome.warnings]
    return [plain(text) for text in [*failed, *warned]]


def watcher(quiet: bool) -> Quiet:
    """Return what shows a run here: a terminal gets the live view, a log plain lines."""
    if quiet:
        return Quiet()
    from rich.console import Console

    console = Console(highlight=False)
    return Live(console) if console.is_interactive and console.file.isatty() else Lines()


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

    def must(self, text: str) -> None:
        """Show one line that must be read."""
        sys.stderr.write(f"{plain(text)}\n")

    def start(self, plan: Plan, finished: Collection[str], folder: Path) -> None:
        """Show nothing."""

    def task(self, task: Task, outcome: Outcome) -> None:
        """Show failures and warnings alone."""
        for text in news(task, outcome):
            sys.stderr.write(f"{text}\n")


class Lines(Quiet):
    """Plain lines, few enough for the log of a batch system.

    Parameters
    ----------
    clock
        Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.course: Course | None = None
        self.totals: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.stepped = clock()

    def say(self, text: str) -> None:
        """Print one line."""
        print(text, flush=True)

    def must(self, text: str) -> None:
        """Print one line."""
        self.say(plain(text))

    def step(self, done: int, total: int, what: str) -> None:
        """Print where work in this process stands, if it takes long."""
        if self.clock() - self.stepped >= STEP_SECONDS:
            self.stepped = self.clock()
            self.say(f"{done} of {total}: {one_line(what)}")

    def start(self, plan: Plan, finished: Collection[str], folder: Path) -> None:
        """Take in a plan."""
        self.course = Course(plan.tasks, finished, folder, self.clock)
        self.totals = Counter(task.kind for task in plan.tasks.values())
        self.ended = Counter(plan.tasks[key].kind for key in finished)

    def task(self, task: Task, outcome: Outcome) -> None:
        """Say what failed, and how many of a kind are done, ten times at most."""
        for text in news(task, outcome):
            self.say(text)
        if self.course is None or outcome.status == "lost":
            return
        self.course.look()
        self.course.end(task, outcome.status, outcome.seconds)
        if outcome.status != "skipped":
            self._count(task.kind, self.course)

    def _count(self, kind: str, course: Course) -> None:
        self.ended[kind] += 1
        done, total = self.ended[kind], max(self.totals[kind], self.ended[kind])
        if done * TOLD // total > (done - 1) * TOLD // total:
            left = "" if course.over else f", time left: {said(course.left)}"
            self.say(f"{WORDS.get(kind, kind)}: {done} of {total}{left}")


class Live(Quiet):
    """The live view.

    Parameters
    ----------
    console
        Of the terminal.
    """

    def __init__(self, console: Console) -> None:
        from rich.live import Live as Display

        self.console = console
        self.course: Course | None = None
        self.stepping: Step | None = None
        self.display = Display(
            get_renderable=self.view,
            console=console,
            refresh_per_second=REFRESHES,
            vertical_overflow="crop",
        )

    def view(self) -> Table:
        """Lay out what is shown now."""
        if self.course is not None:
            self.course.look()
        return board(self.course, self.stepping, (self.console.width, self.console.height))

    def __enter__(self) -> Self:
        """Start the display."""
        self.display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self.display.stop()

    def step(self, done: int, total: int, what: str) -> None:
        """Show progress of work in this process on one line that is used again."""
        self.stepping = Step(done, total, what)

    def say(self, text: str) -> None:
        """Show one line above the view."""
        self.console.print(text, markup=False, soft_wrap=True)

    def must(self, text: str) -> None:
        """Show one line above the view."""
        self.say(plain(text))

    def start(self, plan: Plan, finished: Collection[str], folder: Path) -> None:
        """Show a line for each method."""
        self.stepping = None
        self.course = Course(plan.tasks, finished, folder)

    def task(self, task: Task, outcome: Outcome) -> None:
        """Take in that a task ended, and say what failed."""
        for text in news(task, outcome):
            self.say(text)
        if self.course is not None:
            self.course.end(task, outcome.status, outcome.seconds)
