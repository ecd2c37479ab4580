"""Tissue volumes (paper, section 2.5, Fig. 7 and Table 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.imaging.volume import FloatArray, at_least
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
        threshold = None if self.probability_sum else self.threshold
        return tissue_ml(segmentation.probability(tissue), segmentation.voxel_ml, threshold)


def tissue_ml(probability: FloatArray, voxel_ml: float, threshold: float | None) -> float:
    """Volume of a tissue, ml.

    Parameters
    ----------
    probability
        Of the tissue in each voxel, 0 to 1, of any shape.
    voxel_ml
        Volume of a voxel, ml.
    threshold
        Voxels of at least this probability count as a whole, the others not at all; None adds the
        probabilities up.

    Examples
    --------
    >>> tissue_ml(np.float32([0.25, 0.75, 1.0]), 0.5, 0.5), tissue_ml(np.ones(4), 0.5, None)
    (1.0, 2.0)
    """
    if threshold is None:
        return float(probability.sum(dtype=np.float64)) * voxel_ml
    return int(np.count_nonzero(at_least(probability, threshold))) * voxel_ml
