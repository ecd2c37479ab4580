"""Whole numbers of brain slices packed so that a page can unpack them without any loss.

A scan is coded by itself, or from the same scan's RAW: as what is left when each level of RAW is
replaced by the mean that the method gave it. Most methods change intensities more than anatomy, so
that little is left. `viewer.js` undoes this; both must be changed together.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.volume import BoolArray

Levels = NDArray[np.int64]
OWN, FROM_RAW, SMOOTH_FROM_RAW = 0, 1, 2  # ways of coding a scan
LIMIT = 15000  # levels are clipped to this, so that differences of two fit in 16 bits


class Coded(NamedTuple):
    """A packed scan: the way it was coded, and base64 of the packed bytes."""

    way: int
    text: str


def coded(levels: Levels, brain: BoolArray, raw: Levels | None) -> Coded:
    """Pack levels (slices, rows, columns) of brain pixels in the way that is shortest.

    Parameters
    ----------
    levels, raw
        Whole numbers, 0 outside the brain; `raw` of the same scan's RAW, where there is one.
    brain
        The same shape.
    """
    best = min(_ways(levels, brain, raw), key=lambda own: (len(own[1]), own[0]))
    return Coded(best[0], base64.b64encode(best[1]).decode("ascii"))


def _ways(levels: Levels, brain: BoolArray, raw: Levels | None) -> Iterator[tuple[int, bytes]]:
    yield OWN, packed(_unpredicted(levels)[brain])
    if raw is None or not brain.any():
        return
    means = level_means(levels[brain], raw[brain])
    left = np.zeros_like(levels)
    left[brain] = levels[brain] - means[raw[brain] - raw[brain].min()]
    table = np.diff(means, prepend=0)
    yield FROM_RAW, packed(np.concatenate([table, left[brain]]))
    yield SMOOTH_FROM_RAW, packed(np.concatenate([table, _unpredicted(left)[brain]]))


def level_means(levels: Levels, raw: Levels) -> Levels:
    """Mean of `levels` for each level of `raw` from its smallest to its largest; gaps are bridged.

    >>> level_means(np.array([10, 20, 50]), np.array([1, 1, 3]))
    array([15, 32, 50])
    """
    place = raw - raw.min()
    count = np.bincount(place)
    known = np.flatnonzero(count)
    means = np.bincount(place, levels)[known] / count[known]
    return np.asarray(np.rint(np.interp(np.arange(len(count)), known, means)), dtype=np.int64)


def _unpredicted(levels: Levels) -> Levels:
    """Take from each pixel what its neighbours on the left and above say of it.

    The median of left, above, and left + above - above left, as lossless coders of photographs do.
    """
    grown = np.pad(levels, ((0, 0), (1, 0), (1, 0)))
    left, above, corner = grown[:, 1:, :-1], grown[:, :-1, 1:], grown[:, :-1, :-1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    return np.asarray(levels - np.clip(left + above - corner, low, high))


def packed(numbers: Levels) -> bytes:
    """Pack whole numbers: signs into the lowest bit, low bytes before high bytes, deflated.

    There are no high bytes where all are 0.
    """
    wrapped = (numbers + 2**15) % 2**16 - 2**15  # the page counts in 16 bits
    folded = np.where(wrapped < 0, -2 * wrapped - 1, 2 * wrapped).astype(np.uint16)
    planes = [(folded & 255).astype(np.uint8), (folded >> 8).astype(np.uint8)]
    data = b"".join(plane.tobytes() for plane in planes[: 1 + bool(planes[1].any())])
    return min(
        (_deflated(data, way) for way in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED)), key=len
    )


def _deflated(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 15, 9, strategy)
    return packer.compress(data) + packer.flush()


def bits(brain: BoolArray) -> str:
    """Base64 of a deflated mask, one bit a pixel."""
    return base64.b64encode(_deflated(np.packbits(brain).tobytes(), 0)).decode("ascii")


def levels_of(values: Any, centre: float, step: float) -> Levels:
    """Count steps from a centre."""
    steps = np.nan_to_num(np.rint((values - centre) / step), nan=0, posinf=LIMIT, neginf=-LIMIT)
    return np.asarray(np.clip(steps, -LIMIT, LIMIT), dtype=np.int64)
