"""Figure 11 of the paper, and effect sizes: region measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harmobench.interface import Finished
from harmobench.reports.figures.panels import WIDTH, Bar, about, bars, legend
from harmobench.reports.figures.tools import need
from harmobench.reports.lookup import RIGOROUS, Lookup, Place, compared
from harmobench.reports.style import INK, label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "biomarker"


@dataclass(frozen=True)
class Shown:
    """The rigorous aggregate of a figure, and what the paper has where a run lacks that one."""

    rigorous: str
    paper: str
    spread: str
    axis: str
    spread_is: str
    raws: bool


@styled
def biomarker_rmsd_bars(run: Finished) -> Figure:
    """RMSD over scanner pairs of each biomarker and method (paper, Fig. 11).

    Over all pairs with its 95% interval; of a run without, the paper's mean over the pairs.
    """
    return _panels(run, Shown("rmsd", "rmsd", "", "RMSD", "", raws=False))


@styled
def effect_size_bars(run: Finished) -> Figure:
    """Cohen's d, mean over scanners, with a line at RAW's (paper, Table 4).

    With its 95% interval; of a run without, with the paper's SD over scanners.
    """
    shown = Shown(
        "cohen_d", "cohen_d_mean", "cohen_d_sd", "Cohen's d", "SD over scanners", raws=True
    )
    return _panels(run, shown)


def _panels(run: Finished, shown: Shown) -> Figure:
    lookup, methods = Lookup(run, RIGOROUS), compared(run.design.methods)
    places = lookup.cases(METRIC, shown.rigorous, pooled=True)
    line, aggregate = "95% interval", shown.rigorous
    if not places:
        lookup, line, aggregate = Lookup(run), shown.spread_is, shown.paper
        places = lookup.cases(METRIC, aggregate, pooled=True)
    need(run, places, f"{shown.axis} of biomarkers")
    columns = min(len(places), 4)
    rows = -(-len(places) // columns)
    figure = new_figure(WIDTH, 0.6 + 1.75 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    drawn = {(p, m): _bar(lookup, aggregate, shown, p, m) for p in places for m in methods}
    for axes, place in zip(grid, places, strict=False):
        bars(axes, [""], methods, {(0, m): drawn[place, m] for m in methods})
        _dress(axes, lookup, place, aggregate, shown)
    for axes in grid[len(places) :]:
        axes.set_visible(False)
    lined = any(low is not None for _, low, _ in drawn.values())
    legend(figure, methods, {"interval": line} if lined else {}, _raws() if shown.raws else ())
    return figure


def _bar(lookup: Lookup, aggregate: str, shown: Shown, place: Place, method: str) -> Bar:
    number = lookup.number(METRIC, aggregate, place, method)
    if number is None:
        return None, None, None
    if aggregate == shown.rigorous and number.low is not None:
        return number.value, number.low, number.high
    spread = lookup.value(METRIC, shown.spread, place, method) if shown.spread else None
    return about(number.value, spread)


def _dress(axes: Any, lookup: Lookup, place: Place, aggregate: str, shown: Shown) -> None:
    axes.set_title(label(place.structure))
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.spines["bottom"].set_visible(False)
    number = lookup.number(METRIC, aggregate, place, "raw")
    if shown.raws and number is not None and number.value is not None:
        axes.axhline(number.value, color=INK, linestyle=":", linewidth=0.9)
    units = number.units if number is not None else ""
    axes.set_ylabel(f"{shown.axis}, {units}" if units else shown.axis)


def _raws() -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=INK, linestyle=":", linewidth=0.9, label="at RAW's")]
