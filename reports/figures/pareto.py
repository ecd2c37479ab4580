"""What was removed against what was kept: no score can have both for nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.comparisons import Case
from harmobench.reports.figures.keys import above
from harmobench.reports.figures.tools import one_of
from harmobench.reports.lookup import RIGOROUS, Lookup, compared, controls, eligible
from harmobench.reports.shares import (
    Points,
    Span,
    cases_of,
    individuality,
    relative,
    tools,
    undominated,
)
from harmobench.reports.style import (
    GRID,
    INK,
    MARKERS,
    SMALL,
    WIDTH,
    colours,
    label,
    markers,
    new_figure,
    styled,
)
from harmobench.reports.tables.rows import REGISTRATION, REGISTRATION_LABEL, lined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HOLLOW = (*MARKERS[1:], "<", ">", "p")  # of controls
Beyond = tuple[float, float, str]  # where a point stands at the edge, and its numbers
LINE = 0.09  # of a panel's height that a line of text takes
FARTHEST = 2.0  # of RAW's: controls beyond it are drawn at the edge with their number


@styled
def pareto(run: Finished, tool: str = "") -> Figure:
    """Scanner component left against subject component and individuality kept, of RAW's.

    A panel a structure; components as SDs. Contenders are filled, controls hollow. Contenders that
    neither another nor RAW beats on both are joined; nearer to 1 counts as better kept.
    """
    lookup = Lookup(run, RIGOROUS)
    tool = one_of(run, tools(run), tool, "components of the scanners' effect")
    cases = cases_of(lookup, tool)
    where = next(iter(lookup.cases("individuality", "individuality", pooled=True)), None)
    rows = ["subject component"] + ["individuality"] * (where is not None)
    figure = new_figure(WIDTH, 0.85 + 1.9 * len(rows))
    grid = figure.subplots(len(rows), max(len(cases), 1), squeeze=False, sharex="col", sharey="row")
    seen: set[str] = set()
    beyond: list[tuple[Axes, list[Beyond]]] = []
    for column, case in enumerate(cases):
        removed = relative(lookup, case, "scanner")
        for row, name in enumerate(rows):
            axes = grid[row, column]
            if not row:
                axes.set_title(label(case.structure))
            kept = individuality(lookup, where) if row else relative(lookup, case, "subject")
            points = {m: (removed[m], kept[m]) for m in removed if m in kept}
            beyond.append((axes, _draw(axes, run, points)))
            seen |= set(points)
            if not row and removed:
                seen |= _registration(axes, case, kept)
            if not column:
                axes.set_ylabel(f"{name} kept")
            if row == len(rows) - 1:
                axes.set_xlabel("scanner component left" if points else "")
    _limit(grid)
    for axes, numbers in beyond:
        _numbers(axes, numbers)
    _legend(figure, run, seen)
    return figure


def _draw(axes: Axes, run: Finished, points: Points) -> list[Beyond]:
    """Draw a panel; return the points that lie beyond its edge."""
    if not points:
        _empty(axes)
        return []
    axes.grid(visible=True, color=GRID)
    axes.axhline(1, color=INK, linestyle=":", linewidth=0.9)
    ranked = [m for m in compared(run.design.methods) if m in points]
    far = [max([FARTHEST, *(1.1 * points[m][axis].value for m in ranked)]) for axis in (0, 1)]
    looks, beyond = look(run), list[Beyond]()
    for method in (m for m in lined(run.design.methods) if m in points):
        x, y = (_within(span, limit) for span, limit in zip(points[method], far, strict=True))
        _point(axes, x, y, looks[method])
        over = [s.value for s, limit in zip(points[method], far, strict=True) if s.value > limit]
        beyond += [(x.value, y.value, ", ".join(f"{v:.1f}" for v in over))] * bool(over)
    best = undominated({m: points[m] for m in eligible(run.design) if m in points})
    front = [points[method] for method in best if method != "raw"]  # which may beat some on both
    x_front, y_front = ([span[i].value for span in front] for i in (0, 1))
    axes.plot(x_front, y_front, "-", color=INK, linewidth=1, zorder=2)
    return beyond


def _limit(grid: Any) -> None:
    """Start all axes at 0, once all that shares them is drawn."""
    from matplotlib.ticker import MaxNLocator

    for axes in grid.ravel():
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(4 if grid.shape[1] > 2 else 6, prune="upper"))


def _point(axes: Axes, x: Span, y: Span, look: tuple[str, str, bool]) -> None:
    colour, marker, hollow = look
    axes.plot([x.low, x.high], [y.value] * 2, "-", color=colour, linewidth=0.8, alpha=0.7)
    axes.plot([x.value] * 2, [y.low, y.high], "-", color=colour, linewidth=0.8, alpha=0.7)
    axes.plot(
        [x.value],
        [y.value],
        marker,
        color=colour,
        markerfacecolor="none" if hollow else colour,
        markersize=5,
        clip_on=False,
        zorder=3,
    )


def _numbers(axes: Axes, beyond: Sequence[Beyond]) -> None:
    """Write the numbers of points at the edge, those of points side by side below one another."""
    low, high = axes.get_ylim()
    last = np.inf
    for x, y, text in sorted(beyond, key=lambda point: (-point[1], point[0])):
        last = min(y, last - LINE * (high - low))
        axes.annotate(
            text,
            (x, last),
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=SMALL,
        )


def _empty(axes: Axes) -> None:
    """Say why nothing is drawn: a bias-corrected component may be below 0."""
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.set_xlabel("")
    text = "no scanner effect\nfound in RAW"
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _within(span: Span, limit: float) -> Span:
    return Span(*(min(max(x, 0.0), limit) for x in (span.value, span.low, span.high)))


def _registration(axes: Axes, case: Case, kept: Mapping[str, Span]) -> set[str]:
    """Draw what the transforms alone give back, where measures were taken in native space."""
    if REGISTRATION not in kept or case.space != "native":
        return set()
    axes.axhline(kept[REGISTRATION].value, color=INK, linestyle="--", linewidth=0.9)
    return {REGISTRATION_LABEL}


def look(run: Finished) -> dict[str, tuple[str, str, bool]]:
    """Colour, marker and whether it is hollow, of each method: controls are ink and hollow."""
    ranked = compared(run.design.methods)
    shapes = markers(ranked)
    found = {m: (c, shapes[m], False) for m, (c, _) in colours(ranked).items()}
    aside = controls(run.design.methods)
    return found | {m: (INK, HOLLOW[i % len(HOLLOW)], True) for i, m in enumerate(aside)}


def handles_of(run: Finished, seen: Collection[str]) -> list[Any]:
    """Return a handle for each method that has a point."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            markersize=5,
            markerfacecolor="none" if hollow else colour,
            linestyle="",
            label=label(method),
        )
        for method, (colour, marker, hollow) in look(run).items()
        if method in seen
    ]


def _legend(figure: Figure, run: Finished, seen: Collection[str]) -> None:
    from matplotlib.lines import Line2D

    def line(style: Literal["-", "--", ":"], name: str) -> Any:
        return Line2D([], [], color=INK, linestyle=style, linewidth=0.9, label=name)

    marks = [line("-", "contenders that neither another nor RAW beats on both")]
    marks.append(line(":", "kept as in RAW"))
    if REGISTRATION_LABEL in seen:
        marks.append(line("--", REGISTRATION_LABEL.partition(" (")[0]))
    above(figure, handles_of(run, seen), marks if seen else ())
