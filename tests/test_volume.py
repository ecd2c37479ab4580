"""Reading and writing NIfTI: what goes in comes out, and what cannot be read says why."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harmobench.errors import HarmobenchError
from harmobench.imaging.volume import (
    Grid,
    read_grid,
    read_labels,
    read_voxels,
    without_spikes,
    write_image,
)

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 1.5, 0, -126], [0, 0, 3.0, -72], [0, 0, 0, 1]])
GRID = Grid.make((7, 6, 5), AFFINE)


@pytest.fixture
def voxels() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(100, 20, size=GRID.shape).astype(np.float32)


@pytest.mark.parametrize("name", ["t1.nii.gz", "t1.nii"])
@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", "int32", "float64"])
def test_an_image_comes_back_as_it_was(
    tmp_path: Path, voxels: NDArray[np.float32], name: str, dtype: str
) -> None:
    path = tmp_path / "deep" / name
    stored = voxels.astype(dtype)
    write_image(path, stored, GRID)
    assert read_grid(path) == GRID
    read = read_voxels(path)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, stored.astype(np.float32))
    image = nib.load(path)
    assert image.get_data_dtype() == np.dtype(dtype)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_a_mask_is_stored_as_bytes(tmp_path: Path, voxels: NDArray[np.float32]) -> None:
    write_image(tmp_path / "m.nii.gz", voxels > 100, GRID)
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint8
    np.testing.assert_array_equal(read_voxels(tmp_path / "m.nii.gz") > 0, voxels > 100)


def test_the_same_voxels_give_the_same_bytes_at_any_time(
    tmp_path: Path, voxels: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a" / "one.nii.gz", voxels, GRID)
    monkeypatch.setattr(time, "time", lambda: 86400.0)
    write_image(tmp_path / "b" / "other.nii.gz", voxels.copy(), GRID)
    one, other = (tmp_path / name for name in ("a/one.nii.gz", "b/other.nii.gz"))
    assert one.read_bytes() == other.read_bytes()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 250), min_size=8, max_size=8), st.sampled_from([1 / 250, 0.5, 0.1]))
def test_fractions_in_steps_stay_the_same_integers(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], scale: float
) -> None:
    path = tmp_path_factory.mktemp("scaled") / "p.nii.gz"
    whole = np.array(steps, dtype=np.uint8).reshape(2, 2, 2)
    write_image(path, whole, Grid.make((2, 2, 2), np.eye(4)), scale=scale)
    stored = np.asarray(nib.load(path).dataobj.get_unscaled())
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, whole)
    np.testing.assert_allclose(read_voxels(path), whole * scale, rtol=1e-6)


def test_labels_are_rounded_not_cut(tmp_path: Path) -> None:
    labels = np.array([0, 0.9999, 1.0001, 2.6, 41, -1, 1001, 7], np.float32).reshape(2, 2, 2)
    write_image(tmp_path / "l.nii.gz", labels, Grid.make((2, 2, 2), np.eye(4)))
    read = read_labels(tmp_path / "l.nii.gz")
    assert read.dtype == np.int32
    assert read.ravel().tolist() == [0, 1, 1, 3, 41, -1, 1001, 7]


FINITE = st.floats(-200, 200, allow_nan=False)
SIZES = st.lists(st.floats(0.3, 8), min_size=3, max_size=3)


@settings(deadline=None, max_examples=50)
@given(st.lists(FINITE, min_size=12, max_size=12), st.tuples(*[st.integers(1, 300)] * 3))
def test_a_grid_keeps_shape_and_affine(numbers: list[float], shape: tuple[int, int, int]) -> None:
    affine = np.vstack([np.reshape(numbers, (3, 4)), [0, 0, 0, 1]])
    grid = Grid.make(shape, affine)
    assert grid.shape == shape
    np.testing.assert_array_equal(grid.affine, affine)
    assert grid.matches(grid)
    assert grid == Grid.make(np.array(shape), affine.astype(np.float64))
    assert len({grid, Grid.make(list(shape), affine)}) == 1


@settings(deadline=None, max_examples=50)
@given(SIZES, st.floats(-3.1, 3.1), st.lists(FINITE, min_size=3, max_size=3))
def test_voxel_size_and_volume_do_not_change_when_the_head_turns(
    sizes: list[float], angle: float, origin: list[float]
) -> None:
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, -1]]) @ np.diag(sizes)
    affine[:3, 3] = origin
    grid = Grid.make((4, 4, 4), affine)
    np.testing.assert_allclose(grid.voxel_sizes, sizes, rtol=1e-9)
    np.testing.assert_allclose(grid.voxel_ml, np.prod(sizes) / 1000, rtol=1e-9)


def test_grids_match_within_a_micrometre() -> None:
    def moved(by: float) -> Grid:
        affine = np.eye(4)
        affine[0, 3] += by
        return Grid.make((4, 4, 4), affine)

    assert moved(0).matches(moved(9e-4))
    assert not moved(0).matches(moved(5e-3))
    assert not moved(0).matches(Grid.make((4, 4, 5), np.eye(4)))
    assert str(GRID) == "7 x 6 x 5 voxels of 2 x 1.5 x 3 mm"


@pytest.mark.parametrize("read", [read_grid, read_voxels, read_labels])
def test_no_file_and_no_image_are_told_apart(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(HarmobenchError, match=r"found no file at .*none\.nii\.gz"):
        read(tmp_path / "none.nii.gz")
    with pytest.raises(HarmobenchError, match=r"found no file at"):
        read(tmp_path)
    for name in ("text.nii.gz", "text.nii", "text.txt"):
        (tmp_path / name).write_text("subject,scanner\n" * 100)
        with pytest.raises(HarmobenchError, match=rf"expected a NIfTI image.*{name}"):
            read(tmp_path / name)
    (tmp_path / "zip.nii.gz").write_bytes(gzip.compress(b"no header" * 100))
    with pytest.raises(HarmobenchError, match=r"expected a NIfTI image"):
        read(tmp_path / "zip.nii.gz")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2), (4, 4, 4, 1, 3)])
def test_what_is_not_three_dimensional_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / "n.nii.gz")
    found = " x ".join(str(n) for n in shape)
    with pytest.raises(HarmobenchError, match=rf"3-D image, found {len(shape)}-D \({found}\)"):
        read_grid(tmp_path / "n.nii.gz")


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 0.98))
def test_a_file_that_was_cut_off_is_refused_as_such(
    tmp_path_factory: pytest.TempPathFactory, kept: float
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    noise = np.random.default_rng(1).normal(size=(12, 12, 12)).astype(np.float32)
    for name in ("t1.nii.gz", "t1.nii"):
        write_image(folder / name, noise, Grid.make(noise.shape, np.eye(4)))
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(HarmobenchError, match=rf"expected (readable voxels|a NIfTI).*{name}"):
            read_voxels(folder / name)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.1, 0.95), st.integers(1, 255))
def test_a_gz_with_a_wrong_byte_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, where: float, change: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "t1.nii.gz"
    smooth = np.add.outer(np.add.outer(np.arange(12.0), np.arange(12.0)), np.arange(12.0))
    write_image(path, smooth.astype(np.float32), Grid.make(smooth.shape, np.eye(4)))
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= change
    path.write_bytes(bytes(content))
    try:
        assert read_voxels(path).shape == smooth.shape
    except HarmobenchError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_a_few_broken_voxels_are_clipped_and_nothing_else() -> None:
    values = np.random.default_rng(0).uniform(0.5, 1.5, 5000).astype(np.float32)
    np.testing.assert_array_equal(without_spikes(values), values)
    values[7] = 1e9
    clipped = without_spikes(values)
    assert 10 < clipped[7] < 20
    np.testing.assert_array_equal(np.delete(clipped, 7), np.delete(values, 7))
    assert without_spikes(values[:0]).size == 0
