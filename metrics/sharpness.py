"""Whether a scan keeps the edges of its RAW."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Stateless
from harmobench.errors import SettingsError
from harmobench.imaging.landmarks import eroded
from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.guards import (
    Indices,
    Tissues,
    UndefinedError,
    check_at_least,
    flat_where,
    in_units,
    neighbours,
    scan_rows,
    shared_brain,
)
from harmobench.references import OWN

STRUCTURE = "brain"


@dataclass
class Sharpness(Stateless):
    """Share of RAW's edges that a scan keeps: 1 as in RAW, below 1 blurred, above 1 sharpened.

    The scan and the same scan's RAW are each divided by their own signed distance of grey and white
    matter; the gradient is projected on RAW's, over RAW's energy, at the subject's edges:
    sum(g . g_raw) / sum(g_raw . g_raw). Noise does not follow RAW's gradient, so that noise on a
    blurred image does not pass for sharpness, as it would in the gradient's energy. RAW's own noise
    is part of its gradient: who takes away that alone comes out under 1, by its share of the
    energy at edges.

    The edges are those of the mean of the subject's RAW scans, each in its own units so that
    scanners weigh equally: the same for all scans, and for all methods.

    Attributes
    ----------
    erosion
        Voxels that the brain mask loses, so that its border is no edge.
    share
        How much of what remains is an edge: the voxels of the largest gradient.
    label_erosion
        Voxels that the atlas's grey and white matter lose before their medians are taken.
    least
        Voxels of a tissue that this must leave; fewer layers go where it would not.
    """

    erosion: int = 2
    share: float = 0.1
    label_erosion: int = 1
    least: int = 100

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "one"
    range: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    reference: ClassVar[Reference] = OWN

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan.

        Raises
        ------
        SettingsError
            `erosion` below 1 (a gradient needs both neighbours), or `share` not within 0 to 1.
        """
        check_at_least("sharpness", erosion=(self.erosion, 1))
        if not 0 < self.share <= 1:
            raise SettingsError(f"expected sharpness.share within 0 to 1, found {self.share:g}")
        brain, grid = shared_brain(scans), scans[0].grid
        tissues = Tissues.of(context.atlas, brain, self.label_erosion, self.least)
        where = flat_where(brain)
        raws, lost = {}, {}
        for scan in scans:  # brain voxels alone: whole images would be four times as large
            try:
                raws[scan.scanner] = in_units(context.raw(scan), tissues, where, "RAW")
            except UndefinedError as error:
                lost[scan.scanner] = str(error)
        image = np.zeros(brain.size, dtype=np.float32)

        def gradient(values: FloatArray, at: Indices) -> FloatArray:
            image[where] = values
            return np.stack(list(slopes(image, at, grid)))

        at = flat_where(eroded(brain, self.erosion))
        if raws and at.size:
            together = reduce(np.add, raws.values())  # their mean, but for a factor
            at = at[largest(np.linalg.norm(gradient(together, at), axis=0), self.share)]

        def kept(scan: Scan) -> float:
            if scan.scanner in lost:
                raise UndefinedError(lost[scan.scanner])
            raw = gradient(raws[scan.scanner], at)
            return projection(gradient(in_units(scan, tissues, where), at), raw)

        yield from scan_rows(STRUCTURE, scans, kept)


def largest(size: FloatArray, share: float) -> BoolArray:
    """Mark the largest of sizes (n,), a `share` (0 to 1) of them; a tie at the limit is in.

    >>> largest(np.float32([3, 0, 2, 9]), 0.5)
    array([ True, False, False,  True])
    """
    return np.asarray((size >= np.quantile(size, 1 - share)) & (size > 0))


def slopes(image: FloatArray, where: Indices, grid: Grid) -> Iterable[FloatArray]:
    """Yield the central difference (n,) of a flat image at `where` along each axis, per mm."""
    pairs = neighbours(image, where, grid.shape)
    for (before, after), mm in zip(pairs, grid.voxel_sizes, strict=True):
        yield (after - before) / np.float32(2 * mm)


def projection(own: NDArray[np.floating], raw: NDArray[np.floating]) -> float:
    """Share of a gradient field that another has along it: sum(own . raw) / sum(raw . raw).

    Raises
    ------
    UndefinedError
        RAW is flat.

    Examples
    --------
    >>> projection(np.array([[0.5, 1.0], [3.0, 0.0]]), np.array([[1.0, 2.0], [0.0, 0.0]]))
    0.5
    """
    along, energy = (np.sum(g * raw, dtype=np.float64) for g in (own, raw))
    if not energy > 0:
        raise UndefinedError("RAW has no edge inside the brain")
    return float(along / energy)
