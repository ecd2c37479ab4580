"""Ranks of methods and how far they move, against scipy and a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from harmobench.metrics.statistics.ranks import rank_stability

VALUES = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(2, 8)),
    elements=st.integers(-20, 20).map(float),
)


@given(VALUES)
@settings(deadline=None, max_examples=40)
def test_ranks_are_scipys_of_the_means(values):
    ranks, low, high = rank_stability(values, 1e-9, 50, 0)
    expected = stats.rankdata(-values.mean(axis=1).round(9))
    assert ranks.tolist() == expected.tolist()
    assert (low <= high).all()
    assert ((low >= 1) & (high <= len(values))).all()


@given(VALUES)
@settings(deadline=None, max_examples=20)
def test_worse_is_the_mirror_of_better(values):
    ranks = rank_stability(values, 1e-9, 50, 0)[0]
    mirrored = rank_stability(-values, 1e-9, 50, 0)[0]
    assert (ranks + mirrored).tolist() == [len(values) + 1.0] * len(values)


def test_a_method_that_is_better_in_everybody_never_moves():
    subjects = np.random.default_rng(0).normal(0, 1, 12)
    values = np.array([subjects, subjects + 1, subjects - 1])
    ranks, low, high = rank_stability(values, 1e-9, 500, 0)
    assert ranks.tolist() == low.tolist() == high.tolist() == [2.0, 1.0, 3.0]


def test_methods_that_cannot_be_told_apart_change_places():
    values = np.random.default_rng(1).normal(0, 1, (3, 15))
    ranks, low, high = rank_stability(values, 1e-9, 2000, 0)
    assert sorted(ranks) == [1.0, 2.0, 3.0]
    assert (low < high).all()


def test_rounding_does_not_order_methods():
    subjects = np.random.default_rng(2).normal(0.9, 0.05, 10)
    values = np.array([subjects, subjects + 1e-9, subjects - 1])
    ranks, low, high = rank_stability(values, 1e-6, 300, 0)
    assert ranks.tolist() == low.tolist() == high.tolist() == [1.5, 1.5, 3.0]


def test_percentiles_are_those_of_a_plain_bootstrap():
    values = np.random.default_rng(3).normal([[0.0], [0.3], [0.5]], 1, (3, 12))
    _, low, high = rank_stability(values, 1e-9, 20_000, 0)
    rng = np.random.default_rng(9)
    drawn = [stats.rankdata(-values[:, rng.integers(0, 12, 12)].mean(axis=1)) for _ in range(3000)]
    plain = np.percentile(drawn, [2.5, 97.5], axis=0)
    assert low.tolist() == plain[0].tolist()
    assert high.tolist() == plain[1].tolist()


def test_draws_follow_the_seed():
    values = np.random.default_rng(4).normal(0, 1, (5, 8))
    one = rank_stability(values, 1e-9, 30, 1)
    assert [x.tolist() for x in rank_stability(values, 1e-9, 30, 1)] == [x.tolist() for x in one]
    others = [rank_stability(values, 1e-9, 30, seed) for seed in range(5)]
    assert len({str(other) for other in others}) > 1
    assert pytest.approx(one[0]) == others[0][0]
