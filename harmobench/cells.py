"""The cells of a manifest, as text that can stand in a name, a table and a page."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harmobench.errors import HarmobenchError

MOST_BYTES = 100_000_000  # of a manifest: a hundred thousand scans need a tenth of that
LONGEST_NAME = 200  # characters: file systems end at 255 bytes
NAMES = ("subject", "scanner", "group")
BREAKING = ("Cc", "Zl", "Zp", "Cs")  # Unicode's categories: control characters and line breaks
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # bidi
Line = tuple[int, list[str]]


def read_cells(path: Path) -> list[Line]:
    """Read the lines of a .csv or .tsv that are not empty, each with its number.

    Raises
    ------
    HarmobenchError
        No file, no text in UTF-8, no table, or one larger than any manifest.
    """
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path))
    try:
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise HarmobenchError(
            f"expected a table, found a fault in line {reader.line_num} of {path}: {error}"
        ) from error
    return [(number, row) for number, row in lines if any(cell.strip() for cell in row)]


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _text(path: Path) -> str:
    if not path.is_file():
        raise HarmobenchError(f"expected a manifest (.csv or .tsv), found no file at {path}")
    with path.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise HarmobenchError(
            f"expected a manifest of at most {MOST_BYTES // 10**6} MB, one row a scan, found more "
            f"in {path}"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarmobenchError(f"expected text in UTF-8, found other bytes in {path}") from error
    before, nul, _ = text.partition("\0")
    if nul:
        line = before.count("\n") + 1
        raise HarmobenchError(f"expected text, found a NUL character in line {line} of {path}")
    return text


def header_faults(header: Sequence[str]) -> Iterator[str]:
    """Faults of the names of columns."""
    for name in header:
        if fault := _odd(name) or _long(name):
            yield f"row 1: a column's name: {fault}"


def cell_faults(number: int, row: Mapping[str, str]) -> Iterator[str]:
    """Faults of the text in one row, whatever it says: names stand in paths, tables and pages."""
    for column, text in row.items():
        if fault := _odd(text) or (_long(text) if column in NAMES else ""):
            yield f"row {number}, column {column}: {fault}"


def _odd(text: str) -> str:
    odd = next((c for c in text if unicodedata.category(c) in BREAKING or c in TURNING), None)
    if odd is None:
        return ""
    what = "a line break" if odd in "\n\r\u2028\u2029\x85" else "a control character"
    return (
        f"expected text on one line, found {what} (U+{ord(odd):04X}) in {_shown(text)}: write it "
        "without"
    )


def _long(text: str) -> str:
    if len(text) <= LONGEST_NAME:
        return ""
    return (
        f"expected a name of at most {LONGEST_NAME} characters, found {len(text)} in "
        f"{_shown(text)}: shorten it"
    )


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")
