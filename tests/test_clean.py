"""`harmobench clean` removes what no table needs; what a run claims stays true."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench import checksums
from harmobench.atlas import builtin_atlas
from harmobench.benchmark import report, run
from harmobench.clean import clean, freed_by
from harmobench.cli import main
from harmobench.cohort import no_progress
from harmobench.errors import HarmobenchError
from harmobench.job import Options
from harmobench.live.show import Quiet
from harmobench.removed import NAME as REMOVED
from harmobench.verify import verify

OLD = "0" * 40
TABLES = ("scores.parquet", "scores.csv", "costs.csv", "warnings.csv", "comparisons.csv")
Again = Callable[[Path], None]


@pytest.fixture(scope="module")
def again(cohort_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Again:
    """Return what runs a small benchmark in a folder."""
    atlas = tmp_path_factory.mktemp("atlas")
    builtin_atlas(atlas, 6.0)

    def command(folder: Path) -> None:
        options = Options(
            cohort=cohort_csv,
            out=folder,
            atlas=str(atlas),
            methods="raw,whitestripe",
            metrics="ssim,volume",
            measures=("none",),
            controls="off",
            workers=1,
        )
        run(options, "", Quiet())

    return command


@pytest.fixture(scope="module")
def finished(again: Again, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clean") / "run"
    again(out)
    return out


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run, published files still being those of the store."""
    out = tmp_path / "run"
    shutil.copytree(finished, out, copy_function=os.link)
    return out


def waste(folder: Path) -> list[Path]:
    """Leave in a run what earlier settings and killed processes leave."""
    made = [
        folder / "store" / OLD[:2] / OLD / "image.nii.gz",
        folder / "store" / OLD[:2] / f".{OLD[:12]}-x1" / "half",
        folder / "store" / OLD[:2] / f".{OLD[:12]}-x2" / "half",
        folder / "harmonized" / "raw" / ".a_T1w.nii.gz.partial",
        folder / "running" / OLD,
        folder / "logs" / f"{OLD[:12]}.log",
    ]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1234567890", encoding="utf-8")
    checksums.renew(folder, made[:1], no_progress)  # as it would be listed by an earlier run
    return made


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_no_table_needs_goes_and_all_else_stays(folder: Path) -> None:
    before = everything(folder)
    made = waste(folder)
    mine = folder / "notes" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep", encoding="utf-8")
    told = clean(folder, images=False, dry=True, progress=no_progress)
    assert told == [
        "results of earlier settings: 1 file, 10 bytes",
        "logs of failures that are no more: 1 file, 10 bytes",
        "left by what was stopped: 4 files, 40 bytes",
        "60 bytes would be freed; nothing was removed",
    ]
    assert all(path.exists() for path in made)
    told = clean(folder, images=False, dry=False, progress=no_progress)
    assert told[-1] == "60 bytes freed"
    after = before | {"notes", "notes/mine.txt"}
    assert everything(folder) ^ after <= {".lock", "running"}
    verdict = verify(folder, no_progress)
    assert verdict.differences == []
    assert clean(folder, images=False, dry=False, progress=no_progress) == ["nothing to remove"]


def test_images_go_are_said_to_be_gone_and_are_made_again(folder: Path, again: Again) -> None:
    images = {name for name in everything(folder) if name.endswith(".nii.gz")}
    shown = {name for name in images if name.startswith(("harmonized/", "segmentations/"))}
    tables = {name: (folder / name).read_bytes() for name in TABLES}
    for path in folder.rglob("*.nii.gz"):  # the other names are of the run that was copied
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    told = clean(folder, images=True, dry=False, progress=no_progress)
    assert told[0].startswith("harmonized images and segmentations, which the run's command makes")
    assert not {name for name in everything(folder) if name.startswith("harmonized")}
    assert (folder / REMOVED).is_file()
    report(folder, no_progress)
    verdict = verify(folder, no_progress)
    assert verdict.differences == []
    assert verdict.recomputed
    assert [note for note in verdict.notes if "removed on purpose" in note]
    assert clean(folder, images=True, dry=False, progress=no_progress) == ["nothing to remove"]
    again(folder)
    assert shown <= everything(folder)
    assert not (folder / REMOVED).exists()
    kept = ("scores.parquet", "scores.csv", "warnings.csv", "comparisons.csv")
    assert {name: (folder / name).read_bytes() for name in kept} == {n: tables[n] for n in kept}
    verdict = verify(folder, no_progress)
    assert verdict.differences == []
    assert verdict.notes == []


def test_a_damaged_file_is_still_found_after_cleaning(folder: Path) -> None:
    path = folder / "aggregates.csv"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.write_text(text + " ", encoding="utf-8")
    clean(folder, images=True, dry=False, progress=no_progress)
    assert any("aggregates.csv" in text for text in verify(folder, no_progress).differences)


def test_a_missing_result_is_not_taken_for_one_that_was_removed(folder: Path) -> None:
    clean(folder, images=True, dry=False, progress=no_progress)
    rows = next(folder.glob("store/??/*/rows.json"))
    shutil.rmtree(rows.parent)
    assert any("missing" in text for text in verify(folder, no_progress).differences)
    with pytest.raises(HarmobenchError, match="run's command again"):
        clean(folder, images=False, dry=True, progress=no_progress)


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "store", elsewhere)
    count = len(everything(elsewhere))
    (folder / "store" / OLD[:2]).mkdir(exist_ok=True)
    for place in ("store/zz", f"store/{OLD[:2]}/{OLD}", "harmonized/raw/sub-x", "running"):
        inside = folder / place
        shutil.rmtree(inside, ignore_errors=True)
        inside.symlink_to(elsewhere)
        for dry in (True, False):
            with pytest.raises(HarmobenchError, match="found a link"):
                clean(folder, images=True, dry=dry, progress=no_progress)
        inside.unlink()
    assert len(everything(elsewhere)) == count


def test_what_is_no_finished_run_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    sys.argv = ["harmobench", "clean", str(tmp_path / "other")]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "found no run.json" in capsys.readouterr().err
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for dry in (True, False):
            with pytest.raises(HarmobenchError, match="at work"):
                clean(folder, images=True, dry=dry, progress=no_progress)
    (folder / checksums.UNFINISHED).write_text("x", encoding="utf-8")
    with pytest.raises(HarmobenchError, match="did not end"):
        clean(folder, images=True, dry=False, progress=no_progress)


def test_the_command_says_what_it_freed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waste(folder)
    sys.argv = ["harmobench", "clean", str(folder), "--quiet", "--dry-run"]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert "60 bytes would be freed; nothing was removed" in capsys.readouterr().out


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3), st.integers(0, 3)), max_size=5))
def test_a_file_of_several_names_is_free_when_all_go(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[int, int, int]]
) -> None:
    place = tmp_path_factory.mktemp("linked")
    going, expected = [], 0
    for number, (size, names, gone) in enumerate(files):
        first = place / f"{number}-0"
        first.write_bytes(b"x" * size)
        own = [first, *(place / f"{number}-{k}" for k in range(1, names))]
        for path in own[1:]:
            os.link(first, path)
        going += own[:gone]
        expected += size if gone >= names else 0
    assert freed_by(going) == expected
