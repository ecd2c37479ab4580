"""The rigorous verdict, from rows typed in: what it says does not hang on how they were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harmobench.interface import Design, Finished, Group, Role
from harmobench.reports.comparisons import Case, Comparisons
from harmobench.reports.tables.citable import citable
from harmobench.reports.tables.formats import Table, to_csv, to_markdown
from harmobench.reports.tables.guards import caught
from harmobench.reports.tables.latex import to_latex
from harmobench.reports.verdicts.findings import Findings, findings
from harmobench.reports.verdicts.judging import HARD
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    FAILURE_COLUMNS,
    SCORE_COLUMNS,
    table,
)

METHODS: dict[str, Role] = {
    "raw": "baseline",
    "whitestripe": "contender",
    "ravel": "contender",
    "ravel-cv": "contender",
    "mispel": "contender",
    "oracle": "ceiling",
    "template": "degenerate",
    "shuffle": "degenerate",
    "blur": "degradation",
    "blur-noise": "degradation",
}
SSIM = Case("ssim", "", "brain", "template")
GM = Case("volume", "hmrf", "gm", "native")
SHARP = Case("sharpness", "", "brain", "template")
WHOLE = Case("individuality", "", "brain", "template")
LEFT = "no complete scores of 3 of 18"
Rows = list[dict[str, Any]]


def row(case: Case, method: str, **more: Any) -> dict[str, Any]:
    head = {"metric": case.metric, "tool": case.tool, "structure": case.structure}
    head |= {"space": case.space, "mode": "rigorous", "status": "ok", "repeat": 0, "n": 18}
    return {**head, "method": method, **more}


def test_of(case: Case, method: str, estimate: float, p: float, **more: Any) -> dict[str, Any]:
    family = f"{case.metric} {case.tool} vs raw".replace("  ", " ")
    span = {"low": estimate - 0.01, "high": estimate + 0.01, "effect": 1.5, "statistic": 4.0}
    head = {"comparator": "raw", "test": "sign_flip", "estimate": estimate, "family": family}
    return row(case, method, **head | span | {"p": p / 4, "p_adjusted": p} | more)


test_of.__test__ = False  # type: ignore[attr-defined]


def guard_of(case: Case, control: str, estimate: float, reason: str = "") -> dict[str, Any]:
    family = f"{case.metric} vs raw, controls"
    return test_of(case, control, estimate, 0.01, test="guard", reason=reason, family=family)


def number(
    case: Case, method: str, aggregate: str, value: float, low: float, high: float, **more: Any
) -> dict[str, Any]:
    span = {"value": value, "low": low, "high": high, "interval": "jackknife-t on the log"}
    return row(case, method, aggregate=aggregate, config="default", **span | more)


def comparisons() -> Rows:
    pair = {"test": "max_t", "family": "ssim vs each other"}
    return [
        test_of(SSIM, "whitestripe", 0.0, 1.0, reason="identical"),
        test_of(SSIM, "ravel", 0.03, 0.2),
        test_of(SSIM, "ravel-cv", -0.05, 0.01),
        test_of(SSIM, "mispel", 0.20, 0.0004),
        test_of(SSIM, "blur", 0.1, 0.001, family="ssim vs raw, controls"),
        test_of(SSIM, "mispel", 0.20, 0.02, test="fold", n=6),
        test_of(SSIM, "mispel", 0.20, 0.0001, test="paired_t"),
        test_of(SSIM, "mispel", 0.20, 0.0007, test="wilcoxon", reason="sensitive to skew"),
        test_of(SSIM, "mispel", 0.20, 0.9, test="tost", statistic=0.5),
        test_of(SSIM, "ravel", -0.17, 0.03, comparator="mispel", **pair),
        test_of(SSIM, "ravel-cv", -0.25, 0.001, comparator="mispel", **pair),
        test_of(SSIM, "ravel", 0.08, 0.04, comparator="ravel-cv", **pair),
        test_of(SSIM, "whitestripe", -0.2, 0.07, comparator="mispel", **pair),
        test_of(SSIM, "", 0.0, 0.008, test="family", n=4, structure="", space="") | {"p": 0.0008},
        test_of(GM, "whitestripe", 1.0, 0.5, reason="cannot reach significance at this n"),
        test_of(GM, "ravel", -3.0, 0.001),
        test_of(GM, "ravel-cv", -2.0, 0.3),
        left(GM, "mispel"),
        test_of(SHARP, "mispel", 0.1, 0.001),
        guard_of(SSIM, "blur", 0.023, "rewards blur"),
        guard_of(SSIM, "blur-noise", 0.01, "rewards blur and noise"),
        guard_of(GM, "blur-noise", 0.5, "rewards blur and noise"),
        guard_of(SHARP, "blur", -0.4, "caught"),
        guard_of(SSIM, "oracle", 0.3),
        guard_of(GM, "oracle", -2.0),
    ]


def aggregates() -> Rows:
    return [
        number(SHARP, "blur", "mean", 0.6, 0.59, 0.61),
        number(WHOLE, "mispel", "individuality", 0.7, 0.6, 0.8),
        number(WHOLE, "ravel", "individuality", 1.0, 0.9, 1.1),
        number(WHOLE, "template", "individuality", 0.0, 0.0, 0.01),
        number(GM, "ravel", "slope", 0.97, 0.9, 1.05, units=""),
        number(GM, "raw", "cohen_d", 0.8, 0.1, 1.5, units=""),
        number(GM, "ravel", "cohen_d_change", 0.3, 0.1, 0.5, units=""),
        number(GM, "mispel", "cohen_d_change", -0.3, -0.5, -0.1, units=""),
        number(GM, "whitestripe", "cohen_d_change", -0.3, -0.5, -0.1, units=""),
        number(GM, "template", "slope", 1.0, 0.49, 1.51, units=""),
        number(GM, "ravel-cv", "cohen_d_change", -0.1, -0.4, 0.2, units=""),
        number(GM, "raw", "icc", 0.812, 0.7, 0.9, units=""),
        number(GM, "raw", "component_subject", 400.0, 100.0, 900.0, units="ml^2"),
        number(GM, "template", "component_subject", 100.0, 25.0, 225.0, units="ml^2"),
        number(GM, "raw", "component_scanner", -4.0, -9.0, 16.0, units="ml^2"),
        number(SSIM, "mispel", "rank", 1.5, 1, 3, interval="percentile bootstrap"),
        number(SSIM, "mispel", "within_fold_icc", 0.12, 0, 0.4),
        number(SSIM, "mispel", "sd_seed", 0.012, 0.01, 0.02),
        number(SSIM, "mispel", "sd_subject", 0.03, 0.01, 0.05),
        number(SSIM, "mispel", "sd_residual", 0.004, 0.001, 0.01),
        number(SSIM, "ravel-cv", "sd_seed", 0.0, 0.0, 0.0),
        number(SSIM, "ravel-cv", "sd_subject", 0.03, 0.0, 0.05),
    ]


def scores() -> Rows:
    def score(case: Case, method: str, status: str = "ok", **more: Any) -> dict[str, Any]:
        value = 1.0 if status == "ok" else None
        head = {"config": "default", "fold": -1, "level": "pair", "subject": "01", "value": value}
        units = "ml" if case is GM else ""
        return row(case, method, **head | {"units": units, "status": status} | more)

    found = [score(case, method) for case in (SSIM, GM) for method in METHODS]
    return [*found, score(SSIM, "mispel", "failed", subject="02", reason="the loss was not finite")]


def build(folder: Path, **changes: Any) -> Finished:
    design = Design(
        ("GE", "Philips"),
        tuple(f"{i:02d}" for i in range(18)),
        METHODS,
        Group("svd", "high", "low"),
        metrics={
            "ssim": "higher",
            "volume": "equal",
            "sharpness": "one",
            "individuality": "one",
        },
        declared=frozenset(METHODS),
        trained=frozenset({"mispel", "ravel-cv"}),
        saw_group=frozenset({"ravel"}),
        margins={"ssim": 0.5},
    )
    needs: dict[str, dict[str, Any]] = {
        "mispel": {"needs": {"matched": True, "target": True}, "individual": False},
        "ravel": {"needs": {}, "individual": False},
    }
    run = Finished(
        folder,
        {"methods": needs, "target": "Philips"},
        table(scores(), SCORE_COLUMNS),
        table(aggregates(), AGGREGATE_COLUMNS),
        table(comparisons(), COMPARISON_COLUMNS),
        table([], COST_COLUMNS),
        table([], FAILURE_COLUMNS),
        design,
        {},
        {},
    )
    return replace(run, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return build(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def found(run: Finished) -> Findings:
    return findings(run)


@pytest.fixture(scope="module")
def tables(run: Finished) -> dict[str, Table]:
    return {each.id: each for each in citable(run)}


def line(found: Findings, name: str) -> dict[str, Any]:
    every = (*found.agreement, *found.kept, *found.limits)
    own = next(each for each in every if each.name == name)
    outcomes = dict(zip(found.methods, own.outcomes, strict=True))
    return outcomes | {"mark": own.mark, "beside": own.beside}


def test_contenders_differ_from_raw_after_adjustment(found: Findings) -> None:
    assert found.methods == ("White Stripe", "RAVEL", "RAVEL-CV", "MISPEL")
    ssim = line(found, "SSIM")
    assert (ssim["MISPEL"].word, ssim["MISPEL"].tone) == ("better", "good")
    assert ssim["MISPEL"].detail.replace(HARD, " ") == "+0.200, p = 0.0004, p over folds = 0.0050"
    assert (ssim["RAVEL-CV"].word, ssim["RAVEL-CV"].tone) == ("worse", "bad")
    assert (ssim["RAVEL"].word, ssim["RAVEL"].tone) == ("not shown", "")
    assert ssim["White Stripe"].word == "identical"


def test_lower_is_better_where_measures_should_be_equal(found: Findings) -> None:
    volume = line(found, "Volume bias (HMRF), GM")
    assert volume["RAVEL"].word == "better"
    assert volume["RAVEL"].detail.replace(HARD, " ") == "-3.00 ml, p = 0.0010"
    assert volume["White Stripe"].word == "n too small"
    assert volume["MISPEL"].word == "failed"
    assert volume["MISPEL"].detail == LEFT


def test_guards_that_raw_passes_by_definition_stand_apart(found: Findings) -> None:
    assert [each.name for each in found.limits] == ["Sharpness, distance from 1"]
    own = line(found, "Sharpness, distance from 1")["MISPEL"]
    assert (own.word, own.tone) == ("differs", "")  # nobody can be better there


def test_tied_for_best_is_not_worse_than_any(run: Finished, found: Findings) -> None:
    assert Comparisons(run).tied(SSIM) == ["whitestripe", "mispel"]
    tied = [name for name in found.methods if line(found, "SSIM")[name].tied]
    assert tied == ["MISPEL"]  # White Stripe is RAW itself: no merit in not being told apart
    assert not any(line(found, "Volume bias (HMRF), GM")[name].tied for name in found.methods)


def test_what_was_kept_is_judged_by_intervals(found: Findings) -> None:
    kept = line(found, "Individuality")
    assert (kept["MISPEL"].word, kept["MISPEL"].detail) == ("below RAW's", "0.70 [0.60, 0.80]")
    assert kept["RAVEL"].word == "no loss shown"  # the interval holds 1, and .9 too
    assert kept["White Stripe"].word == "not measured"
    assert line(found, "Volume slope (HMRF), GM")["RAVEL"].word == "no loss shown"


def test_what_registration_alone_gives_stands_beside_native_measures(
    run: Finished, found: Findings
) -> None:
    slope = line(found, "Volume slope (HMRF), GM")
    assert slope["beside"] == "registration alone 1.00 [0.49, 1.51]"
    assert line(found, "Volume effect size (HMRF), GM")["beside"] == ""  # template has none there
    assert line(found, "Individuality")["beside"] == ""  # of images in template space
    without = [r for r in aggregates() if r["method"] != "template"]
    changed = replace(run, aggregates=table(without, AGGREGATE_COLUMNS))
    assert line(findings(changed), "Volume slope (HMRF), GM")["beside"] == ""


def left(case: Case, method: str) -> dict[str, Any]:
    gone = {"estimate": None, "p": None, "p_adjusted": None, "n": 0, "status": "failed"}
    return test_of(case, method, 0.0, 1.0, reason=LEFT) | gone


def test_who_left_the_comparison_has_failed_in_what_was_kept_too(run: Finished) -> None:
    rows = [r for r in comparisons() if (r["metric"], r["method"]) != ("ssim", "mispel")]
    rows += [left(SSIM, "mispel"), left(GM, "ravel-cv")]
    rows = [r for r in rows if (r["metric"], r["method"]) != ("volume", "ravel-cv") or not r["n"]]
    more = [
        number(GM, "mispel", "slope", 1.0, 0.9, 1.1, units=""),
        number(GM, "ravel-cv", "slope", 1.0, 0.9, 1.1, units=""),
    ]
    changed = replace(
        run,
        comparisons=table(rows, COMPARISON_COLUMNS),
        aggregates=table([*aggregates(), *more], AGGREGATE_COLUMNS),
    )
    found = findings(changed)
    for name in ("Volume slope (HMRF), GM", "Volume effect size (HMRF), GM"):
        for method in ("RAVEL-CV", "MISPEL"):
            own = line(found, name)[method]
            assert (own.word, own.tone, own.detail) == ("failed", "", LEFT)
    whole = line(found, "Individuality")
    assert (whole["MISPEL"].word, whole["MISPEL"].detail) == ("failed", LEFT)
    assert whole["RAVEL"].word == "no loss shown"  # it left no comparison of images


def test_who_saw_the_group_is_not_judged_on_it(found: Findings) -> None:
    effect = line(found, "Volume effect size (HMRF), GM")
    assert (effect["RAVEL"].word, effect["RAVEL"].tone) == ("saw the group", "")
    assert effect["RAVEL-CV"].word == "no loss shown"
    assert (effect["White Stripe"].word, effect["White Stripe"].tone) == ("below RAW's", "bad")
    assert effect["MISPEL"].word == "failed"
    assert any("RAVEL saw the clinical group (svd)" in s for s in found.circularity)
    assert any("RAVEL-CV, which did not see it" in s for s in found.circularity)


def test_metrics_that_reward_blur_are_named_with_what_they_give(found: Findings) -> None:
    assert found.rewards == (
        "SSIM rewards blur: smoothing RAW alone raises it by 0.023 [0.013, 0.033]; with noise "
        "added, by 0.010 [0.000, 0.020].",
        "Volume bias (HMRF) rewards blur and noise: smoothing RAW and adding noise lowers it by "
        "0.50 [0.49, 0.51] ml.",
    )
    assert line(found, "SSIM")["mark"] == "rewards blur"
    assert line(found, "Volume bias (HMRF), GM")["mark"] == "rewards blur and noise"


def test_controls_are_caught_by_what_and_warned_of_otherwise(
    run: Finished, found: Findings
) -> None:
    by = {"template": ["individuality"], "blur": ["sharpness (0.60)"]}
    assert caught(run) == {"shuffle": [], "blur-noise": [], **by}
    assert "template is caught by individuality." in found.caught
    warned = " ".join(found.uncaught)
    assert "shuffle (degenerate) is caught by nothing" in warned
    assert "blur is caught by nothing" not in warned
    assert "oracle, the ceiling, is worse than RAW on Volume bias (HMRF), GM." in found.uncaught


def test_lost_contrast_and_a_lost_effect_catch_too(run: Finished) -> None:
    lost = {"reason": "contrast_lost: the scan has none", "units": "", "value": None}
    more = row(SHARP, "blur-noise", **lost | {"status": "undefined", "level": "scan", "fold": -1})
    change = number(GM, "shuffle", "cohen_d_change", -0.8, -1.2, -0.4, units="")
    changed = replace(
        run,
        scores=table([*scores(), more], SCORE_COLUMNS),
        aggregates=table([*aggregates(), change], AGGREGATE_COLUMNS),
    )
    assert caught(changed)["blur-noise"] == ["lost contrast"]
    assert caught(changed)["shuffle"] == ["effect size (GM)"]
    assert not any("caught by nothing" in s for s in findings(changed).uncaught)


def test_contrast_that_raw_lost_itself_is_no_catch(run: Finished) -> None:
    def lost(case: Case, method: str, what: str) -> dict[str, Any]:
        reason = f"contrast_lost: {what} has a median of 0.4 in white and of 1 in grey matter"
        more = {"status": "undefined", "level": "scan", "fold": -1, "value": None, "units": ""}
        return row(case, method, reason=reason, **more)

    raws = [lost(SHARP, "shuffle", "RAW"), lost(WHOLE, "ravel", "RAW of subject 01 on GE")]
    changed = replace(run, scores=table([*scores(), *raws], SCORE_COLUMNS))
    assert caught(changed)["shuffle"] == []
    cells = {each.id: each for each in citable(changed)}["HB-T12"]
    assert not any(cell.text == "contrast lost" for each in cells.rows for cell in each)
    own = [lost(SHARP, "shuffle", "the scan"), lost(WHOLE, "blur-noise", "subject 01 on GE")]
    again = caught(replace(run, scores=table([*scores(), *raws, *own], SCORE_COLUMNS)))
    assert (again["shuffle"], again["blur-noise"]) == (["lost contrast"], ["lost contrast"])


def test_a_control_off_one_is_no_worse_on_one_side(run: Finished) -> None:
    rows = [
        *comparisons(),
        test_of(SHARP, "shuffle", 0.3, 0.01, family="sharpness vs raw, controls"),
        guard_of(SHARP, "shuffle", 0.25, "caught"),
        guard_of(SHARP, "oracle", -0.1),
    ]
    changed = replace(run, comparisons=table(rows, COMPARISON_COLUMNS))
    assert caught(changed)["shuffle"] == ["sharpness"]
    said = findings(changed)
    assert not any("oracle" in text and "harpness" in text for text in said.uncaught)
    found = {each.id: each for each in citable(changed)}["HB-T12-rigorous"]
    assert read(found, "shuffle (degenerate)")["note"] == "caught here: off 1 by 0.25 [0.24, 0.26]"
    assert "mean signed distance from 1" in found.caption
    assert "unadjusted 95% intervals" in found.caption


def test_a_run_without_controls_says_what_is_unknown(run: Finished) -> None:
    ranked = {m: r for m, r in METHODS.items() if r in ("baseline", "contender")}
    rows = [r for r in comparisons() if r["method"] in (*ranked, "")]
    changed = replace(
        run,
        design=replace(run.design, methods=ranked),
        comparisons=table(rows, COMPARISON_COLUMNS),
    )
    assert findings(changed).uncaught == (
        "No blur control ran, so which metrics reward blur is unknown.",
        "No degenerate control ran, so whether the guards work here is unknown.",
    )


def test_without_rigorous_rows_the_verdict_is_empty(run: Finished) -> None:
    empty = replace(run, comparisons=table([], COMPARISON_COLUMNS))
    nothing = findings(empty)
    assert (nothing.agreement, nothing.kept, nothing.limits, nothing.uncaught) == ((), (), (), ())


def read(found: Table, method: str) -> dict[str, str]:
    names = [column.key for column in found.columns]
    place = names.index("method")
    own = next(each for each in found.rows if each[place].text == method)
    return {name: cell.shown for name, cell in zip(names, own, strict=True)}


def test_the_companion_has_all_tests_side_by_side(tables: dict[str, Table]) -> None:
    own = read(tables["HB-T1-rigorous"], "MISPEL")
    wanted = {
        "n": "18",
        "difference": "0.200 [0.190, 0.210]",
        "d_z": "1.50",
        "p": "0.0001",
        "p adjusted": "0.0004",
        "p t": "<0.0001",
        "p Wilcoxon": "0.0002",
        "p folds": "0.0050",
        "ICC folds": "0.12",
        "p equivalence": "0.2250",
        "rank": "1.5 [1.0, 3.0]",
        "best": "yes",
        "missing": "1 of 2 failed",
        "note": "given these trained models",
    }
    assert {name: own[name] for name in wanted} == wanted
    caption = tables["HB-T1-rigorous"].caption
    assert "Families (Simes p): ssim vs raw: 4 tests, p = 0.0008, 0.0080 over families." in caption
    assert "margin 0.50 (SSIM)" in caption
    assert "claims no coverage" in caption
    assert "Scores without a value: MISPEL 1 of 2 failed." in caption


def test_identical_and_left_contenders_say_so(tables: dict[str, Table]) -> None:
    own = read(tables["HB-T1-rigorous"], "White Stripe")
    assert (own["difference"], own["d_z"], own["p"]) == ("identical", "", "0.2500")
    left = read(tables["HB-T2-rigorous"], "MISPEL")
    assert (left["difference"], left["note"]) == ("failed", LEFT)
    weak = read(tables["HB-T2-rigorous"], "White Stripe")
    assert weak["note"] == "cannot reach significance at this n"


def test_controls_stand_below_and_unranked(tables: dict[str, Table]) -> None:
    found = tables["HB-T1-rigorous"]
    names = [row[[c.key for c in found.columns].index("method")] for row in found.rows]
    assert [cell.text for cell in names][-1] == "blur (degradation)"
    assert [cell.aside for cell in names] == [False] * 4 + [True]
    own = read(found, "blur (degradation)")
    assert (own["rank"], own["best"], own["note"]) == ("", "", "the metric rewards blur")


def test_components_are_shown_as_sd_beside_registration(tables: dict[str, Table]) -> None:
    raw = read(tables["HB-T9"], "RAW")
    assert raw["subject SD"] == "20.00 [10.00, 30.00]"
    assert raw["scanner SD"] == "0.00 [0.00, 4.00]"  # a variance below 0
    assert raw["ICC(A,1)"] == "0.812 [0.700, 0.900]"
    assert raw["units"] == "ml"
    template = read(tables["HB-T9"], "registration only (template)")
    assert template["subject SD"] == "10.00 [5.00, 15.00]"
    assert "counts as kept only beside it" in tables["HB-T9"].caption
    assert read(tables["HB-T9"], "RAVEL")["group"] == "yes"


def test_seeds_are_told_from_subjects(tables: dict[str, Table]) -> None:
    own = read(tables["HB-T9-seeds"], "MISPEL")
    assert own["seed SD"].startswith("0.012 [")
    assert own["subject SD"].startswith("0.03")
    assert own["residual SD"].startswith("0.004 [")


def test_an_sd_of_zero_is_not_certain(tables: dict[str, Table]) -> None:
    own = read(tables["HB-T9-seeds"], "RAVEL-CV")
    assert own["seed SD"] == "0.000"
    assert own["subject SD"] == "0.030 [0.000, 0.050]"
    assert "it is not known to be 0" in tables["HB-T9-seeds"].caption
    assert ",0.000,,," in to_csv(tables["HB-T9-seeds"])


def test_guards_name_what_caught_each_control(tables: dict[str, Table]) -> None:
    found = tables["HB-T12"]
    assert read(found, "template")["caught by"] == "individuality"
    assert read(found, "shuffle")["caught by"] == "nothing"
    assert read(found, "MISPEL")["caught by"] == ""
    assert read(found, "MISPEL")["individuality"] == "0.70 [0.60, 0.80]"


def test_undeclared_plugins_are_named_so(run: Finished) -> None:
    design = replace(run.design, declared=run.design.declared - {"mispel"})
    changed = replace(run, design=design)
    said = findings(changed)
    assert "MISPEL (not declared)" in said.methods
    own = line(said, "SSIM")["MISPEL (not declared)"]
    assert (own.word, own.tone) == ("better, own family", "")
    sharp = line(said, "Sharpness, distance from 1")["MISPEL (not declared)"]
    assert (sharp.word, sharp.tone) == ("differs, own family", "")
    assert line(said, "SSIM")["RAVEL-CV"].tone == "bad"
    assert any(note.startswith("Own family: a plugin") for note in said.notes)
    assert not any(note.startswith("Own family") for note in findings(run).notes)
    found = {each.id: each for each in citable(changed)}["HB-T1-rigorous"]
    assert read(found, "MISPEL (not declared)")["n"] == "18"


def test_an_undeclared_plugin_that_is_worse_has_no_tone_either(run: Finished) -> None:
    design = replace(run.design, declared=run.design.declared - {"ravel-cv"})
    own = line(findings(replace(run, design=design)), "SSIM")["RAVEL-CV (not declared)"]
    assert (own.word, own.tone) == ("worse, own family", "")


def test_trained_methods_are_judged_given_their_models(run: Finished, found: Findings) -> None:
    sentence = "Methods trained by folds are judged given these trained models"
    assert sum(note.startswith(sentence) for note in found.notes) == 1
    assert "over folds" not in line(found, "SSIM")["RAVEL"].detail
    nobody = replace(run, design=replace(run.design, trained=frozenset()))
    assert not any(note.startswith(sentence) for note in findings(nobody).notes)
    assert "over folds" not in line(findings(nobody), "SSIM")["MISPEL"].detail


def test_nobody_is_tied_where_nobody_could_differ(run: Finished) -> None:
    rows = [
        row | ({"reason": "cannot reach significance at this n", "p_adjusted": 0.25})
        if row["test"] == "max_t" and row["method"] != "ravel"
        else row
        for row in comparisons()
    ]
    changed = replace(run, comparisons=table(rows, COMPARISON_COLUMNS))
    assert Comparisons(changed).tied(SSIM) == []
    said = findings(changed)
    assert not any(line(said, "SSIM")[name].tied for name in said.methods)
    sentence = (
        "On SSIM contenders cannot reach significance against each other at this n, so nothing is "
        "said of who is not shown worse."
    )
    assert said.notes.count(sentence) == 1
    assert not any(sentence in note for note in findings(run).notes)
    companion = {each.id: each for each in citable(changed)}["HB-T1-rigorous"]
    assert companion.caption.count(sentence) == 1
    assert "best" not in [column.key for column in companion.columns]


def test_adjusted_p_below_1_of_a_family_that_was_not_selected(run: Finished) -> None:
    rows = [
        row | {"p_adjusted": 0.09, "reason": "family not selected"}
        if (row["test"], row["metric"], row["method"]) == ("sign_flip", "volume", "ravel")
        else row
        for row in comparisons()
    ]
    changed = replace(run, comparisons=table(rows, COMPARISON_COLUMNS))
    own = line(findings(changed), "Volume bias (HMRF), GM")["RAVEL"]
    assert (own.word, own.detail.replace(HARD, " ")) == ("not shown", "-3.00 ml, p = 0.0900")
    found = {each.id: each for each in citable(changed)}["HB-T2-rigorous"]
    cells = read(found, "RAVEL")
    assert (cells["p adjusted"], cells["note"]) == ("0.0900", "family not selected")


def test_rigorous_tables_have_the_same_numbers_in_every_form(tables: dict[str, Table]) -> None:
    for name in ("HB-T1-rigorous", "HB-T9", "HB-T12"):
        for text in (to_csv(tables[name]), to_markdown(tables[name]), to_latex(tables[name])):
            assert tables[name].id in text
    assert "<0.0001" in to_csv(tables["HB-T1-rigorous"])
    assert "&lt;0.0001" in to_markdown(tables["HB-T1-rigorous"])
    assert r"\textless{}0.0001" in to_latex(tables["HB-T1-rigorous"])
    head = to_csv(tables["HB-T9"]).splitlines()[0]
    assert 'ICC(A,1) low","ICC(A,1) high","ICC(A,1) n"' in head


def test_contenders_are_held_to_the_standard_of_the_controls(run: Finished) -> None:
    """What catches a control is said of a contender too, whatever its adjusted p."""
    assert findings(run).changed == ("MISPEL: individuality 0.70 [0.60, 0.80].",)
    blurred = [number(SHARP, "ravel", "mean", 0.66, 0.65, 0.67)]
    noisy = [number(Case("noise", "", "wm", "template"), "ravel", "mean", 1.4, 1.1, 1.7)]
    kept = [number(SHARP, "whitestripe", "mean", 0.99, 0.97, 1.01)]
    more = table([*aggregates(), *blurred, *noisy, *kept], AGGREGATE_COLUMNS)
    assert findings(replace(run, aggregates=more)).changed == (
        "RAVEL: sharpness 0.66 [0.65, 0.67] and noise 1.40 [1.10, 1.70].",
        "MISPEL: individuality 0.70 [0.60, 0.80].",
    )


def test_a_declared_margin_reaches_the_verdict(run: Finished) -> None:
    rows = [
        row | {"p": 0.01} if (row["test"], row["method"]) == ("tost", "mispel") else row
        for row in comparisons()
    ]
    rows.append(test_of(SSIM, "ravel", 0.03, 0.04, test="tost", statistic=0.5))
    said = findings(replace(run, comparisons=table(rows, COMPARISON_COLUMNS)))
    plus = "\N{PLUS-MINUS SIGN}"
    own = line(said, "SSIM")
    assert own["MISPEL"].word == f"better, yet equivalent within {plus}0.5"
    assert own["MISPEL"].tone == ""
    assert own["RAVEL"].word == f"equivalent within {plus}0.5"
    assert own["RAVEL-CV"].word == "worse"
    assert own["White Stripe"].word == "identical"
    assert any(f"SSIM {plus}0.5." in note and "declared" in note for note in said.notes)
    nobody = replace(run.design, margins={})
    assert not any("Equivalent" in n for n in findings(replace(run, design=nobody)).notes)


def test_of_two_truths_the_thresholded_one_judges(run: Finished) -> None:
    whole, thresholded = (Case("volume_error", "hmrf", name, "native") for name in ("gm", "gm_p80"))
    rows = [test_of(case, "ravel", -3.0, 0.001) for case in (whole, thresholded)]
    rows += [guard_of(case, "shuffle", -1.0, "caught") for case in (whole, thresholded)]
    changed = replace(run, comparisons=table([*comparisons(), *rows], COMPARISON_COLUMNS))
    said = findings(changed)
    names = [each.name for each in said.agreement if each.name.startswith("Volume error")]
    assert names == ["Volume error against truth (HMRF), GM (p80)"]
    assert sum("truth's voxels of at least .8 (p80)" in note for note in said.notes) == 1
    assert not any("p80" in note for note in findings(run).notes)
    assert caught(changed)["shuffle"] == ["Volume error against truth (GM (p80))"]
    found = {each.id: each for each in citable(changed)}["HB-T9-truth-rigorous"]
    place = [column.key for column in found.columns].index("structure")
    assert {row[place].text for row in found.rows} == {"GM", "GM (p80)"}
    alone = replace(run, comparisons=table([*comparisons(), rows[0]], COMPARISON_COLUMNS))
    assert any("Volume error" in each.name for each in findings(alone).agreement)


def test_what_caught_a_control_names_its_structures(run: Finished) -> None:
    wm = replace(GM, structure="wm")
    slopes = [number(case, "shuffle", "slope", 0.5, 0.4, 0.6, units="") for case in (GM, wm)]
    bias = [guard_of(case, "shuffle", -1.0, "caught") for case in (GM, wm)]
    changed = replace(
        run,
        comparisons=table([*comparisons(), *bias], COMPARISON_COLUMNS),
        aggregates=table([*aggregates(), *slopes], AGGREGATE_COLUMNS),
    )
    assert caught(changed)["shuffle"] == ["slope (GM, WM)", "Volume bias (GM, WM)"]
    other = [replace(case, tool="atropos") for case in (GM, wm)]
    more = [guard_of(case, "shuffle", -1.0, "caught") for case in other]
    several = replace(
        changed, comparisons=table([*comparisons(), *bias, *more], COMPARISON_COLUMNS)
    )
    assert caught(several)["shuffle"] == [
        "slope (HMRF GM, HMRF WM)",
        "Volume bias (Atropos GM, Atropos WM, HMRF GM, HMRF WM)",
    ]
