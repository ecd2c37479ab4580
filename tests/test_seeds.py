"""Spread of seeds against statsmodels' mean squares, its intervals by simulation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harmobench.metrics.statistics.seeds import NAMES, mls_interval, seed_spread

TABLES = arrays(
    np.float64,
    st.tuples(st.integers(2, 10), st.integers(2, 4)),
    elements=st.floats(-9, 9).map(np.float32),
)


def simulated(seed, n=18, repeats=3, of_seed=0.5, subject=1.0, residual=0.3):
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(0, subject, (n, 1)), rng.normal(0, of_seed, (1, repeats))
    return rows + columns + rng.normal(0, residual, (n, repeats))


def test_spreads_equal_statsmodels_mean_squares():
    table = simulated(0, n=8)
    rows, columns = np.indices(table.shape)
    frame = {"subject": rows.ravel(), "repeat": columns.ravel(), "value": table.ravel()}
    ms = anova_lm(ols("value ~ C(subject) + C(repeat)", pd.DataFrame(frame)).fit())["mean_sq"]
    residual = ms["Residual"]
    expected = np.sqrt(
        [(ms["C(repeat)"] - residual) / 8, (ms["C(subject)"] - residual) / 3, residual]
    )
    found = seed_spread(table)
    assert [found[name].value for name in NAMES] == pytest.approx(expected, rel=1e-8)
    ends = np.sqrt(14 * residual / stats.chi2.ppf([0.975, 0.025], 14))
    assert (found["residual"].low, found["residual"].high) == pytest.approx(ends, rel=1e-8)
    assert [found[name].interval for name in NAMES] == ["MLS", "MLS", "chi-square"]


def test_intervals_hold_the_truth():
    truth = (0.5, 1.0, 0.3)
    inside = []
    for seed in range(600):
        found = seed_spread(simulated(seed))
        inside.append(
            [found[n].low <= t <= found[n].high for n, t in zip(NAMES, truth, strict=True)]
        )
    assert np.mean(inside, axis=0) == pytest.approx([0.95] * 3, abs=0.025)


def test_seeds_that_change_nothing_have_an_interval_from_0():
    found = [seed_spread(simulated(s, of_seed=0.0))["seed"] for s in range(200)]
    assert np.mean([one.low == 0 for one in found]) > 0.9
    assert np.mean([one.value == 0 for one in found]) > 0.3


def test_the_mls_interval_without_a_second_mean_square_is_the_chi_square_one():
    ends = 4 * 2.0 / stats.chi2.ppf([0.975, 0.025], 4)
    assert mls_interval(2.0, 0.0, 4, 30) == pytest.approx(ends, rel=1e-8)


@given(TABLES, st.floats(0.1, 10), st.floats(-5, 5))
@settings(deadline=None, max_examples=50)
def test_spreads_follow_the_unit_and_contain_their_value(table, scale, shift):
    one, other = seed_spread(table), seed_spread(table * scale + shift)
    for name in NAMES:
        assert other[name].value == pytest.approx(one[name].value * scale, rel=1e-5, abs=1e-5)
        assert 0 <= one[name].low <= one[name].value * (1 + 1e-9)
        assert one[name].value <= one[name].high * (1 + 1e-9) + 1e-12


def test_odd_tables_say_why_not():
    assert seed_spread(np.array([[1.0, 2.0]]))["seed"].reason == (
        "expected at least 2 subjects, found 1"
    )
    assert seed_spread(np.ones((4, 1)))["subject"].reason == "expected at least 2 repeats, found 1"
    assert seed_spread(np.empty((0, 3)))["residual"].value is None
    holes = seed_spread(np.array([[1.0, 2.0], [2.0, 4.0], [np.nan, 1.0]]))["seed"]
    assert (holes.n, holes.value is not None) == (2, True)
    constant = seed_spread(np.full((4, 3), 0.7))
    assert [constant[name].value for name in NAMES] == [0.0, 0.0, 0.0]
