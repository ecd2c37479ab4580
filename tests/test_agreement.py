"""ICC and Bland-Altman against pingouin, CoV and RMSD by slow formulas, properties."""

import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from harmobench.metrics.statistics.agreement import (
    bland_altman,
    icc_agreement,
    rmsd,
    within_subject_cov,
)

SHAPES = st.tuples(st.integers(3, 12), st.integers(2, 5))
TABLES = arrays(np.float64, SHAPES, elements=st.integers(0, 20).map(float))  # many ties


def pingouins(table):
    """ICC(A,1) and its interval, by pingouin, which drops incomplete subjects."""
    rows, columns = np.indices(table.shape)
    long = {"subject": rows.ravel(), "scanner": columns.ravel(), "value": table.ravel()}
    old = dict(pingouin.options)
    pingouin.options.update(dict.fromkeys(old))  # no rounding
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pingouin's own, of pandas
            found = pingouin.intraclass_corr(
                pd.DataFrame(long), "subject", "scanner", "value", nan_policy="omit"
            )
    finally:
        pingouin.options.update(old)
    row = found[found["Type"].isin(["ICC2", "ICC(A,1)"])].iloc[0]
    return row["ICC"], *row.filter(like="CI95").iloc[0]


def varied(table):
    """Whether subjects, scanners and residual all vary: pingouin divides by them."""
    x = table - table.mean()
    rest = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0)
    return min(np.ptp(x.mean(axis=1)), np.ptp(x.mean(axis=0)), np.ptp(rest)) > 1e-3


@given(TABLES.filter(varied))
@settings(deadline=None, max_examples=20)
def test_icc_and_its_interval_equal_pingouins(table):
    found = icc_agreement(table)
    value, low, high = pingouins(table)
    assert found.value == pytest.approx(value, rel=1e-10, abs=1e-10)
    if found.low is not None:
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-8, abs=1e-10)
    assert (found.n, found.interval or "F") == (len(table), "F")


@pytest.mark.parametrize("seed", range(3))
def test_icc_equals_pingouins_to_ten_places_with_ties_and_missing_values(seed):
    rng = np.random.default_rng(seed)
    table = np.round(rng.normal(0, 2, (18, 1)) + rng.normal(0, 1, (18, 4)) + np.arange(4))
    table[2, 1] = table[7, 3] = np.nan
    found = icc_agreement(table)
    assert (found.value, found.low, found.high) == pytest.approx(pingouins(table), abs=1e-10)
    assert found.n == 16


def test_icc_follows_mcgraw_and_wong_in_their_own_notation():
    rng = np.random.default_rng(3)
    table = rng.normal(0, 1, (10, 1)) + rng.normal(0, 0.5, (10, 3)) + [0, 0.3, 0.6]
    n, k = table.shape
    x = table - table.mean()
    r = k * (x.mean(axis=1) ** 2).sum() / (n - 1)
    c = n * (x.mean(axis=0) ** 2).sum() / (k - 1)
    e = ((x - x.mean(axis=1, keepdims=True) - x.mean(axis=0)) ** 2).sum() / ((n - 1) * (k - 1))
    icc = (r - e) / (r + (k - 1) * e + k / n * (c - e))
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    v = (a * c + b * e) ** 2 / ((a * c) ** 2 / (k - 1) + (b * e) ** 2 / ((n - 1) * (k - 1)))
    f = stats.f.ppf(0.975, n - 1, v)
    low = n * (r - f * e) / (f * (k * c + (k * n - k - n) * e) + n * r)
    found = icc_agreement(table)
    assert (found.value, found.low) == pytest.approx((icc, low), rel=1e-10)


@given(TABLES.filter(varied), st.floats(-50, 50), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_icc_does_not_depend_on_units_or_order(table, shift, scale):
    rng = np.random.default_rng(0)
    mixed = rng.permutation(rng.permutation(table, axis=0), axis=1)
    found = icc_agreement(table)
    for other in (icc_agreement(table * scale + shift), icc_agreement(mixed)):
        assert other.value == pytest.approx(found.value, abs=1e-8)
        assert (other.low is None) == (found.low is None)
        if found.low is not None:
            assert (other.low, other.high) == pytest.approx((found.low, found.high), abs=1e-6)


def test_icc_falls_when_a_scanner_drifts_away():
    rng = np.random.default_rng(1)
    table = rng.normal(600, 50, (12, 1)) + rng.normal(0, 5, (12, 4))
    drift = np.array([0.0, 0.0, 0.0, 1.0])
    found = [icc_agreement(table + size * drift).value for size in (20, 50, 100)]
    assert icc_agreement(table).value > found[0] > found[1] > found[2]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.full((5, 3), 2.0), "all values are equal"),
        (np.array([[1.0, 2.0]]), "expected at least 2 subjects, found 1"),
        (np.array([[1.0], [2.0]]), "expected at least 2 scanners, found 1"),
        (np.empty((0, 3)), "expected at least 2 subjects, found 0"),
        (np.array([[1.0, np.nan], [np.nan, 2.0]]), "expected at least 2 subjects, found 0"),
    ],
)
def test_icc_of_odd_data_says_why_not(table, reason):
    found = icc_agreement(table)
    assert (found.value, found.low, found.reason) == (None, None, reason)


def test_perfect_agreement_is_1_without_interval():
    found = icc_agreement(np.repeat(np.arange(5.0)[:, None], 3, axis=1))
    assert (found.value, found.low, found.interval) == (1.0, None, "")


# ------------------------------------------------------------------ Bland-Altman


@given(arrays(np.float64, st.integers(2, 15), elements=st.floats(-9, 9).map(np.float32)))
@settings(deadline=None, max_examples=30)
def test_bias_and_limits_are_mean_and_1_96_sd(differences):
    bias, low, high = bland_altman(differences)
    sd = differences.std(ddof=1)
    assert bias.value == pytest.approx(differences.mean(), abs=1e-12)
    assert low.value == pytest.approx(differences.mean() - 1.96 * sd, abs=1e-10)
    assert high.value == pytest.approx(differences.mean() + 1.96 * sd, abs=1e-10)
    mirrored = bland_altman(-differences)
    assert mirrored[1].value == pytest.approx(-high.value, abs=1e-10)
    assert mirrored[1].low == pytest.approx(-high.high, abs=1e-10)


def test_limits_are_where_pingouin_draws_them():
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    x, y = np.random.default_rng(0).normal(600, 20, (2, 12))
    axes = pingouin.plot_blandaltman(x, y, confidence=None)
    drawn = sorted({round(float(line.get_ydata()[0]), 9) for line in axes.get_lines()} - {0.0})
    plt.close("all")
    bias, low, high = bland_altman(x - y)
    assert drawn == pytest.approx([low.value, bias.value, high.value], abs=1e-8)


def test_a_limits_interval_holds_95_percent_of_the_time():
    rng = np.random.default_rng(0)
    truth = 1.0 + 1.96 * 2.0
    inside = [
        high.low <= truth <= high.high
        for high in (bland_altman(row)[2] for row in rng.normal(1.0, 2.0, (4000, 10)))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


def test_a_pair_of_one_subject_has_a_bias_only():
    bias, low, high = bland_altman(np.array([2.0]))
    assert (bias.value, bias.low, low.value, high.value) == (2.0, None, None, None)
    assert low.reason == "expected at least 2 subjects, found 1"
    assert bland_altman(np.array([]))[0].value is None


# ------------------------------------------------------------------ CoV and RMSD


def holes(table, seed=0):
    table = table.copy()
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(table), 2, replace=False)
    table[rows[0], 0] = table[rows[1], -1] = np.nan
    return table


def slow_cov(table):
    rows = [row[~np.isnan(row)] for row in table]
    cvs = [np.std(row, ddof=1) / np.mean(row) for row in rows if row.size > 1]
    return np.sqrt(np.mean(np.square(cvs)))


def slow_rmsd(table):
    k = table.shape[1]
    pairs = [table[:, i] - table[:, j] for i in range(k) for j in range(i + 1, k)]
    return np.mean([np.sqrt(np.nanmean(d**2)) for d in pairs])


@pytest.mark.parametrize(
    ("function", "slow"), [(within_subject_cov, slow_cov), (rmsd, slow_rmsd)], ids=["cov", "rmsd"]
)
@pytest.mark.parametrize("missing", [False, True])
def test_cov_and_rmsd_by_slow_formulas(function, slow, missing):
    rng = np.random.default_rng(5)
    table = rng.normal(50, 5, (8, 1)) + rng.normal(0, 2, (8, 3))
    table = holes(table) if missing else table
    found = function(table)
    left_out = np.log([slow(np.delete(table, i, axis=0)) for i in range(8)])
    half = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * ((left_out - left_out.mean()) ** 2).sum())
    value = slow(table)
    assert found.value == pytest.approx(value, rel=1e-10)
    expected = (value * np.exp(-half), value * np.exp(half))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-8)
    assert (found.n, found.interval) == (8, "jackknife-t, log")


@given(arrays(np.float64, SHAPES, elements=st.floats(1, 50)), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_cov_is_without_unit_and_rmsd_has_the_measures(table, scale):
    one, other = within_subject_cov(table), within_subject_cov(table * scale)
    assert other.value == pytest.approx(one.value, rel=1e-6, abs=1e-9)
    assert rmsd(table * scale).value == pytest.approx(rmsd(table).value * scale, rel=1e-8, abs=1e-9)
    shifted = table + np.arange(len(table))[:, None]
    assert rmsd(shifted).value == pytest.approx(rmsd(table).value, rel=1e-8, abs=1e-9)


def test_scanners_that_agree_have_no_spread_and_no_interval():
    table = np.repeat(np.array([[501.1], [612.3], [702.7]]), 3, axis=1)
    for found in (within_subject_cov(table), rmsd(table)):
        assert (found.value, found.low, found.interval) == (0.0, None, "")


def test_odd_tables_say_why_not():
    single = np.array([[1.0, np.nan], [np.nan, 2.0]])
    assert (
        within_subject_cov(single).reason == "expected at least 2 subjects on two scanners, found 0"
    )
    assert rmsd(single).value is None
    assert within_subject_cov(np.array([[-1.0, 1.0], [2.0, 3.0]])).reason == "a subject's mean is 0"
    assert rmsd(np.empty((0, 2))).value is None
