"""The folder that a command writes into: whose it is, and who holds it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from harmobench.errors import SettingsError
from harmobench.links import refuse_links


def refuse_foreign_folder(out: Path, *marks: str) -> None:
    """Refuse a folder to write into that holds other files than an earlier call's.

    Parameters
    ----------
    out
        The folder, there or not.
    marks
        Names of which an earlier call left at least one.

    Raises
    ------
    SettingsError
        It holds other files, is a file, or cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out: expected a folder, found a file at {out}")
    others = [p for p in out.iterdir() if p.name != ".lock"] if out.is_dir() else []
    if others and not any((out / mark).exists() for mark in marks):
        raise SettingsError(
            f"--out: expected a new or empty folder or one of an earlier run, found other files "
            f"in {out}: name another folder"
        )
    parent = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise SettingsError(
            f"--out: expected a place where a folder can be made, found {parent}: name another"
        )


def refuse_busy(out: Path) -> None:
    """Refuse a folder that another process holds, before hours are spent on checking a cohort.

    Raises
    ------
    SettingsError
        Another process holds it.
    """
    if (out / ".lock").is_file():
        with locked(out):
            pass


@contextmanager
def refuse_system_errors() -> Iterator[None]:
    """Turn what the system refuses (a name too long, a folder without access) into a refusal."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"the system refused: {error}") from error


def make_folder(path: Path, option: str) -> None:
    """Make a folder and those above it.

    Raises
    ------
    SettingsError
        It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{option}: expected a place where a folder can be made, found {path}: {error.strerror}"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder alone: only one process at a time writes into it.

    Raises
    ------
    SettingsError
        Another process holds it, or links in it lead elsewhere.
    """
    refuse_links(folder)
    with _lock_file(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise SettingsError(
                f"another run is at work in {folder} ({lock.read().strip() or 'unknown'}): "
                "wait for it, or use another run folder"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        lock.flush()
        yield


def _lock_file(folder: Path) -> TextIO:
    path = folder / ".lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, f"{path.name} is no file")
        return os.fdopen(os.open(path, flags, 0o666), "a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(
            f"expected a run folder that can be written, found {folder}: {error.strerror}"
        ) from error
