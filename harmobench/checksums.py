"""Checksums of a run's files, in the format of `sha256sum`: what a finished run claims to be.

`cd RUN && sha256sum -c checksums.sha256` checks them without harmobench. The first line, a comment
to that program, holds the hash of the lines below it, so that a change in the list itself is found.
It is no signature: who changes a file and the list with it is found out only by the list's own
hash, where that was kept elsewhere.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harmobench.cohort import Progress
from harmobench.errors import HarmobenchError
from harmobench.store import beside, hash_file

NAME = "checksums.sha256"
HEAD = b"# sha256 of the lines below: "
# What a run writes itself. Everything else in its folder is the user's, but for what reports write.
FILES = ("run.json", "cohort.csv", "shown.json", "removed.json")
TABLES = ("scores", "aggregates", "comparisons", "costs", "failures", "warnings")
FOLDERS = ("harmonized", "segmentations", "models", "store", "tables", "figures")
# What comes and goes without a change in what the run claims.
PARTIAL = ".reports.partial"  # reports that are being written
UNFINISHED = ".unfinished"  # there until tables are those of run.json
BEFORE = ".before"  # what an earlier run had published, until this one has ended
ASIDE = frozenset(("running", "logs", "apply", ".lock", PARTIAL, UNFINISHED, BEFORE, NAME))
LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)
ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))
UNESCAPED = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
THREADS = 8
STEPS = 200  # times that progress is told, at most


@dataclass(frozen=True)
class Read:
    """A file's SHA-256, or why there is none.

    Attributes
    ----------
    digest
        Empty where the file could not be read.
    problem
        Such as "missing"; empty where the file was read.
    """

    digest: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Listing:
    """A checksum list as it stands.

    Attributes
    ----------
    entries
        File, relative to the run folder, to its SHA-256.
    faults
        What is wrong with the list itself.
    digest
        SHA-256 of the whole list: a name for the finished run.
    """

    entries: Mapping[str, str]
    faults: Sequence[str]
    digest: str


def write(folder: Path, also: Iterable[Path], progress: Progress) -> Path:
    """Hash every file of a finished run and write the list.

    Parameters
    ----------
    folder
        The run folder.
    also
        Files that reports wrote, wherever in the folder; others are left out.
    progress
        Told how many files are hashed.

    Raises
    ------
    HarmobenchError
        A file of the run cannot be read.
    """
    names = sorted({*files_of(folder), *_within(folder, also)}, key=os.fsencode)
    return _write(folder, _hashed(folder, names, progress), None)


def renew(folder: Path, written: Iterable[Path], progress: Progress) -> Path | None:
    """Renew the entries of files that were just written, and of no others.

    A list that is wrong in itself stays wrong; without a list none is made, because nobody knows
    whether the other files are still what the run wrote.

    Raises
    ------
    HarmobenchError
        A file that was just written cannot be read.
    """
    return without(folder, (), written, progress) if (folder / NAME).is_file() else None


def without(
    folder: Path, gone: Collection[str], written: Iterable[Path], progress: Progress
) -> Path:
    """Take files out of the list that are removed on purpose, and put in what was just written.

    A list that is wrong in itself stays wrong.

    Raises
    ------
    HarmobenchError
        A file that was just written cannot be read.
    """
    listing = read(folder)
    kept = {name: digest for name, digest in listing.entries.items() if name not in gone}
    known = kept | _hashed(folder, sorted(_within(folder, written)), progress)
    head = (folder / NAME).read_bytes().partition(b"\n")[0] if listing.faults else None
    return _write(folder, known, head)


def read(folder: Path) -> Listing:
    """Read the list of a run and check it against its own first line.

    Raises
    ------
    HarmobenchError
        It is no file.
    """
    if not (folder / NAME).is_file():  # to open a pipe would wait for ever
        raise HarmobenchError(f"expected a file {NAME} in {folder}, found none")
    content = (folder / NAME).read_bytes()
    head, _, body = content.partition(b"\n")
    entries, faults = _entries(body)
    found = sha256(body).hexdigest()
    if head != HEAD + found.encode():
        claimed = head.removeprefix(HEAD).decode("ascii", "replace")
        faults.insert(0, f"expected {short(claimed)} of its lines, found {short(found)}")
    return Listing(entries, faults, sha256(content).hexdigest())


def files_of(folder: Path) -> Iterator[str]:
    """Files that a run itself wrote, relative to its folder: not logs, locks, or what came later.

    Models that `harmobench apply` fits on all subjects lie in models/METHOD/all and come later.
    """
    tables = (f"{stem}{suffix}" for stem in TABLES for suffix in (".parquet", ".csv"))
    yield from (name for name in (*FILES, *tables) if (folder / name).is_file())
    for top in FOLDERS:
        yield from _below(folder, top)


def others(folder: Path, known: Mapping[str, str]) -> list[str]:
    """Files of a run folder that its list does not have; what comes and goes is left out."""
    tops = sorted(path.name for path in folder.iterdir() if path.name not in ASIDE)
    found = [name for name in tops if not (folder / name).is_dir()]
    for top in tops:
        found += _below(folder, top) if (folder / top).is_dir() else ()
    return [name for name in found if name not in known]


def hash_many(paths: Iterable[Path], progress: Progress, what: str) -> dict[Path, Read]:
    """Hash files in parallel, those that are one file under several names once."""
    names: dict[tuple[int, int], list[Path]] = {}
    found: dict[Path, Read] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            found[path] = Read(problem=_why(error))
            continue
        if stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            names.setdefault((status.st_dev, status.st_ino), []).append(path)
        else:
            found[path] = Read(problem="no file" if path.is_dir() else "no regular file")
    groups = list(names.values())
    every = max(1, len(groups) // STEPS)
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for done, (group, one) in enumerate(
            zip(groups, pool.map(lambda group: _hash(group[0]), groups), strict=True), start=1
        ):
            found |= dict.fromkeys(group, one)
            if done % every == 0 or done == len(groups):
                progress(done, len(groups), what)
    return found


def short(digest: str) -> str:
    """Return as much of a hash as people compare."""
    return digest[:12] or "nothing"


def _hash(path: Path) -> Read:
    try:
        return Read(hash_file(path))
    except OSError as error:
        return Read(problem=_why(error))


def _why(error: OSError) -> str:
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    return "missing" if gone else f"cannot be read: {error.strerror}"


def _below(folder: Path, top: str) -> Iterator[str]:
    """Files below a folder of the run; `top` itself may be a link, to a larger disk say."""
    for place, folders, files in os.walk(folder / top):
        inside = Path(place).relative_to(folder)
        depth = len(inside.parts)
        if top == "models" and depth == 2:  # of methods; below are fold-0, fold-1, ... and all
            folders[:] = [name for name in folders if name.partition("_")[0] != "all"]
        if top == "store" and depth == 2:  # of keys; what a killed task left begins with a dot
            folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            (inside / name).as_posix()
            for name in files
            if not (name.startswith(".") and name.endswith(".partial"))
        )


def _within(folder: Path, paths: Iterable[Path]) -> set[str]:
    own = [path.absolute() for path in paths]
    home = folder.absolute()
    return {path.relative_to(home).as_posix() for path in own if path.is_relative_to(home)}


def _hashed(folder: Path, names: Sequence[str], progress: Progress) -> dict[str, str]:
    found = hash_many([folder / name for name in names], progress, "checksums")
    bad = [f"{path}: {one.problem}" for path, one in found.items() if one.problem]
    if bad:
        raise HarmobenchError(
            f"expected files that can be read for {NAME}, found {len(bad)} that cannot, first "
            f"{sorted(bad)[0]}: mend them and give the same command again"
        )
    return {name: found[folder / name].digest for name in names}


def _write(folder: Path, entries: Mapping[str, str], head: bytes | None) -> Path:
    body = b"".join(_line(name, entries[name]) for name in sorted(entries, key=os.fsencode))
    first = HEAD + sha256(body).hexdigest().encode() if head is None else head
    path = folder / NAME
    partial = beside(path)
    partial.write_bytes(first + b"\n" + body)
    partial.replace(path)
    return path


def _line(name: str, digest: str) -> bytes:
    """One line as sha256sum writes it: a name with a line break is escaped, and marked so."""
    raw = os.fsencode(name)
    escaped = raw
    for character, written in ESCAPES:
        escaped = escaped.replace(character, written)
    return (b"\\" if escaped != raw else b"") + digest.encode() + b"  " + escaped + b"\n"


def _entries(body: bytes) -> tuple[dict[str, str], list[str]]:
    entries: dict[str, str] = {}
    faults: list[str] = []
    if body and not body.endswith(b"\n"):
        faults.append("its last line is cut off")
    for number, line in enumerate(body.split(b"\n")[:-1], start=2):
        match = LINE.fullmatch(line)
        name = _name(match[3], bool(match[1])) if match else ""
        if match is None or not name:
            faults.append(f"line {number}: expected a hash, two blanks and a file")
        elif name in entries:
            faults.append(f"line {number}: names a second time {name}")
        else:
            entries[name] = match[2].decode()
    return entries, faults


def _name(raw: bytes, escaped: bool) -> str:
    """Return the file that a line names; "" for one that is not in the run folder."""
    if escaped:
        raw = re.sub(rb"\\[\\nr]", lambda found: UNESCAPED[found[0]], raw)
    name = os.fsdecode(raw)
    inside = not name.startswith("/") and ".." not in name.split("/") and "\0" not in name
    return name if inside else ""
