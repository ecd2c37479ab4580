"""Volumes to cropped axial slices and back, and the matched pairs of slices to train on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Scan

Box = tuple[int, int, int, int]  # first and past-the-last voxel along the first and second axis
Range = tuple[float, float]  # White-Stripe intensities that the network sees as 0 and 1
Indices = NDArray[np.int64]

MULTIPLE = 16  # four poolings
SMALLEST = 32  # instance normalization needs two pixels at the coarsest level
TAILS = (0.5, 99.5)
POINTS = 1000  # quantiles of a scan that stand for its intensities
ROUNDS = 200  # at most; classes of intensity settle within some tens
LIMITS = (-1.0, 3.0)  # network units: one voxel of 1e9 must not fill a whole slice's statistics


def brain_box(masks: Iterable[BoolArray], start: Box | None = None) -> Box:
    """Smallest in-plane box about all masks (x, y, z), and about `start` where given."""
    boxes = [] if start is None else [start]
    for mask in masks:
        x = np.flatnonzero(mask.any(axis=(1, 2)))
        y = np.flatnonzero(mask.any(axis=(0, 2)))
        if x.size:
            boxes.append((int(x[0]), int(x[-1]) + 1, int(y[0]), int(y[-1]) + 1))
    if not boxes:
        raise MethodError("expected brain voxels, found empty masks: check the cohort's masks")
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    return int(low[0]), int(high[1]), int(low[2]), int(high[3])


def padded(length: int) -> int:
    """Voxels along a side of a slice: a multiple of 16, at least 32."""
    return max(SMALLEST, -(-length // MULTIPLE) * MULTIPLE)


def slice_shape(box: Box) -> tuple[int, int]:
    """Height and width of the slices that `crop` makes."""
    return padded(box[1] - box[0]), padded(box[3] - box[2])


def crop(volume: FloatArray, box: Box) -> FloatArray:
    """Axial slices (z, height, width) of a volume (x, y, z), centred and padded with 0."""
    x, y = _margins(box)
    height, width = slice_shape(box)
    out = np.zeros((volume.shape[2], height, width), dtype=np.float32)
    inner = volume[box[0] : box[1], box[2] : box[3]].transpose(2, 0, 1)
    out[:, x : x + inner.shape[1], y : y + inner.shape[2]] = inner
    return out


def uncrop(slices: FloatArray, box: Box, shape: Sequence[int]) -> FloatArray:
    """Volume (x, y, z) of cropped slices (z, height, width); 0 outside the box."""
    x, y = _margins(box)
    out = np.zeros(tuple(shape), dtype=np.float32)
    inner = slices[:, x : x + box[1] - box[0], y : y + box[3] - box[2]]
    out[box[0] : box[1], box[2] : box[3]] = inner.transpose(1, 2, 0)
    return out


def _margins(box: Box) -> tuple[int, int]:
    height, width = slice_shape(box)
    return (height - box[1] + box[0]) // 2, (width - box[3] + box[2]) // 2


def striped(scan: Scan) -> tuple[FloatArray, BoolArray]:
    """White-Striped voxels and brain of a scan.

    Raises
    ------
    MethodError
        No brain, values that are not finite, or a constant image.
    """
    voxels, brain = scan.input("whitestripe"), scan.brain()
    inside = voxels[brain]
    if inside.size == 0:
        raise MethodError(f"expected brain voxels of {scan}, found none: check its mask")
    if not np.isfinite(inside).all():
        raise MethodError(f"expected finite White-Striped values of {scan}, found NaN or inf")
    if inside.min() == inside.max():
        raise MethodError(f"expected contrast in {scan}, found the one value {inside.min():g}")
    return voxels, brain


def robust_range(scans: Iterable[Scan]) -> Range:
    """Mean over scans of the 0.5 and 99.5 percentile of the White-Striped brain.

    Raises
    ------
    MethodError
        Nothing lies between the two.
    """
    tails = []
    for scan in scans:
        voxels, brain = striped(scan)
        tails.append(np.percentile(voxels[brain], TAILS))
    low, high = (float(v) for v in np.mean(tails, axis=0))
    if not high > low:
        raise MethodError(
            f"expected contrast in the scans to train on, found {low:g} in nearly every voxel: "
            "look at the White-Striped images"
        )
    return low, high


def to_network(voxels: FloatArray, brain: BoolArray, scale: Range) -> FloatArray:
    """White-Stripe units to the network's: about 0 to 1 in the brain, 0 outside."""
    out = (voxels - scale[0]) / (scale[1] - scale[0])
    return np.where(brain, np.clip(out, *LIMITS), 0).astype(np.float32)


def from_network(values: FloatArray, scale: Range) -> FloatArray:
    """Values in the network's units to White-Stripe units."""
    return (values * (scale[1] - scale[0]) + scale[0]).astype(np.float32)


@dataclass(frozen=True)
class Stack:
    """Cropped slices of all training scans.

    Attributes
    ----------
    images
        (scan, z, height, width), network units.
    useful
        (scan, z): whether a slice has enough brain to learn from.
    where
        Subject and scanner to the scan's index.
    """

    images: FloatArray
    useful: BoolArray
    where: Mapping[tuple[str, str], int]


def stack(scans: Sequence[Scan], box: Box, scales: Mapping[str, Range], share: float) -> Stack:
    """Crop and scale the scans; slices below `share` of a scan's largest are of no use."""
    images, useful = [], []
    for scan in scans:
        voxels, brain = striped(scan)
        images.append(crop(to_network(voxels, brain, scales[scan.scanner]), box))
        area = np.count_nonzero(brain, axis=(0, 1))
        useful.append(area >= max(share * area.max(), 1))
    where = {(scan.subject, scan.scanner): i for i, scan in enumerate(scans)}
    return Stack(np.stack(images), np.stack(useful), where)


def intensity_edges(slices: Stack, target: Sequence[int], channels: int) -> FloatArray:
    """Bounds (scan, channels - 1) between as many classes of intensity, darkest first.

    The classes are those that lose least of the target's intensities: their bounds lie midway
    between the medians of neighbours (Lloyd, IEEE Trans Inf Theory 1982;28:129-137, for absolute
    errors). Every other scan is cut at the same shares of its brain, for contrast keeps the order
    of the tissues, so that matched scans get the same classes.
    """
    brains = [image[image != 0] for image in slices.images]
    points = (np.arange(POINTS) + 0.5) / POINTS
    values = np.sort(np.concatenate([np.quantile(brains[i], points) for i in target]))
    cuts = np.arange(1, channels) * values.size // channels
    for _ in range(ROUNDS):
        parts = np.split(values, cuts)
        medians = [np.median(part) if part.size else np.nan for part in parts]
        middles = (np.array(medians[:-1]) + medians[1:]) / 2
        moved = np.where(np.isnan(middles), cuts, np.searchsorted(values, middles))
        if np.array_equal(moved, cuts):
            break
        cuts = moved
    shares = cuts / values.size
    return np.stack([np.quantile(brain, shares) for brain in brains]).astype(np.float32)


@dataclass(frozen=True)
class Pairs:
    """Matched slices of scanners and the target; those of one pair of scans stand together.

    Attributes
    ----------
    scans
        (pair of slices, 2): index of the scan and of the target's scan of the same subject.
    labels
        (pair of slices, 2): index of the scanner of each.
    z
        (pair of slices,): which axial slice.
    first, count
        (pair of slices,): where the slices of the same two scans begin, and how many there are.
    """

    scans: Indices
    labels: Indices
    z: Indices
    first: Indices
    count: Indices

    def __len__(self) -> int:
        """Count the pairs of slices."""
        return int(self.z.size)

    def other(self, index: Indices, rng: np.random.Generator) -> Indices:
        """Draw for each pair of slices ANOTHER slice of the same two scans."""
        step = rng.integers(1, self.count[index])
        moved = (index - self.first[index] + step) % self.count[index]
        return self.z[self.first[index] + moved]


def pair_slices(
    slices: Stack,
    subjects: Sequence[str],
    sources: Sequence[str],
    target: str,
    names: Sequence[str],
) -> Pairs:
    """Pairs of slices of `sources` and the target, of the subjects seen by both.

    Raises
    ------
    MethodError
        No subject was seen by both, or their slices hold too little brain.
    """
    rows: list[tuple[int, int, int, int, int, int, int]] = []
    for source in sources:
        labels = names.index(source), names.index(target)
        for subject in subjects:
            a, b = slices.where.get((subject, source)), slices.where.get((subject, target))
            if a is None or b is None:
                continue
            useful = np.flatnonzero(slices.useful[a] & slices.useful[b])
            if useful.size > 1:  # contrast is read from another slice than anatomy
                first = len(rows)
                rows += [(a, b, *labels, int(z), first, int(useful.size)) for z in useful]
    if not rows:
        raise MethodError(
            f"expected a training subject with scans on {' or '.join(sources)} and on the target "
            f"{target}, with two slices of brain in common; found none: use fewer folds"
        )
    table = np.array(rows, dtype=np.int64)
    return Pairs(table[:, :2], table[:, 2:4], table[:, 4], table[:, 5], table[:, 6])


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of slices of several models together."""
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    moved = [part.first + start for part, start in zip(parts, starts, strict=True)]
    return Pairs(
        np.concatenate([part.scans for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.z for part in parts]),
        np.concatenate(moved),
        np.concatenate([part.count for part in parts]),
    )
