"""Effect sizes against pingouin, intervals by leaving out subjects, and their properties."""

import numpy as np
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from harmobench.metrics.statistics.effects import change, standardized

TABLES = arrays(
    np.float64,
    st.tuples(st.integers(6, 14), st.integers(1, 4)),
    elements=st.integers(0, 30).map(float),
)


def groups(n):
    return np.arange(n) % 3 > 0  # uneven groups


def varied(table):
    """Whether both groups vary on every scanner, even without one subject."""
    first = groups(len(table))
    return all(
        np.ptp(np.delete(column, i)) > 0
        for own in (table[first], table[~first])
        for column in own.T
        for i in range(len(own))
    )


def pingouins(table, first, kind="cohen"):
    """Mean over scanners of pingouin's effect size, missing values left out."""
    found = []
    for column in table.T:
        one, two = column[first], column[~first]
        one, two = one[~np.isnan(one)], two[~np.isnan(two)]
        found.append(pingouin.compute_effsize(one, two, eftype=kind))
    return np.mean(found)


def interval(value, left_out, first):
    """Stratified jackknife-t interval by a plain formula."""
    variance = 0.0
    for own in (left_out[first], left_out[~first]):
        variance += (own.size - 1) / own.size * ((own - own.mean()) ** 2).sum()
    half = stats.t.ppf(0.975, first.size - 2) * np.sqrt(variance)
    return value - half, value + half


@given(TABLES.filter(varied))
@settings(deadline=None, max_examples=50)
def test_effect_sizes_equal_pingouins_with_ties(table):
    first = groups(len(table))
    d, g = standardized(table, first)
    assert d.value == pytest.approx(pingouins(table, first), rel=1e-10, abs=1e-10)
    assert g.value == pytest.approx(pingouins(table, first, "hedges"), rel=1e-10, abs=1e-10)
    assert (d.n, d.interval) == (len(table), "jackknife-t, stratified")


@pytest.mark.parametrize("missing", [False, True])
def test_intervals_by_leaving_out_one_subject_after_another(missing):
    rng = np.random.default_rng(0)
    first = np.array([True] * 5 + [False] * 6)
    table, raw = rng.normal(6, 1, (2, 11, 3)) + first[:, None]
    if missing:
        for own in (table, raw):
            own[1, 0] = own[8, 2] = np.nan
    rest = [np.arange(11) != i for i in range(11)]
    for found, kind in zip(standardized(table, first), ("cohen", "hedges"), strict=True):
        left_out = np.array([pingouins(table[r], first[r], kind) for r in rest])
        value = pingouins(table, first, kind)
        assert found.value == pytest.approx(value, rel=1e-10)
        assert (found.low, found.high) == pytest.approx(interval(value, left_out, first), rel=1e-8)
    found = change(table, raw, first)
    left_out = np.array([pingouins(table[r], first[r]) - pingouins(raw[r], first[r]) for r in rest])
    value = pingouins(table, first) - pingouins(raw, first)
    assert found.value == pytest.approx(value, rel=1e-10)
    assert (found.low, found.high) == pytest.approx(interval(value, left_out, first), rel=1e-8)


@given(TABLES.filter(varied), st.floats(0.1, 10), st.floats(-50, 50))
@settings(deadline=None, max_examples=50)
def test_effect_sizes_have_no_unit_and_follow_no_order(table, scale, shift):
    first = groups(len(table))
    order = np.random.default_rng(0).permutation(len(table))
    expected = standardized(table, first)[0]
    for other in (
        standardized(table * scale + shift, first)[0],
        standardized(table[order], first[order])[0],
    ):
        assert other.value == pytest.approx(expected.value, rel=1e-6, abs=1e-8)
        assert other.high == pytest.approx(expected.high, rel=1e-6, abs=1e-6)
    turned = standardized(table, ~first)[0]
    assert turned.value == pytest.approx(-expected.value, abs=1e-10)
    assert turned.low == pytest.approx(-expected.high, abs=1e-8)


@given(TABLES.filter(varied), st.floats(0.1, 10))
@settings(deadline=None, max_examples=30)
def test_another_unit_changes_no_effect_size(table, scale):
    found = change(table * scale, table, groups(len(table)))
    assert found.value == pytest.approx(0, abs=1e-8)
    assert found.low <= found.value <= found.high


def test_a_scanner_with_too_few_of_a_group_is_left_out():
    rng = np.random.default_rng(0)
    first = np.array([True] * 4 + [False] * 4)
    table = rng.normal(6, 1, (8, 3))
    table[1:4, 2] = np.nan
    found = standardized(table, first)[0]
    assert found.value == pytest.approx(standardized(table[:, :2], first)[0].value, rel=1e-12)


def test_groups_of_two_have_an_effect_size_without_interval():
    table = np.array([[1.0], [2.0], [3.0], [5.0], [7.0]])
    found = standardized(table, np.array([True, True, False, False, False]))[0]
    assert found.value is not None
    assert (found.low, found.interval) == (None, "")


@pytest.mark.parametrize(
    ("table", "first", "reason"),
    [
        (np.arange(4.0)[:, None], [1, 0, 0, 0], "groups of 1 and 3 are too small"),
        (np.empty((0, 2)), [], "groups of 0 and 0 are too small"),
        (np.full((4, 2), np.nan), [1, 1, 0, 0], "groups of 2 and 2 are too small"),
        (np.full((6, 2), 0.1), [1, 1, 1, 0, 0, 0], "neither group varies on a scanner"),
    ],
)
def test_odd_data_say_why_not(table, first, reason):
    first = np.array(first, dtype=bool)
    for found in (*standardized(table, first), change(table, table, first)):
        assert (found.value, found.low, found.reason) == (None, None, reason)
