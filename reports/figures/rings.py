"""Outliers in a figure: ringed, and linked to the images of their subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harmobench.reports.images.anchors import anchors
from harmobench.reports.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harmobench.interface import Finished

LINKED = 12  # rings in a figure
EACH = 3  # rings of one subject, so that one broken scan does not hide the others


@dataclass(frozen=True)
class Spot:
    """A point beyond Tukey's fences; `far` is its distance from the middle half, in IQRs."""

    axes: Axes
    x: float
    y: float
    far: float
    subject: str
    said: str


def ring(run: Finished, spots: Sequence[Spot]) -> None:
    """Ring and link the farthest of these points, few of them of each subject."""
    links = anchors(run.design.subjects)
    of: dict[str, int] = {}
    drawn = 0
    for spot in sorted(spots, key=lambda s: (-s.far, s.subject, s.said)):
        if drawn == LINKED:
            return
        if of.get(spot.subject, 0) < EACH and spot.subject in links:
            of[spot.subject] = of.get(spot.subject, 0) + 1
            drawn += 1
            words = f"subject {spot.subject}, {spot.said}"
            mark_outlier(spot.axes, spot.x, spot.y, f"#{links[spot.subject]}", words)


def mark_outlier(axes: Axes, x: float, y: float, url: str, said: str) -> None:
    """Ring a point that links to a place in the page; `said` is the link in words."""
    (artist,) = axes.plot(
        [x],
        [y],
        "o",
        color=INK,
        markersize=5.5,
        markerfacecolor="none",
        markeredgewidth=0.8,
        zorder=4,
        clip_on=False,
    )
    artist.set_url(url)
    artist.set_label(f"_{said}")
