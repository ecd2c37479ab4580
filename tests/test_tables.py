from __future__ import annotations

import csv
import importlib.util
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.interface import Finished
from harmobench.reports.citable import citable
from harmobench.reports.formats import (
    Cell,
    Column,
    Table,
    latex,
    rounded,
    to_csv,
    to_latex,
    to_markdown,
)
from harmobench.reports.tables import Tables

SPEC = importlib.util.spec_from_file_location(
    "synthetic_run", Path(__file__).with_name("synthetic_run.py")
)
assert SPEC is not None
assert SPEC.loader is not None
synthetic_run: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(synthetic_run)
finished = synthetic_run.finished
DASH = " \N{EN DASH} "


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    return finished(folder, failed="ravel", pictures=False, tools=("hmrf", "atropos"))


@pytest.fixture(scope="module")
def tables(run: Finished) -> dict[str, Table]:
    return {table.id: table for table in citable(run)}


def test_ids_and_what_this_version_lacks(tables: dict[str, Table]) -> None:
    assert list(tables) == [f"HB-T{i}" for i in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12)]


def test_files_are_written_and_equal_twice(run: Finished, tmp_path: Path) -> None:
    seen: list[str] = []
    written = Tables().write(run, lambda done, total, what: seen.append(what))
    first = {path.name: path.read_bytes() for path in written}
    again = {path.name: path.read_bytes() for path in Tables().write(run, lambda *_: None)}
    assert first == again
    assert len(first) == 3 * len(seen) == 33
    assert (run.folder / "tables" / "HB-T1.csv").is_file()


def numbers(text: str) -> list[str]:
    return re.findall(r"-?\d+\.\d+", text)


@pytest.mark.parametrize("name", ["HB-T1", "HB-T2", "HB-T3", "HB-T4", "HB-T5", "HB-T6", "HB-T8"])
def test_same_numbers_in_every_file(tables: dict[str, Table], name: str) -> None:
    table = tables[name]
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    head, body = rows[0], rows[1:]
    width = head.index("table")
    kept = [i for i in range(width) if not head[i].endswith((" n", " mark")) or head[i] == "method"]
    from_csv = [numbers(" ".join(row[i] for i in kept)) for row in body]
    markdown = [line for line in to_markdown(table).splitlines() if line.startswith("| ")][1:]
    tex = to_latex(table).split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert from_csv == [numbers(line) for line in markdown]
    assert from_csv == [numbers(line.replace("$-$", "-")) for line in tex]
    assert sum(map(len, from_csv)) > 10


def test_numbers_are_the_aggregates(run: Finished, tables: dict[str, Table]) -> None:
    frame = run.aggregates
    frame = frame[(frame["metric"] == "volume") & (frame["aggregate"] == "bias")]
    frame = frame[(frame["tool"] == "atropos") & (frame["structure"] == "wm")]
    frame = frame[(frame["scanner"] == "GE") & (frame["reference_scanner"] == "Philips")]
    wanted = dict(zip(frame["method"], frame["value"], strict=True))
    table = tables["HB-T2"]
    row = next(
        r
        for r in table.rows
        if [c.text for c in r[:3]] == ["Atropos", "WM", DASH.join(("GE", "Philips"))]
    )
    found = {c.key: cell.value for c, cell in zip(table.columns, row, strict=True) if c.measured}
    assert found.pop("ravel") is None
    assert found == wanted


def test_stars_are_the_uncorrected_tests(run: Finished, tables: dict[str, Table]) -> None:
    tests = run.comparisons[(run.comparisons["metric"] == "ssim") & (run.comparisons["p"] < 0.05)]
    stars = {
        (row[0].text, column.key)
        for row in tables["HB-T1"].rows
        for column, cell in zip(tables["HB-T1"].columns, row, strict=True)
        if cell.significant
    }
    pairs = tests["scanner"] + DASH + tests["reference_scanner"]
    assert stars == set(zip(pairs, tests["method"], strict=True))
    for name in ("HB-T3", "HB-T5", "HB-T7", "HB-T8"):
        assert not any(cell.significant for row in tables[name].rows for cell in row)


@pytest.mark.parametrize("name", ["HB-T2", "HB-T3"])
def test_smallest_of_each_row_is_bold(tables: dict[str, Table], name: str) -> None:
    for row in tables[name].rows:
        known = [cell for cell in row if cell.value is not None]
        least = min(cell.value for cell in known if cell.value is not None)
        assert [cell.value for cell in known if cell.best] == [least]


@pytest.mark.parametrize("name", ["HB-T6", "HB-T7"])
def test_smallest_of_each_column_is_bold(tables: dict[str, Table], name: str) -> None:
    for column in list(zip(*tables[name].rows, strict=True))[1:]:
        known = [cell for cell in column if cell.value is not None]
        assert sum(cell.best for cell in known) == 1
        least = min(cell.value for cell in known if cell.value is not None)
        assert next(cell for cell in known if cell.best).value == least


def test_bold_effect_sizes_rise_above_raw(tables: dict[str, Table]) -> None:
    columns = list(zip(*tables["HB-T8"].rows, strict=True))[1:]
    for raw, *others in columns:
        assert raw.value is not None
        assert not raw.best
        for cell in others:
            if cell.value is not None:
                assert cell.best == (cell.value / raw.value > 1)


def test_controls_never_win(tmp_path: Path) -> None:
    from dataclasses import replace

    run = finished(tmp_path, pictures=False)
    design = replace(run.design, methods={**run.design.methods, "mispel": "ceiling"})
    best = {
        column.key
        for table in citable(replace(run, design=design))
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
        if cell.best
    }
    assert best
    assert "mispel" not in best


def test_failed_method_says_so(tables: dict[str, Table]) -> None:
    table = tables["HB-T1"]
    column = [c.key for c in table.columns].index("ravel")
    assert {row[column].shown for row in table.rows} == {"failed"}
    assert "HB-T11" in table.caption
    assert len(tables["HB-T11"].rows) == 3
    assert "the loss was not finite" in to_markdown(tables["HB-T11"])


def test_fewer_subjects_are_named_in_the_cell(tmp_path: Path) -> None:
    run = finished(tmp_path, pictures=False)
    frame = run.aggregates
    frame.loc[(frame["method"] == "mispel") & (frame["metric"] == "ssim"), "n"] = 5
    table = citable(run)[0]
    assert table.rows[0][-1].shown.endswith("[n=5]")
    assert "n = 5 to 6 subjects" in table.caption


def test_not_measured_has_its_reason(tmp_path: Path) -> None:
    found = {t.id: t for t in citable(finished(tmp_path, biomarkers=False, pictures=False))}
    assert found["HB-T6"].reason == "Not measured: no FreeSurfer folder was given."
    assert "no clinical groups" in found["HB-T8"].reason
    for text in (to_csv, to_markdown, to_latex):
        assert "no FreeSurfer folder was given" in text(found["HB-T6"])
    assert found["HB-T11"].reason == "Nothing failed."
    assert found["HB-T2"].rows


def test_costs_say_who_saw_what(tables: dict[str, Table]) -> None:
    table = tables["HB-T10"]
    keys = [column.key for column in table.columns]
    rows = {row[0].text: dict(zip(keys, row, strict=True)) for row in table.rows}
    assert rows["RAVEL"]["labels"].text == "yes"
    assert rows["MISPEL"]["pairs"].text == "yes"
    assert rows["MISPEL"]["parameters"].value == 518854
    assert rows["MISPEL"]["fit s"].value == 93
    assert rows["CALAMITI"]["target"].text == "SiemensT"
    assert rows["RAW"]["training"].text == "nothing"


def test_every_table_names_its_run(tables: dict[str, Table]) -> None:
    line = "harmobench 0.1.0; cohort fedcba9876543210; run 0123456789ab; seed 0."
    for table in tables.values():
        assert line in to_csv(table)
        assert line in to_markdown(table)
        assert latex(line) in to_latex(table)


def test_empty_settings_are_tolerated(tmp_path: Path) -> None:
    from dataclasses import replace

    run = replace(finished(tmp_path, pictures=False), settings={})
    found = {table.id: table for table in citable(run)}
    assert found["HB-T1"].provenance.startswith("harmobench unknown")
    assert found["HB-T10"].rows[0][2].text == "unknown"


@pytest.mark.parametrize("count", [2, 7])
def test_rows_are_in_scanner_order(tmp_path: Path, count: int) -> None:
    scanners = [f"S{9 - i}" for i in range(count)]
    run = finished(tmp_path, ("raw", "mispel"), scanners, pictures=False)
    table = citable(run)[0]
    assert [row[0].text for row in table.rows] == [DASH.join(pair) for pair in run.design.pairs]


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30)


@settings(deadline=None, max_examples=50)
@given(WORDS, st.floats(-1e6, 1e6), st.integers(0, 4))
def test_any_text_keeps_the_shape(text: str, value: float, digits: int) -> None:
    columns = (Column("name", text), Column("m", text, measured=True))
    table = Table(
        "HB-T1", text, text, columns, ((Cell(text=text), Cell(value, 1.0, digits)),), text
    )
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert len(rows) == 2
    assert len(rows[0]) == len(rows[1]) == 8
    line = to_markdown(table).splitlines()[4]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<" not in to_markdown(table)
    body = to_latex(table).split(r"\midrule")[1]
    assert len(re.findall(r"(?<!\\)&", body)) == 1
    assert float(rows[1][1]) == pytest.approx(value, abs=0.51 * 10**-digits)


def test_spreadsheets_compute_nothing() -> None:
    table = Table("HB-T1", "t", "c", (Column("name", "N"),), ((Cell(text="=1+1"),),), "p")
    assert list(csv.reader(io.StringIO(to_csv(table))))[1][0] == "'=1+1"


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e5, 1e5), st.integers(0, 4))
def test_rounding_never_shows_negative_zero(value: float, digits: int) -> None:
    text = rounded(value, digits)
    assert np.isclose(float(text), value, atol=0.51 * 10**-digits)
    assert not (text.startswith("-") and float(text) == 0)
