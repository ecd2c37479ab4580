"""Reports are written aside and then put in place: who is stopped leaves the old ones whole."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harmobench.checksums import BEFORE, NAME, PARTIAL, read
from harmobench.errors import HarmobenchError
from harmobench.store import beside, read_json, write_json

PUBLISHED = ("figures", "harmonized", "models", "segmentations", "tables")


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


def remember(folder: Path) -> None:
    """Keep the names of what an earlier run has published, for they may be none of this run's."""
    kept = read_json(folder / BEFORE) if (folder / BEFORE).is_file() else []
    listed = read(folder).entries if (folder / NAME).is_file() else {}
    own = [name for name in listed if name.partition("/")[0] in PUBLISHED]
    write_json(folder / BEFORE, sorted({*kept, *own}))


def take_away(folder: Path, current: Collection[Path]) -> None:
    """Remove what an earlier run has published and this one has not."""
    names = {path.relative_to(folder).as_posix() for path in current}
    for name in read_json(folder / BEFORE):
        path = folder / name
        inside = name.partition("/")[0] in PUBLISHED and ".." not in path.parts
        if inside and name not in names:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # a folder that still holds something
                for parent in list(path.parents)[: len(Path(name).parts) - 1]:
                    parent.rmdir()
    (folder / BEFORE).unlink()


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
