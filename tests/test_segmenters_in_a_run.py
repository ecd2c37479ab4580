"""The user's own programs in a whole run: scored where they work, failed rows where they do not."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import fake_programs as fake
import pytest

from harmobench.cli import main


def run(cohort: Path, out: Path, fsldir: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    words = ["run", "--cohort", str(cohort), "--methods", "raw", "--metrics", "volume,dice"]
    words += ["--segmenters", "fsl-fast", "--set", f"fsl-fast.fsldir={fsldir}", "--measures"]
    words += ["none", "--out", str(out), "--quiet"]
    monkeypatch.setattr(sys, "argv", ["harmobench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def rows_of(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_fsl(folder: Path, mode: str = "") -> Path:
    fake.fast(folder / "bin" / "fast", mode)
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc" / "fslversion").write_text("6.0.3:b862cdd5\n")
    return folder


def test_fast_segments_every_scan_and_its_version_is_recorded(
    cohort_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run é"
    assert run(cohort_csv, out, write_fsl(tmp_path / "fsl"), monkeypatch) == 0
    rows = rows_of(out, "scores.csv")
    assert {(r["tool"], r["status"]) for r in rows} == {("fsl-fast", "ok")}
    assert len(rows) == 3 * 8 + 2 * 4
    settings = json.loads((out / "run.json").read_text())
    (part,) = settings["segmenters"]
    assert part["version"] == "FSL FAST 6.0.3:b862cdd5"
    assert "fsl-fast: FSL FAST 6.0.3:b862cdd5" in (out / "report.html").read_text()


def test_a_fast_that_fails_gives_failed_rows_with_its_last_words_and_a_log(
    cohort_csv: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert run(cohort_csv, out, write_fsl(tmp_path / "fsl", "fail"), monkeypatch) == 1
    assert "Traceback" not in capfd.readouterr().err
    rows = rows_of(out, "scores.csv")
    assert {r["status"] for r in rows} == {"failed"}
    assert all("expected fast to end with status 0, found 1" in r["reason"] for r in rows)
    assert len(rows_of(out, "failures.csv")) == 8
    log = next((out / "logs").glob("*.log")).read_text()
    assert "the real reason" in log
    assert "-t 1 -n 3 -N" in log


def test_another_time_limit_or_place_repeats_nothing(
    cohort_csv: Path, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert run(cohort_csv, out, write_fsl(tmp_path / "fsl"), monkeypatch) == 0
    capfd.readouterr()
    assert run(cohort_csv, out, write_fsl(tmp_path / "elsewhere"), monkeypatch) == 0
    assert "0 tasks computed" in capfd.readouterr().out
