"""What a task that ended its worker leaves behind, and what is read from it."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench.doing import ask_to_stop, begin, running
from harmobench.errors import MeasurementError, SettingsError
from harmobench.guard import given_up, guarded, printing, seconds_of, shorten, spoken
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


def test_a_full_disk_is_seen_through_other_errors() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "a.nii.gz")
    assert refusal(full) == "No space left on device: 'a.nii.gz'"
    assert refusal(_wrapped(full)) == "No space left on device: 'a.nii.gz'"
    assert refusal(RuntimeError("io: No space left on device (os error 28)")) is not None
    assert refusal(OSError(errno.ENOENT, "No such file", "b")) is None
    assert refusal(_wrapped(ValueError("no"))) is None


def _write(run: Path, task: Task, folder: Path) -> None:
    (folder / "result").write_text("done")


def _full(run: Path, task: Task, folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_execute_says_how_it_ended(tmp_path: Path) -> None:
    assert execute(tmp_path, _full, 60, TASK).status == "refused"
    assert not (tmp_path / "logs").exists()  # of which the disk is full
    assert execute(tmp_path, _write, 60, TASK, Outcome("other", "failed")).status == "skipped"
    ask_to_stop(tmp_path)
    assert execute(tmp_path, _write, 60, TASK).status == "stopped"
    assert not Store(tmp_path / "store").has(TASK.key)
    running(tmp_path, ".stop").unlink()
    assert execute(tmp_path, _write, 60, TASK).status == "done"
    assert execute(tmp_path, _full, 60, TASK).status == "done"  # finished before
