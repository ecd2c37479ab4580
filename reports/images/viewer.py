"""Slices of a few subjects that the page's viewer moves through, packed to fit a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.imaging.mosaics import SIDE_BY_SIDE
from harmobench.imaging.slices import Stack, read_stack, spread
from harmobench.interface import Finished
from harmobench.reports.images.coding import Levels, bits, coded, levels_of
from harmobench.reports.images.outliers import Chosen, chosen
from harmobench.reports.style import label

if TYPE_CHECKING:
    from harmobench.reports.images.pictures import Gallery

STEP = 0.02  # GM-WM units: what a level of the page's arrays stands for
BUDGET = 5_400_000  # characters of all subjects together
MOST, ENOUGH, FEWEST = 12, 6, 3  # slices of an orientation: the stack's, before subjects go, at all
REACH = 1.0  # GM-WM units: where the colours of difference maps end
UNITS_OF_WINDOW = 3  # of an image without contrast, whose window stands for its units


@dataclass(frozen=True)
class Shown:
    """One subject in the viewer.

    Attributes
    ----------
    subject, why
        Who, and why this one.
    data
        What the script reads.
    """

    subject: str
    why: str
    data: dict[str, Any]

    @property
    def size(self) -> int:
        """Characters of the packed arrays."""
        parts = self.data["methods"].values()
        return sum(len(a[1]) for p in parts for own in p["scans"] if own for a in own)


@dataclass(frozen=True)
class Viewer:
    """What the page's viewer shows; `meta` is the same for all subjects."""

    meta: dict[str, Any]
    subjects: Sequence[Shown]
    note: str


def viewer(run: Finished, gallery: Gallery) -> Viewer | None:
    """Pack as many subjects and slices as the page has room for; None where the run has none."""
    people = [own for own in chosen(run) if gallery.stacks(own.subject)]
    if not people or not [name for name in gallery.ranked if name != "raw"]:
        return None
    first = _Packer(gallery, people[0], MOST)
    full = first.packed()
    count, slices = room(full.size, first.count, len(people))
    packers = [_Packer(gallery, own, slices) for own in people[:count]]
    shown = [full if p.same(first) else p.packed() for p in packers]
    return Viewer(packers[0].meta(run), shown, _note(people, count, first.count, packers[0].count))


def room(size: int, slices: int, people: int) -> tuple[int, int]:
    """Subjects and slices of an orientation that fit, where one subject's `slices` are of `size`.

    Slices go first, but not below 6; then subjects go.

    >>> room(1_000_000, 12, 3), room(4_000_000, 12, 3)
    ((3, 12), (2, 8))
    """
    for count in range(people, 0, -1):
        fit = int(BUDGET * slices / max(size, 1) / count)
        if fit >= min(ENOUGH, slices):
            break
    return count, max(min(fit, slices), min(FEWEST, slices))


def _note(people: Sequence[Chosen], count: int, before: int, now: int) -> str:
    left = []
    if count < len(people):
        left.append(f"{count} of {len(people)} chosen subjects are shown")
    if now < before:
        left.append(f"each orientation has {now} of the {before} slices that the run kept")
    return f"To keep this page small, {' and '.join(left)}." if left else ""


class _Packer:
    """Packs one subject."""

    def __init__(self, gallery: Gallery, who: Chosen, most: int) -> None:
        self.gallery = gallery
        self.who = who
        self.most = most
        self.scanners = gallery.run.design.scanners
        self.keys = {m: self._keys(m) for m in gallery.ranked}
        first = next(key for keys in self.keys.values() for key in keys if key)
        picture = gallery.picture(*first)
        self.picks = {axis: self._pick(read_stack(picture, axis)) for axis in SIDE_BY_SIDE}
        self.stacks = {axis: self._cut(read_stack(picture, axis), axis) for axis in SIDE_BY_SIDE}

    def _keys(self, method: str) -> list[tuple[str, str, str] | None]:
        found = [(method, self.who.subject, scanner) for scanner in self.scanners]
        return [key if key in self.gallery.run.pictures else None for key in found]

    @property
    def count(self) -> int:
        """Slices of the orientation that has most."""
        return max(len(stack.at) for stack in self.stacks.values())

    def same(self, other: _Packer) -> bool:
        """Whether another packs the same."""
        return self.who == other.who and self.count == other.count

    def _pick(self, stack: Stack) -> Any:
        """Slices to show, evenly chosen, and the box of their brain."""
        every = np.arange(len(stack.at))
        index = every if len(every) <= self.most else spread(every, self.most, margin=0)
        brain = np.rot90(stack.brain[index], axes=(1, 2))
        rows, columns = (np.flatnonzero(brain.any(axis=a)) for a in ((0, 2), (0, 1)))
        if not rows.size:
            return index, slice(0, 1), slice(0, 1)
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return index, *box

    def _cut(self, stack: Stack, axis: str) -> Stack:
        """Keep the chosen slices, with the front or the top up, cut to the brain's box."""
        index, rows, columns = self.picks[axis]
        own = [np.rot90(a[index], axes=(1, 2))[:, rows, columns] for a in stack[:2]]
        return Stack(own[0], own[1], stack.at[index], stack.mm)

    def meta(self, run: Finished) -> dict[str, Any]:
        """Return what the script must know beside the arrays."""
        return {
            "step": STEP,
            "reach": REACH,
            "scanners": list(self.scanners),
            "methods": [{"name": name, "label": label(name)} for name in self.keys],
            "axes": [self._axis(name) for name in SIDE_BY_SIDE],
        }

    def _axis(self, name: str) -> dict[str, Any]:
        stack = self.stacks[name]
        height, width = stack.brain.shape[1:]
        return {
            "name": name,
            "letter": {"axial": "z", "coronal": "y", "sagittal": "x"}[name],
            "at": [round(float(mm), 1) for mm in stack.at],
            "width": width,
            "height": height,
            "ratio": round(width * stack.mm[0] / (height * stack.mm[1]), 4),
            "brain": bits(stack.brain),
        }

    def packed(self) -> Shown:
        """Pack all methods, RAW first: others are coded from it."""
        raws = self._levels("raw") if "raw" in self.keys else None
        methods = {name: self._method(name, raws) for name in self.keys}
        data = {"subject": self.who.subject, "why": self.who.why, "methods": methods}
        return Shown(self.who.subject, self.who.why, data)

    def _method(self, name: str, raws: list[dict[str, Levels]] | None) -> dict[str, Any]:
        centre, unit, measured = self._scale(name)
        low, high = self.gallery.windows[name]
        own = raws if name == "raw" and raws is not None else self._levels(name)
        scans = []
        for place, levels in enumerate(own):
            raw = raws[place] if raws and name != "raw" else {}
            scans.append(
                [
                    list(coded(levels[axis], self.stacks[axis].brain, raw.get(axis)))
                    for axis in SIDE_BY_SIDE
                    if axis in levels
                ]
            )
        window = [round((x - centre) / (unit * STEP), 2) for x in (low, high)]
        return {"window": window, "units": measured, "scans": scans}

    def _levels(self, name: str) -> list[dict[str, Levels]]:
        """Return each scanner's levels by orientation; nothing for a scan without a picture."""
        centre, unit, _ = self._scale(name)
        found: list[dict[str, Levels]] = []
        for key in self.keys[name]:
            picture = self.gallery.picture(*key) if key else None
            if picture is None or "stack_range" not in picture:
                found.append({})
                continue
            cut = {axis: self._cut(read_stack(picture, axis), axis) for axis in SIDE_BY_SIDE}
            found.append(
                {
                    axis: levels_of(stack.pixels, centre, unit * STEP) * self.stacks[axis].brain
                    for axis, stack in cut.items()
                }
            )
        return found

    def _scale(self, name: str) -> tuple[float, float, bool]:
        """Return the intensity that is 0, one GM-WM unit, and whether it could be measured.

        Means over the subject's scans of this method, so that what scanners do to the whole scale
        is part of their difference.
        """
        found = [self.gallery.medians(*key) for key in self.keys[name] if key]
        medians = np.array([own for own in found if own is not None], dtype=np.float64)
        if len(medians) and np.isfinite(medians).all():
            grey, white = medians.mean(axis=0)
            if white > grey:
                return float(grey), float(white - grey), True
        low, high = self.gallery.windows[name]
        unit = (high - low) / UNITS_OF_WINDOW if high > low else 1.0
        return low + (UNITS_OF_WINDOW - 1) * unit, unit, False
