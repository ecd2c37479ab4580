"""Figures 5 and 6: separation of grey and white matter intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.panels import WIDTH, bars, legend, short
from harmobench.reports.lookup import Lookup, compared, scores, values_by
from harmobench.reports.style import (
    GRID,
    LINES,
    MARKERS,
    PALETTE,
    label,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 12  # subjects that an axis can name


@styled
def auroc_lines(run: Finished) -> Figure:
    """AUROC of every subject, one line a scanner, one panel a method (paper, Fig. 5)."""
    methods, subjects = compared(run.design.methods), list(run.design.subjects)
    found = values_by(scores(run, "auroc"), ["method", "scanner"])
    columns = min(len(methods), 3)
    rows = -(-len(methods) // columns)
    figure = new_figure(WIDTH, 0.7 + 2.1 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, method in zip(grid, methods, strict=False):
        for i, scanner in enumerate(run.design.scanners):
            known = dict(found.get((method, scanner), ()))
            axes.plot(
                [known.get(subject, np.nan) for subject in subjects],
                color=PALETTE[i % len(PALETTE)],
                marker=MARKERS[i % len(MARKERS)],
                linestyle=LINES[(i // len(PALETTE)) % len(LINES)],
                markersize=3,
                linewidth=1.1,
                label=short(scanner),
            )
        axes.set_title(label(method))
        axes.grid(visible=True, axis="y", color=GRID)
        named = len(subjects) <= NAMED
        axes.set_xticks(
            range(len(subjects)),
            [short(s, 10) if named else "" for s in subjects],
            rotation=45 if max(map(len, subjects), default=0) > 4 else 0,
        )
    for axes in grid[len(methods) :]:
        axes.set_visible(False)
    figure.supxlabel("Subject", fontsize=8)
    figure.supylabel("AUROC", fontsize=8)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 8))
    return figure


@styled
def auroc_bars(run: Finished) -> Figure:
    """Mean AUROC with SD by scanner and method; bars start at .5, chance (paper, Fig. 6)."""
    lookup, methods = Lookup(run), compared(run.design.methods)
    places = [place for place in lookup.places("auroc", "mean") if place.scanner]
    figure = new_figure(WIDTH, 3.0)
    axes = figure.subplots()
    values = {
        (i, method): (
            lookup.value("auroc", "mean", place, method),
            lookup.value("auroc", "sd", place, method),
        )
        for i, place in enumerate(places)
        for method in methods
    }
    bars(axes, [short(place.scanner) for place in places], methods, values, bottom=0.5)
    axes.set_ylabel("mean AUROC")
    legend(figure, methods)
    return figure
