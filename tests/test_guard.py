"""What a task that ended its worker leaves behind, and what is read from it."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench.doing import ask_to_stop, begin, running
from harmobench.errors import MeasurementError, SettingsError
from harmobench.guard import given_up, guarded, seconds_of, spoken
from harmobench.isolation import printing, same_state, shorten
from harmobench.reasons import refusal
from harmobench.store import Store
from harmobench.task import Task
from harmobench.worker import Outcome, execute

TASK = Task("0123456789abcdef", "image", {}, {"method": "raw"})


def _left(run: Path, tries: str, trace: str = "") -> str | None:
    begin(run, TASK)
    running(run, f".{TASK.key}.tries").write_text(tries)
    running(run, f".{TASK.key}.trace").write_text(trace)
    return given_up(run, TASK, 5400)


def test_a_task_is_tried_twice(tmp_path: Path) -> None:
    assert given_up(tmp_path, TASK, 60) is None
    assert _left(tmp_path, "begun\n") is None
    assert _left(tmp_path, "begun\nbegun\n") == (
        "its worker died 2 times while doing this (killed, or no memory left on the machine)"
    )


def test_a_worker_that_had_to_go_is_no_fault_of_the_task(tmp_path: Path) -> None:
    assert _left(tmp_path, "begun\nleft\n" * 4) is None
    assert _left(tmp_path, "begun\nleft\n" * 4 + "begun\n") is None
    assert "its worker had to go 5 times" in (_left(tmp_path, "begun\nleft\n" * 5) or "")


def test_one_that_took_too_long_is_not_tried_again(tmp_path: Path) -> None:
    found = _left(tmp_path, "begun\n", "Timeout (1:30:00)!\nThread 0x1 (most recent call first):\n")
    assert found == "took longer than a task may take (1.5 h; --time-limit)"
    training = replace(TASK, heavy=True)
    assert "(15 h; --time-limit)" in (given_up(tmp_path, training, 5400) or "")
    assert "Thread" in (tmp_path / "logs" / f"{TASK.key[:12]}.log").read_text()


def test_crash_and_memory_are_told_apart(tmp_path: Path) -> None:
    crash = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1:\n"
    assert "crashed 2 times" in (_left(tmp_path, "begun\nbegun\n", crash) or "")
    full = _left(tmp_path, "begun\nmemory 4 GB\nbegun\nmemory 4 GB\n")
    assert (full or "").startswith(
        "its worker used all the memory that it may have (4 GB), 2 times"
    )


def test_who_ends_leaves_nothing(tmp_path: Path) -> None:
    begin(tmp_path, TASK).unlink()
    with guarded(tmp_path, TASK, 60, tmp_path / "log.txt") as note:
        note(1e12)
        assert running(tmp_path, f".{TASK.key}.tries").read_text() == "begun\n"
    assert not list((tmp_path / "running").iterdir())


@given(st.floats(1, 900 * 3600))
def test_times_are_read_as_they_are_written(seconds: float) -> None:
    assert seconds_of(spoken(seconds).replace(" ", "")) == pytest.approx(seconds, rel=0.006)


@pytest.mark.parametrize(
    "text", ["", "soon", "-5min", "0s", "0.5s", "999999d", "nan h", "inf", "5 x"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--time-limit: expected a time of 1 s to 365 d"):
        seconds_of(text)


def test_programs_print_into_the_log_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.txt"
    with printing(log):
        os.write(1, b"one\n")
        subprocess.run(["sh", "-c", "echo two >&2"], check=True)
    os.write(1, b"three\n")
    assert log.read_text() == "one\ntwo\n"
    assert capfd.readouterr().out == "three\n"


def test_who_prints_nothing_leaves_no_log(tmp_path: Path) -> None:
    with printing(tmp_path / "log.txt"):
        pass
    assert not (tmp_path / "log.txt").exists()


def test_the_end_of_a_long_log_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"a" * 1000 + b"end")
    shorten(log, 3)
    assert log.read_bytes() == b"[1000 bytes left out]\nend"


def _wrapped(inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as error:
            raise MeasurementError("the map cannot be written") from error
    except MeasurementError as error:
        return error


def test_a_full_disk_is_seen_through_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "a.nii.gz")
    assert refusal(full, tmp_path) == f"the run folder is gone: {tmp_path}"
    (tmp_path / "store").mkdir()
    assert refusal(full, tmp_path) is None  # of another disk: this one takes what is written
    monkeypatch.setattr("harmobench.reasons._no_room", lambda folder: f"full: {folder.name}")
    assert refusal(full, tmp_path) == "full: store"
    assert refusal(_wrapped(full), tmp_path) == "full: store"
    rust = RuntimeError("io: No space left on device (os error 28)")
    assert refusal(rust, tmp_path) == "full: store"
    assert refusal(OSError(errno.ENOENT, "No such file", "b"), tmp_path) is None
    assert refusal(_wrapped(ValueError("no")), tmp_path) is None


def test_what_a_task_does_to_its_process_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMOBENCH_TEST", "before")
    drawn = []
    for _ in range(2):
        with same_state(7):
            drawn.append((random.random(), float(np.random.rand())))
            os.chdir(tmp_path)
            os.environ["HARMOBENCH_TEST"] = "after"
            os.environ["HARMOBENCH_OTHER"] = "1"
    assert drawn[0] == drawn[1]
    assert Path.cwd() != tmp_path
    assert os.environ["HARMOBENCH_TEST"] == "before"
    assert "HARMOBENCH_OTHER" not in os.environ


def test_streams_that_a_plugin_closed_are_open_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (tmp_path / "stream").open("w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", own)
    with printing(tmp_path / "log.txt"):
        own.close()
    assert not sys.stdout.closed


def _write(run: Path, task: Task, folder: Path) -> None:
    (folder / "result").write_text("done")


def _full(run: Path, task: Task, folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_execute_says_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert execute(tmp_path, _write, 60, TASK).status == "refused"  # there is no store
    (tmp_path / "store").mkdir()
    monkeypatch.setattr("harmobench.reasons._no_room", lambda folder: "full")
    assert execute(tmp_path, _full, 60, TASK) == Outcome(TASK.key, "refused", "full")
    assert not (tmp_path / "logs").exists()  # of which the disk is full
    assert execute(tmp_path, _write, 60, TASK, Outcome("other", "failed")).status == "skipped"
    ask_to_stop(tmp_path)
    assert execute(tmp_path, _write, 60, TASK).status == "stopped"
    assert not Store(tmp_path / "store").has(TASK.key)
    running(tmp_path, ".stop").unlink()
    assert execute(tmp_path, _write, 60, TASK).status == "done"
    assert execute(tmp_path, _full, 60, TASK).status == "done"  # finished before
