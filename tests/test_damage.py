"""Run folders that are damaged, or come from someone else: one message, and nothing is started."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compared_runs as made
import pytest

from harmobench import checksums
from harmobench.benchmark import report
from harmobench.cli import main
from harmobench.cohort import no_progress
from harmobench.damage import changed, naming_damage
from harmobench.errors import HarmobenchError, PluginError
from harmobench.finish import finished
from harmobench.folder import locked
from harmobench.parts import Part
from harmobench.staging import aside, put_in_place
from harmobench.store import write_json

Cli = Callable[..., tuple[int, str, str]]
DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"\xff\xfe\x00PAR1" * 99,
    "null": b"null",
    "number": b"3",
    "list": b"[1, 2]",
    "object": b"{}",
    "deep": b"[" * 200_000,
}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = made.write_run(tmp_path_factory.mktemp("whole") / "run", metrics=("ssim",))
    checksums.write(folder, [], no_progress)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def _settings(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change run.json and, as whoever wants to deceive would, the list of checksums."""
    data = json.loads((run / "run.json").read_text("utf-8"))
    change(data)
    write_json(run / "run.json", data)
    checksums.write(run, [], no_progress)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("run.json", damage) for damage in DAMAGES),
        *(("shown.json", damage) for damage in DAMAGES if damage != "object"),  # that is no damage
        *(
            (f"{stem}.parquet", damage)
            for stem in ("scores", "costs")
            for damage in ("empty", "list")
        ),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_written(
    name: str, damage: str, run: Path, whole: Path, cli: Cli, tmp_path: Path
) -> None:
    (run / name).write_bytes(DAMAGES[damage])
    before = sorted(path.name for path in run.iterdir())
    out = tmp_path / "out"
    for command in (("report", run), ("cite", run), ("compare", run, whole, "--out", out)):
        code, text, err = cli(*command)
        assert code == 2, command
        assert f"in {run.absolute()}: {name} (" in err
        assert text == ""
        assert not out.exists()
    assert sorted(path.name for path in run.iterdir() if path.name != ".lock") == before


def test_a_folder_or_a_circle_of_links_in_place_of_a_file(run: Path, cli: Cli) -> None:
    (run / "shown.json").unlink()
    (run / "shown.json").symlink_to("shown.json")
    (run / "costs.parquet").unlink()
    (run / "costs.parquet").mkdir()
    code, _, err = cli("cite", run)
    assert code == 2
    assert "no costs.parquet" in err


def test_without_checksums_the_error_itself_is_told(run: Path, cli: Cli) -> None:
    (run / checksums.NAME).unlink()
    (run / "run.json").write_text("[]", "utf-8")
    code, _, err = cli("report", run)
    assert code == 2
    assert "expected a run that this version of harmobench can read" in err
    assert "AttributeError" in err


def test_where_nothing_is_damaged_the_line_that_failed_is_told(whole: Path) -> None:
    told = r"ZeroDivisionError.*test_damage\.py, line \d+"
    with pytest.raises(HarmobenchError, match=told), naming_damage(whole):
        _ = 1 / 0
    with pytest.raises(OSError, match="full"), naming_damage(whole):
        raise OSError(28, "full")


def test_files_that_reports_do_not_read_are_not_blamed(run: Path) -> None:
    (run / "scores.csv").write_text("other", "utf-8")
    assert changed(run) == []
    (run / "costs.parquet").unlink()
    assert changed(run) == ["costs.parquet"]


@pytest.mark.parametrize("kind", ["metrics", "reports"])
def test_code_that_a_run_names_is_started_only_where_it_is_a_plugin(
    kind: str, run: Path, cli: Cli, tmp_path: Path
) -> None:
    sign = tmp_path / "started"

    def change(data: dict[str, Any]) -> None:
        data[kind][0] |= {"target": "os:mkdir", "parameters": {"path": str(sign)}, "digest": ""}

    _settings(run, change)
    code, _, err = cli("report", run)
    assert code == 2
    assert "expected an installed plugin" in err
    assert not sign.exists()


def test_every_installed_plugin_can_be_built() -> None:
    assert made.part("metrics", "ssim").build() is not None
    with pytest.raises(PluginError, match="os:system"):
        Part("ssim", "os:system", "x 1", "").build()


@pytest.mark.parametrize(
    "row", [{"key": "../../..", "file": "secret"}, {"key": "ab12", "file": "../../secret"}]
)
def test_pictures_are_files_of_the_store(row: dict[str, str], run: Path) -> None:
    place = {"method": "raw", "subject": "01", "scanner": "GE"}
    write_json(run / "shown.json", {"mosaics": [place | row]})
    with pytest.raises(HarmobenchError, match="expected a task and its file"):
        finished(run)


def test_a_report_that_is_stopped_leaves_the_old_one(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "report.html").write_text("old", "utf-8")
    (run / checksums.PARTIAL).mkdir()  # of one that was killed

    def stopped(run: Any, progress: Any) -> Any:
        (run.folder / "report.html").write_text("half", "utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr("harmobench.benchmark.write_reports", stopped)
    with pytest.raises(KeyboardInterrupt):
        report(run, no_progress)
    assert (run / "report.html").read_text("utf-8") == "old"
    assert not (run / checksums.PARTIAL).exists()


def test_a_folder_in_the_place_of_a_file_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with aside(tmp_path) as partial:
        (partial / "a.svg").write_text("new", "utf-8")
        (partial / "report.html").write_text("new", "utf-8")
        with pytest.raises(HarmobenchError, match=r"found a folder at .*report\.html"):
            put_in_place(partial, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_run_that_may_only_be_read_gets_no_report(
    run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harmobench.folder.os.open", refused)
    code, _, err = cli("report", run)
    assert code == 2
    assert "expected a run folder that can be written" in err
    assert "Permission denied" in err


def test_what_a_file_says_does_not_move_the_cursor(run: Path, cli: Cli) -> None:
    def change(data: dict[str, Any]) -> None:
        for row in data["scans"]:
            row["scanner"] = row["scanner"].replace("GE", "G\x1b[2JE\u202e")
        data["metrics"][0]["target"] = "os:\x1b[2J"

    name = {"scanner": "G\x1b[2JE\u202e"}
    _settings(run, lambda data: data["scans"][0].update(name))
    code, out, _ = cli("cite", run)
    assert code == 0
    assert r"\x1b[2JE\u202e" in out
    _settings(run, change)
    code, out, err = cli("cite", run)
    assert code == 2
    assert r"\x1b[2J" in err
    assert "\x1b" not in out + err


def test_tables_of_other_settings_are_never_taken_for_a_runs_own(
    run: Path, whole: Path, cli: Cli, tmp_path: Path
) -> None:
    (run / checksums.UNFINISHED).write_text("a run that was killed", "utf-8")
    for command in (
        ("report", run),
        ("cite", run),
        ("compare", run, whole, "--out", tmp_path / "o"),
    ):
        code, _, err = cli(*command)
        assert code == 2
        assert "that did not end" in err


def test_two_reports_at_once_are_refused(run: Path, cli: Cli) -> None:
    with locked(run):
        code, _, err = cli("report", run)
    assert code == 2
    assert "is at work in" in err


def test_what_is_written_aside_comes_into_the_run(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    other = tmp_path / "copy.html"
    other.write_text("old", "utf-8")
    os.link(other, tmp_path / "report.html")  # a copied run may share files
    with aside(tmp_path) as partial:
        (partial / "figures").mkdir()
        (partial / "figures" / "a.svg").write_text("new", "utf-8")
        (partial / "report.html").write_text("new", "utf-8")
        placed = put_in_place(partial, tmp_path)
    assert placed == [tmp_path / "figures" / "a.svg", tmp_path / "report.html"]
    assert [path.read_text("utf-8") for path in (*placed, other)] == ["new", "new", "old"]
    assert not partial.exists()
