"""Slopes against scipy and statsmodels, by leaving out subjects, and their properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.regression.linear_model import OLS

from harmobench.metrics.statistics.slopes import slope

NUMBERS = arrays(np.float64, st.integers(3, 20), elements=st.floats(-100, 100).map(np.float32))
SPREAD = NUMBERS.filter(lambda x: np.std(x) > 1e-2)


def noise(x, seed=0):
    return np.random.default_rng(seed).normal(size=x.size)


@given(SPREAD)
@settings(deadline=None, max_examples=50)
def test_slope_equals_scipys(x):
    y = 0.5 * x + noise(x)
    assert slope(x, y).value == pytest.approx(stats.linregress(x, y).slope, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n", [4, 9, 18])
def test_the_interval_by_leaving_out_one_subject_after_another(n):
    x = np.random.default_rng(n).normal(600, 50, n)
    y = 0.8 * x + noise(x, 1)
    left_out = np.array(
        [stats.linregress(np.delete(x, i), np.delete(y, i)).slope for i in range(n)]
    )
    se = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, n - 1) * se
    found = slope(x, y)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert (found.n, found.interval) == (n, "jackknife-t")


def test_the_standard_error_is_near_statsmodels_hc3():
    # the jackknife and HC3 differ by (n - 1) / n and the mean they are about
    x = np.random.default_rng(0).normal(size=200)
    y = 0.7 * x + noise(x, 1) * (1 + np.abs(x))
    design = np.column_stack([np.ones(200), x])
    expected = OLS(y, design).fit(cov_type="HC3").bse[1]
    found = slope(x, y)
    assert (found.high - found.low) / 2 / stats.t.ppf(0.975, 199) == pytest.approx(
        expected, rel=0.01
    )


@given(SPREAD, st.floats(0, 2), st.floats(-50, 50))
@settings(deadline=None, max_examples=50)
def test_keeping_a_part_of_every_subject_is_that_slope(x, keep, mean):
    found = slope(x, keep * x + mean)
    assert found.value == pytest.approx(keep, abs=1e-6)
    if found.low is not None:
        assert found.low <= found.value <= found.high
        assert found.high - found.low == pytest.approx(0, abs=1e-5)


@given(SPREAD, st.floats(0.1, 10), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_slope_follows_units_and_no_order(x, one, other):
    y = 0.5 * x + noise(x)
    order = np.random.default_rng(1).permutation(x.size)
    expected = slope(x, y).value
    assert slope(x[order], y[order]).value == pytest.approx(expected, rel=1e-8, abs=1e-8)
    scaled = slope(x * one + 3, y * other - 2).value
    assert scaled == pytest.approx(expected * other / one, rel=1e-6, abs=1e-6)


def test_odd_data_say_why_not():
    assert slope(np.array([1.0]), np.array([2.0])).reason == "expected at least 2 subjects, found 1"
    assert slope(np.array([]), np.array([])).value is None
    found = slope(np.full(5, 0.1), np.arange(5.0))
    assert found.reason == "the measure to compare with is equal in all subjects"
    two = slope(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    assert (two.value, two.low) == (2.0, None)


def test_one_subject_that_carries_the_slope_leaves_no_interval():
    found = slope(np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.interval) == (None, "")
