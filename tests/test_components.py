"""Components against statsmodels' analysis of variance and mixed models, and their properties."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.formula.api import mixedlm, ols
from statsmodels.stats.anova import anova_lm

from harmobench.metrics.statistics import reml
from harmobench.metrics.statistics.agreement import icc_agreement
from harmobench.metrics.statistics.components import NAMES, components

SHAPES = st.tuples(st.integers(3, 10), st.integers(2, 5))
TABLES = arrays(np.float64, SHAPES, elements=st.floats(-50, 50).map(np.float32))
SPREAD = TABLES.filter(lambda t: np.ptp(t) > 1e-2)


def simulated(seed=0, n=18, k=4, scanner=3.0, subject=10.0, residual=2.0):
    rng = np.random.default_rng(seed)
    effect = scanner * np.linspace(-1, 1, k)
    return 600 + rng.normal(0, subject, (n, 1)) + effect + rng.normal(0, residual, (n, k))


def with_holes(table, seed=0, share=0.15):
    table = table.copy()
    for row, column in np.argwhere(np.random.default_rng(seed).random(table.shape) < share):
        if (~np.isnan(table[row])).sum() > 2:
            table[row, column] = np.nan
    return table


def long(table):
    rows, columns = np.indices(table.shape)
    frame = {"subject": rows.ravel(), "scanner": columns.ravel(), "value": table.ravel()}
    return pd.DataFrame(frame).dropna()


def values(parts):
    return np.array([parts[name].value for name in NAMES])


@pytest.mark.parametrize("seed", range(3))
def test_balanced_components_equal_statsmodels_mean_squares(seed):
    table = simulated(seed, n=9)
    n, k = table.shape
    model = anova_lm(ols("value ~ C(subject) + C(scanner)", long(table)).fit())
    ms = model["mean_sq"]
    expected = [
        np.var(table.mean(axis=0), ddof=1) - ms["Residual"] / n,
        (ms["C(subject)"] - ms["Residual"]) / k,
        ms["Residual"],
    ]
    found = components(table)
    assert values(found.variances) == pytest.approx(expected, rel=1e-8)
    assert expected[0] == pytest.approx((ms["C(scanner)"] - ms["Residual"]) / n, rel=1e-8)
    assert values(found.shares) == pytest.approx(np.array(expected) / sum(expected), rel=1e-8)


def mixed(table):
    """Return components by statsmodels' REML with fixed scanners, and the same correction."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = long(table)
        fit = mixedlm("value ~ 0 + C(scanner)", frame, groups=frame["subject"]).fit(
            reml=True, method="lbfgs", gtol=1e-12
        )
        k = table.shape[1]
        covariance = np.asarray(fit.cov_params())[:k, :k]
    centre = np.eye(k) - 1 / k
    scanner = np.var(fit.fe_params, ddof=1) - np.trace(centre @ covariance) / (k - 1)
    return [scanner, float(fit.cov_re.iloc[0, 0]), fit.scale]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_components_equal_statsmodels_mixed_model(seed, missing):
    table = simulated(seed, n=12)
    table = with_holes(table, seed) if missing else table
    found = values(components(table).variances)
    assert found == pytest.approx(mixed(table), rel=2e-4)


@given(SPREAD)
@settings(deadline=None, max_examples=30)
def test_reml_of_a_complete_table_is_the_analysis_of_variance(table):
    parts = values(components(table).variances)
    if parts[2] < 1e-3 * parts.sum() or parts[0] + parts[1] < -0.5 * parts[2]:
        return  # at the edge of what REML searches
    x = table - table.mean()
    means, error, subject, residual = reml.fit(x, np.ones((1, len(table))))
    scanner = means.var(axis=1, ddof=1) - error
    found = np.array([scanner[0], subject[0], residual[0]])
    assert found == pytest.approx(parts, rel=1e-5, abs=1e-5 * np.abs(parts).max())


def jackknifed(made, off, low, high):
    """Interval of `made` (all, then without each) between bounds, by scipy and a plain formula."""

    def there(x):
        return np.log((x - low) / (high - x)) if np.isfinite(high) else np.log(x)

    def back(z):
        return low + (high - low) / (1 + np.exp(-z)) if np.isfinite(high) else np.exp(z)

    z = there(np.array(made))
    n = z.size - 1
    half = stats.t.ppf(0.975, n - 1) * np.sqrt((n - 1) ** 2 / n) * np.std(z[1:], ddof=1)
    return back(z[0] - half) - off, back(z[0] + half) - off


@pytest.mark.parametrize("missing", [False, True])
def test_intervals_by_leaving_out_one_subject_after_another(missing):
    table = simulated(1, n=10)
    if missing:
        table[0, 0] = table[4, 2] = np.nan
    n, k = table.shape
    tables = [table, *(np.delete(table, i, axis=0) for i in range(n))]
    parts = np.array([values(components(t).variances) for t in tables])
    if missing:
        fits = [reml.fit(t - np.nanmean(t), np.ones((1, len(t)))) for t in tables]
        error = np.array([fit[1][0] for fit in fits])
    else:
        error = parts[:, 2] / np.array([len(t) for t in tables])
    scanner, subject, residual = parts.T
    total = parts.sum(axis=1)
    found = components(table)
    most = 1 / (1 - 1 / n - 1 / k)
    expected = {
        ("variances", "scanner"): jackknifed(scanner + error, error[0], 0, np.inf),
        ("variances", "subject"): jackknifed(subject + residual / k, residual[0] / k, 0, np.inf),
        ("variances", "residual"): jackknifed(residual, 0, 0, np.inf),
        ("shares", "scanner"): jackknifed((scanner + error) / total, error[0] / total[0], 0, 1),
        ("shares", "subject"): jackknifed(subject / total, 0, -most / k, 1),
        ("shares", "residual"): jackknifed(residual / total, 0, 0, most),
    }
    for (kind, name), ends in expected.items():
        own = getattr(found, kind)[name]
        assert (own.low, own.high) == pytest.approx(ends, rel=1e-4), (kind, name)
        assert own.low < own.value < own.high
        assert own.interval == ("jackknife-t, log" if kind == "variances" else "jackknife-t, logit")


@given(SPREAD, st.floats(-50, 50), st.floats(0.1, 10))
@settings(deadline=None, max_examples=50)
def test_components_follow_units_and_no_order(table, shift, scale):
    rng = np.random.default_rng(0)
    found = components(table)
    mixed_up = components(rng.permutation(rng.permutation(table, axis=0), axis=1))
    other = components(table * scale + shift)
    size = 1e-7 * np.ptp(table) ** 2
    assert values(mixed_up.variances) == pytest.approx(values(found.variances), abs=size)
    expected = values(found.variances) * scale**2
    assert values(other.variances) == pytest.approx(expected, abs=size * max(scale**2, 1))


@given(SPREAD)
@settings(deadline=None, max_examples=50)
def test_shares_sum_to_1_and_the_subjects_is_the_icc(table):
    shares = values(components(table).shares)
    assert shares.sum() == pytest.approx(1, abs=1e-9)
    assert shares[1] == pytest.approx(icc_agreement(table).value, abs=1e-7)


@given(arrays(np.float64, st.integers(3, 10), elements=st.floats(1, 900)))
@settings(deadline=None, max_examples=50)
def test_identical_scanners_have_no_component(own):
    found = components(np.repeat(own[:, None], 4, axis=1))
    assert found.variances["scanner"].value <= 1e-20 * np.abs(own).max() ** 2
    assert found.variances["residual"].value == pytest.approx(0, abs=1e-20)
    if np.ptp(own) > 1e-3:
        assert found.shares["subject"].value == pytest.approx(1)


def test_a_growing_scanner_effect_shows_in_its_component_alone():
    table = simulated(2)
    steps = np.array([-1.0, 0.0, 0.0, 1.0])
    found = [values(components(table + size * steps).variances) for size in (0, 5, 10, 20)]
    assert [row[0] for row in found] == sorted(row[0] for row in found)
    for row in found[1:]:
        assert row[1:] == pytest.approx(found[0][1:], rel=1e-8)


def test_no_scanner_effect_is_0_on_average_and_below_it_half_the_time():
    found = [components(simulated(s, n=8, scanner=0.0)).variances["scanner"] for s in range(300)]
    numbers = np.array([one.value for one in found])
    assert abs(numbers.mean()) < 3 * numbers.std() / np.sqrt(300)
    assert 0.3 < (numbers < 0).mean() < 0.8
    assert all(one.low < 0 or one.low <= one.value for one in found)


def test_intervals_hold_the_truth():
    truth = np.array([np.var(3.0 * np.linspace(-1, 1, 4), ddof=1), 100.0, 4.0])
    inside = []
    for seed in range(400):
        parts = components(simulated(seed)).variances
        inside.append(
            [parts[n].low <= t <= parts[n].high for n, t in zip(NAMES, truth, strict=True)]
        )
    assert np.mean(inside, axis=0) == pytest.approx([0.95] * 3, abs=0.03)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (np.array([[1.0, 2.0]]), "expected at least 2 subjects on two scanners, found 1"),
        (np.empty((0, 4)), "expected at least 2 subjects on two scanners, found 0"),
        (np.full((4, 3), np.nan), "expected at least 2 subjects on two scanners, found 0"),
        (
            np.array([[1.0, 2.0, np.nan], [2.0, 3.0, np.nan], [3.0, 1.0, 4.0]]),
            "a scanner has scans of one subject only",
        ),
    ],
)
def test_odd_tables_say_why_not(table, reason):
    found = components(table)
    for each in (*found.variances.values(), *found.shares.values()):
        assert (each.value, each.low, each.reason) == (None, None, reason)


def test_a_constant_has_components_of_0_and_no_shares():
    found = components(np.full((5, 3), 7.3))
    assert values(found.variances).tolist() == [0.0, 0.0, 0.0]
    assert found.shares["scanner"].reason == "all values are equal"


def test_a_scanner_with_two_subjects_leaves_no_interval():
    table = simulated(0, n=6)
    table[2:, 0] = np.nan
    found = components(table).variances["subject"]
    assert found.value is not None
    assert (found.low, found.interval) == (None, "")


def test_subjects_on_one_scanner_and_scanners_without_scans_are_left_out():
    table = simulated(0, n=6)
    lone = np.vstack([table, [1.0, np.nan, np.nan, np.nan]])
    empty = np.column_stack([lone, np.full(7, np.nan)])
    assert values(components(empty).variances) == pytest.approx(values(components(table).variances))
