"""Equivalence tests against pingouin and statsmodels."""

import numpy as np
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from harmobench.metrics.statistics.equivalence import tost
from harmobench.metrics.statistics.paired import paired_t

DIFFERENCES = arrays(np.float64, st.integers(2, 15), elements=st.integers(-9, 9).map(float))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("margin", [0.2, 1.0, 2.5])
def test_tost_is_pingouins_and_statsmodels(seed, margin):
    rng = np.random.default_rng(seed)
    own, raw = np.round(rng.normal(0.3, 1, 17), 1), np.round(rng.normal(0, 1, 17), 1)  # with ties
    own[rng.integers(17, size=2)] = np.nan
    both = np.isfinite(own)  # missing values are dropped by pairs
    test = tost(own[both] - raw[both], margin, size=10.0)
    by_pingouin = pingouin.tost(own[both], raw[both], bound=margin, paired=True)
    assert test.p == pytest.approx(by_pingouin.at["TOST", "pval"], rel=1e-10)
    assert test.df == by_pingouin.at["TOST", "dof"]
    assert test.p == pytest.approx(ttost_paired(own[both], raw[both], -margin, margin)[0], 1e-10)
    moments = DescrStatsW(own[both] - raw[both])
    assert test.p == pytest.approx(moments.ttost_mean(-margin, margin)[0], rel=1e-10)
    assert (test.low, test.high) == pytest.approx(moments.tconfint_mean(0.1), rel=1e-10)
    assert (test.n, test.statistic) == (both.sum(), margin)


@given(DIFFERENCES, st.floats(0.1, 12))
@settings(deadline=None, max_examples=60)
def test_equivalent_is_an_interval_within_the_margin(differences, margin):
    test = tost(differences, margin, size=1.0)
    if test.status != "ok" or test.reason:
        assert np.ptp(differences) == 0
        return
    inside = test.low > -margin and test.high < margin
    if abs(test.p - 0.05) > 1e-9:
        assert (test.p < 0.05) == inside
    assert tost(-differences, margin, size=1.0).p == pytest.approx(test.p, rel=1e-9)
    assert tost(differences, 2 * margin, size=1.0).p <= test.p


def test_identical_methods_are_equivalent_and_nothing_is_made_of_too_little():
    same = tost(np.zeros(5), 0.1, size=1.0)
    assert (same.p, same.reason, same.status) == (0.0, "identical", "ok")
    assert tost(np.array([1.0]), 0.1, size=1.0).status == "undefined"
    assert tost(np.array([]), 0.1, size=1.0).status == "undefined"
    assert tost(np.full(4, 0.05), 0.1, size=1.0).status == "undefined"
    nothing = tost(np.array([1.0, 2.0]), 0.0, size=1.0)
    assert nothing.status == "undefined"
    assert "margin above 0" in nothing.reason


@pytest.mark.parametrize("seed", range(4))
def test_the_t_test_beside_it_is_pingouins(seed):
    rng = np.random.default_rng(seed)
    own, raw = np.round(rng.normal(0.3, 1, 12), 1), np.round(rng.normal(0, 1, 12), 1)
    test = paired_t(own - raw, size=1.0)
    expected = pingouin.ttest(own, raw, paired=True, confidence=0.95)
    assert test.p == pytest.approx(expected.at["T_test", "p_val"], rel=1e-10)
    assert test.statistic == pytest.approx(expected.at["T_test", "T"], rel=1e-10)
    assert test.p == pytest.approx(stats.ttest_rel(own, raw).pvalue, rel=1e-10)
