"""Running a program that the user has: FSL, SPM, FreeSurfer; as it is, or in a container.

A program runs in a folder of its own, under a time limit, with all that it prints kept in a log.
When the process that asked for it dies, the program and all that it started end too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from harmobench.errors import MeasurementError, SettingsError

SHOWN = 300  # characters of what a program said last that a message repeats
SUCH = "a command such as 'apptainer exec -B {dir} image.sif'"
KEPT = 200_000  # bytes at the beginning and at the end of what a program prints
GRACE = 10.0  # seconds between asking a program to end and ending it
ADOPT = 36  # PR_SET_CHILD_SUBREAPER of Linux: orphans become children of this process
KILLED = 128  # a shell's exit status of a program that signal n stopped is 128 + n


def find(
    name: str, folders: Iterable[Path] = (), prefix: str = "", *, on_path: bool = True
) -> str | None:
    """Path of a program in one of the folders or, with `on_path`, on PATH; None where it is not.

    Behind a container's prefix only the prefix's own program can be looked for here; the name is
    then given back as it is.
    """
    if prefix:
        words = shlex.split(prefix)
        return name if words and shutil.which(words[0]) else None
    for folder in folders:
        found = shutil.which(name, path=str(folder))
        if found:
            return found
    return shutil.which(name) if on_path else None


def check_prefix(owner: str, prefix: str, name: str = "prefix", such: str = SUCH) -> None:
    """Refuse a prefix, or another parameter made of words, that a shell could not read.

    Raises
    ------
    SettingsError
        An open quotation mark.
    """
    try:
        shlex.split(prefix)
    except ValueError as error:
        raise SettingsError(
            f"parameter '{owner}.{name}': expected {such}, found '{prefix}' ({error})"
        ) from error


def behind(prefix: str, folder: Path, command: Sequence[str]) -> list[str]:
    """Return a command behind its prefix, in which {dir} stands for the folder it works in.

    >>> behind("apptainer exec -B {dir} fsl.sif", Path("/tmp/x"), ["fast"])
    ['apptainer', 'exec', '-B', '/tmp/x', 'fsl.sif', 'fast']
    """
    return [word.replace("{dir}", str(folder)) for word in shlex.split(prefix)] + list(command)


def run(
    command: Sequence[str],
    folder: Path,
    *,
    minutes: float,
    prefix: str = "",
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program in a folder and return what it printed.

    Parameters
    ----------
    command
        The program and its arguments.
    folder
        Where it runs; {dir} in `prefix`.
    minutes
        After so long it is stopped, with all that it started.
    prefix
        What stands before the command, such as a container's.
    log
        File to which the command and what it prints are added.
    environment
        Variables over those of this process.

    Raises
    ------
    MeasurementError
        It cannot be started, took too long, was killed, or ended with another status than 0.
    """
    words = behind(prefix, folder, command)
    name = Path(command[0]).name
    status, text = _printed(words, folder, minutes, environment or {})
    if log is not None:
        with log.open("a", encoding="utf-8") as kept:
            kept.write(f"$ {shlex.join(words)}\n{text}\n")
    if status != 0:
        raise MeasurementError(_ended(name, status, minutes) + last_words(text))
    return text


def ask(command: Sequence[str], *, prefix: str = "", minutes: float = 5) -> str:
    """Return what a program prints, whatever its exit status: many fail when asked for a version.

    Empty where it printed nothing within the time.
    """
    with tempfile.TemporaryDirectory(prefix="harmobench-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        return _printed(behind(prefix, folder, command), folder, minutes, {})[1]


def _printed(
    words: Sequence[str], folder: Path, minutes: float, more: Mapping[str, str]
) -> tuple[int | None, str]:
    """Exit status of a command, and what it printed."""
    with tempfile.TemporaryFile(prefix="harmobench-") as output:  # no file that it could remove
        status = _watched(words, folder, output.fileno(), minutes, more)
        return status, _ends(output)


def _ends(stream: IO[bytes]) -> str:
    """Read what a program printed; of very much, the beginning and the end."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(KEPT)
    if size > 2 * KEPT:
        stream.seek(-KEPT, os.SEEK_END)
        head += f"\n[{size - 2 * KEPT} bytes left out]\n".encode()
    return (head + stream.read()).decode("utf-8", errors="replace")


def _watched(
    words: Sequence[str], folder: Path, output: int, minutes: float, more: Mapping[str, str]
) -> int | None:
    """Exit status of a command that ends with this process; None where it took too long."""
    watcher = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__)), *words],
        cwd=folder,
        env={**os.environ, **more},
        stdin=subprocess.PIPE,  # its end tells the watcher that this process is gone
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return watcher.wait(timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if watcher.stdin is not None:
            watcher.stdin.close()
        watcher.wait()


def _ended(name: str, status: int | None, minutes: float) -> str:
    if status is None:
        return f"expected {name} to end within {minutes:g} minutes, found it still at work"
    number = -status if status < 0 else status - KILLED
    if number in {s.value for s in signal.Signals}:  # 255 is a program's own status
        how = signal.Signals(number).name
        return f"expected {name} to end by itself, found that it was killed ({how}; out of memory?)"
    if status in (126, 127):
        return f"expected a program {name} that can be started, found none"
    return f"expected {name} to end with status 0, found {status}"


def last_words(text: str) -> str:
    """Return the end of what a program printed, as the end of a message."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    last = " ".join(shown.split())[-SHOWN:]
    return f"; it said last: {last}" if last else ""


def _watch(words: Sequence[str]) -> int:
    """Run a command until it ends or standard input does; return its exit status.

    All that it started ends with it, also what went into a session of its own: whose parent ended
    becomes a child of this process (Linux).
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    try:
        program = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(error, flush=True)
        return 127

    def end_with_parent() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock would outlive the main thread
            pass
        _end(program)

    threading.Thread(target=end_with_parent, daemon=True).start()
    status = program.wait()
    _end_rest(program.pid)
    return status if status >= 0 else KILLED - status


def _end(program: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(program.pid, sign)
            program.wait(timeout=GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _end_rest(group: int) -> None:
    """Kill what a program left running: its group, and what this process was given to keep."""
    import psutil

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    while left := psutil.Process().children(recursive=True):  # who is killed may have had children
        for child in left:
            with contextlib.suppress(psutil.Error):
                child.kill()
        if not psutil.wait_procs(left, timeout=GRACE)[0]:
            return


if __name__ == "__main__":
    sys.exit(_watch(sys.argv[1:]))
