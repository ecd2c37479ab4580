"""Sharpness against a plain formula, and what it must catch."""

import guard_cohort as world
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from harmobench.errors import SettingsError
from harmobench.imaging.landmarks import eroded
from harmobench.metrics.sharpness import Sharpness, projection


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return world.make(tmp_path_factory.mktemp("cohort"), 1)


def blurred(voxels, width=0.8):
    """Blur within the brain, so that background does not come in."""
    weight = ndimage.gaussian_filter(world.BRAIN.astype(float), width)
    return ndimage.gaussian_filter(voxels * world.BRAIN.astype(float), width) / (weight + 1e-9)


def values(context, scans, **parameters):
    rows = list(Sharpness(**parameters).score(scans, None, context))
    assert [row.scanner for row in rows] == [scan.scanner for scan in scans]
    assert {(row.structure, row.status, row.reason) for row in rows} == {("brain", "ok", "")}
    return np.array([row.value for row in rows])


def by_hand(scans, raws, share=0.1):
    """The same with scipy's erosion and numpy's gradient of whole images."""
    inner = ndimage.binary_erosion(world.BRAIN, iterations=2)
    mean = np.mean([world.in_units(raw.voxels()) for raw in raws], axis=0)
    size = np.sqrt(sum(g**2 for g in np.gradient(mean, *world.SIZES)))
    edge = inner & (size >= np.quantile(size[inner], 1 - share))
    found = []
    for scan, raw in zip(scans, raws, strict=True):
        own, before = (
            np.stack(np.gradient(world.in_units(s.voxels()), *world.SIZES))[:, edge]
            for s in (scan, raw)
        )
        found.append((own * before).sum() / (before**2).sum())
    return found


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_equals_the_plain_formula(cohort, share):
    context, raws = cohort
    rng = np.random.default_rng(0)
    scans = world.changed(raws, lambda v, s: blurred(v) + rng.normal(0, 0.1, v.shape) * v.std())
    found = values(context, scans, share=share)
    np.testing.assert_allclose(found, by_hand(scans, raws, share), rtol=2e-5)


def test_raw_is_exactly_1(cohort):
    context, raws = cohort
    assert values(context, raws).tolist() == [1.0, 1.0, 1.0]


@given(st.floats(0.01, 100), st.floats(-3, 3))
@settings(deadline=None, max_examples=20)
def test_rising_affine_maps_change_nothing(cohort, scale, shift):
    context, raws = cohort
    before = values(context, world.changed(raws, lambda v, s: blurred(v)))
    mapped = world.changed(raws, lambda v, s: scale * (blurred(v) + shift * v.std()))
    np.testing.assert_allclose(values(context, mapped), before, rtol=1e-4)


def test_falls_with_blur_and_rises_with_sharpening(cohort):
    context, raws = cohort
    widths = [values(context, world.changed(raws, lambda v, s, w=w: blurred(v, w))).max()
              for w in (0.5, 0.8, 1.2)]  # fmt: skip
    assert widths == sorted(widths, reverse=True)
    assert widths[0] < 0.95
    masked = world.changed(raws, lambda v, s: 1.5 * v - 0.5 * blurred(v))
    assert values(context, masked).min() > 1.05


def test_shared_noise_does_not_bring_blur_back_to_1(cohort):
    """The energy of the gradient, which the metric is not, does come back."""
    context, raws = cohort
    noise = np.random.default_rng(5).normal(size=world.SHAPE)
    blur = world.changed(raws, lambda v, s: blurred(v))

    def energy(scan, raw):
        inner = ndimage.binary_erosion(world.BRAIN, iterations=2)
        sizes = [
            sum(
                (g[inner] ** 2).sum() for g in np.gradient(world.in_units(s.voxels()), *world.SIZES)
            )
            for s in (scan, raw)
        ]
        return np.sqrt(sizes[0] / sizes[1])

    noisy = []
    for scan, raw in zip(blur, raws, strict=True):
        voxels = scan.voxels()
        unit = np.ptp(voxels) / np.ptp(world.in_units(voxels))
        amounts = (
            scan.with_voxels(np.float32((voxels + a * unit * noise) * world.BRAIN))
            for a in np.linspace(0, 0.6, 25)
        )
        noisy.append(min(amounts, key=lambda s: abs(energy(s, raw) - 1)))
        assert energy(noisy[-1], raw) == pytest.approx(1, abs=0.05)
    plain = values(context, blur)
    assert plain.max() < 0.8
    np.testing.assert_allclose(values(context, tuple(noisy)), plain, atol=0.08)


def test_edges_do_not_depend_on_a_scanners_scale(cohort):
    context, raws = cohort
    louder = raws[0].with_voxels(np.float32(1000 * raws[0].voxels()))
    scans = world.changed(raws, lambda v, s: blurred(v))
    found = values(world.with_raw(context, louder), scans)
    np.testing.assert_allclose(found, values(context, scans), rtol=1e-4)


def test_lost_contrast_is_undefined(cohort):
    context, raws = cohort
    scans = (raws[0], *world.changed(raws[1:], lambda v, s: -v))
    rows = list(Sharpness().score(scans, None, context))
    assert [row.status for row in rows] == ["ok", "undefined", "undefined"]
    assert all(row.value is None and row.reason.startswith("contrast_lost:") for row in rows[1:])


def test_a_raw_without_contrast_leaves_the_others(cohort):
    context, raws = cohort
    flat = raws[0].with_voxels(np.zeros(world.SHAPE, dtype=np.float32))
    rows = list(Sharpness().score(raws, None, world.with_raw(context, flat)))
    assert [row.status for row in rows] == ["undefined", "ok", "ok"]
    assert rows[0].reason.startswith("contrast_lost: RAW")
    assert [row.value for row in rows[1:]] == [1.0, 1.0]
    nothing = context
    for raw in raws:
        nothing = world.with_raw(nothing, raw.with_voxels(flat.voxels()))
    rows = list(Sharpness().score(raws, None, nothing))
    assert {row.status for row in rows} == {"undefined"}


def test_a_brain_without_inner_voxels_is_undefined(cohort):
    context, raws = cohort
    rows = list(Sharpness(erosion=30).score(raws, None, context))
    assert {(row.status, row.value) for row in rows} == {("undefined", None)}


@pytest.mark.parametrize("parameters", [{"erosion": 0}, {"share": 0.0}, {"share": 1.1}])
def test_parameters_that_cannot_be(cohort, parameters):
    context, raws = cohort
    with pytest.raises(SettingsError, match=next(iter(parameters))):
        list(Sharpness(**parameters).score(raws, None, context))


def test_projection_by_hand():
    raw = np.array([[3.0, 0], [0, 4]])
    assert projection(raw / 2, raw) == 0.5
    assert projection(np.array([[0.0, 9], [9, 0]]), raw) == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.sampled_from("CF"))
@settings(deadline=None, max_examples=30)
def test_erosion_equals_scipys(seed, by, order):
    mask = np.asarray(np.random.default_rng(seed).random((7, 8, 6)) < 0.93, order=order)
    expected = ndimage.binary_erosion(mask, iterations=by) if by else mask
    np.testing.assert_array_equal(eroded(mask, by), expected)


def test_erosion_stops_where_too_little_would_remain():
    mask = np.ones((7, 7, 7), dtype=bool)
    assert [eroded(mask, 3, least).sum() for least in (1, 2, 28, 126, 344)] == [
        1,
        27,
        125,
        343,
        343,
    ]
    assert mask.all()
