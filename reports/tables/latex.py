r"""A table as LaTeX with booktabs alone (and longtable where it is long), on any portrait page.

What does not fit the width stands in panels: the columns that name a line are repeated, the others
follow one another. What lines have in common (tool, structure, units) is a heading over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from harmobench.reports.tables.formats import Cell, Table
from harmobench.reports.tables.panels import (
    GAP,
    PAGE,
    Shape,
    balanced,
    cell_width,
    height,
    shape_of,
    shown,
    widened,
)
from harmobench.reports.tables.tex import breakable, latex, width

HEIGHT = 500.0  # points of a page, less than its 550
LEADING = 1.25  # line height over letter height
NOTES = 8
STAR = r"\rlap{\textsuperscript{*}}"  # digits stay under digits


def to_latex(table: Table) -> str:
    r"""Return a table as LaTeX; line 1 names the packages that its preamble needs."""
    notes = rf"{_size(NOTES)}\noindent\raggedright {_notes(table)}\par"
    head = rf"\caption{{{_name(table)}}}\label{{tab:{table.id}}}"
    if not table.rows:
        return _lines("booktabs", r"\begin{table}", r"\centering", head, notes, r"\end{table}")
    shape = shape_of(table)
    panels = [(widened(shape, panel), panel) for panel in balanced(shape)]
    lines = sum(height(*panel) for panel in panels) + len(_notes(table)) / 80
    if lines * shape.size * LEADING < HEIGHT:
        body = [line for i, panel in enumerate(panels) for line in _tabular(*panel, i)]
        rest = [r"\par\medskip", notes]
        return _lines(
            "booktabs",
            r"\begin{table}",
            r"\centering",
            head,
            r"\smallskip",
            *body,
            *rest,
            r"\end{table}",
        )
    body = [line for i, panel in enumerate(panels) for line in _longtable(*panel, i, head)]
    return _lines(
        "booktabs,longtable", "{" + r"\setlength{\LTcapwidth}{\textwidth}%", *body, notes + "}"
    )


def _lines(packages: str, *lines: str) -> str:
    first = rf"% needs \usepackage{{{packages}}}, pdflatex and a text width of 345 pt or more"
    return "\n".join([first, *lines, ""])


def _name(table: Table) -> str:
    return f"{table.id} {breakable(table.title, PAGE / 2, 10)}."


def _notes(table: Table) -> str:
    """Return what a reader needs beside the numbers: under the table, in small letters."""
    words = " ".join(filter(None, (table.caption, table.reason, table.provenance)))
    return breakable(words, PAGE / 3, NOTES)


def _size(size: int) -> str:
    return rf"\fontsize{{{size}}}{{{size * LEADING:g}}}\selectfont"


def _groups(shape: Shape) -> Iterator[tuple[str, list[tuple[Cell, ...]]]]:
    """Yield lines that have the same heading over them, with it."""
    for head, rows in groupby(shape.table.rows, key=lambda row: _over(shape, row)):
        yield head, list(rows)


def _over(shape: Shape, row: Sequence[Cell]) -> str:
    """Return what stands over a line, such as "HMRF, GM (ml)"."""
    units, words = "", []
    for i in shape.over:
        key, text = shape.table.columns[i].key, row[i].shown
        if key == "units":
            units = f" ({text})" if text else ""
        elif text:
            words.append(f"{text} space" if key == "space" else text)
    return ", ".join(words) + units


def _tabular(shape: Shape, panel: Sequence[int], number: int) -> Iterator[str]:
    if number:
        yield rf"\par\medskip\emph{{{shape.table.id} (continued)}}\par\smallskip"
    yield rf"{{{_size(shape.size)}\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}%"
    yield rf"\begin{{tabular}}{{{_spec(shape, panel)}}}"
    yield from (r"\toprule", _headings(shape, panel), r"\midrule")
    yield from _body(shape, panel)
    yield from (r"\bottomrule", r"\end{tabular}}")


def _longtable(shape: Shape, panel: Sequence[int], number: int, head: str) -> Iterator[str]:
    again = rf"\caption*{{{shape.table.id} (continued)}}\\"
    top = [r"\toprule", _headings(shape, panel), r"\midrule"]
    if number:
        yield r"\addtocounter{table}{-1}%"
    yield rf"{{{_size(shape.size)}\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}%"
    yield rf"\begin{{longtable}}{{{_spec(shape, panel)}}}"
    yield from (again if number else rf"{head}\\", *top, r"\endfirsthead")
    yield from (again, *top, r"\endhead")
    yield from _body(shape, panel)
    yield from (r"\bottomrule", r"\end{longtable}}%")


def _spec(shape: Shape, panel: Sequence[int]) -> str:
    columns = shape.table.columns
    return "@{}" + "".join("r" if columns[i].measured else "l" for i in panel) + "@{}"


def _headings(shape: Shape, panel: Sequence[int]) -> str:
    return " & ".join(_heading(shape, i) for i in panel) + r" \\"


def _heading(shape: Shape, i: int) -> str:
    column, room = shape.table.columns[i], shape.widths[i]
    if width(column.heading, shape.size) <= room:
        return latex(column.heading)
    side = r"\raggedleft" if column.measured else r"\raggedright"
    return _box("b", room, side, breakable(column.heading, room, shape.size))


def _box(place: str, room: float, side: str, text: str) -> str:
    return rf"\parbox[{place}]{{{room:.1f}pt}}{{{side}\strut {text}\strut}}"


def _body(shape: Shape, panel: Sequence[int]) -> Iterator[str]:
    for number, (head, rows) in enumerate(_groups(shape)):
        if head:
            if number:
                yield r"\addlinespace"
            room = shape.total(panel)
            text = _box("t", room, r"\raggedright", breakable(head, room, shape.size))
            yield rf"\multicolumn{{{len(panel)}}}{{@{{}}l@{{}}}}{{\emph{{{text}}}}} \\*"
        for row in rows:
            yield " & ".join(_cell(shape, i, row[i]) for i in panel) + r" \\"


def _cell(shape: Shape, i: int, cell: Cell) -> str:
    if not shape.table.columns[i].measured and cell_width(cell, shape.size) > shape.widths[i]:
        text = breakable(cell.shown, shape.widths[i], shape.size)
        return _box("t", shape.widths[i], r"\raggedright", text)
    text = latex(shown(cell))
    bold = rf"\textbf{{{text}}}" if cell.best else text
    return bold + (STAR if cell.significant else "")
