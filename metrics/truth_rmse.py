"""Intensities against a scanner-free image of the same brain, as the phantom has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.landmarks import tissue_medians
from harmobench.imaging.volume import BoolArray, FloatArray, read_grid, read_voxels
from harmobench.interface import Better, Context, Reference, Row, Scan, State
from harmobench.metrics.true_maps import KWAN_1999

STRUCTURE = "brain"
RESOLVED = 1e-6  # of the mean's size: a smaller SD of float32 intensities is rounding
Vector = NDArray[np.float64]


@dataclass
class TruthRMSE:
    """Root mean square error of the brain's intensities, in units of the truth's GM-WM distance.

    Harmonized images have no common scale. So ONE affine map a method, the least squares of the
    truth on the image over all brain voxels of all its scans, goes before it: what differs from
    scan to scan stays an error, and a contrast turned over is forgiven. The unit, median WM -
    median GM of the subject's own truth (sizes) over the atlas's labels, is the same for all
    methods. RAW's registration is not perfect, so no method reaches 0 on the phantom.
    """

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    units: ClassVar[str] = "GM-WM distance"
    structures: ClassVar[tuple[str, ...]] = (STRUCTURE,)
    truth: ClassVar[tuple[str, ...]] = ("truth_image",)
    reference: ClassVar[Reference] = KWAN_1999

    def prepare(self, scan: Scan, context: Context) -> State:
        """Moments of a scan's and its truth's brain voxels; of none where the grids differ."""
        if _mismatch(scan):
            return moments(np.empty(0), np.empty(0))
        brain = scan.brain()
        return moments(scan.voxels()[brain], _truth(scan)[brain])

    def merge(self, states: Sequence[State], context: Context) -> State:
        """Moments of all scans of a method."""
        return pooled(states)

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan."""
        line = None if state is None else affine(state)
        for scan in scans:
            yield self._row(scan, line, context)

    def _row(self, scan: Scan, line: tuple[float, float] | None, context: Context) -> Row:
        mismatch = _mismatch(scan)
        if mismatch:
            return Row(STRUCTURE, None, self.units, scan.scanner, "", "not_applicable", mismatch)
        truth, brain = _truth(scan), scan.brain()
        unit = _unit(truth, brain, context)
        reason = ""
        if line is None:
            reason = "the brain voxels of this method have no contrast"
        elif not brain.any():
            reason = "the brain mask is empty"
        elif not unit > 0:
            reason = "the true image has no contrast of grey and white matter"
        if line is None or reason:
            return Row(STRUCTURE, None, self.units, scan.scanner, "", "undefined", reason)
        value = rmse(scan.voxels()[brain], truth[brain], line) / unit
        return Row(STRUCTURE, value, self.units, scan.scanner)


def _truth(scan: Scan) -> FloatArray:
    return read_voxels(Path(scan.values["truth_image"]))


def _mismatch(scan: Scan) -> str:
    own, true = scan.grid, read_grid(Path(scan.values["truth_image"]))
    if own.matches(true):
        return ""
    return f"the image lies on another grid ({own}) than truth_image ({true})"


def _unit(truth: FloatArray, brain: BoolArray, context: Context) -> float:
    """Distance of the truth's grey and white matter; 0 where the brain lacks either."""
    grey, white = (context.atlas.tissue(name) & brain for name in ("gm", "wm"))
    if not (grey.any() and white.any()):
        return 0.0
    low, high = tissue_medians(truth, grey, white)
    return abs(high - low)


def moments(image: NDArray[np.floating], truth: NDArray[np.floating]) -> dict[str, Vector]:
    """Count, means, and sums of centred squares and products of two samples (n,).

    Centred before they are squared: the sums of squares of intensities far from 0 would cancel.
    """
    x, y = image.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = (v.mean() if v.size else 0.0 for v in (x, y))
    dx, dy = x - mean_x, y - mean_y
    sums = {"n": x.size, "x": mean_x, "y": mean_y, "xx": dx @ dx, "xy": dx @ dy}
    return {name: np.asarray(value, dtype=np.float64) for name, value in sums.items()}


def pooled(states: Sequence[State]) -> dict[str, Vector]:
    """Moments of several samples together; exactly the same in every order.

    The sums are `math.fsum`'s, which are rounded once. Source: the parallel form of Chan, Golub
    and LeVeque, American Statistician 1983;37:242-247.

    Examples
    --------
    >>> a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0, 8.0])
    >>> whole = pooled([moments(a, 2 * a), moments(b, 2 * b)])
    >>> {name: round(float(value), 9) for name, value in whole.items()}
    {'n': 5.0, 'x': 3.6, 'y': 7.2, 'xx': 29.2, 'xy': 58.4}
    """
    rows = [{name: float(value) for name, value in state.items()} for state in states]
    n = math.fsum(row["n"] for row in rows)
    mean_x, mean_y = (math.fsum(r["n"] * r[v] for r in rows) / n if n else 0.0 for v in ("x", "y"))
    between_xx = (row["n"] * (row["x"] - mean_x) ** 2 for row in rows)
    between_xy = (row["n"] * (row["x"] - mean_x) * (row["y"] - mean_y) for row in rows)
    sums = {
        "n": n,
        "x": mean_x,
        "y": mean_y,
        "xx": math.fsum([*(row["xx"] for row in rows), *between_xx]),
        "xy": math.fsum([*(row["xy"] for row in rows), *between_xy]),
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in sums.items()}


def affine(state: State) -> tuple[float, float] | None:
    """Slope and intercept of the least squares of truth on image; None without contrast.

    >>> x = np.array([1.0, 2.0, 4.0])
    >>> affine(moments(x, 3 * x - 1))
    (3.0, -1.0)
    """
    n, mean_x, mean_y, xx, xy = (float(state[name]) for name in ("n", "x", "y", "xx", "xy"))
    if n < 2 or math.sqrt(xx / n) <= RESOLVED * abs(mean_x):
        return None
    slope = xy / xx
    return slope, mean_y - slope * mean_x


def rmse(
    image: NDArray[np.floating], truth: NDArray[np.floating], line: tuple[float, float]
) -> float:
    """Root mean square of slope * image + intercept - truth, over voxels (n,), in truth's units."""
    error = line[0] * image.astype(np.float64) + line[1] - truth
    return float(np.sqrt(np.mean(error**2)))
