"""Slice consistency correlates scikit-image's 2-D SSIM of neighbouring slices with RAW's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import structural_similarity

from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Scan
from harmobench.metrics.slice_consistency import SliceConsistency, plane_axes, slice_profiles

SHAPE = (24, 28, 20)
PLANES = ("sagittal", "coronal", "axial")
LEAST = 60


def ball():
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    return x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 < 0.8


def anatomy(seed=0):
    """Detail that is coarser towards one corner, so that profiles are not flat."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=SHAPE)
    fine, coarse = (ndimage.gaussian_filter(noise, s) for s in (0.8, 2.5))
    weight = np.mean(np.meshgrid(*(np.linspace(0, 1, n) for n in SHAPE), indexing="ij"), axis=0)
    mixed = weight * fine / fine.std() + (1 - weight) * coarse / coarse.std()
    return np.float32(100 + 15 * mixed)


def by_scikit_image(voxels, brain, axis):
    low, high = np.percentile(voxels[brain], (0.1, 99.9))
    mapped = np.moveaxis((voxels - low) / (high - low) * brain, axis, 0)
    mask = np.moveaxis(brain, axis, 0)
    profile = []
    for k in range(len(mapped) - 1):
        if min(mask[k].sum(), mask[k + 1].sum()) < LEAST:
            continue
        _, index = structural_similarity(
            mapped[k], mapped[k + 1], win_size=7, data_range=1, full=True
        )
        profile.append(index[mask[k] & mask[k + 1]].mean())
    return np.array(profile)


def harmonized(amount, seed=1):
    """Change intensities from axial slice to axial slice, as a 2-D network may."""
    jitter = np.random.default_rng(seed).normal(1, amount, SHAPE[2])
    return np.float32(anatomy() * jitter)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    grid = Grid.make(SHAPE, np.eye(4))
    write_image(folder / "mask.nii.gz", ball(), grid)
    write_image(folder / "raw.nii.gz", anatomy(), grid)
    return Scan("01", "GE", folder / "raw.nii.gz", mask=folder / "mask.nii.gz")


@pytest.fixture(scope="module")
def context(raw):
    return Context(seed=0, atlas=None, scratch=raw.image.parent, raws={("01", "GE"): raw})


def values(context, scan):
    rows = list(SliceConsistency(least=LEAST).score((scan,), None, context))
    assert [row.structure for row in rows] == ["axial", "sagittal", "coronal"]
    assert {(row.scanner, row.status) for row in rows} == {("GE", "ok")}
    return {row.structure: row.value for row in rows}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_profiles_equal_scikit_image(axis):
    found = slice_profiles(anatomy(), ball(), LEAST)[axis]
    expected = by_scikit_image(anatomy(), ball(), axis)
    assert 5 < expected.size < SHAPE[axis] - 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_profile_of_a_brain_at_the_image_edge():
    brain = np.ones(SHAPE, dtype=bool)
    expected = by_scikit_image(anatomy(), brain, 1)
    np.testing.assert_allclose(slice_profiles(anatomy(), brain, LEAST)[1], expected, atol=1e-5)


def test_the_score_is_pearsons_correlation_with_raw(context, raw):
    changed = harmonized(0.03)
    found = values(context, raw.with_voxels(changed))
    for axis, plane in enumerate(PLANES):
        own, before = (by_scikit_image(v, ball(), axis) for v in (changed, anatomy()))
        assert found[plane] == pytest.approx(np.corrcoef(own, before)[0, 1], abs=1e-4)


def test_raw_is_consistent_with_itself(context, raw):
    assert values(context, raw) == pytest.approx(dict.fromkeys(PLANES, 1.0), abs=1e-12)


@given(st.floats(0.01, 100), st.floats(-3, 3))
@settings(deadline=None, max_examples=20)
def test_affine_maps_change_nothing(context, raw, scale, shift):
    changed = harmonized(0.02)
    before = values(context, raw.with_voxels(changed))
    after = values(context, raw.with_voxels(np.float32(scale * (changed / 100 + shift))))
    assert after == pytest.approx(before, abs=1e-3)


def test_falls_as_axial_slices_drift_apart(context, raw):
    found = [values(context, raw.with_voxels(harmonized(s)))["axial"] for s in (0, 0.05, 0.3)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.999 > 0.9 > found[-1]


def test_planes_follow_the_affine():
    swapped = np.array([[0, 0, -2.0, 0], [1.5, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    assert plane_axes(np.eye(4)) == {"sagittal": 0, "coronal": 1, "axial": 2}
    assert plane_axes(swapped) == {"sagittal": 2, "coronal": 0, "axial": 1}


@pytest.mark.parametrize("least", [LEAST, 10_000])
def test_constant_images_and_thin_brains_are_undefined(context, raw, least):
    voxels = np.zeros(SHAPE, dtype=np.float32) if least == LEAST else anatomy()
    scan = raw.with_voxels(voxels)
    rows = list(SliceConsistency(least=least).score((scan,), None, context))
    assert [(row.value, row.status) for row in rows] == [(None, "undefined")] * 3
    assert all(row.reason for row in rows)
