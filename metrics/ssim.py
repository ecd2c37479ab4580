"""Structural similarity of a subject's scans on two scanners (paper, section 2.5 and Fig. 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import SettingsError
from harmobench.imaging.sketch import Sketch
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Better, Context, Reference, Row, Scan
from harmobench.metrics.windows import (
    Floats,
    Local,
    bounding_box,
    local_moments,
    sample_covariance,
    similarity,
    window_mean,
    with_margin,
)

TAILS = (0.1, 99.9)  # percentiles of a method's pooled brain voxels that go to 0 and 1
RESOLVED = 2.0**-12  # relative: the sketch knows a percentile to half of it
AXES = (0, 1, 2)
State = Mapping[str, NDArray[Any]]


@dataclass
class SSIM:
    """Structural similarity in 3-D, averaged over the voxels in both brain masks.

    A 7^3 uniform window, K1 .01, K2 .03 and the sample covariance: scikit-image's defaults.

    Attributes
    ----------
    map
        "pooled": before it, one affine map for all scans of a method sends the pooled 0.1 and 99.9
        percentiles of its brain voxels to 0 and 1, and voxels outside the mask become 0; SSIM is
        not shift-invariant, so that a method's zero point would otherwise decide. "none": images
        as they are, background too, over a data range of the distance of those percentiles; the
        row's reason says which range and background.
    """

    map: Literal["pooled", "none"] = "pooled"

    level: ClassVar[Literal["pair"]] = "pair"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "higher"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = ("brain",)
    reference: ClassVar[Reference] = Reference(
        title="Image quality assessment: from error visibility to structural similarity",
        authors="Wang Z, Bovik AC, Sheikh HR, Simoncelli EP",
        year=2004,
        venue="IEEE Transactions on Image Processing 13(4), 600-612",
        doi="10.1109/TIP.2003.819861",
        key="wang2004ssim",
    )

    def prepare(self, scan: Scan, context: Context) -> State:
        """Histogram of the scan's brain voxels."""
        return vars(Sketch.of(scan.voxels()[scan.brain()]))

    def merge(self, states: Sequence[State], context: Context) -> State:
        """Histogram of all brain voxels of a method."""
        return vars(Sketch.merged(Sketch(state["bins"], state["counts"]) for state in states))

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for every pair of the subject's scans, in the order given."""
        low, high = self._range(state)
        brains = [scan.brain() for scan in scans]
        if high - low <= RESOLVED * max(abs(low), abs(high)):
            reason = "the brain voxels of this method have no contrast"
            for a, b in combinations(scans, 2):
                yield _row(a, b, None, reason)
            return
        images, note = self._images(scans, brains, low, high)
        for i, k, value in pairwise_ssim(images, brains):
            reason = note if value is not None else "the two brain masks do not overlap"
            yield _row(scans[i], scans[k], value, reason)

    def _range(self, state: State | None) -> tuple[float, float]:
        if self.map not in ("pooled", "none"):
            raise SettingsError(f"expected ssim.map to be 'pooled' or 'none', found '{self.map}'")
        if state is None or not state["counts"].size:
            return 0.0, 0.0
        sketch = Sketch(state["bins"], state["counts"])
        return sketch.percentile(TAILS[0]), sketch.percentile(TAILS[1])

    def _images(
        self, scans: Sequence[Scan], brains: Sequence[BoolArray], low: float, high: float
    ) -> tuple[Iterable[Floats], str]:
        if self.map == "pooled":
            mapped = (
                _mapped(scan.voxels(), brain, low, high)
                for scan, brain in zip(scans, brains, strict=True)
            )
            return mapped, ""  # one at a time: only what is cropped to the brain is kept
        # a shift far from 0 would cost float32 the variance, so as-is images go in float64
        raw = [scan.voxels().astype(np.float64) for scan in scans]
        outside = [image[~brain] for image, brain in zip(raw, brains, strict=True)]
        values = np.unique([np.median(v) for v in outside if v.size])
        background = ", ".join(f"{v:g}" for v in values) or "none"
        note = f"no map: data range {high - low:g}, background {background}"
        return [image / (high - low) for image in raw], note


def _row(a: Scan, b: Scan, value: float | None, reason: str) -> Row:
    status: Literal["ok", "undefined"] = "undefined" if value is None else "ok"
    return Row(
        structure="brain",
        value=value,
        scanner=a.scanner,
        reference_scanner=b.scanner,
        status=status,
        reason=reason,
    )


def _mapped(voxels: FloatArray, brain: BoolArray, low: float, high: float) -> FloatArray:
    mapped: FloatArray = (voxels - np.float32(low)) * np.float32(1.0 / (high - low))
    mapped *= brain
    return mapped


def pairwise_ssim(
    images: Iterable[Floats], brains: Sequence[BoolArray]
) -> Iterator[tuple[int, int, float | None]]:
    """Mean structural similarity of every pair of images over the voxels in both brains.

    Each image's local means and variances are computed once, not once a pair, and only where the
    brains lie. Equal to scikit-image's full map with `win_size=7, data_range=1`, averaged over the
    mask.

    Parameters
    ----------
    images
        Arrays (x, y, z) of data range 1, float32 or float64.
    brains
        Masks on the same grid.

    Yields
    ------
    tuple
        Index of the first image, of the second, and the similarity: -1 to 1, None where the
        brains share no voxel.

    Examples
    --------
    >>> ramp = np.linspace(0, 1, 1000).reshape(10, 10, 10)
    >>> brain = np.ones((10, 10, 10), dtype=bool)
    >>> [round(s, 3) for _, _, s in pairwise_ssim([ramp, ramp, 1 - ramp], [brain] * 3)]
    [1.0, -0.647, -0.647]
    """
    anywhere = np.logical_or.reduce(brains)
    if not anywhere.any():
        yield from ((i, k, None) for i, k in combinations(range(len(brains)), 2))
        return
    box = bounding_box(anywhere)
    inner = tuple(slice(a, b) for a, b in box)
    where = np.flatnonzero(anywhere[inner])
    owns = [brain[inner].reshape(-1)[where] for brain in brains]
    cropped = [np.ascontiguousarray(with_margin(image, box)) for image in images]
    moments = [
        Local(*(m.reshape(-1)[where] for m in local_moments(image, AXES))) for image in cropped
    ]
    for i, k in combinations(range(len(cropped)), 2):
        product = window_mean(cropped[i] * cropped[k], AXES).reshape(-1)[where]
        a, b = moments[i], moments[k]
        index = similarity(a, b, sample_covariance(product, a.mean, b.mean, len(AXES)))
        both = index[owns[i] & owns[k]]
        yield i, k, float(both.mean(dtype=np.float64)) if both.size else None
