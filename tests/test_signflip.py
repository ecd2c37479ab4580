"""Sign-flip tests against scipy's permutation test, and step-down maxima by going through all."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from harmobench.metrics.statistics.signflip import EXACT, max_t, sign_flip, smallest_p

DRAWS = 200
COLUMN = arrays(np.float64, st.integers(2, 12), elements=st.integers(-6, 6).map(float))
COLUMNS = arrays(
    np.float64,
    st.tuples(st.integers(2, 8), st.integers(1, 5)),
    elements=st.floats(-3, 3).map(lambda x: round(x, 1)),
)


def one(differences, resamples=DRAWS, seed=0):
    return float(sign_flip(np.asarray(differences)[:, None], resamples, seed)[0])


def mean(x, axis):
    return np.mean(x, axis=axis)


def by_scipy(differences):
    result = stats.permutation_test(
        (differences,), mean, permutation_type="samples", n_resamples=np.inf
    )
    return result.pvalue


def t_of(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(x.mean(axis=0)) / (x.std(axis=0, ddof=1) / np.sqrt(len(x)))
    return np.where(np.isnan(t), 0.0, t)


def slow_max_t(x):
    """Westfall and Young's step-down by the formula, one sign vector at a time, on t itself."""
    own = t_of(x)
    order = np.argsort(-own, kind="stable")
    count = np.zeros(x.shape[1])
    vectors = list(product((1.0, -1.0), repeat=len(x)))
    for signs in vectors:
        t = t_of(np.array(signs)[:, None] * x)
        for place, test in enumerate(order):
            # t is infinite where all differences are equal, and then nearly so: compare relatively
            count[test] += t[order[place:]].max() >= own[test] * (1 - 1e-9)
    p = count[order] / len(vectors)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


# ------------------------------------------------------------------ one test


@pytest.mark.parametrize("n", [2, 3, 5, 8, 11, 14])
def test_exact_p_is_scipys(n):
    rng = np.random.default_rng(n)
    for differences in (rng.normal(0.4, 1, n), rng.integers(-3, 5, n).astype(float)):
        assert one(differences) == pytest.approx(by_scipy(differences), abs=1e-12)


@given(COLUMN)
@settings(deadline=None, max_examples=30)
def test_exact_p_is_scipys_with_ties_and_zeros(differences):
    assert one(differences) == pytest.approx(by_scipy(differences), abs=1e-12)


def test_many_tests_at_once_are_each_its_own():
    columns = np.random.default_rng(0).normal(0.3, 1, (11, 7))
    together = sign_flip(columns, DRAWS, 0)
    assert together.tolist() == [one(column) for column in columns.T]


def test_twenty_subjects_are_gone_through_whole():
    differences = np.arange(1.0, EXACT + 1)
    assert one(differences) == smallest_p(EXACT, DRAWS) == 2.0 ** (1 - EXACT)
    differences[0] = -1.0  # two vectors a side now: that sum, and with the 1 turned to its sign
    assert one(differences) == 2 * 2.0 ** (1 - EXACT)


def test_rounding_makes_no_difference_in_ties():
    # 0.1 + 0.2 and 0.3 are equal but for rounding, and so are the sums of either order
    tenths = np.array([0.1, 0.2, 0.3, 0.4, 0.5, -0.6, 0.7])
    assert one(tenths) == one(tenths[::-1]) == one(np.round(tenths * 10))


@given(COLUMN, st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=40)
def test_neither_sign_nor_scale_nor_order_matters(differences, scale):
    p = one(differences)
    assert 0 < p <= 1
    assert one(-differences) == p
    assert one(differences * scale) == p
    assert one(differences[::-1]) == p
    assert p >= smallest_p(differences.size, DRAWS)


def test_all_zero_is_certain():
    assert one(np.zeros(6)) == 1.0
    assert one(np.zeros(30)) == 1.0


# ------------------------------------------------------------------ Monte Carlo


def test_above_twenty_p_is_near_the_exact_one():
    rng = np.random.default_rng(3)
    differences = np.append(rng.normal(0.35, 1, EXACT), 0.0)  # a zero more changes no exact p
    exact, drawn = one(differences[:-1]), one(differences, 40_000)
    assert exact != drawn
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_monte_carlo_follows_its_seed_and_is_never_zero():
    differences = np.random.default_rng(4).normal(0.1, 1, 30)
    assert one(differences, seed=1) == one(differences, seed=1)
    assert len({one(differences, seed=seed) for seed in range(5)}) > 1
    assert one(np.ones(40), 99) == smallest_p(40, 99) == 0.01


def test_monte_carlo_draws_all_that_were_asked_for():
    resamples = 10_000  # more than a chunk
    p = one(np.random.default_rng(5).normal(0.1, 1, 25), resamples)
    assert p * (resamples + 1) == pytest.approx(round(p * (resamples + 1)))
    assert p * resamples != pytest.approx(round(p * resamples))


# ------------------------------------------------------------------ step-down maxima


@given(COLUMNS)
@settings(deadline=None, max_examples=30)
def test_step_down_maxima_by_the_slow_formula(columns):
    columns = columns[:, np.abs(columns).max(axis=0) > 0]
    if columns.size:
        assert max_t(columns, DRAWS, 0) == pytest.approx(slow_max_t(columns), abs=1e-12)


@given(COLUMNS)
@settings(deadline=None, max_examples=40)
def test_adjusted_p_are_above_their_own_and_in_the_order_of_t(columns):
    own, adjusted = sign_flip(columns, DRAWS, 0), max_t(columns, DRAWS, 0)
    assert (adjusted >= own - 1e-12).all()
    assert ((adjusted > 0) & (adjusted <= 1)).all()
    order = np.argsort(-t_of(columns), kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-12).all()


@pytest.mark.parametrize("n", [2, 9, 15, 24])
def test_of_a_single_pair_it_is_the_sign_flip_itself(n):
    column = np.random.default_rng(n).normal(0.3, 1, (n, 1))
    assert max_t(column, 5000, 7) == pytest.approx(sign_flip(column, 5000, 7), abs=1e-12)


def test_a_pair_that_differs_in_nothing_has_p_one():
    columns = np.column_stack([np.arange(1.0, 9.0), np.zeros(8)])
    assert max_t(columns, DRAWS, 0).tolist() == [2 / 2**8, 1.0]


def test_pairs_that_are_the_same_are_not_paid_for_twice():
    column = np.random.default_rng(1).normal(0.5, 1, 10)
    twice = max_t(np.column_stack([column, column, -2 * column]), DRAWS, 0)
    assert twice == pytest.approx([one(column)] * 3)


def test_maxima_by_monte_carlo_are_near_the_exact_ones():
    rng = np.random.default_rng(2)
    columns = rng.normal(0.3, 1, (16, 4))
    longer = np.vstack([columns, np.zeros((EXACT, 4))])  # zeros leave every sum as it is
    assert max_t(longer, 20_000, 0) == pytest.approx(max_t(columns, DRAWS, 0), abs=0.015)
