"""Programs that a plugin started and left running when its process had ended."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

GRACE = 2.0  # s that helpers such as multiprocessing's may take to notice the end
POLL = 0.05  # s between two looks
SHOWN = 80  # characters of a command


def lingering(base: Path, grace: float) -> list[psutil.Process]:
    """Return the processes of a play that are still alive when the time of grace is over.

    Parameters
    ----------
    base
        The play's folder: its processes have HOME or their working folder in it, in whatever
        session they are, and whether or not the process that started them has ended.
    grace
        Seconds; waited only while there are any.
    """
    until = time.monotonic() + grace
    found = _of(base)
    while found and time.monotonic() < until:
        time.sleep(POLL)
        found = _of(base)
    return found


def _of(base: Path) -> list[psutil.Process]:
    processes = psutil.process_iter(["environ", "cwd", "cmdline", "name", "status"])
    return [p for p in processes if p.pid != os.getpid() and _belongs(p, base)]


def _belongs(process: psutil.Process, base: Path) -> bool:
    info = process.info  # what may not be read, as of other users' processes, is None
    places = ((info["environ"] or {}).get("HOME"), info["cwd"])
    inside = any(place and Path(place).is_relative_to(base) for place in places)
    return inside and info["status"] != psutil.STATUS_ZOMBIE


def command(process: psutil.Process) -> str:
    """Return what a process was started as."""
    return (" ".join(process.info["cmdline"] or ()) or str(process.info["name"]))[:SHOWN]


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill processes that may have ended by themselves meanwhile."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
