"""What was removed against what was kept: no score can have both for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.comparisons import Case
from harmobench.reports.figures.panels import WIDTH
from harmobench.reports.lookup import (
    RIGOROUS,
    Lookup,
    Number,
    Place,
    compared,
    controls,
    eligible,
)
from harmobench.reports.rows import REGISTRATION, REGISTRATION_LABEL, lined, place
from harmobench.reports.style import GRID, INK, MARKERS, colours, label, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = {"volume": ("gm", "wm"), "biomarker": ()}  # structures in a figure; none named: all
MOST = 4  # panels side by side
HOLLOW = (*MARKERS[1:], "<", ">", "p")  # of controls
FARTHEST = 2.0  # of RAW's: controls beyond it are drawn at the edge with their number


@dataclass(frozen=True)
class Span:
    """A number of RAW's, with its interval where there is one."""

    value: float
    low: float
    high: float


Points = Mapping[str, tuple[Span, Span]]


def tools(run: Finished) -> list[str]:
    """Return the tools whose measures have components, in the tables' order."""
    return list(dict.fromkeys(case.tool for case in _cases(Lookup(run, RIGOROUS))))


def _cases(lookup: Lookup) -> list[Case]:
    return [
        Case(metric, p.tool, p.structure, p.space)
        for metric, wanted in SHOWN.items()
        for p in lookup.cases(metric, "component_scanner", pooled=True)
        if not wanted or p.structure in wanted
    ]


@styled
def pareto(run: Finished, tool: str) -> Figure:
    """Scanner component left against subject component and individuality kept, of RAW's.

    A panel a structure; components as SDs. Contenders are filled, controls hollow. Contenders that
    neither another nor RAW beats on both are joined; nearer to 1 counts as better kept.
    """
    lookup = Lookup(run, RIGOROUS)
    cases = [case for case in _cases(lookup) if case.tool == tool][:MOST]
    where = next(iter(lookup.cases("individuality", "individuality", pooled=True)), None)
    rows = ["subject component"] + ["individuality"] * (where is not None)
    figure = new_figure(WIDTH, 0.9 + 2.7 * len(rows))
    grid = figure.subplots(len(rows), len(cases), squeeze=False, sharex="col")
    for column, case in enumerate(cases):
        for row, name in enumerate(rows):
            axes = grid[row, column]
            if not row:
                axes.set_title(label(case.structure))
            kept = _individuality(lookup, where) if row else _relative(lookup, case, "subject")
            removed = _relative(lookup, case, "scanner")
            if not removed:
                _empty(axes)
                continue
            points = {m: (removed[m], kept[m]) for m in removed if m in kept}
            _panel(axes, run, points)
            if not row:
                _registration(axes, case, kept)
            if not column:
                axes.set_ylabel(f"{name}, of RAW's")
            if row == len(rows) - 1:
                axes.set_xlabel("scanner component, of RAW's")
    _legend(figure, run)
    return figure


def _relative(lookup: Lookup, case: Case, which: str) -> dict[str, Span]:
    """Return the root of each method's component over RAW's; nothing where RAW has none."""
    name = f"component_{which}"
    numbers = {
        m: lookup.number(case.metric, name, place(case), m) for m in lookup.run.design.methods
    }
    raw = numbers.get("raw")
    if raw is None or raw.value is None or raw.value <= 0:
        return {}
    return {
        method: Span(*(float(np.sqrt(max(x, 0.0) / raw.value)) for x in _ends(number)))
        for method, number in numbers.items()
        if number is not None and number.value is not None
    }


def _individuality(lookup: Lookup, where: Place | None) -> dict[str, Span]:
    if where is None:
        return {}
    found = {
        m: lookup.number("individuality", "individuality", where, m)
        for m in lookup.run.design.methods
    }
    return {m: Span(*_ends(x)) for m, x in found.items() if x is not None and x.value is not None}


def _ends(number: Number) -> tuple[float, float, float]:
    value = number.value if number.value is not None else float("nan")
    low = value if number.low is None else number.low
    return value, low, value if number.high is None else number.high


def _panel(axes: Axes, run: Finished, points: Points) -> None:
    axes.grid(visible=True, color=GRID)
    axes.axhline(1, color=INK, linestyle=":", linewidth=0.8)
    ranked = [m for m in compared(run.design.methods) if m in points]
    far = [max([FARTHEST, *(1.1 * points[m][axis].value for m in ranked)]) for axis in (0, 1)]
    looks = look(run)
    for method in (m for m in lined(run.design.methods) if m in points):
        x, y = (_within(span, limit) for span, limit in zip(points[method], far, strict=True))
        colour, marker, hollow = looks[method]
        axes.plot([x.low, x.high], [y.value] * 2, "-", color=colour, linewidth=0.7, alpha=0.6)
        axes.plot([x.value] * 2, [y.low, y.high], "-", color=colour, linewidth=0.7, alpha=0.6)
        axes.plot(
            [x.value],
            [y.value],
            marker,
            color=colour,
            markerfacecolor="none" if hollow else colour,
            markersize=5.5,
            clip_on=False,
            zorder=3,
        )
        beyond = [
            span.value
            for span, limit in zip(points[method], far, strict=True)
            if span.value > limit
        ]
        if beyond:
            axes.annotate(
                ", ".join(f"{value:.1f}" for value in beyond),
                (x.value, y.value),
                xytext=(-3, 4),
                textcoords="offset points",
                ha="right",
                fontsize=6,
            )
    best = undominated({m: points[m] for m in eligible(run.design) if m in points})
    front = [method for method in best if method != "raw"]  # which may beat some on both
    axes.plot(
        [points[m][0].value for m in front],
        [points[m][1].value for m in front],
        "-",
        color=INK,
        linewidth=1,
        zorder=2,
    )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)


def _empty(axes: Axes) -> None:
    """Say why nothing is drawn: a bias-corrected component may be below 0."""
    axes.set(xticks=[], yticks=[])
    text = "no scanner effect\nfound in RAW"
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _within(span: Span, limit: float) -> Span:
    return Span(*(min(max(x, 0.0), limit) for x in (span.value, span.low, span.high)))


def undominated(points: Points) -> list[str]:
    """Return the methods that no other beats on both, by what they leave of the scanner.

    Less of the scanner is better; so is what is kept nearer to 1.

    >>> spans = {"a": (.2, .5), "b": (.5, .9), "c": (.6, .8), "d": (.5, 1.3)}
    >>> undominated({k: (Span(x, x, x), Span(y, y, y)) for k, (x, y) in spans.items()})
    ['a', 'b']
    """
    costs = {m: (x.value, abs(y.value - 1)) for m, (x, y) in points.items()}

    def beaten(own: tuple[float, float]) -> bool:
        return any(
            other[0] <= own[0] and other[1] <= own[1] and other != own for other in costs.values()
        )

    return sorted((m for m, cost in costs.items() if not beaten(cost)), key=lambda m: costs[m])


def _registration(axes: Axes, case: Case, kept: Mapping[str, Span]) -> None:
    """Draw what the transforms alone give back, where measures were taken in native space."""
    if REGISTRATION in kept and case.space == "native":
        height = kept[REGISTRATION].value
        axes.axhline(height, color=INK, linestyle="--", linewidth=0.9)
        axes.annotate(
            REGISTRATION_LABEL.partition(" (")[0],
            (0.99, height),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            fontsize=6.5,
        )


def look(run: Finished) -> dict[str, tuple[str, str, bool]]:
    """Colour, marker and whether it is hollow, of each method: controls are ink and hollow."""
    found = {m: (c, "o", False) for m, (c, _) in colours(compared(run.design.methods)).items()}
    aside = controls(run.design.methods)
    return found | {m: (INK, HOLLOW[i % len(HOLLOW)], True) for i, m in enumerate(aside)}


def _legend(figure: Figure, run: Finished) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markerfacecolor="none" if hollow else colour,
            linestyle="",
            label=label(method),
        )
        for method, (colour, marker, hollow) in look(run).items()
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), 8 if len(handles) <= 8 else 6),
    )
