"""What every simulated cohort shares: its random numbers, its folder and its manifest."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harmobench.errors import SettingsError

STREAMS = {"subject": 0, "anatomy": 1, "deformation": 2, "position": 3, "scan": 4, "bias": 5}


def stream(seed: int, what: str, *numbers: int) -> np.random.Generator:
    """Random numbers of one purpose, independent of all others."""
    return np.random.default_rng([seed, STREAMS[what], *numbers])


def refuse_full(out: Path) -> None:
    """Refuse a folder with something in it.

    Raises
    ------
    SettingsError
        `out` is a file, or not empty.
    """
    if out.is_dir() and any(out.iterdir()):
        raise SettingsError(f"expected an empty folder for the cohort, found files in {out}")
    if out.exists() and not out.is_dir():
        raise SettingsError(f"expected a folder for the cohort, found a file at {out}")


def write_manifest(out: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> Path:
    """Write matched.csv, paths relative to it."""
    path = out / "matched.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
