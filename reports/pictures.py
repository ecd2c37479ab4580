"""Slices of the scans as small grey pictures, shown with one window a method."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Finished
from harmobench.reports.lookup import compared, controls

AXES = ("axial", "coronal", "sagittal")
WINDOW = (1.0, 99.5)  # percentiles of a method's brain pixels that become black and white
LARGE = 400  # pictures in a page that may keep their size


@dataclass(frozen=True)
class Gallery:
    """The pictures of a run."""

    run: Finished

    @property
    def subjects(self) -> list[str]:
        """Subjects with pictures; the one with most pictures first, else in manifest order."""
        counts = {s: sum(k[1] == s for k in self.run.pictures) for s in self.run.design.subjects}
        known = [subject for subject, count in counts.items() if count]
        if not known:
            return []
        first = max(known, key=lambda subject: counts[subject])
        return [first, *(subject for subject in known if subject != first)]

    @property
    def methods(self) -> list[str]:
        """Methods with pictures, in the run's order."""
        named = {key[0] for key in self.run.pictures}
        return [method for method in self.run.design.methods if method in named]

    @property
    def ranked(self) -> list[str]:
        """Methods with pictures that are no control."""
        return [name for name in compared(self.run.design.methods) if name in self.methods]

    @property
    def controls(self) -> list[str]:
        """Controls with pictures."""
        return [name for name in controls(self.run.design.methods) if name in self.methods]

    def has(self, method: str, subject: str, scanner: str) -> bool:
        """Whether there is a picture of this scan."""
        return (method, subject, scanner) in self.run.pictures

    def slice(
        self, method: str, subject: str, scanner: str, axis: str
    ) -> tuple[FloatArray, BoolArray]:
        """One slice and its brain, with anterior (or superior) up."""
        with np.load(self.run.pictures[method, subject, scanner], allow_pickle=False) as file:
            return np.rot90(file[axis]), np.rot90(file[f"{axis}_brain"]).astype(bool)

    @cached_property
    def windows(self) -> dict[str, tuple[float, float]]:
        """Darkest and brightest intensity of each method: all its scans are shown alike.

        Harmonized images have no common scale, so windows are never shared between methods.
        """
        pooled: dict[str, list[Any]] = {method: [] for method in self.methods}
        for (method, _, _), path in sorted(self.run.pictures.items()):
            with np.load(path, allow_pickle=False) as file:
                pooled.get(method, []).extend(
                    file[axis][file[f"{axis}_brain"].astype(bool)] for axis in AXES
                )
        return {method: window(np.concatenate(parts)) for method, parts in pooled.items()}

    def shown(self, method: str, subject: str, scanner: str, axis: str = "axial") -> FloatArray:
        """One slice as grey levels, 0 to 1; black outside the brain."""
        pixels, brain = self.slice(method, subject, scanner, axis)
        low, high = self.windows[method]
        return grey(pixels, brain, low, high)

    def data_uri(self, method: str, subject: str, scanner: str, axis: str = "axial") -> str:
        """One slice as a PNG in a data: address; smaller where there are many."""
        step = int(np.ceil(np.sqrt(len(self.run.pictures) / LARGE)))
        return png_uri(shrink(self.shown(method, subject, scanner, axis), step))


def window(pixels: FloatArray) -> tuple[float, float]:
    """1st and 99.5th percentile of the finite pixels; (0, 1) where there are none."""
    known = pixels[np.isfinite(pixels)]
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, WINDOW)
    return float(low), float(high)


def grey(pixels: FloatArray, brain: BoolArray, low: float, high: float) -> FloatArray:
    """Map a window to 0 to 1; outside the brain, and where not finite, 0."""
    scaled = (pixels - low) / (high - low) if high > low else np.full(pixels.shape, 0.5)
    shown = np.where(brain & np.isfinite(scaled), np.clip(scaled, 0, 1), 0)
    return np.asarray(shown, dtype="float32")


def shrink(pixels: FloatArray, step: int) -> FloatArray:
    """Average blocks of step x step pixels."""
    if step < 2:
        return pixels
    height, width = (n // step * step for n in pixels.shape)
    blocks = pixels[:height, :width].reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype="float32")


def png_uri(pixels: FloatArray) -> str:
    """Grey levels 0 to 1 as an 8-bit PNG in a data: address."""
    from PIL import Image  # comes with matplotlib

    stream = io.BytesIO()
    levels = np.ascontiguousarray(np.rint(pixels * 255).astype("uint8"))
    Image.fromarray(levels).save(stream, format="PNG", optimize=True)
    return data_uri(stream.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as an address that loads nothing."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
