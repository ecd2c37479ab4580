"""The built-in segmenter: against brute force, scikit-learn, dipy, known truth and real labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from harmobench.atlas import Atlas, icbm152
from harmobench.errors import MeasurementError
from harmobench.imaging.canonical import canonical
from harmobench.imaging.volume import Grid, read_labels, read_voxels, write_image
from harmobench.interface import Context, Scan, Segmenter
from harmobench.tools import hmrf
from harmobench.tools.hmrf import HMRF

SHARED = Path(__file__).resolve().parents[2] / "shared"
OASIS = SHARED / "data" / "malf_oasis"
NOWHERE = Path("nowhere")
ATLAS = Atlas("none", "none", "", NOWHERE, NOWHERE, NOWHERE, {}, None, {})
WEIGHTS = np.full(3, 0.3)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def labels(maps, brain):
    return np.where(brain, 1 + np.stack(list(maps.values())).argmax(axis=0), 0)


def shells(shape=(26, 30, 28), noise=6.0, seed=0):
    """A head of shells (CSF, GM, WM, a ventricle), its brain and its labels."""
    centre = (np.array(shape) - 1) / 2
    index = np.indices(shape) - centre[:, None, None, None]
    radius = np.sqrt(((index / (centre[:, None, None, None] - 1)) ** 2).sum(axis=0))
    truth = np.select([radius < 0.3, radius < 0.7, radius < 0.9, radius < 1.0], [1, 3, 2, 1], 0)
    means = np.array([0.0, 30.0, 70.0, 105.0])
    rng = np.random.default_rng(seed)
    image = means[truth] + rng.normal(0, noise, shape) * (truth > 0)
    return image.astype(np.float32), truth > 0, truth


@pytest.fixture(scope="module")
def icbm():
    """ICBM152 at 3 mm with contrast, blur, a bias field and noise: canonical image and truth."""
    tissues, _, brain, grid = icbm152(3)
    fractions = np.stack([tissues[name] ** 3 for name in ("csf", "gm", "wm")])
    fractions = fractions / np.maximum(fractions.sum(axis=0), 1e-6) * brain
    ideal = np.tensordot([25.0, 60.0, 100.0], fractions, axes=1)
    blurred = ndimage.gaussian_filter(ideal, 0.5) / np.maximum(
        ndimage.gaussian_filter(brain.astype(float), 0.5), 1e-3
    )
    field = 1 + 0.1 * np.linspace(-0.5, 0.5, brain.shape[0])[:, None, None]
    noise = np.random.default_rng(5).normal(0, 4, (2, *brain.shape))
    image = np.hypot(blurred * field + noise[0], noise[1]).astype(np.float32)
    truth = np.where(brain, 1 + fractions.argmax(axis=0), 0)
    return canonical(image, brain), brain, truth, grid


@pytest.fixture
def context(tmp_path):
    return Context(seed=0, atlas=ATLAS, scratch=tmp_path)


def scan_of(folder, voxels, brain, grid=None):
    grid = grid or Grid.make(voxels.shape, np.diag([2.0, 2, 2, 1]))
    write_image(folder / "t1.nii.gz", voxels, grid)
    write_image(folder / "mask.nii.gz", brain, grid)
    return Scan("01", "a", folder / "t1.nii.gz", folder / "mask.nii.gz")


def test_gives_three_maps_that_sum_to_one_in_the_brain(tmp_path, context):
    image, brain, truth = shells()
    scan = scan_of(tmp_path, canonical(image, brain), brain)
    maps = HMRF().segment(scan, context)
    total = sum(maps.values())
    assert list(maps) == ["csf", "gm", "wm"]
    for tissue in maps.values():
        assert tissue.dtype == np.float32
        assert tissue.shape == image.shape
        assert tissue.min() >= 0
        assert tissue.max() <= 1
        assert not tissue[~brain].any()
    np.testing.assert_allclose(total[brain], 1, atol=1e-5)
    for code, tissue in enumerate(maps.values(), start=1):
        assert dice(tissue >= 0.5, truth == code) > 0.97
    assert HMRF().available() is None
    assert HMRF().version().startswith("harmobench ")
    segmenter: Segmenter = HMRF()
    assert segmenter.reference.doi


def naive_iteration(voxels, brain, q, classes, weights):
    """One iteration, voxel by voxel, as the module's docstring writes it."""
    p, new = np.zeros_like(q), np.zeros_like(q)
    for at in zip(*np.nonzero(brain), strict=True):
        energy = classes.prior.copy()
        for axis in range(3):
            for step in (-1, 1):
                near = list(at)
                near[axis] += step
                if 0 <= near[axis] < brain.shape[axis] and brain[tuple(near)]:
                    energy += weights[axis] * q[(slice(None), *near)]
        p[(slice(None), *at)] = np.exp(energy) / np.exp(energy).sum()
        density = np.exp(energy - (voxels[at] - classes.mean) ** 2 / (2 * classes.sd**2))
        new[(slice(None), *at)] = density / density.sum()
    n = new.sum(axis=(1, 2, 3))
    mean = (new * voxels).sum(axis=(1, 2, 3)) / n
    variance = sum((new[k] * (voxels - mean[k]) ** 2).sum() for k in range(3)) / brain.sum()
    step = np.log(n / p.sum(axis=(1, 2, 3)))
    return new, mean, np.sqrt(variance), classes.prior + step - step[hmrf.GM], n / n.sum()


def test_iterations_equal_brute_force():
    image, brain, _ = shells((9, 8, 10), noise=12)
    scaled = hmrf._scaled(image[brain])
    voxels = np.zeros(brain.shape)
    voxels[brain] = scaled
    weights = np.array([0.5, 0.3, 0.2])
    box = hmrf.bounding_box(brain)
    field = hmrf._Field(scaled, brain[box], weights)
    classes = hmrf.start(scaled)
    q = np.zeros((3, *brain.shape))
    for _ in range(3):
        q, mean, sd, prior, share = naive_iteration(voxels, brain, q, classes, weights)
        classes = field.iterate(classes)
        np.testing.assert_allclose(classes.mean, mean, atol=1e-5)
        np.testing.assert_allclose(classes.sd, sd, atol=1e-5)
        np.testing.assert_allclose(classes.prior, prior, atol=1e-4)
        np.testing.assert_allclose(classes.share, share, atol=1e-5)
        for mine, naive in zip(field.probabilities(), q, strict=True):
            np.testing.assert_allclose(mine, naive[(slice(None), *box)[1:]], atol=1e-5)


def test_pieces_do_not_change_the_result(monkeypatch):
    image, brain, _ = shells()
    whole, _ = hmrf.segment(image, brain, WEIGHTS, 5, 0.0)
    monkeypatch.setattr(hmrf, "PIECE", 1000)
    pieces, _ = hmrf.segment(image, brain, WEIGHTS, 5, 0.0)
    for name, tissue in whole.items():
        np.testing.assert_allclose(tissue, pieces[name], atol=1e-5)


def test_without_a_field_it_is_scikit_learns_mixture():
    from sklearn.mixture import GaussianMixture

    image, brain, _ = shells(noise=8)
    scaled = hmrf._scaled(image[brain])
    maps, classes = hmrf.segment(image, brain, np.zeros(3), 500, 1e-9)
    start = hmrf.start(scaled)
    theirs = GaussianMixture(
        3,
        covariance_type="tied",
        means_init=start.mean[:, None],
        weights_init=start.share,
        precisions_init=[[1 / start.sd**2]],
        tol=1e-10,
        max_iter=1000,
    ).fit(scaled[:, None].astype(np.float64))
    np.testing.assert_allclose(classes.mean, theirs.means_.ravel(), atol=1e-3)
    np.testing.assert_allclose(classes.sd, np.sqrt(theirs.covariances_.item()), atol=1e-3)
    np.testing.assert_allclose(classes.share, theirs.weights_, atol=1e-3)
    posterior = theirs.predict_proba(scaled[:, None].astype(np.float64))
    for tissue, theirs_tissue in zip(maps.values(), posterior.T, strict=True):
        np.testing.assert_allclose(tissue[brain], theirs_tissue, atol=5e-3)


def test_the_field_mends_noise():
    image, brain, truth = shells(noise=18)
    with_field, _ = hmrf.segment(image, brain, WEIGHTS, 60, 5e-4)
    without, _ = hmrf.segment(image, brain, np.zeros(3), 60, 5e-4)
    right = [np.mean(labels(m, brain)[brain] == truth[brain]) for m in (with_field, without)]
    assert right[0] > right[1] + 0.05


def test_is_as_near_to_the_truth_as_dipy(icbm):
    tissue = pytest.importorskip("dipy.segment.tissue")
    image, brain, truth, _ = icbm
    mine = labels(hmrf.segment(image, brain, WEIGHTS, 60, 5e-4)[0], brain)
    classifier = tissue.TissueClassifierHMRF(verbose=False)
    box = hmrf.bounding_box(brain)
    _, found, _ = classifier.classify(image[box].astype(np.float64), 3, 0.1, max_iter=10)
    theirs = np.zeros_like(mine)
    theirs[box] = found * brain[box]
    for code in (1, 2, 3):
        assert dice(mine == code, truth == code) >= dice(theirs == code, truth == code) - 0.005
    assert np.mean(mine[brain] == theirs[brain]) > 0.8


def test_volumes_are_near_the_truth(icbm):
    image, brain, truth, _ = icbm
    found = labels(hmrf.segment(image, brain, WEIGHTS, 60, 5e-4)[0], brain)
    for code, lowest, tolerance in ((1, 0.75, 0.25), (2, 0.90, 0.05), (3, 0.90, 0.05)):
        assert dice(found == code, truth == code) > lowest
        ratio = np.count_nonzero(found == code) / np.count_nonzero(truth == code)
        assert abs(ratio - 1) < tolerance


@settings(deadline=None, max_examples=20)
@given(
    scale=st.floats(0.01, 50),
    shift=st.floats(-500, 500),
    axis=st.integers(0, 2),
    turn=st.booleans(),
)
def test_ignores_scale_shift_and_orientation(scale, shift, axis, turn):
    image, brain, _ = shells((15, 17, 16))
    first, _ = hmrf.segment(canonical(image, brain), brain, WEIGHTS, 10, 0.0)
    order = (1, 2, 0) if turn else (0, 1, 2)
    other, mask = (np.flip(v, axis).transpose(order) for v in (image * scale + shift, brain))
    second, _ = hmrf.segment(canonical(other, mask), mask, WEIGHTS, 10, 0.0)
    for name, tissue in first.items():
        np.testing.assert_allclose(np.flip(tissue, axis).transpose(order), second[name], atol=0.02)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(3, 40), beta=st.floats(0, 2))
def test_any_image_gets_three_tissues(seed, levels, beta):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, levels, (8, 9, 7)).astype(np.float32)
    image[0, 0, :3] = (0, levels // 2, levels - 1)
    brain = np.ones(image.shape, dtype=bool)
    maps, classes = hmrf.segment(image, brain, np.full(3, beta), 60, 5e-4)
    assert (np.diff(classes.mean) > 0).all()
    np.testing.assert_allclose(sum(maps.values()), 1, atol=1e-5)
    assert all(np.isfinite(tissue).all() for tissue in maps.values())


def test_one_broad_peak_still_gets_three_tissues():
    image = np.random.default_rng(1).normal(50, 10, (20, 20, 20)).astype(np.float32)
    brain = np.ones(image.shape, dtype=bool)
    maps, _ = hmrf.segment(image, brain, WEIGHTS, 60, 5e-4)
    counts = np.bincount(labels(maps, brain).ravel(), minlength=4)[1:]
    assert (counts > 0.05 * image.size).all()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_brighter_is_never_less_white(seed):
    rng = np.random.default_rng(seed)
    image = rng.gamma(rng.uniform(1, 9), 10, (9, 9, 9)).astype(np.float32)
    brain = np.ones(image.shape, dtype=bool)
    maps, _ = hmrf.segment(image, brain, np.zeros(3), 30, 5e-4)
    order = np.argsort(image, axis=None)
    assert (np.diff(maps["wm"].ravel()[order]) >= -1e-5).all()
    assert (np.diff(maps["csf"].ravel()[order]) <= 1e-5).all()


def test_twice_the_same_bytes():
    image, brain, _ = shells(noise=15)
    first, second = (hmrf.segment(image, brain, WEIGHTS, 60, 5e-4)[0] for _ in range(2))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_neighbours_count_by_distance(tmp_path, context):
    assert hmrf.neighbour_weights(np.array([2.0, 2, 2])).tolist() == [1, 1, 1]
    np.testing.assert_allclose(hmrf.neighbour_weights(np.array([1.0, 1, 2])), [1.2, 1.2, 0.6])
    image, brain, _ = shells(noise=20)
    thick = Grid.make(image.shape, np.diag([1.0, 1, 5, 1]))
    (tmp_path / "thick").mkdir()
    even = HMRF().segment(scan_of(tmp_path, image, brain), context)
    uneven = HMRF().segment(scan_of(tmp_path / "thick", image, brain, thick), context)
    assert np.abs(even["gm"] - uneven["gm"]).max() > 0.01


def test_refuses_what_has_no_three_tissues():
    brain = np.ones((4, 4, 4), dtype=bool)
    image = np.zeros(brain.shape, dtype=np.float32)
    with pytest.raises(MeasurementError, match="constant"):
        hmrf.segment(image, brain, WEIGHTS, 5, 0.0)
    with pytest.raises(MeasurementError, match="empty mask"):
        hmrf.segment(image, ~brain, WEIGHTS, 5, 0.0)
    image[:2] = 1
    with pytest.raises(MeasurementError, match="found 2 different values"):
        hmrf.segment(image, brain, WEIGHTS, 5, 0.0)
    image[0, 0, 0] = np.nan
    with pytest.raises(MeasurementError, match="NaN or inf"):
        hmrf.segment(image, brain, WEIGHTS, 5, 0.0)


@pytest.mark.skipif(not OASIS.is_dir(), reason="no ../shared/data/malf_oasis")
def test_real_volumes_are_within_15_percent_of_the_labels():
    truth = read_labels(OASIS / "1018_tissues.nii.gz")
    brain = read_labels(OASIS / "1018_mask.nii.gz") > 0
    image = canonical(read_voxels(OASIS / "1018_SS.nii.gz"), brain)
    found = labels(hmrf.segment(image, brain, WEIGHTS, 60, 5e-4)[0], brain)
    for code, lowest in ((1, 0.80), (2, 0.84), (3, 0.92)):
        assert dice(found == code, truth == code) > lowest
        if code > 1:
            ratio = np.count_nonzero(found == code) / np.count_nonzero(truth == code)
            assert abs(ratio - 1) < 0.15
