"""A small matched cohort in the built-in atlas's space, without the phantom's machinery."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import icbm152
from harmobench.imaging.volume import write_image

os.environ["HARMOBENCH_CACHE"] = ""  # tests leave nothing in the cache of who runs them
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # as workers have it: ITK reads it once

# Intensities of CSF, GM and WM on each scanner: what a scanner does to contrast.
CONTRASTS = {
    "GE": (0.25, 0.85, 1.15),
    "Philips": (0.2, 0.8, 1.3),
    "SiemensP": (0.3, 0.9, 1.2),
    "SiemensT": (0.3, 0.92, 1.22),
}


def make_cohort(
    folder: Path, subjects: int = 4, scanners: int = 2, resolution: float = 6.0, seed: int = 0
) -> Path:
    """Write images and a manifest; each subject has its own brain, each scanner its contrast."""
    tissues, _, brain, grid = icbm152(resolution)
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(subjects):
        name = f"{s + 1:02d}"
        own = rng.normal(0, 0.06, size=grid.shape).astype(np.float32)
        for scanner, values in list(CONTRASTS.items())[:scanners]:
            mixed = sum(v * tissues[t] for v, t in zip(values, ("csf", "gm", "wm"), strict=True))
            noise = rng.normal(0, 0.02, size=grid.shape)
            voxels = np.clip(mixed + own + noise, 0.01, None) * brain
            voxels = (voxels / voxels[brain].mean()).astype(np.float32)
            path = folder / "images" / f"sub-{name}_{scanner}.nii.gz"
            write_image(path, voxels, grid)
            rows.append(
                {
                    "subject": name,
                    "scanner": scanner,
                    "image": f"images/{path.name}",
                    "group": "low" if s % 2 else "high",
                    "age": str(60 + s),
                }
            )
    return write_manifest(folder / "matched.csv", rows)


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as a manifest."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def cohort_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of 4 subjects on 2 scanners at 6 mm; do not change it."""
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def larger_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of 5 subjects on 3 scanners at 6 mm; do not change it."""
    return make_cohort(tmp_path_factory.mktemp("larger"), subjects=5, scanners=3)
