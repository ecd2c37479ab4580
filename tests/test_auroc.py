"""AUROC equals scikit-learn's and its definition, ties included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from harmobench.atlas import read_atlas
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Scan
from harmobench.metrics.auroc import AUROC, auroc

SHAPE = (6, 5, 4)
TIED = arrays(np.float32, st.integers(1, 40), elements=st.integers(-4, 4).map(float))
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ANY = arrays(np.float32, st.integers(1, 40), elements=FINITE)


def by_scikit_learn(grey, white):
    labels = np.repeat([0, 1], [grey.size, white.size])
    return roc_auc_score(labels, np.concatenate([grey, white]))


def by_definition(grey, white):
    above = white[:, None] > grey[None, :]
    tied = white[:, None] == grey[None, :]
    return (above.sum() + tied.sum() / 2) / (grey.size * white.size)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_equals_scikit_learn(decimals):
    rng = np.random.default_rng(3)
    grey = rng.normal(60, 12, 30_000).astype(np.float32)
    white = rng.normal(85, 9, 25_000).astype(np.float32)
    if decimals is not None:
        grey, white = grey.round(decimals), white.round(decimals)
    assert auroc(grey, white) == pytest.approx(by_scikit_learn(grey, white), abs=1e-12)


@given(st.one_of(TIED, ANY), st.one_of(TIED, ANY))
@settings(deadline=None, max_examples=50)
def test_equals_its_definition(grey, white):
    assert auroc(grey, white) == pytest.approx(by_definition(grey, white), abs=1e-12)


@given(st.one_of(TIED, ANY), st.one_of(TIED, ANY))
@settings(deadline=None, max_examples=50)
def test_tissues_exchanged_give_the_rest(grey, white):
    assert auroc(grey, white) + auroc(white, grey) == pytest.approx(1.0, abs=1e-12)


@given(TIED, TIED, st.sampled_from([0.25, 2.0, 8.0]), st.integers(-50, 50))
@settings(deadline=None, max_examples=50)
def test_rising_maps_change_nothing(grey, white, scale, shift):
    def mapped(values):
        return np.float32(scale) * values + np.float32(shift)

    assert auroc(mapped(grey), mapped(white)) == auroc(grey, white)


@given(ANY)
@settings(deadline=None, max_examples=30)
def test_the_same_values_give_one_half(values):
    assert auroc(values, values) == 0.5


def test_negative_zero_ties_with_zero():
    assert auroc(np.float32([-0.0]), np.float32([0.0])) == 0.5


def test_more_noise_means_less():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=4000).astype(np.float32)
    clean = np.repeat(np.float32([50, 60]), 2000)
    images = (clean + s * noise for s in (1, 5, 10, 20, 40))
    found = [auroc(image[:2000], image[2000:]) for image in images]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.99


def test_input_is_left_alone():
    grey, white = np.float32([3, 1, 2]), np.float32([2, 5, 1])
    auroc(grey, white)
    assert grey.tolist() == [3, 1, 2]
    assert white.tolist() == [2, 5, 1]


@pytest.fixture(scope="module")
def tissues():
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[1:3], labels[3:5], labels[5] = 2, 3, 1
    return labels


@pytest.fixture(scope="module")
def context(tmp_path_factory, tissues):
    folder = tmp_path_factory.mktemp("atlas")
    grid = Grid.make(SHAPE, np.eye(4))
    write_image(folder / "t1.nii.gz", tissues.astype(np.float32), grid)
    write_image(folder / "mask.nii.gz", tissues > 0, grid)
    write_image(folder / "tissues.nii.gz", tissues, grid)
    (folder / "atlas.toml").write_text(
        'name = "tiny"\nspace = "none"\ntemplate = "t1.nii.gz"\nmask = "mask.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n'
    )
    return Context(seed=0, atlas=read_atlas(folder), scratch=folder)


def make_scan(folder, scanner, voxels, brain):
    path = folder / f"mask-{scanner}.nii.gz"
    write_image(path, brain, Grid.make(SHAPE, np.eye(4)))
    return Scan("01", scanner, folder / "none.nii.gz", mask=path, memory=voxels)


def test_rows_use_the_atlas_within_the_brain(tmp_path, context, tissues):
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    brain = np.ones(SHAPE, dtype=bool)
    brain[:, :, 0] = False
    scans = (
        make_scan(tmp_path, "A", voxels, brain),
        make_scan(tmp_path, "B", -voxels, brain),
    )
    rows = list(AUROC().score(scans, None, context))
    expected = by_definition(voxels[(tissues == 2) & brain], voxels[(tissues == 3) & brain])
    assert [(r.scanner, r.structure, r.status) for r in rows] == [
        ("A", "gm-wm", "ok"),
        ("B", "gm-wm", "ok"),
    ]
    assert rows[0].value == pytest.approx(expected, abs=1e-12)
    assert rows[1].value == pytest.approx(1 - expected, abs=1e-12)


def test_brain_without_a_tissue_is_undefined(tmp_path, context, tissues):
    scan = make_scan(tmp_path, "A", np.ones(SHAPE, dtype=np.float32), tissues == 2)
    (row,) = AUROC().score((scan,), None, context)
    assert (row.status, row.value) == ("undefined", None)
    assert row.reason
