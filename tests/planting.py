"""Manifests with a known fault in them, for tests of what finds it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from harmobench.imaging.volume import Grid, read_grid, read_labels, read_voxels, write_image
from harmobench.imaging.warp import read_field, write_field


def rows_of(manifest: Path) -> list[dict[str, str]]:
    """Rows of a manifest, with absolute paths."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: _absolute(manifest.parent, v) for k, v in row.items()} for row in rows]


def _absolute(folder: Path, text: str) -> str:
    path = folder / text
    return str(path) if text and path.is_file() else text


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write a manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def plant_bias(manifest: Path, out: Path, scanner: str, share: float) -> Path:
    """Make every native volume of one scanner larger by `share`, as a wrong voxel size does.

    The way back to native space keeps its points' values; only their distances grow. A manifest
    without a way back gets one that stays where it is.
    """
    rows = rows_of(manifest)
    for row in rows:
        field, grid = _way_back(row)
        if row["scanner"] == scanner:
            field, grid = _stretched(field, grid, (1 + share) ** (1 / 3))
        elif row.get("to_native"):
            continue
        path = out / f"{row['subject']}_{row['scanner']}_to_native.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_field(path, field.astype(np.float32), grid)
        row["to_native"] = str(path)
    for row in rows:  # those of the native images and the truth would no longer fit
        for name in [n for n in row if n == "native_image" or n.startswith("truth_")]:
            del row[name]
    return write_rows(out / "matched.csv", rows)


def _way_back(row: dict[str, str]) -> tuple[np.ndarray, Grid]:
    if row.get("to_native"):
        return read_field(Path(row["to_native"]))
    grid = read_grid(Path(row["image"]))
    return np.zeros((*grid.shape, 3), dtype=np.float32), grid


def _stretched(field: np.ndarray, grid: Grid, factor: float) -> tuple[np.ndarray, Grid]:
    affine = np.array(grid.affine, dtype=np.float64)
    wider = affine.copy()
    wider[:3, :3] *= factor
    index = np.indices(grid.shape).reshape(3, -1)
    moved = ((affine - wider)[:3, :3] @ index).T.reshape(field.shape)
    return field + moved, Grid.make(grid.shape, wider)


def coarser(manifest: Path, out: Path, factor: int) -> Path:
    """Average blocks of `factor` voxels an edge; masks become what is mostly brain."""
    rows = rows_of(manifest)
    done: dict[str, str] = {}
    for row in rows:
        for name in ("image", "mask"):
            source = row[name]
            if source not in done:
                target = out / f"{len(done)}.nii.gz"
                shrink_image(Path(source), target, factor, mask=name == "mask")
                done[source] = str(target)
            row[name] = done[source]
        for name in [n for n in row if n in ("native_image", "to_native") or n.startswith("truth")]:
            del row[name]
    return write_rows(out / "matched.csv", rows)


def shrink_image(
    source: Path, target: Path, factor: int, *, mask: bool = False, labels: bool = False
) -> None:
    """Write an image of fewer voxels: their mean, what most are, or every n-th label."""
    grid = read_grid(source)
    shape = tuple(n // factor for n in grid.shape)
    affine = np.array(grid.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (factor - 1) / 2)
    affine[:3, :3] *= factor
    cut = tuple(slice(0, n * factor) for n in shape)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Grid.make(shape, affine)
    if labels:
        middle = tuple(slice(factor // 2, n * factor, factor) for n in shape)
        write_image(target, read_labels(source)[middle].astype(np.int32), new)
        return
    voxels = read_voxels(source)[cut]
    blocks = voxels.reshape(*(n for size in shape for n in (size, factor))).mean(axis=(1, 3, 5))
    write_image(target, blocks > 0.5 if mask else blocks.astype(np.float32), new)
