"""Files that a run was given, held to what they were when it began."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harmobench.errors import HarmobenchError
from harmobench.store import hash_once

EXPECTED = "expected the file that the run began with"


class Originals:
    """The files that a task reads of those that the run was given.

    Parameters
    ----------
    contents
        SHA-256 of each file that the manifest names, as it was when the run began.
    """

    def __init__(self, contents: Mapping[str, str]) -> None:
        self._contents = contents
        self._read: dict[Path, str] = {}

    def file(self, path: Path, content: str | None = None) -> Path:
        """Return the path of a file that is what it was.

        Parameters
        ----------
        path
            One that the manifest names; or any other, with the SHA-256 that it had.

        Raises
        ------
        HarmobenchError
            It is gone, or holds something else now.
        """
        expected = self._contents[str(path)] if content is None else content
        _refuse_changed(path, expected)
        self._read[path] = expected
        return path

    def check(self) -> None:
        """Look at each file once more: one may have changed while it was read.

        Raises
        ------
        HarmobenchError
            One is gone, or holds something else now.
        """
        for path, content in self._read.items():
            _refuse_changed(path, content)


def _refuse_changed(path: Path, content: str) -> None:
    try:
        found = hash_once(path)
    except OSError as error:
        raise HarmobenchError(
            f"{EXPECTED}, found that {path.name} is gone or cannot be read ({error.strerror}): "
            "bring it back and give the same command again"
        ) from error
    if found != content:
        raise HarmobenchError(
            f"{EXPECTED}, found another content in {path.name}: it changed while the run was "
            "going on; give the same command again"
        )
