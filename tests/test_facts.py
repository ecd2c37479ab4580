"""The index of file facts: what did not change is not read again, and nothing else is believed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harmobench import facts as module
from harmobench.errors import ManifestError
from harmobench.facts import Facts, cache_folder, facts_of
from harmobench.imaging.volume import Grid, write_image
from harmobench.manifest import read_cohort
from harmobench.pool import each
from harmobench.store import hash_file

GRID = Grid.make((6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
SCANS = [("01", "A"), ("01", "B"), ("02", "A"), ("02", "B")]


def image(seed: int) -> np.ndarray:
    voxels = np.random.default_rng(seed).uniform(1, 9, size=GRID.shape).astype(np.float32)
    voxels[0] = 0
    return voxels


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten seconds have passed since the files were written."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a manifest of four scans with one mask and tissue labels; its index is kept here."""
    monkeypatch.setenv("HARMOBENCH_CACHE", str(tmp_path / "cache"))
    labels = np.random.default_rng(9).integers(0, 4, GRID.shape).astype(np.uint8)
    write_image(tmp_path / "tissue.nii.gz", labels, GRID)
    write_image(tmp_path / "mask.nii.gz", image(0) > 0, GRID)
    rows = ["subject,scanner,image,mask,tissue"]
    for seed, (subject, scanner) in enumerate(SCANS):
        write_image(tmp_path / f"{subject}{scanner}.nii.gz", image(seed), GRID)
        rows.append(f"{subject},{scanner},{subject}{scanner}.nii.gz,mask.nii.gz,tissue.nii.gz")
    path = tmp_path / "matched.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    real = module.read_content

    def counted(path: Path, dtype: Any) -> Any:
        names.append(path.name)
        return real(path, dtype)

    monkeypatch.setattr(module, "read_content", counted)
    return names


def index_of(manifest: Path) -> Path:
    (path,) = (manifest.parent / "cache" / "manifests").iterdir()
    return path


@pytest.mark.usefixtures("later")
def test_each_file_is_read_once_and_then_not_again(manifest: Path, read: list[str]) -> None:
    first = read_cohort(manifest)
    images = [f"{subject}{scanner}.nii.gz" for subject, scanner in SCANS]
    assert set(read) == {"mask.nii.gz", "tissue.nii.gz", *images}
    assert all(read.count(name) == 1 for name in images)
    read.clear()
    again = read_cohort(manifest)
    assert read == []
    assert [vars(scan) for scan in again.scans] == [vars(scan) for scan in first.scans]
    known = facts_of(manifest)
    for scan in again.scans:
        assert known.hash_known(scan.image) == hash_file(scan.image)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("name", ["01B.nii.gz", "mask.nii.gz", "tissue.nii.gz"])
def test_a_file_that_changed_is_read_again_and_its_fault_is_found(
    manifest: Path, name: str, read: list[str]
) -> None:
    read_cohort(manifest)
    read.clear()
    path = manifest.parent / name
    before = path.stat()
    write_image(path, np.zeros(GRID.shape, np.float32), GRID)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as cp -p and rsync leave it
    with pytest.raises(ManifestError, match=rf"found .*{name}"):
        read_cohort(manifest)
    assert name in read
    with pytest.raises(ManifestError, match=rf"found .*{name}"):
        read_cohort(manifest)


@pytest.mark.usefixtures("later")
def test_a_fault_reads_the_same_each_time(manifest: Path) -> None:
    (manifest.parent / "02A.nii.gz").write_text("no image")
    said = []
    for _ in range(2):
        with pytest.raises(ManifestError) as refused:
            read_cohort(manifest)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_what_was_just_written_is_not_kept(
    manifest: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its clock's step a file may be written again and look the same."""
    monkeypatch.setattr(module, "CLOCK_NS", 10**15)  # of a slow clock, whatever the machine
    read_cohort(manifest)
    count = len(read)  # two threads may both read a mask that scans share
    read_cohort(manifest)
    assert set(read[count:]) == set(read[:count])


@pytest.mark.usefixtures("later")
def test_files_that_change_while_they_are_read_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    facts = Facts(tmp_path / "index.json")

    def slow(read: Path) -> str:
        content = hash_file(read)
        path.write_text("another")
        return content

    monkeypatch.setattr(module, "hash_once", slow)
    facts.hash(path)
    assert facts.hash_known(path) is None


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "other code": lambda data: {**data, "code": "0" * 40},
    "no code": lambda data: {"files": data["files"], "known": data["known"]},
    "a list": lambda data: [data],
    "nothing": lambda _: None,
    "files a list": lambda data: {**data, "files": [1, 2]},
    "entries short": lambda data: {**data, "files": {path: [1] for path in data["files"]}},
    "sizes as text": lambda data: {
        **data,
        "files": {path: [str(e[0]), *e[1:]] for path, e in data["files"].items()},
    },
    "hash no hash": lambda data: {
        **data,
        "files": {path: [*e[:3], "../../etc"] for path, e in data["files"].items()},
    },
    "facts text": lambda data: {**data, "known": dict.fromkeys(data["known"], "text")},
    "facts odd": lambda data: {
        **data,
        "known": {key: dict.fromkeys(own, "odd") for key, own in data["known"].items()},
    },
    "grid odd": lambda data: {
        **data,
        "known": {
            key: {**own, "grid": [[6, 5, "4"], [1e999] * 16]} for key, own in data["known"].items()
        },
    },
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", DAMAGE)
def test_an_index_that_is_none_is_as_if_it_were_not_there(
    manifest: Path, damage: str, read: list[str]
) -> None:
    whole = read_cohort(manifest)
    index = index_of(manifest)
    index.write_text(json.dumps(DAMAGE[damage](json.loads(index.read_text()))))
    read.clear()
    again = read_cohort(manifest)
    assert len(read) >= len(SCANS)
    assert [scan.image for scan in again.scans] == [scan.image for scan in whole.scans]
    read.clear()
    read_cohort(manifest)
    assert read == [], "it was written anew"


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "\x00\xff", '{"code": 1e400}', "9" * 9999]
)
def test_bytes_that_are_no_index_are_as_if_they_were_not_there(manifest: Path, text: str) -> None:
    read_cohort(manifest)
    index_of(manifest).write_text(text, encoding="latin-1")
    assert len(read_cohort(manifest)) == len(SCANS)


@pytest.mark.usefixtures("later")
def test_an_index_of_another_user_is_not_believed(
    manifest: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_cohort(manifest)
    read.clear()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    read_cohort(manifest)
    assert len(read) >= len(SCANS)


@pytest.mark.usefixtures("later")
def test_without_a_folder_nothing_is_kept_and_nothing_fails(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    for place in ("", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        monkeypatch.setenv("HARMOBENCH_CACHE", place)
        assert len(read_cohort(manifest)) == len(SCANS)
    assert (tmp_path / "file").read_text() == "no folder"


def test_the_folder_is_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HARMOBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "harmobench"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "harmobench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "harmobench"
    monkeypatch.setenv("HARMOBENCH_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("HARMOBENCH_CACHE", "")
    assert cache_folder() is None


@pytest.mark.usefixtures("later")
def test_what_was_read_before_an_interrupt_is_kept(manifest: Path, read: list[str]) -> None:
    def interrupted(done: int, total: int, what: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_cohort(manifest, interrupted)
    read.clear()
    read_cohort(manifest)
    assert "01A.nii.gz" not in read


def test_results_come_in_the_order_of_the_items_and_a_stop_begins_nothing_more() -> None:
    assert list(each(lambda n: n * n, range(100))) == [n * n for n in range(100)]
    begun: list[int] = []

    def slow(n: int) -> int:
        begun.append(n)
        time.sleep(0.01)
        return n

    results = each(slow, range(500))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count < 500


def test_a_pipe_in_place_of_an_index_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index.json")
    facts = Facts(tmp_path / "index.json")  # to open it would wait for ever
    assert facts.get("0" * 64, "grid") is None
