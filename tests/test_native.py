"""Images on their way back to native space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import icbm152
from harmobench.errors import MeasurementError
from harmobench.imaging.volume import FloatArray, Grid
from harmobench.imaging.warp import write_field
from harmobench.tasks import brain_reached, seen, to_native

_, T1, BRAIN, GRID = icbm152(6)


def shift(mm: float, grid: Grid = GRID) -> FloatArray:
    field = np.zeros((*grid.shape, 3), np.float32)
    field[..., 0] = mm
    return field


def test_identity_brings_the_image_as_it_is(tmp_path: Path) -> None:
    write_field(tmp_path / "f.nii.gz", shift(0), GRID)
    voxels, mask, native = to_native(T1 * BRAIN, BRAIN, GRID, tmp_path / "f.nii.gz")
    assert native.matches(GRID)
    assert np.array_equal(mask, BRAIN)
    assert np.allclose(voxels[mask], T1[BRAIN], atol=1e-5)
    assert not voxels[~mask].any()


def test_coarser_native_grid_still_reaches_the_whole_brain() -> None:
    affine = GRID.affine @ np.diag([2, 2, 2, 1.0])
    coarse = Grid.make([-(-n // 2) for n in GRID.shape], affine)
    assert brain_reached(BRAIN, GRID, shift(0, coarse), coarse) > 0.98


@pytest.mark.parametrize("factors", [(6, 6, 6), (1, 1, 7)])
def test_thick_slices_reach_the_whole_brain(factors: tuple[int, int, int]) -> None:
    affine = GRID.affine @ np.diag([*factors, 1.0])
    shape = [-(-n // f) for n, f in zip(GRID.shape, factors, strict=True)]
    thick = Grid.make(shape, affine)
    assert brain_reached(BRAIN, GRID, shift(0, thick), thick) > 0.95
    assert brain_reached(BRAIN, GRID, shift(90, thick), thick) < 0.9


def test_share_falls_as_the_brain_is_moved_out() -> None:
    shares = [brain_reached(BRAIN, GRID, shift(mm), GRID) for mm in (0, 60, 90, 150, 400)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert shares[-1] == 0


def test_field_that_cuts_the_brain_off_is_refused(tmp_path: Path) -> None:
    write_field(tmp_path / "f.nii.gz", shift(90), GRID)
    with pytest.raises(MeasurementError, match=r"f\.nii\.gz, found one that brings only \d+% of"):
        to_native(T1 * BRAIN, BRAIN, GRID, tmp_path / "f.nii.gz")


def test_voxels_that_a_scan_does_not_have_and_their_neighbours_are_left_out() -> None:
    brain = np.zeros((9, 9, 9), bool)
    brain[1:8, 1:8, 1:8] = True
    raw = np.where(brain, 1.0, 0.0).astype(np.float32)
    assert np.array_equal(seen(brain, raw), brain)  # 0 outside the brain says nothing
    raw[1, 4, 4] = 0
    left = seen(brain, raw)
    lost = np.stack(np.nonzero(brain & ~left))
    assert lost.shape[1] == 2 * 3 * 3
    assert np.abs(lost - np.array([[1], [4], [4]])).max() == 1
