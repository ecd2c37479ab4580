"""How wide the columns of a table are in LaTeX, and which of them stand in one panel.

Widths are estimated, so that tables are written without LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from harmobench.reports.tables.formats import Cell, Column, Table
from harmobench.reports.tables.tex import width

PAGE = 344.0  # points: within \textwidth of article at 10 pt (345), the narrowest usual one
GAP = 8.0  # between columns: 2 x \tabcolsep
SIZES = (9, 8)  # tried from large to small before a table is split; 8 where it is
GROUPED = ("measure", "tool", "space", "structure", "units")  # may stand over lines
STUBS = ("method", "scanner pair", "scanner", *GROUPED)  # name a line, where they come first
WORDS = 110.0  # points: a text column that is wider breaks its lines
HEAD = 62.0  # points: a heading that is wider breaks, unless its numbers need more
NEGATIVE = re.compile(r"(?<![\w.])-(?=[\d.])")


@dataclass(frozen=True)
class Shape:
    """Columns that stand over lines, that name them, and the rest, with widths in points."""

    table: Table
    size: int
    over: tuple[int, ...]
    stub: tuple[int, ...]
    rest: tuple[int, ...]
    widths: tuple[float, ...]

    def total(self, columns: Sequence[int]) -> float:
        """Return the width of a panel of these columns."""
        return sum(self.widths[i] for i in columns) + GAP * max(len(columns) - 1, 0)


def shape_of(table: Table) -> Shape:
    """Choose the largest letters with which the table needs no panels, else small ones."""
    shapes = [_measured(table, size) for size in SIZES]
    fitting = [s for s in shapes if s.total((*s.stub, *s.rest)) <= PAGE]
    return _shared(fitting[0] if fitting else shapes[-1])


def _measured(table: Table, size: int) -> Shape:
    first = _leading(table.columns)
    over = tuple(i for i in first[:-1] if table.columns[i].key in GROUPED)
    if len(first) > 1 and table.columns[first[-1]].key in GROUPED:  # no column names single lines
        over = ()
    stub = tuple(i for i in first if i not in over)
    rest = tuple(i for i in range(len(table.columns)) if i not in first)
    widths = tuple(
        _width(column, [row[i] for row in table.rows], size)
        for i, column in enumerate(table.columns)
    )
    return Shape(table, size, over, stub, rest, widths)


def _leading(columns: Sequence[Column]) -> list[int]:
    """Columns that name a line: the first ones; where numbers follow, the first in any case."""
    numbers = any(column.measured for column in columns)
    found = []
    for i, column in enumerate(columns):
        if column.measured or not (column.key in STUBS or (numbers and not i)):
            break
        found.append(i)
    return found


def _width(column: Column, cells: Sequence[Cell], size: int) -> float:
    widest = max((cell_width(cell, size) for cell in cells), default=0.0)
    words = column.heading.split() or [""]
    head = min(max(width(word, size) for word in words), HEAD)
    head = max(head, min(width(column.heading, size), HEAD / 2))
    return max(widest if column.measured else min(widest, WORDS), head, 1.0)


def cell_width(cell: Cell, size: int) -> float:
    """Return how wide a cell is in one line, without its star."""
    return width(shown(cell), size, bold=cell.best)


def _shared(shape: Shape) -> Shape:
    """Where no column names the lines there are no panels: the widest columns share the page."""
    if shape.stub or shape.total(shape.rest) <= PAGE:
        return shape
    room = PAGE - GAP * (len(shape.rest) - 1)
    cap = max(shape.widths)
    while sum(min(w, cap) for w in shape.widths) > room:
        cap -= 1.0
    widths = tuple(min(w, cap) for w in shape.widths)
    return replace(shape, widths=widths)


def _panels(shape: Shape, room: float) -> Iterator[tuple[int, ...]]:
    """Yield the columns of each panel, as many as fit beside those that name the lines."""
    panel = list(shape.stub)
    for i in shape.rest:
        if len(panel) > len(shape.stub) and shape.total([*panel, i]) > room:
            yield tuple(panel)
            panel = list(shape.stub)
        panel.append(i)
    yield tuple(panel)


def balanced(shape: Shape) -> list[tuple[int, ...]]:
    """Return as few panels as there can be, of about the same width."""
    panels = list(_panels(shape, PAGE))
    for room in range(int(max(shape.widths)), int(PAGE)):
        even = list(_panels(shape, room))
        if len(even) == len(panels):
            return even
    return panels


def widened(shape: Shape, panel: Sequence[int]) -> Shape:
    """Give what a panel leaves of the page to its text columns that break their lines."""
    widths = list(shape.widths)
    for i in panel:
        if not shape.table.columns[i].measured:
            wanted = max(cell_width(row[i], shape.size) for row in shape.table.rows)
            spare = PAGE - sum(widths[k] for k in panel) - GAP * (len(panel) - 1)
            widths[i] = max(widths[i], min(wanted, widths[i] + max(spare, 0.0)))
    return replace(shape, widths=tuple(widths))


def height(shape: Shape, panel: Sequence[int]) -> float:
    """Return about how many lines a panel is high."""
    rows = sum(
        max(max(1, ceil(cell_width(row[i], shape.size) / shape.widths[i])) for i in panel)
        for row in shape.table.rows
    )
    heads = {tuple(row[i].shown for i in shape.over) for row in shape.table.rows}
    return rows + len(heads) + 4


def shown(cell: Cell) -> str:
    """Return what a cell shows, with a number's minus as one."""
    text = cell.shown
    return NEGATIVE.sub("\N{MINUS SIGN}", text) if cell.value is not None else text
