"""How far a run is, where it runs: a terminal, a log, or a notebook's cell."""

from __future__ import annotations

import importlib
import io
import sys
import time
from collections.abc import Callable, Collection
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harmobench.live.board import Step, board
from harmobench.live.course import Course
from harmobench.live.show import Quiet, news, watcher
from harmobench.plain import plain

if TYPE_CHECKING:
    from harmobench.plan import Plan
    from harmobench.task import Task
    from harmobench.worker import Outcome

SECONDS = 0.5  # between two pictures of the same view
SIZE = (96, 30)  # columns and lines of the view


def watcher_here(quiet: bool) -> Quiet:
    """Return what shows a run here: a notebook gets one view that is drawn again and again."""
    return Cell() if not quiet and in_notebook() else watcher(quiet)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class Cell(Quiet):
    """The terminal's view in the output of a notebook's cell.

    Parameters
    ----------
    clock
        Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.course: Course | None = None
        self.stepping: Step | None = None
        self.drawn = -SECONDS
        self.handle: Any = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state of a run in the cell; of other work that is done, nothing."""
        if self.handle is None:
            return
        if self.course is None and error is None:
            self.show("")
        else:
            self.draw(at_once=True)

    def step(self, done: int, total: int, what: str) -> None:
        """Show progress of work in this process."""
        self.stepping = Step(done, total, what)
        self.draw()

    def say(self, text: str) -> None:
        """Print one line."""
        print(text)

    def must(self, text: str) -> None:
        """Print one line."""
        self.say(plain(text))

    def start(self, plan: Plan, finished: Collection[str], folder: Path) -> None:
        """Show a line for each method."""
        self.stepping = None
        self.course = Course(plan.tasks, finished, folder)
        self.draw(at_once=True)

    def task(self, task: Task, outcome: Outcome) -> None:
        """Take in that a task ended, and say what failed."""
        for text in news(task, outcome):
            self.say(text)
        if self.course is not None:
            self.course.end(task, outcome.status, outcome.seconds)
        self.draw()

    def draw(self, *, at_once: bool = False) -> None:
        """Draw the view, unless that was done a moment ago."""
        if not at_once and self.clock() - self.drawn < SECONDS:
            return
        self.drawn = self.clock()
        if self.course is not None:
            self.course.look()
        self.show(f"<pre style='line-height:1.25'>{escape(self.view())}</pre>")

    def show(self, text: str) -> None:
        """Put HTML in the place of what was shown before."""
        shell: Any = importlib.import_module("IPython.display")  # where this is called, it is there
        page = shell.HTML(text)
        if self.handle is None:
            self.handle = shell.display(page, display_id=True)
        else:
            self.handle.update(page)

    def view(self) -> str:
        """Return the view as lines of text."""
        from rich.console import Console

        stream = io.StringIO()
        console = Console(
            file=stream, width=SIZE[0], height=SIZE[1], color_system=None, force_jupyter=False
        )
        console.print(board(self.course, self.stepping, SIZE))
        return "\n".join(text.rstrip() for text in stream.getvalue().splitlines())
