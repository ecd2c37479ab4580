"""What metrics give is held to their contract where they give it; a third party's may be odd."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench.cohort import Scan
from harmobench.errors import MeasurementError
from harmobench.interface import Row
from harmobench.rows import LEAST, MOST, checked_rows

MODULE = Path(__file__).parent / "third_party" / "src" / "harmobench_odd.py"
SCANS = tuple(Scan("01", scanner, Path("x.nii.gz")) for scanner in ("A", "B", "C"))


def check(level: str, *rows: object) -> list[dict[str, object]]:
    metric = SimpleNamespace(level=level, range=(-np.inf, np.inf))
    return checked_rows(rows, metric, "mine", SCANS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "row", "said"),
    [
        ("scan", 1.0, "expected rows of harmobench.interface.Row, found float"),
        ("scan", Row("", 1.0, scanner="A"), "expected the name of a structure, found ''"),
        ("scan", Row("a\x1b[2J", 1.0, scanner="A"), "expected the name of a structure"),
        ("scan", Row("a" * 999, 1.0, scanner="A"), "at most 200 characters, found 999"),
        ("scan", Row("gm", 1.0, scanner=3), "with texts beside its value"),  # type: ignore[arg-type]
        ("scan", Row("gm", 1.0, scanner="A", status="fine"), "expected a status of ok, failed"),  # type: ignore[arg-type]
        ("scan", Row("gm", 1.0), "expected one scanner of the subject (A, B, C), found ''"),
        ("scan", Row("gm", 1.0, scanner="D"), "expected one scanner of the subject"),
        ("scan", Row("gm", 1.0, "", "A", "B"), "expected one scanner of the subject"),
        ("pair", Row("gm", 1.0, "", "A"), "expected two scanners of the subject in their order"),
        ("pair", Row("gm", 1.0, "", "B", "A"), "expected two scanners of the subject in their"),
        ("pair", Row("gm", 1.0, "", "A", "A"), "expected two scanners of the subject in their"),
        ("cohort", Row("gm", 1.0, scanner="D"), "expected scanners of the scans (A, B, C) or none"),
        ("cohort", Row("gm", 1.0, subject="99"), "a subject that it was given, found '99'"),
        ("scan", Row("gm", "good", scanner="A"), "gave 'good' for gm, expected a number"),  # type: ignore[arg-type]
        ("scan", Row("gm", None, scanner="A"), "gave None for gm, expected a number"),
        ("scan", Row("gm", True, scanner="A"), "gave True for gm, expected a number"),
        ("scan", Row("gm", np.nan, scanner="A"), "gave nan for gm, expected a finite number"),
        ("scan", Row("gm", 1e200, scanner="A"), "gave 1e+200 for gm, expected 0 or a number of a"),
        ("scan", Row("gm", -1e-180, scanner="A"), "gave -1e-180 for gm, expected 0 or a number"),
        ("scan", Row("gm", 1.0, scanner="A", status="failed"), "expected no value"),
        ("scan", Row("gm_chance", 1.0, scanner="A"), "expected rows of 'gm' beside 'gm_chance'"),
    ],
)  # fmt: skip
def test_a_row_that_is_none(level: str, row: object, said: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        check(level, row)
    assert "metric 'mine'" in str(caught.value)
    assert said in str(caught.value)


def test_a_row_told_twice() -> None:
    row = Row("gm", 1.0, scanner="A")
    with pytest.raises(MeasurementError, match="expected one row for gm of A, found 2"):
        check("scan", row, row)
    with pytest.raises(MeasurementError, match="expected one row for all of the cohort, found 2"):
        check("cohort", Row("all", 1.0), Row("all", 0.5))


def test_rows_that_are_right() -> None:
    assert len(check("scan", *(Row("gm", 1.0, scanner=scan.scanner) for scan in SCANS))) == 3
    assert check("pair", Row("gm", np.float32(0), "", "A", "C"))[0]["value"] == 0.0
    aside = Row("all", 0.5, subject="01"), Row("all_chance", 0.1, subject="01")
    assert [row["structure"] for row in check("cohort", *aside)] == ["all", "all_chance"]
    none = Row("gm", None, scanner="A", status="undefined", reason="empty")
    assert check("scan", none)[0]["value"] is None


@given(st.floats())
def test_every_value_that_is_taken_has_powers(value: float) -> None:
    try:
        (row,) = check("scan", Row("gm", value, scanner="A"))
    except MeasurementError:
        assert not np.isfinite(value) or not LEAST <= abs(value) <= MOST
    else:
        assert np.isfinite(value**6)
        assert value == 0 or value**6 != 0
        assert row["value"] == value


@pytest.fixture(scope="module")
def run(cohort_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Run all metrics of the odd package, which workers must find as well, on RAW and a control."""
    site, out = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("odd") / "run"
    (site / MODULE.name).write_text(MODULE.read_text(encoding="utf-8"))
    info = site / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    names = ["Odd", "Twice", "Nobody", "Reserved", "Tiny", "Huge", "Large", "Small"]
    points = "".join(f"{name.lower()} = harmobench_odd:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[harmobench.metrics]\n{points}")
    metrics = ",".join(name.lower() for name in names)
    options = ["--methods", "raw,blur", "--metrics", metrics, "--segmenters", "none"]
    options += ["--measures", "none", "--preset", "quick", "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "harmobench.cli", "run"]
    done = subprocess.run(
        [*command, "--cohort", cohort_csv, "--out", out, *options],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return SimpleNamespace(out=out, status=done.returncode, text=done.stdout + done.stderr)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_odd_metrics_fail_and_the_run_ends(run: SimpleNamespace) -> None:
    assert run.status == 1, run.text
    assert "Traceback" not in run.text
    assert (run.out / "report.html").is_file()
    scores = _rows(run.out / "scores.csv")
    good = {row["metric"] for row in scores if row["status"] == "ok"}
    assert good == {"odd", "large", "small"}
    assert {row["status"] for row in scores if row["metric"] not in good} == {"failed"}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("twice", "expected one row for brain of GE, found 2"),
        ("nobody", "expected one scanner of the subject (GE, Philips), found 'Nobody's'"),
        ("reserved", "expected rows of 'brain' beside 'brain_true'"),
        ("tiny", "expected 0 or a number of a size from 1e-50"),
        ("huge", "expected 0 or a number of a size from 1e-50"),
    ],
)
def test_an_odd_metric_says_why(metric: str, said: str, run: SimpleNamespace) -> None:
    reasons = [row["reason"] for row in _rows(run.out / "failures.csv")]
    own = [reason for reason in reasons if f"metric '{metric}'" in reason]
    assert own, reasons[:3]
    assert all(said in reason for reason in own), own[0]


@pytest.mark.parametrize("metric", ["large", "small"])
def test_values_of_any_size_that_is_taken_get_statistics(metric: str, run: SimpleNamespace) -> None:
    rows = [r for r in _rows(run.out / "aggregates.csv") if r["metric"] == metric]
    means = {r["method"]: float(r["value"]) for r in rows if r["aggregate"] == "mean"}
    plain = [r for r in _rows(run.out / "aggregates.csv") if r["metric"] == "odd"]
    expected = {r["method"]: float(r["value"]) for r in plain if r["aggregate"] == "mean"}
    scale = {"large": 1e49, "small": 1e-50}[metric]
    assert means == pytest.approx({name: scale * v for name, v in expected.items()}, rel=1e-9)
