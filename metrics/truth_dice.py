"""Overlap of a segmentation with the true tissue, where it is known, as of the phantom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from harmobench.base import Stateless
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.dice import Dice, dice
from harmobench.metrics.true_maps import Absent, TrueMap, true_map


@dataclass
class TruthDice(Stateless):
    """Dice overlap of segmented and true grey and white matter in native space.

    It says what `dice` cannot: that a method's scans agree on the right tissue.

    Attributes
    ----------
    threshold
        Voxels of at least this probability, and of at least this true fraction, belong to the
        tissue (paper: .8).
    """

    threshold: float = 0.8

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["segmentation"]] = "segmentation"
    space: ClassVar[Literal["native"]] = "native"
    better: ClassVar[Better] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = ("gm", "wm")
    truth: ClassVar[tuple[str, ...]] = ("truth_csf", "truth_gm", "truth_wm")
    reference: ClassVar[Reference] = Dice.reference

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan and tissue."""
        for scan in scans:
            for tissue in self.structures:
                value = overlap(true_map(scan, tissue, self.threshold), self.threshold)
                if isinstance(value, Absent):
                    yield Row(tissue, None, "", scan.scanner, "", value.status, value.reason)
                else:
                    yield Row(tissue, value, "", scan.scanner)


def overlap(found: TrueMap | Absent, threshold: float) -> float | Absent:
    """Overlap of the segmented with the true mask, 0 to 1, or why there is none.

    >>> import numpy as np
    >>> mask = np.array([True, True, False, False])
    >>> overlap(TrueMap(mask, np.float32([0.9, 0.7, 0.8, 0.0]), voxel_ml=1.0), 0.8)
    0.5
    """
    if isinstance(found, Absent):
        return found
    value = dice(found.mask, found.true_mask(threshold))
    return Absent("undefined", "segmentation and truth are empty") if value is None else value
