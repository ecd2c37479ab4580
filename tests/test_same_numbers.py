"""The same numbers, marks, bold and n in every form of every table: all are read back."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.interface import Finished
from harmobench.reports import catalogue
from harmobench.reports.html import render
from harmobench.reports.images.pictures import Gallery
from harmobench.reports.tables.citable import citable
from harmobench.reports.tables.formats import Cell, Table, rounded, to_csv, to_markdown
from harmobench.reports.tables.latex import to_latex


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


synthetic_run, read_tables = _beside("synthetic_run"), _beside("read_tables")
CONTROLS = tuple(synthetic_run.CONTROLS)
NAMES = ("é\N{EN DASH}ß", "中文😀", "<script>", "$x$ a%b", "a_b\\c*", "two\nlines", "=1+1", "a|b")
RUNS: dict[str, dict[str, Any]] = {
    "all": {
        "methods": ("raw", "ravel", "mispel"),
        "scanners": ("GE", "Philips", "SiemensT"),
        "controls": CONTROLS,
        "truth": True,
        "repeats": 2,
        "margins": {"ssim": 0.01},
    },
    "failed": {"failed": "ravel", "same": ("whitestripe",), "scanners": ("GE", "Philips")},
    "names": {"methods": ("raw", *NAMES), "scanners": NAMES[3:6], "tools": ("hmrf", NAMES[4])},
    "one": {"methods": ("raw",), "biomarkers": False},
}


@pytest.fixture(scope="module", params=list(RUNS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    found = synthetic_run.finished(folder, pictures=False, resamples=50, **RUNS[request.param])
    frame = found.aggregates  # so that a cell has fewer subjects than its line
    frame.loc[(frame["method"] == found.scores["method"].iloc[-1]) & (frame["n"] == 6), "n"] = 5
    assert isinstance(found, Finished)
    return found


@pytest.fixture(scope="module")
def tables(run: Finished) -> list[Table]:
    return citable(run)


@pytest.fixture(scope="module")
def page(run: Finished) -> dict[str, Any]:
    """Tables of the page, without its figures."""
    parts = [
        replace(part, blocks=tuple(((), names) for _, names in part.blocks))
        for part in catalogue.sections(run)
    ]
    found = read_tables.from_page(render(run, Gallery(run), parts, [], {}))
    assert isinstance(found, dict)
    return found


def check(table: Table, csv: str, markdown: str, tex: str) -> Any:
    """Hold Markdown and LaTeX against CSV, and n against the table; return CSV's cells."""
    keys, wanted = read_tables.from_csv(table, csv)
    _, shown = read_tables.from_markdown(table, markdown)
    _same(wanted, shown)
    _, typeset = read_tables.from_latex(table, tex)
    _same(read_tables.as_latex(table, wanted), typeset)
    assert len(wanted) == len(table.rows)
    for row, cells in zip(wanted, table.rows, strict=True):
        for column, cell, own in zip(table.columns, row, cells, strict=True):
            if column.measured and "n" in column.parts:
                assert cell.n == (None if own.n is None else str(own.n))
    assert len(keys) == len(table.columns)
    return wanted


def _same(wanted: Any, found: Any) -> None:
    assert len(wanted) == len(found)
    for row, other in zip(wanted, found, strict=True):
        assert [replace(c, n=None) for c in row] == [replace(c, n=None) for c in other]
        for cell, again in zip(row, other, strict=True):
            assert again.n in (None, cell.n)


def test_every_cell_is_the_same_in_every_form(
    tables: list[Table], page: dict[str, tuple[list[str], Any]]
) -> None:
    cells = 0
    for table in tables:
        assert table.id in page
        wanted = check(table, to_csv(table), to_markdown(table), to_latex(table))
        head, shown = page[table.id]
        assert head == [" ".join(c.heading.split()) for c in table.columns] * bool(table.rows)
        _same(wanted, shown)
        cells += sum(map(len, wanted))
    assert cells > 100


def test_headings_are_the_same(tables: list[Table]) -> None:
    for table in tables:
        if table.rows:
            head, _ = read_tables.from_markdown(table, to_markdown(table))
            assert head == [" ".join(column.heading.split()) for column in table.columns]
            names, _ = read_tables.from_latex(table, to_latex(table))
            own = [read_tables.latex(" ".join(c.heading.split())) for c in table.columns]
            assert [n for n in names if n != "over"] == own[
                len(own) - len(names) + ("over" in names) :
            ]


BREAK: dict[str, Callable[[Cell], Cell]] = {
    "number": lambda c: replace(c, value=(c.value or 0.0) + 10.0**-c.digits),
    "spread": lambda c: replace(c, spread=(c.spread or 0.0) + 10.0**-c.digits),
    "low": lambda c: replace(c, low=(c.low or 0.0) + 10.0**-c.digits),
    "high": lambda c: replace(c, high=(c.high or 0.0) + 10.0**-c.digits),
    "bold": lambda c: replace(c, best=not c.best),
    "star": lambda c: replace(c, significant=not c.significant),
    "text": lambda c: replace(c, value=None, text=f"{c.text}x"),
}


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_writer_that_changes_one_cell_is_found(data: st.DataObject) -> None:
    """One cell that one of the three files has otherwise than the others fails the comparison."""
    own = data.draw(st.sampled_from(sample()))
    places = [
        (i, k, what)
        for i, row in enumerate(own.rows)
        for k, (column, cell) in enumerate(zip(own.columns, row, strict=True))
        for what in BREAK
        if _can(what, column.measured, column.parts, cell)
    ]
    i, k, what = data.draw(st.sampled_from(places))
    rows = [list(row) for row in own.rows]
    rows[i][k] = BREAK[what](rows[i][k])
    broken = replace(own, rows=tuple(tuple(row) for row in rows))
    writers = [to_csv, to_markdown, to_latex]
    which = data.draw(st.integers(0, 2))
    texts = [write(broken if n == which else own) for n, write in enumerate(writers)]
    with pytest.raises(AssertionError):
        check(own, *texts)


def _can(what: str, measured: bool, parts: tuple[str, ...], cell: Cell) -> bool:
    if what != "text" and cell.value is None:
        return False
    needed = {"spread": "SD", "low": "low", "high": "high", "bold": "mark", "star": "mark"}
    if needed.get(what, "n") not in (*parts, "n") or (what != "text" and not measured):
        return False
    if what in ("low", "high") and None in (cell.low, cell.high):
        return False
    return not (what == "number" and cell.p)  # below its last decimal p is shown as less


SAMPLE: list[Table] = []


def sample() -> list[Table]:
    """Tables of one run, made once."""
    if not SAMPLE:
        folder = Path("nowhere")
        own = {"controls": CONTROLS, "truth": True, "pictures": False, "resamples": 50}
        run = synthetic_run.finished(folder, ("raw", "mispel"), failed="mispel", **own)
        more = synthetic_run.finished(folder, ("raw", "ravel"), **own)
        SAMPLE.extend(t for each in (run, more) for t in citable(each) if t.rows)
    return SAMPLE


def test_n_of_the_csv_is_the_tables() -> None:
    table = next(t for t in sample() if t.id == "HB-T1" and t.rows[0][-1].value is not None)
    first = table.rows[0][1]
    changed = replace(table, rows=((table.rows[0][0], replace(first, n=99), *table.rows[0][2:]),))
    whole = replace(table, rows=table.rows[:1])
    with pytest.raises(AssertionError):
        check(whole, to_csv(changed), to_markdown(whole), to_latex(whole))


def test_rounding_is_one(tables: list[Table]) -> None:
    """What a cell shows is its number with its own decimals, in every form by the same function."""
    for table in tables:
        for row in table.rows:
            for cell in row:
                if cell.value is not None and not cell.p:
                    assert cell.number == rounded(cell.value, cell.digits)
