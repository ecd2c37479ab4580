"""The paper's mode and the rigorous mode beside each other, from rows typed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from harmobench.interface import Finished
from harmobench.reports.verdicts.sidebyside import Sides, side_by_side, tally

METHODS = ("raw", "whitestripe", "ravel", "mispel")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    own = {"same": ("whitestripe",), "pictures": False, "controls": ("blur",), "resamples": 50}
    subjects = [f"{i:02d}" for i in range(10)]
    found = synthetic_run.finished(folder, METHODS, subjects=subjects, **own)
    assert isinstance(found, Finished)
    return found


def find(run: Finished, criterion: str, method: str, of: str = "") -> Sides:
    lines = [
        line
        for line in side_by_side(run)
        if (line.criterion, line.method, line.of) == (criterion, method, of)
    ]
    assert len(lines) == 1
    return lines[0]


def changed(run: Finished, mode: str, test: str, **values: Any) -> Finished:
    """Return the run with other SSIM tests of MISPEL against RAW."""
    frame = run.comparisons.copy()
    rows = (frame["mode"] == mode) & (frame["test"] == test) & (frame["metric"] == "ssim")
    rows &= (frame["method"] == "mispel") & (frame["comparator"] == "raw")
    assert rows.any()
    for name, value in values.items():
        frame.loc[rows, name] = value
    return replace(run, comparisons=frame)


def test_a_line_for_each_criterion_structure_and_contender(run: Finished) -> None:
    lines = side_by_side(run)
    assert {line.method for line in lines} == {"White Stripe", "RAVEL", "MISPEL"}
    # SSIM, AUROC and its spread; GM and WM of three; four biomarkers of three criteria
    assert len(lines) == 3 * (3 + 3 * 2 + 3 * 4)
    assert len({(line.criterion, line.of, line.method) for line in lines}) == len(lines)
    assert list(dict.fromkeys(line.criterion for line in lines))[:3] == [
        "SSIM",
        "AUROC",
        "AUROC spread",
    ]


def test_both_conclusions_stand_beside_each_other(run: Finished) -> None:
    line = find(run, "SSIM", "MISPEL")
    assert (line.paper, line.paper_tests) == (
        "better in 6 of 6 scanner pairs",
        "6 better significant",
    )
    assert (line.rigorous, line.paper_tone, line.rigorous_tone) == ("better", "good", "good")
    rows = run.comparisons[run.comparisons["test"] == "sign_flip"]
    own = rows[(rows["metric"] == "ssim") & (rows["method"] == "mispel")].iloc[0]
    assert line.difference == f"+{own.estimate:.2f} [{own.low:.2f}, {own.high:.2f}]"
    assert line.p == f"{own.p_adjusted:.4f}"
    assert (line.disagrees, line.said) == ("", "")


def test_equal_scores_agree(run: Finished) -> None:
    for line in side_by_side(run):
        if line.method == "White Stripe" and line.criterion not in ("Effect size",):
            assert line.paper == "as RAW"
            assert not line.disagrees


def test_what_only_uncorrected_tests_show_is_flagged(run: Finished) -> None:
    other = changed(run, "rigorous", "sign_flip", p_adjusted=0.2)
    line = find(other, "SSIM", "MISPEL")
    assert (line.rigorous, line.disagrees) == ("not shown", "paper only")
    assert line.said == (
        "Uncorrected tests find it better in 6 of 6 scanner pairs; over subjects, corrected for "
        "the number of tests, no difference is shown."
    )
    few = changed(
        run, "rigorous", "sign_flip", p_adjusted=0.2, reason="cannot reach significance at this n"
    )
    assert "no test can reach significance" in find(few, "SSIM", "MISPEL").said
    assert "1 shown by the paper's uncorrected tests alone" in tally(
        [find(other, "SSIM", "MISPEL")]
    )


def test_the_opposite_is_flagged(run: Finished) -> None:
    line = find(changed(run, "rigorous", "sign_flip", estimate=-0.1), "SSIM", "MISPEL")
    assert (line.rigorous, line.disagrees) == ("worse", "opposite")
    assert line.said.endswith("; the rigorous mode finds the opposite: worse.")


def test_what_only_the_rigorous_mode_shows_is_flagged(run: Finished) -> None:
    line = find(changed(run, "paper", "paired_t", p=0.3), "SSIM", "MISPEL")
    assert (line.paper_tests, line.disagrees) == ("none significant", "rigorous only")
    assert "no test of a single one of the scanner pairs shows that" in line.said


def test_pairs_that_point_both_ways_are_flagged(run: Finished) -> None:
    frame = run.aggregates.copy()
    worse = (frame["mode"] == "paper") & (frame["metric"] == "ssim") & (frame["scanner"] == "GE")
    worse &= (frame["reference_scanner"] == "Philips") & (frame["aggregate"] == "mean")
    frame.loc[worse & (frame["method"] == "mispel"), "value"] = 0.1
    line = find(replace(run, aggregates=frame), "SSIM", "MISPEL")
    assert line.paper == "better in 5 of 6 scanner pairs, worse in 1"
    assert line.disagrees == "both ways"
    assert line.said.endswith("averaged over them it is better.")


def test_a_difference_within_the_margin_is_no_win(run: Finished) -> None:
    frame = run.comparisons
    own = frame[(frame["test"] == "sign_flip") & (frame["method"] == "mispel")]
    own = own[own["metric"] == "ssim"].assign(test="tost", p=0.001)
    import pandas as pd

    design = replace(run.design, margins={"ssim": 0.5})
    other = replace(run, design=design, comparisons=pd.concat([frame, own]))
    line = find(other, "SSIM", "MISPEL")
    assert line.rigorous == "better, yet equivalent within \N{PLUS-MINUS SIGN}0.5"
    assert line.disagrees == "paper only"
    assert "too small to matter" in line.said


def test_what_has_no_test_shows_both_values(run: Finished) -> None:
    line = find(run, "Volume RMSD", "MISPEL", "HMRF, GM")
    assert (line.paper_tests, line.rigorous, line.p) == ("no test", "no test", "")
    assert "; RAW " in line.difference
    assert not line.disagrees


def test_who_saw_the_group_is_not_judged(run: Finished) -> None:
    line = find(run, "Effect size", "RAVEL", "FreeSurfer, hippocampus")
    assert line.rigorous == "saw the group"


def test_failed_methods_say_so_on_both_sides(tmp_path: Path) -> None:
    own = {"failed": "mispel", "pictures": False, "resamples": 50}
    run = synthetic_run.finished(tmp_path, ("raw", "ravel", "mispel"), **own)
    lines = [line for line in side_by_side(run) if line.method == "MISPEL"]
    assert {(line.paper, line.rigorous) for line in lines} == {("failed", "failed")}
    assert not any(line.disagrees for line in lines)


def test_raw_alone_has_no_lines(tmp_path: Path) -> None:
    assert side_by_side(synthetic_run.finished(tmp_path, ("raw",), pictures=False)) == ()
