"""A table that can be cited, and its CSV and Markdown; `latex` writes the same numbers as LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

MARKDOWN = re.compile(r"([\\`*_\[\]|#])")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute these


@dataclass(frozen=True)
class Cell:
    """One cell: a number, perhaps with its spread or its interval, or words.

    Attributes
    ----------
    value, spread
        The number and its SD, unrounded.
    low, high
        Its interval, shown where both are known.
    digits
        Decimals that are shown, everywhere the same.
    n
        Subjects (or pooled values) behind the number.
    significant
        Differs from RAW: paired t-test, p < .05, uncorrected.
    best
        Set in bold.
    text
        Shown instead of a number, or behind it.
    p
        The number is a p: what rounds to zero is shown as less than the last decimal.
    aside
        Of a control, which is never ranked: pages show it paler.
    """

    value: float | None = None
    spread: float | None = None
    digits: int = 2
    n: int | None = None
    significant: bool = False
    best: bool = False
    text: str = ""
    low: float | None = None
    high: float | None = None
    p: bool = False
    aside: bool = False

    @property
    def shown(self) -> str:
        """Number, spread and interval, without marks."""
        if self.value is None:
            return self.text
        spread = "" if self.spread is None else f" ({rounded(self.spread, self.digits)})"
        limits = (self.low, self.high)
        known = [rounded(x, self.digits) for x in limits if x is not None]
        interval = f" [{', '.join(known)}]" if len(known) == len(limits) else ""
        return f"{self.number}{spread}{interval}{self.text}"

    @property
    def number(self) -> str:
        """The number alone, rounded; empty where there is none."""
        if self.value is None:
            return ""
        least = 10.0**-self.digits
        if self.p and self.value < least / 2:
            return f"<{rounded(least, self.digits)}"
        return rounded(self.value, self.digits)


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes
    ----------
    key, heading
        Its name in CSV, and in the other forms.
    measured
        Whether it holds numbers.
    parts
        What CSV has in columns of their own beside a measured number: of "SD", "low", "high", "n"
        and "mark".
    """

    key: str
    heading: str
    measured: bool = False
    parts: tuple[str, ...] = ("SD", "n", "mark")


@dataclass(frozen=True)
class Table:
    """A table with a fixed id and all that a reader needs beside the numbers.

    Attributes
    ----------
    id, title
        Such as "HB-T2", "Volumetric bias".
    caption
        What the numbers are: definition, units, n, which way is better, what bold and * mean.
    columns, rows
        As many cells in each row as there are columns.
    provenance
        Version, cohort, run and seed.
    reason
        Why there are no rows, where there are none.
    common
        Sentences of the caption that other tables of the run have too: a page may print them once.
    """

    id: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    provenance: str
    reason: str = ""
    common: tuple[str, ...] = ()

    @property
    def own(self) -> str:
        """The caption without what it shares with other tables; files print all of it."""
        text = self.caption
        for sentence in self.common:
            text = text.replace(sentence, "")
        return " ".join(text.split())


def rounded(number: float, digits: int) -> str:
    """Return a number with fixed decimals, never a negative zero.

    >>> rounded(0.4567, 2), rounded(-0.0001, 2)
    ('0.46', '0.00')
    """
    text = f"{number:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def shared(tables: Iterable[Table]) -> list[str]:
    """Return what captions share, each sentence once: for a page that prints `Table.own`."""
    return list(dict.fromkeys(s for table in tables if table.rows for s in table.common))


def to_csv(table: Table) -> str:
    """Return a table as CSV: number, SD, interval, n and marks in columns of their own."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_csv_header(table), "table", "caption", "provenance"])
    rows: Iterable[list[str]] = (_csv_row(table, row) for row in table.rows)
    if not table.rows:
        rows = [["not measured" if i == 0 else "" for i in range(len(_csv_header(table)))]]
    caption = f"{table.title}. {table.caption} {table.reason}".strip()
    for row in rows:
        writer.writerow([*row, table.id, caption, table.provenance])
    return stream.getvalue()


def _csv_header(table: Table) -> list[str]:
    header = []
    for column in table.columns:
        header.append(column.key)
        if column.measured:
            header += [f"{column.key} {part}" for part in column.parts]
    return header


def _csv_row(table: Table, row: tuple[Cell, ...]) -> list[str]:
    fields = []
    for column, cell in zip(table.columns, row, strict=True):
        fields.append(cell.number or _plain(cell.text))
        if column.measured:
            fields += [_csv_part(cell, part) for part in column.parts]
    return fields


def _csv_part(cell: Cell, part: str) -> str:
    if part == "n":
        return "" if cell.n is None else str(cell.n)
    if part == "mark":
        marks = ["bold"] * cell.best + ["*"] * cell.significant
        return " ".join([*marks, *["identical"] * ("[identical]" in cell.text)])
    number = {"SD": cell.spread, "low": cell.low, "high": cell.high}[part]
    return "" if number is None else rounded(number, cell.digits)


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def to_markdown(table: Table) -> str:
    """Return a table as GitHub Markdown."""
    lines = [f"**{table.id} {_markdown(table.title)}.** {_markdown(table.caption)}", ""]
    if table.rows:
        lines.append("| " + " | ".join(_markdown(c.heading) for c in table.columns) + " |")
        lines.append("|" + "|".join("---:" if c.measured else ":---" for c in table.columns) + "|")
        for row in table.rows:
            lines.append("| " + " | ".join(_markdown_cell(cell) for cell in row) + " |")
    else:
        lines.append(f"*{_markdown(table.reason)}*")
    return "\n".join([*lines, "", _markdown(table.provenance), ""])


def _markdown(text: str) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKDOWN.sub(r"\\\1", " ".join(safe.split()))


def _markdown_cell(cell: Cell) -> str:
    shown = _markdown(cell.shown)
    return (f"**{shown}**" if cell.best else shown) + (r"\*" if cell.significant else "")
