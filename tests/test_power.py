"""The power planner's arithmetic against statsmodels, plain integrals and simulation."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from harmobench.metrics.statistics import power as planner

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "power.py"
POINTS = 0.03  # that simulated power may be away from the planned

subjects = st.integers(4, 200)
sds = st.floats(1e-6, 1e6)
powers = st.floats(0.3, 0.99)
levels = st.floats(1e-4, 0.2)


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_power", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("n", [5, 8, 12, 18, 40, 200])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_paired_power_is_that_of_statsmodels(n: int, wanted: float, level: float) -> None:
    smallest = planner.smallest_difference(2.5, n, wanted, level)
    expected = TTestPower().power(smallest / 2.5, n, level, alternative="two-sided")
    assert abs(expected - wanted) < 1e-8


@pytest.mark.parametrize("n", [6, 12, 18, 40])
@pytest.mark.parametrize("wanted", [0.5, 0.8])
def test_power_of_two_groups_is_that_of_statsmodels(n: int, wanted: float) -> None:
    smallest = planner.smallest_group_effect(n, wanted, 0.05)
    expected = TTestIndPower().power(smallest, n / 2, 0.05, ratio=1.0, alternative="two-sided")
    assert abs(expected - wanted) < 1e-8


@pytest.mark.parametrize("df", [1, 2, 5, 17, 400])
@pytest.mark.parametrize("shift", [0.0, 0.7, 3.0, 15.0])
@pytest.mark.parametrize("level", [0.05, 0.0005])
def test_power_is_the_plain_integral_also_where_scipy_has_none(
    df: int, shift: float, level: float
) -> None:
    critical = stats.t.isf(level / 2, df)

    def outside(s: float) -> float:
        tails = stats.norm.sf(critical * s - shift) + stats.norm.cdf(-critical * s - shift)
        return float(tails * stats.chi.pdf(s * np.sqrt(df), df) * np.sqrt(df))

    ends = [0.0, shift / critical, *stats.chi.isf([0.999, 0.5, 1e-3, 1e-15], df) / np.sqrt(df)]
    ends = sorted(ends)
    expected = sum(
        integrate.quad(outside, a, b, epsabs=1e-12, limit=200)[0] for a, b in pairwise(ends)
    )
    assert abs(planner.power_of(shift, df, level) - expected) < 1e-9
    assert planner.power_of(-shift, df, level) == planner.power_of(shift, df, level)


@given(subjects, sds, powers, levels)
@settings(max_examples=30, deadline=None)
def test_smallest_differences_move_as_they_must(
    n: int, sd: float, wanted: float, level: float
) -> None:
    smallest = planner.smallest_difference(sd, n, wanted, level)
    assert smallest > 0
    assert planner.smallest_difference(sd, n + 1, wanted, level) < smallest
    assert planner.smallest_difference(2 * sd, n, wanted, level) == pytest.approx(2 * smallest)
    assert planner.smallest_difference(sd, n, wanted + 0.005, level) > smallest
    assert planner.smallest_difference(sd, n, wanted, level / 2) > smallest
    assert planner.smallest_difference(sd, n, wanted, level, 4.0) == pytest.approx(2 * smallest)


@given(st.integers(4, 60), st.integers(2, 12), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_design_factor_is_that_of_the_covariance_matrix(
    n: int, folds: int, correlation: float
) -> None:
    sizes = planner.fold_sizes(n, min(folds, n))
    assert sum(sizes) == n
    assert max(sizes) - min(sizes) <= 1
    fold = np.repeat(np.arange(len(sizes)), sizes)
    covariance = np.where(fold[:, None] == fold, correlation, 0.0)
    np.fill_diagonal(covariance, 1.0)
    variance_of_mean = covariance.sum() / n**2
    assert planner.design_factor(sizes, correlation) == pytest.approx(variance_of_mean * n)


def test_no_correlation_and_single_subjects_leave_the_variance_as_it_is() -> None:
    assert planner.design_factor((3, 3, 3), 0.0) == 1.0
    assert planner.design_factor((1,) * 9, 0.7) == 1.0


def test_folds_means_have_fewer_degrees_of_freedom_so_they_find_less() -> None:
    sizes = (3,) * 6
    factor = planner.design_factor(sizes, 0.1)
    by_subjects = planner.smallest_difference(1.0, 18, 0.8, 0.05, factor)
    assert planner.smallest_by_folds(1.0, sizes, 0.8, 0.05, 0.1) > by_subjects


@given(st.integers(12, 200), st.floats(0.01, 1.0), st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_the_smallest_change_of_d_is_its_standard_error_times_noncentrality(
    n: int, sd: float, effect: float
) -> None:
    change = planner.smallest_change(sd, n, 0.8, 0.05, effect)
    assert change is not None
    nu, r2 = n - 2, (1 - sd**2 / 2) ** 2
    other = effect + change
    both = 1 / (n // 2) + 1 / (n - n // 2)
    squares = effect**2 + both + other**2 + both - 2 * r2 * (effect * other + both)
    variance = sd**2 * both + squares / (2 * nu)
    assert change == pytest.approx(planner.noncentrality(nu, 0.8, 0.05) * np.sqrt(variance))


@pytest.mark.parametrize("n", [3, 4, 5])
def test_too_few_subjects_show_no_change_of_d(n: int) -> None:
    assert planner.smallest_change(0.1, n, 0.8, 0.05, 0.8) is None


@pytest.mark.parametrize("n", [2, 3])
def test_two_groups_need_two_subjects_each(n: int) -> None:
    assert planner.smallest_group_effect(n, 0.8, 0.05) is None


@pytest.mark.parametrize("level", [0.05, 0.05 / 12, 0.5])
def test_the_fewest_subjects_of_a_sign_flip_test(level: float) -> None:
    n = planner.fewest_for_sign_flip(level)
    everything = [sum(1 for k in range(2**m) if k in (0, 2**m - 1)) / 2**m for m in range(1, n + 1)]
    assert everything[-1] <= level
    assert all(p > level for p in everything[:-1])


@pytest.mark.parametrize(
    ("n", "folds", "correlation"),
    [(8, None, 0.0), (18, None, 0.0), (18, 6, 0.1), (18, 6, 0.3), (40, 6, 0.1)],
)
def test_planned_power_is_simulated_power(
    simulation: ModuleType, n: int, folds: int | None, correlation: float
) -> None:
    by_folds = {"t over folds"} if folds else set()
    found = simulation.of_means(np.random.default_rng(n), 8000, n, folds, correlation)
    assert set(found) == ({"t", "sign-flip"} if folds is None and n < 21 else {"t"} | by_folds)
    if n < 12:  # so few sign vectors that the level cannot be used up
        assert simulation.POWER - 0.05 < found.pop("sign-flip") < simulation.POWER
    for test, share in found.items():
        assert abs(share - simulation.POWER) < POINTS, test


@pytest.mark.parametrize(("effect", "noise"), [(0.0, 0.1), (0.8, 0.3)])
def test_planned_power_for_a_change_of_d_is_that_of_the_runs_own_interval(
    simulation: ModuleType, effect: float, noise: float
) -> None:
    _, share = simulation.of_change(np.random.default_rng(1), 2000, 18, effect, noise)
    assert abs(share - simulation.POWER) < POINTS


def test_planned_power_for_two_groups_is_simulated_power(simulation: ModuleType) -> None:
    assert abs(simulation.of_groups(np.random.default_rng(2), 8000, 18) - 0.8) < POINTS
