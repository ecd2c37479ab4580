"""Figures 5 and 6: separation of grey and white matter intensities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.keys import above, keys
from harmobench.reports.figures.panels import (
    MANY,
    WIDTH,
    Spot,
    abbreviated,
    about,
    bars,
    legend,
    ring,
    rows_of,
)
from harmobench.reports.figures.tools import need
from harmobench.reports.images.outliers import beyond
from harmobench.reports.lookup import Lookup, compared, scores, values_by
from harmobench.reports.style import label, new_figure, scanner_look, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 36  # subjects that the panels of a row can name
LETTERS = 8  # of a subject's name on it
FEW = 6  # panels above which four stand side by side
CHANCE = 0.5


@styled
def auroc_lines(run: Finished) -> Figure:
    """AUROC of every subject, one line a scanner, one panel a method (paper, Fig. 5)."""
    methods = compared(run.design.methods)
    frame = scores(run, "auroc")
    need(run, frame, "AUROC scores")
    found = values_by(frame, ["method", "scanner"])
    columns = min(len(methods), 3 if len(methods) <= FEW else 4)
    rows = -(-len(methods) // columns)
    figure = new_figure(WIDTH, 0.8 + 1.6 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    spots: list[Spot] = []
    for axes, method in zip(grid, methods, strict=False):
        for i, scanner in enumerate(run.design.scanners):
            own = found.get((method, scanner), [])
            _line(axes, run.design.subjects, dict(own), i)
            spots += [
                Spot(axes, x, y, far, who, f"{scanner}, {label(method)}: {y:.3g}")
                for who, y, far in beyond(own)
                for x in [float(run.design.subjects.index(who))]
            ]
        axes.set_title(label(method))
        axes.grid(visible=True, axis="y")
        _name(axes, run.design.subjects, NAMED // columns)
    for axes in grid[len(methods) :]:
        axes.set_visible(False)
    for i, axes in enumerate(grid[: len(methods)]):
        axes.set_ylabel("" if i % columns else "AUROC")
        below = i + columns < len(methods)
        axes.set_xlabel("subject" if i // columns == rows - 1 else "")
        axes.tick_params(labelbottom=not below)
    ring(run, spots)
    short = abbreviated(run.design.scanners, 24)
    handles = [line for line in grid[0].lines if not str(line.get_label()).startswith("_")]
    for line, scanner in zip(handles, run.design.scanners, strict=False):
        line.set_label(short[scanner])
    above(figure, handles, keys(figure, {}))
    return figure


def _line(axes: Axes, subjects: Sequence[str], known: Mapping[str, float], place: int) -> None:
    colour, marker, _, line = scanner_look(place)
    axes.plot(
        [known.get(subject, np.nan) for subject in subjects],
        color=colour,
        marker=marker,
        linestyle=line,
        markersize=2.4 if len(subjects) <= MANY else 1.2,
        linewidth=0.9 if len(subjects) <= MANY else 0.7,
        label="scanner",
    )
    if not known:
        axes.text(0.5, 0.5, "no value", ha="center", transform=axes.transAxes)


def _name(axes: Axes, subjects: Sequence[str], most: int) -> None:
    """Name the subjects, or number them where there are many or their names are long."""
    count = len(subjects)
    if count <= most and max(map(len, subjects), default=0) <= LETTERS:
        longest = max(map(len, subjects), default=0)
        axes.set_xticks(range(count), list(subjects), rotation=90 if longest > 3 else 0)
    else:
        step = max(1, -(-count // 6))
        shown = range(step - 1, count, step)
        axes.set_xticks(list(shown), [str(i + 1) for i in shown])


@styled
def auroc_bars(run: Finished) -> Figure:
    """Mean AUROC with SD by scanner and method; bars start at .5, chance (paper, Fig. 6)."""
    lookup, methods = Lookup(run), compared(run.design.methods)
    places = lookup.cases("auroc", "mean")
    need(run, places, "AUROC scores")
    rows = rows_of(places, len(methods))
    figure = new_figure(WIDTH, 0.6 + 1.7 * max(len(rows), 1))
    grid = figure.subplots(max(len(rows), 1), 1, squeeze=False, sharey=True)[:, 0]
    short = abbreviated(run.design.scanners, 24)
    for axes, row in zip(grid, rows, strict=False):
        values = {
            (i, method): about(
                lookup.value("auroc", "mean", place, method),
                lookup.value("auroc", "sd", place, method),
            )
            for i, place in enumerate(row)
            for method in methods
        }
        names = [short.get(place.scanner, place.scanner) for place in row]
        bars(axes, names, methods, values, bottom=CHANCE, room=len(rows[0]))
        axes.set_ylabel("mean AUROC")
    legend(figure, methods, {"interval": "SD over subjects"})
    return figure
