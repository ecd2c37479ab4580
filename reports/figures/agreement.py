"""Figures 9 and 10 of the paper: RMSD of volumes, and Dice overlap, by scanner pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.panels import (
    WIDTH,
    Bar,
    abbreviated,
    bars,
    dots,
    legend,
    pair_tick,
    rows_of,
)
from harmobench.reports.figures.tools import tissues_of, tool_of
from harmobench.reports.lookup import RIGOROUS, Lookup, Place, compared
from harmobench.reports.style import label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL = "all pairs"
SAME = 1e-6  # relative: the paper's number and the rigorous one are of the same subjects


@dataclass(frozen=True)
class Shown:
    """What a figure shows: an aggregate of each pair and over all, with what interval."""

    metric: str
    aggregate: str
    axis: str
    dots: bool = False  # of what lies far from 0, where bars would all look alike


@styled
def rmsd_bars(run: Finished, tool: str = "") -> Figure:
    """RMSD of volumes by scanner pair, tissue and method (paper, Fig. 9).

    The last group is over all pairs. Lines are 95% intervals, where the run has them for the same
    subjects. `tool` is a segmenter that ran; the first of them where none is named.
    """
    return _pair_bars(run, tool_of(run, "volume", tool), Shown("volume", "rmsd", "RMSD, ml"))


@styled
def dice_bars(run: Finished, tool: str = "") -> Figure:
    """Mean Dice overlap by scanner pair, tissue and method (paper, Fig. 10), as dots.

    The last group is over all pairs. Lines are 95% intervals of the mean, where the run has them
    for the same subjects. `tool` is a segmenter that ran; the first of them where none is named.
    """
    return _pair_bars(run, tool_of(run, "dice", tool), Shown("dice", "mean", "Dice", dots=True))


def _pair_bars(run: Finished, tool: str, shown: Shown) -> Figure:
    lookup, methods = Lookup(run), compared(run.design.methods)
    known = [p for p in lookup.cases(shown.metric, shown.aggregate) if p.tool == tool]
    values = _paired(lookup, shown, known, methods) | _over_all(run, shown, known, methods)
    grouped = {p: None for p, _ in values}  # in the order of the pairs, those over all last
    panels = [
        (tissue, row)
        for tissue in tissues_of(place.structure for place in known)
        for row in rows_of([p for p in grouped if p.structure == tissue], len(methods))
    ]
    figure = new_figure(WIDTH, 0.55 + 1.6 * max(len(panels), 1))
    grid = figure.subplots(max(len(panels), 1), 1, squeeze=False)[:, 0]
    room = max((len(row) for _, row in panels), default=0)
    short = abbreviated(run.design.scanners)
    first: dict[str, Axes] = {}
    for axes, (tissue, row) in zip(grid, panels, strict=False):
        own = {(i, m): values[p, m] for i, p in enumerate(row) for m in methods if (p, m) in values}
        names = [
            pair_tick((p.scanner, p.reference_scanner), short) if p.scanner else ALL for p in row
        ]
        if first.setdefault(tissue, axes) is not axes:
            axes.sharey(first[tissue])
        (dots if shown.dots else bars)(axes, names, methods, own, room=room)
        axes.set_ylabel(f"{label(tissue)} {shown.axis}")
    has_lines = any(low is not None for _, low, _ in values.values())
    legend(figure, methods, {"interval": "95% interval"} if has_lines else {}, dots=shown.dots)
    return figure


def _paired(
    lookup: Lookup, shown: Shown, known: Sequence[Place], methods: Sequence[str]
) -> dict[tuple[Place, str], Bar]:
    """Return the paper's number of each pair, with the rigorous interval of the same number."""
    rigorous = Lookup(lookup.run, RIGOROUS)

    def bar(place: Place, method: str) -> Bar:
        value = lookup.value(shown.metric, shown.aggregate, place, method)
        number = rigorous.number(shown.metric, shown.aggregate, place, method)
        if value is None or number is None or number.value is None:
            return value, None, None
        if not np.isclose(value, number.value, rtol=SAME, atol=0):  # of the common subjects alone
            return value, None, None
        return value, number.low, number.high

    return {(place, method): bar(place, method) for place in known for method in methods}


def _over_all(
    run: Finished, shown: Shown, known: Sequence[Place], methods: Sequence[str]
) -> dict[tuple[Place, str], Bar]:
    """Return the rigorous aggregates over all pairs."""
    lookup = Lookup(run, RIGOROUS)
    found: dict[tuple[Place, str], Bar] = {}
    for place in dict.fromkeys(replace(p, scanner="", reference_scanner="") for p in known):
        for method in methods:
            number = lookup.number(shown.metric, shown.aggregate, place, method)
            if number is not None:
                found[place, method] = number.value, number.low, number.high
    return found
