"""Figure 3: one slice of one subject, methods by scanners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.errors import SettingsError
from harmobench.interface import Finished
from harmobench.reports.figures.panels import short
from harmobench.reports.images.pictures import AXES, Gallery
from harmobench.reports.style import label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 1.6  # inches that a slice is wide


@styled
def mosaic(run: Finished, subject: str, axis: str = "axial") -> Figure:
    """One subject's slices: rows are methods, columns are scanners (paper, Fig. 3).

    Controls are left out. Each method is shown with one window, from the 1st to the 99.5th
    percentile of all its brain pixels; outside the brain is black.

    Raises
    ------
    SettingsError
        The run has no such subject or axis.
    """
    _refuse_unknown("subject", subject, run.design.subjects)
    _refuse_unknown("axis", axis, AXES)
    gallery, scanners = Gallery(run), run.design.scanners
    methods = gallery.ranked
    box, ratio = _frame(gallery, subject, axis)
    height = CELL * ratio * (box[0].stop - box[0].start) / (box[1].stop - box[1].start)
    figure = new_figure(CELL * len(scanners) + 0.3, height * len(methods) + 0.3)
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(methods), len(scanners), squeeze=False)
    for row, method in enumerate(methods):
        for column, scanner in enumerate(scanners):
            axes = grid[row, column]
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if gallery.has(method, subject, scanner):
                pixels = gallery.shown(method, subject, scanner, axis)[box]
                look: Any = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
                axes.imshow(pixels, aspect=ratio, **look)
            else:
                axes.text(0.5, 0.5, "no image", ha="center", transform=axes.transAxes)
            if row == 0:
                axes.set_title(short(scanner), loc="center")
            if column == 0:
                axes.set_ylabel(label(method), fontweight="bold")
    return figure


def _refuse_unknown(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise SettingsError(
            f"figure 'mosaic', {option}: expected one of {', '.join(known)}, found {name!r}"
        )


def _frame(gallery: Gallery, subject: str, axis: str) -> tuple[tuple[slice, slice], float]:
    """Rows and columns of a subject's slices that show its brain, and how high a pixel is."""
    key = next((key for key in sorted(gallery.run.pictures) if key[1] == subject), None)
    if key is None:
        return (slice(0, 1), slice(0, 1)), 1.0
    brain = gallery.slice(*key, axis)[1]
    rows, columns = (np.flatnonzero(brain.any(axis=1 - k)) for k in (0, 1))
    if not rows.size:
        return (slice(0, brain.shape[0]), slice(0, brain.shape[1])), 1.0
    box = (slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2))
    return box, gallery.pixel_ratio(*key, axis)
