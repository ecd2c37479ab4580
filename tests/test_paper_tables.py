"""The paper's Tables 3 and 4 as data: the table code gives them back, the right cells bold.

Torbati et al., "MISPEL", Medical Image Analysis 2023.
"""

from __future__ import annotations

from typing import Any

import pytest

from harmobench.interface import Design, Finished, Group
from harmobench.reports.tables.citable import citable
from harmobench.reports.tables.formats import Table, to_csv, to_markdown
from harmobench.reports.tables.latex import to_latex
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    FAILURE_COLUMNS,
    SCORE_COLUMNS,
    table,
)

METHODS = {
    "raw": "RAW",
    "whitestripe": "White Stripe",
    "ravel": "RAVEL",
    "calamiti": "CALAMITI",
    "mispel": "MISPEL",
}
# in the tables' own order of structures; cm3 is ml
STRUCTURES = {"entorhinal": "mm", "inferior_temporal": "mm", "hippocampus": "ml", "amygdala": "ml"}
TABLE_3 = {  # mean (SD) of absolute differences over all scanner pairs; * differs from RAW
    "raw": ".62 (.42) .46 (.36) .30 (.23) .25 (.20)",
    "whitestripe": "1.00 (.73)* .63 (.48)* .43 (.52)* .23 (.30)",
    "ravel": ".84 (.57)* .56 (.41)* .41 (.29)* .24 (.21)",
    "calamiti": ".87 (.60)* .45 (.32) .71 (.54)* .30 (.26)",
    "mispel": ".46 (.34)* .25 (.24)* .32 (.26) .19 (.18)*",
}
TABLE_4 = {  # mean (SD) of Cohen's d over scanners
    "raw": ".46 (.14) .66 (.38) .76 (.20) .74 (.26)",
    "whitestripe": ".50 (.11) .62 (.39) .29 (.13) .40 (.11)",
    "ravel": ".49 (.18) .62 (.34) .26 (.11) .30 (.22)",
    "calamiti": ".50 (.51) .57 (.65) .31 (.13) .28 (.10)",
    "mispel": ".71 (.09) .73 (.14) .73 (.20) .80 (.17)",
}
BOLD_3 = {
    ("MISPEL", "entorhinal"),
    ("MISPEL", "inferior_temporal"),
    ("RAW", "hippocampus"),
    ("MISPEL", "amygdala"),
}
BOLD_4 = {
    ("White Stripe", "entorhinal"),
    ("RAVEL", "entorhinal"),
    ("CALAMITI", "entorhinal"),
    ("MISPEL", "entorhinal"),
    ("MISPEL", "inferior_temporal"),
    ("MISPEL", "amygdala"),
}
SCANNERS = ("GE", "Philips", "SiemensP", "SiemensT")
SUBJECTS = tuple(f"{i:02d}" for i in range(1, 19))


def cells(line: str) -> list[tuple[float, float, bool]]:
    """Read "mean (SD)*" four times."""
    words = line.split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return [(float(m), float(sd.strip("()*")), sd.endswith("*")) for m, sd in pairs]


def aggregates(source: dict[str, str], names: tuple[str, str], n: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for method, line in source.items():
        for (structure, units), (mean, sd, _) in zip(STRUCTURES.items(), cells(line), strict=True):
            head = place(method, structure) | {"n": n, "config": "default"}
            head["units"] = units if names[0] == "bias" else ""
            rows += [head | {"aggregate": names[0], "value": mean}]
            rows += [head | {"aggregate": names[1], "value": sd}]
    return rows


def place(method: str, structure: str) -> dict[str, object]:
    return {
        "method": method,
        "repeat": 0,
        "tool": "freesurfer",
        "metric": "biomarker",
        "structure": structure,
        "space": "native",
        "mode": "paper",
        "status": "ok",
    }


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    pooled = len(SUBJECTS) * 6
    rows = aggregates(TABLE_3, ("bias", "bias_sd"), pooled)
    rows += aggregates(TABLE_4, ("cohen_d_mean", "cohen_d_sd"), len(SCANNERS))
    tests: list[dict[str, object]] = [
        place(method, structure)
        | {"comparator": "raw", "test": "paired_t", "n": pooled, "p": 0.01 if star else 0.5}
        for method, line in TABLE_3.items()
        for structure, (_, _, star) in zip(STRUCTURES, cells(line), strict=True)
        if method != "raw"
    ]
    design = Design(
        SCANNERS,
        SUBJECTS,
        {m: "baseline" if m == "raw" else "contender" for m in METHODS},
        Group("svd", "high", "low"),
        {s: ("high", "low")[i % 2] for i, s in enumerate(SUBJECTS)},
        metrics={"biomarker": "equal"},
        declared=frozenset(METHODS),
    )
    run = Finished(
        tmp_path_factory.mktemp("paper"),
        {"version": "0", "run_id": "paper", "cohort_hash": "none", "seed": 0},
        table([], SCORE_COLUMNS),
        table(rows, AGGREGATE_COLUMNS),
        table(tests, COMPARISON_COLUMNS),
        table([], COST_COLUMNS),
        table([], FAILURE_COLUMNS),
        design,
        {},
        {},
    )
    return {each.id: each for each in citable(run)}


def body(found: Table) -> dict[tuple[str, str], Any]:
    names = [column.key for column in found.columns]
    return {
        (row[0].text, name): cell
        for row in found.rows
        for name, cell in zip(names[1:], row[1:], strict=True)
    }


@pytest.mark.parametrize(
    ("name", "source", "bold"), [("HB-T6", TABLE_3, BOLD_3), ("HB-T8", TABLE_4, BOLD_4)]
)
def test_the_papers_table_comes_out(
    tables: dict[str, Table], name: str, source: dict[str, str], bold: set[tuple[str, str]]
) -> None:
    found = body(tables[name])
    wanted = {
        (METHODS[method], structure): cell
        for method, line in source.items()
        for structure, cell in zip(STRUCTURES, cells(line), strict=True)
    }
    assert found.keys() == wanted.keys()
    for key, (mean, sd, star) in wanted.items():
        assert found[key].shown == f"{mean:.2f} ({sd:.2f})"
        assert found[key].significant == star
    assert {key for key, cell in found.items() if cell.best} == bold


def test_its_columns_and_lines_stand_in_the_papers_order(tables: dict[str, Table]) -> None:
    for name in ("HB-T6", "HB-T8"):
        assert [column.key for column in tables[name].columns] == ["method", *STRUCTURES]
        assert [row[0].text for row in tables[name].rows] == list(METHODS.values())


def test_bold_and_stars_are_in_every_form(tables: dict[str, Table]) -> None:
    found = tables["HB-T6"]
    assert "| **0.46 (0.34)**\\* | **0.25 (0.24)**\\* | 0.32 (0.26) |" in to_markdown(found)
    assert r"\textbf{0.19 (0.18)}\rlap{\textsuperscript{*}}" in to_latex(found)
    assert "0.46,0.34,108,bold *" in to_csv(found)
    assert "n = 108 pooled differences." in found.caption
    assert "n = 4 scanners." in tables["HB-T8"].caption
