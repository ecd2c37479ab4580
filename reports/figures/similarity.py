"""Figure 4: structural similarity of matched scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmobench.interface import Finished
from harmobench.reports.figures.panels import (
    WIDTH,
    by_group,
    legend,
    pair_tick,
    rows_of,
    violins,
)
from harmobench.reports.lookup import Lookup, Place, compared, scores, values_by
from harmobench.reports.style import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def ssim_violins(run: Finished) -> Figure:
    """SSIM over subjects by scanner pair and method; * differs from RAW (paper, Fig. 4)."""
    methods = compared(run.design.methods)
    frame = scores(run, "ssim")
    found = values_by(frame, ["scanner", "reference_scanner", "method"])
    structure = str(frame["structure"].iloc[0]) if len(frame) else ""
    space = str(frame["space"].iloc[0]) if len(frame) else ""
    lookup = Lookup(run)
    rows = rows_of(run.design.pairs, len(methods))
    figure = new_figure(WIDTH, 0.5 + 2.6 * len(rows))
    grid = figure.subplots(len(rows), 1, sharey=True, squeeze=False)[:, 0]
    for axes, pairs in zip(grid, rows, strict=True):
        cases = [(i, pair, method) for i, pair in enumerate(pairs) for method in methods]
        values = {(i, method): by_group(found, *pair, method) for i, pair, method in cases}
        marked = {
            (i, method)
            for i, pair, method in cases
            if lookup.significant("ssim", Place("", structure, space, *pair), method)
        }
        violins(axes, [pair_tick(pair) for pair in pairs], methods, values, marked)
        axes.set_ylabel("SSIM")
    legend(figure, methods)
    return figure
