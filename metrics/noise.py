"""Whether a scan is as noisy as its RAW: noise must not pass for sharpness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.imaging.landmarks import eroded
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.guards import (
    Indices,
    Tissues,
    UndefinedError,
    check_at_least,
    flat,
    flat_where,
    neighbours,
    scan_rows,
    shared_brain,
)

STRUCTURE = "wm"
SIDES = 6  # neighbours across a voxel's faces


@dataclass
class Noise(Stateless):
    """Fine-grained variation of deep white matter, over that of the same scan's RAW.

    The standard deviation of each voxel less the mean of its six neighbours (a Laplacian, as
    Immerkaer's, in three dimensions), divided by the image's own signed distance of grey and white
    matter. 1 as in RAW, below 1 smoothed, above 1 noisier.

    Attributes
    ----------
    depth
        Voxels that the atlas's white matter loses, so that no edge counts as noise.
    reach
        Distance of the neighbours, voxels: noise that interpolation smoothed needs more than 1.
    label_erosion
        Voxels that the atlas's grey and white matter lose before their medians are taken.
    least
        Voxels that erosion must leave; fewer layers go where it would not (but `reach` do).
    """

    depth: int = 2
    reach: int = 1
    label_erosion: int = 1
    least: int = 100

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "one"
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    reference: ClassVar[Reference] = Reference(
        title="Fast noise variance estimation",
        authors="Immerkær J",
        year=1996,
        venue="Computer Vision and Image Understanding 64(2), 300-302",
        doi="10.1006/cviu.1996.0060",
        key="immerkaer1996noise",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan.

        Raises
        ------
        SettingsError
            `reach` below 1, or `depth` below `reach`.
        """
        check_at_least("noise", reach=(self.reach, 1), depth=(self.depth, self.reach))
        brain = shared_brain(scans)
        tissues = Tissues.of(context.atlas, brain, self.label_erosion, self.least)
        white = eroded(context.atlas.tissue("wm") & brain, self.reach)
        deep = flat_where(eroded(white, self.depth - self.reach, self.least))

        def strength(scan: Scan, what: str) -> float:
            voxels = flat(scan.voxels())
            distance = tissues.scale(voxels, what).distance
            return fine_variation(voxels, deep, brain.shape, self.reach) / distance

        def over_raw(scan: Scan) -> float:
            raw = strength(context.raw(scan), "RAW")
            if not raw > 0:
                raise UndefinedError("RAW's deep white matter does not vary")
            return strength(scan, "") / raw

        yield from scan_rows(STRUCTURE, scans, over_raw)


def fine_variation(
    voxels: FloatArray, where: Indices, shape: Sequence[int], reach: int = 1
) -> float:
    """Compute the standard deviation of voxels less the mean of their six neighbours.

    Parameters
    ----------
    voxels
        A flat image of `shape`.
    where
        Flat indices (n,), at least `reach` voxels from the image's border.
    shape
        Of the image.
    reach
        Distance of the neighbours, voxels.

    Raises
    ------
    UndefinedError
        Fewer than two voxels.

    Examples
    --------
    >>> spike = np.zeros((5, 5, 5), dtype=np.float32)
    >>> spike[2, 2, 2] = 6
    >>> fine_variation(spike.ravel(order="F"), np.array([62, 63]), spike.shape)
    3.5
    """
    if where.size < 2:
        raise UndefinedError("the brain mask has no deep white matter of the atlas")
    rest = voxels[where].astype(np.float64)
    for before, after in neighbours(voxels, where, shape, reach):
        rest -= (before.astype(np.float64) + after) / SIDES
    return float(rest.std())
