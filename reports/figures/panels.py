"""Building blocks of the figures: grouped bars, violins, points and a common legend."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.reports.figures.keys import ABSENT, STAR, legend
from harmobench.reports.figures.names import abbreviated, pair_tick, short
from harmobench.reports.figures.rings import Spot, mark_outlier, ring
from harmobench.reports.images.outliers import Value, beyond
from harmobench.reports.style import INK, WIDTH, colours, finite, label, markers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIOLINS, BARS = 48, 64  # side by side in a row that can still be read
LINE = 8.5  # points from one line of names to the next
NAMES = 7  # pairs of scanners that can be named side by side
SPREAD = 0.84  # of a group's unit of width
WIDEST = 0.4  # a single bar or violin
MANY = 30  # subjects above which a violin shows its middle half, and points beyond the fences alone
Bar = tuple[float | None, float | None, float | None]  # height, and the ends of its line

__all__ = [
    "VIOLINS",
    "WIDTH",
    "Spot",
    "abbreviated",
    "about",
    "absent",
    "absolute_differences",
    "bars",
    "dots",
    "legend",
    "mark_outlier",
    "pair_tick",
    "places",
    "ring",
    "rows_of",
    "short",
    "ticks",
    "violins",
]


def rows_of(
    groups: Sequence[Any], elements: int, most: int = BARS, names: int = NAMES
) -> list[Sequence[Any]]:
    """Break groups of so many elements into rows of nearly equal length, of `most` elements."""
    most = int(np.clip(most // max(elements, 1), 1, names))
    count = -(-len(groups) // most)
    size = -(-len(groups) // max(count, 1))
    return [groups[i : i + size] for i in range(0, len(groups), size)] if groups else []


def places(count: int) -> Any:
    """Offsets of `count` elements within a group of width 1."""
    return (np.arange(count) - (count - 1) / 2) * SPREAD / max(count, 1)


def ticks(axes: Axes, names: Sequence[str], room: int = 0) -> None:
    """Name the groups under an axis that has room for so many, so that rows have equal bars."""
    # names of one and of two lines, with and without ascenders, stand on one line
    axes.set_xticks(range(len(names)), names, verticalalignment="baseline")
    axes.set_xlim(-0.55, max(room, len(names)) - 0.45)
    lines = max((name.count("\n") for name in names), default=0)
    axes.tick_params(axis="x", length=0, pad=9 + LINE * lines)
    axes.grid(visible=True, axis="y")


def bars(
    axes: Axes,
    names: Sequence[str],
    methods: Sequence[str],
    values: Mapping[tuple[int, str], Bar],
    bottom: float = 0.0,
    room: int = 0,
) -> None:
    """Draw a group of bars for each name; `values` has (height, low, high) by (group, method)."""
    looks = colours(methods)
    for method, x, (heights, low, high) in _bars(len(names), methods, values):
        colour, hatch = looks[method]
        known = np.isfinite(heights)
        axes.bar(
            x[known],
            heights[known] - bottom,
            width=min(SPREAD / len(methods) * 0.9, WIDEST),
            bottom=bottom,
            color=colour,
            hatch=hatch,
            edgecolor="white" if hatch else colour,
            linewidth=0,
        )
        lined = known & np.isfinite(low) & np.isfinite(high)
        for width, ink in ((1.8, "white"), (0.8, INK)):  # white sets it off from a dark bar
            axes.vlines(x[lined], low[lined], high[lined], color=ink, linewidth=width, zorder=3)
        absent(axes, x[~known])
    ticks(axes, names, room)


def dots(
    axes: Axes,
    names: Sequence[str],
    methods: Sequence[str],
    values: Mapping[tuple[int, str], Bar],
    room: int = 0,
) -> None:
    """Draw what `bars` draws as dots with lines, for axes that need not start at 0."""
    looks, shapes = colours(methods), markers(methods)
    for method, x, (heights, low, high) in _bars(len(names), methods, values):
        known = np.isfinite(heights)
        lined = known & np.isfinite(low) & np.isfinite(high)
        colour = looks[method][0]
        axes.vlines(x[lined], low[lined], high[lined], color=colour, linewidth=1.1)
        axes.plot(x[known], heights[known], shapes[method], color=colour, markersize=4)
        absent(axes, x[~known])
    ticks(axes, names, room)


def _bars(
    groups: int, methods: Sequence[str], values: Mapping[tuple[int, str], Bar]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each method with its places, and its heights with the ends of their lines."""
    for method, offset in zip(methods, places(len(methods)), strict=True):
        found = [values.get((i, method), (None, None, None)) for i in range(groups)]
        numbers = [[np.nan if v is None else v for v in bar] for bar in found]
        yield method, np.arange(groups) + offset, np.array(numbers, dtype="float64").T


def about(value: float | None, spread: float | None) -> Bar:
    """Return a bar with its spread on both sides."""
    if value is None or spread is None:
        return value, None, None
    return value, value - spread, value + spread


def absent(axes: Axes, x: Any) -> None:
    """Mark what has no value, so that a gap is not read as zero."""
    if len(x):
        axes.plot(
            x,
            np.full(len(x), 0.03),
            "x",
            color=INK,
            markersize=3.5,
            markeredgewidth=0.8,
            transform=axes.get_xaxis_transform(),
            label=ABSENT,
        )


def violins(
    axes: Axes,
    names: Sequence[str],
    methods: Sequence[str],
    values: Mapping[tuple[int, str], Sequence[Value]],
    marked: Container[tuple[int, str]] = (),
    room: int = 0,
    units: str = "",
) -> list[Spot]:
    """Draw a violin, its values and its mean for each (group, method); a star where marked.

    Returns the points beyond Tukey's fences, for `ring`.
    """
    looks, offsets = colours(methods), places(len(methods))
    width = min(SPREAD / len(methods) * 0.92, WIDEST)
    spots: list[Spot] = []
    for method, offset in zip(methods, offsets, strict=True):
        points: list[tuple[float, float]] = []
        for group in range(len(names)):
            own, x = values.get((group, method), ()), group + float(offset)
            data = finite([value for _, value in own])
            if not len(data):
                absent(axes, np.array([x]))
                continue
            out = beyond(own)
            said = f"{names[group]}, {label(method)}".replace("\n", " ")
            spots += [
                Spot(axes, x, y, far, subject, f"{said}: {y:.3g}{units}") for subject, y, far in out
            ]
            points += [(x, y) for y in (data if len(data) <= MANY else [y for _, y, _ in out])]
            _violin(axes, data, x, width, looks[method])
            if (group, method) in marked:
                axes.annotate(
                    "*",
                    (x, data.max()),
                    xytext=(0, 1.5),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=9,
                    label=STAR,
                )
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=looks[method][0], markersize=1.6)
    ticks(axes, names, room)
    return spots


def _violin(axes: Axes, data: Any, x: float, width: float, look: tuple[str, str]) -> None:
    colour, hatch = look
    # a kernel density needs values that differ
    if len(data) > 2 and np.ptp(data) > 1e-9 * max(1.0, float(np.abs(data).max())):
        parts = axes.violinplot([data], [x], widths=width, showextrema=False, points=32)
        bodies: Any = parts["bodies"]
        for body in bodies:
            body.set(facecolor=colour, edgecolor=colour, alpha=0.35, linewidth=0.7, hatch=hatch)
    if len(data) > MANY:
        low, high = np.percentile(data, (25, 75))
        axes.vlines([x], [low], [high], color=colour, linewidth=2.5)
    mean = float(data.mean())
    axes.plot([x - width / 2, x + width / 2], [mean, mean], "-", color=INK, linewidth=1.1)


def absolute_differences(
    found: Mapping[tuple[str, ...], Sequence[Value]],
    first: Sequence[str],
    second: Sequence[str],
) -> list[Value]:
    """Return abs(a - b) of every subject that has both; keys as in `lookup.values_by`."""
    one, other = dict(found.get(tuple(first), ())), dict(found.get(tuple(second), ()))
    return [(s, abs(one[s] - other[s])) for s in one if s in other]
