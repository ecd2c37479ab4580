"""What was found in the files of a manifest, kept so that the same files are not read again.

A file is the one that was read if its path, size and both of its times are those of then. What was
found is kept under its content's hash, in one JSON file a manifest, in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from harmobench.imaging.nifti import Content, read_content
from harmobench.provenance import environment, kernel_digest
from harmobench.store import hash_once, merkle

SWITCH = "HARMOBENCH_CACHE"  # the folder; set to nothing, nothing is kept
CLOCK_NS = 2_000_000_000  # a file system may give two writings within so much the same time
MOST_BYTES = 2**28  # of an index that is read: one of 100,000 scans stays below
SHA256 = re.compile(r"[0-9a-f]{64}")


class Stamp(NamedTuple):
    """What changes when a file is written again, or another is put in its place."""

    size: int
    modified_ns: int
    changed_ns: int


class Facts:
    """Hashes of files, and what is known of their contents.

    Parameters
    ----------
    index
        Where to keep them; None keeps them in memory only.
    """

    def __init__(self, index: Path | None = None) -> None:
        self._index = index
        self._files: dict[str, tuple[Stamp, str]] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._new = False
        if index is not None:
            self._files, self._known = _read(index)

    def hash_known(self, path: Path) -> str | None:
        """SHA-256 of a file that is known and did not change; None where it must be read."""
        stamp, content = self._files.get(str(path.absolute()), (None, ""))
        return content if stamp is not None and stamp == _stamp(path) else None

    def hash(self, path: Path) -> str:
        """SHA-256 of a file; it is read where it is not known."""
        known = self.hash_known(path)
        if known is not None:
            return known
        before = _stamp(path)
        content = hash_once(path)
        self._keep(path, before, content)
        return content

    def read(self, path: Path, dtype: Any) -> Content:
        """Read an image to its end, as `read_content` does, and keep the file's hash."""
        before = _stamp(path)
        content = read_content(path, dtype)
        self._keep(path, before, content.sha256)
        return content

    def get(self, content: str, name: str) -> Any:
        """Return what is known of a content; None for nothing. It may be anything: check it."""
        return self._known.get(content, {}).get(name)

    def put(self, content: str, name: str, value: Any) -> None:
        """Keep a fact, of JSON's types, about a content."""
        if self.get(content, name) != value:
            self._known.setdefault(content, {})[name] = value
            self._new = True

    def save(self) -> None:
        """Write the index, where there is something new."""
        if self._index is None or not self._new:
            return
        contents = {content for _, content in self._files.values()}
        data = {
            "code": _code(),
            "files": {path: [*stamp, content] for path, (stamp, content) in self._files.items()},
            "known": {key: facts for key, facts in self._known.items() if key in contents},
        }
        with suppress(OSError):  # without a folder to write to, files are read anew each time
            _write(self._index, json.dumps(data))
            self._new = False

    def _keep(self, path: Path, before: Stamp | None, content: str) -> None:
        """Keep a file's hash, unless it changed meanwhile or could yet within its clock's step."""
        if before is None or before != _stamp(path):
            return
        if time.time_ns() - max(before.modified_ns, before.changed_ns) > CLOCK_NS:
            self._files[str(path.absolute())] = (before, content)
            self._new = True


def facts_of(manifest: Path) -> Facts:
    """Return what is known of a manifest's files."""
    folder = cache_folder()
    if folder is None:
        return Facts()
    name = hashlib.sha256(os.fsencode(manifest.absolute())).hexdigest()[:32]
    return Facts(folder / "manifests" / f"{name}.json")


def cache_folder() -> Path | None:
    """Folder of what can be found again: $HARMOBENCH_CACHE, else harmobench in the user's cache."""
    own = os.environ.get(SWITCH)
    if own is not None:
        return Path(own).absolute() if own else None
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # a relative one must be ignored: XDG base directory specification
        return shared / "harmobench"
    try:
        return Path.home() / ".cache" / "harmobench"
    except RuntimeError:  # a user without a home
        return None


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _code() -> str:
    """Digest of what the facts hang on beside the files: other code may find other faults."""
    return merkle(kernel_digest(), environment())


def _read(index: Path) -> tuple[dict[str, tuple[Stamp, str]], dict[str, dict[str, Any]]]:
    """Read an index; one that is not there, damaged, of other code or another user is empty."""
    try:
        if not index.is_file():  # to open a pipe would wait for ever
            return {}, {}
        with index.open("rb") as stream:
            status = os.fstat(stream.fileno())
            foreign = hasattr(os, "geteuid") and status.st_uid != os.geteuid()
            if foreign or status.st_size > MOST_BYTES:
                return {}, {}
            data = json.loads(stream.read())
        if data["code"] != _code():
            return {}, {}
        files = {path: _entry(*entry) for path, entry in data["files"].items()}
        return files, {content: dict(facts) for content, facts in data["known"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}, {}


def _entry(size: Any, modified_ns: Any, changed_ns: Any, content: Any) -> tuple[Stamp, str]:
    stamp = Stamp(size, modified_ns, changed_ns)
    if not all(type(number) is int for number in stamp) or not SHA256.fullmatch(content):
        raise ValueError("no entry of an index")
    return stamp, content


def _write(index: Path, text: str) -> None:
    """Write an index so that it is never seen half-written, even by two who write at once."""
    index.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".partial", dir=index.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        partial.replace(index)
    finally:
        partial.unlink(missing_ok=True)
