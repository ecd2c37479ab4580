"""Around a task in its worker's process: a time limit, and traces of what ended the worker.

A worker that dies can tell nobody why. So each try of a task leaves files beside the task's marker
in RUN/running, and takes them away when it ends, well or badly. What is still there when the task
is tried again says how the last try ended.
"""

from __future__ import annotations

import faulthandler
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from harmobench.doing import running
from harmobench.errors import SettingsError
from harmobench.isolation import printing, same_state
from harmobench.store import write_text
from harmobench.task import Task

TRIES = 2  # a worker may be lost by chance once
LEAVES = 5  # a worker may have to go by order, as at the end of its job's time, some times
TRAINING = 10  # times as long as other tasks may networks be trained
NEAR = 0.7  # of a worker's memory: a worker that dies with more in use died of it
MOST_PRINTED = 50_000_000  # bytes, while a task goes on
HELD_SECONDS = 5.0  # after the limit a task is ended that holds the interpreter
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
TIME = re.compile(r"(\d{1,9}(?:\.\d*)?) *(s|min|h|d)")
MOST_SECONDS = 365 * 86400.0
BEGUN, LEFT, FULL = "begun", "left", "memory"
TIMED_OUT = re.compile(r"^Timeout \(", re.MULTILINE)  # as faulthandler writes it
CRASHED = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)


def allowed(task: Task, limit: float) -> float:
    """Seconds that a task may take, where most may take `limit`."""
    return limit * TRAINING if task.heavy else limit


def given_up(run: Path, task: Task, limit: float) -> str | None:
    """Why a task is not tried again; None where it may be.

    Parameters
    ----------
    run
        The run folder.
    task
        The task.
    limit
        Seconds that most tasks may take.
    """
    tries, trace = _lines(_tries(run, task.key)), _text(_trace(run, task.key))
    if trace:
        write_text(run / "logs" / f"{task.key[:12]}.log", f"{task.label}\n{trace}")
    if TIMED_OUT.search(trace):
        return f"took longer than a task may take ({spoken(allowed(task, limit))}; --time-limit)"
    left = tries.count(LEFT)
    if left >= LEAVES:
        return (
            f"its worker had to go {LEAVES} times before this was done: give jobs more time than "
            "it takes"
        )
    if tries.count(BEGUN) - left < TRIES:
        return None
    crash = CRASHED.search(trace)
    if crash:
        return f"its worker crashed {TRIES} times while doing this ({crash[1]})"
    full = next((line.partition(" ")[2] for line in tries if line.startswith(FULL)), None)
    if full is not None:
        return (
            f"its worker used all the memory that it may have ({full}), {TRIES} times: allow more "
            "(--memory, or memory of a job)"
        )
    return (
        f"its worker died {TRIES} times while doing this (killed, or no memory left on the machine)"
    )


def seconds_of(text: str) -> float:
    """Seconds of a time such as "90min".

    Raises
    ------
    SettingsError
        It is no time, or less than a second.

    >>> seconds_of("90min"), seconds_of("24h")
    (5400.0, 86400.0)
    """
    found = TIME.fullmatch(text.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 1 <= seconds <= MOST_SECONDS:
        raise SettingsError(
            "--time-limit: expected a time of 1 s to 365 d that a task may take, with its unit (s, "
            f"min, h, d), such as 90min, found '{text}'"
        )
    return seconds


def spoken(seconds: float) -> str:
    """Seconds in the largest unit that gives at least one.

    >>> spoken(86400), spoken(5400), spoken(20)
    ('24 h', '1.5 h', '20 s')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


@contextmanager
def guarded(run: Path, task: Task, limit: float, log: Path) -> Iterator[Callable[[float], None]]:
    """Guard a task for as long as the block lasts.

    In a worker's own process, the process ends when the time is up, even if the task holds the
    interpreter, and all that is printed goes to a log instead of the user's terminal.

    Parameters
    ----------
    run
        The run folder.
    task
        What is done.
    limit
        Seconds that most tasks may take.
    log
        File for what it prints; none is left where it prints nothing.

    Yields
    ------
    Callable
        To be called now and then with the bytes of memory in use.
    """
    tries, trace = _tries(run, task.key), _trace(run, task.key)
    worker = _worker()
    with tries.open("a", encoding="utf-8") as kept:
        kept.write(f"{BEGUN}\n")
    try:
        if worker is None:
            yield lambda memory: None
            return
        tempfile.tempdir = worker.local_directory  # Dask removes what a dead worker leaves there
        with (
            trace.open("a", encoding="utf-8") as stream,
            _alarm(stream, allowed(task, limit) + HELD_SECONDS),
            printing(log),
            same_state(int(task.key[:8], 16)),
        ):
            yield _noting(tries, worker, log, _Ending(stream, allowed(task, limit)))
    finally:
        for path in (tries, trace):
            path.unlink(missing_ok=True)


def _worker() -> Any:
    """Return the Dask worker whose process this is; None where the process is anybody else's."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return None
    return worker if worker.nanny is not None else None  # without a nanny nobody starts it again


@contextmanager
def _alarm(stream: IO[str], limit: float) -> Iterator[None]:
    """End this process after so many seconds; write where it was, also when it crashes."""
    faulthandler.enable(stream)
    faulthandler.dump_traceback_later(limit, exit=True, file=stream)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()


class _Ending:
    """Ends this process, and what it started, when a task's time is up."""

    def __init__(self, stream: IO[str], limit: float) -> None:
        self.stream, self.limit = stream, limit
        self.end = time.monotonic() + limit

    def look(self) -> None:
        """End all if it is time."""
        if time.monotonic() < self.end:
            return
        import psutil

        self.stream.write(f"Timeout ({spoken(self.limit)})!\n")
        self.stream.flush()
        faulthandler.dump_traceback(self.stream)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        os._exit(1)


def _noting(tries: Path, worker: Any, log: Path, ending: _Ending) -> Callable[[float], None]:
    """Make what notes that memory runs out, or that the worker goes by order, once each.

    It also keeps a log from filling the disk, and a task from taking too long.
    """
    limit = worker.memory_manager.memory_limit
    noted: set[str] = set()

    def once(line: str) -> None:
        if line not in noted:
            noted.add(line)
            with tries.open("a", encoding="utf-8") as kept:
                kept.write(f"{line}\n")

    def note(memory: float) -> None:
        ending.look()
        if limit and memory > NEAR * limit:
            once(f"{FULL} {limit / 1e9:.3g} GB")
        if worker.status.name.startswith("clos"):
            once(LEFT)
        if log.is_file() and log.stat().st_size > MOST_PRINTED:
            os.truncate(log, 0)

    return note


def _tries(run: Path, key: str) -> Path:
    return running(run, f".{key}.tries")


def _trace(run: Path, key: str) -> Path:
    return running(run, f".{key}.trace")


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
