"""Rows of the rigorous aggregates: which there are, over whom, from what, in which unit."""

import numpy as np
import pandas as pd
import pytest

from harmobench.interface import Design, Group
from harmobench.metrics.statistics.agreement import bland_altman, icc_agreement, rmsd
from harmobench.metrics.statistics.components import NAMES, components
from harmobench.metrics.statistics.effects import change, standardized
from harmobench.metrics.statistics.intervals import jackknife_interval, t_interval
from harmobench.metrics.statistics.seeds import seed_spread
from harmobench.metrics.statistics.slopes import slope
from harmobench.metrics.statistics.summaries import rigorous_cells
from harmobench.results import AGGREGATE_COLUMNS, SCORE_COLUMNS, table

SUBJECTS = tuple(f"{i:02d}" for i in range(1, 9))
SCANNERS = ("Z", "Y", "X")  # not sorted: the design's order decides
BETTER = {
    "ssim": "higher",
    "volume": "equal",
    "volume_error": "zero",
    "auroc": "higher",
    "individuality": "one",
}
FIRST = np.arange(8) % 2 == 0
EQUAL = {
    "mean": "ml",
    "bias": "ml",
    "rmsd": "ml",
    "icc": "",
    "cov": "",
    "component_scanner": "ml^2",
    "component_subject": "ml^2",
    "component_residual": "ml^2",
    "share_scanner": "",
    "share_subject": "",
    "share_residual": "",
    "cohen_d": "",
    "hedges_g": "",
    "bland_altman_bias": "ml",
    "bland_altman_low": "ml",
    "bland_altman_high": "ml",
}
TEMPLATE = {"fold": -1, "repeat": 0, "space": "template", "status": "ok", "level": "scan"}


def design(grouped=True, trained=(), methods=("raw", "own", "other")):
    roles = {m: "baseline" if m == "raw" else "contender" for m in methods}
    return Design(
        scanners=SCANNERS,
        subjects=SUBJECTS,
        methods=roles,
        group=Group("svd", "high", "low") if grouped else None,
        groups={s: ("high", "low")[i % 2] for i, s in enumerate(SUBJECTS)} if grouped else {},
        metrics=BETTER,
        declared=frozenset(methods),
        trained=frozenset(trained),
    )


def scores(method, metric, structure, values, **more):
    """Rows of scans (8 x 3) or, with `pairs`, of pairs; NaN gives none."""
    rows = []
    for subject, own in zip(SUBJECTS, values, strict=False):
        for scanner, value in zip(SCANNERS, own, strict=False):
            row = {"method": method, "config": "default", "metric": metric, "structure": structure}
            row |= {"subject": subject, "scanner": scanner, "value": value, **TEMPLATE, **more}
            rows += [] if np.isnan(value) else [row]
    return rows


def volumes(seed, shift=4.0):
    rng = np.random.default_rng(seed)
    own = rng.normal(600, 30, (8, 1)) + 20 * FIRST[:, None]
    return own + shift * np.arange(3) + rng.normal(0, 3, (8, 3))


def gm(method, values, **more):
    return scores(method, "volume", "gm", values, units="ml", tool="hmrf", **more)


def aggregates(rows, given=None):
    cells = list(rigorous_cells(table(rows, SCORE_COLUMNS), given or design()))
    assert all(set(cell) == set(AGGREGATE_COLUMNS) - {"mode"} for cell in cells)
    frame = table(cells, AGGREGATE_COLUMNS)
    for row in frame.itertuples():
        assert (row.status == "ok") == (not np.isnan(row.value)) == (not row.reason)
        assert np.isnan(row.low) == (row.interval == "")
        assert np.isnan(row.low) or row.low <= row.value <= row.high
    return frame


def get(frame, aggregate, method="own", **more):
    wanted = {"aggregate": aggregate, "method": method, "scanner": "", "reference_scanner": ""}
    found = frame
    for name, content in (wanted | more).items():
        found = found[found[name] == content]
    assert len(found) == 1, (wanted | more, len(found))
    return found.iloc[0]


def same(row, expected):
    ends = (expected.value, expected.low, expected.high)
    assert (row["value"], row["low"], row["high"]) == pytest.approx(ends, rel=1e-9)
    assert (row["n"], row["interval"]) == (expected.n, expected.interval)


def test_a_measure_has_these_aggregates_in_these_units():
    raw, own = volumes(0), volumes(1)
    frame = aggregates(gm("raw", raw) + gm("own", own))
    units = {r.aggregate: r.units for r in frame[frame["method"] == "own"].itertuples()}
    assert units == EQUAL | {"slope": "", "cohen_d_change": ""}
    assert set(frame[frame["method"] == "raw"]["aggregate"]) == set(EQUAL)
    same(get(frame, "mean"), t_interval(own.mean(axis=1)))
    gaps = [np.abs(own[:, i] - own[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    same(get(frame, "bias"), t_interval(np.mean(gaps, axis=0)))
    same(get(frame, "rmsd"), rmsd(own))
    same(get(frame, "icc"), icc_agreement(own))
    for name in NAMES:
        same(get(frame, f"component_{name}"), components(own).variances[name])
        same(get(frame, f"share_{name}"), components(own).shares[name])
    same(get(frame, "slope"), slope(raw.mean(axis=1), own.mean(axis=1)))
    same(get(frame, "cohen_d"), standardized(own, FIRST)[0])
    same(get(frame, "hedges_g"), standardized(own, FIRST)[1])
    same(get(frame, "cohen_d_change"), change(own, raw, FIRST))
    same(get(frame, "cohen_d", method="raw"), standardized(raw, FIRST)[0])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        names = {"scanner": SCANNERS[i], "reference_scanner": SCANNERS[j]}
        found = bland_altman(own[:, i] - own[:, j])
        for end, expected in zip(("bias", "low", "high"), found, strict=True):
            same(get(frame, f"bland_altman_{end}", **names), expected)
    assert set(frame["tool"]) == {"hmrf"}


def test_without_groups_there_are_no_effect_sizes():
    frame = aggregates(gm("raw", volumes(0)) + gm("own", volumes(1)), design(grouped=False))
    assert not frame["aggregate"].str.contains("cohen|hedges").any()


def test_true_volumes_stand_beside_their_errors():
    """Whatever the errors are: they may be of another threshold than the volumes."""
    raw, own = volumes(0), volumes(1)
    truth = raw.mean(axis=1, keepdims=True) - 50 + np.random.default_rng(2).normal(0, 9, (8, 1))
    rows = gm("raw", raw) + gm("own", own)
    for method, values in (("raw", raw), ("own", own)):
        rows += scores(method, "volume_error", "gm", values - truth, units="ml", tool="hmrf")
        true = np.repeat(truth, 3, axis=1)
        rows += scores(method, "volume_error", "gm_true", true, units="ml", tool="hmrf")
    frame = aggregates(rows)
    for method, values in (("raw", raw), ("own", own)):
        same(get(frame, "slope_truth", method), slope(truth[:, 0], values.mean(axis=1)))
        same(get(frame, "cohen_d_true", method), standardized(truth, FIRST)[0])
    errors = {"metric": "volume_error"}
    same(get(frame, "mean", **errors), t_interval((own - truth).mean(axis=1)))
    same(get(frame, "mean_abs", **errors), t_interval(np.abs(own - truth).mean(axis=1)))
    assert set(frame[frame["metric"] == "volume_error"]["aggregate"]) == {"mean", "mean_abs"}


def test_other_metrics_have_means_of_subject_means():
    values = np.random.default_rng(0).uniform(0.7, 0.9, (8, 3))
    rows = scores("raw", "auroc", "gm-wm", values) + scores("own", "auroc", "gm-wm", values**2)
    frame = aggregates(rows)
    same(get(frame, "mean", metric="auroc"), t_interval((values**2).mean(axis=1)))
    spread = t_interval((values**2).std(axis=1, ddof=1))
    same(get(frame, "mean", metric="auroc_spread"), spread)
    assert set(frame["aggregate"]) == {"mean"}


def test_aggregates_are_over_the_common_set():
    raw, own, other = volumes(0), volumes(1), volumes(2)
    more = 12  # of subjects: one that lacks a scan is under a tenth
    rng = np.random.default_rng(3)
    raw, own, other = (np.vstack([v, rng.normal(600, 30, (more, 3))]) for v in (raw, own, other))
    names = tuple(f"{i:02d}" for i in range(1, 21))
    plan = design(grouped=False)
    plan = Design(SCANNERS, names, plan.methods, metrics=BETTER, declared=plan.declared)
    rows = []
    for method, values in (("raw", raw), ("own", own), ("other", other)):
        for subject, line in zip(names, values, strict=True):
            for scanner, value in zip(SCANNERS, line, strict=True):
                if (method, subject, scanner) != ("other", "03", "Y"):
                    rows += [
                        r | {"subject": subject, "scanner": scanner} for r in gm(method, [[value]])
                    ]
    frame = aggregates(rows, plan)
    left = np.arange(20) != 2
    for method, values in (("raw", raw), ("own", own), ("other", other)):
        same(get(frame, "mean", method), t_interval(values[left].mean(axis=1)))
        same(get(frame, "component_subject", method), components(values[left]).variances["subject"])
    failed = [r for r in rows if r["method"] != "other" or r["subject"] > "05"]
    frame = aggregates(failed, plan)  # 5 of 20 are too many: others keep all their subjects
    same(get(frame, "mean", "own"), t_interval(own.mean(axis=1)))
    same(get(frame, "mean", "other"), t_interval(other[5:].mean(axis=1)))


def test_scans_that_raw_lacks_count_for_nobody():
    raw, own = volumes(0), volumes(1)
    raw[2, 1] = np.nan
    frame = aggregates(gm("raw", raw) + gm("own", own))
    own[2, 1] = np.nan
    same(get(frame, "component_scanner"), components(own).variances["scanner"])
    same(get(frame, "icc"), icc_agreement(own))
    assert (get(frame, "icc")["n"], get(frame, "rmsd")["n"]) == (7, 8)
    same(get(frame, "cohen_d_change"), change(own, raw, FIRST))


def test_individuality_has_an_interval_from_the_values_without_each_subject():
    rows, rng = [], np.random.default_rng(0)
    without = {m: rng.uniform(0.8, 0.9, 8) for m in ("raw", "own")}
    for method in without:
        row = scores(method, "individuality", "brain", [[0.85]], level="cohort")[0]
        rows.append(row | {"subject": "", "scanner": ""})
        for subject, value in zip(SUBJECTS, without[method], strict=True):
            more = {"subject": subject, "scanner": "", "structure": "brain_without"}
            rows.append(row | more | {"value": value})
    frame = aggregates(rows)
    assert set(frame["structure"]) == {"brain"}
    for aggregate in ("mean", "individuality"):
        found = get(frame, aggregate)
        expected = jackknife_interval(0.85, without["own"], "log")
        assert (found["low"], found["high"]) == pytest.approx(expected)
        assert (found["value"], found["n"], found["interval"]) == (0.85, 8, "jackknife-t, log")


def test_seeds_are_separated_from_subjects():
    raw, repeats = volumes(0), [volumes(s) for s in (1, 2, 3)]
    rows = gm("raw", raw)
    for repeat, values in enumerate(repeats):
        rows += gm("own", values, repeat=repeat, fold=0)
    frame = aggregates(rows, design(trained=("own",)))
    gaps = [[np.abs(v[:, i] - v[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))] for v in repeats]
    expected = seed_spread(np.mean(gaps, axis=1).T)
    for name in ("seed", "subject", "residual"):
        found = get(frame, f"sd_{name}")
        same(found, expected[name])
        assert (found["repeat"], found["units"]) == (0, "ml")
    for repeat, values in enumerate(repeats):
        same(get(frame, "icc", repeat=repeat), icc_agreement(values))
    assert set(frame[frame["method"] == "raw"]["repeat"]) == {0}


def test_a_method_without_scores_is_one_row_with_the_reason():
    rows = gm("raw", volumes(0)) + gm("own", volumes(1), status="failed", reason="it diverged")
    frame = table(list(rigorous_cells(table(rows, SCORE_COLUMNS), design())), AGGREGATE_COLUMNS)
    found = frame[frame["method"] == "own"]
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["aggregate"], row["status"], row["reason"]) == ("mean", "failed", "it diverged")
    rows = gm("raw", volumes(0), status="not_measured", reason="nothing") + gm("own", volumes(1))
    frame = aggregates([r for r in rows if r["method"] == "own"])
    assert frame.empty  # without RAW there is no common set
    frame = table(list(rigorous_cells(table(rows, SCORE_COLUMNS), design())), AGGREGATE_COLUMNS)
    assert list(frame["status"]) == ["undefined", "not_measured"]
    assert set(frame["aggregate"]) == {"mean"}


def test_scores_that_are_not_finite_are_none():
    rows = gm("raw", volumes(0)) + gm("own", np.full((8, 3), np.inf))
    found = get(aggregates(rows), "mean")
    assert (found["status"], found["reason"]) == ("undefined", "no scores")


@pytest.mark.parametrize("kind", ["one subject", "constant", "two scanners", "one scanner"])
def test_odd_data_raise_nothing(kind):
    tables = {
        "one subject": [volumes(s)[:1] for s in (0, 1)],
        "constant": [np.full((8, 3), 5.5)] * 2,
        "two scanners": [volumes(s)[:, :2] for s in (0, 1)],
        "one scanner": [volumes(s)[:, :1] for s in (0, 1)],
    }
    raw, own = tables[kind]
    errors = [
        scores(m, "volume_error", "gm_true", v, tool="hmrf")
        for m, v in (("raw", raw), ("own", own))
    ]
    frame = aggregates(gm("raw", raw) + gm("own", own) + errors[0] + errors[1])
    assert {"mean"} <= set(frame["aggregate"])
    if kind == "constant":
        assert get(frame, "icc")["reason"] == "all values are equal"
        assert get(frame, "cohen_d")["reason"] == "neither group varies on a scanner"
        assert get(frame, "component_scanner")["value"] == 0


def test_the_order_of_rows_changes_nothing():
    rows = gm("raw", volumes(0)) + gm("own", volumes(1)) + gm("other", volumes(2))
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    pd.testing.assert_frame_equal(aggregates(rows), aggregates(mixed))


def test_no_scores_give_no_rows():
    assert aggregates([]).empty
