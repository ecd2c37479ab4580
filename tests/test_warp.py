"""Displacement fields: the convention is ITK's, and ANTs agrees."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.errors import HarmobenchError
from harmobench.imaging.volume import Grid, read_voxels, write_image
from harmobench.imaging.warp import carry, field_indices, read_field, write_field

Array = NDArray[np.float32]
# Axes turned, mirrored and of unlike voxel sizes, so that a mixed-up sign or order shows.
SKEWED = np.array([[0, -2.0, 0, 20], [1.5, 0, 0, -16], [0, 0, 2.5, -12], [0, 0, 0, 1]])
TEMPLATE = Grid.make((16, 14, 12), np.diag([-2.0, 2.0, 2.0, 1.0]))
NATIVE = Grid.make((15, 13, 11), SKEWED)


def constant(grid: Grid, shift: tuple[float, float, float]) -> Array:
    return np.broadcast_to(np.array(shift, np.float32), (*grid.shape, 3)).copy()


def world(grid: Grid) -> NDArray[np.float64]:
    """World coordinates (3, x, y, z) of every voxel, by nibabel."""
    index = np.indices(grid.shape).reshape(3, -1).T
    return nib.affines.apply_affine(grid.affine, index).T.reshape(3, *grid.shape)


def blob(grid: Grid, middle: tuple[float, float, float]) -> Array:
    distance = (world(grid) - np.reshape(middle, (3, 1, 1, 1))) ** 2
    return np.exp(-distance.sum(axis=0) / 50).astype(np.float32)


def smooth_field(grid: Grid, size: float, seed: int) -> Array:
    noise = np.random.default_rng(seed).normal(size=(*grid.shape, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 2, 0))
    return (size * smooth / np.abs(smooth).max()).astype(np.float32)


def test_nothing_moves_without_displacement() -> None:
    image = np.random.default_rng(0).normal(size=TEMPLATE.shape).astype(np.float32)
    for interpolation in ("linear", "nearest"):
        out = carry(image, TEMPLATE, constant(TEMPLATE, (0, 0, 0)), TEMPLATE, interpolation)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, image, atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_each_voxel_takes_its_value_from_where_the_field_points(axis: int) -> None:
    """+2 mm in RAS on 2 mm voxels: one voxel on, or one back where the axis is mirrored."""
    image = np.random.default_rng(1).normal(size=TEMPLATE.shape).astype(np.float32)
    shift = [0.0, 0.0, 0.0]
    shift[axis] = 2.0
    out = carry(image, TEMPLATE, constant(TEMPLATE, tuple(shift)), TEMPLATE, outside=-9)
    step = -1 if axis == 0 else 1
    expected = np.roll(image, -step, axis=axis)
    edge = [slice(None)] * 3
    edge[axis] = slice(-1, None) if step == 1 else slice(0, 1)
    expected[tuple(edge)] = -9
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_blob_moves_against_the_field() -> None:
    shift = (3.0, -4.0, 2.5)
    grid = Grid.make((30, 30, 30), np.array(np.diag([-1.0, 1, 1, 1]) + 0))
    middle = tuple(world(grid)[:, 15, 15, 15])
    out = carry(blob(grid, middle), grid, constant(grid, shift), grid)
    moved = tuple(m - s for m, s in zip(middle, shift, strict=True))
    inner = (slice(5, -5),) * 3
    np.testing.assert_allclose(out[inner], blob(grid, moved)[inner], atol=5e-3)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
)
def test_a_ramp_is_carried_exactly_between_any_grids(
    slope: list[float], shift: list[float]
) -> None:
    """Linear interpolation is exact for a linear image, whatever the two grids' axes are."""
    ramp = np.tensordot(slope, world(TEMPLATE), axes=1).astype(np.float32)
    inside = Grid.make((4, 4, 4), SKEWED @ np.diag([0.5, 0.5, 0.5, 1]) + _move(-15, 12, 11))
    out = carry(ramp, TEMPLATE, constant(inside, tuple(shift)), inside, outside=1e6)
    expected = np.tensordot(slope, world(inside) + np.reshape(shift, (3, 1, 1, 1)), axes=1)
    np.testing.assert_allclose(out, expected, atol=1e-3)


def _move(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Put the origin at (x, y, z), inside the template, of a matrix with SKEWED's origin."""
    move = np.zeros((4, 4))
    move[:3, 3] = np.array([x, y, z]) - SKEWED[:3, 3]
    return move


def test_nearest_makes_no_new_labels_and_outside_is_what_was_asked_for() -> None:
    labels = np.random.default_rng(2).integers(1, 4, size=TEMPLATE.shape)
    field = smooth_field(NATIVE, 4, 0)
    out = carry(labels, TEMPLATE, field, NATIVE, "nearest", outside=7)
    assert set(np.unique(out)) <= {1, 2, 3, 7}
    where = field_indices(field, NATIVE, TEMPLATE)
    far = np.zeros(NATIVE.shape, dtype=bool)
    for axis, size in enumerate(TEMPLATE.shape):
        far |= (where[axis] < -0.5) | (where[axis] > size - 0.5)
    assert (out[far] == 7).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 50))
def test_a_field_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: float
) -> None:
    path = tmp_path_factory.mktemp("field") / "deep" / "field.nii.gz"
    field = smooth_field(NATIVE, size, seed)
    write_field(path, field, NATIVE)
    read, grid = read_field(path)
    np.testing.assert_array_equal(read, field)
    assert read.dtype == np.float32
    assert grid == NATIVE
    image = nib.load(path)
    assert image.shape == (*NATIVE.shape, 1, 3)
    assert image.header.get_intent()[0] == "vector"
    stored = np.asarray(image.dataobj)[..., 0, :]
    np.testing.assert_array_equal(stored, field * [-1, -1, 1], "LPS in the file")


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 4, 3), (4, 4, 4, 1, 2), (4, 4, 4, 3, 1)])
def test_what_is_no_field_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / "f.nii.gz")
    found = " x ".join(str(n) for n in shape)
    with pytest.raises(HarmobenchError, match=rf"x 1 x 3, found {found}.*antsApplyTransforms"):
        read_field(tmp_path / "f.nii.gz")


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_field_with_holes_is_refused(tmp_path: Path, broken: float) -> None:
    field = constant(NATIVE, (1, 2, 3))
    field[3, 3, 3, 1] = broken
    write_field(tmp_path / "f.nii.gz", field, NATIVE)
    with pytest.raises(HarmobenchError, match=r"finite displacements"):
        read_field(tmp_path / "f.nii.gz")
    with pytest.raises(HarmobenchError, match=r"no file"):
        read_field(tmp_path / "none.nii.gz")


def test_ants_brings_the_same_image_through_the_same_field(tmp_path: Path) -> None:
    """`antsApplyTransforms` is whom the files are exchanged with."""
    ants = pytest.importorskip("ants")
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.normal(size=TEMPLATE.shape), 1.5).astype(np.float32) + 5
    native = Grid.make((9, 8, 7), SKEWED @ np.diag([0.7, 0.7, 0.7, 1]) + _move(-6, 8, 5))
    field = smooth_field(native, 4, 1) + np.float32([-2.5, 1.5, 1.0])
    write_image(tmp_path / "moving.nii.gz", image, TEMPLATE)
    write_image(tmp_path / "fixed.nii.gz", np.zeros(native.shape, np.float32), native)
    write_field(tmp_path / "field.nii.gz", field, native)
    for interpolation, theirs in (("linear", "linear"), ("nearest", "nearestNeighbor")):
        out = ants.apply_transforms(
            ants.image_read(str(tmp_path / "fixed.nii.gz")),
            ants.image_read(str(tmp_path / "moving.nii.gz")),
            [str(tmp_path / "field.nii.gz")],
            interpolator=theirs,
        )
        ants.image_write(out, str(tmp_path / "out.nii.gz"))
        reference = read_voxels(tmp_path / "out.nii.gz")
        back, grid = read_field(tmp_path / "field.nii.gz")
        ours = carry(image, TEMPLATE, back, grid, interpolation)
        where = field_indices(field, native, TEMPLATE)
        inside = np.ones(native.shape, dtype=bool)
        for axis, size in enumerate(TEMPLATE.shape):
            inside &= (where[axis] > 0.01) & (where[axis] < size - 1.01)
        assert inside.sum() > 100
        if interpolation == "nearest":  # ties and rounding may fall either way
            close = np.abs(where - np.floor(where) - 0.5).min(axis=0) < 1e-3
            inside &= ~close
        np.testing.assert_allclose(ours[inside], reference[inside], rtol=1e-3)
        assert reference[inside].std() > 0.01, "there was something to see"


def test_corners_of_a_turned_grid_lie_where_nibabel_says() -> None:
    where = field_indices(constant(NATIVE, (0, 0, 0)), NATIVE, TEMPLATE)
    for corner in itertools.product(*((0, n - 1) for n in NATIVE.shape)):
        there = nib.affines.apply_affine(
            np.linalg.inv(TEMPLATE.affine), nib.affines.apply_affine(NATIVE.affine, corner)
        )
        np.testing.assert_allclose(where[:, *corner], there, atol=1e-9)
