"""Matched slices of a cohort, cropped to the brain, and the way back to the grid.

Volumes are turned first, so that slices are cut across their last axis: x and y below are the axes
within a slice, z counts slices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Cohort, Progress, Scan

Value = TypeVar("Value", bound=np.generic)
Box = tuple[int, int, int, int]  # first and one past the last voxel along x, then along y

# the axis that slices are cut across, for images whose axes are right, anterior, superior
ORIENTATIONS = {"axial": 2, "coronal": 1, "sagittal": 0}
MULTIPLE = 4  # the encoder pools twice by 2
CAP = 20.0  # in units of the mean brain: far above any tissue, far below a broken voxel


@dataclass(frozen=True)
class Matched:
    """Slices of subjects that were seen on the same scanners.

    Attributes
    ----------
    scanners
        Indices into the model's scanners, rising.
    images
        Slices (slice, scanner, height, width), in units of the scale; 0 outside the brain.
    """

    scanners: tuple[int, ...]
    images: FloatArray


@dataclass(frozen=True)
class Crop:
    """How scans become slices.

    Attributes
    ----------
    orientation
        "axial", "coronal" or "sagittal".
    box
        Bounding box of all training brains, in the slices' plane.
    scale
        What intensities are divided by: the median over training scans of the mean in the brain.
    min_brain
        Least share of brain in a training slice, of the brain in the subject's fullest slice.
    """

    orientation: str
    box: Box
    scale: float
    min_brain: float


def turn(volume: NDArray[Value], orientation: str) -> NDArray[Value]:
    """Put the axis that slices are cut across last (a view)."""
    return np.moveaxis(volume, ORIENTATIONS[orientation], 2)


def turn_back(volume: NDArray[Value], orientation: str) -> NDArray[Value]:
    """Undo `turn` (a view)."""
    return np.moveaxis(volume, 2, ORIENTATIONS[orientation])


def part_of(weights: Mapping[str, FloatArray], orientation: str) -> dict[str, FloatArray]:
    """Weights of one orientation, whose names begin with it."""
    start = f"{orientation}/"
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}


def bounding_box(brain: BoolArray) -> Box:
    """Smallest box in x and y around a brain mask (x, y, z).

    Raises
    ------
    MethodError
        The mask is empty.
    """
    x, y = (np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    if x.size == 0:
        raise MethodError("expected a brain to crop to, found an empty mask: give another mask")
    return int(x[0]), int(x[-1]) + 1, int(y[0]), int(y[-1]) + 1


def join(first: Box, second: Box) -> Box:
    """Smallest box around two boxes."""
    return (
        min(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        max(first[3], second[3]),
    )


def to_slices(volume: FloatArray, box: Box) -> FloatArray:
    """Crop (x, y, z) to slices (z, height, width), zero-padded at the far end to multiples of 4."""
    x0, x1, y0, y1 = box
    cropped = np.moveaxis(volume[x0:x1, y0:y1], 2, 0)
    padding = ((0, 0), (0, -(x1 - x0) % MULTIPLE), (0, -(y1 - y0) % MULTIPLE))
    return np.pad(cropped, padding)


def from_slices(slices: FloatArray, box: Box, shape: tuple[int, ...]) -> FloatArray:
    """Put slices (z, height, width) back into a volume (x, y, z) that is 0 outside the box."""
    x0, x1, y0, y1 = box
    volume = np.zeros(shape, dtype=np.float32)
    volume[x0:x1, y0:y1] = np.moveaxis(slices[:, : x1 - x0, : y1 - y0], 0, 2)
    return volume


def brain_voxels(scan: Scan, scale: float) -> FloatArray:
    """Intensities of a scan over the scale, 0 outside the brain, capped at 20 in size.

    A cap that no tissue reaches keeps a few broken voxels from outweighing the brain.
    """
    voxels = scan.voxels() * scan.brain() / np.float32(scale)
    return np.clip(voxels, -CAP, CAP).astype(np.float32, copy=False)


def plan_crop(train: Cohort, min_brain: float, orientation: str = "axial") -> Crop:
    """Box and scale of the training scans (of matched subjects only)."""
    scans = [scan for subject in train.matched for scan in train.of(subject)]
    box = bounding_box(turn(scans[0].brain(), orientation))
    means = []
    for scan in scans:
        brain = scan.brain()
        box = join(box, bounding_box(turn(brain, orientation)))
        means.append(float(np.abs(scan.voxels()[brain]).mean()))
    scale = float(np.median(means))
    if not scale > 0:
        raise MethodError("expected training scans with a brain, found only zeros in most of them")
    return Crop(orientation, box, scale, min_brain)


def matched_slices(
    cohort: Cohort, scanners: Sequence[str], crop: Crop, progress: Progress
) -> tuple[Matched, ...]:
    """Gather slices of every subject on at least two known scanners, by their set of scanners."""
    found: dict[tuple[int, ...], list[FloatArray]] = {}
    for done, subject in enumerate(cohort.subjects, start=1):
        scans = [scan for scan in cohort.of(subject) if scan.scanner in scanners]
        if len(scans) > 1:
            scans.sort(key=lambda scan: scanners.index(scan.scanner))
            key = tuple(scanners.index(scan.scanner) for scan in scans)
            found.setdefault(key, []).append(_subject_slices(scans, crop))
        progress(done, len(cohort.subjects), "MISPEL: reading slices")
    return tuple(Matched(key, np.concatenate(parts)) for key, parts in sorted(found.items()))


def _subject_slices(scans: Sequence[Scan], crop: Crop) -> FloatArray:
    brains = [turn(scan.brain(), crop.orientation) for scan in scans]
    area = np.max([brain.sum(axis=(0, 1)) for brain in brains], axis=0)
    keep = area >= max(1.0, crop.min_brain * float(area.max()))
    parts = []
    for scan in scans:
        turned = turn(brain_voxels(scan, crop.scale), crop.orientation)
        parts.append(to_slices(turned, crop.box)[keep])
    return np.stack(parts, axis=1)
