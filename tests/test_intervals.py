"""t intervals against statsmodels, the jackknife by its definition, odd data without raising."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from harmobench.metrics.statistics.intervals import (
    TRANSFORMS,
    f_quantile,
    jackknife_interval,
    jackknifed,
    logit,
    named,
    t_interval,
    t_quantile,
)

NUMBERS = arrays(np.float64, st.integers(3, 20), elements=st.floats(-100, 100).map(np.float32))
SPREAD = NUMBERS.filter(lambda v: np.ptp(v) > 1e-3)


@given(SPREAD, st.sampled_from([0.9, 0.95]))
@settings(deadline=None, max_examples=50)
def test_t_interval_equals_statsmodels(values, level):
    found = t_interval(values, level)
    expected = DescrStatsW(values).tconfint_mean(1 - level)
    assert found.value == pytest.approx(values.mean(), rel=1e-10, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert (found.interval, found.n) == ("t", values.size)


def test_one_value_has_a_mean_and_no_interval():
    found = t_interval(np.array([3.0]))
    assert (found.value, found.low, found.high, found.interval) == (3.0, None, None, "")
    none = t_interval(np.array([]))
    assert (none.value, none.n, none.reason) == (None, 0, "expected at least 1 subjects, found 0")


@given(SPREAD)
@settings(deadline=None, max_examples=50)
def test_the_jackknife_of_a_mean_is_the_t_interval(values):
    n = values.size
    left_out = (values.sum() - values) / (n - 1)
    found, expected = jackknifed(values.mean(), left_out), t_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-8)
    assert found.interval == "jackknife-t"


def pseudo_values(value, left_out, scale):
    """Interval from pseudo-values, another way to write the same."""
    n = left_out.size
    pseudo = n * scale.there(value) - (n - 1) * scale.there(left_out)
    half = stats.t.ppf(0.975, n - 1) * stats.sem(pseudo)
    return scale.back(scale.there(value) - half), scale.back(scale.there(value) + half)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_the_jackknife_equals_the_one_from_pseudo_values(name):
    rng = np.random.default_rng(0)
    left_out = rng.uniform(0.3, 0.5, 12)
    found = jackknife_interval(0.4, left_out, name)
    assert found == pytest.approx(pseudo_values(0.4, left_out, TRANSFORMS[name]), rel=1e-10)
    assert found[0] < 0.4 < found[1]


def test_strata_have_their_own_means_and_cost_a_degree_of_freedom_each():
    left_out = np.array([1.0, 2.0, 3.0, 11.0, 13.0])
    strata = np.array([0, 0, 0, 1, 1])
    variance = 2 / 3 * 2.0 + 1 / 2 * 2.0  # sums of squares 2 and 2 about 2 and 12
    half = stats.t.ppf(0.975, 3) * np.sqrt(variance)
    found = jackknife_interval(5.0, left_out, strata=strata)
    assert found == pytest.approx((5 - half, 5 + half), rel=1e-12)
    assert named("", stratified=True) == "jackknife-t, stratified"
    assert named("log", stratified=True) == "jackknife-t, log, stratified"


@pytest.mark.parametrize(
    ("value", "left_out", "transform"),
    [
        (1.0, [1.0, 1.1], ""),  # two subjects
        (1.0, [1.0, np.nan, 1.1], ""),
        (0.0, [0.1, 0.2, 0.3], "log"),
        (1.0, [0.1, -0.2, 0.3], "log"),
        (0.5, [0.5, 1.0, 0.5], "logit"),
        (0.5, [0.5, 1.2, 0.5], "Fisher z"),
        (1.0, [1e-300, 1.0, 1e300], "log"),  # too wide to be written down
        (np.inf, [1.0, 2.0, 3.0], ""),
    ],
)
def test_where_there_is_no_interval_there_is_none(value, left_out, transform):
    assert jackknife_interval(value, np.array(left_out), transform) is None


def test_a_stratum_of_one_has_no_interval():
    left_out, strata = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 0, 1])
    assert jackknife_interval(1.0, left_out, strata=strata) is None


@given(SPREAD, st.floats(-5, 5), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_intervals_move_and_scale_with_the_numbers(values, shift, scale):
    one, other = t_interval(values), t_interval(values * scale + shift)
    assert other.low == pytest.approx(one.low * scale + shift, rel=1e-6, abs=1e-6)
    assert other.high == pytest.approx(one.high * scale + shift, rel=1e-6, abs=1e-6)


@given(arrays(np.float64, 8, elements=st.floats(0.5, 2)), st.floats(0.01, 100))
@settings(deadline=None, max_examples=50)
def test_an_interval_on_the_log_scales_and_stays_above_0(left_out, scale):
    low, high = jackknife_interval(1.0, left_out, "log")
    scaled = jackknife_interval(scale, left_out * scale, "log")
    assert 0 < low <= 1 <= high
    assert scaled == pytest.approx((low * scale, high * scale), rel=1e-8)


@given(arrays(np.float64, 8, elements=st.floats(-0.2, 0.9)))
@settings(deadline=None, max_examples=50)
def test_an_interval_on_a_logit_stays_between_its_bounds(left_out):
    low, high = jackknife_interval(0.5, left_out, logit(-0.25, 1.0))
    assert -0.25 <= low <= 0.5 <= high <= 1


def test_a_wider_level_gives_a_wider_interval():
    left_out = np.array([1.0, 2.0, 4.0])
    narrow = jackknife_interval(2.0, left_out, level=0.9)
    wide = jackknife_interval(2.0, left_out, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_quantiles_equal_scipys():
    assert t_quantile(17, 0.9) == pytest.approx(stats.t.ppf(0.95, 17), rel=1e-12)
    assert f_quantile(0.975, 17, 3.7) == pytest.approx(stats.f.ppf(0.975, 17, 3.7), rel=1e-10)
    expected = stats.chi2.ppf(0.025, 5) / 5
    assert f_quantile(0.025, 5, np.inf) == pytest.approx(expected, rel=1e-12)
