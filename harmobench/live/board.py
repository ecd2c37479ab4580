"""The live view of a run on a terminal: one bar for all, below it a line for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harmobench.live.pace import said
from harmobench.plain import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from harmobench.live.course import Course

NAME = 14  # characters of a name that are shown
BAR = 12
NARROW = 60  # columns below which there is no room for bars
MARGIN = 5  # lines of the terminal that methods leave free


class Step(NamedTuple):
    """What is done in the process itself: steps done, steps in all, and what."""

    done: int
    total: int
    what: str


def board(course: Course | None, step: Step | None, size: tuple[int, int]) -> Table:
    """Lay out the view for a terminal of some columns and lines."""
    from rich.table import Table

    wide = size[0] >= NARROW
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True, overflow="crop", max_width=NAME)
    if wide:
        grid.add_column(width=BAR)
    grid.add_column(no_wrap=True, overflow="crop", justify="right")
    grid.add_column(no_wrap=True, overflow="crop", ratio=1)
    if course is not None:
        _add_course(grid, course, size[1] - MARGIN, wide)
    if step is not None:
        name = "working" if course is None else "report"
        _add(grid, (name, step.done, step.total, step.what), wide)
    return grid


def _add_course(grid: Table, course: Course, room: int, wide: bool) -> None:
    done, total = len(course.ended), len(course.tasks)
    _add(grid, ("all tasks", done, total, headline(course)), wide)
    open_ = [line for line in course.total if course.done[line] < course.total[line]]
    busy = {line: course.now(line) for line in open_}
    shown = open_ if len(open_) <= room else [line for line in open_ if busy[line]][:room]
    for line in shown:
        _add(grid, (line, course.done[line], course.total[line], busy[line]), wide)
    others = [line for line in open_ if line not in shown]
    if others:
        _note(grid, f"{len(others)} more", ", ".join(others), wide)
    over = [line for line in course.total if line not in open_]
    if over and open_:
        _note(grid, f"{len(over)} finished", ", ".join(over), wide)


def headline(course: Course) -> str:
    """Time passed and left, and how much failed."""
    seconds = int(course.clock() - course.begun)
    passed = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    failed = f", {course.failed} failed" if course.failed else ""
    if course.over:
        return f"{passed}{failed}"
    return f"{passed}{failed}, time left: {said(course.left)}"


def _add(grid: Table, row: tuple[str, int, int, str], wide: bool) -> None:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    name, done, total, what = row
    bar = [ProgressBar(max(total, 1), done, width=BAR)] if wide else []
    grid.add_row(Text(one_line(name)), *bar, Text(f"{done}/{total}"), Text(one_line(what)))


def _note(grid: Table, name: str, what: str, wide: bool) -> None:
    from rich.text import Text

    grid.add_row(Text(name), *([""] if wide else []), "", Text(one_line(what), style="dim"))
