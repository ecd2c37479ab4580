"""Runs of several labs as one benchmark: what is one method, what is tested, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import compared_runs as made
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.errors import SettingsError
from harmobench.interface import Finished, no_progress
from harmobench.reports.compare.differences import differences, refusal
from harmobench.reports.compare.facts import facts
from harmobench.reports.compare.merge import merged
from harmobench.reports.compare.naming import naming
from harmobench.reports.compare.remarks import remarks
from harmobench.reports.compare.runs import Member, merged_order, names_of, read
from harmobench.reports.compare.same import unlike
from harmobench.reports.compare.stack import stacked
from harmobench.reports.tables.formats import to_csv, to_markdown
from harmobench.reports.tables.latex import to_latex

Runs = Callable[..., list[Member]]
COUNTED: dict[str, Any] = {"counted": True}  # runs with statistics of their own


def shifted(method: str, by: float = 0.01) -> Callable[[pd.DataFrame], None]:
    def change(scores: pd.DataFrame) -> None:
        scores.loc[scores["method"] == method, "value"] *= 1 + by

    return change


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Write runs named A, B, ... with these options each, and read them."""

    def write(*options: dict[str, Any]) -> list[Member]:
        names = "ABCDE"[: len(options)]
        folders = [
            made.write_run(tmp_path / name, **({"counted": False} | own))
            for name, own in zip(names, options, strict=True)
        ]
        return read(folders, names, no_progress)

    return write


def together(members: list[Member], tmp_path: Path) -> Finished:
    return merged(members, tmp_path / "both", "id", no_progress)


# --------------------------------------------------------------------------------- differences


def test_equal_runs_have_no_differences(runs: Runs) -> None:
    assert differences(runs({}, {"seed": 3, "methods": ("raw", "ravel")})) == []


@pytest.mark.parametrize(
    ("options", "kind", "what", "who"),
    [
        ({"subjects": made.SUBJECTS[:5]}, "cohorts", "cohort", "A: 12 scans of 6 subjects"),
        (
            {"atlas": {"digest": "e" * 40, "name": "theirs"}},
            "definitions",
            "atlas",
            "A: builtin (dddddddd); B: theirs (eeeeeeee)",
        ),
        ({"kernel": "x" * 64, "version": "0.2.0"}, "definitions", "code that computes", "0.2.0"),
        ({"margins": {"ssim": 0.01}}, "definitions", "margins", "A: none; B: ssim = 0.01"),
        (
            {"parts": {"segmenters": (replace(made.part("segmenters", "hmrf"), version="9"),)}},
            "definitions",
            "segmenter hmrf, version",
            "B: 9",
        ),
        (
            {"parts": {"statistics": (made.part("statistics", "rigorous", resamples=9),)}},
            "definitions",
            "statistics rigorous, parameter resamples",
            "A: 64; B: 9",
        ),
        (
            {"parts": {"metrics": (made.part("metrics", "volume", threshold=0.5),)}},
            "definitions",
            "metric volume, parameter threshold",
            "B: 0.5",
        ),
        (
            {"change": shifted("raw")},
            "definitions",
            "scores of RAW",
            "scores differ, most of all",
        ),
    ],
)
def test_each_difference_is_found_with_who_has_what(
    runs: Runs, options: dict[str, Any], kind: str, what: str, who: str
) -> None:
    (found,) = differences(runs({}, options))
    assert (found.kind, found.what) == (kind, what)
    assert who in found.who
    text = refusal([found], ["A", "B"], frozenset())
    assert f"--allow {kind}" in text
    assert str(found) in text
    assert refusal([found], ["A", "B"], frozenset({kind})) == ""


def test_other_content_of_the_same_scans_is_named(runs: Runs) -> None:
    rows = [made._scan(s, c) for s in made.SUBJECTS for c in made.SCANNERS]
    rows[3]["values"] = {"age": "71"}
    found = differences(runs({}, {"scans": tuple(rows)}))
    assert [difference.kind for difference in found] == ["cohorts", "cohorts"]
    assert found[1].who == "A and B: column age of subject 02 on Philips"


def test_code_of_many_plugins_is_one_difference(runs: Runs) -> None:
    parts = tuple(replace(made.part("metrics", name), digest="f" * 64) for name in made.METRICS)
    (found,) = differences(runs({}, {"parts": {"metrics": parts}}))
    assert found.what == f"code of {len(parts)} metrics"
    assert "ffffffff" in found.who


def test_where_a_program_is_found_is_no_difference(runs: Runs) -> None:
    own = made.part("segmenters", "hmrf")
    name = next(iter(own.parameters))
    placed = [
        replace(own, parameters={**own.parameters, name: value}, aside=(name,)) for value in (1, 2)
    ]
    members = runs(*({"parts": {"segmenters": (each,)}} for each in placed))
    assert differences(members) == []


def test_all_differences_are_told_at_once(runs: Runs) -> None:
    members = runs({}, {"subjects": made.SUBJECTS[:5], "margins": {"ssim": 1.0}})
    found = differences(members)
    text = refusal(found, ["A", "B"], frozenset({"cohorts"}))
    assert "2 differences" in text
    assert text.count("\n  - ") == 2
    assert "--allow cohorts,definitions" in text
    assert refusal(found, ["A", "B"], frozenset({"cohorts", "definitions"})) == ""


@settings(deadline=None, max_examples=25)
@given(st.floats(-0.9, 0.9), st.booleans())
def test_scores_are_equal_up_to_rounding_of_the_largest(gap: float, far: bool) -> None:
    """Two machines differ in the last digits: that is no other definition, anything more is."""
    names = dict.fromkeys(("tool", "structure", "units", "scanner", "reference_scanner"), "")
    head = {"metric": "volume", "level": "scan", "space": "", "repeat": 0, "status": "ok", **names}
    own = pd.DataFrame([{**head, "subject": s, "value": v} for s, v in (("1", 600.0), ("2", 2.0))])
    theirs = own.copy()
    theirs.loc[1, "value"] += 600 * 1e-6 * (gap + np.sign(gap or 1) * (1 + 1e-6) * far)
    assert bool(unlike(own, theirs)) == far
    assert bool(unlike(theirs, own)) == far


def test_what_one_did_not_measure_is_no_difference_what_failed_is(runs: Runs) -> None:
    def lost(status: str) -> Callable[[pd.DataFrame], None]:
        def change(scores: pd.DataFrame) -> None:
            where = (scores["method"] == "whitestripe") & (scores["metric"] == "dice")
            scores.loc[where, ["value", "status"]] = [float("nan"), status]

        return change

    plain, without, failed = runs({}, {"change": lost("not_measured")}, {"change": lost("failed")})
    scores = [
        m.run.scores[m.run.scores["method"] == "whitestripe"] for m in (plain, without, failed)
    ]
    assert unlike(scores[0], scores[1]) == ""
    assert "failed" in unlike(scores[0], scores[2])


# -------------------------------------------------------------------------------------- naming


def test_equal_methods_are_one_and_others_bear_their_runs_names(runs: Runs) -> None:
    members = runs(
        {"controls": ("oracle",)},
        {"change": shifted("mispel"), "controls": ("oracle",)},
        {"methods": ("raw", "whitestripe", "ravel")},
    )
    assert naming(members) == [
        {"raw": "raw", "whitestripe": "whitestripe", "mispel": "mispel (A)", "oracle": "oracle"},
        {"raw": "raw", "whitestripe": "whitestripe", "mispel": "mispel (B)", "oracle": "oracle"},
        {"raw": "raw", "whitestripe": "whitestripe", "ravel": "ravel"},
    ]


def test_three_runs_two_of_them_alike(runs: Runs) -> None:
    names = naming(runs({}, {"change": shifted("mispel")}, {}))
    assert [own["mispel"] for own in names] == ["mispel (A, C)", "mispel (B)", "mispel (A, C)"]


def test_equal_scores_under_other_settings_are_two_methods(runs: Runs) -> None:
    methods = tuple(made.part("methods", name) for name in ("raw", "whitestripe"))
    other = (methods[0], replace(methods[1], parameters={**methods[1].parameters, "new": 1}))
    names = naming(runs({"parts": {"methods": methods}}, {"parts": {"methods": other}}))
    assert [own["whitestripe"] for own in names] == ["whitestripe (A)", "whitestripe (B)"]


@pytest.mark.parametrize(
    ("folders", "given", "names"),
    [
        (("x/A", "x/B"), None, ("A", "B")),
        (("x/run", "y/run"), None, ("x/run", "y/run")),
        (("x/lab_A", "x/lab A"), None, ("x/lab_A", "x/lab A")),
        (("x/a\nb", "x/\x1b[31mc"), None, ("a b", "[31mc")),
        (("x/A", "x/B"), " one , two", ("one", "two")),
    ],
)
def test_runs_are_named_by_what_differs(
    tmp_path: Path, folders: tuple[str, str], given: str | None, names: tuple[str, str]
) -> None:
    if folders[1] == "x/lab A":
        names = tuple(f"{tmp_path}/{name}" for name in names)  # type: ignore[assignment]
        found = names_of([tmp_path / name for name in folders], given)
        assert len(set(found)) == 2
        return
    assert names_of([tmp_path / name for name in folders], given) == names


@pytest.mark.parametrize("given", ["one", "one,one", "one,", "a_b,a b", "one,two,three"])
def test_names_that_cannot_tell_runs_apart_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingsError, match="--names: expected 2 different names"):
        names_of([tmp_path / "A", tmp_path / "B"], given)


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), min_size=1, max_size=4))
def test_an_order_of_all_has_each_once_and_keeps_the_first(orders: list[list[str]]) -> None:
    """A column or a method must be lost or doubled in no mixture of runs."""
    found = merged_order(orders)
    assert sorted(found) == sorted({each for order in orders for each in order})
    assert [each for each in found if each in orders[0]] == orders[0]


# ------------------------------------------------------------------------------------- merging


def paper(run: Finished, method: str) -> pd.DataFrame:
    rows = run.aggregates[
        (run.aggregates["mode"] == "paper") & (run.aggregates["method"] == method)
    ]
    return rows.drop(columns=["method"]).reset_index(drop=True)


def test_every_method_keeps_its_numbers_and_raw_stands_once(runs: Runs, tmp_path: Path) -> None:
    other = {"change": shifted("mispel"), "methods": ("raw", "ravel", "mispel")}
    members = runs(COUNTED, COUNTED | other)
    run = together(members, tmp_path)
    assert list(run.design.methods) == ["raw", "whitestripe", "ravel", "mispel (A)", "mispel (B)"]
    for member, own in zip(members, naming(members), strict=True):
        for old, new in own.items():
            pd.testing.assert_frame_equal(paper(run, new), paper(member.run, old))
    first = members[0].run.scores
    assert (run.scores["method"] == "raw").sum() == (first["method"] == "raw").sum()


def test_contenders_of_different_runs_are_tested_against_each_other(
    runs: Runs, tmp_path: Path
) -> None:
    run = together(runs({}, {"change": shifted("mispel", -0.1)}), tmp_path)
    rows = run.comparisons[
        (run.comparisons["test"] == "max_t") & (run.comparisons["metric"] == "ssim")
    ]
    row = rows.set_index(["method", "comparator"]).loc[("mispel (A)", "mispel (B)")]
    scores = run.scores[run.scores["metric"] == "ssim"]
    means = scores.groupby(["method", "subject"])["value"].mean()
    expected = float((means["mispel (A)"] - means["mispel (B)"]).mean())
    assert row["estimate"] == pytest.approx(expected)
    assert row["p"] == pytest.approx(2 / 2**6)  # one sign for all six subjects


def test_tests_over_folds_use_the_folds_of_each_methods_own_run(runs: Runs, tmp_path: Path) -> None:
    other = {"change": shifted("mispel"), "folds": made.OTHER_FOLDS}
    members = runs(COUNTED, COUNTED | other)
    run = together(members, tmp_path)
    for member, name in zip(members, ("mispel (A)", "mispel (B)"), strict=True):
        own = member.run.comparisons[member.run.comparisons["test"] == "fold"]
        here = run.comparisons[
            (run.comparisons["test"] == "fold") & (run.comparisons["method"] == name)
        ]
        for metric in ("ssim", "auroc", "volume"):
            theirs = own[own["metric"] == metric]["p"].tolist()
            assert theirs == here[here["metric"] == metric]["p"].tolist()
            assert all(p > 0 for p in theirs)
    a, b = (m.run.aggregates[m.run.aggregates["aggregate"] == "within_fold_icc"] for m in members)
    assert a["value"].tolist() != b["value"].tolist()


def test_galleries_of_other_folds_are_left_out(runs: Runs, tmp_path: Path) -> None:
    members = runs({}, {"change": shifted("mispel"), "folds": made.OTHER_FOLDS})
    run = together(members, tmp_path)
    rows = run.scores[
        (run.scores["metric"] == "identifiability") & run.scores["structure"].eq("fold")
    ]
    status = rows.groupby("method")["status"].agg(set).to_dict()
    assert status["raw"] == status["mispel (A)"] == {"ok"}
    assert status["mispel (B)"] == {"not_applicable"}
    assert any("B's test folds" in reason for reason in rows["reason"])
    said = " ".join(remarks(members, naming(members)))
    assert "test folds of B are not those of A" in said
    assert "left out for what only B ran" in said
    assert "other trainings" in said


def test_equal_folds_keep_their_galleries(runs: Runs, tmp_path: Path) -> None:
    members = runs({}, {"change": shifted("mispel"), "seed": 5})
    run = together(members, tmp_path)
    assert "not_applicable" not in set(run.scores["status"])
    said = " ".join(remarks(members, naming(members)))
    assert "test folds of" not in said
    assert "other trainings" in said


def test_metrics_of_one_run_stand_beside_those_of_all(runs: Runs, tmp_path: Path) -> None:
    members = runs({"metrics": ("ssim",)}, {"change": shifted("mispel")})
    run = together(members, tmp_path)
    assert list(run.design.metrics) == list(made.METRICS)
    measured = run.scores[run.scores["metric"] == "volume"]["method"].unique().tolist()
    assert measured == ["mispel (B)", "raw", "whitestripe"]
    said = " ".join(remarks(members, naming(members)))
    assert "AUROC, volume, Dice, sharpness and identifiability were part of B alone." in said


def test_who_saw_what_is_kept_under_the_new_names(runs: Runs, tmp_path: Path) -> None:
    members = runs({}, {"change": shifted("mispel"), "seed": 4, "target": "GE"})
    run = together(members, tmp_path)
    assert run.design.trained == {"mispel (A)", "mispel (B)"}
    assert run.design.declared == set(run.design.methods)
    assert run.settings["seed"] == "0 (A), 4 (B)"
    assert run.settings["target"] == "none (A), GE (B)"
    assert set(run.settings["methods"]) == set(run.design.methods)
    assert {key for key in run.references if key.startswith("method:mispel")} == {
        "method:mispel (A)",
        "method:mispel (B)",
    }


def test_facts_mark_what_differs(runs: Runs) -> None:
    members = runs({}, {"seed": 2, "environment": {"numpy": "1.0"}})
    found = {fact.name: fact for fact in facts(members)}
    assert found["Seed"].differs
    assert found["numpy"].values == ("2.3.5", "1.0")
    assert found["torch"].values == ("2.9.0", "none")
    assert not found["Preset"].differs
    assert found["Command"].own


# ------------------------------------------------------------------------------------ stacking


def test_stacked_tables_have_every_runs_rows_and_say_what_differs(runs: Runs) -> None:
    from harmobench.reports.tables.citable import citable

    other = {"methods": ("raw", "ravel"), "metrics": ("ssim", "auroc")}
    members = runs(COUNTED, COUNTED | {"subjects": made.SUBJECTS[:5], **other})
    found = differences(members)
    tables = {table.id: table for table in stacked(members, found)}
    own = [{table.id: table for table in citable(member.run)} for member in members]
    assert set(tables) == {*own[0], *own[1]}
    for name, table in tables.items():
        having = [each[name] for each in own if name in each]
        assert len(table.rows) == sum(len(each.rows) for each in having)
        assert "numbers of different runs must not be compared" in table.caption
        if table.rows:
            assert table.columns[0].heading == "Run"
            assert {row[0].text for row in table.rows} <= {"A", "B"}
        for write in (to_csv, to_latex, to_markdown):
            assert "must not be compared" in write(table)
    ssim = tables["HB-T1"]
    heads = [column.heading for column in ssim.columns]
    assert heads == ["Run", "Scanner pair", "RAW", "White Stripe", "MISPEL", "RAVEL"]
    shown = [[cell.shown for cell in row] for row in ssim.rows if row[0].text == "B"]
    assert all(row[3] == row[4] == "not run" for row in shown)
    assert [row[2] for row in shown] == [row[1].shown for row in own[1]["HB-T1"].rows]
    assert "A: n = 6 subjects." in ssim.caption
    assert "B: n = 5 subjects." in ssim.caption
    assert "B: Not measured" in tables["HB-T2"].caption


def test_definitions_that_differ_are_in_every_caption(runs: Runs) -> None:
    members = runs({}, {"margins": {"ssim": 0.1}})
    tables = stacked(members, differences(members))
    assert all("definitions of these runs differ: margins." in table.caption for table in tables)
    assert not any("cohorts" in table.caption for table in tables)
