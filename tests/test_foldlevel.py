"""The fold-level test against scipy, the within-fold ICC against pingouin and an ANOVA by hand."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from harmobench.interface import Design
from harmobench.metrics.statistics.foldlevel import by_fold, folds_of, within_fold_icc
from harmobench.metrics.statistics.paired import paired_t


def drawn(sizes, within, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(rng.normal(0, np.sqrt(within)), np.sqrt(1 - within), n) for n in sizes]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pingouin")
@pytest.mark.parametrize("seed", range(5))
def test_icc_of_equal_folds_is_pingouins(seed):
    groups = drawn([3] * 6, 0.4, seed)
    long = [(f, k, v) for f, group in enumerate(groups) for k, v in enumerate(group)]
    frame = pd.DataFrame(long, columns=["fold", "place", "value"])
    table = pingouin.intraclass_corr(frame, targets="fold", raters="place", ratings="value")
    one = table.set_index("Type").loc["ICC(1,1)"]
    found = within_fold_icc(groups)
    assert found.value == pytest.approx(one["ICC"], abs=1e-10)
    low, high = (
        lambda f: (f - 1) / (f + 2)  # pingouin's interval is rounded
    )(one["F"] / stats.f.ppf([0.975, 0.025], 5, 12))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-10)
    assert np.round([low, high], 2) == pytest.approx(one["CI95"], abs=0.011)


def test_icc_of_unequal_folds_by_the_formula():
    groups = [np.array([1.0, 2.0]), np.array([4.0, 6.0, 5.0]), np.array([2.0])]
    ratio = stats.f_oneway(*groups).statistic
    k = (6 - (4 + 9 + 1) / 6) / 2
    assert within_fold_icc(groups).value == pytest.approx((ratio - 1) / (ratio + k - 1))


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_icc_finds_the_correlation_that_was_put_in(rho):
    assert within_fold_icc(drawn([3] * 4000, rho)).value == pytest.approx(rho, abs=0.03)


@pytest.mark.parametrize(
    "groups",
    [[], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 1.0], [1.0, 1.0]], [[], [1.0, 2.0]]],
)
def test_no_icc_of_too_little(groups):
    found = within_fold_icc([np.array(group) for group in groups])
    assert found.value is None
    assert found.reason


def test_folds_that_differ_only_as_wholes_are_all_alike():
    found = within_fold_icc([np.array([1.0, 1.0]), np.array([2.0, 2.0])])
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_scaling_and_shifting_leave_the_icc():
    groups = drawn([3, 2, 4], 0.5)
    moved = [7 - 3 * group for group in groups]
    assert within_fold_icc(moved).value == pytest.approx(within_fold_icc(groups).value)


def test_the_fold_test_is_a_t_test_of_fold_means():
    rng = np.random.default_rng(0)
    subjects = [f"{k}" for k in range(9)]
    folds = {s: k % 3 for k, s in enumerate(subjects)}
    values = rng.normal(0.5, 1, 9)
    means = [values[fold::3].mean() for fold in range(3)]
    groups = by_fold(subjects, values, folds)
    assert [group.mean() for group in groups] == means
    test = paired_t(np.array([group.mean() for group in groups]), 1.0)
    assert test.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert test.n == 3


def test_subjects_without_a_fold_are_left_out():
    groups = by_fold(["1", "2", "3"], np.array([1.0, 2.0, 3.0]), {"1": 0, "3": -1})
    assert [group.tolist() for group in groups] == [[1.0]]


def test_every_repeat_has_folds_of_its_own():
    rows = [
        ("mispel", 0, "01", 0),
        ("mispel", 0, "02", 1),
        ("mispel", 1, "01", 1),
        ("mispel", 1, "", -1),
        ("raw", 1, "02", -1),
    ]
    scores = pd.DataFrame(rows, columns=["method", "repeat", "subject", "fold"])
    design = Design(
        ("A",), ("01", "02"), {}, folds={"01": 5, "02": 6}, trained=frozenset({"mispel"})
    )
    assert folds_of(scores, design) == {
        (0, "mispel"): {"01": 0, "02": 1},
        (1, "mispel"): {"01": 1, "02": 6},
    }
