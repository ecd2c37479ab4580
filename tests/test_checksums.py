"""A run's list of checksums: sha256sum reads it, and no change in it or below it goes unseen."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmobench import checksums
from harmobench.cohort import no_progress
from harmobench.errors import HarmobenchError

ODD = [
    "a b.csv",
    "new\nline.csv",
    "back\\slash.csv",
    "carriage\rreturn",
    "Zoë 中.csv",
    "*.csv",
    "-x",
]


def _run(folder: Path, *names: str) -> Path:
    for name in ("run.json", "cohort.csv", "scores.csv", "scores.parquet", *names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}", encoding="utf-8")
    return folder


def _write(folder: Path, *also: Path) -> Path:
    return checksums.write(folder, also, no_progress)


def test_every_file_of_a_run_is_listed_and_nothing_that_comes_and_goes(tmp_path: Path) -> None:
    kept = [
        *("harmonized/raw/sub-01/x.nii.gz", "segmentations/hmrf/y.nii.gz"),
        *("models/ravel/fold-0/model.json", "models/all/fold-1/model.json"),
        *("store/ab/abcdef/all/rows.json", "store/ab/abcdef/.hidden", "tables/HB-T1.csv"),
        *("figures/a.svg", "figures/mosaics/raw/m.webp"),
    ]
    passing = [
        *("logs/x.log", "running/key", "apply/raw/store/x", ".lock", ".run.json.partial"),
        *("models/ravel/all/model.json", "models/ravel/all_repeat-1/model.json"),
        *("store/ab/.abcdef-tmp/rows.json", "tables/.HB-T1.csv.partial", "my notes.txt"),
    ]
    folder = _run(tmp_path, *kept, *passing)
    report = folder / "report.html"
    report.write_text("page")
    _write(folder, report, tmp_path.parent / "elsewhere.html")
    listing = checksums.read(folder)
    first = ["cohort.csv", "report.html", "run.json", "scores.csv", "scores.parquet"]
    assert sorted(listing.entries) == sorted([*first, *kept])
    assert list(listing.entries) == sorted(listing.entries)
    assert listing.faults == []
    assert listing.entries["run.json"] == sha256(b"content of run.json").hexdigest()
    assert [n for n in checksums.others(folder, listing.entries) if "partial" not in n] == [
        "my notes.txt"
    ]


def test_equal_files_give_an_equal_list(tmp_path: Path) -> None:
    one, two = (_run(tmp_path / name, "tables/b", "tables/a") for name in ("one", "two"))
    assert _write(one).read_bytes() == _write(two).read_bytes()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_the_list_whatever_files_are_called(tmp_path: Path) -> None:
    folder = _run(tmp_path, *(f"tables/{name}" for name in ODD))
    raw = os.fsencode(folder) + b"/tables/latin\xe9.csv"
    Path(os.fsdecode(raw)).write_text("no UTF-8")
    _write(folder)
    command = ["sha256sum", "--check", "--strict", checksums.NAME]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(b": OK") == 4 + len(ODD) + 1
    alike = [name for name in ODD if "\r" not in name]  # coreutils before 9.0 do not escape it
    own = subprocess.run(
        ["sha256sum", "--", *(f"tables/{name}" for name in alike)],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    ours = (folder / checksums.NAME).read_bytes().splitlines(keepends=True)
    assert set(own.stdout.splitlines(keepends=True)) <= set(ours)


NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)


@given(st.dictionaries(NAMES, st.binary(max_size=4), max_size=6))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_list_gives_back_every_name_that_a_file_can_have(
    tmp_path: Path, files: dict[bytes, bytes]
) -> None:
    entries = {os.fsdecode(name): sha256(text).hexdigest() for name, text in files.items()}
    checksums._write(tmp_path, entries, None)
    listing = checksums.read(tmp_path)
    assert (listing.entries, listing.faults) == (entries, [])


@given(st.data())
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_byte_changed_in_the_list_is_a_fault_of_the_list(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = checksums._write(tmp_path, {"a.csv": "0" * 64, "b\nc": "f" * 64}, None)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert checksums.read(tmp_path).faults


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "tables/../../other"])
def test_a_list_cannot_point_out_of_its_folder(name: str, tmp_path: Path) -> None:
    checksums._write(tmp_path, {name: "0" * 64}, None)
    listing = checksums.read(tmp_path)
    assert listing.entries == {}
    assert "line 2" in listing.faults[0]


def test_renewing_touches_what_was_written_and_legitimises_nothing_else(tmp_path: Path) -> None:
    folder = _run(tmp_path, "tables/a.csv")
    _write(folder)
    before = checksums.read(folder).entries
    (folder / "scores.csv").write_text("another score")
    (folder / "tables/a.csv").write_text("another table")
    (folder / "tables/new.csv").write_text("a new table")
    written = [folder / "tables/a.csv", folder / "tables/new.csv"]
    assert checksums.renew(folder, written, no_progress)
    after = checksums.read(folder)
    assert after.faults == []
    assert after.entries["scores.csv"] == before["scores.csv"]
    assert after.entries["tables/a.csv"] == sha256(b"another table").hexdigest()
    assert set(after.entries) == {*before, "tables/new.csv"}


def test_a_damaged_list_stays_damaged_when_it_is_renewed(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    path = _write(folder)
    path.write_bytes(path.read_bytes().replace(b"scores.csv", b"scores.csw"))
    checksums.renew(folder, [folder / "cohort.csv"], no_progress)
    assert checksums.read(folder).faults


def test_a_run_without_a_list_is_given_none(tmp_path: Path) -> None:
    assert checksums.renew(_run(tmp_path), [tmp_path / "scores.csv"], no_progress) is None
    assert not (tmp_path / checksums.NAME).exists()


def test_files_under_several_names_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _run(tmp_path, "store/ab/key/image")
    (folder / "harmonized").mkdir()
    os.link(folder / "store/ab/key/image", folder / "harmonized/image")
    read = []
    real = checksums.hash_file
    monkeypatch.setattr(checksums, "hash_file", lambda path: read.append(path) or real(path))
    _write(folder)
    entries = checksums.read(folder).entries
    assert entries["harmonized/image"] == entries["store/ab/key/image"]
    assert len(read) == len(entries) - 1


def test_links_pipes_and_folders_in_place_of_files(tmp_path: Path) -> None:
    folder = _run(tmp_path, "tables/a", "tables/b")
    (folder / "link").symlink_to(folder / "tables/a")
    (folder / "dangling").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    paths = [folder / name for name in ("link", "dangling", "pipe", "tables", "run.json/x")]
    found = checksums.hash_many(paths, no_progress, "")
    assert found[folder / "link"].digest == sha256(b"content of tables/a").hexdigest()
    assert [found[path].problem for path in paths] == [
        *("", "missing", "no regular file", "no file", "missing")
    ]


def test_a_store_on_another_disk_is_followed_and_links_within_are_not(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run", "tables/a")
    elsewhere = tmp_path / "disk"
    (elsewhere / "ab" / "key").mkdir(parents=True)
    (elsewhere / "ab" / "key" / "rows.json").write_text("rows")
    (folder / "store").symlink_to(elsewhere)
    (folder / "tables" / "round").symlink_to(folder)  # a circle
    _write(folder)
    names = set(checksums.read(folder).entries)
    assert "store/ab/key/rows.json" in names
    assert not any("round" in name for name in names)


def test_a_file_that_cannot_be_read_stops_the_list_and_is_named(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    (folder / "tables").mkdir()
    (folder / "tables" / "gone.csv").symlink_to(folder / "nowhere")
    with pytest.raises(HarmobenchError, match=r"gone\.csv: missing"):
        _write(folder)
    assert not (folder / checksums.NAME).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_said_to_be_unreadable(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    (folder / "scores.csv").chmod(0)
    found = checksums.hash_many([folder / "scores.csv"], no_progress, "")
    assert found[folder / "scores.csv"].problem == "cannot be read: Permission denied"


def test_progress_is_told_to_the_end_and_not_for_every_file(tmp_path: Path) -> None:
    folder = _run(tmp_path, *(f"store/ab/key/{i}" for i in range(900)))
    told: list[tuple[int, int]] = []
    checksums.write(folder, (), lambda done, total, what: told.append((done, total)))
    assert told[-1] == (904, 904)
    assert len(told) < 400
