"""Reads the tables of a run back from the forms they are written in, cell by cell."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from html.parser import HTMLParser

from harmobench.reports.tables.formats import Table
from harmobench.reports.tables.tex import latex

SHORT = re.compile(r" \[n=(\d+)\]")
SAME = " [identical]"


@dataclass(frozen=True)
class Read:
    """A cell as a reader finds it; `n` is None where the form does not print it."""

    text: str
    bold: bool = False
    star: bool = False
    n: str | None = None


Grid = list[list[Read]]


def _read(text: str, bold: bool, star: bool) -> Read:
    """Take the n that a cell shows where it is smaller than its line's."""
    found = SHORT.search(text)
    plain = " ".join(SHORT.sub("", text).split())
    return Read(plain, bold, star, found[1] if found else None)


def from_csv(table: Table, text: str) -> tuple[list[str], Grid]:
    """Return what stands under each of the table's columns: number, SD, interval and marks."""
    head, *rows = csv.reader(io.StringIO(text))
    grid = []
    for row in rows if table.rows else ():
        cells, place = [], 0
        for column in table.columns:
            parts = column.parts if column.measured else ()
            assert head[place] == column.key
            assert head[place + 1 : place + 1 + len(parts)] == [f"{column.key} {p}" for p in parts]
            more = dict(zip(parts, row[place + 1 :], strict=False))
            cells.append(_csv_cell(row[place], more))
            place += 1 + len(parts)
        assert head[place:] == ["table", "caption", "provenance"]
        grid.append(cells)
    return [column.key for column in table.columns], grid


def _csv_cell(shown: str, parts: dict[str, str]) -> Read:
    text = re.sub(r"^'(?=[=+\-@\t\r])", "", shown)
    text += f" ({parts['SD']})" if parts.get("SD") else ""
    span = [parts.get("low", ""), parts.get("high", "")]
    text += f" [{', '.join(span)}]" if all(span) else ""
    marks = parts.get("mark", "").split()
    text += SAME if "identical" in marks else ""
    return Read(" ".join(text.split()), "bold" in marks, "*" in marks, parts.get("n") or None)


def from_markdown(table: Table, text: str) -> tuple[list[str], Grid]:
    """Return headings and cells of a GitHub table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    head = [_unescaped(cell.strip()) for cell in rows[0]] if rows else []
    return head, [
        [
            _markdown_cell(cell.strip(), column.measured)
            for cell, column in zip(row, table.columns, strict=True)
        ]
        for row in rows[1:]
    ]


def _markdown_cell(text: str, measured: bool) -> Read:
    star = measured and text.endswith(r"\*")
    text = text.removesuffix(r"\*") if star else text
    bold = text.startswith("**") and text.endswith("**") and len(text) > 3
    return _read(_unescaped(text[2:-2] if bold else text), bold, star)


def _unescaped(text: str) -> str:
    text = re.sub(r"\\([\\`*_\[\]|#])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.grids: dict[str, tuple[list[str], Grid]] = {}
        self.section = self.cell = ""
        self.bold = self.star = self.head = False
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.section = given.get("id") or ""
            self.grids.setdefault(self.section, ([], []))
        elif tag == "tr" and self.section:
            self.grids[self.section][1].append([])
        elif tag in ("td", "th"):
            self.cell, self.words, self.bold, self.star = tag, [], False, False
            self.head = given.get("scope") == "col"
        elif tag == "strong":
            self.bold = True
        elif tag == "sup":
            self.star = True

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == self.cell and self.section:
            text = "".join(self.words)
            head, grid = self.grids[self.section]
            if self.head:
                head.append(" ".join(text.split()))
            else:
                grid[-1].append(
                    _read(text.removesuffix("*") if self.star else text, self.bold, self.star)
                )
        if tag in ("td", "th"):
            self.cell = ""
        if tag == "section":
            self.section = ""


def from_page(text: str) -> dict[str, tuple[list[str], Grid]]:
    """Return headings and cells of each table of a page, by its id."""
    found = _Page(text).grids
    return {name: (head, [row for row in grid if row]) for name, (head, grid) in found.items()}


PANEL = re.compile(r"\\begin\{(tabular|longtable)\}\{([^\n]*)\}\n(.*?)\\end\{\1\}", re.DOTALL)
BOX = re.compile(r"\\parbox\[[bt]\]\{[\d.]+pt\}\{\\ragged(?:right|left)\\strut (.*)\\strut\}$")
OVER = re.compile(r"\\multicolumn\{\d+\}\{@\{\}l@\{\}\}\{\\emph\{(.*)\}\} \\\\\*$")
STAR = r"\rlap{\textsuperscript{*}}"


def from_latex(table: Table, text: str) -> tuple[list[str], Grid]:
    """Return headings and cells of all panels together, as LaTeX has them; see `as_latex`.

    What stands over lines is put back before them: ("HMRF, GM (ml)") for tool, structure and units.
    """
    head: list[str] = []
    grid: Grid = []
    for number, (_, _, body) in enumerate(PANEL.findall(text)):
        rows = body[body.rindex(r"\midrule") :].splitlines()[1:]
        names = [_unboxed(cell) for cell in _ampersands(_headings(body))]
        lines: Grid = []
        over: list[Read] = []
        for line in rows:
            if found := OVER.match(line):
                over = [Read(_unboxed(found[1]))]
            elif line.endswith(r" \\"):
                lines.append([*over, *(_latex_cell(c) for c in _ampersands(line[:-3]))])
        first = len(over) + _stubs(table)
        if not number:
            head, grid = (["over"] if over else []) + names, lines
        else:
            shown = (["over"] if over else []) + names
            assert shown[:first] == head[:first]
            assert [row[:first] for row in lines] == [row[:first] for row in grid]
            head += shown[first:]
            grid = [a + b[first:] for a, b in zip(grid, lines, strict=True)]
    return head, grid


def _headings(body: str) -> str:
    return body.split("\\toprule\n")[1].split("\n")[0].removesuffix(r" \\")


def _ampersands(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)&", line)]


def _unboxed(text: str) -> str:
    found = BOX.match(text)
    return (found[1] if found else text).replace(r"\allowbreak{}", "")


def _latex_cell(text: str) -> Read:
    star = text.endswith(STAR)
    text = text.removesuffix(STAR)
    bold = text.startswith(r"\textbf{") and text.endswith("}")
    return _read(_unboxed(text[8:-1] if bold else text), bold, star)


OVERS = ("measure", "tool", "space", "structure", "units")
NAMING = (*OVERS, "method", "scanner pair", "scanner")


def _over_columns(table: Table) -> list[int]:
    """Columns that stand over lines: all that name a line but the last, if that is none of them."""
    first = []
    for i, column in enumerate(table.columns):
        if column.key not in NAMING or column.measured:
            break
        first.append(i)
    return first[:-1] if first and table.columns[first[-1]].key not in OVERS else []


def _stubs(table: Table) -> int:
    """How many columns stand in every panel."""
    naming = 0
    for column in table.columns:
        if column.key not in NAMING or column.measured:
            break
        naming += 1
    return naming - len(_over_columns(table))


def as_latex(table: Table, grid: Grid) -> Grid:
    """Return cells as LaTeX writes their texts, what stands over lines in one."""
    over = _over_columns(table)
    return [
        _over(table, row, over)
        + [_escaped(row[i], table.columns[i].measured) for i in range(len(row)) if i not in over]
        for row in grid
    ]


def _over(table: Table, row: list[Read], over: list[int]) -> list[Read]:
    texts = {table.columns[i].key: row[i].text for i in over}
    if not over:
        return []
    units = f" ({texts['units']})" if texts.get("units") else ""
    space = f"{texts['space']} space" if texts.get("space") else ""
    words = [texts.get("measure"), texts.get("tool"), space, texts.get("structure")]
    text = ", ".join(word for word in words if word) + units
    return [Read(latex(text))] if text else []


def _escaped(cell: Read, measured: bool) -> Read:
    text = latex(cell.text)
    if (re.match(r"^-?\d", cell.text) and measured) or re.match(r"^-?[\d.]+$", cell.text):
        text = latex(re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", cell.text))
    return Read(text, cell.bold, cell.star, cell.n)
