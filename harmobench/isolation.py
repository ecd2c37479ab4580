"""What one task does to its process that the next one must not see: prints, folder, variables."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

KEPT = 200_000  # bytes of what a task printed that are kept, the last ones


@contextmanager
def same_state(seed: int) -> Iterator[None]:
    """Put folder, environment variables and Python's and numpy's shared random state as before.

    Parameters
    ----------
    seed
        Of the shared random states: a plugin that draws from them without a seed of its own does
        not hang on what the process did earlier.
    """
    folder, variables = Path.cwd(), dict(os.environ)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        os.chdir(folder)
        if dict(os.environ) != variables:
            os.environ.clear()
            os.environ.update(variables)


@contextmanager
def printing(log: Path) -> Iterator[None]:
    """Send what this process prints, and libraries beneath Python print, to a file."""
    _flush()
    saved = [os.dup(number) for number in (1, 2)]
    opened = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(opened, number)
    os.close(opened)
    try:
        yield
    finally:
        _flush()
        for number, old in zip((1, 2), saved, strict=True):
            os.dup2(old, number)
            os.close(old)
        _open_again()
        shorten(log, KEPT)


def shorten(log: Path, most: int) -> None:
    """Keep the end of a log; remove one that is empty."""
    size = log.stat().st_size if log.is_file() else 0
    if size == 0:
        log.unlink(missing_ok=True)
    elif size > most:
        with log.open("r+b") as stream:
            stream.seek(-most, os.SEEK_END)
            end = stream.read()
            stream.seek(0)
            stream.write(f"[{size - most} bytes left out]\n".encode() + end)
            stream.truncate()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # a plugin closed it
            if stream is not None:
                stream.flush()


def _open_again() -> None:
    """Give the next task streams to print to, where a plugin closed them."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
