"""Training curves of the methods that learn by steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.panels import WIDTH
from harmobench.reports.style import GRID, LINES, PALETTE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLOCKS = ("step", "epoch", "iteration", "batch")
PANELS = 9  # quantities that a figure shows


@styled
def training_curves(run: Finished, method: str) -> Figure:
    """Every quantity in a method's history, one line a fold, against its step or epoch.

    Text columns of a history, such as the stage or the scanner, split it into curves of their own.
    """
    histories = {
        fold: rows for (name, fold), rows in sorted(run.histories.items()) if name == method
    }
    names = quantities([row for rows in histories.values() for row in rows])[:PANELS]
    columns = max(min(len(names), 3), 1)
    rows = max(-(-len(names) // columns), 1)
    figure = new_figure(WIDTH, 0.6 + 2.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        for place, (fold, history) in enumerate(histories.items()):
            _curves(axes, name, place, fold, history)
        axes.set_title(name.replace("_", " "))
        axes.grid(visible=True, color=GRID)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    _legend(figure, histories)
    return figure


def quantities(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return names of the numbers that change along a curve, without what counts the rows."""
    seen: dict[str, dict[tuple[str, ...], set[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if _number(value) and name not in CLOCKS:
                seen.setdefault(name, {}).setdefault(_part(row), set()).add(value)
    return [name for name, parts in seen.items() if any(len(v) > 1 for v in parts.values())]


def _part(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name} {value}" for name, value in row.items() if isinstance(value, str))


def _curves(
    axes: Axes, name: str, place: int, fold: int, history: Sequence[Mapping[str, Any]]
) -> None:
    parts: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for count, row in enumerate(history):
        if name in row and _number(row[name]):
            clock = next((float(row[c]) for c in CLOCKS if _number(row.get(c))), float(count))
            parts.setdefault(_part(row), []).append((clock, float(row[name])))
    for i, points in enumerate(parts.values()):
        x, y = np.array(points).T
        y = np.where(np.isfinite(y), y, np.nan)
        marker = "o" if len(x) == 1 else ""
        axes.plot(
            x,
            y,
            marker=marker,
            markersize=3,
            color=PALETTE[place % len(PALETTE)],
            linestyle=LINES[i % len(LINES)],
            linewidth=1,
        )
    axes.set_xlabel(next((c for c in CLOCKS for row in history if c in row), "row"))


def _legend(figure: Figure, histories: Mapping[int, Sequence[Mapping[str, Any]]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], label="all scans" if f < 0 else f"fold {f}")
        for i, f in enumerate(histories)
    ]
    stages = dict.fromkeys(
        ", ".join(str(v) for v in row.values() if isinstance(v, str))
        for rows in histories.values()
        for row in rows
    )
    if len(stages) > 1:
        handles += [
            Line2D([], [], color="0.5", linestyle=LINES[i % len(LINES)], label=name)
            for i, name in enumerate(list(stages)[: len(LINES)])
        ]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 8))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
