"""Which finished results belong to which scan: names with {method}, {subject} and {scanner}."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator
from pathlib import Path

FIELDS = ("method", "subject", "scanner")
DEFAULT = "{method}_{subject}_{scanner}"

_BRACES = re.compile(r"\{([^{}]*)\}")


def fill(pattern: str, method: str, subject: str, scanner: str) -> str:
    """Put a scan's names into a pattern; braces within the names are left alone.

    >>> fill(DEFAULT, "raw", "01", "GE")
    'raw_01_GE'
    """
    names = dict(zip(FIELDS, (method, subject, scanner), strict=True))
    return _BRACES.sub(lambda found: names[found[1]] if found[1] in names else found[0], pattern)


def matches(pattern: str, name: str) -> bool:
    """Whether some scan has this name.

    >>> matches(DEFAULT, "fsaverage")
    False
    """
    parts = _BRACES.split(pattern)  # fixed text and field names in turn
    fixed = [re.escape(part) if i % 2 == 0 else "(.+)" for i, part in enumerate(parts)]
    return re.fullmatch("".join(fixed), name, flags=re.DOTALL) is not None


def fault(text: str) -> str | None:
    """Say what is wrong with the braces of what the user typed; None where nothing is.

    >>> fault("fs/{subject}_{scanner}")
    'expected {method}, {subject} and {scanner}, found no {method} in fs/{subject}_{scanner}'
    """
    found = _BRACES.findall(text)
    wrong = [name for name in found if name not in FIELDS]
    missing = [name for name in FIELDS if name not in found]
    if not wrong and not missing:
        return None
    named = [f"{{{name}}}" for name in wrong] or [f"no {{{name}}}" for name in missing]
    return f"expected {{method}}, {{subject}} and {{scanner}}, found {', '.join(named)} in {text}"


def split_row(place: str) -> tuple[str, str]:
    """Where tables lie, and the pattern of their rows: PLACE, or PLACE:ROW where ROW has no /.

    >>> split_row("tables/{method}:{subject}_{scanner}")
    ('tables/{method}', '{subject}_{scanner}')
    >>> split_row("tables")
    ('tables', '{method}_{subject}_{scanner}')
    """
    where, colon, row = place.rpartition(":")
    return (where, row) if colon and where and row and "/" not in row else (place, DEFAULT)


def split_folder(place: str) -> tuple[Path, str]:
    """Return the folder before the first brace, and the pattern of what lies in it ("" for none).

    >>> split_folder("/data/fs/{method}/{subject}_{scanner}")
    (PosixPath('/data/fs'), '{method}/{subject}_{scanner}')
    """
    parts = Path(place).expanduser().parts
    first = next((i for i, part in enumerate(parts) if _BRACES.search(part)), len(parts))
    return Path(*parts[:first]), "/".join(parts[first:])


def existing(place: str) -> Iterator[tuple[str, Path]]:
    """Yield what there is at a place: its name from the first brace on, and its path.

    Hidden files and folders are left out.
    """
    folder, pattern = split_folder(place)
    if not pattern:
        if folder.exists():
            yield "", folder
        return
    fixed = _BRACES.split(pattern)[::2]
    for path in sorted(folder.glob("*".join(glob.escape(part) for part in fixed))):
        inside = path.relative_to(folder)
        if not any(part.startswith(".") for part in inside.parts):
            yield inside.as_posix(), path


def at(place: str, method: str, subject: str, scanner: str) -> Path:
    """Path of one scan's results."""
    folder, pattern = split_folder(place)
    return folder / fill(pattern, method, subject, scanner)


def all_filled(pattern: str, scans: Collection[tuple[str, str, str]]) -> set[str]:
    """Names of all scans."""
    return {fill(pattern, *scan) for scan in scans}
