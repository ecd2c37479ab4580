"""The rigorous statistics keep what they promise: 4,000 simulated cohorts under a true null.

The data and the counting stand in benchmarks/calibration.py, which makes the whole table of
docs/calibration.md; 4,000 repetitions leave a rate of 5% a standard error of 0.34 points.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harmobench.interface import Design
from harmobench.metrics.statistics.rigorous import Rigorous
from harmobench.results import SCORE_COLUMNS, table

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "calibration.py"
REPETITIONS = 4000
LEAST, MOST = 0.04, 0.06


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_calibration", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


def test_tests_of_exchangeable_methods_reject_as_often_as_they_say(
    calibration: ModuleType, rng: np.random.Generator
) -> None:
    null = calibration.n1(rng, REPETITIONS)
    found = calibration.rates(null, ("sign-flip", "t", "Wilcoxon"))
    assert LEAST <= found["sign-flip"] <= MOST
    assert LEAST <= found["t"] <= MOST
    assert 0 < found["Wilcoxon"] <= MOST


def test_pooling_the_pairs_of_a_subject_rejects_far_too_often(
    calibration: ModuleType, rng: np.random.Generator
) -> None:
    """Which is why the unit is the subject: these are the same data as above."""
    found = calibration.rates(calibration.n1(rng, REPETITIONS // 4), ("pooled t (paper)",))
    assert found["pooled t (paper)"] > 0.1


def test_fold_level_tests_keep_the_level_where_subject_level_tests_do_not(
    calibration: ModuleType, rng: np.random.Generator
) -> None:
    null = calibration.n3(rng, REPETITIONS // 2, 0.3)
    found = calibration.rates(null, ("sign-flip", "t over folds"))
    assert found["sign-flip"] > 0.09
    assert 0.035 <= found["t over folds"] <= 0.065


def test_holm_keeps_the_familywise_error(calibration: ModuleType, rng: np.random.Generator) -> None:
    found = calibration.holm_rate(calibration.family(rng, REPETITIONS, 3, 3))
    assert 0.02 < found <= MOST  # the tests share RAW and noise, so Holm may stay under the level


def test_max_t_keeps_the_familywise_error(
    calibration: ModuleType, rng: np.random.Generator
) -> None:
    found = calibration.max_t_rate(calibration.family(rng, REPETITIONS, 3, 1))
    assert LEAST <= found <= MOST


def test_equivalence_is_rarely_found_at_the_margin_and_often_at_zero(
    calibration: ModuleType, rng: np.random.Generator
) -> None:
    at_margin = calibration.tost_rate(calibration.n1(rng, REPETITIONS), calibration.MARGIN)
    assert LEAST <= at_margin <= 0.057
    at_zero = calibration.tost_rate(calibration.n1(rng, REPETITIONS // 10), 0.0)
    assert at_zero > 0.8


@pytest.mark.parametrize("uneven", [False, True], ids=["normal", "uneven"])
def test_t_intervals_hold_the_truth(
    calibration: ModuleType, rng: np.random.Generator, uneven: bool
) -> None:
    repetitions = REPETITIONS // (4 if uneven else 1)
    found = calibration.coverage(rng, repetitions, calibration.T_TYPE, uneven)
    assert set(found) == {"mean", "difference of two methods", "bias"}
    for name, (share, without) in found.items():
        assert 0.93 <= share <= 0.97, name
        assert without == 0, name


def test_a_run_uses_what_is_calibrated(calibration: ModuleType, rng: np.random.Generator) -> None:
    """One simulated cohort, as scores of a run: the same p in the run's comparisons."""
    values = calibration.EFFECTS + rng.normal(size=(2, calibration.N, calibration.SCANNERS))
    scanners = tuple("ABCD")
    rows = [
        {"method": method, "config": "default", "fold": -1, "repeat": 0, "metric": "volume",
         "structure": "gm", "level": "scan", "units": "ml", "subject": subject,
         "scanner": scanner, "value": 500 + values[m, i, k], "status": "ok"}
        for m, method in enumerate(("raw", "trained"))
        for i, subject in enumerate(calibration.NAMES)
        for k, scanner in enumerate(scanners)
    ]  # fmt: skip
    design = Design(
        scanners,
        tuple(calibration.NAMES),
        {"raw": "baseline", "trained": "contender"},
        folds=calibration.FOLD_OF,
        metrics={"volume": "equal"},
        ranges={"volume": (0.0, np.inf)},
        declared=frozenset({"raw", "trained"}),
        trained=frozenset({"trained"}),
        margins={"volume": 1.0},
    )
    found = Rigorous().compare(table(rows, SCORE_COLUMNS), design)
    p = found[found["method"] == "trained"].set_index("test")["p"]
    pairs = calibration.pair_scores(values[:, np.newaxis])
    null = calibration.of_scores(pairs[0], pairs[1])
    expected = {name: each[0] for name, each in calibration.p_values(null).items()}
    assert p["sign_flip"] == pytest.approx(expected["sign-flip"])
    assert p["paired_t"] == pytest.approx(expected["t"])
    assert p["wilcoxon"] == pytest.approx(expected["Wilcoxon"])
    assert p["fold"] == pytest.approx(expected["t over folds"])
    assert p["tost"] == pytest.approx(calibration.tost(null.subjects[0], 1.0, 1e3).p)
