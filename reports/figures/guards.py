"""What the guards see: every method and control at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.keys import ABSENT, above, keys
from harmobench.reports.figures.names import short
from harmobench.reports.figures.pareto import look
from harmobench.reports.figures.tools import need
from harmobench.reports.lookup import compared
from harmobench.reports.style import GRID, INK, WIDTH, label, new_figure, styled
from harmobench.reports.tables.guards import guard_columns
from harmobench.reports.tables.rows import ESTIMATE, lined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harmobench.reports.tables.formats import Cell

CHANCE = "chance, "
MOST = 8  # panels of a figure
ACROSS = 4  # panels side by side


@styled
def guard_points(run: Finished) -> Figure:
    """Guards of HB-T12 that have intervals, a panel each, a line a method; dotted: RAW."""
    methods = lined(run.design.methods)
    columns = guard_columns(run)
    read = {column.key: [cell(m) for m in methods] for column, cell in columns}
    names = [column.key for column, _ in columns if column.parts == ESTIMATE]
    names = [name for name in names if any(x.value is not None for x in read[name])][:MOST]
    need(run, names, "guards with intervals")
    across = min(ACROSS, len(names))
    rows = -(-len(names) // across)
    figure = new_figure(WIDTH, 0.5 + rows * (0.45 + 0.145 * len(methods)))
    grid = figure.subplots(rows, across, sharey=True, squeeze=False).ravel()
    chances = 0
    for axes, name in zip(grid, names, strict=False):
        chance = read.get(f"{CHANCE}{name.partition(', ')[2]}") if ", " in name else None
        chance = chance if name.startswith("ident") else None
        _panel(axes, run, methods, read[name], chance)
        chances += bool(chance)
        axes.set_title(name)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    grid[0].set_yticks(range(len(methods)), [short(label(m), 20) for m in methods])
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    above(figure, _handles(chances > 0), keys(figure, {}))
    return figure


def _handles(chance: bool) -> Sequence[Any]:
    from matplotlib.lines import Line2D

    looks: list[tuple[str, dict[str, Any]]] = [
        ("mean with 95% interval", {"marker": "o", "linestyle": "-", "markersize": 4}),
        ("control", {"marker": "s", "linestyle": "", "markersize": 4, "markerfacecolor": "none"}),
        ("RAW", {"linestyle": ":", "linewidth": 0.9}),
    ]
    if chance:
        looks.append(("chance", {"marker": "|", "linestyle": "", "markersize": 7}))
    return [Line2D([], [], color=INK, label=name, **how) for name, how in looks]


def _panel(
    axes: Axes,
    run: Finished,
    methods: Sequence[str],
    cells: Sequence[Cell],
    chance: Sequence[Cell] | None,
) -> None:
    looks = look(run)
    axes.grid(visible=True, axis="x", color=GRID)
    aside = len(compared(run.design.methods)) - 0.5
    if aside < len(methods) - 1:
        axes.axhline(aside, color=GRID, linewidth=0.8)  # controls stand below
    for y, (method, cell) in enumerate(zip(methods, cells, strict=True)):
        if method == "raw":  # 1 where the guard is against RAW and has no value of its own
            axes.axvline(1 if cell.value is None else cell.value, color=INK, linestyle=":", lw=0.9)
        if cell.value is not None:
            _point(axes, y, cell, looks[method])
        elif method != "raw":
            where = axes.get_yaxis_transform()
            axes.plot([0.5], [y], "x", color=INK, ms=3.5, mew=0.8, transform=where, label=ABSENT)
    for y, cell in enumerate(chance or ()):
        if cell.value is not None:
            axes.plot([cell.value], [y], "|", color=INK, markersize=6)
    known = np.array([c.value for c in cells if c.value is not None])
    axes.set_xlim(left=min(0.0, float(known.min()) if known.size else 0.0) - 0.05)
    axes.tick_params(axis="y", length=0)


def _point(axes: Axes, y: int, cell: Cell, look: tuple[str, str, bool]) -> None:
    colour, marker, hollow = look
    if cell.low is not None and cell.high is not None:
        axes.plot([cell.low, cell.high], [y, y], "-", color=colour, linewidth=1)
    fill = "none" if hollow else colour
    axes.plot(cell.value or 0.0, y, marker, color=colour, markersize=4, markerfacecolor=fill)
