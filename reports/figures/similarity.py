"""Figure 4 of the paper: structural similarity of matched scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmobench.interface import Finished
from harmobench.reports.figures.panels import (
    VIOLINS,
    WIDTH,
    abbreviated,
    legend,
    pair_tick,
    ring,
    rows_of,
    violins,
)
from harmobench.reports.figures.tools import need
from harmobench.reports.lookup import Lookup, Place, compared, scores, values_by
from harmobench.reports.style import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGAINST_RAW = {"*": "differs from RAW (paired t, p < .05, uncorrected)"}


@styled
def ssim_violins(run: Finished) -> Figure:
    """SSIM over subjects by scanner pair and method; * differs from RAW (paper, Fig. 4)."""
    methods = compared(run.design.methods)
    frame = scores(run, "ssim")
    need(run, frame, "SSIM scores")
    found = values_by(frame, ["scanner", "reference_scanner", "method"])
    structure = str(frame["structure"].iloc[0]) if len(frame) else ""
    space = str(frame["space"].iloc[0]) if len(frame) else ""
    lookup, short = Lookup(run), abbreviated(run.design.scanners)
    rows = rows_of(run.design.pairs, len(methods), VIOLINS)
    figure = new_figure(WIDTH, 0.55 + 1.9 * len(rows))
    grid = figure.subplots(max(len(rows), 1), 1, sharey=True, squeeze=False)[:, 0]
    spots = []
    for axes, pairs in zip(grid, rows, strict=False):
        cases = [(i, pair, method) for i, pair in enumerate(pairs) for method in methods]
        values = {(i, method): found.get((*pair, method), ()) for i, pair, method in cases}
        marked = {
            (i, method)
            for i, pair, method in cases
            if lookup.significant("ssim", Place("", structure, space, *pair), method)
        }
        names = [pair_tick(pair, short) for pair in pairs]
        spots += violins(axes, names, methods, values, marked, len(rows[0]))
        axes.set_ylabel("SSIM")
    ring(run, spots)
    legend(figure, methods, AGAINST_RAW)
    return figure
