"""A histogram of floats that merges: percentiles of many images with one image in memory.

Floats keep their order when their bits are read as integers (sign aside), so the leading bits are
a bin that is narrow everywhere: 2^-13 of the value with the default 22 bits. Counts add up, in any
order, to the same sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 22
SHIFT = np.uint32(32 - BITS)
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
        bins, counts = np.unique(bins_of(values), return_counts=True)
        return cls(bins, counts.astype(np.int64))

    @classmethod
    def merged(cls, sketches: Iterable[Sketch]) -> Sketch:
        """Sketch of all sets of values together, in any order; one is in memory at a time."""
        total = np.zeros(1 << BITS, dtype=np.int64)
        for sketch in sketches:
            total[sketch.bins] += sketch.counts  # a sketch has each bin once
        bins = np.flatnonzero(total)
        return cls(bins.astype(np.uint32), total[bins])

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


def bins_of(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Bin (n,) of each value, of any shape."""
    bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32)
    return np.asarray(np.where(bits & SIGN, ~bits, bits | SIGN) >> SHIFT)


def exact_percentiles(
    parts: Callable[[], Iterable[NDArray[np.float32]]], percents: Sequence[float]
) -> list[float]:
    """Percentiles of all values in many arrays, equal to `np.percentile` of them put together.

    Parameters
    ----------
    parts
        Gives the arrays, finite and of any shape, one after the other; called twice: the first
        round finds the bins that the percentiles lie in, the second the values in these.
    percents
        0 to 100.

    Returns
    -------
    list
        Empty where there are no values.

    Examples
    --------
    >>> exact_percentiles(lambda: [np.float32([3, 1]), np.float32([2])], [50, 75])
    [2.0, 2.5]
    """
    total = Sketch.merged(Sketch.of(part) for part in parts())
    if not total.total:
        return []
    places = [percent / 100 * (total.total - 1) for percent in percents]
    ranks = sorted({rank for at in places for rank in (int(at), min(int(at) + 1, total.total - 1))})
    after = np.cumsum(total.counts)
    holding = np.unique(np.searchsorted(after, ranks, side="right"))
    kept = [part.reshape(-1)[np.isin(bins_of(part), total.bins[holding])] for part in parts()]
    values = np.sort(np.concatenate(kept))
    first = np.concatenate([np.arange(after[i] - total.counts[i], after[i]) for i in holding])
    known = dict(zip(first[np.isin(first, ranks)], values[np.isin(first, ranks)], strict=True))
    return [_between(known, at, total.total - 1) for at in places]


def _between(known: Mapping[int, np.float32], at: float, last: int) -> float:
    """Value at a rank that may lie between two, rounded as numpy rounds it."""
    low, high = known[int(at)], known[min(int(at) + 1, last)]
    share = np.float64(at - int(at))
    step = high - low
    return float(high - step * (1 - share) if share >= 0.5 else low + step * share)


def _edges(code: np.uint32) -> tuple[float, float]:
    first = np.uint32(code) << SHIFT
    last = np.uint32(first | np.uint32((1 << int(SHIFT)) - 1))
    return _value(first), _value(last)


def _value(ordered: np.uint32) -> float:
    bits = np.uint32(ordered & ~SIGN) if ordered & SIGN else np.uint32(~ordered)
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
