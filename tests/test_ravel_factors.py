"""RAVEL's arithmetic against R's, against the plain formula, and where the effect is known."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.cohort import Scan
from harmobench.errors import MethodError
from harmobench.methods.ravel.factors import (
    PIECE_BYTES,
    blocks,
    correct,
    dependent_columns,
    factor_weights,
    factors_of,
    fit_factors,
    gram_matrix,
    unwanted_factors,
    without_outliers,
)
from harmobench.methods.ravel.rows import RowFile
from harmobench.methods.whitestripe import WhiteStripe

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_reference = pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)


@cache
def reference() -> dict[str, np.ndarray]:
    with np.load(SHARED / "reference" / "ravel_R.npz") as data:
        return dict(data)


def streamed(
    images: np.ndarray,
    control: np.ndarray,
    k: int,
    covariates: dict[str, np.ndarray],
    block_bytes: int = 1 << 14,
) -> np.ndarray:
    """Images (n, voxels) without their unwanted factors, each projected as a new one would be."""
    order = np.argsort(~control, kind="stable")
    count = int(control.sum())
    found = fit_factors(images[:, order], count, k, covariates, block_bytes)
    rows = images[:, order][:, :count] @ (found.left / found.singular)
    np.testing.assert_allclose(rows, found.z, atol=1e-7)  # each image gets its own row back
    out = np.empty(images.shape, dtype=np.float32)
    for i, row in enumerate(rows):
        out[i, order] = correct(images[i, order], row, found.gamma, found.mean)
    return out


def plain(v: np.ndarray, control: np.ndarray, k: int, covariates: np.ndarray) -> np.ndarray:
    """The published formula, all at once, by a full SVD; v is voxels x images."""
    z = np.linalg.svd(v[control], full_matrices=False)[2][:k].T
    gamma = np.linalg.lstsq(np.hstack([z, covariates]), v.T, rcond=None)[0][:k]
    return v - (z @ gamma).T + v.mean(axis=1, keepdims=True)


# --- against R RAVEL 1.3.6 ------------------------------------------------------------------------


@needs_reference
@pytest.mark.parametrize(
    ("name", "k", "with_covariates"),
    [("nows_k1", 1, False), ("nows_k2_mod", 2, True), ("ws_k1_mod", 1, True)],
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
    assert np.abs(out - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-4)


def _unread(image: np.ndarray, brain: np.ndarray) -> Scan:
    return Scan("01", "A", Path("unread.nii.gz"), memory=np.where(brain, image, np.float32(0)))


# --- streamed, and at once ------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 9),
    k=st.integers(1, 3),
    covariates=st.integers(0, 2),
    width=st.integers(1, 250),
)
def test_any_block_gives_the_plain_formula(
    seed: int, n: int, k: int, covariates: int, width: int
) -> None:
    covariates = min(covariates, n - k)  # no more columns than images
    rng = np.random.default_rng(seed)
    images = rng.normal(5, 1, (n, 200)) + rng.normal(0, 2, (n, 1))
    control = rng.random(200) < 0.3
    control[:10] = True
    extra = rng.normal(size=(n, covariates))
    named = {f"c{i}": column for i, column in enumerate(extra.T)}
    out = streamed(images, control, k, named, block_bytes=width * 4 * n)
    expected = plain(images.T, control, k, extra).T
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5 * np.abs(images).max())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), n=st.integers(2, 6), width=st.integers(1, 120))
def test_blocks_change_nothing_beyond_rounding(seed: int, n: int, width: int) -> None:
    images = np.random.default_rng(seed).normal(3, 1, (n, 100)).astype(np.float32)
    one, other = (fit_factors(images, 30, 1, {}, size) for size in (1 << 20, width * 4 * n))
    for name in ("z", "left", "singular"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-10)
    for name in ("gamma", "mean"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-6)


@dataclass
class Watched:
    """Images that remember the largest block, and how many numbers were read."""

    images: RowFile
    largest: int = 0
    read: int = 0
    seen: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        return self.images.shape

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        block = self.images[where]
        self.largest = max(self.largest, block.nbytes)
        self.read += block.size
        return block


@pytest.mark.parametrize("n", [4, 40])
def test_memory_is_one_block_however_many_images_there_are(tmp_path: Path, n: int) -> None:
    voxels, controls, block = 40_000, 2_000, 1 << 19
    rng = np.random.default_rng(0)
    rows = (rng.normal(3, 1, voxels).astype(np.float32) for _ in range(n))
    images = Watched(RowFile.write(tmp_path / "rows", rows, (n, voxels)))
    told: list[int] = []
    tracemalloc.start()
    try:
        fit_factors(images, controls, 1, {}, block, lambda done, total, what: told.append(done))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    outputs = 4 * 2 * voxels + 8 * 2 * controls
    assert images.largest <= block
    assert images.read == n * (voxels + 2 * controls)  # the control voxels twice more
    assert peak < outputs + 2 * block + 2 * PIECE_BYTES + 200_000  # the last while the next is read
    assert told[-1] == voxels
    assert told == sorted(told)


def test_blocks_cover_the_columns_once() -> None:
    images = np.arange(3 * 50.0).reshape(3, 50)
    for width in (1, 7, 50, 99):
        parts = list(blocks(images, 40, width * 4 * 3))
        np.testing.assert_array_equal(np.hstack([block for _, block in parts]), images[:, :40])
        assert [i for part, _ in parts for i in range(40)[part]] == list(range(40))
    assert next(blocks(images, 40, 1))[1].shape == (3, 1)  # at least a voxel


def test_a_file_gives_what_an_array_gives(tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(4, 1, (6, 5000)).astype(np.float32)
    file = RowFile.write(tmp_path / "rows", iter(images), (6, 5000))
    mapped = np.memmap(file.path, np.float32, "r", shape=file.shape)
    ages = {"age": np.arange(6.0) ** 2}
    array = fit_factors(images, 100, 2, ages)
    for other in (fit_factors(file, 100, 2, ages), fit_factors(mapped, 100, 2, ages)):
        for name in ("z", "left", "singular", "gamma", "mean"):
            np.testing.assert_array_equal(getattr(other, name), getattr(array, name))


# --- where the effect is known --------------------------------------------------------------------


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


def test_one_image_stays_as_it_is() -> None:
    image = np.random.default_rng(0).normal(5, 1, (1, 100))
    out = streamed(image, np.arange(100) < 20, 1, {"age": np.array([70.0])})
    np.testing.assert_allclose(out, image, rtol=1e-6)


# --- the design -----------------------------------------------------------------------------------


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


@settings(deadline=None, max_examples=30)
@given(power=st.integers(-30, 30), seed=st.integers(0, 1000))
def test_the_units_of_a_covariate_do_not_matter(power: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, age = np.linalg.qr(rng.normal(size=(8, 2)))[0], rng.normal(size=8)
    one, other = (factor_weights(z, {"age": age * unit}) for unit in (1.0, 10.0**power))
    np.testing.assert_allclose(other, one, atol=1e-9)


def test_collinear_covariates_are_named() -> None:
    z = np.random.default_rng(0).normal(size=(6, 1))
    months = np.array([1.0, 2, 3, 4, 5, 7])
    with pytest.raises(MethodError, match=r"'years' can be made of the columns before"):
        factor_weights(z, {"months": months, "years": months / 12})


def test_more_columns_than_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(MethodError, match=r"'c2' can be made .* 3 scans\): leave that covariate"):
        factor_weights(rng.normal(size=(3, 1)), {f"c{i}": rng.normal(size=3) for i in range(3)})


def test_too_many_factors_for_the_images() -> None:
    one = gram_matrix(np.ones((3, 40)), 40)
    with pytest.raises(MethodError, match=r"k = 2 independent images .* found 1 among 3: lower"):
        unwanted_factors(one, 2)
    with pytest.raises(MethodError, match=r"other than 0 in the control region, .* all 3 scans"):
        unwanted_factors(0 * one, 1)


# --- broken voxels --------------------------------------------------------------------------------


def test_a_broken_voxel_is_clipped_and_named_and_the_rest_untouched() -> None:
    values = np.random.default_rng(0).normal(-10, 2, 5000).astype(np.float32)
    broken = values.copy()
    broken[[3, 4]] = 1e9, -1e9
    with pytest.warns(UserWarning, match=r"A: 2 voxels are further from 0 .* \(-1e\+09 to 1e\+09"):
        out = without_outliers(broken, 3.0, "A")
    np.testing.assert_array_equal(out[5:], values[5:])
    assert 3 * 14 < out[3] == -out[4] < 3 * 20
    np.testing.assert_array_equal(without_outliers(broken, 0, "A"), broken)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), size=st.integers(100, 3000), power=st.integers(-30, 30))
def test_values_without_outliers_stay_as_they_are(seed: int, size: int, power: int) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, size) * 10.0**power
    values = values.astype(np.float32)
    assert without_outliers(values, 3.0, "A") is values
    assert not without_outliers(values * 0, 3.0, "A").any()


def test_outliers_are_found_in_images_too_large_to_sort() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400_000).astype(np.float32)
    values[1::2] *= 2  # the sample must not see every second voxel alone
    values[200_001] = 1e6
    with pytest.warns(UserWarning, match="1 voxels"):
        out = without_outliers(values, 3.0, "A")
    assert out[200_001] == pytest.approx(3 * np.quantile(np.abs(values), 0.999), rel=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(MethodError, match="A: expected finite intensities"):
        without_outliers(np.array([1, bad, 2], dtype=np.float32), 3.0, "A")


@given(seed=st.integers(0, 99), lost=st.integers(1, 30))
@settings(deadline=None, max_examples=20)
def test_control_voxels_that_a_scan_does_not_have_leave_its_factors_alone(
    seed: int, lost: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.normal(5, 1, (6, 1)) * rng.normal(3, 0.3, (1, 40)) + rng.normal(0, 1e-3, (6, 40))
    found = fit_factors(images.astype(np.float32), 40, 1, {})
    seen = np.ones(40, dtype=bool)
    whole = factors_of(images[0], found.left, found.singular, seen)
    np.testing.assert_allclose(whole, found.z[0], rtol=1e-5)
    seen[rng.permutation(40)[:lost]] = False
    broken = np.where(seen, images[0], -40.0)  # what White Stripe leaves outside a mask
    rest = factors_of(broken, found.left, found.singular, seen)
    np.testing.assert_allclose(rest, whole, rtol=1e-2)


def test_a_mask_without_control_voxels_is_refused() -> None:
    left, singular = np.ones((4, 1)) / 2, np.ones(1)
    with pytest.raises(MethodError, match=r"found 0 of 4.*leaves the CSF in"):
        factors_of(np.ones(4), left, singular, np.zeros(4, dtype=bool))
