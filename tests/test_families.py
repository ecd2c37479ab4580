"""Holm, Simes and Benjamini-Bogomolov against pingouin, statsmodels and the definitions."""

import numpy as np
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harmobench.metrics.statistics.families import (
    benjamini_bogomolov,
    benjamini_hochberg,
    holm,
    simes,
)

PS = st.lists(st.one_of(st.floats(1e-9, 1), st.sampled_from([0.01, 0.05, 1.0])), min_size=1)
FAMILIES = st.dictionaries(st.text("abcdef", min_size=1), PS, max_size=6)


def slow_holm(p):
    adjusted = {}
    largest = 0.0
    for place, test in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - place) * p[test]))
        adjusted[test] = largest
    return [adjusted[k] for k in range(len(p))]


@given(PS)
@settings(deadline=None, max_examples=50)
def test_holm_by_its_definition(p):
    adjusted = holm(p)
    assert adjusted == pytest.approx(slow_holm(p), rel=1e-10)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= -1e-12).all()


@pytest.mark.parametrize("m", [1, 2, 5, 24])
def test_holm_is_pingouins_and_statsmodels(m):
    p = np.random.default_rng(m).uniform(0, 0.3, m).round(2) + 1e-4  # with ties
    assert holm(p) == pytest.approx(pingouin.multicomp(p, method="holm")[1], rel=1e-10)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], rel=1e-10)


@given(PS)
@settings(deadline=None, max_examples=50)
def test_benjamini_hochberg_is_statsmodels_and_simes_its_least(p):
    adjusted = benjamini_hochberg(p)
    assert adjusted == pytest.approx(multipletests(p, method="fdr_bh")[1], rel=1e-10)
    expected = min(len(p) * value / (k + 1) for k, value in enumerate(sorted(p)))
    assert simes(p) == pytest.approx(min(expected, 1.0), rel=1e-12)


@given(FAMILIES)
@settings(deadline=None, max_examples=60)
def test_benjamini_bogomolov_rejects_what_holm_does_at_its_share_of_the_level(families):
    level = 0.05
    found = benjamini_bogomolov(families, level)
    assert list(found) == list(families)
    simes_p = np.array([simes(p) for p in families.values()])
    chosen = {}
    if families:
        rejected = multipletests(simes_p, alpha=level, method="fdr_bh")[0]
        chosen = dict(zip(families, rejected.tolist(), strict=True))
    for name, p in families.items():
        assert found[name].selected == chosen[name]
        share = level * sum(chosen.values()) / len(families)
        limits = np.array(slow_holm(p))
        if np.isclose(limits, share, rtol=1e-9).any():
            continue  # on the edge, rounding decides
        expected = chosen[name] & (limits <= share)
        assert ((found[name].tests <= level) == expected).all()
        assert (found[name].tests >= holm(p) - 1e-12).all()
        assert (found[name].tests <= 1).all()


def test_two_of_four_families_by_hand():
    families = {"a": [0.001, 0.2], "b": [0.8], "c": [0.01, 0.01], "d": [0.5, 0.9]}
    found = benjamini_bogomolov(families, 0.05)
    # Simes .002, .8, .01, .9; BH of these .008, .9, .02, .9; at .05 R / F = 1/2
    assert [f.simes for f in found.values()] == pytest.approx([0.002, 0.8, 0.01, 0.9])
    assert [f.adjusted for f in found.values()] == pytest.approx([0.008, 0.9, 0.02, 0.9])
    assert [f.selected for f in found.values()] == [True, False, True, False]
    # below .02 a is alone: 4 x .002; and below .008 it is not selected
    assert found["a"].tests == pytest.approx([0.008, 0.4])
    assert found["c"].tests == pytest.approx([0.04, 0.04])
    assert found["b"].tests == pytest.approx([0.9])
    assert found["d"].tests.tolist() == [1.0, 1.0]


@given(FAMILIES, st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_adjusted_p_belong_to_no_level(families, one, other):
    first, second = (benjamini_bogomolov(families, level) for level in (one, other))
    for name in families:
        assert first[name].tests.tolist() == second[name].tests.tolist()


def test_no_family_is_none():
    assert benjamini_bogomolov({}, 0.05) == {}
