"""SSIM equals scikit-image's, averaged over the brain, after one affine map for each method."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import structural_similarity

from harmobench.errors import SettingsError
from harmobench.imaging.sketch import Sketch
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Scan
from harmobench.metrics.ssim import SSIM, pairwise_ssim
from harmobench.metrics.windows import window_mean

SHAPE = (19, 23, 17)
SCANNERS = ("A", "B", "C", "D")


def by_scikit_image(a, b, mask, data_range=1.0):
    _, index = structural_similarity(a, b, win_size=7, data_range=data_range, full=True)
    return index[mask].mean(dtype=np.float64)


def smooth(seed, spread=0.15):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return (0.5 + spread * noise / noise.std()).astype(np.float32)


def ball():
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    return x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 < 0.7


def touching():
    """Build a brain that reaches three faces of the image."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:11, 4:, 9:] = True
    return mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("masks")


def make_scan(folder: Path, scanner, voxels, mask):
    path = folder / f"{scanner}-{np.flatnonzero(mask)[0]}-{np.count_nonzero(mask)}.nii.gz"
    if not path.exists():
        write_image(path, mask, Grid.make(SHAPE, np.eye(4)))
    return Scan("01", scanner, folder / "none.nii.gz", mask=path, memory=np.float32(voxels))


def score(metric, *subjects):
    """Rows of the last subject, with the state of all of them."""
    states = [metric.prepare(scan, None) for scans in subjects for scan in scans]
    return list(metric.score(tuple(subjects[-1]), metric.merge(states, None), None))


def subject(folder, images, mask=None):
    mask = ball() if mask is None else mask
    return [make_scan(folder, s, v, mask) for s, v in zip(SCANNERS, images, strict=False)]


@pytest.mark.parametrize("mask", [ball(), touching(), np.ones(SHAPE, dtype=bool)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_pairs_equal_scikit_image(mask, kind):
    images = [(smooth(seed) * mask).astype(kind) for seed in range(4)]
    images[3] = (0.8 * images[0] + 0.2 * images[1]).astype(kind)
    found = {(i, k): value for i, k, value in pairwise_ssim(images, [mask] * 4)}
    assert list(found) == list(combinations(range(4), 2))
    for (i, k), value in found.items():
        assert value == pytest.approx(by_scikit_image(images[i], images[k], mask), abs=1e-6)


def test_brains_that_differ_are_compared_where_they_meet():
    images = [smooth(seed) for seed in range(2)]
    ((_, _, value),) = pairwise_ssim(images, [ball(), touching()])
    expected = by_scikit_image(*images, ball() & touching())
    assert value == pytest.approx(expected, abs=1e-6)


def test_window_means_equal_scipys():
    values = np.random.default_rng(0).random((40, 12, 9))
    inner = (slice(3, -3), slice(None), slice(3, -3))
    expected = ndimage.uniform_filter1d(ndimage.uniform_filter1d(values, 7, axis=0), 7, axis=2)
    np.testing.assert_allclose(window_mean(values, (0, 2)), expected[inner], atol=1e-13)


def test_the_metric_maps_pooled_percentiles_before_scikit_image(folder):
    images = [100 + 40 * smooth(seed) + 3 * seed for seed in range(4)]
    others = [90 + 50 * smooth(seed) for seed in range(4, 8)]
    mask = ball()
    rows = score(SSIM(), subject(folder, others), subject(folder, images))
    pooled = Sketch.of(np.concatenate([v[mask] for v in [*images, *others]]))
    low, high = pooled.percentile(0.1), pooled.percentile(99.9)
    mapped = [np.float32((v - low) / (high - low) * mask) for v in images]
    names = list(combinations(SCANNERS, 2))
    assert [(r.scanner, r.reference_scanner) for r in rows] == names
    assert {(r.structure, r.status, r.reason) for r in rows} == {("brain", "ok", "")}
    for row, (a, b) in zip(rows, combinations(mapped, 2), strict=True):
        assert row.value == pytest.approx(by_scikit_image(a, b, mask), abs=1e-5)


@given(st.floats(0.01, 100), st.floats(-3, 3))
@settings(deadline=None, max_examples=20)
def test_affine_maps_of_a_whole_method_change_nothing(folder, scale, shift):
    images = [smooth(seed) for seed in range(3)]
    mapped = [scale * (image + shift) for image in images]
    before, after = (score(SSIM(), subject(folder, v)) for v in (images, mapped))
    # the percentiles are known to 2^-13 of their value, in units of a range of about 1
    for a, b in zip(before, after, strict=True):
        assert b.value == pytest.approx(a.value, abs=3e-3)


def test_what_lies_outside_the_brain_changes_nothing(folder):
    images = [smooth(seed) for seed in range(2)]
    filled = [np.where(ball(), image, 7.0 * k) for k, image in enumerate(images)]
    before, after = (score(SSIM(), subject(folder, v)) for v in (images, filled))
    assert [row.value for row in after] == [row.value for row in before]


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_symmetric_bounded_and_one_for_itself(a, b):
    images = [smooth(a), smooth(b), smooth(a)]
    found = {(i, k): v for i, k, v in pairwise_ssim(images, [ball()] * 3)}
    assert found[0, 2] == pytest.approx(1.0, abs=1e-5)
    assert found[0, 1] == pytest.approx(found[1, 2], abs=1e-6)
    assert -1.0 <= found[0, 1] <= 1.0 + 1e-6


@given(st.integers(0, 1000), st.sampled_from(["noise", "gamma", "blur"]))
@settings(deadline=None, max_examples=20)
def test_falls_as_a_distortion_grows(seed, kind):
    image = np.clip(smooth(seed), 0.05, 1)
    noise = np.random.default_rng(seed + 1).normal(size=SHAPE).astype(np.float32)
    changed = {
        "noise": lambda s: image + 0.05 * s * noise,
        "gamma": lambda s: image ** (1 + 0.4 * s),
        "blur": lambda s: ndimage.gaussian_filter(image, 0.4 * s),
    }[kind]
    images = [image] + [np.float32(changed(s)) for s in (0, 1, 2, 3)]
    found = [v for i, _, v in pairwise_ssim(images, [ball()] * 5) if i == 0]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.999 * found[0]


def test_the_order_of_states_does_not_matter(folder):
    metric = SSIM()
    states = [metric.prepare(s, None) for s in subject(folder, [smooth(k) for k in range(4)])]
    first, second = metric.merge(states, None), metric.merge(states[::-1], None)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_without_a_map_images_are_scored_as_they_are(folder):
    mask = ball()
    images = [np.float32(np.where(mask, 900 + 100 * smooth(k), -5.0)) for k in range(2)]
    (row,) = score(SSIM(map="none"), subject(folder, images))
    pooled = Sketch.of(np.concatenate([v[mask] for v in images]))
    span = pooled.percentile(99.9) - pooled.percentile(0.1)
    exact = [image.astype(np.float64) for image in images]
    assert row.value == pytest.approx(by_scikit_image(*exact, mask, span), abs=1e-6)
    assert row.reason == f"no map: data range {span:g}, background -5"


def test_without_a_map_a_shift_changes_the_score(folder):
    mask = ball()
    shifted = ([np.where(mask, smooth(k) + shift, 0) for k in range(2)] for shift in (0.0, 5.0))
    first, second = (score(SSIM(map="none"), subject(folder, v))[0].value for v in shifted)
    assert abs(first - second) > 1e-3


def test_a_constant_method_is_undefined(folder):
    rows = score(SSIM(), subject(folder, [np.full(SHAPE, 3.0)] * 3))
    assert len(rows) == 3
    assert all(row.status == "undefined" and row.value is None and row.reason for row in rows)


def test_brains_that_never_meet_are_undefined(folder):
    left, right = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
    left[2:8, 2:8, 2:8], right[10:15, 2:8, 2:8] = True, True
    scans = [make_scan(folder, "A", smooth(0), left), make_scan(folder, "B", smooth(1), right)]
    (row,) = score(SSIM(), scans)
    assert (row.status, row.value) == ("undefined", None)


def test_another_map_is_refused(folder):
    with pytest.raises(SettingsError, match=r"expected ssim\.map to be 'pooled' or 'none'"):
        score(SSIM(map="own"), subject(folder, [smooth(0), smooth(1)]))
