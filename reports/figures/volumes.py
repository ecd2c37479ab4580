"""Figures 7 to 10: tissue volumes and segmentations, a segmentation tool at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.figures.panels import (
    SPREAD,
    WIDTH,
    absent,
    absolute_differences,
    bars,
    by_group,
    legend,
    pair_tick,
    places,
    rows_of,
    short,
    ticks,
    violins,
)
from harmobench.reports.lookup import Lookup, Place, compared, scores, values_by
from harmobench.reports.style import HATCHES, INK, PALETTE, label, new_figure, order, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TISSUES = ("gm", "wm")  # the paper's; the tables have CSF too


@styled
def volume_boxes(run: Finished, tool: str) -> Figure:
    """Volumes over subjects, a box for each method and scanner (paper, Fig. 7)."""
    frame = scores(run, "volume", tool=tool)
    found = values_by(frame, ["structure", "method", "scanner"])
    tissues, methods = _tissues(set(frame["structure"])), compared(run.design.methods)
    figure = new_figure(WIDTH, 0.5 + 2.4 * len(tissues))
    grid = figure.subplots(len(tissues), 1, sharex=True, squeeze=False)[:, 0]
    for axes, tissue in zip(grid, tissues, strict=True):
        for i, scanner in enumerate(run.design.scanners):
            data = [by_group(found, tissue, method, scanner) for method in methods]
            offset = float(places(len(run.design.scanners))[i])
            _boxes(axes, data, offset, i, len(run.design.scanners))
        ticks(axes, [label(method) for method in methods])
        axes.set_ylabel(f"{label(tissue)} volume, ml")
    _scanner_legend(figure, run.design.scanners)
    return figure


def _boxes(axes: Axes, data: list[list[float]], offset: float, place: int, count: int) -> None:
    colour = PALETTE[place % len(PALETTE)]
    x = np.arange(len(data)) + offset
    kept = [i for i, values in enumerate(data) if values]
    absent(axes, x[[i for i in range(len(data)) if i not in kept]])
    if not kept:
        return
    parts = axes.boxplot(
        [data[i] for i in kept],
        positions=x[kept],
        widths=SPREAD / count * 0.85,
        patch_artist=True,
        manage_ticks=False,
        medianprops={"color": INK, "linewidth": 1.2},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        flierprops={"marker": "o", "markersize": 2.5, "markeredgecolor": colour},
    )
    for box in parts["boxes"]:
        hatch = HATCHES[(place // len(PALETTE)) % len(HATCHES)]
        box.set(facecolor=f"{colour}88", edgecolor=colour, hatch=hatch)


def _scanner_legend(figure: Figure, scanners: tuple[str, ...]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=f"{PALETTE[i % len(PALETTE)]}88",
            edgecolor=PALETTE[i % len(PALETTE)],
            hatch=HATCHES[(i // len(PALETTE)) % len(HATCHES)],
            label=short(scanner),
        )
        for i, scanner in enumerate(scanners)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 8))


@styled
def difference_violins(run: Finished, tool: str) -> Figure:
    """Absolute volume differences over subjects; * differs from RAW (paper, Fig. 8)."""
    frame = scores(run, "volume", tool=tool)
    found = values_by(frame, ["structure", "method", "scanner"])
    tissues, methods, lookup = (
        _tissues(set(frame["structure"])),
        compared(run.design.methods),
        Lookup(run),
    )
    space = str(frame["space"].iloc[0]) if len(frame) else ""
    rows = rows_of(run.design.pairs, len(methods))
    figure = new_figure(WIDTH, 0.5 + 2.4 * len(tissues) * len(rows))
    grid = figure.subplots(len(tissues) * len(rows), 1, sharey=False, squeeze=False)[:, 0]
    panels = [(tissue, list(row)) for tissue in tissues for row in rows]
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
        violins(axes, [pair_tick(pair) for pair in row], methods, values, marked)
        axes.set_ylabel(f"{label(tissue)} |difference|, ml")
        axes.set_ylim(bottom=0)
    legend(figure, methods)
    return figure


@styled
def rmsd_bars(run: Finished, tool: str) -> Figure:
    """RMSD of volumes by scanner pair, tissue and method (paper, Fig. 9)."""
    return _pair_bars(run, tool, "volume", "rmsd", "RMSD, ml")


@styled
def dice_bars(run: Finished, tool: str) -> Figure:
    """Mean Dice overlap with SD by scanner pair, tissue and method (paper, Fig. 10)."""
    return _pair_bars(run, tool, "dice", "mean", "Dice", "sd")


def _pair_bars(
    run: Finished, tool: str, metric: str, aggregate: str, axis: str, spread: str = ""
) -> Figure:
    lookup, methods = Lookup(run), compared(run.design.methods)
    known = [p for p in lookup.places(metric, aggregate) if p.tool == tool and p.reference_scanner]
    tissues = _tissues({place.structure for place in known})
    panels = [
        (tissue, row)
        for tissue in tissues
        for row in rows_of([p for p in known if p.structure == tissue], len(methods))
    ]
    figure = new_figure(WIDTH, 0.5 + 2.1 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (tissue, row) in zip(grid, panels, strict=True):
        values = {
            (i, method): (
                lookup.value(metric, aggregate, place, method),
                lookup.value(metric, spread, place, method) if spread else None,
            )
            for i, place in enumerate(row)
            for method in methods
        }
        names = [pair_tick((place.scanner, place.reference_scanner)) for place in row]
        bars(axes, names, methods, values)
        axes.set_ylabel(f"{label(tissue)} {axis}")
    legend(figure, methods)
    return figure


def _tissues(found: set[str]) -> list[str]:
    shown = [name for name in TISSUES if name in found]
    return shown or order(sorted(found))
