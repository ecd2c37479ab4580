"""Overlap of a subject's segmentations on two scanners (paper, section 2.5, Fig. 10)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.imaging.volume import BoolArray
from harmobench.interface import Better, Context, Reference, Row, Scan, State


@dataclass
class Dice(Stateless):
    """Dice overlap of grey and of white matter in template space.

    Attributes
    ----------
    threshold
        Voxels of at least this tissue probability belong to the tissue (paper: .8).
    """

    threshold: float = 0.8

    level: ClassVar[Literal["pair"]] = "pair"
    reads: ClassVar[Literal["segmentation"]] = "segmentation"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = ("gm", "wm")
    reference: ClassVar[Reference] = Reference(
        title="Measures of the amount of ecologic association between species",
        authors="Dice LR",
        year=1945,
        venue="Ecology 26(3), 297-302",
        doi="10.2307/1932409",
        key="dice1945overlap",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for every pair of the subject's scans, in the order given, and tissue."""
        for tissue in self.structures:
            masks = [self._mask(scan, tissue) for scan in scans]
            for i, k in combinations(range(len(scans)), 2):
                yield _row(tissue, (scans[i], scans[k]), (masks[i], masks[k]))

    def _mask(self, scan: Scan, tissue: str) -> BoolArray | None:
        if scan.segmentation is None:
            return None
        return scan.segmentation.mask(tissue, self.threshold)


def _row(
    tissue: str, scans: tuple[Scan, Scan], masks: tuple[BoolArray | None, BoolArray | None]
) -> Row:
    names = (scans[0].scanner, scans[1].scanner)
    a, b = masks
    if a is None or b is None:
        return Row(tissue, None, "", *names, status="not_measured", reason="no segmentation")
    value = dice(a, b)
    if value is None:
        return Row(
            tissue, None, "", *names, status="undefined", reason="both segmentations are empty"
        )
    return Row(tissue, value, "", *names)


def dice(a: BoolArray, b: BoolArray) -> float | None:
    """Twice the shared voxels over the voxels of both, 0 to 1; None where both are empty.

    >>> dice(np.array([True, True, False]), np.array([False, True, True]))
    0.5
    """
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2.0 * int(np.count_nonzero(a & b)) / total if total else None
