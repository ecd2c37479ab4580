"""What a plugin does to the world while it works, seen by Python's audit events.

What compiled code and other programs do raises no such events: folders are compared before and
after as well (`harmobench.testing.play`), and one session has no network at all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.remove", "os.rmdir", "os.chmod")  # the last argument is a folder or -1
LOCAL = ("localhost", "::1", "0.0.0.0", "")
MOST = 20  # of each kind that are kept


class Watch:
    """Notes of one process: where it wrote, what it read of the cohort, whom it called.

    Parameters
    ----------
    allowed
        Folders that may be written to.
    cohort
        Folder whose files are noted when they are read.
    """

    def __init__(self, allowed: tuple[str, ...], cohort: str) -> None:
        self.allowed = tuple(os.path.realpath(folder) for folder in allowed)
        self.cohort = os.path.realpath(cohort)
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.network: list[str] = []
        self._known: dict[str, Callable[..., None]] = {
            "open": self._open,
            "os.mkdir": self._mkdir,
            "os.rename": self._rename,
            "os.link": self._rename,
            "os.truncate": lambda path, *rest: self._write(path),
            "os.symlink": lambda source, target, *rest: self._write(target),
            "socket.connect": lambda socket, address: self._call(address),
            "socket.sendto": lambda socket, address: self._call(address),
            "socket.getaddrinfo": lambda host, *rest: self._call((host,)),
            "socket.gethostbyname": lambda host: self._call((host,)),
            **dict.fromkeys(CHANGES, lambda path, *rest: self._write(_below(path, *rest))),
        }

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """Note an audit event; refuse the network."""
        known = self._known.get(event)
        if known is not None:
            known(*args)

    def notes(self) -> dict[str, list[str]]:
        """Hand over what was noted since the last call."""
        found = {"writes": self.writes, "reads": self.reads, "network": self.network}
        self.writes, self.reads, self.network = [], [], []
        return {name: list(dict.fromkeys(values))[:MOST] for name, values in found.items()}

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(flags, int) and flags & WRITING:
            self._write(path)
        elif isinstance(path, str | bytes | os.PathLike):
            full = _full(path)
            if full.startswith(self.cohort + os.sep):
                self.reads.append(full)

    def _rename(self, source: Any, target: Any, *rest: Any) -> None:
        self._write(source)
        self._write(target)

    def _mkdir(self, path: Any, *rest: Any) -> None:
        if not Path(os.fsdecode(path)).is_dir():  # else mkdir(exist_ok=True), which changes nothing
            self._write(path)

    def _write(self, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a file that is open already
        full = _full(path)
        inside = any(full == own or full.startswith(own + os.sep) for own in self.allowed)
        if not inside and not full.startswith(("/dev/", "/proc/")):
            self.writes.append(full)

    def _call(self, address: Any) -> None:
        if not isinstance(address, tuple) or not address:
            return  # a socket of this machine
        host = address[0].decode() if isinstance(address[0], bytes) else address[0]
        if host is None or str(host) in LOCAL or str(host).startswith("127."):
            return
        self.network.append(":".join(str(part) for part in address[:2]))
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


def _below(path: Any, *rest: Any) -> Any:
    """Return the path that a name stands for below an open folder: shutil.rmtree removes so."""
    folder = rest[-1] if rest else -1
    if not isinstance(path, str) or not isinstance(folder, int) or folder < 0:
        return path
    try:
        return str(Path(f"/proc/self/fd/{folder}").readlink() / path)
    except OSError:
        return path


def _full(path: Any) -> str:
    return os.path.realpath(os.fsdecode(path))
