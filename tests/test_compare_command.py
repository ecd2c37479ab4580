"""`harmobench compare` as a user calls it: what it writes, what it refuses, what it says."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import compared_runs as made
import pandas as pd
import pytest

from harmobench.cli import main
from harmobench.store import hash_file

Cli = Callable[..., tuple[int, str, str]]
NASTY = "<script>alert(1)</script>&_$x"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def change(scores: pd.DataFrame) -> None:
    scores.loc[scores["method"] == "mispel", "value"] *= 1.01


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labs")
    made.write_run(folder / "labA", metrics=("ssim", "volume"))
    made.write_run(folder / "labB", metrics=("ssim", "volume"), change=change, seed=1)
    made.write_run(folder / "other", metrics=("ssim",), subjects=made.SUBJECTS[:4])
    return folder


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hash_file(path) for path in files}


def test_two_runs_become_one_benchmark_twice_the_same(cli: Cli, labs: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    code, out, err = cli(labs / "labA", labs / "labB", "--out", first, "--quiet")
    assert (code, err) == (0, "")
    assert "2 runs compared as one benchmark" in out
    assert f"report: {first / 'report.html'}" in out
    assert cli(labs / "labA", labs / "labB", "--out", second)[0] == 0
    assert hashes(first) == hashes(second)
    page = (first / "report.html").read_text("utf-8")
    assert "A comparison of 2 runs: labA, labB" in page
    assert "MISPEL (labA)" in page
    assert page.index('id="compared"') < page.index('id="verdict"')
    said = json.loads((first / "compared.json").read_text("utf-8"))
    assert [run["name"] for run in said["runs"]] == ["labA", "labB"]
    assert said["allowed"] == []
    assert {"scores.parquet", "scores.csv", "aggregates.csv", "comparisons.csv"} <= set(
        hashes(first)
    )
    with (first / "tables" / "HB-T1.csv").open(encoding="utf-8", newline="") as stream:
        assert {"mispel (labA)", "mispel (labB)"} <= set(next(csv.reader(stream)))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_other_cohorts_are_refused_and_put_below_where_allowed(
    cli: Cli, labs: Path, tmp_path: Path
) -> None:
    runs, out = (labs / "labA", labs / "other"), tmp_path / "out"
    code, _, err = cli(*runs, "--out", out)
    assert code == 2
    assert "labA: 12 scans of 6 subjects" in err
    assert "other: 8 scans of 4 subjects" in err
    assert "--allow cohorts" in err
    assert not out.exists()
    assert cli(*runs, "--out", out, "--allow", "definitions")[0] == 2
    code, shown, _ = cli(*runs, "--out", out, "--allow", "cohorts, definitions", "--quiet")
    assert code == 0
    assert "they are not one benchmark" in shown
    page = (out / "report.html").read_text("utf-8")
    assert "These runs are not one benchmark" in page
    assert "numbers of different runs must not be compared" in page
    assert '<th scope="col">Run</th>' in page
    assert pd.read_csv(out / "scores.csv")["run"].unique().tolist() == ["labA", "other"]
    said = json.loads((out / "compared.json").read_text("utf-8"))
    assert said["allowed"] == ["cohorts"]
    ids = [line.split('"')[0] for line in page.split('id="')[1:]]
    assert len(ids) == len(set(ids))


def test_names_are_names(cli: Cli, labs: Path, tmp_path: Path) -> None:
    for runs, allow in (
        ((labs / "labA", labs / "labB"), ""),
        ((labs / "labA", labs / "other"), "cohorts"),
    ):
        out = tmp_path / f"out{allow}"
        code, _, err = cli(*runs, "--out", out, "--names", f'{NASTY},b|"c', "--allow", allow)
        assert (code, err) == (0, "")
        page = (out / "report.html").read_text("utf-8")
        assert page.count("<script>") == 1
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;_$x" in page


@pytest.mark.parametrize("folder", ["labA", "labA/below", "full"])
def test_a_place_that_is_taken_is_refused(
    cli: Cli, labs: Path, tmp_path: Path, folder: str
) -> None:
    for name in ("labA", "labB"):
        shutil.copytree(labs / name, tmp_path / name)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    before = hashes(tmp_path)
    code, _, err = cli(tmp_path / "labA", tmp_path / "labB", "--out", tmp_path / folder)
    assert code == 2
    assert err.startswith("harmobench: --out: expected a")
    assert hashes(tmp_path) == before


def test_what_is_no_finished_run_is_refused_by_name(cli: Cli, labs: Path, tmp_path: Path) -> None:
    def refused(*runs: object) -> str:
        code, _, err = cli(*runs, "--out", tmp_path / "out")
        assert code == 2
        assert err.count("harmobench: ") == 1
        assert not (tmp_path / "out").exists()
        return err

    good = labs / "labA"
    assert "two runs or more" in refused(good)
    assert "twice" in refused(good, labs / "other" / ".." / "labA")
    assert "found none at" in refused(good, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no run.json" in refused(good, tmp_path / "empty")
    for name in ("scores.parquet", "comparisons.parquet"):
        half = tmp_path / f"no {name}"
        shutil.copytree(good, half)
        (half / name).unlink()
        assert f"no {name}: expected a finished run, found no {name}" in refused(good, half)
    old = tmp_path / "old"
    shutil.copytree(good, old)
    aggregates = pd.read_parquet(old / "aggregates.parquet").drop(columns="interval")
    aggregates.to_parquet(old / "aggregates.parquet")
    assert "interval" in refused(good, old)
    (old / "run.json").write_text("{", "utf-8")
    assert "old: expected a run that this version of harmobench can read" in refused(good, old)
    bare = made.write_run(tmp_path / "bare", methods=("whitestripe", "ravel"), metrics=("ssim",))
    assert "expected the method raw in every run" in refused(good, bare)
    assert "--allow: expected cohorts or definitions" in refused(
        good, labs / "labB", "--allow", "all"
    )  # type: ignore[arg-type]


def test_a_copy_and_a_comparison(cli: Cli, labs: Path, tmp_path: Path) -> None:
    shutil.copytree(labs / "labA", tmp_path / "copy")
    out = tmp_path / "out"
    assert cli(labs / "labA", tmp_path / "copy", "--out", out)[0] == 0
    page = (out / "report.html").read_text("utf-8")
    assert "Every score is the same in all of them" in page
    code, _, err = cli(labs / "labA", out, "--out", tmp_path / "again")
    assert code == 2
    assert "was written by `harmobench compare`" in err


def test_nothing_is_left_where_writing_fails(
    cli: Cli, labs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("harmobench.reports.compare.writing.Html.write", full)
    code, _, err = cli(labs / "labA", labs / "labB", "--out", tmp_path / "out")
    assert code != 0
    assert "No space left" in err
    assert list(tmp_path.iterdir()) == []
