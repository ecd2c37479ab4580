"""`harmobench verify`: one changed byte anywhere in a finished run is found and named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from harmobench import checksums, recompute
from harmobench import verify as verifying
from harmobench.atlas import builtin_atlas
from harmobench.cli import main
from harmobench.cohort import no_progress
from harmobench.place import atlas_digest
from harmobench.results import write_table
from harmobench.store import write_json

HARMOBENCH = [sys.executable, "-m", "harmobench.cli"]
ASKED = ["--methods", "raw,whitestripe,ravel-cv", "--metrics", "ssim,dice", "--quiet"]


def _call(*arguments: str, plugins: Path | None = None) -> subprocess.CompletedProcess[str]:
    above = [str(plugins)] if plugins else []
    path = os.pathsep.join([*above, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [*HARMOBENCH, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def cohort(cohort_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest whose images this module may change for a moment."""
    folder = tmp_path_factory.mktemp("inputs") / "cohort"
    return Path(shutil.copytree(cohort_csv.parent, folder)) / cohort_csv.name


@pytest.fixture(scope="module")
def finished(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    done = _call("run", "--cohort", str(cohort), "--out", str(out), *ASKED, "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def _copied(finished: Path, folder: Path) -> Path:
    copy = Path(shutil.copytree(finished, folder / "run"))
    for path in copy.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    return copy


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run that a test may damage."""
    return _copied(finished, tmp_path)


@pytest.fixture(scope="module")
def mended(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy that tests damage and mend again."""
    return _copied(finished, tmp_path_factory.mktemp("mended"))


@pytest.fixture
def hashes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make numbers no matter: they take a second, and hashes must find what was changed."""
    monkeypatch.setattr(verifying, "unlike", lambda job: "left out in this test")


@pytest.fixture
def atlas_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the built-in atlas, which takes seconds to be made again at 1 mm."""
    monkeypatch.setattr(verifying, "_check_atlas", lambda job, found: None)


def _verify(folder: Path) -> verifying.Verdict:
    return verifying.verify(folder, no_progress)


def _flip(path: Path, place: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    assert content, f"{path} is empty"
    content[min(int(place * len(content)), len(content) - 1)] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_run_that_nobody_touched_is_what_it_claims(finished: Path) -> None:
    done = _call("verify", str(finished), "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    listing = checksums.read(finished)
    assert done.stdout == (
        f"{finished} is what it claims: {len(listing.entries)} files, 8 inputs, "
        "numbers computed again "
        f"(checksums.sha256: {listing.digest[:12]})\n"
    )
    assert done.stderr == ""


def test_a_run_leaves_no_file_of_its_own_unlisted(finished: Path) -> None:
    assert checksums.others(finished, checksums.read(finished).entries) == []


FILES = (
    "run.json",
    "cohort.csv",
    "shown.json",
    *(f"{stem}{suffix}" for stem in checksums.TABLES for suffix in (".csv", ".parquet")),
    "report.html",
    "references.bib",
    "ro-crate-metadata.json",
    "tables/HB-T1.csv",
    "tables/HB-T1.tex",
    "figures/*.svg",
    "figures/*.png",
    "harmonized/dataset_description.json",
    "harmonized/*/*/*/anat/*.nii.gz",
    "harmonized/*/*/*/anat/*.json",
    "segmentations/*/*/*/*/anat/*.nii.gz",
    "models/ravel-cv/fold-0/*.json",
    "models/ravel-cv/fold-0/*.safetensors",
    "store/*/*/image.nii.gz",
    "store/*/*/rows.json",
    "store/*/*/cost.json",
    "store/*/*/slices.npz",
    "store/*/*/fit.json",
    "store/*/*/atlas/template.nii.gz",
)


@pytest.mark.usefixtures("hashes_alone")
@pytest.mark.parametrize("pattern", FILES)
def test_one_flipped_byte_is_found_and_named(pattern: str, mended: Path) -> None:
    path = sorted(mended.glob(pattern))[-1]
    name = path.relative_to(mended).as_posix()
    whole = path.read_bytes()
    for place in (0.0, 0.37, 1.0):
        _flip(path, place)
        found = _verify(mended).differences
        assert any(text.startswith(f"changed: {name}: expected ") for text in found), found
        others = [text for text in found if name not in text]
        # a published file is no longer one of the store where that one was changed
        assert all("expected a file of the store" in text for text in others), others
        path.write_bytes(whole)
    path.unlink()
    assert f"missing: {name}" in _verify(mended).differences
    path.write_bytes(whole)


@pytest.mark.usefixtures("hashes_alone")
@pytest.mark.parametrize("place", [0.0, 0.0007, 0.1, 0.33333, 0.77777, 1.0])
def test_one_flipped_byte_in_the_list_itself_is_found_and_named(place: float, mended: Path) -> None:
    path = mended / checksums.NAME
    whole = path.read_bytes()
    _flip(path, place)
    found = _verify(mended)
    path.write_bytes(whole)
    assert found.differences[0].startswith(f"changed: {checksums.NAME}: ")
    assert found.lines(mended)[-1].startswith(f"{mended} is not as claimed: ")


@pytest.mark.usefixtures("hashes_alone")
def test_a_changed_input_is_named_and_a_missing_one_is_noted(finished: Path, cohort: Path) -> None:
    path = cohort.parent / "images" / "sub-02_GE.nii.gz"
    whole = path.read_bytes()
    try:
        _flip(path)
        (text,) = _verify(finished).differences
        assert text.startswith(f"input changed: {path}: expected ")
        path.unlink()
        found = _verify(finished)
        assert found.differences == []
        assert found.inputs == 7
        assert f"1 of 8 inputs are no longer there and cannot be checked: {path}" in found.notes
    finally:
        path.write_bytes(whole)


def test_what_processors_round_otherwise_is_no_difference() -> None:
    one = pd.DataFrame({"method": ["a", "b"], "value": [0.1, float("nan")], "n": [1, 2]})
    assert recompute._first_difference(one, one.assign(value=[0.1 + 1e-15, float("nan")])) == ""
    for other, text in (
        (one.assign(value=[0.1 + 1e-6, float("nan")]), "row 1, value: expected 0.1"),
        (one.assign(value=[0.1, 0.0]), "row 2, value: expected nan"),
        (one.assign(n=[1, 3]), "row 2, n: expected 2"),
        (one.assign(method=["a", "c"]), "row 2, method: expected b"),
        (one.iloc[:1], "expected 2 rows of 3 columns"),
        (one.rename(columns={"n": "m"}), "expected 2 rows of 3 columns"),
    ):
        assert recompute._first_difference(one, other).startswith(text)


def test_a_changed_atlas_is_named_and_a_missing_one_is_noted(tmp_path: Path) -> None:
    atlas = builtin_atlas(tmp_path / "atlas", 8.0)
    job: Any = SimpleNamespace(
        atlas={"source": str(tmp_path / "atlas"), "digest": atlas_digest(atlas)}
    )
    found = verifying.Verdict()
    verifying._check_atlas(job, found)
    assert (found.differences, found.notes) == ([], [])
    _flip(atlas.tissues)
    verifying._check_atlas(job, found)
    assert found.differences[0].startswith(f"input changed: atlas {tmp_path / 'atlas'}: expected ")
    atlas.tissues.unlink()
    verifying._check_atlas(job, found)
    assert found.notes[0].startswith("the atlas cannot be read and was not checked: ")


def _anew(folder: Path) -> None:
    """Make a list of whatever is there now, as someone who hides a change would."""
    reports = [
        folder / name for name in ("report.html", "references.bib", "ro-crate-metadata.json")
    ]
    checksums.write(folder, reports, no_progress)


def _change(folder: Path, stem: str, column: str) -> None:
    frame = pd.read_parquet(folder / f"{stem}.parquet")
    frame.loc[frame[column].first_valid_index(), column] += 0.01
    write_table(frame, folder / stem)


def _scores(folder: Path) -> None:
    _change(folder, "scores", "value")


def _aggregates(folder: Path) -> None:
    _change(folder, "aggregates", "value")


def _comparisons(folder: Path) -> None:
    _change(folder, "comparisons", "p")


def _costs(folder: Path) -> None:
    _change(folder, "costs", "seconds")


def _text_alone(folder: Path) -> None:
    path = folder / "scores.csv"
    path.write_text(path.read_text().replace("ssim", "SSIM", 1))


def _table(folder: Path) -> None:
    _flip(folder / "tables" / "HB-T1.csv")


def _bibtex(folder: Path) -> None:
    _flip(folder / "references.bib")


def _stored_rows(folder: Path) -> None:
    path = sorted(folder.glob("store/*/*/rows.json"))[0]
    rows = json.loads(path.read_text())
    rows[0]["value"] += 0.01
    write_json(path, rows)


def _stored_result(folder: Path) -> None:
    path = sorted(folder.glob("store/*/*/rows.json"))[0].parent
    shutil.rmtree(path)


def _image(folder: Path) -> None:
    _flip(sorted(folder.glob("harmonized/whitestripe/*/*/anat/*.nii.gz"))[0])


def _seed(folder: Path) -> None:
    data = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**data, "seed": data["seed"] + 1})


def _cohort(folder: Path) -> None:
    data = json.loads((folder / "run.json").read_text())
    data["scans"][0]["values"]["age"] = "99"
    write_json(folder / "run.json", data)


@pytest.mark.usefixtures("atlas_aside")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_scores, "scores.parquet: row 1, value: expected "),
        (_aggregates, "aggregates.parquet: row "),
        (_comparisons, "comparisons.parquet: row "),
        (_costs, "costs.parquet: row 1, seconds: expected "),
        (_text_alone, "scores.csv: expected the rows of scores.parquet, found others"),
        (_table, "tables/HB-T1.csv: expected what the run's tables give"),
        (_bibtex, "references.bib: expected what the run's tables give"),
        (_stored_rows, "scores.parquet: row "),
        (_stored_result, "store: expected the result of score "),
        (_image, "expected a file of the store, found another"),
        (_seed, "run.json: run_id: expected "),
        (_cohort, "run.json: cohort_hash: expected "),
    ],
)
def test_a_change_hidden_by_a_new_list_is_found_by_computing_again(
    change: Callable[[Path], None], named: str, run: Path
) -> None:
    change(run)
    _anew(run)
    found = _verify(run).differences
    assert not any(text.startswith("changed: ") for text in found)
    assert any(named in text for text in found), found


def test_the_report_written_again_hides_no_change(run: Path) -> None:
    _change(run, "scores", "value")
    (run / "report.html").write_text("not the report")
    done = _call("report", str(run), "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    done = _call("verify", str(run), "--quiet")
    assert done.returncode == 1
    named = [line.split(":")[1].strip() for line in done.stdout.splitlines() if "changed: " in line]
    assert named == ["scores.csv", "scores.parquet"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: "null",
        lambda text: text.replace('"scans"', '"scanz"'),
        lambda text: text.replace('"hashes": {', '"hashes": 7, "x": {', 1),
        lambda text: "\x00" + text,
        lambda text: "[" * 100_000,
    ],
)
def test_settings_damaged_in_any_way_are_a_finding(
    damage: Callable[[str], str], mended: Path
) -> None:
    path = mended / "run.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    found = _verify(mended)
    path.write_text(whole)
    assert found.differences[0].startswith("changed: run.json: expected ")
    assert any(text.startswith("run.json: expected the settings") for text in found.differences)


@pytest.mark.usefixtures("atlas_aside")
def test_tables_damaged_in_any_way_are_a_finding(run: Path) -> None:
    for name in ("scores", "aggregates", "comparisons", "failures"):
        (run / f"{name}.parquet").write_bytes(b"PAR1")
    found = _verify(run)
    assert sum(text.startswith("changed: ") for text in found.differences) == 4


@pytest.mark.usefixtures("atlas_aside")
def test_files_beside_the_run_are_noted_and_no_difference(run: Path) -> None:
    (run / "my notes.txt").write_text("mine")
    (run / "store" / "more\nlines").write_text("mine")
    found = _verify(run)
    assert found.differences == []
    assert found.notes == ["2 files beside the run, not listed: my notes.txt, store/more\nlines"]
    assert len([line for text in found.lines(run) for line in text.splitlines()]) == 2


def test_other_code_is_said_and_computes_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it must not compute with other code")

    monkeypatch.setattr(verifying, "recompute", never)
    for name, text in (("kernel_digest", "another state of harmobench"), ("environment", "numpy")):
        with monkeypatch.context() as patch:
            patch.setattr(
                recompute, name, lambda name=name: {"numpy": "0"} if name[0] == "e" else ""
            )
            found = _verify(run)
        assert found.differences == []
        assert text in found.notes[0] or "is installed" in found.notes[0]
        assert "were not computed again" in found.notes[0]


def test_plugins_that_a_foreign_run_names_are_not_started(run: Path) -> None:
    data = json.loads((run / "run.json").read_text())
    data["statistics"][0]["target"] = "antigravity:fly"
    write_json(run / "run.json", data)
    _anew(run)
    found = _verify(run)
    assert any("(antigravity:fly, of " in text for text in found.notes)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("undo", "text"),
    [
        (("checksums.sha256",), "the run did not end, or an earlier version"),
        (("checksums.sha256", "run.json"), "found no run.json"),
    ],
)
def test_what_is_no_finished_run_is_refused(
    undo: tuple[str, ...],
    text: str,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in undo:
        (run / name).unlink()
    monkeypatch.setattr(sys, "argv", ["harmobench", "verify", str(run), "--quiet"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err


def test_a_run_at_work_is_refused(run: Path) -> None:
    from harmobench.errors import HarmobenchError
    from harmobench.folder import locked

    with locked(run), pytest.raises(HarmobenchError, match="a run is at work in"):
        _verify(run)


def test_an_interrupted_run_has_no_list(run: Path, cohort: Path) -> None:
    """What is there while a run goes on claims nothing: the list goes first and comes last."""
    options = ["--cohort", str(cohort), "--out", str(run), "--workers", "1", *ASKED]
    shutil.rmtree(run / "figures")
    (run / "figures").write_text("a report cannot be written here")
    done = _call("run", *options)
    assert done.returncode != 0
    assert not (run / checksums.NAME).exists()
    assert _call("verify", str(run)).returncode == 2


def test_a_run_in_which_something_failed_is_followed_around_it(
    cohort: Path, tmp_path: Path
) -> None:
    info = tmp_path / "plugin" / "harmobench_breaks-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harmobench-breaks\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[harmobench.methods]\nbreaks = breaks:Own\n")
    (info.parent / "breaks.py").write_text(
        "from dataclasses import dataclass\n"
        "from harmobench.base import Method\n"
        "from harmobench.interface import Reference\n"
        "@dataclass\n"
        "class Own(Method):\n"
        "    reference = Reference('Own', 'Nobody', 2026)\n"
        "    def transform(self, scan):\n"
        "        if (scan.subject, scan.scanner) in {('02', 'GE'), ('03', 'Philips')}:\n"
        "            raise ValueError('no luck')\n"
        "        return scan.with_voxels(scan.voxels())\n"
    )
    out = tmp_path / "run"
    asked = ["--methods", "raw,breaks", "--metrics", "ssim,auroc", "--quiet"]
    asked += ["--segmenters", "none", "--measures", "none"]
    done = _call(
        *("run", "--cohort", str(cohort), "--out", str(out), "--workers", "1", *asked),
        plugins=info.parent,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    done = _call("verify", str(out), "--quiet", plugins=info.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note" not in done.stdout
    assert (
        "breaks (breaks:Own, of harmobench-breaks 0.1) is not installed"
        in _call("verify", str(out), "--quiet").stdout
    )
    failures = pd.read_parquet(out / "failures.parquet")
    write_table(failures.iloc[:1], out / "failures")
    _anew(out)
    done = _call("verify", str(out), "--quiet", plugins=info.parent)
    assert done.returncode == 1
    assert "store: expected the result of image breaks" in done.stdout
