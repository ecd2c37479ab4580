"""A histogram of floats that merges: percentiles of many images with one image in memory.

Floats keep their order when their bits are read as integers (sign aside), so the leading bits are
a bin that is narrow everywhere: 2^-13 of the value with the default 22 bits. Counts add up, in any
order, to the same sketch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHIFT = np.uint32(10)  # 32 - 22 leading bits
SIGN = np.uint32(0x80000000)


@dataclass(frozen=True)
class Sketch:
    """Counts of float32 values by their 22 leading bits.

    Attributes
    ----------
    bins
        Occupied bins in rising order of value.
    counts
        Values in each.
    """

    bins: NDArray[np.uint32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Sketch:
        """Sketch of finite values, of any shape."""
        bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32)
        ordered = np.where(bits & SIGN, ~bits, bits | SIGN)
        bins, counts = np.unique(ordered >> SHIFT, return_counts=True)
        return cls(bins, counts.astype(np.int64))

    def merge(self, other: Sketch) -> Sketch:
        """Sketch of both sets of values together."""
        bins, where = np.unique(np.concatenate([self.bins, other.bins]), return_inverse=True)
        counts = np.zeros(bins.size, dtype=np.int64)
        np.add.at(counts, where, np.concatenate([self.counts, other.counts]))
        return Sketch(bins, counts)

    @property
    def total(self) -> int:
        """How many values went in."""
        return int(self.counts.sum())

    def percentile(self, percent: float) -> float:
        """Value below which `percent` of all values lie, within 2^-13 of itself.

        >>> import numpy as np
        >>> round(Sketch.of(np.arange(1001, dtype=np.float32)).percentile(50), 1)
        500.0
        """
        rank = percent / 100.0 * (self.total - 1)
        after = np.cumsum(self.counts)
        at = min(int(np.searchsorted(after, rank, side="right")), self.bins.size - 1)
        low, high = _edges(self.bins[at])
        if high <= low:
            return low
        before = float(after[at] - self.counts[at])
        share = (rank - before + 0.5) / float(self.counts[at])
        return low + (high - low) * min(max(share, 0.0), 1.0)


def _edges(code: np.uint32) -> tuple[float, float]:
    first = np.uint32(code) << SHIFT
    last = np.uint32(first | np.uint32((1 << int(SHIFT)) - 1))
    return _value(first), _value(last)


def _value(ordered: np.uint32) -> float:
    bits = np.uint32(ordered & ~SIGN) if ordered & SIGN else np.uint32(~ordered)
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
