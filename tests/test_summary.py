from __future__ import annotations

from pathlib import Path

import synthetic_run

from harmobench.reports.lookup import Number
from harmobench.reports.tables.guards import ratio_text
from harmobench.reports.verdicts.findings import findings
from harmobench.reports.verdicts.outcomes import Outcome
from harmobench.reports.verdicts.summary import IMAGE, KEPT, REMOVED, Cell, summary

finished = synthetic_run.finished
TEN = tuple(f"{i:02d}" for i in range(10))


def test_cell_is_bad_where_any_of_its_lines_is() -> None:
    good, bad, none = Outcome("better", "good"), Outcome("worse", "bad"), Outcome("not shown")
    assert Cell((("GM", good), ("WM", good))).tone == "good"
    assert Cell((("GM", good), ("WM", bad))).tone == "bad"
    assert Cell((("GM", good), ("WM", none))).tone == ""


def test_cell_counts_words_that_differ() -> None:
    cell = Cell((("GM", Outcome("better")), ("WM", Outcome("better")), ("CSF", Outcome("worse"))))
    assert cell.words == "2 better, 1 worse"
    assert Cell((("GM", Outcome("better")), ("WM", Outcome("better")))).words == "better"


def test_structures_are_named_shortly() -> None:
    outcome = Outcome("better")
    cell = Cell((("GM", outcome), ("hippocampus", outcome)))
    assert [short for _, short, _ in cell.parts] == ["GM", "hip."]
    assert Cell((("brain", outcome),)).parts == []


def test_every_line_of_the_verdict_is_in_the_summary(tmp_path: Path) -> None:
    run = finished(tmp_path, subjects=TEN, controls=("blur",), pictures=False)
    found = findings(run)
    parts = dict(summary(run, found).parts)
    assert list(parts) == [REMOVED, KEPT, IMAGE]
    for title, lines in ((REMOVED, found.agreement), (KEPT, found.kept)):
        criteria = [row.criterion for row in parts[title]]
        assert criteria == list(dict.fromkeys(line.criterion for line in lines))
        for line in lines:
            row = next(row for row in parts[title] if row.criterion == line.criterion)
            for cell, outcome in zip(row.cells, line.outcomes, strict=True):
                told = outcome in [each for _, each in cell.outcomes]
                assert told or outcome.word == "not measured"


def test_single_numbers_have_intervals(tmp_path: Path) -> None:
    run = finished(tmp_path, subjects=TEN, pictures=False)
    rows = {row.criterion: row for _, rows in summary(run, findings(run)).parts for row in rows}
    for name in ("SSIM", "Individuality", "Sharpness", "Noise"):
        assert all("[" in cell.single for cell in rows[name].cells), name


def test_failures_are_counted_for_each_method(tmp_path: Path) -> None:
    run = finished(tmp_path, failed="mispel", pictures=False)
    found = summary(run, findings(run))
    failed = dict(zip(found.methods, found.failed, strict=True))
    assert failed["MISPEL"] == len(run.failures) > 0
    assert failed["RAVEL"] == 0


def test_raw_alone_has_no_summary(tmp_path: Path) -> None:
    run = finished(tmp_path, methods=("raw",), pictures=False)
    assert summary(run, findings(run)).parts == ()


def test_rounding_is_no_gain_and_no_loss(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "whitestripe"), subjects=TEN, pictures=False)
    frame = run.aggregates
    own = frame["metric"].isin(("individuality", "sharpness", "noise"))
    own &= (frame["mode"] == "rigorous") & (frame["method"] == "whitestripe")
    own &= frame["scanner"] == ""
    for shift in (1e-8, -1e-8):
        frame.loc[own, ["value", "low", "high"]] = 1 + shift
        parts = summary(run, findings(run)).parts
        rows = {row.criterion: row.cells[0] for _, rows in parts for row in rows}
        assert rows["Individuality"].words == "no loss shown"
        assert rows["Sharpness"].words == rows["Noise"].words == "no change shown"
        assert not findings(run).changed


def test_a_limit_that_is_not_1_is_not_written_as_1() -> None:
    def text(low: float, high: float) -> str:
        return ratio_text(Number(0.97, 6, "ok", "", "", low, high, "t"))

    assert text(0.947, 0.9951) == "0.970 [0.947, 0.995]"
    assert text(0.947, 0.98) == "0.97 [0.95, 0.98]"
    assert text(1 - 1e-9, 1 + 1e-9) == "0.97 [1.00, 1.00]"
