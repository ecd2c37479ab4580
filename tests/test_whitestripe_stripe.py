"""White Stripe's arithmetic against R's, and against independent implementations of its parts."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.errors import MethodError
from harmobench.methods.whitestripe.stripe import (
    find_mode,
    histogram,
    round_breaks,
    smooth,
    white_stripe,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_reference = pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)


@cache
def reference() -> dict[str, np.ndarray]:
    with np.load(SHARED / "reference" / "whitestripe_R.npz") as data:
        return dict(data)


# --- against R WhiteStripe 2.5.0 ---------------------------------------------------------------


@needs_reference
def test_histogram_is_that_of_r() -> None:
    ref = reference()
    values = np.sort(ref["img"][ref["img"] > 0])
    breaks = round_breaks(float(values[0]), float(values[-1]))
    mids, counts = histogram(values, breaks)
    assert breaks.size - 1 == ref["hist_nbins"]
    assert (breaks[0], breaks[-1]) == (ref["hist_first_break"], ref["hist_last_break"])
    np.testing.assert_array_equal(counts, ref["hist_counts"])
    kept = counts >= counts.max() / 5
    np.testing.assert_array_equal(mids[kept], ref["smooth_x"])


@needs_reference
def test_smooth_is_close_to_that_of_r() -> None:
    ref = reference()
    breaks = np.linspace(
        ref["hist_first_break"], ref["hist_last_break"], int(ref["hist_nbins"]) + 1
    )
    x = (breaks[1:] + breaks[:-1]) / 2
    y = ref["hist_counts"][np.isin(x, ref["smooth_x"])]
    fit, slope = smooth(ref["smooth_x"], y)
    inner = slice(10, -10)  # at the very ends R's ill-conditioned basis shows
    assert np.abs(fit - ref["smooth_fit"])[inner].max() < 0.01 * y.max()
    assert np.corrcoef(slope[inner], ref["smooth_dy"][inner])[0, 1] > 0.999


@needs_reference
def test_mode_and_stripe_are_exactly_those_of_r() -> None:
    ref = reference()
    ordered = np.sort(ref["img"][ref["img"] > 0])
    stripe = white_stripe(ordered, float(ref["img"].mean(dtype=np.float64)))
    assert stripe.mode == ref["img_mode"]
    assert (stripe.low, stripe.high) == tuple(ref["whitestripe"])
    inside = (ref["img"] > stripe.low) & (ref["img"] < stripe.high)
    np.testing.assert_array_equal(inside, ref["stripe"] > 0)
    assert stripe.count == ref["n_stripe"]
    assert stripe.mean == pytest.approx(float(ref["mu_stripe_mean"]), rel=1e-12)
    assert stripe.sd == pytest.approx(float(ref["sd_stripe"]), rel=1e-12)


# --- the parts against independent implementations -----------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "bins", "expected"),
    [  # outputs of R: pretty(c(low, high), bins)
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 10, 5, [0, 2, 4, 6, 8, 10]),
        (1, 20, 2, [0, 10, 20]),
        (1, 20, 10, np.arange(0, 21, 2)),
        (1, 10, 21, np.arange(1, 10.1, 0.5)),
        (0, 97, 4, [0, 20, 40, 60, 80, 100]),
    ],
)
def test_round_breaks_are_those_of_pretty(
    low: float, high: float, bins: int, expected: list[float]
) -> None:
    np.testing.assert_allclose(round_breaks(low, high, bins), expected, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(
    low=st.floats(-1e4, 1e4),
    span=st.floats(1e-3, 1e5),
    bins=st.integers(2, 3000),
)
def test_round_breaks_cover_the_range_in_round_steps(low: float, span: float, bins: int) -> None:
    breaks = round_breaks(low, low + span, bins)
    step = (breaks[-1] - breaks[0]) / (breaks.size - 1)
    assert breaks[0] <= low + 1e-6 * step
    assert breaks[-1] >= low + span - 1e-6 * step
    leading = step / 10 ** np.floor(np.log10(step) + 1e-6)
    assert min(abs(leading - digit) for digit in (1, 2, 5)) < 1e-4
    assert 0.5 <= (breaks.size - 1) / bins <= 2.5 + 2 / bins


def test_histogram_is_closed_on_the_right_and_includes_the_lowest() -> None:
    values = np.array([1, 1, 2, 2, 2, 3, 4], dtype=np.float32)
    mids, counts = histogram(values, np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(counts, [5, 1, 1])
    np.testing.assert_array_equal(mids, [1.5, 2.5, 3.5])


def test_smooth_agrees_with_dense_reml() -> None:
    """The diagonalized criterion against the likelihood of the full n x n covariance."""
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(0, 10, 60))
    y = np.sin(x) * 20 + rng.normal(0, 2, 60)
    fit, slope = smooth(x, y)

    t = (x - x[0]) / (x[-1] - x[0])
    fixed = np.vander(t, 5, increasing=True)
    knots = np.quantile(t, np.linspace(0, 1, 32)[1:-1])
    free = np.clip(t[:, None] - knots, 0, None) ** 4

    def solve(penalty: float) -> tuple[float, np.ndarray]:
        v = np.eye(60) + free @ free.T / penalty
        vi = np.linalg.inv(v)
        beta = np.linalg.solve(fixed.T @ vi @ fixed, fixed.T @ vi @ y)
        rest = y - fixed @ beta
        criterion = (
            55 * np.log(rest @ vi @ rest)
            + np.linalg.slogdet(v)[1]
            + np.linalg.slogdet(fixed.T @ vi @ fixed)[1]
        )
        return float(criterion), fixed @ beta + free @ free.T / penalty @ vi @ rest

    criteria = [solve(p)[0] for p in np.geomspace(1e-9, 1e3, 400)]
    best = solve(np.geomspace(1e-9, 1e3, 400)[int(np.argmin(criteria))])[1]
    np.testing.assert_allclose(fit, best, atol=0.05)
    np.testing.assert_allclose(
        slope[5:-5], np.gradient(fit, x)[5:-5], atol=0.1 * np.abs(slope).max()
    )


@settings(deadline=None, max_examples=30)
@given(
    coefficients=st.lists(st.floats(-5, 5), min_size=5, max_size=5),
    n=st.integers(1, 80),
)
def test_smooth_keeps_a_quartic(coefficients: list[float], n: int) -> None:
    x = np.linspace(-1, 1, n)
    y = np.polynomial.polynomial.polyval(x, coefficients)
    fit, slope = smooth(x, y)
    np.testing.assert_allclose(fit, y, atol=1e-5)
    if n > 5:
        expected = np.polynomial.polynomial.polyval(
            x, np.polynomial.polynomial.polyder(coefficients)
        )
        np.testing.assert_allclose(slope, expected, atol=1e-3)


def test_each_peak_is_the_one_named() -> None:
    x = np.arange(0.0, 300.0)
    heights, centres = (400, 900, 600), (60, 150, 240)
    y = sum(h * np.exp(-0.5 * ((x - c) / 15) ** 2) for h, c in zip(heights, centres, strict=True))
    for peak, centre in (("first", 60), ("largest", 150), ("last", 240)):
        assert find_mode(x, y, peak) == pytest.approx(centre, abs=2)


def test_a_histogram_without_a_peak_gives_its_highest_bin() -> None:
    x = np.arange(0.0, 50.0)
    assert find_mode(x, 100 + x, "last") == 49
    assert find_mode(x, 200 - x, "last") == 0


# --- images that are broken ----------------------------------------------------------------------


def tissues(n: int = 20_000, seed: int = 0) -> np.ndarray:
    """Sorted intensities of CSF, grey and white matter, the last around 1000."""
    rng = np.random.default_rng(seed)
    means = np.repeat([300, 650, 1000], [n * 3 // 20, n * 8 // 20, n * 9 // 20])
    return np.sort((means + rng.normal(0, 30, means.size)).astype(np.float32))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), count=st.integers(1, 8), power=st.integers(5, 30))
def test_a_few_bright_voxels_move_nothing(seed: int, count: int, power: int) -> None:
    ordered = tissues(seed=seed)
    plain = white_stripe(ordered, 0.0, cap=3.0)
    bright = np.concatenate([ordered, np.full(count, 10.0**power, dtype=np.float32)])
    with pytest.warns(UserWarning, match=f"A: {count} voxels are brighter than 3 times"):
        found = white_stripe(bright, 0.0, cap=3.0, where="A")
    assert found.mode == plain.mode  # the same histogram
    assert found.mean == pytest.approx(plain.mean, abs=1)  # the quantiles count the bright ones
    assert found.sd == pytest.approx(plain.sd, rel=0.05)


def test_without_bright_voxels_the_cap_changes_nothing() -> None:
    assert white_stripe(tissues(), 0.0, cap=3.0) == white_stripe(tissues(), 0.0)


@pytest.mark.parametrize("levels", [255, 200, 150])
def test_eight_bit_images_find_the_same_white_matter(levels: int) -> None:
    ordered = tissues()
    step = float(ordered[-1]) / levels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = white_stripe(np.rint(ordered / step).astype(np.float32), 0.0)
    plain = white_stripe(ordered, 0.0)
    assert found.mode * step == pytest.approx(plain.mode, abs=step + 5)
    assert found.mean * step == pytest.approx(plain.mean, abs=2 * step)


@pytest.mark.parametrize("levels", [16, 4, 2])
def test_too_few_levels_for_a_stripe_warn_and_take_the_mean(levels: int) -> None:
    ordered = np.rint(tissues() / (tissues()[-1] / levels)).astype(np.float32)
    ordered = ordered[ordered > 0]
    mean = float(ordered.mean()) / 4  # three quarters of the image are background
    with pytest.warns(UserWarning, match="A: the white stripe .* above the image's mean instead"):
        found = white_stripe(ordered, mean, where="A")
    above = ordered[ordered > mean].astype(np.float64)
    assert (found.mean, found.count) == (pytest.approx(above.mean()), above.size)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "A: expected a brain with contrast, found no positive voxel"),
        ([7], "A: expected a brain with contrast, found the one value 7 in all of it"),
        ([7] * 50, "A: expected a brain with contrast, found the one value 7 in all of it"),
    ],
)
def test_brains_without_contrast_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        white_stripe(np.array(values, dtype=np.float32), 0.0, where="A")


def test_two_levels_of_which_one_is_above_the_mean_are_refused() -> None:
    ordered = np.array([1] * 50 + [2] * 50, dtype=np.float32)
    with (
        pytest.warns(UserWarning, match="above the image's mean"),
        pytest.raises(MethodError, match=r"more grey levels, or raise whitestripe\.width"),
    ):
        white_stripe(ordered, 1.5)
