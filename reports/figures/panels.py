"""Building blocks of the figures: grouped bars, violins, points and a common legend."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.reports.style import INK, colours, finite, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.6  # inches: full width of the page
ELEMENTS = 42  # bars or violins side by side in a row that can still be read
SPREAD = 0.84  # of a group's unit of width
Pair = tuple[str, str]


def rows_of(groups: Sequence[Any], elements: int) -> list[Sequence[Any]]:
    """Break groups of so many elements into rows of nearly equal length."""
    most = int(np.clip(ELEMENTS // max(elements, 1), 1, 7))
    count = -(-len(groups) // most)
    size = -(-len(groups) // max(count, 1))
    return [groups[i : i + size] for i in range(0, len(groups), size)] if groups else []


def places(count: int) -> Any:
    """Offsets of `count` elements within a group of width 1."""
    return (np.arange(count) - (count - 1) / 2) * SPREAD / max(count, 1)


def short(name: str, width: int = 16) -> str:
    """Return a name that fits under an axis."""
    return textwrap.shorten(name, width, placeholder="…") if " " in name else _cut(name, width)


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def pair_tick(pair: Pair) -> str:
    """Two scanners on two lines."""
    return f"{short(pair[0])} –\n{short(pair[1])}"  # noqa: RUF001


def ticks(axes: Axes, names: Sequence[str]) -> None:
    """Name the groups under an axis, with faint lines between them."""
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=True, axis="y")


def bars(
    axes: Axes,
    names: Sequence[str],
    methods: Sequence[str],
    values: Mapping[tuple[int, str], tuple[float | None, float | None]],
    bottom: float = 0.0,
) -> None:
    """Draw a group of bars for each name; `values` has (height, error) by (group, method)."""
    looks, offsets = colours(methods), places(len(methods))
    for method, offset in zip(methods, offsets, strict=True):
        found = [values.get((i, method), (None, None)) for i in range(len(names))]
        heights, errors = (
            np.array([np.nan if v is None else v for v in column], dtype="float64")
            for column in zip(*found, strict=True)
        )
        x = np.arange(len(names)) + offset
        colour, hatch = looks[method]
        known = np.isfinite(heights)
        axes.bar(
            x[known],
            heights[known] - bottom,
            width=SPREAD / len(methods) * 0.92,
            bottom=bottom,
            color=colour,
            hatch=hatch,
            edgecolor="white" if hatch else colour,
            linewidth=0,
        )
        barred = known & np.isfinite(errors)
        if barred.any():
            axes.errorbar(
                x[barred], heights[barred], errors[barred], fmt="none", ecolor=INK, elinewidth=0.8
            )
        absent(axes, x[~known])
    ticks(axes, names)


def absent(axes: Axes, x: Any) -> None:
    """Mark what has no value, so that a gap is not read as zero."""
    if len(x):
        transform = axes.get_xaxis_transform()
        axes.plot(x, np.full(len(x), 0.03), "x", color=INK, markersize=4, transform=transform)


def violins(
    axes: Axes,
    names: Sequence[str],
    methods: Sequence[str],
    values: Mapping[tuple[int, str], Sequence[float]],
    marked: Container[tuple[int, str]] = (),
) -> None:
    """Draw a violin, its values and its mean for each (group, method); a star where marked."""
    looks, offsets = colours(methods), places(len(methods))
    width = SPREAD / len(methods) * 0.92
    for method, offset in zip(methods, offsets, strict=True):
        for group in range(len(names)):
            data, x = finite(values.get((group, method), ())), group + float(offset)
            if not len(data):
                absent(axes, np.array([x]))
                continue
            _violin(axes, data, x, width, looks[method])
            if (group, method) in marked:
                axes.annotate("*", (x, data.max()), ha="center", va="bottom", fontsize=9)
    ticks(axes, names)


def _violin(axes: Axes, data: Any, x: float, width: float, look: tuple[str, str]) -> None:
    colour, hatch = look
    # a kernel density needs values that differ
    if len(data) > 2 and np.ptp(data) > 1e-9 * max(1.0, float(np.abs(data).max())):
        parts = axes.violinplot([data], [x], widths=width, showextrema=False, points=48)
        bodies: Any = parts["bodies"]
        for body in bodies:
            body.set(facecolor=colour, edgecolor=colour, alpha=0.45, linewidth=0.8, hatch=hatch)
    axes.plot(np.full(len(data), x), data, "o", color=colour, markersize=1.8)
    mean = float(data.mean())
    axes.plot([x - width / 2, x + width / 2], [mean, mean], "-", color=INK, linewidth=1.2)


def legend(figure: Figure, methods: Sequence[str]) -> None:
    """Name the methods above a figure."""
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white" if hatch else colour, label=label(m))
        for m, (colour, hatch) in colours(methods).items()
    ]
    columns = min(len(handles), 8)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def by_group(
    found: Mapping[tuple[str, ...], Sequence[tuple[str, float]]], *key: str
) -> list[float]:
    """Return the values under a key of `lookup.values_by`; none where there are none."""
    return [value for _, value in found.get(key, ())]


def absolute_differences(
    found: Mapping[tuple[str, ...], Sequence[tuple[str, float]]],
    first: Sequence[str],
    second: Sequence[str],
) -> list[float]:
    """Return abs(a - b) of every subject that has both; keys as in `lookup.values_by`."""
    one, other = dict(found.get(tuple(first), ())), dict(found.get(tuple(second), ()))
    return [abs(one[subject] - other[subject]) for subject in one if subject in other]
