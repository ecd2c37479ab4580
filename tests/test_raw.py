"""RAW is the identity within the mask, and 0 outside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmobench.cohort import Scan
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Harmonizer
from harmobench.methods.raw import Raw

GRID = Grid.make((6, 5, 4), np.eye(4))


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)


def scan_of(folder: Path, voxels: np.ndarray, mask: np.ndarray | None) -> Scan:
    write_image(folder / "t1.nii.gz", voxels, GRID)
    if mask is not None:
        write_image(folder / "mask.nii.gz", mask, GRID)
    return Scan(
        "01", "A", folder / "t1.nii.gz", folder / "mask.nii.gz" if mask is not None else None
    )


def test_is_the_image_within_the_mask_and_zero_outside(tmp_path: Path, voxels: np.ndarray) -> None:
    mask = voxels > 0.2
    out = Raw().transform(scan_of(tmp_path, voxels, mask)).voxels()
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[mask], voxels[mask])
    assert not out[~mask].any()


def test_an_image_that_is_masked_already_comes_back_bit_for_bit(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    masked = np.where(voxels > 0, voxels, np.float32(0))
    np.testing.assert_array_equal(Raw().transform(scan_of(tmp_path, masked, None)).voxels(), masked)


def test_saves_and_loads_and_is_the_baseline(tmp_path: Path, voxels: np.ndarray) -> None:
    Raw().save(tmp_path / "model")
    model = Raw.load(tmp_path / "model")
    assert isinstance(model, Harmonizer)
    assert model.needs.role == "baseline"
    assert not model.needs.folds
    scan = scan_of(tmp_path, voxels, None)
    np.testing.assert_array_equal(model.transform(scan).voxels(), voxels)
