"""RMSE to the truth equals scikit-learn's regression over all scans, and minds no affine map."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error

from harmobench.atlas import Atlas
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Scan
from harmobench.metrics.truth_rmse import TruthRMSE, affine, moments, pooled

SHAPE = (9, 8, 7)
GRID = Grid.make(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))
SCANNERS = ("A", "B", "C")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("truth")


@pytest.fixture(scope="module")
def tissues(folder):
    """Write tissue labels 1 to 3 over the brain, and the brain mask: all but the border."""
    labels = np.random.default_rng(0).integers(1, 4, SHAPE).astype(np.int16)
    brain = np.zeros(SHAPE, dtype=bool)
    brain[1:-1, 1:-1, 1:-1] = True
    write_image(folder / "labels.nii.gz", labels, GRID)
    write_image(folder / "mask.nii.gz", brain, GRID)
    return labels, brain


@pytest.fixture(scope="module")
def context(folder, tissues):
    codes = {"csf": 1, "gm": 2, "wm": 3}
    label = folder / "labels.nii.gz"
    atlas = Atlas("test", "test", "", label, label, label, codes, None, {})
    return Context(seed=0, atlas=atlas, scratch=folder)


def true_image(tissues, seed=0, contrast=0.25):
    """White matter brighter than grey, by `contrast`, with some variation."""
    labels, brain = tissues
    noise = np.random.default_rng(seed).normal(0, 0.05, SHAPE)
    return np.float32(np.where(brain, 0.5 + contrast * labels + noise, 0))


def harmonized(truth, seed, noise=0.1):
    changed = truth**1.3 + np.random.default_rng(seed).normal(0, noise, SHAPE)
    return np.float32(40 * changed - 7)


def make_scan(folder, name, image, truth, scanner="A"):
    path = folder / f"{name}_truth.nii.gz"
    write_image(path, truth, GRID)
    values = {"truth_image": str(path)}
    return Scan("01", scanner, path, folder / "mask.nii.gz", values, memory=np.float32(image))


def score(scans, context):
    metric = TruthRMSE()
    state = metric.merge([metric.prepare(scan, context) for scan in scans], context)
    return list(metric.score(tuple(scans), state, context))


def cohort(folder, tissues, seeds=(0, 1, 2), change=lambda image: image):
    scans = []
    for k, scanner in zip(seeds, SCANNERS, strict=True):
        truth = true_image(tissues, k)
        scans.append(make_scan(folder, k, change(harmonized(truth, k + 10)), truth, scanner))
    return scans


def test_equals_scikit_learn(folder, tissues, context):
    labels, brain = tissues
    scans = cohort(folder, tissues)
    truths = [true_image(tissues, k)[brain] for k in range(3)]
    images = [scan.voxels()[brain].astype(np.float64) for scan in scans]
    fitted = LinearRegression().fit(np.concatenate(images)[:, None], np.concatenate(truths))
    rows = score(scans, context)
    assert [(row.structure, row.scanner, row.status) for row in rows] == [
        ("brain", scanner, "ok") for scanner in SCANNERS
    ]
    for row, image, truth in zip(rows, images, truths, strict=True):
        error = root_mean_squared_error(truth, fitted.predict(image[:, None]))
        unit = np.median(truth[labels[brain] == 3]) - np.median(truth[labels[brain] == 2])
        assert row.value == pytest.approx(error / unit, rel=1e-6)


@given(st.floats(0.01, 100), st.floats(-1e3, 1e3), st.booleans())
@settings(deadline=None, max_examples=15)
def test_an_affine_map_of_the_whole_method_changes_nothing(
    folder, tissues, context, scale, shift, turned
):
    def change(image):
        return (-scale if turned else scale) * image.astype(np.float64) + shift

    plain, mapped = (
        score(cohort(folder, tissues, change=each), context) for each in (lambda v: v, change)
    )
    # float32 keeps 24 bits of the larger of shift and image
    tolerance = 1e-5 + 1e-6 * abs(shift) / scale
    for a, b in zip(plain, mapped, strict=True):
        assert b.value == pytest.approx(a.value, rel=tolerance)


def test_an_affine_map_of_one_scan_alone_is_an_error(folder, tissues, context):
    scans = cohort(folder, tissues)
    before = score(scans, context)
    scans[0] = scans[0].with_voxels(1.3 * scans[0].voxels())
    assert score(scans, context)[0].value > 1.1 * before[0].value


def test_the_truth_itself_has_no_error(folder, tissues, context):
    truths = [true_image(tissues, k) for k in range(3)]
    scans = [make_scan(folder, k, 5 * truth + 2, truth) for k, truth in enumerate(truths)]
    assert all(row.value == pytest.approx(0, abs=1e-5) for row in score(scans, context))


def test_more_noise_is_more_error(folder, tissues, context):
    truth = true_image(tissues)
    found = []
    for noise in (0.0, 0.05, 0.1, 0.2, 0.4):
        (row,) = score([make_scan(folder, "n", harmonized(truth, 3, noise), truth)], context)
        found.append(row.value)
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


NUMBERS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=0, max_size=6)


@given(st.lists(NUMBERS, min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_every_order_of_states_gives_the_same_numbers(samples):
    states = [moments(np.float32(s), np.float32(s[::-1])) for s in samples]
    first = pooled(states)
    for order in itertools.permutations(states):
        assert pooled(order) == first
    x = np.concatenate([np.asarray(s, dtype=np.float64) for s in samples])
    y = np.concatenate([np.asarray(s[::-1], dtype=np.float64) for s in samples])
    assert first["n"] == x.size
    if x.size:
        assert first["x"] == pytest.approx(x.mean(), abs=1e-9)
        size = 1e-9 * (1 + np.abs(x).max() * np.abs(y).max()) * x.size
        assert first["xx"] == pytest.approx(((x - x.mean()) ** 2).sum(), abs=size)
        assert first["xy"] == pytest.approx(((x - x.mean()) * (y - y.mean())).sum(), abs=size)


def test_merging_in_groups_gives_the_same_line():
    rng = np.random.default_rng(0)
    states = [moments(rng.normal(k, 1, 50), rng.normal(k, 1, 50)) for k in range(6)]
    whole = pooled(states)
    parts = pooled([pooled(states[:2]), pooled(states[2:])])
    for name, value in whole.items():
        assert parts[name] == pytest.approx(float(value), rel=1e-12)


def test_a_small_contrast_far_from_zero_keeps_its_line():
    """Plain sums of squares lose 11 of their 16 digits here."""
    truth = np.random.default_rng(0).normal(1, 0.2, 500)
    steps = np.round(200 * truth)
    near, _ = affine(moments(steps, truth))
    far, _ = affine(moments(np.float32(steps + 1.6e7), truth))  # whole numbers, held exactly
    assert far == pytest.approx(near, rel=1e-9)
    assert near == pytest.approx(np.polyfit(steps, truth, 1)[0], rel=1e-9)


def test_a_constant_method_is_undefined(folder, tissues, context):
    truth = true_image(tissues)
    (row,) = score([make_scan(folder, "c", np.full(SHAPE, 3.0), truth)], context)
    assert (row.value, row.status) == (None, "undefined")
    assert "no contrast" in row.reason


def test_a_constant_truth_is_undefined(folder, tissues, context):
    truth = np.ones(SHAPE, dtype=np.float32)
    (row,) = score([make_scan(folder, "flat", true_image(tissues), truth)], context)
    assert (row.value, row.status) == (None, "undefined")
    assert "true image" in row.reason


def test_an_empty_brain_is_undefined(folder, tissues, context):
    truth = true_image(tissues)
    write_image(folder / "empty.nii.gz", np.zeros(SHAPE, dtype=bool), GRID)
    scan = make_scan(folder, "e", harmonized(truth, 0), truth)
    empty = Scan("01", "B", scan.image, folder / "empty.nii.gz", scan.values, memory=scan.memory)
    rows = score([scan, empty], context)
    assert [row.status for row in rows] == ["ok", "undefined"]


def test_another_grid_is_not_applicable_and_disturbs_no_other_scan(folder, tissues, context):
    scans = cohort(folder, tissues)
    alone = score(scans, context)
    path = folder / "other_grid.nii.gz"
    write_image(path, true_image(tissues), Grid.make(SHAPE, np.eye(4)))
    other = Scan("02", "A", scans[0].image, scans[0].mask, {"truth_image": str(path)})
    rows = score([*scans, other], context)
    assert [row.value for row in rows[:3]] == [row.value for row in alone]
    assert (rows[3].value, rows[3].status) == (None, "not_applicable")
    assert "another grid" in rows[3].reason
