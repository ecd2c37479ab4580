"""Tissue volumes against the true ones, where the truth is known, as of the phantom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.imaging.volume import BoolArray
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.true_maps import KWAN_1999, Absent, TrueMap, true_map

TISSUES = ("gm", "wm", "csf")
TRUE_SHARE = 0.8  # what the structures' _p80 says, whatever the segmentation's threshold


@dataclass
class VolumeError(Stateless):
    """Segmented minus true volume of grey matter, white matter and CSF, ml, in native space.

    The segmented volume is that of `volume` with the same threshold. `gm` holds it against the
    true fractions summed: what there is. `gm_p80` holds it against the voxels whose true fraction
    is at least .8: what a perfect segmenter would give. Their difference is the threshold's own
    bias, since mixed voxels are many; it is the same for all methods. `gm_true` stands beside them:
    the true fractions summed.

    Attributes
    ----------
    threshold
        Voxels of at least this tissue probability belong to the tissue (paper: .8).
    """

    threshold: float = 0.8

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["segmentation"]] = "segmentation"
    space: ClassVar[Literal["native"]] = "native"
    better: ClassVar[Better] = "zero"
    range: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))
    units: ClassVar[str] = "ml"
    structures: ClassVar[tuple[str, ...]] = (*TISSUES, *(f"{tissue}_p80" for tissue in TISSUES))
    truth: ClassVar[tuple[str, ...]] = ("truth_csf", "truth_gm", "truth_wm")
    reference: ClassVar[Reference] = KWAN_1999

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield two rows for each scan and tissue, and the truth beside them."""
        for scan in scans:
            for tissue in TISSUES:
                yield from self._rows(scan, tissue)

    def _rows(self, scan: Scan, tissue: str) -> Iterator[Row]:
        names = (tissue, f"{tissue}_p80")
        found = true_map(scan, tissue, self.threshold)
        if isinstance(found, Absent):
            for name in names:
                yield Row(name, None, self.units, scan.scanner, "", found.status, found.reason)
            return
        for name, value in zip(names, volume_errors(found), strict=True):
            yield Row(name, value, self.units, scan.scanner)
        yield Row(f"{tissue}_true", summed_ml(found), self.units, scan.scanner)


def summed_ml(found: TrueMap) -> float:
    """Add up the true fractions, ml."""
    return float(found.fraction.sum(dtype=np.float64)) * found.voxel_ml


def volume_errors(found: TrueMap) -> tuple[float, float]:
    """Segmented minus true volume, ml: the truth's fractions summed, and its voxels of at least .8.

    >>> fraction = np.float32([1.0, 0.8, 0.5, 0.0])
    >>> mask = np.array([True, True, True, False])
    >>> [round(error, 6) for error in volume_errors(TrueMap(mask, fraction, voxel_ml=2.0))]
    [1.4, 2.0]
    """
    segmented = _count(found.mask) * found.voxel_ml
    whole = _count(found.true_mask(TRUE_SHARE)) * found.voxel_ml
    return segmented - summed_ml(found), segmented - whole


def _count(mask: BoolArray) -> int:
    return int(np.count_nonzero(mask))
