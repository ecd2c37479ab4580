"""Noise against scipy's convolution, and what it must catch."""

import guard_cohort as world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from harmobench.errors import SettingsError
from harmobench.metrics.noise import Noise, fine_variation


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return world.make(tmp_path_factory.mktemp("cohort"), 1)


def values(context, scans, **parameters):
    rows = list(Noise(**parameters).score(scans, None, context))
    assert [row.scanner for row in rows] == [scan.scanner for scan in scans]
    assert {(row.structure, row.status, row.reason) for row in rows} == {("wm", "ok", "")}
    return np.array([row.value for row in rows])


def by_hand(scan, raw, depth, reach):
    kernel = np.zeros((2 * reach + 1,) * 3)
    kernel[reach, reach, [0, -1]] = kernel[reach, [0, -1], reach] = -1 / 6
    kernel[[0, -1], reach, reach] = -1 / 6
    kernel[reach, reach, reach] = 1
    deep = ndimage.binary_erosion(world.LABELS == 3, iterations=depth)
    own, before = (
        ndimage.convolve(world.in_units(s.voxels()), kernel)[deep].std() for s in (scan, raw)
    )
    return own / before


def noisier(scans, amount, seed=3):
    """Add noise of a share of each image's own distance of grey and white matter."""
    field = np.random.default_rng(seed).normal(size=world.SHAPE)

    def change(voxels, scan):
        unit = np.ptp(voxels) / np.ptp(world.in_units(voxels))
        return voxels + amount * unit * field

    return world.changed(scans, change)


@pytest.mark.parametrize(("depth", "reach"), [(2, 1), (1, 1), (2, 2), (3, 1)])
def test_equals_the_plain_formula(cohort, depth, reach):
    context, raws = cohort
    scans = noisier(raws, 0.05)
    found = values(context, scans, depth=depth, reach=reach, least=1)
    expected = [by_hand(s, r, depth, reach) for s, r in zip(scans, raws, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_raw_is_exactly_1(cohort):
    context, raws = cohort
    assert values(context, raws).tolist() == [1.0, 1.0, 1.0]


@given(st.floats(0.01, 100), st.floats(-3, 3))
@settings(deadline=None, max_examples=20)
def test_rising_affine_maps_change_nothing(cohort, scale, shift):
    context, raws = cohort
    scans = noisier(raws, 0.05)
    mapped = world.changed(scans, lambda v, s: scale * (v + shift * v.std()))
    np.testing.assert_allclose(values(context, mapped), values(context, scans), rtol=1e-3)


def test_rises_with_noise_and_falls_with_blur(cohort):
    context, raws = cohort
    found = [values(context, noisier(raws, amount)) for amount in (0, 0.03, 0.1, 0.3)]
    assert (np.diff(found, axis=0) > 0).all()
    # variances of independent noise add up: three times the noise, nine times what is added
    np.testing.assert_allclose((found[3] ** 2 - 1) / (found[2] ** 2 - 1), 9, rtol=0.15)
    blurred = world.changed(raws, lambda v, s: ndimage.gaussian_filter(v, 1))
    assert values(context, blurred).max() < 0.5


def test_lost_contrast_is_undefined(cohort):
    context, raws = cohort
    scans = (raws[0], *world.changed(raws[1:], lambda v, s: -v))
    rows = list(Noise().score(scans, None, context))
    assert [row.status for row in rows] == ["ok", "undefined", "undefined"]
    assert all(row.value is None and row.reason.startswith("contrast_lost:") for row in rows[1:])


def test_raw_must_have_contrast_and_noise(cohort):
    context, raws = cohort
    labels = raws[0].with_voxels(np.float32(world.LABELS))
    upside_down = raws[1].with_voxels(-raws[1].voxels())
    context = world.with_raw(world.with_raw(context, labels), upside_down)
    rows = list(Noise().score(raws, None, context))
    assert [row.status for row in rows] == ["undefined", "undefined", "ok"]
    assert "does not vary" in rows[0].reason
    assert rows[1].reason.startswith("contrast_lost: RAW")


def test_a_brain_without_deep_white_matter_is_undefined(cohort):
    context, raws = cohort
    rows = list(Noise(reach=9, depth=9).score(raws, None, context))
    assert {(row.status, row.value) for row in rows} == {("undefined", None)}
    assert all("deep white matter" in row.reason for row in rows)


@pytest.mark.parametrize("parameters", [{"reach": 0}, {"depth": 1, "reach": 2}])
def test_parameters_that_cannot_be(cohort, parameters):
    context, raws = cohort
    with pytest.raises(SettingsError, match=next(iter(parameters))):
        list(Noise(**parameters).score(raws, None, context))


def test_a_ramp_has_no_fine_variation():
    x, y, z = np.indices((6, 7, 8), dtype=np.float32)
    ramp = (3 * x - 2 * y + z).ravel(order="F")
    inner = np.zeros((6, 7, 8), dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    where = np.flatnonzero(inner.ravel(order="F"))
    assert fine_variation(ramp, where, inner.shape) == pytest.approx(0, abs=1e-12)
    assert fine_variation(ramp**2, where, inner.shape) == pytest.approx(0, abs=1e-9)
    assert fine_variation(ramp**3, where, inner.shape) > 1
