"""A scan as one small picture: three middle slices side by side in its method's grey window."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.sketch import exact_percentiles
from harmobench.imaging.slices import AXES
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.store import write_json

SIDE_BY_SIDE = ("axial", "coronal", "sagittal")
WINDOW = (1.0, 99.5)  # percentiles of a method's brain pixels that become black and white
WINDOW_FILE = "window.json"  # beside the mosaics of a method
MOSAIC_WIDTH, MOSAIC_QUALITY = 300, 60  # about 4 kB a scan at 1 mm


def common_window(pictures: Sequence[Path]) -> tuple[float, float]:
    """1st and 99.5th percentile of the finite brain pixels of these pictures' middle slices.

    (0, 1) where there are none. One picture is in memory at a time.
    """
    found = exact_percentiles(lambda: _pixels(pictures), WINDOW)
    low, high = found or (0.0, 1.0)
    return low, high


def _pixels(pictures: Iterable[Path]) -> Iterator[FloatArray]:
    for path in pictures:
        with np.load(path, allow_pickle=False) as file:
            for axis in AXES:
                pixels = file[axis][file[f"{axis}_brain"].astype(bool)]
                yield pixels[np.isfinite(pixels)]


def grey(pixels: FloatArray, brain: BoolArray, low: float, high: float) -> FloatArray:
    """Map a window to 0 to 1; outside the brain, and where not finite, 0."""
    scaled = (pixels - low) / (high - low) if high > low else np.full(pixels.shape, 0.5)
    shown = np.where(brain & np.isfinite(scaled), np.clip(scaled, 0, 1), 0)
    return np.asarray(shown, dtype="float32")


def mosaic(picture: Mapping[str, Any], low: float, high: float) -> bytes:
    """Axial, coronal and sagittal middle slice side by side in one scale, as a small WebP."""
    from PIL import Image

    fine = min(float(min(_mm(picture, axis))) for axis in SIDE_BY_SIDE)
    tiles = [_tile(picture, axis, (low, high), fine) for axis in SIDE_BY_SIDE]
    height, width = max(t.shape[0] for t in tiles), sum(t.shape[1] for t in tiles)
    canvas = np.zeros((height, width), dtype=np.uint8)
    left = 0
    for tile in tiles:
        top = (height - tile.shape[0]) // 2
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        left += tile.shape[1]
    size = (MOSAIC_WIDTH, max(1, round(MOSAIC_WIDTH * height / width)))
    stream = io.BytesIO()
    small = Image.fromarray(canvas).resize(size, Image.Resampling.LANCZOS)
    small.convert("RGB").save(stream, "WEBP", quality=MOSAIC_QUALITY, method=6)
    return stream.getvalue()


def _tile(
    picture: Mapping[str, Any], axis: str, span: tuple[float, float], fine: float
) -> NDArray[np.uint8]:
    """One slice in grey levels, cut to the brain, in pixels of `fine` mm, with the front up."""
    from PIL import Image

    brain = picture[f"{axis}_brain"].astype(bool)
    box = tuple(_reach(brain.any(axis=1 - k)) for k in (0, 1))
    shown = np.rot90(grey(picture[axis], brain, *span)[box])
    levels = np.ascontiguousarray(np.rint(shown * 255).astype(np.uint8))
    across, up = (mm / fine for mm in _mm(picture, axis))
    size = (max(1, round(levels.shape[1] * across)), max(1, round(levels.shape[0] * up)))
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR))


def _mm(picture: Mapping[str, Any], axis: str) -> tuple[float, float]:
    """Edge lengths of a pixel; 1 in pictures of earlier versions, which did not keep them."""
    x, y = picture.get(f"{axis}_mm", (1.0, 1.0))
    return float(x), float(y)


def _reach(there: BoolArray) -> slice:
    """From one before the first to one after the last."""
    where = np.flatnonzero(there)
    return slice(max(0, where[0] - 1), where[-1] + 2) if where.size else slice(0, 1)


def write_mosaics(pictures: Sequence[Path], folder: Path) -> None:
    """Write the mosaic of each of a method's pictures, and the window that they share.

    Files are called by the place in `pictures`; the window is in `window.json`.
    """
    low, high = common_window(pictures)
    write_json(folder / WINDOW_FILE, [low, high])
    for place, path in enumerate(pictures):
        with np.load(path, allow_pickle=False) as file:
            content = mosaic(dict(file), low, high)
        (folder / mosaic_file(place)).write_bytes(content)


def mosaic_file(place: int) -> str:
    """Name of a mosaic in its task's folder.

    >>> mosaic_file(7)
    '00007.webp'
    """
    return f"{place:05d}.webp"
