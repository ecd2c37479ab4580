"""Region measures that FreeSurfer has already made: the import of finished subjects.

Each scan of each method is one FreeSurfer subject in one folder, named METHOD_SUBJECT_SCANNER. Read
are `stats/aseg.stats`, `stats/lh.aparc.stats` and `stats/rh.aparc.stats`; their columns are taken
from the line `# ColHeaders`, which FreeSurfer 5.3 to 7 all write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harmobench.errors import MeasurementError
from harmobench.interface import Measure, Reference

ASEG, LEFT, RIGHT = "aseg.stats", "lh.aparc.stats", "rh.aparc.stats"
FILES = (ASEG, LEFT, RIGHT)
ML = 1e-3  # of a mm^3


@dataclass(frozen=True)
class Biomarker:
    """A measure: the sum of the two hemispheres' (paper, section 2.5).

    Attributes
    ----------
    structure, units
        As `Measure` has them.
    column
        Of the stats files.
    left, right
        File and row of each hemisphere.
    scale
        From the column's units to `units`.
    """

    structure: str
    units: str
    column: str
    left: tuple[str, str]
    right: tuple[str, str]
    scale: float = 1.0


def _thickness(structure: str, row: str) -> Biomarker:
    return Biomarker(structure, "mm", "ThickAvg", (LEFT, row), (RIGHT, row))


def _volume(structure: str, row: str) -> Biomarker:
    left, right = (ASEG, f"Left-{row}"), (ASEG, f"Right-{row}")
    return Biomarker(structure, "ml", "Volume_mm3", left, right, ML)


BIOMARKERS = (
    _thickness("entorhinal", "entorhinal"),
    _thickness("inferior_temporal", "inferiortemporal"),
    _volume("hippocampus", "Hippocampus"),
    _volume("amygdala", "Amygdala"),
)


@dataclass(frozen=True)
class FreeSurfer:
    """Thickness and volumes of finished FreeSurfer subjects."""

    reference: ClassVar[Reference] = Reference(
        title="FreeSurfer",
        authors="Fischl, B.",
        year=2012,
        venue="NeuroImage 62(2), 774-781",
        doi="10.1016/j.neuroimage.2012.01.021",
        key="fischl2012freesurfer",
    )

    def sources(self, folder: Path, method: str, subject: str, scanner: str) -> tuple[Path, ...]:
        """Stats files of `folder/METHOD_SUBJECT_SCANNER`; none where there is no such folder.

        Where only some of the three files are there, these are returned, and `measure` says what
        is missing.
        """
        stats = folder / f"{method}_{subject}_{scanner}" / "stats"
        return tuple(stats / name for name in FILES if (stats / name).is_file())

    def measure(self, sources: tuple[Path, ...]) -> Iterable[Measure]:
        """Entorhinal and inferior temporal thickness (mm), hippocampus and amygdala volume (ml).

        Raises
        ------
        MeasurementError
            A file or a region is missing, a file is cut short, a number is none.
        """
        tables = {name: read_stats(_find(sources, name)) for name in FILES}
        return [
            Measure(
                marker.structure,
                marker.scale * sum(_value(tables, *at, marker) for at in _hemispheres(marker)),
                marker.units,
            )
            for marker in BIOMARKERS
        ]


def _hemispheres(marker: Biomarker) -> tuple[tuple[str, str], tuple[str, str]]:
    return marker.left, marker.right


def _find(sources: tuple[Path, ...], name: str) -> Path:
    for path in sources:
        if path.name == name:
            return path
    subject = sources[0].parent.parent.name if sources else "of this scan"
    found = ", ".join(path.name for path in sources) or "none"
    raise MeasurementError(
        f"expected stats/{name} in FreeSurfer's subject folder {subject}, found {found}: "
        "let recon-all finish"
    )


def _value(
    tables: Mapping[str, Mapping[str, Mapping[str, str]]], name: str, row: str, marker: Biomarker
) -> float:
    table = tables[name]
    if row not in table:
        raise MeasurementError(f"expected the region {row} in {name}, found none of that name")
    if marker.column not in table[row]:
        raise MeasurementError(
            f"expected the column {marker.column} in {name}, found {', '.join(table[row])}"
        )
    text = table[row][marker.column]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise MeasurementError(
            f"expected a number above 0 as {marker.column} of {row} in {name}, found '{text}'"
        )
    return number


def read_stats(path: Path) -> dict[str, dict[str, str]]:
    """Table of a FreeSurfer stats file: its fields by structure name and column, as text.

    Raises
    ------
    MeasurementError
        No readable file, no line `# ColHeaders`, a row of other length than it, a structure
        twice, or fewer rows than the file itself announces in `# NRows`.
    """
    lines = _lines(path)
    columns = _header(lines, "ColHeaders")
    if "StructName" not in columns:
        raise MeasurementError(
            f"expected a line '# ColHeaders ... StructName ...' in {path.name}, found none: "
            "the file is cut short, or not FreeSurfer's"
        )
    table: dict[str, dict[str, str]] = {}
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


def _lines(path: Path) -> list[str]:
    try:
        # names of users and folders in the header may be in any encoding; the table is ASCII
        return path.read_text(encoding="ascii", errors="replace").splitlines()
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
