"""Figure 3: one slice of one subject, methods by scanners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harmobench.interface import Finished
from harmobench.reports.figures.panels import short
from harmobench.reports.pictures import Gallery
from harmobench.reports.style import label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def mosaic(run: Finished, subject: str, axis: str = "axial") -> Figure:
    """One subject's slices: rows are methods, columns are scanners (paper, Fig. 3).

    Controls are left out. Each method is shown with one window, from the 1st to the 99.5th
    percentile of all its brain pixels; outside the brain is black.
    """
    gallery, scanners = Gallery(run), run.design.scanners
    methods = gallery.ranked
    figure = new_figure(1.6 * len(scanners) + 0.8, 1.9 * len(methods) + 0.3)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(methods), len(scanners), squeeze=False)
    for row, method in enumerate(methods):
        for column, scanner in enumerate(scanners):
            axes = grid[row, column]
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if gallery.has(method, subject, scanner):
                pixels = gallery.shown(method, subject, scanner, axis)
                axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            else:
                axes.text(0.5, 0.5, "no image", ha="center", transform=axes.transAxes)
            if row == 0:
                axes.set_title(short(scanner))
            if column == 0:
                axes.set_ylabel(label(method), fontweight="bold")
    return figure
