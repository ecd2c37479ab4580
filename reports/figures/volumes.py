"""Figures 7 and 8 of the paper: tissue volumes and their differences, a segmentation tool each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.keys import above, keys
from harmobench.reports.figures.panels import (
    SPREAD,
    VIOLINS,
    WIDTH,
    Spot,
    abbreviated,
    absent,
    absolute_differences,
    legend,
    pair_tick,
    places,
    ring,
    rows_of,
    ticks,
    violins,
)
from harmobench.reports.figures.similarity import AGAINST_RAW
from harmobench.reports.figures.tools import tissues_of, tool_of
from harmobench.reports.images.outliers import FEWEST, Value, beyond
from harmobench.reports.lookup import Lookup, Place, compared, scores, values_by
from harmobench.reports.style import INK, label, new_figure, scanner_look, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = 9  # methods that can be named side by side


@styled
def volume_boxes(run: Finished, tool: str = "") -> Figure:
    """Volumes over subjects, a box for each method and scanner (paper, Fig. 7).

    `tool` is a segmenter that ran; the first of them where none is named.
    """
    tool = tool_of(run, "volume", tool)
    frame = scores(run, "volume", tool=tool)
    found = values_by(frame, ["structure", "method", "scanner"])
    tissues, scanners = tissues_of(frame["structure"]), run.design.scanners
    rows = rows_of(compared(run.design.methods), len(scanners), VIOLINS, LABELS)
    panels = [(tissue, row) for tissue in tissues for row in rows]
    figure = new_figure(WIDTH, 0.55 + 1.75 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    _share(grid, len(rows))
    spots: list[Spot] = []
    for axes, (tissue, row) in zip(grid, panels, strict=True):
        for i, scanner in enumerate(scanners):
            data = [found.get((tissue, method, scanner), ()) for method in row]
            spots += _boxes(axes, data, [label(m) for m in row], scanners, i)
        ticks(axes, [label(method) for method in row], len(rows[0]))
        axes.set_ylabel(f"{label(tissue)} volume, ml")
    ring(run, spots)
    above(figure, _scanner_handles(scanners), keys(figure, {}))
    return figure


def _share(grid: Any, size: int) -> None:
    """Give all rows of a tissue one axis."""
    for start in range(0, len(grid), size):
        for axes in grid[start + 1 : start + size]:
            axes.sharey(grid[start])


def _boxes(
    axes: Axes,
    data: Sequence[Sequence[Value]],
    names: Sequence[str],
    scanners: Sequence[str],
    place: int,
) -> list[Spot]:
    """Draw one scanner's boxes, of few subjects their values; return what is beyond the fences."""
    colour, _, hatch, _ = scanner_look(place)
    x = np.arange(len(data)) + float(places(len(scanners))[place])
    kept = [i for i, values in enumerate(data) if values]
    absent(axes, x[[i for i in range(len(data)) if i not in kept]])
    if not kept:
        return []
    width = SPREAD / len(scanners) * 0.8
    full = [i for i in kept if len(data[i]) >= FEWEST]
    if full:
        _box(axes, [[y for _, y in data[i]] for i in full], x[full], width, (colour, hatch))
    for i in set(kept) - set(full):
        values = [y for _, y in data[i]]
        axes.plot([x[i]] * len(values), values, "o", color=colour, markersize=2.4)
        axes.hlines(np.median(values), x[i] - width / 2, x[i] + width / 2, color=INK, linewidth=1.1)
    return [
        Spot(axes, float(x[i]), y, far, who, f"{scanners[place]}, {names[i]}: {y:.3g} ml")
        for i in kept
        for who, y, far in beyond(data[i])
    ]


def _box(axes: Axes, values: list[list[float]], x: Any, width: float, look: Sequence[str]) -> None:
    colour, hatch = look
    thin = {"color": colour, "linewidth": 0.8}
    dot = {"marker": "o", "markersize": 1.8, "markerfacecolor": colour, "markeredgecolor": colour}
    parts = axes.boxplot(
        values,
        positions=x,
        widths=width,
        patch_artist=True,
        manage_ticks=False,
        medianprops={"color": INK, "linewidth": 1.2},
        whiskerprops=thin,
        capprops=thin,
        flierprops=dot,
    )
    for box in parts["boxes"]:
        box.set(facecolor=_face(colour, hatch), edgecolor=colour, hatch=hatch, linewidth=0.8)


def _face(colour: str, hatch: str) -> str:
    """Return a tint, but none below a hatch: in SVG its opacity is the hatch's too."""
    return "none" if hatch else f"{colour}59"


def _scanner_handles(scanners: Sequence[str]) -> list[object]:
    from matplotlib.patches import Patch

    short = abbreviated(scanners, 24)
    looks = [scanner_look(i) for i in range(len(scanners))]
    return [
        Patch(facecolor=_face(colour, hatch), edgecolor=colour, hatch=hatch, label=short[scanner])
        for scanner, (colour, _, hatch, _) in zip(scanners, looks, strict=True)
    ]


@styled
def difference_violins(run: Finished, tool: str = "") -> Figure:
    """Absolute volume differences over subjects; * differs from RAW (paper, Fig. 8).

    `tool` is a segmenter that ran; the first of them where none is named.
    """
    tool = tool_of(run, "volume", tool)
    frame = scores(run, "volume", tool=tool)
    found = values_by(frame, ["structure", "method", "scanner"])
    tissues, methods = tissues_of(frame["structure"]), compared(run.design.methods)
    lookup, short = Lookup(run), abbreviated(run.design.scanners)
    space = str(frame["space"].iloc[0]) if len(frame) else ""
    rows = rows_of(run.design.pairs, len(methods), VIOLINS)
    panels = [(tissue, row) for tissue in tissues for row in rows]
    figure = new_figure(WIDTH, 0.55 + 1.8 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    _share(grid, len(rows))
    spots: list[Spot] = []
    for axes, (tissue, row) in zip(grid, panels, strict=True):
        cases = [(i, pair, method) for i, pair in enumerate(row) for method in methods]
        values = {
            (i, method): absolute_differences(
                found, (tissue, method, pair[0]), (tissue, method, pair[1])
            )
            for i, pair, method in cases
        }
        marked = {
            (i, method)
            for i, pair, method in cases
            if lookup.significant("volume", Place(tool, tissue, space, *pair), method)
        }
        names = [pair_tick(pair, short) for pair in row]
        spots += violins(axes, names, methods, values, marked, len(rows[0]), " ml")
        axes.set_ylabel(f"{label(tissue)}, |difference|, ml")
    for axes in grid:  # once all rows are drawn that share an axis
        axes.set_ylim(bottom=0)
    ring(run, spots)
    legend(figure, methods, AGAINST_RAW)
    return figure
