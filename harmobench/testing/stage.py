"""The small cohort that plugins are checked on, and its atlas: eight people on seven scanners.

Not the phantom of `harmobench simulate`, which takes half a second a scan: the atlas's tissues with
each scanner's contrast and bias, each person's own smooth field, and noise, at 6 mm. Left and right
differ, so that a mirrored image is found out.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.atlas import Atlas, builtin_atlas
from harmobench.cohort import TISSUES
from harmobench.imaging.volume import FloatArray, write_image

MM = 6.0
SUBJECTS = tuple(f"{n:02d}" for n in range(1, 9))
# Intensities of CSF, GM and WM, and how much brighter the front is than the back.
SCANNERS = {
    "GE": (0.25, 0.85, 1.15, 0.10),
    "Philips": (0.20, 0.80, 1.30, -0.05),
    "SiemensP": (0.30, 0.90, 1.20, 0.02),
    "SiemensT": (0.30, 0.92, 1.22, 0.04),
    "HitachiA": (0.35, 0.88, 1.10, -0.08),
    "CanonB": (0.22, 0.86, 1.25, 0.06),
    "UnitedC": (0.28, 0.95, 1.18, -0.03),
}
MAPPED = (*SUBJECTS[:4], *tuple(SCANNERS)[:3])  # whose tissue maps are written
SMOOTH, OWN, NOISE, SIDE = 1.0, 0.06, 0.02, 0.12


@dataclass(frozen=True)
class Stage:
    """Where the cohort lies.

    Attributes
    ----------
    folder
        With the folders cohort and atlas.
    """

    folder: Path

    @property
    def cohort(self) -> Path:
        """Folder of all that belongs to the scans."""
        return self.folder / "cohort"

    @property
    def atlas(self) -> Path:
        """The atlas's folder."""
        return self.folder / "atlas"

    @property
    def mask(self) -> Path:
        """The brain mask that all scans share."""
        return self.cohort / "mask.nii.gz"

    def file(self, what: str, subject: str, scanner: str) -> Path:
        """Path of a scan's image ("T1w"), labels ("tissue"), map ("gm") or shared input."""
        return self.cohort / f"sub-{subject}_{scanner}_{what}.nii.gz"

    def spec(self, subject: str, scanner: str, inputs: tuple[str, ...] = ()) -> dict[str, Any]:
        """Describe a scan as plain data; see `harmobench.testing.acts.scan_of`."""
        number = SUBJECTS.index(subject)
        return {
            "subject": subject,
            "scanner": scanner,
            "image": str(self.file("T1w", subject, scanner)),
            "mask": str(self.mask),
            "inputs": {name: str(self.file(name, subject, scanner)) for name in inputs},
            "values": {
                "age": str(60 + 3 * number),
                "sex": "FM"[number % 3 % 2],
                "group": ("patient", "control")[number % 2],
            },
        }


@lru_cache(maxsize=1)
def _master() -> Stage:
    folder = Path(tempfile.mkdtemp(prefix="harmobench-check-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_stage(folder)


def copy_stage(folder: Path) -> Stage:
    """Copy the cohort, which is made once a process: a plugin may damage its copy."""
    shutil.copytree(_master().folder, folder)
    return Stage(folder)


def make_stage(folder: Path) -> Stage:
    """Make the cohort and its atlas in a folder; always the same."""
    stage = Stage(folder)
    stage.cohort.mkdir(parents=True)
    stage.atlas.mkdir()
    atlas = builtin_atlas(stage.atlas, MM)
    write_image(stage.mask, atlas.brain(), atlas.grid)
    rng = np.random.default_rng(20)
    for subject in SUBJECTS:
        parts = _fractions(atlas, rng)
        own = _field(atlas, rng)
        for scanner in SCANNERS:
            _write(stage, atlas, (subject, scanner), parts, own, rng)
    return stage


def _fractions(atlas: Atlas, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Tissue fractions (x, y, z) that sum to 1 in the brain, a little different for everyone."""
    from scipy import ndimage

    width = SMOOTH * rng.uniform(0.5, 0.7)
    parts = {t: ndimage.gaussian_filter(atlas.tissue(t) * 1.0, width) for t in TISSUES}
    total = np.maximum(sum(parts.values()), 1e-6)
    return {t: np.asarray(p / total * atlas.brain(), np.float32) for t, p in parts.items()}


def _field(atlas: Atlas, rng: np.random.Generator) -> FloatArray:
    from scipy import ndimage

    field = ndimage.gaussian_filter(rng.standard_normal(atlas.grid.shape), 1.5)
    return np.asarray(OWN * field / field.std(), np.float32)


def _write(
    stage: Stage,
    atlas: Atlas,
    place: tuple[str, str],
    parts: dict[str, FloatArray],
    own: FloatArray,
    rng: np.random.Generator,
) -> None:
    brain, grid = atlas.brain(), atlas.grid
    *contrast, bias = SCANNERS[place[1]]
    mixed = sum(v * parts[t] for v, t in zip(contrast, TISSUES, strict=True))
    x, y, _ = (np.linspace(-1, 1, n) for n in grid.shape)
    shade = 1 + SIDE * x[:, None, None] + bias * y[None, :, None]
    voxels = (mixed + own) * shade + rng.normal(0, NOISE, grid.shape)
    voxels = np.clip(voxels, 0.01, None) * brain
    write_image(stage.file("T1w", *place), (voxels / voxels[brain].mean()).astype("f4"), grid)
    labels = np.where(brain, 1 + np.argmax([parts[t] for t in TISSUES], axis=0), 0)
    write_image(stage.file("tissue", *place), labels.astype(np.uint8), grid)
    if place[0] not in MAPPED or place[1] not in MAPPED:
        return
    for tissue, part in parts.items():
        steps = np.floor(part * 250 + 1e-4).astype(np.uint8)
        write_image(stage.file(tissue, *place), steps, grid, scale=1 / 250)
