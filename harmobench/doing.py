"""What is at work in a run: a small file for each task that a worker writes and removes again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harmobench.store import write_text
from harmobench.task import Task

TOLD_SECONDS = 1.0  # between two reports of one task


class Doing(NamedTuple):
    """How far a task is that is at work.

    Attributes
    ----------
    done, total
        Steps; 0 of 0 where it did not say.
    what
        What it does.
    """

    done: int = 0
    total: int = 0
    what: str = ""


def running(run: Path, key: str) -> Path:
    """File that is there while a task is at work: where a worker dies, it names the task."""
    return run / "running" / key


def begin(run: Path, task: Task) -> Path:
    """Write the file of a task that begins."""
    marker = running(run, task.key)
    write_text(marker, f"{task.label}\n")
    return marker


def ask_to_stop(run: Path) -> None:
    """Let no task begin any more; those at work go on to their end."""
    write_text(_stop(run), "")


def stopping(run: Path) -> bool:
    """Whether the run was asked to stop."""
    return _stop(run).exists()


def _stop(run: Path) -> Path:
    return running(run, ".stop")


def teller(run: Path, task: Task) -> Callable[[int, int, str], None]:
    """Make a progress callback that writes how far a task is into its file, once a second."""
    marker = running(run, task.key)
    last = time.monotonic()

    def tell(done: int, total: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last < TOLD_SECONDS or not marker.is_file():
            return
        last = time.monotonic()
        with suppress(OSError):  # a full disk stops the task where it writes its result, not here
            write_text(marker, f"{task.label}\n{done} {total} {' '.join(what.split())}\n")

    return tell


def stamps(run: Path) -> dict[str, int]:
    """When the file of each task at work was written, by key."""
    found = {}
    with suppress(OSError):  # no folder yet, or none any more
        for path in (run / "running").iterdir():
            if not path.name.startswith("."):
                with suppress(OSError):  # it ended meanwhile
                    found[path.name] = path.stat().st_mtime_ns
    return found


def read(run: Path, key: str) -> Doing:
    """How far a task is."""
    try:
        told = running(run, key).read_text(encoding="utf-8").splitlines()[1:]
        done, total, what = (*told[0].split(" ", 2), "")[:3]
        return Doing(int(done), int(total), what)
    except (OSError, ValueError, IndexError):  # it ended, or did not say
        return Doing()
