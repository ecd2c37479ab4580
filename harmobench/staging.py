"""Reports are written aside and then put in place: who is stopped leaves the old ones whole."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmobench.checksums import PARTIAL
from harmobench.errors import HarmobenchError
from harmobench.store import beside


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Give a folder to write reports into, inside the run folder; it goes whatever happens."""
    partial = folder / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)  # of a report that was killed
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(partial: Path, folder: Path) -> list[Path]:
    """Move all files to where they belong, and return them; each is replaced in one step.

    Raises
    ------
    HarmobenchError
        A folder lies where a file belongs; then nothing was moved.
    """
    found = sorted(path for path in partial.rglob("*") if path.is_file())
    placed = [folder / path.relative_to(partial) for path in found]
    taken = next((path for path in placed if path.is_dir()), None)
    if taken is not None:
        raise HarmobenchError(
            f"expected a file or nothing, found a folder at {taken}: move it away"
        )
    for source, target in zip(found, placed, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(source, target)
    return placed


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # figures/ may be a link to another disk
            raise
        partial = beside(target)
        shutil.copyfile(source, partial)
        partial.replace(target)
