"""Why something failed, in words that are the same in every run."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harmobench.errors import HarmobenchError

# What the system may refuse to every task alike; then the run stops, for none of them is at fault.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)
PROBE = 4 * 2**20  # bytes that must find room where results and scratch files go


def reason_of(error: BaseException) -> str:
    """One line that says why, the same in every run: no path, process number or address."""
    known = isinstance(error, HarmobenchError)
    return clean(str(error) if known else f"{type(error).__name__}: {error}")


def clean(text: str) -> str:
    """Leave out of a text what differs from run to run: paths, process numbers, addresses."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x...", " ".join(text.split()))
    text = re.sub(r"\b(pid|PID)[ =:]*\d+", r"\1", text)
    return re.sub(r"(?<![\w<])/(?:[^\s/:,'\"]+/)+([^\s/:,'\"]+)", r"\1", text)


def refusal(error: BaseException, run: Path) -> str | None:
    """Tell what the system refuses to every task, a full disk say, if an error comes from that.

    A plugin may meet a full or read-only disk of its own: so it is tried here whether results and
    scratch files still find room.

    Parameters
    ----------
    error
        What a task ended with. Libraries wrap what the system says, or repeat its text alone.
    run
        The run folder.
    """
    if (text := gone(run)) is not None:
        return text
    said = [os.strerror(number) for number in REFUSALS]
    if not any(_of_system(each) or any(t in str(each) for t in said) for each in _chain(error)):
        return None
    return _no_room(run / "store") or _no_room(Path(tempfile.gettempdir()))


def gone(run: Path) -> str | None:
    """Tell that a run's store is not there any more, if so: nothing may bring it back."""
    return None if (run / "store").is_dir() else lost(run)


def lost(run: Path) -> str:
    """Say that a run folder is not where it was."""
    return f"the run folder is gone: {run}"


def _of_system(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in REFUSALS


def _no_room(folder: Path) -> str | None:
    """Try to write into a folder; return what the system says against it."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(bytes(PROBE))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return f"{error.strerror}: {folder}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__
