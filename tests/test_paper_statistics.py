"""The paper's aggregates by hand, its tests against scipy, its effect sizes against pingouin."""

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from harmobench.interface import Design, Group
from harmobench.metrics.statistics.effect_size import cohen_d, hedges_g
from harmobench.metrics.statistics.paired import paired_t
from harmobench.metrics.statistics.paper import Paper
from harmobench.results import AGGREGATE_COLUMNS, COMPARISON_COLUMNS, SCORE_COLUMNS, table

SUBJECTS = ("01", "02", "03", "04")
SCANNERS = ("Z", "Y", "X")  # not sorted: the design's order decides
PAIRS = (("Z", "Y"), ("Z", "X"), ("Y", "X"))
BETTER = {
    "ssim": "higher",
    "dice": "higher",
    "auroc": "higher",
    "volume": "equal",
    "biomarker": "equal",
    "slice_consistency": "higher",
}
LEVELS = {"ssim": "pair", "dice": "pair"}
NUMBERS = arrays(np.float64, st.integers(2, 20), elements=st.floats(-100, 100).map(np.float32))


def design(groups=None, scanners=SCANNERS):
    named = Group("svd", "high", "low") if groups else None
    return Design(
        scanners=scanners,
        subjects=SUBJECTS,
        methods={"raw": "baseline", "mispel": "contender"},
        group=named,
        groups=groups or {},
        metrics=BETTER,
    )


def row(method, metric, structure, subject, scanner, value, reference="", **more):
    return {
        "method": method,
        "config": "default",
        "fold": -1,
        "repeat": 0,
        "metric": metric,
        "structure": structure,
        "level": LEVELS.get(metric, "scan"),
        "space": "template",
        "subject": subject,
        "scanner": scanner,
        "reference_scanner": reference,
        "value": value,
        "status": "ok",
    } | more


def scan_scores(method, metric, structure, values, **more):
    """Turn values[subject][scanner] into rows."""
    return [
        row(method, metric, structure, subject, scanner, value, **more)
        for subject, own in zip(SUBJECTS, values, strict=False)
        for scanner, value in zip(SCANNERS, own, strict=False)
    ]


def pair_scores(method, metric, structure, values, **more):
    """Turn values[subject][pair] into rows."""
    return [
        row(method, metric, structure, subject, a, value, b, **more)
        for subject, own in zip(SUBJECTS, values, strict=False)
        for (a, b), value in zip(PAIRS, own, strict=False)
    ]


def aggregates(rows, given_design=None):
    frame = Paper().aggregate(table(rows, SCORE_COLUMNS), given_design or design())
    assert tuple(frame.columns) == AGGREGATE_COLUMNS
    assert set(frame["mode"]) == {"paper"}
    return frame


def value(frame, aggregate, scanner="", reference="", **more):
    wanted = {"aggregate": aggregate, "scanner": scanner, "reference_scanner": reference} | more
    found = frame
    for name, content in wanted.items():
        found = found[found[name] == content]
    assert len(found) == 1, (wanted, len(found))
    return found.iloc[0]


def comparisons(rows, given_design=None):
    frame = Paper().compare(table(rows, SCORE_COLUMNS), given_design or design())
    assert tuple(frame.columns) == COMPARISON_COLUMNS
    return frame


def pair_row(frame, a, b):
    found = frame[(frame["scanner"] == a) & (frame["reference_scanner"] == b)]
    assert len(found) == 1
    return found.iloc[0]


# ------------------------------------------------------------------ aggregates by hand


def test_volume_bias_and_variance_by_hand():
    # differences Z-Y: -3, 1, -5; absolute 3, 1, 5
    rows = scan_scores(
        "raw", "volume", "gm", [(10, 13, 10), (20, 19, 22), (30, 35, 30)], units="ml", tool="hmrf"
    )
    frame = aggregates(rows)
    assert value(frame, "bias", "Z", "Y")["value"] == pytest.approx(3.0)
    assert value(frame, "bias_sd", "Z", "Y")["value"] == pytest.approx(2.0)
    assert value(frame, "rmsd", "Z", "Y")["value"] == pytest.approx(np.sqrt(35 / 3))
    assert value(frame, "bias", "Z", "X")["value"] == pytest.approx(2 / 3)
    assert value(frame, "mean", "Z")["value"] == pytest.approx(20.0)
    assert value(frame, "sd", "Z")["value"] == pytest.approx(10.0)
    # Y-X: 3, -3, 5; pooled absolute differences 3 1 5 0 2 0 3 3 5
    assert value(frame, "bias")["value"] == pytest.approx(22 / 9)
    assert value(frame, "bias_sd")["value"] == pytest.approx(
        np.std([3, 1, 5, 0, 2, 0, 3, 3, 5], ddof=1)
    )
    rmsds = [np.sqrt(35 / 3), np.sqrt(4 / 3), np.sqrt(43 / 3)]
    assert value(frame, "rmsd")["value"] == pytest.approx(np.mean(rmsds))
    assert set(frame["tool"]) == {"hmrf"}
    assert set(frame["units"]) == {"ml"}
    assert value(frame, "bias", "Z", "Y")["n"] == 3
    assert value(frame, "bias")["n"] == 9


def test_pair_means_by_hand():
    frame = aggregates(pair_scores("raw", "ssim", "brain", [(0.9, 0.8, 0.7), (0.7, 0.8, 0.6)]))
    assert value(frame, "mean", "Z", "Y")["value"] == pytest.approx(0.8)
    assert value(frame, "sd", "Z", "Y")["value"] == pytest.approx(np.sqrt(0.02))
    assert value(frame, "mean")["value"] == pytest.approx(0.75)
    assert value(frame, "mean")["n"] == 6
    assert set(frame["aggregate"]) == {"mean", "sd"}


def test_contrast_spread_is_the_mean_of_each_subjects_sd():
    frame = aggregates(scan_scores("raw", "auroc", "gm-wm", [(0.7, 0.8, 0.9), (0.8, 0.8, 0.8)]))
    found = value(frame, "spread")
    assert found["value"] == pytest.approx(0.05)
    assert found["n"] == 2
    assert value(frame, "mean", "Z")["value"] == pytest.approx(0.75)
    assert value(frame, "sd", "X")["value"] == pytest.approx(np.std([0.9, 0.8], ddof=1))


def test_slice_consistency_has_its_range():
    scores = scan_scores("raw", "slice_consistency", "axial", [(0.97, 0.99, 1.0), (0.98, 0.99, 1)])
    found = value(aggregates(scores), "mean")
    assert found["value"] == pytest.approx(5.93 / 6)
    assert (found["low"], found["high"], found["interval"]) == (0.97, 1.0, "range")


def test_a_missing_scan_leaves_its_pairs_only():
    rows = scan_scores("raw", "volume", "gm", [(10, 13, 10), (20, 19, 22), (30, 35, 30)])
    whole = aggregates(rows)
    frame = aggregates([r for r in rows if (r["subject"], r["scanner"]) != ("02", "Y")])
    assert value(frame, "bias", "Z", "Y")["value"] == pytest.approx(4.0)
    assert value(frame, "bias", "Z", "Y")["n"] == 2
    assert value(frame, "bias", "Z", "X")["value"] == value(whole, "bias", "Z", "X")["value"]
    assert value(frame, "bias")["n"] == 7
    assert value(frame, "mean", "Y")["value"] == pytest.approx(24.0)


def test_one_value_has_no_sd():
    frame = aggregates(pair_scores("raw", "ssim", "brain", [(0.9,)]))
    found = value(frame, "sd", "Z", "Y")
    assert (found["status"], found["reason"]) == ("undefined", "too few values: 1")
    assert np.isnan(found["value"])


def test_scores_that_are_not_ok_do_not_count():
    rows = pair_scores("raw", "dice", "gm", [(0.9, 0.8, 0.7), (0.7, 0.8, 0.6)])
    rows[0] |= {"status": "undefined", "value": None, "reason": "both segmentations are empty"}
    frame = aggregates(rows)
    assert value(frame, "mean", "Z", "Y")["value"] == pytest.approx(0.7)
    assert value(frame, "mean", "Z", "Y")["n"] == 1


@pytest.mark.parametrize(("metric", "aggregate"), [("biomarker", "bias"), ("auroc", "mean")])
def test_a_block_without_scores_says_the_worst_reason(metric, aggregate):
    rows = scan_scores("raw", metric, "amygdala", [(None,) * 3] * 2, status="not_measured")
    rows[3] |= {"status": "failed", "reason": "the model did not converge"}
    frame = aggregates(rows)
    assert len(frame) == 1
    found = value(frame, aggregate)
    assert (found["status"], found["reason"], found["n"]) == (
        "failed",
        "the model did not converge",
        0,
    )


def test_methods_tools_and_repeats_stay_apart():
    rows = []
    for k, labels in enumerate([{"tool": "hmrf"}, {"tool": "atropos"}, {"repeat": 1}]):
        rows += pair_scores("raw", "dice", "gm", [(0.1 * k,) * 3] * 2, **labels)
    rows += pair_scores("mispel", "dice", "gm", [(0.9,) * 3] * 2)
    means = aggregates(rows)
    means = means[(means["aggregate"] == "mean") & (means["scanner"] == "")]
    assert sorted(means["value"]) == pytest.approx([0.0, 0.1, 0.2, 0.9])
    assert set(means["n"]) == {6}


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    groups = dict(zip(SUBJECTS, ("high", "high", "low", "low"), strict=True))
    rows = scan_scores("raw", "volume", "gm", rng.normal(600, 50, (4, 3)))
    rows += scan_scores("mispel", "volume", "gm", rng.normal(600, 50, (4, 3)))
    mixed = [rows[i] for i in rng.permutation(len(rows))]
    pd.testing.assert_frame_equal(
        aggregates(rows, design(groups)), aggregates(mixed, design(groups))
    )
    pd.testing.assert_frame_equal(comparisons(rows), comparisons(mixed))


# ------------------------------------------------------------------ effect sizes


def test_effect_sizes_by_hand():
    groups = dict(zip(SUBJECTS, ("low", "high", "low", "high"), strict=True))
    # Z: high 5, 7 (mean 6, variance 2), low 3, 5 (mean 4, variance 2): d = 2 / sqrt(2)
    # Y: high 4, 6, low 5, 7: d = -1 / sqrt(2)
    rows = scan_scores("raw", "biomarker", "amygdala", [(3, 5), (5, 4), (5, 7), (7, 6)])
    frame = aggregates(rows, design(groups, scanners=("Z", "Y")))
    correction = 1 - 3 / 7
    assert value(frame, "cohen_d", "Z")["value"] == pytest.approx(np.sqrt(2))
    assert value(frame, "cohen_d", "Y")["value"] == pytest.approx(-np.sqrt(0.5))
    assert value(frame, "cohen_d", "Z")["n"] == 4
    assert value(frame, "hedges_g", "Z")["value"] == pytest.approx(np.sqrt(2) * correction)
    both = [np.sqrt(2), -np.sqrt(0.5)]
    assert value(frame, "cohen_d_mean")["value"] == pytest.approx(np.mean(both))
    assert value(frame, "cohen_d_sd")["value"] == pytest.approx(np.std(both, ddof=1))
    assert value(frame, "cohen_d_mean")["n"] == 2
    assert value(frame, "hedges_g_mean")["value"] == pytest.approx(np.mean(both) * correction)


def test_groups_exchanged_change_the_sign_only():
    rng = np.random.default_rng(1)
    rows = scan_scores("raw", "volume", "gm", rng.normal(600, 50, (4, 3)))
    codes = ("high", "low", "low", "high")
    turned = {"high": "low", "low": "high"}
    one = aggregates(rows, design(dict(zip(SUBJECTS, codes, strict=True))))
    other = aggregates(rows, design({s: turned[c] for s, c in zip(SUBJECTS, codes, strict=True)}))
    for scanner in SCANNERS:
        assert value(one, "cohen_d", scanner)["value"] == pytest.approx(
            -value(other, "cohen_d", scanner)["value"]
        )


def test_no_effect_sizes_without_groups_or_for_pairs():
    rows = scan_scores("raw", "volume", "gm", [(1, 2, 3)] * 4)
    assert not aggregates(rows)["aggregate"].str.contains("cohen|hedges").any()
    groups = dict(zip(SUBJECTS, ("high", "high", "low", "low"), strict=True))
    pairs = pair_scores("raw", "dice", "gm", [(0.5, 0.6, 0.7)] * 4)
    assert not aggregates(pairs, design(groups))["aggregate"].str.contains("cohen").any()


def test_a_group_of_one_has_no_effect_size():
    groups = dict(zip(SUBJECTS, ("high", "low", "low", "low"), strict=True))
    rows = scan_scores("raw", "volume", "gm", [(1, 2, 3), (2, 4, 3), (3, 5, 1), (2, 2, 2)])
    frame = aggregates(rows, design(groups))
    found = value(frame, "cohen_d", "Z")
    assert found["status"] == "undefined"
    assert "groups of 1 and 3" in found["reason"]
    assert value(frame, "cohen_d_mean")["status"] == "undefined"


@given(NUMBERS, NUMBERS)
@settings(deadline=None, max_examples=50)
def test_cohens_d_equals_pingouins(first, second):
    d = cohen_d(first, second)
    if d is None:
        assert max(np.ptp(first), np.ptp(second)) < 1e-9
        return
    expected = pingouin.compute_effsize(first, second, eftype="cohen")
    assert d == pytest.approx(expected, rel=1e-10, abs=1e-10)
    g = pingouin.compute_effsize(first, second, eftype="hedges")
    assert hedges_g(d, first.size, second.size) == pytest.approx(g, rel=1e-10, abs=1e-10)


# ------------------------------------------------------------------ tests against RAW


def random_pairs(seed):
    return np.random.default_rng(seed).uniform(0.5, 0.9, (4, 3))


@pytest.mark.parametrize("metric", ["ssim", "dice"])
def test_pair_scores_are_tested_by_pair(metric):
    raw, own = random_pairs(0), random_pairs(1)
    rows = pair_scores("raw", metric, "gm", raw) + pair_scores("mispel", metric, "gm", own)
    frame = comparisons(rows)
    assert len(frame) == 3
    for k, (a, b) in enumerate(PAIRS):
        found = pair_row(frame, a, b)
        expected = stats.ttest_rel(own[:, k], raw[:, k])
        interval = expected.confidence_interval(0.95)
        difference = own[:, k] - raw[:, k]
        assert found["statistic"] == pytest.approx(expected.statistic, rel=1e-10)
        assert found["p"] == pytest.approx(expected.pvalue, rel=1e-10)
        assert (found["n"], found["df"]) == (4, 3.0)
        assert found["estimate"] == pytest.approx(difference.mean())
        assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
        assert found["effect"] == pytest.approx(difference.mean() / difference.std(ddof=1))
        assert (found["method"], found["comparator"]) == ("mispel", "raw")
        assert (found["test"], found["mode"], found["status"]) == ("paired_t", "paper", "ok")
        assert np.isnan(found["p_adjusted"])


def test_volumes_are_tested_on_absolute_differences():
    rng = np.random.default_rng(2)
    raw, own = rng.normal(600, 50, (4, 3)), rng.normal(600, 20, (4, 3))
    rows = scan_scores("raw", "volume", "gm", raw) + scan_scores("mispel", "volume", "gm", own)
    frame = comparisons(rows)
    assert len(frame) == 3
    for a, b in PAIRS:
        i, k = SCANNERS.index(a), SCANNERS.index(b)
        x, y = (np.abs(v[:, i] - v[:, k]) for v in (own, raw))
        found, expected = pair_row(frame, a, b), stats.ttest_rel(x, y)
        assert found["p"] == pytest.approx(expected.pvalue, rel=1e-10)
        assert found["estimate"] == pytest.approx((x - y).mean())


def test_biomarkers_are_tested_once_over_all_pairs():
    rng = np.random.default_rng(3)
    raw, own = rng.normal(4, 0.5, (4, 3)), rng.normal(4, 0.2, (4, 3))
    rows = scan_scores("raw", "biomarker", "amygdala", raw)
    rows += scan_scores("mispel", "biomarker", "amygdala", own)
    frame = comparisons(rows)
    assert len(frame) == 1
    x, y = (
        np.concatenate([np.abs(v[:, i] - v[:, k]) for i, k in ((0, 1), (0, 2), (1, 2))])
        for v in (own, raw)
    )
    found = pair_row(frame, "", "")
    assert (found["n"], found["df"]) == (12, 11.0)
    assert found["p"] == pytest.approx(stats.ttest_rel(x, y).pvalue, rel=1e-10)


def test_nothing_else_is_tested():
    rows = []
    for method in ("raw", "mispel"):
        rows += scan_scores(method, "auroc", "gm-wm", random_pairs(4))
        rows += scan_scores(method, "slice_consistency", "axial", random_pairs(5))
    assert comparisons(rows).empty


def test_only_subjects_with_both_scores_are_tested():
    raw, own = random_pairs(6), random_pairs(7)
    rows = pair_scores("raw", "ssim", "brain", raw)[1:]
    rows += pair_scores("mispel", "ssim", "brain", own)
    rows[-1] |= {"status": "failed", "value": None, "reason": "no image"}
    frame = comparisons(rows)
    assert pair_row(frame, "Z", "Y")["n"] == 3
    assert pair_row(frame, "Z", "X")["n"] == 4
    expected = stats.ttest_rel(own[1:, 0], raw[1:, 0]).pvalue
    assert pair_row(frame, "Z", "Y")["p"] == pytest.approx(expected, rel=1e-10)
    assert pair_row(frame, "Y", "X")["n"] == 3


def test_identical_scores_are_no_result():
    raw = random_pairs(8)
    rows = pair_scores("raw", "ssim", "brain", raw)
    rows += pair_scores("mispel", "ssim", "brain", raw + 1e-8 * random_pairs(9))
    found = pair_row(comparisons(rows), "Z", "Y")
    assert (found["p"], found["estimate"], found["reason"]) == (1.0, 0.0, "identical")
    assert found["status"] == "ok"


def test_identical_volumes_are_judged_by_the_size_of_the_volumes():
    raw = np.tile([[600.0, 600.0, 600.0]], (4, 1))
    own = raw + 1e-5 * np.random.default_rng(0).normal(size=(4, 3))
    rows = scan_scores("raw", "volume", "gm", raw) + scan_scores("mispel", "volume", "gm", own)
    assert set(comparisons(rows)["reason"]) == {"identical"}


def test_one_subject_is_undefined():
    rows = [
        *pair_scores("raw", "ssim", "brain", [(0.5, 0.6, 0.7)]),
        *pair_scores("mispel", "ssim", "brain", [(0.6, 0.7, 0.8)]),
    ]
    frame = comparisons(rows)
    assert list(frame["status"]) == ["undefined"] * 3
    assert frame["p"].isna().all()


def test_a_method_that_failed_says_so():
    rows = pair_scores("raw", "ssim", "brain", random_pairs(0))
    failed = {"status": "failed", "reason": "too few subjects"}
    rows += pair_scores("mispel", "ssim", "brain", [(None,) * 3] * 4, **failed)
    frame = comparisons(rows)
    assert list(frame["status"]) == ["failed"] * 3
    assert set(frame["reason"]) == {"too few subjects"}


def test_raw_scored_once_serves_every_repeat():
    raw, own = random_pairs(0), random_pairs(1)
    rows = pair_scores("raw", "ssim", "brain", raw)
    rows += [*pair_scores("mispel", "ssim", "brain", own, repeat=1)]
    frame = comparisons(rows)
    assert set(frame["repeat"]) == {1}
    expected = stats.ttest_rel(own[:, 0], raw[:, 0]).pvalue
    assert pair_row(frame, "Z", "Y")["p"] == pytest.approx(expected, rel=1e-10)


def test_without_raw_there_is_nothing_to_compare():
    assert comparisons(pair_scores("mispel", "ssim", "brain", random_pairs(1))).empty


def test_no_scores_give_empty_tables():
    assert Paper().aggregate(table([], SCORE_COLUMNS), design()).empty
    assert comparisons([]).empty


@given(NUMBERS.filter(lambda v: np.ptp(v) > 1e-3))
@settings(deadline=None, max_examples=50)
def test_paired_t_equals_pingouins(differences):
    found = paired_t(differences, size=1.0)
    expected = pingouin.ttest(differences, 0.0).iloc[0]
    assert found.statistic == pytest.approx(expected["T"], rel=1e-10, abs=1e-10)
    assert found.p == pytest.approx(expected.filter(like="p").iloc[0], rel=1e-8, abs=1e-10)
    mirrored = paired_t(-differences, size=1.0)
    assert (mirrored.p, mirrored.estimate) == (found.p, -found.estimate)


def test_equal_differences_have_no_test():
    found = paired_t(np.full(5, 0.25), size=1.0)
    assert (found.status, found.p, found.estimate) == ("undefined", None, 0.25)
