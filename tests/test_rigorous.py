"""The rigorous comparisons: which rows there are, what is in them, and what may not change them."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
import pingouin
import pytest
from scipy import stats

from harmobench.errors import SettingsError
from harmobench.interface import Design
from harmobench.metrics.statistics.families import benjamini_bogomolov, holm, simes
from harmobench.metrics.statistics.rigorous import Rigorous
from harmobench.metrics.statistics.signflip import max_t, sign_flip
from harmobench.results import AGGREGATE_COLUMNS, COMPARISON_COLUMNS, SCORE_COLUMNS, table

SCANNERS = ("A", "B", "C")
INF = float("inf")
ROLES = {
    "raw": "baseline",
    "whitestripe": "contender",
    "ravel": "contender",
    "mispel": "contender",
    "oracle": "ceiling",
    "template": "degenerate",
    "blur": "degradation",
    "blur-noise": "degradation",
    "theirs": "contender",
}
DECLARED = frozenset(ROLES) - {"theirs"}
RESAMPLES = 300


def names(n):
    return tuple(f"{k:02d}" for k in range(n))


def design(n=8, methods=("raw", "ravel", "mispel"), **more):
    given = {
        "scanners": SCANNERS,
        "subjects": names(n),
        "methods": {m: ROLES[m] for m in ROLES if m in methods},
        "folds": {s: k % 3 for k, s in enumerate(names(n))},
        "metrics": {
            "auroc": "higher",
            "volume": "equal",
            "sharpness": "one",
            "individuality": "one",
        },
        "ranges": {"auroc": (0.0, 1.0), "volume": (0.0, INF), "sharpness": (0.0, INF)},
        "declared": DECLARED,
        "trained": frozenset({"mispel"}),
    }
    return Design(**given | more)


def rows(method, values, metric="sharpness", structure="brain", **more):
    """Turn values (subjects x scanners) into scores; nan has failed."""
    values = np.asarray(values, dtype=float)
    return [
        {
            "method": method,
            "config": "default",
            "fold": k % 3 if method == "mispel" else -1,
            "repeat": 0,
            "metric": metric,
            "structure": structure,
            "level": "scan",
            "space": "template",
            "subject": f"{k:02d}",
            "scanner": scanner,
            "value": value,
            "status": "ok" if np.isfinite(value) else "failed",
            "reason": "" if np.isfinite(value) else "no brain",
        }
        | more
        for k, own in enumerate(values)
        for scanner, value in zip(SCANNERS, own, strict=False)
    ]


def drawn(method, n=8, seed=0, shift=0.0, **more):
    rng = np.random.default_rng([seed, *map(ord, method), *map(ord, more.get("structure", ""))])
    return rows(method, 0.6 + shift + 0.1 * rng.normal(size=(n, 3)), **more)


def compare(scores, given=None, **settings):
    statistic = Rigorous(**{"resamples": RESAMPLES} | settings)
    frame = statistic.compare(table(scores, SCORE_COLUMNS), given or design())
    assert tuple(frame.columns) == COMPARISON_COLUMNS
    assert set(frame["mode"]) <= {"rigorous"}
    assert set(frame["scanner"]) <= {""}
    valid = frame["p"].dropna()
    flips = frame["test"].isin(["sign_flip", "max_t"]) & frame["p"].notna()
    assert ((valid >= 0) & (valid <= 1)).all()
    assert (frame.loc[flips, "p"] > 0).all()
    assert (frame.loc[flips, "p_adjusted"] >= frame.loc[flips, "p"] - 1e-12).all()
    assert (frame.loc[frame["status"] != "ok", "reason"] != "").all()
    return frame


def pick(frame, test, method="mispel", **more):
    found = frame[(frame["test"] == test) & (frame["method"] == method)]
    for name, content in more.items():
        found = found[found[name] == content]
    assert len(found) == 1, (test, method, more, len(found))
    return found.iloc[0]


def distances(scores, n):
    """Subject values of sharpness: the mean distance from one."""
    values = np.array([row["value"] for row in scores], dtype=float).reshape(n, 3)
    return np.abs(values - 1).mean(axis=1)


# ------------------------------------------------------------------ against RAW


@pytest.mark.parametrize("seed", range(3))
def test_tests_against_raw_are_those_of_the_libraries(seed):
    n = 12
    raw, own = drawn("raw", n, seed), drawn("mispel", n, seed, 0.08)
    own[5] |= {"value": None, "status": "failed", "reason": "no brain"}  # one scan of subject 01
    given = design(n, ("raw", "mispel"), margins={"sharpness": 0.1})
    frame = compare(raw + own, given)
    kept = np.delete(np.arange(n), 1)
    a, b = distances(own, n)[kept], distances(raw, n)[kept]
    t = pingouin.ttest(a, b, paired=True).loc["T_test"]
    flip = pick(frame, "sign_flip")
    for found in (flip, pick(frame, "paired_t")):
        assert (found["n"], found["df"]) == (11, 10.0)
        assert found["estimate"] == pytest.approx((a - b).mean(), rel=1e-10)
        assert found["statistic"] == pytest.approx(t["T"], rel=1e-10)
        interval = stats.ttest_rel(a, b).confidence_interval(0.95)
        assert (found["low"], found["high"]) == pytest.approx(tuple(interval), rel=1e-10)
        assert found["effect"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1), rel=1e-10)
    assert pick(frame, "paired_t")["p"] == pytest.approx(t["p_val"], rel=1e-10)
    exact = stats.permutation_test(
        (a - b,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert flip["p"] == pytest.approx(exact.pvalue, abs=1e-12)
    signed = pingouin.wilcoxon(a, b).loc["Wilcoxon"]
    found = pick(frame, "wilcoxon")
    assert found["p"] == pytest.approx(signed["p_val"], rel=1e-10)
    assert found["statistic"] == signed["W_val"]
    assert found["reason"] == "sensitive to skew"
    tost = pick(frame, "tost")
    expected = pingouin.tost(a, b, bound=0.1, paired=True).at["TOST", "pval"]
    assert tost["p"] == pytest.approx(expected, rel=1e-10)
    assert tost["statistic"] == 0.1
    folds = np.arange(n)[kept] % 3
    means = [(a - b)[folds == fold].mean() for fold in range(3)]
    found = pick(frame, "fold")
    assert found["p"] == pytest.approx(stats.ttest_1samp(means, 0).pvalue, rel=1e-10)
    assert found["n"] == 3


def test_wilcoxon_with_ties_and_zeros_is_pingouins():
    raw = np.full((10, 3), 0.5)
    own = raw + np.array([0, 0.1, 0.1, -0.1, 0.2, 0.2, 0, 0.3, -0.2, 0.1])[:, None]
    frame = compare(rows("raw", raw) + rows("ravel", own), design(10))
    a, b = np.round(np.abs(own - 1).mean(axis=1), 9), np.round(np.abs(raw - 1).mean(axis=1), 9)
    found = pick(frame, "wilcoxon", "ravel")["p"]
    assert found == pytest.approx(pingouin.wilcoxon(np.round(a - b, 9)).at["Wilcoxon", "p_val"])


def test_only_trained_methods_have_a_fold_test_and_only_declared_margins_a_tost():
    scores = drawn("raw") + drawn("ravel") + drawn("mispel")
    frame = compare(scores)
    assert set(frame.loc[frame["test"] == "fold", "method"]) == {"mispel"}
    assert "tost" not in set(frame["test"])
    assert "guard" not in set(frame["test"])


def test_rounding_is_no_difference():
    raw = np.random.default_rng(0).uniform(0.8, 0.9, (9, 3))
    own = raw + 4e-7 * np.sign(raw - 0.85)
    scores = rows("raw", raw, "auroc", "gm-wm") + rows("whitestripe", own, "auroc", "gm-wm")
    frame = compare(scores, design(9, ("raw", "whitestripe"), margins={"auroc": 0.01}))
    for metric in ("auroc", "auroc_spread"):  # the spread is small, but rounded as AUROC is
        for test in ("sign_flip", "paired_t", "wilcoxon"):
            found = pick(frame, test, "whitestripe", metric=metric)
            assert (found["p"], found["reason"], found["estimate"]) == (1.0, "identical", 0.0)
    assert pick(frame, "tost", "whitestripe")["p"] == 0.0
    assert set(frame.loc[frame["test"] == "family", "p"]) == {1.0}


def test_the_size_of_scores_decides_where_the_range_is_infinite():
    raw = 600 + np.random.default_rng(0).normal(0, 20, (8, 3))
    near, far = (rows("ravel", raw * (1 + x), "volume", "gm") for x in (1e-8, 1e-3))
    given = design(8, ("raw", "ravel"))
    raws = rows("raw", raw, "volume", "gm")
    assert pick(compare(raws + near, given), "sign_flip", "ravel")["reason"] == "identical"
    assert pick(compare(raws + far, given), "sign_flip", "ravel")["p"] == 2 / 2**8


def test_a_wild_score_of_who_is_not_compared_makes_nobody_identical():
    """Twelve people, so that one who lacks a contender costs the others nothing."""
    raw = 600 + np.random.default_rng(0).normal(0, 20, (12, 3))
    raws, wild = rows("raw", raw, "volume", "gm"), raw * 1.01
    wild[3, 0] = 1e9
    other = raw * 1.02
    other[3] = np.nan
    scores = raws + rows("ravel", wild, "volume", "gm") + rows("mispel", other, "volume", "gm")
    found = pick(compare(scores, design(12)), "sign_flip", "ravel")
    assert found["n"] == 11
    assert found["reason"] != "identical"
    assert found["p"] < 0.01


def test_equal_differences_have_an_exact_p_and_no_t():
    raw = np.tile(np.random.default_rng(1).uniform(0.2, 0.5, (6, 1)).round(2), 3)
    scores = rows("raw", raw) + rows("ravel", raw + 0.25)
    frame = compare(scores, design(6, ("raw", "ravel")))
    flip = pick(frame, "sign_flip", "ravel")
    assert (flip["p"], flip["status"]) == (2 / 2**6, "ok")
    assert flip["low"] == flip["high"] == flip["estimate"] == pytest.approx(-0.25)
    assert np.isnan(flip["statistic"])
    assert pick(frame, "paired_t", "ravel")["status"] == "undefined"


# ------------------------------------------------------------------ families


def two_metrics(n=10):
    scores = []
    for structure, shift in (("brain", 0.3), ("wm", 0.0)):
        for method in ("raw", "ravel", "mispel", "blur", "template", "theirs"):
            own = shift * (method != "raw")
            scores += drawn(method, n, shift=own, structure=structure)
    for method in ("raw", "ravel", "mispel"):
        scores += drawn(method, n, metric="auroc", structure="gm-wm")
    return scores


def test_families_are_adjusted_by_holm_and_benjamini_bogomolov():
    given = design(10, ("raw", "ravel", "mispel", "blur", "template", "theirs"))
    frame = compare(two_metrics(), given)
    flips = frame[frame["test"] == "sign_flip"]
    p = {name: own["p"].tolist() for name, own in flips.groupby("family")}
    assert {name: len(own) for name, own in p.items()} == {
        "sharpness vs raw": 4,
        "sharpness vs raw, controls": 4,
        "sharpness vs raw, theirs": 2,
        "auroc vs raw": 2,
        "auroc_spread vs raw": 2,
    }
    ranked = {name: own for name, own in p.items() if "," not in name}
    expected = {name: family.tests for name, family in benjamini_bogomolov(ranked, 0.05).items()}
    chosen = {name for name, own in expected.items() if (own < 1).any()}
    assert chosen == {"sharpness vs raw"}  # some are selected, not all
    for name, own in flips.groupby("family"):
        adjusted = expected[name] if name in expected else holm(p[name])
        assert own["p_adjusted"].tolist() == pytest.approx(adjusted.tolist(), rel=1e-12)
        selected = name in chosen or name not in expected
        assert own["reason"].str.contains("family not selected").all() != selected
    families = frame[frame["test"] == "family"].set_index("family")
    assert set(families.index) == set(ranked)
    for name, own in ranked.items():
        assert families.at[name, "p"] == pytest.approx(simes(own))
        assert families.at[name, "n"] == len(own)
        assert families.at[name, "method"] == ""
    assert frame.loc[frame["test"].isin(["paired_t", "wilcoxon"]), "p_adjusted"].isna().all()


@pytest.mark.parametrize("n", [10, 24])  # exact, Monte Carlo
def test_controls_and_plugins_change_nothing_for_contenders(n):
    some = {"raw", "ravel", "mispel"}
    scores = two_metrics(n)
    every = compare(scores, design(n, ("raw", "ravel", "mispel", "blur", "template", "theirs")))
    alone = compare([row for row in scores if row["method"] in some], design(n))
    of_contenders = every[every["method"].isin({*some, ""})].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_contenders, alone)
    one = compare([row for row in scores if row["method"] in {"raw", "ravel"}], design(n))
    assert (
        pick(one, "sign_flip", "ravel", metric="auroc")["p"]
        == (pick(alone, "sign_flip", "ravel", metric="auroc")["p"])
    )


def test_the_seed_of_the_run_is_followed_above_twenty():
    scores = drawn("raw", 24) + drawn("ravel", 24, shift=0.02)
    given = design(24, ("raw", "ravel"))
    p = [pick(compare(scores, replace(given, seed=s)), "sign_flip", "ravel")["p"] for s in range(4)]
    assert pick(compare(scores, given), "sign_flip", "ravel")["p"] == p[0]
    assert len(set(p)) > 1


def test_what_cannot_become_significant_says_so():
    scores = drawn("raw", 6) + drawn("ravel", 6) + drawn("mispel", 6)
    frame = compare(scores, design(6))  # 2 / 64 x 2 tests
    assert "cannot reach significance at this n" in pick(frame, "sign_flip")["reason"]
    scores = drawn("raw", 7) + drawn("ravel", 7) + drawn("mispel", 7)
    assert "cannot reach" not in pick(compare(scores, design(7)), "sign_flip")["reason"]
    one = compare(drawn("raw", 6) + drawn("ravel", 6), design(6))
    assert "cannot reach" not in pick(one, "sign_flip", "ravel")["reason"]


def test_contenders_that_left_are_shown_and_cost_the_others_nothing():
    n = 8
    broken = np.full((n, 3), 0.5)
    broken[:3, 0] = np.nan
    scores = drawn("raw", n) + drawn("ravel", n)
    with_broken = compare(scores + rows("mispel", broken))
    found = pick(with_broken, "sign_flip")
    assert (found["status"], found["n"]) == ("failed", 0)
    assert "3 of 8" in found["reason"]
    assert pick(with_broken, "fold")["status"] == "failed"
    assert not (with_broken["test"] == "max_t").any()
    others = with_broken[with_broken["method"] != "mispel"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, compare(scores))


def test_what_was_not_measured_is_not_failed():
    missing = [
        row | {"value": None, "status": "not_measured", "reason": "galleries under 3"}
        for row in drawn("mispel")
    ]
    frame = compare(drawn("raw") + drawn("ravel") + missing)
    found = pick(frame, "sign_flip")
    assert (found["status"], found["reason"]) == ("not_measured", "galleries under 3")


# ------------------------------------------------------------------ among contenders


def test_pairs_of_contenders_are_adjusted_together():
    methods = ("whitestripe", "ravel", "mispel")
    n = 9
    scores = {m: drawn(m, n, shift=0.03 * k) for k, m in enumerate(("raw", *methods))}
    frame = compare([*chain(*scores.values())], design(n, ("raw", *methods)))
    values = {m: distances(scores[m], n) for m in methods}
    pairs = [("whitestripe", "ravel"), ("whitestripe", "mispel"), ("ravel", "mispel")]
    columns = np.column_stack([values[a] - values[b] for a, b in pairs])
    adjusted, own = max_t(columns, RESAMPLES, 0), sign_flip(columns, RESAMPLES, 0)
    assert (frame["test"] == "max_t").sum() == 3
    for k, (a, b) in enumerate(pairs):
        found = pick(frame, "max_t", a, comparator=b)
        assert found["p_adjusted"] == pytest.approx(adjusted[k], abs=1e-12)
        assert found["p"] == pytest.approx(own[k], abs=1e-12)
        assert found["estimate"] == pytest.approx(columns[:, k].mean())


def test_two_contenders_are_adjusted_for_nothing():
    found = pick(compare(drawn("raw") + drawn("ravel") + drawn("mispel")), "max_t", "ravel")
    assert found["p_adjusted"] == found["p"]


# ------------------------------------------------------------------ controls


def test_guards_mark_what_a_metric_rewards_and_what_it_catches():
    n = 10
    raw = np.random.default_rng(0).normal(0.5, 0.03, (n, 3))
    noise = 0.01 * np.random.default_rng(1).normal(size=(n, 3))
    made = {"blur": 0.2, "blur-noise": 0.1, "template": -0.2, "oracle": -0.2}
    scores = rows("raw", raw, "auroc")
    for method, gain in made.items():
        scores += rows(method, raw + gain + noise, "auroc")
    frame = compare(scores, design(n, ("raw", *made)))
    reasons = {m: pick(frame, "guard", m, metric="auroc")["reason"] for m in made}
    assert reasons == {
        "blur": "rewards blur",
        "blur-noise": "rewards blur and noise",
        "template": "caught",
        "oracle": "",
    }
    for method, gain in made.items():
        found = pick(frame, "guard", method, metric="auroc")
        assert found["estimate"] == pytest.approx(gain, abs=0.02)
        assert found["family"] == "auroc vs raw, controls"
    assert not (frame["test"] == "family").any()


def test_guards_are_oriented_where_less_is_better():
    scores = rows("raw", np.full((10, 3), [500.0, 520.0, 540.0]), "volume")
    scores += rows("blur", np.full((10, 3), [500.0, 505.0, 510.0]), "volume")
    found = pick(compare(scores, design(10, ("raw", "blur"))), "guard", "blur", metric="volume")
    assert found["estimate"] == pytest.approx(20.0)  # mean differences of 26.7 and 6.7 ml
    assert found["reason"] == "rewards blur"


def test_what_raw_is_by_definition_is_judged_by_the_signed_distance_from_it():
    """RAW's own distance is 0, so that any noise would be "worse" without the sign."""
    sway = np.where(np.arange(10)[:, None] % 2, 0.1, -0.1) * np.ones((1, 3))
    made = {"template": 1 + sway, "blur": 0.6 + sway, "blur-noise": 3 + sway, "oracle": 0.8 + sway}
    scores = rows("raw", np.ones((10, 3)))
    for method, values in made.items():
        scores += rows(method, values)
    frame = compare(scores, design(10, ("raw", *made)))
    found = {m: pick(frame, "guard", m) for m in made}
    reasons = {m: row["reason"] for m, row in found.items()}
    assert reasons == {"template": "", "blur": "caught", "blur-noise": "caught", "oracle": ""}
    assert found["blur"]["estimate"] == pytest.approx(-0.4)
    assert found["blur-noise"]["estimate"] == pytest.approx(2.0)
    assert found["template"]["low"] < 0 < found["template"]["high"]


def test_few_subjects_cannot_tell_contenders_apart():
    frame = compare(drawn("raw", 5) + drawn("ravel", 5) + drawn("mispel", 5), design(5))
    assert pick(frame, "max_t", "ravel")["reason"] == "cannot reach significance at this n"
    frame = compare(drawn("raw", 6) + drawn("ravel", 6) + drawn("mispel", 6), design(6))
    assert pick(frame, "max_t", "ravel")["reason"] == ""


def test_what_is_not_clear_is_not_marked():
    noise = np.random.default_rng(2).normal(size=(10, 3))
    scores = rows("raw", 0.5 + 0 * noise, "auroc")
    scores += rows("blur", 0.5 + 0.1 * noise, "auroc")
    scores += rows("template", 0.5 - 0.1 * noise, "auroc")
    frame = compare(scores, design(10, ("raw", "blur", "template")))
    for method in ("blur", "template"):
        found = pick(frame, "guard", method, metric="auroc")
        assert found["low"] < 0 < found["high"]
        assert found["reason"] == ""


def test_a_control_that_is_worse_by_the_same_in_everybody_is_caught():
    # identifiability: RAW knows all subjects, one image for everybody knows none
    scores = rows("raw", np.ones((6, 3)), "auroc") + rows("template", np.full((6, 3), 0.2), "auroc")
    frame = compare(scores, design(6, ("raw", "template")))
    found = pick(frame, "guard", "template", metric="auroc")
    assert (found["reason"], found["status"]) == ("caught", "ok")
    assert found["low"] == found["high"] == found["estimate"] == pytest.approx(-0.8)


# ------------------------------------------------------------------ repeats


def test_later_repeats_compare_only_what_was_trained_again():
    again = [row | {"repeat": 1, "fold": 1 - row["fold"] % 2} for row in drawn("mispel", seed=5)]
    frame = compare(drawn("raw") + drawn("ravel") + drawn("mispel") + again)
    later = frame[frame["repeat"] == 1]
    assert set(later.loc[later["test"] == "sign_flip", "method"]) == {"mispel"}
    pair = later[later["test"] == "max_t"].iloc[0]
    assert (pair["method"], pair["comparator"]) == ("ravel", "mispel")
    assert pick(later, "fold")["n"] == 2  # its own split, not the design's three folds
    assert pick(frame, "fold", repeat=0)["n"] == 3
    assert pick(later, "family", "")["n"] == 1


# ------------------------------------------------------------------ odd data


def odd(kind):
    raw, own = drawn("raw"), drawn("mispel")
    nothing = [row | {"value": None, "status": "failed", "reason": "no brain"} for row in raw]
    cohort = {"subject": "", "scanner": "", "level": "cohort", "metric": "individuality"}
    return {
        "nothing": [],
        "no method": raw,
        "no RAW": own,
        "RAW failed": nothing + own,
        "all failed": nothing + [row | {"method": "mispel"} for row in nothing],
        "one subject": drawn("raw", 1) + drawn("mispel", 1) + drawn("ravel", 1),
        "two subjects": drawn("raw", 2) + drawn("mispel", 2) + drawn("ravel", 2),
        "nobody in common": raw[:12] + own[12:],
        "constant": rows("raw", np.ones((8, 3))) + rows("mispel", np.ones((8, 3))),
        "all zero": rows("raw", np.zeros((8, 3))) + rows("mispel", np.zeros((8, 3))),
        "one scanner": [r for r in raw + own if r["scanner"] == "A"],
        "volumes on one scanner": [
            r | {"metric": "volume"} for r in raw + own if r["scanner"] == "A"
        ],
        "one number a cohort": [raw[0] | cohort, own[0] | cohort],
        "only controls": raw + drawn("blur") + drawn("template"),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "nothing", "no method", "no RAW", "RAW failed", "all failed", "one subject", "two subjects",
        "nobody in common", "constant", "all zero", "one scanner", "volumes on one scanner",
        "one number a cohort", "only controls",
    ],
)  # fmt: skip
def test_odd_data_give_rows_with_reasons_and_no_error(kind):
    given = design(8, tuple(ROLES), margins={"sharpness": 0.1, "volume": 5.0})
    frame = compare(odd(kind), given)
    few = {"RAW failed", "all failed", "one subject", "nobody in common", "volumes on one scanner"}
    if kind in {"nothing", "no method", "no RAW", "one number a cohort"}:
        assert frame.empty
    elif kind in few:
        assert set(frame["status"]) <= {"undefined", "failed"}
        assert frame["p"].isna().all()
    else:
        assert (frame.loc[frame["test"] == "sign_flip", "status"] == "ok").all()


def test_the_order_of_rows_does_not_matter():
    scores = two_metrics()
    given = design(10, ("raw", "ravel", "mispel", "blur", "template", "theirs"))
    mixed = [scores[k] for k in np.random.default_rng(0).permutation(len(scores))]
    pd.testing.assert_frame_equal(compare(scores, given), compare(mixed, given))


# ------------------------------------------------------------------ aggregates


def test_ranks_and_the_likeness_of_folds_are_among_the_aggregates():
    n = 9
    scores = {m: drawn(m, n, shift=0.1 * k) for k, m in enumerate(("raw", "ravel", "mispel"))}
    given = design(n)
    statistic = Rigorous(resamples=RESAMPLES)
    frame = statistic.aggregate(table([*chain(*scores.values())], SCORE_COLUMNS), given)
    assert tuple(frame.columns) == AGGREGATE_COLUMNS
    assert set(frame["mode"]) == {"rigorous"}
    ranks = frame[frame["aggregate"] == "rank"].set_index("method")
    assert ranks["value"].to_dict() == {"mispel": 1.0, "ravel": 2.0}
    assert set(ranks["interval"]) == {"percentile bootstrap, no coverage claimed"}
    assert (ranks["low"] <= ranks["value"]).all()
    likeness = frame[frame["aggregate"] == "within_fold_icc"].set_index("method")
    assert set(likeness.index) == {"mispel"}
    values = distances(scores["mispel"], n) - distances(scores["raw"], n)
    long = pd.DataFrame({"fold": np.arange(n) % 3, "d": values})
    ratio = stats.f_oneway(*(own["d"] for _, own in long.groupby("fold"))).statistic
    assert likeness.at["mispel", "value"] == pytest.approx((ratio - 1) / (ratio + 2))
    assert likeness.at["mispel", "n"] == n


def test_contenders_that_left_have_no_rank():
    broken = np.full((8, 3), 0.5)
    broken[:3, 0] = np.nan
    scores = table(drawn("raw") + drawn("ravel") + rows("mispel", broken), SCORE_COLUMNS)
    frame = Rigorous(resamples=RESAMPLES).aggregate(scores, design())
    ranks = frame[frame["aggregate"] == "rank"].set_index("method")
    assert ranks.at["ravel", "value"] == 1.0
    assert ranks.at["mispel", "status"] == "failed"
    assert "3 of 8" in ranks.at["mispel", "reason"]


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"level": 0.0}, {"level": 2}])
def test_parameters_that_cannot_be_used_are_refused(settings):
    with pytest.raises(SettingsError, match="expected"):
        compare(drawn("raw"), **settings)
