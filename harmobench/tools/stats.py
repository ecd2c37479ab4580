"""FreeSurfer's stats files, and biomarkers read from them.

Columns are taken from the line `# ColHeaders`, which FreeSurfer 5.3 to 7 and FastSurfer all write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harmobench.errors import MeasurementError
from harmobench.interface import Measure
from harmobench.tools.biomarkers import Biomarker

Table = dict[str, dict[str, str]]


def stats_files(subject: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those of the named stats files that a subject folder has, by name."""
    paths = {name: subject / "stats" / name for name in names}
    return {name: path for name, path in paths.items() if path.is_file()}


def measures(
    files: Mapping[str, Path], markers: Sequence[Biomarker], program: str, remedy: str
) -> list[Measure]:
    """Biomarkers of one subject.

    Parameters
    ----------
    files
        Stats files of the subject, by the names that the biomarkers give them.
    program, remedy
        Whose files they are, and what to do where one is missing; for messages.

    Raises
    ------
    MeasurementError
        A file or a region is missing, a file is cut short, a number is none.
    """
    needed = dict.fromkeys(name for marker in markers for name in marker.files)
    tables = {name: read_stats(_existing(files, name, program, remedy)) for name in needed}
    return [
        Measure(
            marker.structure,
            marker.value([_value(tables[file], file, row, marker) for file, row in marker.places]),
            marker.units,
        )
        for marker in markers
    ]


def _existing(files: Mapping[str, Path], name: str, program: str, remedy: str) -> Path:
    if name in files:
        return files[name]
    subjects = {path.parent.parent.name for path in files.values()}
    subject = next(iter(subjects), "of this scan")
    found = ", ".join(files) or "none"
    raise MeasurementError(
        f"expected stats/{name} in {program}'s subject folder {subject}, found {found}: {remedy}"
    )


def _value(table: Table, name: str, row: str, marker: Biomarker) -> float:
    if row not in table:
        raise MeasurementError(f"expected the region {row} in {name}, found none of that name")
    if marker.column not in table[row]:
        raise MeasurementError(
            f"expected the column {marker.column} in {name}, found {', '.join(table[row])}"
        )
    return positive(table[row][marker.column], f"{marker.column} of {row} in {name}")


def positive(text: str, what: str) -> float:
    """Read a number above 0.

    Raises
    ------
    MeasurementError
        It is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise MeasurementError(f"expected a number above 0 as {what}, found '{text}'")
    return number


def read_stats(path: Path) -> Table:
    """Table of a FreeSurfer stats file: its fields by structure name and column, as text.

    Raises
    ------
    MeasurementError
        No readable file, no line `# ColHeaders`, a row of other length than it, a structure
        twice, no line end at the end, or fewer rows than the file announces in `# NRows`.
    """
    text = _text(path)
    lines = text.splitlines()
    columns = _header(lines, "ColHeaders")
    if "StructName" not in columns:
        raise MeasurementError(
            f"expected a line '# ColHeaders ... StructName ...' in {path.name}, found none: "
            "the file is cut short, or not FreeSurfer's"
        )
    if not text.endswith(("\n", "\r")):
        raise MeasurementError(
            f"expected a line end at the end of {path.name}, found none: the file is cut short"
        )
    table: Table = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) != len(columns):
            raise MeasurementError(
                f"expected {len(columns)} fields in line {number} of {path.name}, found "
                f"{len(fields)}: the file is cut short or damaged"
            )
        row = dict(zip(columns, fields, strict=True))
        if row["StructName"] in table:
            raise MeasurementError(f"expected {row['StructName']} once in {path.name}, found twice")
        table[row["StructName"]] = row
    _check_rows(_header(lines, "NRows"), len(table), path.name)
    return table


def _text(path: Path) -> str:
    try:
        # names of users and folders in the header may be in any encoding; the table is ASCII
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise MeasurementError(
            f"expected FreeSurfer's {path.name}, found no file that can be read"
        ) from error


def _header(lines: list[str], key: str) -> list[str]:
    """Words that follow `# key` in the first line that has them."""
    for line in lines:
        words = line.split()
        if words[:2] == ["#", key]:
            return words[2:]
    return []


def _check_rows(announced: list[str], found: int, name: str) -> None:
    if announced and announced[0] != str(found):
        raise MeasurementError(
            f"expected {announced[0]} regions in {name}, as its NRows says, found {found}: "
            "the file is cut short"
        )
    if not found:
        raise MeasurementError(f"expected regions in {name}, found none: the file is cut short")
