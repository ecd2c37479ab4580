"""What stands above a figure: names of its colours, and what its marks mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harmobench.reports.style import INK, colours, label, markers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABSENT = "_no value"  # label of the crosses; a leading "_" keeps it out of legends made by itself
STAR = "_star"
WIDE = 118  # characters that a row holds
BESIDE = 6  # characters as wide as a handle and the space around it


def legend(
    figure: Figure,
    methods: Sequence[str],
    notes: Mapping[str, str] | None = None,
    handles: Sequence[Any] = (),
    *,
    dots: bool = False,
) -> None:
    """Name the methods above a figure, and say what its marks mean.

    `notes` says what only the caller knows: what "*", and what an "interval" on a bar is.
    `dots`: methods are told by dots, not by bars.
    """
    named = _dots(methods) if dots else _patches(methods)
    above(figure, [*named, *handles], keys(figure, notes or {}))


def _patches(methods: Sequence[str]) -> list[Any]:
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white" if hatch else colour, label=label(m))
        for m, (colour, hatch) in colours(methods).items()
    ]


def _dots(methods: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    looks, shapes = colours(methods), markers(methods)
    return [
        Line2D([], [], linestyle="", marker=shapes[m], color=looks[m][0], ms=5, label=label(m))
        for m in methods
    ]


def above(figure: Figure, named: Sequence[Any], marks: Sequence[Any] = ()) -> None:
    """Put handles in rows above a figure, and the keys to its marks below it."""
    places: tuple[Any, Any] = ("outside upper left", "outside lower left")
    for handles, where in zip((named, marks), places, strict=True):
        if handles:
            own, columns = _columns(handles)
            figure.legend(handles=own, loc=where, ncols=columns, borderaxespad=0.1)


def _columns(handles: Sequence[Any]) -> tuple[list[Any], int]:
    """Return handles so that filling columns downwards makes rows that read across."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    most = max(1, WIDE // (longest + BESIDE))
    if sum(len(str(handle.get_label())) + BESIDE for handle in handles) <= WIDE:
        return list(handles), len(handles)
    rows = -(-len(handles) // most)
    columns = -(-len(handles) // rows)
    return [handle for i in range(columns) for handle in handles[i::columns]], columns


def keys(figure: Figure, notes: Mapping[str, str]) -> list[Any]:
    """Return a key to each kind of mark that the figure has."""
    from matplotlib.lines import Line2D

    lines = [line for axes in figure.axes for line in axes.lines]
    texts = [text for axes in figure.axes for text in axes.texts]
    found: dict[str, dict[str, Any]] = {
        "interval": {"marker": "|", "markersize": 8},
        "*": {"marker": (6, 2, 0), "markersize": 4},
        "outlier": {"marker": "o", "markersize": 5.5, "markerfacecolor": "none"},
        "absent": {"marker": "x", "markersize": 3.5},
    }
    said = {
        "interval": notes.get("interval", ""),
        "*": notes.get("*", "") if any(text.get_label() == STAR for text in texts) else "",
        "outlier": "farthest outliers" if any(line.get_url() for line in lines) else "",
        "absent": "no value" if any(line.get_label() == ABSENT for line in lines) else "",
    }
    return [
        Line2D([], [], linestyle="", color=INK, markeredgewidth=0.8, label=said[name], **look)
        for name, look in found.items()
        if said[name]
    ]
