"""What is wrong with the files of a scan: each is read once, and again only when it changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harmobench.cohort import Scan
from harmobench.errors import HarmobenchError
from harmobench.facts import Facts
from harmobench.imaging.nifti import is_file
from harmobench.imaging.volume import BoolArray, FloatArray, Grid, grid_of, read_grid

LABELS = (0, 1, 2, 3)  # of tissue: none, CSF, GM, WM


class Seen(NamedTuple):
    """What is known of a scan's files.

    Attributes
    ----------
    grid
        Of its image; None where that has none.
    faults
        Each begins with its column.
    """

    grid: Grid | None
    faults: tuple[str, ...] = ()


class _Mask(NamedTuple):
    """A brain mask that was read: its content's hash, grid, voxels, and what is wrong with it."""

    content: str = ""
    grid: Grid | None = None
    inside: BoolArray | None = None
    fault: str = ""


def scan_faults(scan: Scan) -> list[str]:
    """Faults of the files of one scan, each beginning with its column."""
    return list(looker(Facts())(scan).faults)


def seen_before(scan: Scan, facts: Facts) -> Seen | None:
    """Return what is known of a scan whose files are sound; None where one must be read."""
    image = facts.hash_known(scan.image)
    grid = known_grid(facts, image, "grid")
    if image is None or grid is None:
        return None
    mask = ""
    if scan.mask is not None:
        mask = facts.hash_known(scan.mask) or ""
        own = known_grid(facts, mask, "mask")
        if own is None or not own.matches(grid):
            return None
    tissue = _tissue(scan)
    if tissue is not None:
        own = known_grid(facts, facts.hash_known(tissue), "tissue")
        if own is None or not own.matches(grid):
            return None
    return Seen(grid) if facts.get(image, f"sound:{mask}") is True else None


def looker(facts: Facts) -> Callable[[Scan], Seen]:
    """Return what reads the files of a scan; many scans may share one mask, which is read once."""

    @lru_cache(maxsize=8)
    def mask_of(path: Path) -> _Mask:
        return _read_mask(path, facts)

    def look(scan: Scan) -> Seen:
        mask = mask_of(scan.mask) if scan.mask is not None and is_file(scan.mask) else None
        return _look(scan, mask, facts)

    return look


def known_grid(facts: Facts, content: str | None, name: str) -> Grid | None:
    """Return a grid that was kept under a name; None where there is none, or it is no grid."""
    value = facts.get(content, name) if content else None
    if value is None:
        return None
    try:
        shape, matrix = value
        return _grid(tuple(shape), tuple(matrix))
    except (TypeError, ValueError):
        return None


@lru_cache(maxsize=64)  # the scans of a cohort share a grid
def _grid(shape: tuple[Any, ...], matrix: tuple[Any, ...]) -> Grid:
    whole = len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
    if not whole or len(matrix) != 16 or not all(math.isfinite(x) for x in matrix):
        raise ValueError("no grid")
    return Grid.make(shape, np.array(matrix))


def as_facts(grid: Grid) -> list[list[Any]]:
    """Write a grid as JSON has it."""
    return [list(grid.shape), list(grid.matrix)]


def _look(scan: Scan, mask: _Mask | None, facts: Facts) -> Seen:
    try:
        image = facts.read(scan.image, np.float32)
        grid = grid_of(image.header)
    except HarmobenchError as error:
        return Seen(_grid_alone(scan.image), (f"column image: {error}",))
    facts.put(image.sha256, "grid", as_facts(grid))
    wrong_mask = _mask_fault(scan, mask, grid)
    inside = None if mask is None or wrong_mask else mask.inside
    wrong = _voxel_fault(scan.image, image.voxels, inside)
    if not wrong and not wrong_mask:
        facts.put(image.sha256, f"sound:{mask.content if mask else ''}", True)
    faults = {"image": wrong, "mask": wrong_mask, "tissue": _tissue_fault(scan, grid, facts)}
    return Seen(grid, tuple(f"column {name}: {text}" for name, text in faults.items() if text))


def _grid_alone(path: Path) -> Grid | None:
    try:
        return read_grid(path)
    except HarmobenchError:
        return None


def _voxel_fault(path: Path, voxels: FloatArray, brain: BoolArray | None) -> str:
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        return (
            f"expected finite intensities, found {broken} NaN or inf voxels in {path}: "
            "set them to 0 outside the brain, or make the image again"
        )
    if not voxels.any():
        return f"expected a brain, found only zeros in {path}: make the image again"
    inside = voxels[voxels != 0 if brain is None else brain]
    if inside.size and inside.min() == inside.max():
        return (
            f"expected an image with contrast, found the one value {inside.min():g} "
            f"in the whole brain in {path}"
        )
    return ""


def _read_mask(path: Path, facts: Facts) -> _Mask:
    try:
        mask = facts.read(path, np.float32)
        grid = grid_of(mask.header)
    except HarmobenchError as error:
        return _Mask(fault=str(error))
    fault = ""
    if not np.isfinite(mask.voxels).all():
        fault = f"expected 0 outside and 1 inside the brain, found NaN or inf in {path}"
    elif not (mask.voxels > 0).any():
        fault = f"expected a brain mask, found an empty one in {path}"
    else:
        facts.put(mask.sha256, "mask", as_facts(grid))
    return _Mask(mask.sha256, grid, mask.voxels > 0, fault)


def _mask_fault(scan: Scan, mask: _Mask | None, grid: Grid) -> str:
    if mask is None or scan.mask is None:
        return ""
    return (_other_grid(scan.mask, mask.grid, grid) if mask.grid else "") or mask.fault


def _tissue(scan: Scan) -> Path | None:
    path = Path(scan.values.get("tissue", "") or ".")
    return path if path.is_file() else None


def _tissue_fault(scan: Scan, grid: Grid, facts: Facts) -> str:
    path = _tissue(scan)
    if path is None:
        return ""
    try:
        tissue = facts.read(path, np.float32)
        own = grid_of(tissue.header)
    except HarmobenchError as error:
        return str(error)
    fault = _other_grid(path, own, grid) or _label_fault(path, tissue.voxels)
    if not fault:
        facts.put(tissue.sha256, "tissue", as_facts(own))
    return fault


def _label_fault(path: Path, voxels: FloatArray) -> str:
    found = np.unique(voxels)
    odd = found[~np.isin(found, LABELS)]
    if odd.size:
        listed = ", ".join(f"{value:g}" for value in odd[:3])
        return f"expected labels 1 CSF, 2 GM, 3 WM and 0, found {listed} in {path}"
    if 1 not in found:
        return f"expected labels 1 CSF, 2 GM, 3 WM, found no CSF in {path}"
    return ""


def _other_grid(path: Path, found: Grid, grid: Grid) -> str:
    if found.matches(grid):
        return ""
    return (
        f"expected the image's grid ({grid}), found another shape or affine ({found}) in {path}: "
        "resample it to the image"
    )
