"""A scanner that measures 5% too much is found, and nothing else is, in scores of the paper's size.

The table is planted with what it is to show: residuals have a mean of exactly 0 on every scanner,
so that scanners differ by the planted bias alone, whatever the seed.
"""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.interface import Design
from harmobench.metrics.statistics.paper import Paper
from harmobench.metrics.statistics.rigorous import Rigorous
from harmobench.results import SCORE_COLUMNS, table

SUBJECTS = tuple(f"{n:02d}" for n in range(1, 19))  # the paper's 18
SCANNERS = ("GE", "Philips", "SiemensP", "SiemensT")  # and 4
PAIRS = tuple(combinations(SCANNERS, 2))
# Grey matter of adults, ml: mean, SD over people and SD over one person's scans, about 10% and 1%
MEAN, BETWEEN, WITHIN = 620.0, 60.0, 6.0
BIAS = 0.05
DESIGN = Design(
    scanners=SCANNERS,
    subjects=SUBJECTS,
    methods={"raw": "baseline", "mended": "contender"},
    metrics={"volume": "equal"},
    ranges={"volume": (0.0, float("inf"))},
    declared=frozenset({"raw", "mended"}),
)
CASES = (st.integers(0, 10**6), st.sampled_from(SCANNERS))


def volumes(seed, biased=None):
    """Make volumes (subject, scanner), ml; the scanner `biased` measures 5% too much."""
    rng = np.random.default_rng(seed)
    people = rng.normal(MEAN, BETWEEN, (len(SUBJECTS), 1))
    residuals = rng.normal(0, WITHIN, (len(SUBJECTS), len(SCANNERS)))
    found = people + residuals - residuals.mean(axis=0)
    if biased is not None:
        found[:, SCANNERS.index(biased)] *= 1 + BIAS
    return found


def scores(**methods):
    """Turn volumes of each method into a run's scores."""
    common = {
        "config": "default",
        "fold": -1,
        "repeat": 0,
        "tool": "hmrf",
        "metric": "volume",
        "structure": "gm",
        "level": "scan",
        "space": "native",
        "units": "ml",
        "status": "ok",
    }
    rows = [
        common | {"method": method, "subject": subject, "scanner": scanner, "value": value}
        for method, found in methods.items()
        for subject, own in zip(SUBJECTS, found, strict=True)
        for scanner, value in zip(SCANNERS, own, strict=True)
    ]
    return table(rows, SCORE_COLUMNS)


def of_raw(aggregates, name):
    """RAW's rows of one aggregate: by pair of scanners, () for the one over all."""
    rows = aggregates[(aggregates["method"] == "raw") & (aggregates["aggregate"] == name)]
    return {
        tuple(s for s in (row.scanner, row.reference_scanner) if s): row
        for row in rows.itertuples()
    }


@given(*CASES)
@settings(deadline=None, max_examples=10)
def test_paper_statistics_show_the_planted_scanner_in_the_largest_biases(seed, biased):
    found = of_raw(Paper().aggregate(scores(raw=volumes(seed, biased)), DESIGN), "bias")
    by_size = sorted(PAIRS, key=lambda pair: -found[pair].value)
    assert all(biased in pair for pair in by_size[:3])
    for pair in PAIRS:
        if biased in pair:
            assert found[pair].value == pytest.approx(BIAS * MEAN, rel=0.2)
        else:
            assert found[pair].value < 0.5 * BIAS * MEAN


@given(*CASES)
@settings(deadline=None, max_examples=10)
def test_paper_statistics_show_that_it_was_mended(seed, biased):
    given_scores = scores(raw=volumes(seed, biased), mended=volumes(seed + 1))
    tests = Paper().compare(given_scores, DESIGN)
    assert len(tests) == len(PAIRS)
    for row in tests.itertuples():
        if biased in (row.scanner, row.reference_scanner):
            assert row.estimate < 0
            assert row.p < 0.001


@given(*CASES)
@settings(deadline=None, max_examples=6)
def test_rigorous_components_and_bland_altman_intervals_show_exactly_the_planted_scanner(
    seed, biased
):
    raw = volumes(seed, biased)
    found = Rigorous(resamples=100).aggregate(scores(raw=raw, mended=volumes(seed)), DESIGN)
    planted = BIAS * raw[:, SCANNERS.index(biased)].mean() / (1 + BIAS)
    intervals = of_raw(found, "bland_altman_bias")
    assert set(intervals) == set(PAIRS)
    for pair, row in intervals.items():
        sign = {biased == pair[0]: 1, biased == pair[1]: -1}.get(True, 0)
        assert row.value == pytest.approx(sign * planted, abs=1e-6)
        assert (row.low > 0 or row.high < 0) == (biased in pair)
        assert row.low < row.value < row.high
    parts = {n: of_raw(found, f"component_{n}")[()] for n in ("scanner", "subject", "residual")}
    # the variance of four means of which one is off, less what the residual adds to it
    between = planted**2 / 4
    expected = between - parts["residual"].value / len(SUBJECTS)
    assert parts["scanner"].value == pytest.approx(expected, rel=1e-6)
    assert parts["scanner"].low > 0
    shares = [of_raw(found, f"share_{name}")[()].value for name in parts]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > 0.01


@given(CASES[0])
@settings(deadline=None, max_examples=4)
def test_rigorous_components_show_no_scanner_where_none_was_planted(seed):
    found = Rigorous(resamples=100).aggregate(scores(raw=volumes(seed)), DESIGN)
    assert of_raw(found, "component_scanner")[()].value <= 0
    for row in of_raw(found, "bland_altman_bias").values():
        assert row.value == pytest.approx(0, abs=1e-9)
        assert row.low < 0 < row.high


@given(*CASES)
@settings(deadline=None, max_examples=4)
def test_rigorous_comparison_shows_that_it_was_mended(seed, biased):
    given_scores = scores(raw=volumes(seed, biased), mended=volumes(seed + 1))
    tests = Rigorous(resamples=100).compare(given_scores, DESIGN)
    (row,) = tests[tests["test"] == "sign_flip"].itertuples()
    assert (row.method, row.comparator, row.n, row.status) == ("mended", "raw", 18, "ok")
    assert row.high < 0
    assert row.p_adjusted < 0.001
