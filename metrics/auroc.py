"""Separation of grey and white matter by intensity (paper, section 2.5, Figs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harmobench.base import Stateless
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Better, Context, Reference, Row, Scan, State

STRUCTURE = "gm-wm"


@dataclass
class AUROC(Stateless):
    """Probability that a white-matter voxel is brighter than a grey-matter voxel, half for ties.

    Grey and white matter are the atlas's labels within the scan's brain mask; exact.
    """

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    reference: ClassVar[Reference] = Reference(
        title="The meaning and use of the area under a receiver operating characteristic (ROC) "
        "curve",
        authors="Hanley JA, McNeil BJ",
        year=1982,
        venue="Radiology 143(1), 29-36",
        doi="10.1148/radiology.143.1.7063747",
        key="hanley1982auroc",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan."""
        grey, white = context.atlas.tissue("gm"), context.atlas.tissue("wm")
        for scan in scans:
            voxels, brain = scan.voxels(), scan.brain()
            value = auroc(voxels[grey & brain], voxels[white & brain])
            if value is None:
                yield Row(
                    STRUCTURE,
                    None,
                    scanner=scan.scanner,
                    status="undefined",
                    reason="the brain mask has no voxel of the atlas's grey or white matter",
                )
            else:
                yield Row(STRUCTURE, value, scanner=scan.scanner)


def auroc(grey: FloatArray, white: FloatArray) -> float | None:
    """Area under the receiver operating characteristic curve, white matter being positive.

    The Mann-Whitney statistic over the number of pairs, counted in integers, so exact to the last
    bit of a float64 division. The shared part of the two sorted lists is searched once; only
    values in both are searched again, for their ties.

    Parameters
    ----------
    grey, white
        Finite intensities (n,), in any order.

    Returns
    -------
    float or None
        0 to 1; None where one of the two is empty.

    Examples
    --------
    >>> auroc(np.float32([1, 2, 3]), np.float32([2, 3, 4]))
    0.7777777777777778
    """
    if not grey.size or not white.size:
        return None
    low, high = np.sort(grey), np.sort(white)
    below = np.searchsorted(low, high, side="left")
    tied = high[low[np.minimum(below, low.size - 1)] == high]
    ties = 0
    if tied.size:
        first = np.searchsorted(low, tied, side="left")
        ties = int((np.searchsorted(low, tied, side="right") - first).sum())
    return (2 * int(below.sum()) + ties) / (2 * low.size * high.size)
