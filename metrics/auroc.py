"""Separation of grey and white matter by intensity (paper, section 2.5, Figs. 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Stateless
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Better, Context, Reference, Row, Scan, State

STRUCTURE = "gm-wm"
SIGN = np.uint32(0x80000000)
HALF = np.uint32(16)


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

    The Mann-Whitney statistic over the number of pairs: counted in integers, so exact, ties too.

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
    low, low_first = _distinct(_sorted_keys(grey))
    high, high_first = _distinct(_sorted_keys(white))
    before = np.append(low_first, grey.size)  # grey voxels before each distinct grey value
    at = np.searchsorted(low, high)
    equal = low[np.minimum(at, low.size - 1)] == high
    twice = (before[at] + before[at + equal]) * np.diff(high_first, append=white.size)
    return int(twice.sum()) / (2 * grey.size * white.size)


def _sorted_keys(values: FloatArray) -> NDArray[np.uint32]:
    """Sort floats as integers that have their order.

    numpy sorts 16-bit integers in linear time: by the leading half of the bits at once, then
    the other half of the few hundred to few thousand groups that share a leading half. A third of
    the time of `np.sort`, which compares.
    """
    bits = (np.asarray(values, dtype=np.float32) + np.float32(0)).view(np.uint32)  # -0 becomes 0
    keys = np.where(bits & SIGN, ~bits, bits | SIGN)
    leading = (keys >> HALF).astype(np.uint16)
    rest = keys.astype(np.uint16)[np.argsort(leading, kind="stable")]
    counts = np.bincount(leading)
    groups = np.flatnonzero(counts)
    ends = np.cumsum(counts[groups])
    for start, end in zip(ends - counts[groups], ends, strict=True):
        rest[start:end].sort(kind="stable")
    return np.repeat(groups.astype(np.uint32) << HALF, counts[groups]) | rest


def _distinct(ordered: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """Distinct values of a sorted array, and where each first stands."""
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[first], first
