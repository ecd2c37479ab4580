"""A scan as a few slices: enough to look at it once its 3-D image is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.landmarks import eroded, tissue_medians
from harmobench.imaging.volume import BoolArray, FloatArray, Grid, without_spikes

AXES = ("sagittal", "coronal", "axial")  # by the axis that they are across: right, anterior, up
COUNT = 12  # slices of a stack
WIDEST = 100  # pixels, about, along the brain's longest side in a stack
MARGIN = 0.12  # of the brain that a stack leaves out at both ends, where little is to be seen
LABEL_EROSION, LEAST = 1, 100  # voxels: of the atlas's tissues, as the guard metrics have them
STEPS = 65535  # of a stack's uint16


class Stack(NamedTuple):
    """Slices of one scan across one axis.

    Attributes
    ----------
    pixels
        (slices, x, y), float32, in the image's own intensities; 0 outside the brain.
    brain
        The same shape.
    at
        Where each slice lies (slices,), mm, growing to the right, to the front or up.
    mm
        Edge lengths of a pixel along x and y.
    """

    pixels: FloatArray
    brain: BoolArray
    at: NDArray[np.float32]
    mm: tuple[float, float]


def upright(voxels: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Turn an array so that its axes run to the right, to the front and up, as near as they can."""
    from nibabel import orientations

    turned = orientations.apply_orientation(voxels, orientations.io_orientation(grid.affine))
    return np.asarray(turned)


def upright_grid(grid: Grid) -> Grid:
    """Return the grid of an `upright` array."""
    from nibabel import orientations

    turns = orientations.io_orientation(grid.affine)
    shape = [grid.shape[int(np.flatnonzero(turns[:, 0] == axis)[0])] for axis in range(3)]
    return Grid.make(shape, grid.affine @ orientations.inv_ornt_aff(turns, grid.shape))


def picture_of(
    voxels: FloatArray, brain: BoolArray, tissues: Mapping[str, BoolArray], grid: Grid
) -> dict[str, Any]:
    """Return what is kept of one image, as arrays by name.

    Parameters
    ----------
    voxels, brain
        The image, and the mask that all scans share: it alone decides where slices lie.
    tissues
        The atlas's "gm" and "wm".
    grid
        Of all of them.

    Returns
    -------
    dict
        For each axis the middle slice (`axial`, float32), its brain (`axial_brain`), its pixels'
        sizes (`axial_mm`), and a stack: `axial_stack` (uint16, from the first to the second number
        of `stack_range`), `axial_stack_brain`, `axial_stack_at`, `axial_stack_mm`. And `medians`
        of grey and of white matter; nan where the atlas has no voxel of them in the brain.
    """
    grey, white = (eroded(tissues[name] & brain, LABEL_EROSION, LEAST) for name in ("gm", "wm"))
    known = bool(grey.any() and white.any())
    medians = tissue_medians(voxels, grey, white) if known else (np.nan, np.nan)
    voxels, brain, grid = upright(voxels, grid), upright(brain, grid), upright_grid(grid)
    arrays: dict[str, Any] = {"medians": np.array(medians, dtype=np.float64)}
    sizes = grid.voxel_sizes
    for axis, name in enumerate(AXES):
        middle = _median_place(layers(brain, axis))
        arrays[name] = np.asarray(voxels.take(middle, axis=axis), dtype=np.float32)
        arrays[f"{name}_brain"] = brain.take(middle, axis=axis)
        arrays[f"{name}_mm"] = np.delete(sizes, axis)
    return arrays | _stacks(voxels, brain, grid)


def _stacks(voxels: FloatArray, brain: BoolArray, grid: Grid) -> dict[str, Any]:
    edge = block_shape(brain, grid.voxel_sizes)
    small, inside = block_means(voxels, brain, edge)
    span, levels = _levels(small, inside)
    arrays: dict[str, Any] = {"stack_range": np.array(span, dtype=np.float64)}
    centre = (np.array(grid.shape) - 1) / 2
    for axis, name in enumerate(AXES):
        at = spread(np.flatnonzero(layers(inside, axis)))
        index = np.tile(centre, (len(at), 1))
        index[:, axis] = at * edge[axis] + (edge[axis] - 1) / 2
        arrays[f"{name}_stack"] = np.moveaxis(levels.take(at, axis=axis), axis, 0)
        arrays[f"{name}_stack_brain"] = np.moveaxis(inside.take(at, axis=axis), axis, 0)
        arrays[f"{name}_stack_at"] = _world(index, grid)[:, axis].astype(np.float32)
        arrays[f"{name}_stack_mm"] = np.delete(grid.voxel_sizes * edge, axis)
    return arrays


def _world(index: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    affine = grid.affine
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def layers(mask: BoolArray, axis: int) -> NDArray[np.intp]:
    """Count the voxels of each layer of a mask along an axis."""
    return np.asarray(np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})))


def _median_place(counts: NDArray[np.intp]) -> int:
    """Layer in which the middle one of all voxels lies."""
    below = np.cumsum(counts)
    return int(np.searchsorted(below, (below[-1] - 1) // 2, side="right"))


def block_shape(brain: BoolArray, sizes: NDArray[np.float64]) -> tuple[int, ...]:
    """Voxels along each edge of a block: nearly a cube in mm, about 100 along the longest side."""
    there = [np.flatnonzero(layers(brain, axis)) for axis in range(3)]
    longest = max((own[-1] - own[0]) * mm for own, mm in zip(there, sizes, strict=True))
    return tuple(max(1, round(longest / WIDEST / mm)) for mm in sizes)


def block_means(
    voxels: FloatArray, brain: BoolArray, edge: Sequence[int]
) -> tuple[FloatArray, BoolArray]:
    """Average an image's brain voxels in blocks; a block is brain where half of its voxels are.

    What lies outside the brain does not count, so that it cannot bleed into the edge. The last
    block along an axis may reach beyond the image.
    """
    full = [-(-n // e) * e for n, e in zip(brain.shape, edge, strict=True)]
    beyond = [(0, f - n) for f, n in zip(full, brain.shape, strict=True)]
    shape = [part for f, e in zip(full, edge, strict=True) for part in (f // e, e)]

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        padded = np.pad(values, beyond).reshape(shape)
        return np.asarray(padded.sum(axis=(1, 3, 5), dtype=np.float64))

    count = total(brain)
    inside = count * 2 >= np.prod(edge)
    means = total(np.where(brain, voxels, 0)) / np.maximum(count, 1)
    return np.where(inside, means, 0).astype(np.float32), np.asarray(inside)


def spread(
    places: NDArray[np.intp], count: int = COUNT, margin: float = MARGIN
) -> NDArray[np.intp]:
    """Choose places evenly, without a share at both ends; all between where they are few.

    >>> spread(np.arange(100), 3)
    array([12, 50, 87])
    """
    first, last = places[0], places[-1]
    left_out = margin * (last - first)
    wanted = np.linspace(first + left_out, last - left_out, count)
    return np.unique(np.rint(wanted).astype(np.intp))


def _levels(
    values: FloatArray, inside: BoolArray
) -> tuple[tuple[float, float], NDArray[np.uint16]]:
    """Return the smallest and largest intensity, and all in steps between; no broken voxel."""
    own = without_spikes(values[inside])
    low, high = (float(own.min()), float(own.max())) if own.size else (0.0, 0.0)
    levels = np.zeros(values.shape, dtype=np.uint16)
    if high > low:
        levels[inside] = np.rint((own.astype(np.float64) - low) / (high - low) * STEPS)
    return (low, high), levels


def read_stack(picture: Mapping[str, Any], axis: str) -> Stack:
    """Stack of one axis out of what `picture_of` made."""
    low, high = (float(x) for x in picture["stack_range"])
    brain = picture[f"{axis}_stack_brain"].astype(bool)
    pixels = low + picture[f"{axis}_stack"].astype(np.float64) * ((high - low) / STEPS)
    x, y = (float(mm) for mm in picture[f"{axis}_stack_mm"])
    own = np.where(brain, pixels, 0).astype(np.float32)
    return Stack(own, brain, picture[f"{axis}_stack_at"], (x, y))
