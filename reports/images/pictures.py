"""The images of a run: mosaics that the run made, and slices of its scans."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.imaging.mosaics import (
    MOSAIC_QUALITY,
    SIDE_BY_SIDE,
    WINDOW_FILE,
    common_window,
    grey,
    mosaic,
)
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Finished
from harmobench.reports.images.anchors import anchors
from harmobench.reports.lookup import compared, controls
from harmobench.store import read_json

if TYPE_CHECKING:
    from harmobench.reports.images.viewer import Viewer

AXES = SIDE_BY_SIDE
MOSAIC_BYTES = 3_300_000  # of all mosaics in a page, which are a third longer as text
SMALLEST = 0.25  # of a mosaic's width, where there are more than fit

Key = tuple[str, str, str]  # method, subject, scanner


@dataclass(frozen=True)
class Gallery:
    """The images of a run."""

    run: Finished

    @cached_property
    def subjects(self) -> list[str]:
        """Subjects with pictures; the one with most pictures first, else in manifest order."""
        counts = Counter(subject for _, subject, _ in self.keys)
        known = [subject for subject in self.run.design.subjects if counts[subject]]
        if not known:
            return []
        first = max(known, key=lambda subject: counts[subject])
        return [first, *(subject for subject in known if subject != first)]

    @cached_property
    def keys(self) -> frozenset[Key]:
        """Scans that there is something to show of."""
        return frozenset(self.run.pictures) | frozenset(self.run.mosaics)

    @cached_property
    def anchors(self) -> dict[str, str]:
        """Id of each subject's images in the page."""
        return anchors(self.run.design.subjects)

    @cached_property
    def methods(self) -> list[str]:
        """Methods with pictures, in the run's order."""
        named = {key[0] for key in self.run.pictures}
        return [method for method in self.run.design.methods if method in named]

    @cached_property
    def ranked(self) -> list[str]:
        """Methods with pictures that are no control."""
        return [name for name in compared(self.run.design.methods) if name in self.methods]

    @property
    def asked(self) -> list[str]:
        """Methods of images that are no control, with pictures or not."""
        known = self.run.settings["methods"]
        names = compared(self.run.design.methods)
        return [name for name in names if known.get(name, {}).get("changes") != "measures"]

    @cached_property
    def controls(self) -> list[str]:
        """Controls with images."""
        named = {key[0] for key in self.keys}
        return [name for name in controls(self.run.design.methods) if name in named]

    def has(self, method: str, subject: str, scanner: str) -> bool:
        """Whether there is a picture of this scan."""
        return (method, subject, scanner) in self.run.pictures

    def slice(
        self, method: str, subject: str, scanner: str, axis: str
    ) -> tuple[FloatArray, BoolArray]:
        """One slice and its brain, with anterior (or superior) up."""
        with np.load(self.run.pictures[method, subject, scanner], allow_pickle=False) as file:
            return np.rot90(file[axis]), np.rot90(file[f"{axis}_brain"]).astype(bool)

    def picture(self, method: str, subject: str, scanner: str) -> dict[str, Any]:
        """Return all that the run kept of a scan."""
        with np.load(self.run.pictures[method, subject, scanner], allow_pickle=False) as file:
            return dict(file)

    def stacks(self, subject: str) -> bool:
        """Whether the run kept stacks of slices of a subject; earlier versions kept none."""
        first = min((key for key in self.run.pictures if key[1] == subject), default=None)
        return first is not None and self.medians(*first) is not None

    def medians(self, method: str, subject: str, scanner: str) -> tuple[float, float] | None:
        """Median of a scan's grey and of its white matter, where the run kept them."""
        with np.load(self.run.pictures[method, subject, scanner], allow_pickle=False) as file:
            if "medians" not in file:
                return None
            grey_matter, white_matter = (float(x) for x in file["medians"])
        return grey_matter, white_matter

    @cached_property
    def windows(self) -> dict[str, tuple[float, float]]:
        """Darkest and brightest intensity of each method: all its scans are shown alike.

        Harmonized images have no common scale, so windows are never shared between methods.
        """
        return {method: self._window(method) for method in self.methods}

    def _window(self, method: str) -> tuple[float, float]:
        made = next((p for k, p in sorted(self.run.mosaics.items()) if k[0] == method), None)
        if made is not None and made.with_name(WINDOW_FILE).is_file():
            low, high = read_json(made.with_name(WINDOW_FILE))
            return float(low), float(high)
        return common_window([p for k, p in sorted(self.run.pictures.items()) if k[0] == method])

    def shown(self, method: str, subject: str, scanner: str, axis: str = "axial") -> FloatArray:
        """One slice as grey levels, 0 to 1; black outside the brain."""
        pixels, brain = self.slice(method, subject, scanner, axis)
        low, high = self.windows[method]
        return grey(pixels, brain, low, high)

    def pixel_ratio(self, method: str, subject: str, scanner: str, axis: str) -> float:
        """Height of a slice's pixels over their width."""
        with np.load(self.run.pictures[method, subject, scanner], allow_pickle=False) as file:
            across, up = file.get(f"{axis}_mm", (1.0, 1.0))
        return float(up) / float(across)

    # --- mosaics ------------------------------------------------------------------------------

    def mosaic(self, method: str, subject: str, scanner: str) -> str:
        """Mosaic of one scan as a data: address; "" where there is none.

        The run's own where it made one; else, of an earlier version's run, made here.
        """
        key = (method, subject, scanner)
        if key not in self.keys:
            return ""
        content = self._mosaic(key)
        return data_uri(resized(content, self.scale) if self.scale < 1 else content, "image/webp")

    def _mosaic(self, key: Key) -> bytes:
        made: Path | None = self.run.mosaics.get(key)
        if made is not None and made.is_file():
            content = made.read_bytes()
            if whole(content):  # a broken one would leave a hole in the page
                return content
        return mosaic(self.picture(*key), *self.windows[key[0]])

    @cached_property
    def scale(self) -> float:
        """By how much mosaics shrink so that all fit into a page; 1 where they fit."""
        known = [p.stat().st_size for p in self.run.mosaics.values() if p.is_file()]
        each = sum(known) / len(known) if known else 4500.0
        return max(
            SMALLEST, min(1.0, float(np.sqrt(MOSAIC_BYTES / max(1.0, each * len(self.keys)))))
        )

    @cached_property
    def height(self) -> int:
        """Pixels of a mosaic that is 300 wide."""
        from PIL import Image

        if not self.keys:
            return 1
        width, height = Image.open(BytesIO(self._mosaic(min(self.keys)))).size
        return max(1, round(300 * height / width))

    @cached_property
    def viewer(self) -> Viewer | None:
        """What the page's viewer shows; None where the run kept too little for it."""
        from harmobench.reports.images.viewer import viewer

        return viewer(self.run, self)

    @property
    def why_no_viewer(self) -> str:
        """What to do where there is no viewer."""
        if len(self.ranked) < 2:
            return "There is no image of a method beside RAW to go through slice by slice."
        return (
            "This run kept the middle slices alone, as version 0.1 did: run it again with this "
            "version to go through its slices."
        )

    def why_missing(self, method: str, subject: str, scanner: str) -> str:
        """Why there is no image of a scan: the first failure that can explain it, or ""."""
        fold = self.run.design.folds.get(subject, -1)
        for row in self.run.failures.to_dict("records"):
            of = (row["method"] == method, row["subject"] in ("", subject))
            where = (row["scanner"] in ("", scanner), row["fold"] in (-1, fold))
            if all(of + where) and row["task"] in ("image", "fit", "piece", "picture"):
                return str(row["reason"])
        return ""


def whole(content: bytes) -> bool:
    """Whether bytes are a WebP picture that nothing is missing of, as its head says."""
    size = int.from_bytes(content[4:8], "little") + 8
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) == size


def resized(content: bytes, scale: float) -> bytes:
    """Shrink a WebP picture."""
    from PIL import Image

    image = Image.open(BytesIO(content))
    width, height = (max(1, round(n * scale)) for n in image.size)
    stream = BytesIO()
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    small.save(stream, "WEBP", quality=MOSAIC_QUALITY, method=6)
    return stream.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as an address that loads nothing."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
