"""What the guards see: every method and control at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.panels import WIDTH, short
from harmobench.reports.figures.pareto import look
from harmobench.reports.guards import guard_columns
from harmobench.reports.rows import ESTIMATE, lined
from harmobench.reports.style import GRID, INK, label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harmobench.reports.formats import Cell

CHANCE = "chance, "
MOST = 7  # panels side by side


@styled
def guard_points(run: Finished) -> Figure:
    """Guards of HB-T12 that have intervals, a panel each, a line a method; dotted: RAW."""
    methods = lined(run.design.methods)
    read = {column.key: [cell(m) for m in methods] for column, cell in guard_columns(run)}
    names = [c.key for c, _ in guard_columns(run) if c.parts == ESTIMATE][:MOST]
    figure = new_figure(WIDTH, 0.6 + 0.2 * len(methods))
    grid = figure.subplots(1, max(len(names), 1), sharey=True, squeeze=False)[0]
    for axes, name in zip(grid, names, strict=False):
        chance = read.get(f"{CHANCE}{name.partition(', ')[2]}") if ", " in name else None
        _panel(axes, run, methods, read[name], chance if name.startswith("ident") else None)
        axes.set_title(name.replace(", ", ",\n").replace("individuality", "individu-\nality"))
    grid[0].set_yticks(range(len(methods)), [short(label(m)) for m in methods])
    grid[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


def _panel(
    axes: Axes, run: Finished, methods: list[str], cells: list[Cell], chance: list[Cell] | None
) -> None:
    looks = look(run)
    for y, (method, cell) in enumerate(zip(methods, cells, strict=True)):
        colour, marker, hollow = looks[method]
        if cell.value is None and method == "raw":
            axes.axvline(1, color=INK, linestyle=":", linewidth=0.8)
            continue
        if cell.value is None:
            axes.plot(
                [0.5], [y], "x", color=INK, markersize=4, transform=axes.get_yaxis_transform()
            )
            continue
        if cell.low is not None and cell.high is not None:
            axes.plot([cell.low, cell.high], [y, y], "-", color=colour, linewidth=1)
        axes.plot(
            [cell.value],
            [y],
            marker,
            color=colour,
            markersize=4.5,
            markerfacecolor="none" if hollow else colour,
        )
        if method == "raw":
            axes.axvline(cell.value, color=INK, linestyle=":", linewidth=0.8)
    for y, cell in enumerate(chance or ()):
        if cell.value is not None:
            axes.plot([cell.value], [y], "|", color=INK, markersize=8)
    axes.grid(visible=True, axis="x", color=GRID)
    known = np.array([c.value for c in cells if c.value is not None])
    axes.set_xlim(left=min(0.0, float(known.min()) if known.size else 0.0) - 0.05)
