"""Tissue volumes (paper, section 2.5, Fig. 7 and Table 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.interface import Better, Context, Reference, Row, Scan, Segmentation, State
from harmobench.references import TORBATI_2023


@dataclass
class Volume(Stateless):
    """Volume of grey matter, white matter and CSF, ml, in native space where it can be had.

    Attributes
    ----------
    threshold
        Voxels of at least this tissue probability count as a whole (paper: .8).
    probability_sum
        Sum the probabilities instead.
    """

    threshold: float = 0.8
    probability_sum: bool = False

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["segmentation"]] = "segmentation"
    space: ClassVar[Literal["native"]] = "native"
    better: ClassVar[Better] = "equal"
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    units: ClassVar[str] = "ml"
    structures: ClassVar[tuple[str, ...]] = ("gm", "wm", "csf")
    reference: ClassVar[Reference] = TORBATI_2023

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan and tissue."""
        for scan in scans:
            for tissue in self.structures:
                if scan.segmentation is None:
                    yield Row(
                        tissue,
                        None,
                        self.units,
                        scan.scanner,
                        status="not_measured",
                        reason="no segmentation",
                    )
                else:
                    yield Row(tissue, self._ml(scan.segmentation, tissue), self.units, scan.scanner)

    def _ml(self, segmentation: Segmentation, tissue: str) -> float:
        if self.probability_sum:
            voxels = float(segmentation.probability(tissue).sum(dtype=np.float64))
        else:
            voxels = float(np.count_nonzero(segmentation.mask(tissue, self.threshold)))
        return voxels * segmentation.voxel_ml
