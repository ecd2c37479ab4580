"""Region measures from the tables that FreeSurfer's asegstats2table and aparcstats2table write.

A table has a row for each subject and a column for each region. Its first header cell says what it
holds: "Measure:volume" (asegstats2table), "lh.aparc.thickness" (aparcstats2table). Cells are parted
by tabs, or by what -d says: commas, spaces, semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

from harmobench.errors import MeasurementError, SettingsError
from harmobench.interface import Measure, Reference, Source
from harmobench.tools import pattern
from harmobench.tools.biomarkers import FREESURFER, Biomarker, Plain, biomarkers_of, units_of
from harmobench.tools.freesurfer import FISCHL_2012
from harmobench.tools.table import (
    Table,
    first_line,
    plain_name,
    read_table,
    row_name,
    unknown_rows,
)

VOLUMES = "Measure:volume"
MEASURES = {"ThickAvg": "thickness", "ThickStd": "thicknessstd", "GrayVol": "volume"}
FIRST_CELL = re.compile(r'"?(Measure:volume|[lr]h\.[^\s,;"]+\.[a-z]+)"?([\t,; ])')


@dataclass(frozen=True)
class FreeSurferTables:
    """Thickness and volumes from tables of many FreeSurfer subjects.

    A place is FOLDER or FOLDER:ROW, where ROW is how rows are named: {method}_{subject}_{scanner}
    where nothing is said. The three may also stand in FOLDER, as in tables/{method}:{subject}_
    {scanner}. Tables are recognised by their first header cell, whatever their names.

    Attributes
    ----------
    biomarkers
        As FreeSurfer's: the file "aseg.stats" with the column Volume_mm3 is the table that begins
        with Measure:volume and its column ROW; "{hemi}.aparc.stats" with ThickAvg is the table that
        begins with lh.aparc.thickness and its column lh_ROW_thickness.
    """

    biomarkers: Plain = FREESURFER

    reads: ClassVar[Literal["files"]] = "files"
    reference: ClassVar[Reference] = FISCHL_2012

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each biomarker."""
        self._cells()
        return units_of(self.biomarkers)

    def check_place(self, place: str) -> str | None:
        """Say what is wrong with a place; None where nothing is."""
        where, row = pattern.split_row(place)
        folder, _ = pattern.split_folder(where)
        if not folder.is_dir():
            return f"expected a folder of FreeSurfer tables, found none at {folder}"
        return pattern.fault(f"{where}:{row}")

    def find(self, place: str, method: str, subject: str, scanner: str) -> Source | None:
        """Tables that have the scan's row; None where none has."""
        where, rows = pattern.split_row(place)
        row = pattern.fill(rows, method, subject, scanner)
        tables = self._tables(pattern.at(where, method, subject, scanner))
        files = {
            path.name: path
            for path, table in tables
            if table.has_row(row) or _is_turned(table, row)
        }
        return Source(files, row) if files else None

    def unknown(self, place: str, scans: Collection[tuple[str, str, str]]) -> Sequence[str]:
        """Rows that fit the pattern and are none of these scans."""
        return unknown_rows(
            place, scans, lambda folder: chain(*(table.rows for _, table in self._tables(folder)))
        )

    def measure(self, source: Source) -> Iterable[Measure]:
        """Biomarkers of one scan.

        Raises
        ------
        MeasurementError
            A table, the row or a column is missing or there twice, a table is cut short or turned.
        """
        tables = {path.name: _read(path) for path in source.files.values()}
        for name, (_, table) in tables.items():
            if _is_turned(table, source.row):
                raise MeasurementError(
                    f"expected subjects as rows of {name}, found {source.row} as a column: "
                    "make the table again without --transpose"
                )
        return [
            Measure(
                marker.structure,
                marker.value([_number(tables, source.row, kind, name) for kind, name in cells]),
                marker.units,
            )
            for marker, cells in self._cells()
        ]

    def _cells(self) -> list[tuple[Biomarker, list[tuple[str, str]]]]:
        """First header cell of the table, and column, of each hemisphere of each biomarker."""
        markers = biomarkers_of(self.biomarkers)
        return [(marker, [_cell(marker, *place) for place in marker.places]) for marker in markers]

    def _tables(self, folder: Path) -> Iterator[tuple[Path, Table]]:
        """Tables in a folder that the biomarkers stand in."""
        kinds = {kind for _, cells in self._cells() for kind, _ in cells}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and _kind(path) in kinds:
                try:
                    table = _read(path)[1]
                except MeasurementError:
                    continue  # `measure` misses it, and says so
                yield path, table


def _cell(marker: Biomarker, file: str, row: str) -> tuple[str, str]:
    """First header cell of the table, and column, where asegstats2table and its like put a row."""
    if marker.column == "Volume_mm3" and file.endswith(".stats"):
        return VOLUMES, row
    cortex = re.fullmatch(r"([lr]h)\.(.+)\.stats", file)
    if cortex is None or marker.column not in MEASURES:
        raise SettingsError(
            f"biomarker {marker.structure}: expected a file such as aseg.stats with the column "
            "Volume_mm3, or {hemi}.aparc.stats with ThickAvg, ThickStd or GrayVol, "
            f"for FreeSurfer's tables, found {marker.file} with {marker.column}"
        )
    hemi, parcellation = cortex.groups()
    what = MEASURES[marker.column]
    return f"{hemi}.{parcellation}.{what}", f"{hemi}_{row}_{what}"


def _kind(path: Path) -> str:
    found = FIRST_CELL.match(first_line(path))
    return found[1] if found else ""


def _read(path: Path) -> tuple[str, Table]:
    """First header cell of a table, and the table."""
    found = FIRST_CELL.match(first_line(path))
    if found is None:
        raise MeasurementError(
            f"expected a table of asegstats2table or aparcstats2table in {path.name}, found none"
        )
    return found[1], read_table(path, found[2])


def _is_turned(table: Table, row: str) -> bool:
    return row_name(row) in {plain_name(name) for name in table.header[1:]}


def _number(tables: Mapping[str, tuple[str, Table]], row: str, kind: str, column: str) -> float:
    """Find a cell: several tables may begin alike, such as one a method, but one has the row."""
    alike = [table for found, table in tables.values() if found == kind and table.has_row(row)]
    having = [table for table in alike if column in table.header] or alike
    if len(having) != 1:
        found = ", ".join(table.name for table in having) or "none"
        raise MeasurementError(
            f"expected one table that begins with {kind} and has the row {row}, found {found}"
        )
    return having[0].number(row, column)
