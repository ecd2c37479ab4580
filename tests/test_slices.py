from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, inv_ornt_aff
from PIL import Image

from harmobench.imaging import mosaics, slices
from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.store import read_json

SIDES = ("RL", "AP", "SI")
CODES = st.permutations(range(3)).flatmap(
    lambda order: st.tuples(*(st.sampled_from(SIDES[axis]) for axis in order))
)
SIZES = st.tuples(*[st.sampled_from([0.8, 1.0, 2.0, 3.0])] * 3)


def grid_of(codes: tuple[str, ...], sizes: tuple[float, ...]) -> Grid:
    """Return a grid whose axes run to these sides."""
    turns = axcodes2ornt(codes)
    shape = (20, 26, 22)
    own = [shape[int(axis)] for axis, _ in turns]
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = (-7, 11, 3)
    return Grid.make(own, affine @ np.linalg.inv(inv_ornt_aff(turns, own)))


def world(grid: Grid) -> list[FloatArray]:
    """Millimetres to the right, to the front and up of each voxel."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    mm = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return [mm[..., axis].astype(np.float32) for axis in range(3)]


def ball(grid: Grid) -> BoolArray:
    axes = [np.linspace(-1, 1, n) for n in grid.shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.asarray(x**2 + y**2 + z**2 < 0.9)


def kept(voxels: FloatArray, grid: Grid, brain: BoolArray | None = None) -> dict[str, Any]:
    brain = ball(grid) if brain is None else brain
    x = world(grid)[0]
    tissues = {"gm": brain & (x < np.median(x)), "wm": brain & (x >= np.median(x))}
    return slices.picture_of(voxels, brain, tissues, grid)


RAS = grid_of(("R", "A", "S"), (1.0, 1.0, 1.0))


@settings(deadline=None, max_examples=25)
@given(codes=CODES, sizes=SIZES)
def test_slices_lie_where_they_say_however_the_image_is_stored(
    codes: tuple[str, ...], sizes: tuple[float, ...]
) -> None:
    # an image of its own coordinates says where each of its pixels comes from
    grid = grid_of(codes, sizes)
    for axis, name in enumerate(slices.AXES):
        picture = kept(world(grid)[axis], grid)
        stack = slices.read_stack(picture, name)
        step = np.ptp(picture["stack_range"]) / slices.STEPS
        for pixels, brain, at in zip(stack.pixels, stack.brain, stack.at, strict=True):
            # a block at the brain's edge averages the brain's part of it alone
            assert np.abs(pixels[brain] - at).max() <= grid.voxel_sizes.max() * 2 + step
            assert abs(np.median(pixels[brain]) - at) < 1e-3 + step
        assert (np.diff(stack.at) > 0).all()
        assert np.ptp(picture[name][picture[f"{name}_brain"]]) < 1e-3
        other = [k for k in range(3) if k != axis]
        for place, own in enumerate(other):
            along = kept(world(grid)[own], grid)[name]
            assert (np.diff(along, axis=place) > 0).all(), "first axis to the right, or front; up"


def test_the_same_slices_are_kept_of_every_scan_whatever_lies_outside() -> None:
    rng = np.random.default_rng(0)
    brain = ball(RAS)
    inside = rng.normal(size=RAS.shape).astype(np.float32)
    one, other = (kept(np.where(brain, inside, out), RAS) for out in (0, -1e6))
    for name in one:
        if name not in slices.AXES:  # what is outside is another; nothing of it is inside
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_steps_are_finer_than_can_be_seen() -> None:
    rng = np.random.default_rng(1)
    voxels = rng.normal(size=RAS.shape).astype(np.float32)
    picture = kept(voxels, RAS)
    stack = slices.read_stack(picture, "axial")
    index = np.rint(stack.at - RAS.affine[2, 3]).astype(int)
    wanted = np.moveaxis(voxels, 2, 0)[index]
    step = np.ptp(picture["stack_range"]) / slices.STEPS
    np.testing.assert_allclose(stack.pixels[stack.brain], wanted[stack.brain], atol=step)


def test_a_broken_voxel_does_not_coarsen_the_others() -> None:
    rng = np.random.default_rng(2)
    voxels = rng.normal(5, 1, RAS.shape).astype(np.float32)
    voxels[10, 13, 11] = 1e7
    assert np.ptp(kept(voxels, RAS)["stack_range"]) < 200


@pytest.mark.parametrize(
    ("sizes", "edge"),
    [((1, 1, 1), (2, 2, 2)), ((0.5, 0.5, 0.5), (4, 4, 4)), ((1, 1, 3), (2, 2, 1))],
)
def test_blocks_are_nearly_cubes(sizes: tuple[float, ...], edge: tuple[int, ...]) -> None:
    shape = [round(extent / mm) + 1 for extent, mm in zip((150, 182, 150), sizes, strict=True)]
    assert slices.block_shape(np.ones(shape, dtype=bool), np.array(sizes)) == edge


def test_blocks_average_brain_alone() -> None:
    voxels = np.full((5, 4, 2), 9.0, dtype=np.float32)
    brain = np.ones(voxels.shape, dtype=bool)
    brain[0] = False
    voxels[~brain] = -1000
    voxels[1, 0, 0] = 13
    means, inside = slices.block_means(voxels, brain, (2, 2, 2))
    assert means.shape == (3, 2, 1)
    np.testing.assert_allclose(means[0, :, 0], [10, 9])
    assert inside[:2].all()
    assert inside[2].all()  # the last block has one of its two layers: half


def test_medians_are_those_of_the_tissues() -> None:
    x = world(RAS)[0]
    picture = kept(np.where(x < np.median(x), 3, 7).astype(np.float32), RAS)
    assert tuple(picture["medians"]) == (3, 7)
    brain = ball(RAS)
    nothing = {name: np.zeros(RAS.shape, dtype=bool) for name in ("gm", "wm")}
    assert np.isnan(slices.picture_of(x, brain, nothing, RAS)["medians"]).all()


def test_grey_survives_flat_and_broken_pixels() -> None:
    brain = np.ones((2, 2), dtype=bool)
    flat = mosaics.grey(np.full((2, 2), 3.0, dtype="float32"), brain, 3.0, 3.0)
    np.testing.assert_array_equal(flat, 0.5)
    broken = np.array([[np.nan, np.inf], [0, 1]], dtype="float32")
    assert np.isfinite(mosaics.grey(broken, brain, 0.0, 1.0)).all()
    assert mosaics.common_window([]) == (0.0, 1.0)


def opened(content: bytes) -> FloatArray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=np.float32)


def test_a_mosaic_has_three_views_side_by_side_and_black_around_them() -> None:
    right, front, up = world(RAS)
    for axis, (tile, across) in {0: (0, 1), 1: (2, 1), 2: (1, 0)}.items():
        values = (right, front, up)[axis]
        low, high = float(values.min()), float(values.max())
        shown = opened(mosaics.mosaic(kept(values, RAS), low, high))
        assert shown.shape[1] == mosaics.MOSAIC_WIDTH
        # widths of axial, coronal, sagittal are 20, 20 and 26 voxels, but for the ball's edge
        edges = np.rint(np.array([0, 20, 40, 66]) / 66 * mosaics.MOSAIC_WIDTH).astype(int)
        own = shown[:, edges[tile] : edges[tile + 1]]
        middle = own[len(own) // 2] if across else own[::-1, own.shape[1] // 2]
        lit = middle[middle > 20]
        assert lit[-8:].mean() > lit[:8].mean() + 50, "rises to the right, to the front, or up"
        assert own[:3, :3].max() < 30


def test_a_mosaic_keeps_the_brains_shape() -> None:
    flat = grid_of(("R", "A", "S"), (1.0, 1.0, 3.0))
    ratio = [
        np.divide(*opened(mosaics.mosaic(kept(world(g)[0], g), 0, 1)).shape) for g in (RAS, flat)
    ]
    np.testing.assert_allclose(ratio, [26 / 66, 66 / 66], atol=0.03)


def test_mosaics_of_a_method_share_a_window_and_are_equal_byte_by_byte(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.npz" for name in ("a", "b")]
    for place, path in enumerate(paths):
        np.savez(path, **kept(world(RAS)[0] + 100 * place, RAS))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mosaics.write_mosaics(paths, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["00000.webp", "00001.webp", mosaics.WINDOW_FILE]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    dark, bright = (opened((tmp_path / "one" / name).read_bytes()).max() for name in files[:2])
    assert dark < 60 < 200 < bright
    low, high = read_json(tmp_path / "one" / mosaics.WINDOW_FILE)
    assert (low, high) == mosaics.common_window(paths)
