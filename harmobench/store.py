"""The run's store: a folder for each finished task, under the hash of all that went into it.

A task writes into a folder of a temporary name; when it is complete it is flushed and renamed.
So a folder under its final name is always whole, and resuming is asking whether it exists.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

LOG = "log.txt"  # in a task's folder: what the programs that it ran printed


def merkle(*parts: Any) -> str:
    """Hash of JSON-able parts: dictionaries by sorted keys, floats by their shortest repr.

    >>> merkle("a", {"b": 1}) == merkle("a", {"b": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_once(path: Path) -> str:
    """SHA-256 of a file's content, read again only when it changed."""
    return _hash_of(path, stamp(path))  # the scans of a cohort often share a mask


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written again, or another takes its place."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=4096)  # a task may read a file of each scan, and looks at all once more
def _hash_of(path: Path, seen: tuple[int, ...]) -> str:
    return hash_file(path)


class Store:
    """Finished tasks of a run by key.

    Parameters
    ----------
    folder
        RUN/store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the folder of a task, finished or not."""
        return self.folder / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether a task is finished."""
        return self.path(key).is_dir()

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Give a folder to write into; under its final name only if no exception comes."""
        final = self.path(key)
        final.parent.mkdir(exist_ok=True)  # not the store: of a run that is gone nothing comes back
        partial = Path(tempfile.mkdtemp(prefix=f".{key[:12]}-", dir=final.parent))
        try:
            yield partial
            partial.chmod(0o755)
            _flush(partial)
            with suppress(OSError):  # another worker finished the same task first: equal by key
                partial.rename(final)
            if not final.is_dir():
                partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed tasks left behind."""
        for partial in self.folder.glob("??/.*-*"):
            shutil.rmtree(partial, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            path.chmod(
                0o444
            )  # published files are the same files: an edit must not reach the store


def link(source: Path, target: Path) -> None:
    """Publish a stored file under a readable name: a hard link, else a copy.

    An existing target is replaced in one step.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    partial = beside(target)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)


def beside(path: Path) -> Path:
    """Return the name that a file is written under before it takes its own; nothing is there.

    A link that someone left under that name, in a run folder of theirs, would be written through.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    return partial


def link_folder(source: Path, target: Path) -> list[Path]:
    """Publish every file of a folder below another one; return what was published."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    targets = [target / path.relative_to(source) for path in files]
    for path, place in zip(files, targets, strict=True):
        link(path, place)
    return targets


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, data: Any) -> None:
    """Write JSON with sorted keys so that it is never seen half-written."""
    write_text(path, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises
    ------
    ValueError
        It is none, or no file.
    """
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise ValueError(f"expected a file at {path}, found something else")
    return json.loads(path.read_text(encoding="utf-8"))
