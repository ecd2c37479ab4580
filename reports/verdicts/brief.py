"""The verdict's table in words, for a notebook."""

from __future__ import annotations

from collections.abc import Iterator

from harmobench.interface import Finished
from harmobench.reports.verdicts.findings import findings
from harmobench.reports.verdicts.summary import Cell, Row, summary

Words = tuple[str, str]  # what a cell says, and its tone


def brief(run: Finished) -> list[list[Words]]:
    """Return rows of (words, tone), the head first; a row of one cell is a heading.

    Tones are "good", "bad" or "". Empty where nothing could be compared with RAW.
    """
    found = summary(run, findings(run))
    rows = [row for title, part in found.parts for row in ([(title, "")], *map(_row, part))]
    if not rows:
        return []
    failed = [[("Failed tasks", ""), *_counts(found.failed)]] if any(found.failed) else []
    return [[("Compared with RAW", ""), *((name, "") for name in found.methods)], *rows, *failed]


def _row(row: Row) -> list[Words]:
    mark = f" ({row.mark})" if row.mark else ""
    return [(f"{row.criterion}{mark}", ""), *map(_cell, row.cells)]


def _cell(cell: Cell) -> Words:
    tied = " \N{BLACK CIRCLE}" if cell.tied else ""
    number = f": {cell.single}" if cell.single else ""
    return f"{cell.words}{tied}{number}", cell.tone


def _counts(failed: tuple[int, ...]) -> Iterator[Words]:
    return ((str(count), "bad" if count else "") for count in failed)
