from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_run
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.interface import Finished
from harmobench.reports.tables import Tables
from harmobench.reports.tables.citable import citable
from harmobench.reports.tables.formats import (
    Cell,
    Column,
    Table,
    rounded,
    to_csv,
    to_markdown,
)
from harmobench.reports.tables.latex import to_latex
from harmobench.reports.tables.tex import latex

finished = synthetic_run.finished
DASH = " \N{EN DASH} "


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    own = {"failed": "ravel", "pictures": False, "tools": ("hmrf", "atropos")}
    return finished(folder, controls=tuple(synthetic_run.CONTROLS), repeats=2, **own)


@pytest.fixture(scope="module")
def tables(run: Finished) -> dict[str, Table]:
    return {table.id: table for table in citable(run)}


BESIDE = [f"HB-T{i}-rigorous" for i in (*range(1, 9), 12)]
BESIDE += [f"HB-T9-{name}" for name in ("details", "limits", "seeds")]


def test_ids_are_fixed_and_companions_stand_beside(tables: dict[str, Table]) -> None:
    assert [name for name in tables if name not in BESIDE] == [f"HB-T{i}" for i in range(1, 13)]
    assert set(BESIDE) < set(tables)
    names = list(tables)
    for name in BESIDE:
        assert names[names.index(name) - 1].startswith("-".join(name.split("-")[:2]))


def test_files_are_written_and_equal_twice(run: Finished, tmp_path: Path) -> None:
    seen: list[str] = []
    written = Tables().write(run, lambda done, total, what: seen.append(what))
    first = {path.name: path.read_bytes() for path in written}
    again = {path.name: path.read_bytes() for path in Tables().write(run, lambda *_: None)}
    assert first == again
    assert len(first) == 3 * len(seen) + 1 == 3 * (12 + len(BESIDE)) + 1  # and what to cite
    assert (run.folder / "tables" / "HB-T1.csv").is_file()


def test_numbers_are_the_aggregates(run: Finished, tables: dict[str, Table]) -> None:
    frame = run.aggregates
    frame = frame[(frame["mode"] == "paper") & (frame["repeat"] == 0)]
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
    tests = run.comparisons
    tests = tests[(tests["mode"] == "paper") & (tests["repeat"] == 0)]
    tests = tests[(tests["metric"] == "ssim") & (tests["p"] < 0.05)]
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
        known = [cell for cell in row if cell.value is not None and not cell.aside]
        least = min(cell.value for cell in known if cell.value is not None)
        assert [cell.value for cell in known if cell.best] == [least]


@pytest.mark.parametrize("name", ["HB-T6", "HB-T7"])
def test_smallest_of_each_column_is_bold(tables: dict[str, Table], name: str) -> None:
    for column in list(zip(*tables[name].rows, strict=True))[1:]:
        known = [cell for cell in column if cell.value is not None and not cell.aside]
        assert sum(cell.best for cell in known) == 1
        least = min(cell.value for cell in known if cell.value is not None)
        assert next(cell for cell in known if cell.best).value == least


def test_bold_effect_sizes_rise_above_raw(tables: dict[str, Table]) -> None:
    columns = list(zip(*tables["HB-T8"].rows, strict=True))[1:]
    for raw, *others in columns:
        assert raw.value is not None
        assert not raw.best
        for cell in others:
            if cell.value is not None and not cell.aside:
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


def test_undeclared_plugins_are_never_bold(tmp_path: Path) -> None:
    from dataclasses import replace

    run = finished(tmp_path, pictures=False)
    best = bold(run)
    assert best["HB-T2"] >= {"mispel"}
    changed = replace(run, design=replace(run.design, declared=run.design.declared - {"mispel"}))
    left = bold(changed)
    assert not any("mispel" in names or "MISPEL" in names for names in left.values())
    assert all(left[name] for name in ("HB-T2", "HB-T6"))
    captions = {table.id: table.caption for table in citable(changed)}
    assert "controls and undeclared plugins left out" in captions["HB-T2"]
    assert "undeclared plugins left out" in captions["HB-T8"]
    assert "undeclared" not in next(t.caption for t in citable(run) if t.id == "HB-T2")


def bold(run: Finished) -> dict[str, set[str]]:
    """Methods that have a bold cell, by table: their column, or the first cell of their line."""
    return {
        table.id: {
            name
            for row in table.rows
            for column, cell in zip(table.columns, row, strict=True)
            if cell.best
            for name in (column.key, row[0].text)
        }
        for table in citable(run)
    }


def test_what_stands_beside_scores_is_in_no_table(run: Finished) -> None:
    from harmobench.reports.lookup import Lookup, scores

    more = run.aggregates[run.aggregates["metric"] == "ssim"].copy()
    more["structure"] = "brain_true"
    changed = replace_aggregates(run, more)
    found = {table.id: table for table in citable(changed)}
    assert found["HB-T1"].rows == citable(run)[0].rows
    for mode in ("paper", "rigorous"):
        places = Lookup(changed, mode).places("ssim", "mean")
        assert {place.structure for place in places} == {"brain"}
    assert set(scores(run, "identifiability")["structure"]) == {"all", "fold"}
    assert len(scores(run, "identifiability", structure="fold_chance"))


def replace_aggregates(run: Finished, more: Any) -> Finished:
    from dataclasses import replace

    import pandas as pd

    return replace(run, aggregates=pd.concat([run.aggregates, more], ignore_index=True))


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


def test_every_measured_table_counts_what_it_stands_on(tables: dict[str, Table]) -> None:
    for name, table in tables.items():
        if name in ("HB-T10", "HB-T11", "HB-T9-seeds", "HB-T9-limits"):
            continue
        assert re.search(r"n = \d+", table.caption), name
    assert "Scores without a value: RAVEL 36 of 36 failed" in tables["HB-T1"].caption
    assert "RAVEL 36 of 36 failed" in tables["HB-T1-rigorous"].caption
    assert "3 of 6 failed" not in tables["HB-T12"].caption
    column = [c.key for c in tables["HB-T4-rigorous"].columns].index("missing")
    shown = {row[column].text for row in tables["HB-T4-rigorous"].rows}
    assert shown == {"0 of 36", "36 of 36 failed"}


def test_equal_scores_are_called_identical_without_a_star(tmp_path: Path) -> None:
    own = {"same": ("whitestripe",), "pictures": False}
    found = {t.id: t for t in citable(finished(tmp_path, ("raw", "whitestripe", "mispel"), **own))}
    same = [row[2] for row in found["HB-T1"].rows]
    assert all(cell.shown.endswith(" [identical]") and not cell.significant for cell in same)
    assert not any("identical" in row[3].shown for row in found["HB-T1"].rows)
    table = found["HB-T1-rigorous"]
    names = [column.key for column in table.columns]
    rows = {row[names.index("method")].text: row for row in table.rows}
    assert rows["White Stripe"][names.index("difference")].shown == "identical"
    assert rows["White Stripe"][names.index("p")].shown == "1.0000"
    assert rows["MISPEL"][names.index("difference")].value is not None


def test_rigorous_numbers_are_the_runs_comparisons(run: Finished, tables: dict[str, Table]) -> None:
    frame = run.comparisons
    frame = frame[(frame["test"] == "sign_flip") & (frame["metric"] == "dice")]
    frame = frame[(frame["tool"] == "hmrf") & (frame["structure"] == "wm") & (frame["repeat"] == 0)]
    frame = frame[frame["method"] == "mispel"]
    table = tables["HB-T4-rigorous"]
    names = [column.key for column in table.columns]
    row = next(r for r in table.rows if [c.text for c in r[:3]] == ["HMRF", "WM", "MISPEL"])
    shown = dict(zip(names, row, strict=True))
    difference = shown["difference"]
    wanted = frame[["estimate", "low", "high", "effect", "p", "p_adjusted"]].to_numpy()[0]
    found = [difference.value, difference.low, difference.high]
    found += [shown[name].value for name in ("d_z", "p", "p adjusted")]
    np.testing.assert_array_equal(np.array(found, dtype=float), wanted)


def column_of(found: Table, name: str) -> list[Cell]:
    place = [column.key for column in found.columns].index(name)
    return [row[place] for row in found.rows]


def test_known_truth_has_tables_of_its_own(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "mispel"), pictures=False, truth=True)
    found = {table.id: table for table in citable(run)}
    frame = run.scores[(run.scores["metric"] == "volume_error") & (run.scores["structure"] == "gm")]
    wanted = frame.loc[frame["method"] == "mispel", "value"]
    table = found["HB-T9-truth"]
    names = [column.key for column in table.columns]
    row = next(r for r in table.rows if [c.text for c in r[:3]][2] == "GM" and "MISPEL" in str(r))
    shown = dict(zip(names, row, strict=True))
    assert shown["measure"].text == "Volume error against truth"
    assert shown["mean"].value == pytest.approx(wanted.mean())
    assert "slope on truth" in [column.key for column in found["HB-T9-details"].columns]
    assert len(found["HB-T9-truth-rigorous"].rows) == 6
    assert not any("true" in cell.text for cell in column_of(table, "structure"))
    counts = found["HB-T9-truth"].caption.split("Scores without a value")
    assert len(counts) == 1  # the truth is there, and is no score
    assert "HB-T9-truth" not in {t.id for t in citable(finished(tmp_path, ("raw",)))}


def test_long_tables_break_over_pages(tables: dict[str, Table]) -> None:
    text = to_latex(tables["HB-T9"])
    assert len(tables["HB-T9"].rows) > 45
    assert r"\begin{longtable}" in text
    assert r"\usepackage{booktabs,longtable}" in text
    assert r"\begin{table}" in to_latex(tables["HB-T1"])


def test_chance_stands_beside_identifiability(tables: dict[str, Table]) -> None:
    table = tables["HB-T12"]
    names = [column.key for column in table.columns]
    assert names.index("chance, all") == names.index("identifiability, all") + 1
    row = next(row for row in table.rows if row[0].text == "template")
    assert row[names.index("chance, fold")].value == pytest.approx(2 / 6)
    assert row[names.index("identifiability, all")].value == pytest.approx(1 / 6)
    trained = next(row for row in table.rows if row[0].text == "MISPEL")
    assert trained[names.index("identifiability, all")].text == "not measured"
    assert row[names.index("sharpness")].text


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


def rounded_off(run: Finished, metric: str, by: float) -> Finished:
    """Return a run whose `whitestripe` has RAW's aggregates of a metric, off by rounding."""
    from dataclasses import replace

    frame = run.aggregates.copy()
    own = (frame["metric"] == metric) & (frame["mode"] == "paper")
    keys = ["tool", "structure", "scanner", "reference_scanner", "aggregate", "repeat"]
    raw = frame[own & (frame["method"] == "raw")].set_index(keys)["value"]
    mine = own & (frame["method"] == "whitestripe")
    places = frame.loc[mine, keys].itertuples(index=False, name=None)
    frame.loc[mine, "value"] = [raw[place] - by for place in places]
    return replace(run, aggregates=frame)


def test_rounding_is_no_win(tmp_path: Path) -> None:
    """Volumes of 600 ml are rounded to 6e-4 ml: what differs less is neither better nor bold."""
    from harmobench.reports.verdicts.verdict import verdict

    run = finished(tmp_path, ("raw", "whitestripe"), pictures=False)
    found = verdict(rounded_off(run, "volume", 3e-5))
    for name in ("Volume bias", "Volume RMSD"):
        assert found.counts["whitestripe", name].shown == "as RAW"
    assert (
        verdict(rounded_off(run, "volume", 3e-3)).counts["whitestripe", "Volume bias"].better == 12
    )
    assert verdict(rounded_off(run, "ssim", -1e-7)).counts["whitestripe", "SSIM"].shown == "as RAW"
    assert verdict(rounded_off(run, "ssim", -1e-5)).counts["whitestripe", "SSIM"].better == 6


def test_an_effect_size_that_rounding_changed_is_kept(tmp_path: Path) -> None:
    from harmobench.reports.verdicts.verdict import verdict

    run = finished(tmp_path, ("raw", "whitestripe"), pictures=False)
    for by, kept in ((1e-8, 4), (-1e-8, 4)):
        changed = rounded_off(run, "biomarker", by)
        assert verdict(changed).counts["whitestripe", "Effect size"].better == kept
        found = {table.id: table for table in citable(changed)}["HB-T8"]
        assert not any(cell.best for row in found.rows for cell in row)


@pytest.mark.parametrize("name", ["HB-T2", "HB-T3", "HB-T6", "HB-T7"])
def test_nothing_is_bold_where_all_are_equal(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path, ("raw", "whitestripe"), same=("whitestripe",), pictures=False)
    found = {table.id: table for table in citable(run)}[name]
    assert found.rows
    assert not any(cell.best for row in found.rows for cell in row)
    assert "none where all are equal" in found.caption


def test_who_looks_at_more_than_the_scan_says_so(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "mispel"), controls=("oracle",), pictures=False)
    run.settings["methods"]["oracle"]["needs"]["sees"] = "subject"
    found = next(table for table in citable(run) if table.id == "HB-T10")
    keys = [column.key for column in found.columns]
    rows = {row[0].text: dict(zip(keys, row, strict=True)) for row in found.rows}
    assert (rows["oracle"]["pairs"].text, rows["oracle"]["sees"].text) == (
        "yes",
        "the subject's scans",
    )
    assert (rows["RAW"]["pairs"].text, rows["RAW"]["sees"].text) == ("no", "the scan")


def test_an_empty_table_of_effect_sizes_says_what_it_needs(tmp_path: Path) -> None:
    own = {"subjects": ("01", "02", "03"), "pictures": False}
    found = {t.id: t for t in citable(finished(tmp_path, ("raw", "mispel"), **own))}
    assert found["HB-T8"].reason == (
        "Not measured: Cohen's d needs at least 2 measured subjects of each group and a spread "
        "among them; of the run's subjects 2 high and 1 low (svd)."
    )


def test_captions_say_each_sentence_once_and_pages_may_share_some(
    tables: dict[str, Table],
) -> None:
    from harmobench.reports.tables.formats import shared

    for table in tables.values():
        sentences = re.split(r"(?<=[.;]) (?=[A-Z*])", table.caption)
        assert len(sentences) == len(set(sentences)), table.id
        assert all(sentence in table.caption for sentence in table.common)
        assert not any(sentence in table.own for sentence in table.common)
        assert bool(table.own) == bool(table.caption)
    note = shared(tables.values())
    assert len(note) == len(set(note)) > 5
    assert len(tables["HB-T2-rigorous"].own) < 300
    assert max(len(table.own) for table in tables.values()) < 1300


def test_what_metrics_are_drawn_from_is_said(tmp_path: Path) -> None:
    atlas = {"name": "builtin", "space": "MNI152, regions drawn as ellipsoids"}
    run = finished(tmp_path, ("raw", "mispel"), atlas=atlas, pictures=False)
    for frame in (run.scores, run.aggregates, run.comparisons):
        frame.loc[frame["tool"] == "freesurfer", "tool"] = "atlas-roi"
    found = {table.id: table for table in citable(run)}
    for name in ("HB-T6", "HB-T7", "HB-T8"):
        assert "the atlas's regions, which are drawn as ellipsoids" in found[name].caption
    from harmobench.reports.citing.words import methods_text

    text = " ".join(methods_text(run))
    assert "the atlas builtin (space: MNI152); its regions are ellipsoids" in text


def test_methods_text_tells_controls_repeats_and_margins(run: Finished) -> None:
    from dataclasses import replace

    from harmobench.reports.citing.words import methods_text

    text = " ".join(methods_text(run))
    assert "3 controls ran beside to test the metrics, and were not ranked: oracle" in text
    assert "the mean of the subject's own scans; template" in text
    assert "trained 2 times with other seeds and folds" in text
    assert "Equivalence" not in text
    tested = run.comparisons.assign(test="tost")
    design = replace(run.design, margins={"ssim": 0.01})
    more = " ".join(methods_text(replace(run, design=design, comparisons=tested)))
    assert "within margins declared beforehand: SSIM 0.01." in more
