"""RAVEL against R's, against the plain formula, and on images whose unwanted effect is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.atlas import Atlas, read_atlas
from harmobench.cohort import Cohort, Scan
from harmobench.errors import MethodError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Group
from harmobench.methods.ravel import (
    Ravel,
    RavelCV,
    correct,
    dependent_columns,
    erode,
    factor_weights,
    intersect,
    unwanted_factors,
    weighted_sums,
)
from harmobench.methods.whitestripe import WhiteStripe

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_reference = pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)
SIDE = 14
GRID = Grid.make((SIDE, SIDE, SIDE), np.eye(4))


@cache
def reference() -> dict[str, np.ndarray]:
    with np.load(SHARED / "reference" / "ravel_R.npz") as data:
        return dict(data)


def streamed(
    images: np.ndarray, control: np.ndarray, k: int, covariates: dict[str, np.ndarray]
) -> np.ndarray:
    """The method's arithmetic on brain vectors (n, voxels), in sample."""
    z, left, s = unwanted_factors(images[:, control], k)
    n = len(images)
    sums = weighted_sums(np.vstack([factor_weights(z, covariates), np.full((1, n), 1 / n)]), images)
    rows = [image[control] @ (left / s) for image in images]
    np.testing.assert_allclose(rows, z, atol=1e-8)  # projection gives each image its own row
    return np.stack(
        [correct(v, row, sums[:-1], sums[-1]) for v, row in zip(images, rows, strict=True)]
    )


def plain(v: np.ndarray, control: np.ndarray, k: int, covariates: np.ndarray) -> np.ndarray:
    """The published formula, all at once, by a full SVD; v is voxels x images."""
    z = np.linalg.svd(v[control], full_matrices=False)[2][:k].T
    gamma = np.linalg.lstsq(np.hstack([z, covariates]), v.T, rcond=None)[0][:k]
    return v - (z @ gamma).T + v.mean(axis=1, keepdims=True)


# --- against R RAVEL 1.3.6 ------------------------------------------------------------------------


@needs_reference
@pytest.mark.parametrize(
    ("name", "k", "with_covariates"),
    [
        ("nows_k1", 1, False),
        ("nows_k2_mod", 2, True),
        ("ws_k1_mod", 1, True),
    ],
)
def test_agrees_with_r(name: str, k: int, with_covariates: bool) -> None:
    ref = reference()
    brain = ref["brain"] > 0
    images = ref["imgs"]
    if name.startswith("ws"):
        striped = [WhiteStripe().transform(_unread(image, brain)).voxels() for image in images]
        images = np.stack(striped)
    covariates = {"intercept": ref["mod"][:, 0], "group": ref["mod"][:, 1]}
    out = streamed(
        images[:, brain], (ref["control"] > 0)[brain], k, covariates if with_covariates else {}
    )
    expected = ref[name][:, brain]
    error = np.abs(out - expected).max() / np.abs(expected).max()
    assert error < 1e-5
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-4)
    assert not ref[name][:, ~brain].any()


def _unread(image: np.ndarray, brain: np.ndarray) -> Scan:
    return Scan("01", "A", Path("unread.nii.gz"), memory=np.where(brain, image, np.float32(0)))


@needs_reference
def test_intersection_is_that_of_r() -> None:
    ref = reference()
    np.testing.assert_array_equal(intersect(ref["csf6"] > 0, 1.0), ref["mask_intersect_1"] > 0)


# --- the arithmetic -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 9),
    k=st.integers(1, 2),
    covariates=st.integers(0, 1),
)
def test_streaming_is_the_plain_formula(seed: int, n: int, k: int, covariates: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.normal(5, 1, (n, 200)) + rng.normal(0, 2, (n, 1))
    control = rng.random(200) < 0.3
    control[:10] = True
    extra = rng.normal(size=(n, covariates))
    named = {f"c{i}": column for i, column in enumerate(extra.T)}
    out = streamed(images, control, k, named)
    np.testing.assert_allclose(out, plain(images.T, control, k, extra).T, rtol=1e-5, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 8))
def test_images_that_differ_by_one_csf_driven_effect_become_equal(seed: int, n: int) -> None:
    """V = b z': what is left of each image is its voxel's mean, the same for all."""
    rng = np.random.default_rng(seed)
    effect, strength = rng.uniform(1, 5, 300), rng.uniform(0.5, 2, n)
    images = strength[:, None] * effect
    out = streamed(images, np.arange(300) < 60, 1, {})
    np.testing.assert_allclose(out, np.tile(images.mean(axis=0), (n, 1)), rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_a_covariate_is_protected(seed: int) -> None:
    """An effect that the covariate explains is there afterwards, whole, in every voxel."""
    rng = np.random.default_rng(seed)
    n, age = 12, np.linspace(-1, 1, 12)
    nuisance, slope = rng.uniform(1, 2, n), rng.normal(0, 3, 300)
    slope[:60] = 0  # CSF carries no disease
    images = nuisance[:, None] * rng.uniform(1, 5, 300) + age[:, None] * slope
    out = streamed(images, np.arange(300) < 60, 1, {"age": age})
    expected = images.mean(axis=0) + age[:, None] * slope
    np.testing.assert_allclose(out, expected, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), prob=st.floats(0.05, 1.0), n=st.integers(1, 8))
def test_intersection_counts(seed: int, prob: float, n: int) -> None:
    masks = np.random.default_rng(seed).random((n, 3, 3, 3)) < 0.6
    expected = masks.sum(axis=0) >= max(np.floor(prob * n + 1e-9), 1)
    np.testing.assert_array_equal(intersect(iter(masks), prob), expected)


def test_weighted_sums_read_one_image_at_a_time() -> None:
    rng = np.random.default_rng(0)
    images, weights = rng.normal(size=(5, 70_000)).astype(np.float32), rng.normal(size=(3, 5))
    out = weighted_sums(weights, (image for image in images))
    np.testing.assert_allclose(out, weights @ images.astype(np.float64), atol=1e-12)
    with pytest.raises(ValueError, match="argument"):
        weighted_sums(weights, (image for image in images[:4]))


def test_erosion_stops_before_too_few_remain() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1:8, 1:8, 1:8] = True  # 343, then 125, 27, 1
    assert [int(erode(mask, s, 20)[0].sum()) for s in range(5)] == [343, 125, 27, 27, 27]
    assert erode(mask, 4, 20)[1] == 2
    assert erode(mask, 1, 200) == (pytest.approx(mask), 0)


def test_dependent_columns_are_found() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 8))
    assert dependent_columns(np.column_stack([a, b, c])) == []
    assert dependent_columns(np.column_stack([a, b, 3 * a - b, c, c])) == [2, 4]
    assert dependent_columns(np.column_stack([a, b, c])[:2]) == [2]


def test_a_constant_covariate_is_an_intercept_and_left_out() -> None:
    z = np.random.default_rng(0).normal(size=(6, 1))
    np.testing.assert_array_equal(
        factor_weights(z, {"site": np.full(6, 3.0)}), factor_weights(z, {})
    )


def test_collinear_covariates_are_named() -> None:
    z = np.random.default_rng(0).normal(size=(6, 1))
    months = np.array([1.0, 2, 3, 4, 5, 7])
    with pytest.raises(MethodError, match=r"'years' can be made of the columns before"):
        factor_weights(z, {"months": months, "years": months / 12})


def test_too_many_factors_for_the_images() -> None:
    one = np.ones((3, 40))
    with pytest.raises(MethodError, match=r"k = 2 independent images .* found 1 among 3"):
        unwanted_factors(one, 2)
    with pytest.raises(MethodError, match="found 0 among 3"):
        unwanted_factors(0 * one, 1)


# --- the method on a small cohort -----------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    cohort: Cohort
    context: Context
    images: np.ndarray  # White-Striped
    brain: np.ndarray
    csf: np.ndarray


def make(folder: Path, n: int = 6, seed: int = 0) -> Made:
    """Two scanners; CSF in a ball, the scan's own strength times a common effect, and noise."""
    rng = np.random.default_rng(seed)
    i = np.indices(GRID.shape) - (SIDE - 1) / 2
    radius = np.sqrt((i**2).sum(axis=0))
    brain, csf = radius < 6.5, radius < 3.5
    effect = np.where(csf, -8.0, rng.normal(-1, 1, GRID.shape))
    strength = rng.uniform(0.7, 1.3, n)
    images = strength[:, None, None, None] * effect + rng.normal(0, 0.1, (n, *GRID.shape))
    images = np.where(brain, images, -20).astype(np.float32)
    write_image(folder / "mask.nii.gz", brain, GRID)
    tissue = np.where(csf, 1, np.where(brain, 2, 0)).astype(np.uint8)
    write_image(folder / "tissue.nii.gz", tissue, GRID)
    scans = []
    for j, image in enumerate(images):
        path = folder / f"ws{j}.nii.gz"
        write_image(path, image, GRID)
        scans.append(
            Scan(
                subject=f"{j // 2}",
                scanner="AB"[j % 2],
                image=path,
                mask=folder / "mask.nii.gz",
                values={"group": "hi" if j // 2 == 1 else "lo", "age": str(60 + 3 * (j // 2) ** 2)},
                inputs={"whitestripe": path, "tissue": folder / "tissue.nii.gz"},
            )
        )
    atlas = make_atlas(folder / "atlas", brain, tissue)
    context = Context(seed=0, atlas=atlas, scratch=folder, scanners=("A", "B"))
    return Made(Cohort(tuple(scans)), context, images, brain, csf)


def make_atlas(folder: Path, brain: np.ndarray, tissue: np.ndarray) -> Atlas:
    write_image(folder / "template.nii.gz", tissue.astype(np.float32), GRID)
    write_image(folder / "mask.nii.gz", brain, GRID)
    tissue = tissue.copy()
    tissue[:, :, -1] = 3
    write_image(folder / "tissues.nii.gz", tissue, GRID)
    (folder / "atlas.toml").write_text(
        'name = "ball"\nspace = "ball"\ntemplate = "template.nii.gz"\nmask = "mask.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n',
        encoding="utf-8",
    )
    return read_atlas(folder)


def transformed(method: Ravel, cohort: Cohort) -> np.ndarray:
    return np.stack([method.transform(scan).voxels() for scan in cohort.scans])


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


def test_in_sample_it_is_the_plain_formula(made: Made) -> None:
    method = Ravel(k=2).fit(made.cohort, None, made.context)
    out = transformed(method, made.cohort)
    from scipy.ndimage import binary_erosion

    control = binary_erosion(made.csf)
    assert method.eroded_ == 1
    np.testing.assert_array_equal(method.control_, control)
    v = made.images[:, made.brain].T.astype(np.float64)
    expected = plain(v, control[made.brain], 2, np.zeros((6, 0))).T
    np.testing.assert_allclose(out[:, made.brain], expected, rtol=1e-4, atol=1e-5)
    assert not out[:, ~made.brain].any()
    assert out.dtype == np.float32


def test_it_brings_scans_together(made: Made) -> None:
    out = transformed(Ravel().fit(made.cohort, None, made.context), made.cohort)
    before = made.images[:, made.brain].std(axis=0).mean()
    assert out[:, made.brain].std(axis=0).mean() < 0.5 * before


def test_group_and_covariates_are_protected_by_ravel_and_group_is_unseen_by_ravel_cv(
    made: Made,
) -> None:
    group = Group("group", "hi", "lo")
    context = replace(made.context, group=group, covariates=("age", "group"))
    v = made.images[:, made.brain].T.astype(np.float64)
    codes, ages = ([f(s) for s in made.cohort.scans] for f in (group.code, _age))
    for method, columns in ((Ravel(), [codes, ages]), (RavelCV(), [ages])):
        out = transformed(method.fit(made.cohort, None, context), made.cohort)
        expected = plain(v, method.control_[made.brain], 1, np.array(columns).T).T
        np.testing.assert_allclose(out[:, made.brain], expected, rtol=1e-4, atol=1e-4)
    assert Ravel.needs.group
    assert not Ravel.needs.folds
    assert RavelCV.needs.folds
    assert not RavelCV.needs.group


def _age(scan: Scan) -> float:
    return float(scan.values["age"])


def test_ravel_cv_does_not_change_with_the_labels(made: Made) -> None:
    context = replace(made.context, group=Group("group", "hi", "lo"))
    other = Cohort(tuple(replace(s, values={**s.values, "group": "lo"}) for s in made.cohort.scans))
    a = transformed(RavelCV().fit(made.cohort, None, context), made.cohort)
    b = transformed(RavelCV().fit(other, None, context), made.cohort)
    np.testing.assert_array_equal(a, b)


def test_a_scan_outside_the_fit_is_projected(made: Made) -> None:
    train = made.cohort.select(["0", "1"])
    held = made.cohort.of("2")[0]
    method = RavelCV().fit(train, None, made.context)
    out = method.transform(held).voxels()[made.brain]
    v = made.images[:4, made.brain].astype(np.float64)
    control = method.control_[made.brain]
    u, s, right = np.linalg.svd(v[:, control].T, full_matrices=False)
    new = made.images[4][made.brain].astype(np.float64)
    z = new[control] @ u[:, 0] / s[0]
    gamma = np.linalg.lstsq(right[:1].T, v, rcond=None)[0][0]
    np.testing.assert_allclose(out, new - z * gamma + v.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert np.abs(out - v.mean(axis=0)).mean() < np.abs(new - v.mean(axis=0)).mean()


def test_same_scans_same_bytes_and_a_saved_model_too(made: Made, tmp_path: Path) -> None:
    method = Ravel(k=2).fit(made.cohort, None, made.context)
    again = Ravel(k=2).fit(made.cohort, None, made.context)
    method.save(tmp_path / "model")
    loaded = Ravel.load(tmp_path / "model")
    out = transformed(method, made.cohort)
    np.testing.assert_array_equal(transformed(again, made.cohort), out)
    np.testing.assert_array_equal(transformed(loaded, made.cohort), out)
    assert loaded.k == 2


def test_progress_is_told(made: Made) -> None:
    told: list[tuple[int, int, str]] = []
    context = replace(made.context, progress=lambda *what: told.append(what))
    Ravel().fit(made.cohort, None, context)
    assert len(told) == 18
    assert all(1 <= done <= total == 6 for done, total, _ in told)


def test_a_small_control_region_says_what_to_change(made: Made) -> None:
    with pytest.raises(MethodError, match=r"at least 400 voxels .* found \d+: lower ravel.prob"):
        Ravel(min_voxels=400).fit(made.cohort, None, made.context)


def test_scans_without_common_csf_are_refused_until_prob_is_lowered(
    made: Made, tmp_path: Path
) -> None:
    write_image(tmp_path / "none.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    first, *rest = made.cohort.scans
    inputs = {**first.inputs, "tissue": tmp_path / "none.nii.gz"}
    cohort = Cohort((replace(first, inputs=inputs), *rest))
    with pytest.raises(MethodError, match="found 0"):
        Ravel().fit(cohort, None, made.context)
    Ravel(prob=0.8).fit(cohort, None, made.context)


def test_no_erosion_where_too_few_would_remain(made: Made) -> None:
    method = Ravel(min_voxels=150).fit(made.cohort, None, made.context)
    assert method.eroded_ == 0
    np.testing.assert_array_equal(method.control_, made.csf)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Ravel(k=0), "k of at least 1"),
        (Ravel(prob=1.5), "prob above 0"),
        (Ravel(erode=-1), "erode of at least 0"),
        (Ravel(min_voxels=0), "min_voxels of at least 1"),
    ],
)
def test_wrong_parameters_are_named(made: Made, method: Ravel, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        method.fit(made.cohort, None, made.context)


def test_what_else_users_get_wrong(made: Made, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="without fit"):
        Ravel().transform(made.cohort.scans[0])
    with pytest.raises(MethodError, match="column 'nothing'"):
        Ravel().fit(made.cohort, None, replace(made.context, covariates=("nothing",)))
    group = Group("group", "hi", "other")
    with pytest.raises(MethodError, match="expected 'hi' or 'other' in column 'group'"):
        Ravel().fit(made.cohort, None, replace(made.context, group=group))
    values = {**made.cohort.scans[0].values, "age": "nan"}
    blank = Cohort(tuple(replace(s, values=values) for s in made.cohort.scans))
    with pytest.raises(MethodError, match="a number in column 'age'"):
        Ravel().fit(blank, None, replace(made.context, covariates=("age",)))
    bare = Cohort(tuple(replace(s, inputs={}) for s in made.cohort.scans))
    with pytest.raises(MethodError, match="shared input 'tissue'"):
        Ravel().fit(bare, None, made.context)
    method = Ravel().fit(made.cohort, None, made.context)
    small = np.ones((4, 4, 4), dtype=np.float32)
    write_image(tmp_path / "small.nii.gz", small, Grid.make((4, 4, 4), np.eye(4)))
    other = Scan("9", "A", tmp_path / "small.nii.gz")
    with pytest.raises(MethodError, match="expected the grid that RAVEL was fitted on"):
        method.transform(other)
