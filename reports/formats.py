"""A table that can be cited, and its three files: CSV, Markdown and LaTeX, with equal numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{EN DASH}": "--",
    "·": r"\textperiodcentered{}",
    "≥": r"$\geq$",
    "\n": " ",
}
MARKDOWN = re.compile(r"([\\`*_\[\]|#])")
WIDE = 6  # columns that fit a page at \\small
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute these


@dataclass(frozen=True)
class Cell:
    """One cell: a number, perhaps with its spread, or words.

    Attributes
    ----------
    value, spread
        The number and its SD, unrounded.
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
    """

    value: float | None = None
    spread: float | None = None
    digits: int = 2
    n: int | None = None
    significant: bool = False
    best: bool = False
    text: str = ""

    @property
    def shown(self) -> str:
        """Number and spread, without marks."""
        if self.value is None:
            return self.text
        spread = "" if self.spread is None else f" ({rounded(self.spread, self.digits)})"
        return f"{rounded(self.value, self.digits)}{spread}{self.text}"


@dataclass(frozen=True)
class Column:
    """A column: its name in CSV, its heading, and whether it holds numbers of a method."""

    key: str
    heading: str
    measured: bool = False


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
    """

    id: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    provenance: str
    reason: str = ""


def rounded(number: float, digits: int) -> str:
    """Return a number with fixed decimals, never a negative zero.

    >>> rounded(0.4567, 2), rounded(-0.0001, 2)
    ('0.46', '0.00')
    """
    text = f"{number:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def to_csv(table: Table) -> str:
    """Return a table as CSV: number, SD, n and marks in columns of their own."""
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
            header += [f"{column.key} SD", f"{column.key} n", f"{column.key} mark"]
    return header


def _csv_row(table: Table, row: tuple[Cell, ...]) -> list[str]:
    fields = []
    for column, cell in zip(table.columns, row, strict=True):
        number = "" if cell.value is None else rounded(cell.value, cell.digits)
        if not column.measured:
            fields.append(number or _plain(cell.text))
            continue
        spread = "" if cell.spread is None else rounded(cell.spread, cell.digits)
        marks = ["bold"] * cell.best + ["*"] * cell.significant
        fields += [number or _plain(cell.text), spread, "" if cell.n is None else str(cell.n)]
        fields.append(" ".join(marks))
    return fields


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


def to_latex(table: Table) -> str:
    r"""Return a table as LaTeX; the preamble needs \usepackage{booktabs}."""
    caption = f"{table.id} {latex(table.title)}. {latex(table.caption)} {latex(table.provenance)}"
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{table.id}}}",
    ]
    if table.rows:
        spec = "".join("r" if c.measured else "l" for c in table.columns)
        wide = len(table.columns) > WIDE
        lines.append(r"\scriptsize\setlength{\tabcolsep}{3pt}" if wide else r"\small")
        lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
        lines.append(" & ".join(latex(c.heading) for c in table.columns) + r" \\")
        lines.append(r"\midrule")
        lines += [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
        lines += [r"\bottomrule", r"\end{tabular}"]
    else:
        lines.append(rf"\emph{{{latex(table.reason)}}}")
    return "\n".join([*lines, r"\end{table}", ""])


def latex(text: str) -> str:
    r"""Escape what LaTeX would read as a command.

    >>> print(latex("GM_left & 5%"))
    GM\_left \& 5\%
    """
    return "".join(LATEX.get(character, character) for character in text)


def _latex_cell(cell: Cell) -> str:
    shown = latex(cell.shown)
    if cell.value is not None:
        shown = shown.replace("-", "$-$", 1) if shown.startswith("-") else shown
    bold = rf"\textbf{{{shown}}}" if cell.best else shown
    return bold + (r"\textsuperscript{*}" if cell.significant else "")
