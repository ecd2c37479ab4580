"""The coverage that tables print is the one that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from harmobench.reports.tables.coverage import COVERAGE, coverage_note

PAGE = Path(__file__).resolve().parents[1] / "docs" / "calibration.md"


def measured() -> dict[str, tuple[float, float | None]]:
    """Rows of the page's table of intervals: estimand to coverage, and that of uneven subjects."""
    text = PAGE.read_text(encoding="utf-8").partition("## Intervals")[2]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    return {
        row[0]: (float(row[2]), float(row[3]) if row[3] else None)
        for row in cells
        if len(row) == 5 and row[2][:1].isdigit()
    }


@pytest.mark.parametrize("aggregate", COVERAGE)
def test_it_is_what_the_calibration_page_says(aggregate: str) -> None:
    each = COVERAGE[aggregate]
    assert measured()[each.estimand] == (each.normal, each.uneven)


def test_a_note_names_each_estimand_once() -> None:
    note = coverage_note(["rmsd", "rmsd", "individuality"])
    assert note.count("RMSD") == 1
    assert "individuality 95.8;" in note
    assert coverage_note(["rank"]) == ""
