"""Training curves of the methods that learn by steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.keys import above
from harmobench.reports.figures.panels import WIDTH, short
from harmobench.reports.figures.tools import need
from harmobench.reports.style import GRID, LINES, PALETTE, finite, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLOCKS = ("step", "epoch", "iteration", "batch")
PANELS = 12  # curves of one stage and quantity each
FALLS = 100.0  # from the largest value to the smallest: above this an axis is logarithmic

Rows = Sequence[Mapping[str, Any]]
Points = dict[str, list[tuple[float, float]]]


@styled
def training_curves(run: Finished, method: str) -> Figure:
    """Every quantity in a method's history, one colour a fold, against its step or epoch.

    Each stage has panels of its own; other text columns of a history, such as the scanner or the
    candidate, split it into curves. Rows with an "event" are no part of a curve.
    """
    histories = {
        fold: rows for (name, fold), rows in sorted(run.histories.items()) if name == method
    }
    every = [row for rows in histories.values() for row in rows]
    panels = panels_of(every)[:PANELS]
    need(run, panels, f"a training history of {method}")
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = new_figure(WIDTH, 0.6 + 1.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    clock = next((c for c in CLOCKS for row in every if c in row), "row")
    styles: dict[str, str] = {}
    for axes, (stage, name) in zip(grid, panels, strict=False):
        for place, history in enumerate(histories.values()):
            curves = curves_of(history, stage, name)
            _draw(axes, curves, PALETTE[place % len(PALETTE)], styles)
        axes.set_title(short(": ".join(filter(None, (stage, name.replace("_", " ")))), 26))
        axes.set_xlabel(clock)
        axes.grid(visible=True, color=GRID)
        _scale(axes)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _legend(figure, list(histories), styles)
    return figure


def quantities(rows: Rows) -> list[str]:
    """Return names of the numbers that change along a curve, without what counts the rows."""
    return list(dict.fromkeys(name for _, name in panels_of(rows)))


def panels_of(rows: Rows) -> list[tuple[str, str]]:
    """Return each stage with each number that changes along one of its curves."""
    seen: dict[tuple[str, str], dict[str, set[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if _number(value) and name not in CLOCKS and "event" not in row:
                stage = str(row.get("stage", ""))
                seen.setdefault((stage, name), {}).setdefault(_curve(row), set()).add(value)
    return [panel for panel, curves in seen.items() if any(len(v) > 1 for v in curves.values())]


def curves_of(rows: Rows, stage: str, name: str) -> Points:
    """Return the points (clock, value) of one stage's quantity, by the name of their curve."""
    curves: Points = {}
    for count, row in enumerate(rows):
        if row.get("stage", "") == stage and "event" not in row and _number(row.get(name)):
            clock = next((float(row[c]) for c in CLOCKS if _number(row.get(c))), float(count))
            curves.setdefault(_curve(row), []).append((clock, float(row[name])))
    return curves


def _curve(row: Mapping[str, Any]) -> str:
    texts = (v for k, v in row.items() if isinstance(v, str) and k != "stage")
    return ", ".join(texts)


def _draw(axes: Axes, curves: Points, color: str, styles: dict[str, str]) -> None:
    for name, points in curves.items():
        x, y = np.array(points).T
        y = np.where(np.isfinite(y), y, np.nan)
        axes.plot(
            x,
            y,
            marker="o" if len(x) == 1 else "",
            markersize=3,
            color=color,
            linestyle=styles.setdefault(name, LINES[len(styles) % len(LINES)]),
            linewidth=1,
        )


def _scale(axes: Axes) -> None:
    """Use a logarithmic axis where values fall by so much that their end would look like 0."""
    drawn = [np.asarray(line.get_ydata(), dtype="float64") for line in axes.lines]
    values = finite(np.concatenate(drawn)) if drawn else np.array([])
    if len(values) and values.min() > 0 and values.max() > FALLS * values.min():
        axes.set_yscale("log")


def _legend(figure: Figure, folds: Sequence[int], styles: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], label="all scans" if f < 0 else f"fold {f}")
        for i, f in enumerate(folds)
    ]
    if 1 < len(styles) <= len(LINES):
        handles += [
            Line2D([], [], color="0.5", linestyle=LINES[i], label=name)
            for i, name in enumerate(styles)
        ]
    elif len(styles) > len(LINES):
        handles.append(Line2D([], [], color="0.5", label=f"{len(styles)} candidates, a line each"))
    above(figure, handles)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
