"""Tables of many scans, one a row, whose first column names the scan."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harmobench.errors import MeasurementError
from harmobench.tools import pattern
from harmobench.tools.stats import positive

ENDINGS = (".nii.gz", ".nii", ".mgz")


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes
    ----------
    name
        Of its file.
    header
        Names of the columns, the first cell among them.
    rows
        Cells of each row; a table cut short may have a row of other length.
    ended
        Whether the file ends with a line end.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ended: bool

    def has_row(self, row: str) -> bool:
        """Whether a row is named so."""
        return row_name(row) in {plain_name(cells[0]) for cells in self.rows}

    def number(self, row: str, column: str) -> float:
        """Read a number above 0; upper and lower case are alike in the names of columns.

        Raises
        ------
        MeasurementError
            The table is cut short, lacks the row or the column or has it twice, or the cell holds
            something else.
        """
        self._check()
        found = [cells for cells in self.rows if plain_name(cells[0]) == row_name(row)]
        columns = [i for i, name in enumerate(self.header) if name.lower() == column.lower()]
        for what, places in ((f"row {row}", found), (f"column {column}", columns)):
            if len(places) != 1:
                raise MeasurementError(
                    f"expected the {what} once in {self.name}, found it {len(places)} times"
                )
        return positive(found[0][columns[0]], f"{column} of {row} in {self.name}")

    def _check(self) -> None:
        for number, cells in enumerate(self.rows, start=2):
            if len(cells) != len(self.header):
                raise MeasurementError(
                    f"expected {len(self.header)} cells in row {number} of {self.name}, found "
                    f"{len(cells)}: the table is cut short or damaged"
                )
        if not self.ended:
            raise MeasurementError(
                f"expected a line end at the end of {self.name}, found none: the table is cut short"
            )


def row_name(text: str) -> str:
    """Name of a row as it is compared: composed characters, and no image's ending."""
    name = unicodedata.normalize("NFC", text.strip())
    return next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name)


def plain_name(cell: str) -> str:
    """Name of the row that a cell names, which may be a path.

    >>> plain_name("/data/raw_01_GE.nii.gz"), plain_name("raw_01_GE/")
    ('raw_01_GE', 'raw_01_GE')
    """
    return row_name(cell.rstrip().rstrip("/").rpartition("/")[2])


def first_line(path: Path) -> str:
    """First line of a text file; empty where it cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.readline(1 << 20)
    except OSError:
        return ""
    return _decoded(start).rstrip("\r\n")


def read_table(path: Path, delimiter: str) -> Table:
    """Table of a file; blank lines are left out.

    Raises
    ------
    MeasurementError
        The file cannot be read, or has no header.
    """
    try:
        status = path.stat()  # one table is asked for every scan: it is read once
        return _read(path, delimiter, status.st_size, status.st_mtime_ns)
    except (OSError, csv.Error) as error:
        raise MeasurementError(f"expected a table in {path.name}, found no readable one") from error


@lru_cache(maxsize=64)
def _read(path: Path, delimiter: str, size: int, modified: int) -> Table:
    text = _decoded(path.read_bytes())
    # SynthSeg's lines end with two carriage returns on Windows: splitlines makes blank ones of them
    lines = [line for line in text.splitlines() if line.strip()]
    cells = [tuple(cell.strip() for cell in row) for row in csv.reader(lines, delimiter=delimiter)]
    if not cells:
        raise MeasurementError(f"expected a header in {path.name}, found an empty file")
    return Table(path.name, cells[0], tuple(cells[1:]), text.endswith(("\n", "\r")))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def unknown_rows(
    place: str,
    scans: Collection[tuple[str, str, str]],
    rows_at: Callable[[Path], Iterable[Sequence[str]]],
) -> list[str]:
    """Name the rows at a place that fit its pattern and are none of these scans, sorted.

    Parameters
    ----------
    place
        As `pattern.split_row` takes it.
    scans
        Method, subject and scanner of each.
    rows_at
        Rows of cells, the row's name first, of what lies at one path.
    """
    where, rows = pattern.split_row(place)
    inside = pattern.split_folder(where)[1]
    known = {(pattern.fill(inside, *scan), row_name(pattern.fill(rows, *scan))) for scan in scans}
    found = {
        (name, plain_name(cells[0]))
        for name, path in pattern.existing(where)
        for cells in rows_at(path)
        if pattern.matches(rows, plain_name(cells[0]))
    }
    return sorted(f"{name}:{row}" if name else row for name, row in found - known)
