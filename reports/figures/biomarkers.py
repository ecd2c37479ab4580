"""Figure 11 and effect sizes: region measures of FreeSurfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmobench.interface import Finished
from harmobench.reports.figures.panels import WIDTH, bars, legend
from harmobench.reports.lookup import Lookup, compared
from harmobench.reports.style import INK, label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def biomarker_rmsd_bars(run: Finished) -> Figure:
    """Mean RMSD over scanner pairs of each biomarker and method (paper, Fig. 11)."""
    return _panels(run, "rmsd", "", "mean RMSD")


@styled
def effect_size_bars(run: Finished) -> Figure:
    """Cohen's d, mean with SD over scanners, with a line at RAW's (paper, Table 4)."""
    return _panels(run, "cohen_d_mean", "cohen_d_sd", "Cohen's d")


def _panels(run: Finished, aggregate: str, spread: str, axis: str) -> Figure:
    lookup, methods = Lookup(run), compared(run.design.methods)
    places = [p for p in lookup.places("biomarker", aggregate) if not p.scanner]
    columns = max(min(len(places), 4), 1)
    rows = max(-(-len(places) // columns), 1)
    figure = new_figure(WIDTH, 0.6 + 2.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, place in zip(grid, places, strict=False):
        values = {
            (0, method): (
                lookup.value("biomarker", aggregate, place, method),
                lookup.value("biomarker", spread, place, method) if spread else None,
            )
            for method in methods
        }
        bars(axes, [label(place.structure)], methods, values)
        number = lookup.number("biomarker", aggregate, place, "raw")
        if spread and number and number.value is not None:
            axes.axhline(number.value, color=INK, linestyle=":", linewidth=0.9)
        axes.set_ylabel(f"{axis}, {number.units}" if number and number.units else axis)
    for axes in grid[len(places) :]:
        axes.set_visible(False)
    legend(figure, methods)
    return figure
