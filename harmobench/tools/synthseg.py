"""Region volumes that SynthSeg has already measured: the CSV file of `mri_synthseg --vol`.

Its first column, "subject" (or without a name where every image has a file of its own), is the
image's file name without .nii.gz; the others are structures such as "left hippocampus" and, with
--parc, "ctx-lh-entorhinal", in mm^3. SynthSeg measures no thickness.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harmobench.errors import MeasurementError, SettingsError
from harmobench.interface import Measure, Reference, Source
from harmobench.tools import pattern
from harmobench.tools.biomarkers import Plain, biomarkers_of, plain, units_of
from harmobench.tools.table import Table, read_table, unknown_rows

FILE, COLUMN = "synthseg", "volume"
TWO: Plain = (
    plain("hippocampus", FILE, "{side} hippocampus", COLUMN),
    plain("amygdala", FILE, "{side} amygdala", COLUMN),
)


@dataclass(frozen=True)
class SynthSeg:
    """Volumes from SynthSeg's CSV files.

    A place is FILE or FILE:ROW, where ROW is how rows are named: {method}_{subject}_{scanner} where
    nothing is said. The three may also stand in FILE, as in {method}/volumes.csv:{subject}_
    {scanner}.

    Attributes
    ----------
    biomarkers
        What to read: `file` is "synthseg" and `column` "volume"; `row` is the header of a column,
        such as "{side} hippocampus" or "ctx-{hemi}-entorhinal", in upper or lower case. By default
        the paper's two volumes: of its two cortices SynthSeg has no thickness.
    """

    biomarkers: Plain = TWO

    reads: ClassVar[Literal["files"]] = "files"
    reference: ClassVar[Reference] = Reference(
        title="SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without "
        "retraining",
        authors="Billot, B. and Greve, D. N. and Puonti, O. and Thielscher, A. and "
        "Van Leemput, K. and Fischl, B. and Dalca, A. V. and Iglesias, J. E.",
        year=2023,
        venue="Medical Image Analysis 86, 102789",
        doi="10.1016/j.media.2023.102789",
        key="billot2023synthseg",
    )

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each biomarker.

        Raises
        ------
        SettingsError
            A biomarker that SynthSeg has no file or column for.
        """
        for marker in biomarkers_of(self.biomarkers):
            if (marker.file, marker.column) != (FILE, COLUMN):
                raise SettingsError(
                    f"biomarker {marker.structure}: expected file = '{FILE}' and column = "
                    f"'{COLUMN}' for SynthSeg, which measures volumes alone, found "
                    f"{marker.file} and {marker.column}"
                )
        return units_of(self.biomarkers)

    def check_place(self, place: str) -> str | None:
        """Say what is wrong with a place; None where nothing is."""
        where, row = pattern.split_row(place)
        folder, inside = pattern.split_folder(where)
        if not (folder.is_dir() if inside else folder.is_file()):
            what = "a folder of SynthSeg's CSV files" if inside else "SynthSeg's CSV file"
            return f"expected {what}, found none at {folder}"
        return pattern.fault(f"{where}:{row}")

    def find(self, place: str, method: str, subject: str, scanner: str) -> Source | None:
        """File that has the scan's row; None where it has none, or is not there.

        A file that cannot be read is returned: `measure` says what is wrong with it.
        """
        where, rows = pattern.split_row(place)
        row = pattern.fill(rows, method, subject, scanner)
        path = pattern.at(where, method, subject, scanner)
        if not path.is_file():
            return None
        source = Source({path.name: path}, row)
        try:
            return source if _read(source).has_row(row) else None
        except MeasurementError:
            return source

    def unknown(self, place: str, scans: Collection[tuple[str, str, str]]) -> Sequence[str]:
        """Rows that fit the pattern and are none of these scans."""
        return unknown_rows(place, scans, _rows)

    def measure(self, source: Source) -> Iterable[Measure]:
        """Biomarkers of one scan.

        Raises
        ------
        MeasurementError
            The file is none of SynthSeg's or cut short, or lacks the row or a column.
        """
        table = _read(source)
        return [
            Measure(
                marker.structure,
                marker.value([table.number(source.row, column) for _, column in marker.places]),
                marker.units,
            )
            for marker in biomarkers_of(self.biomarkers)
        ]


def _rows(path: Path) -> tuple[tuple[str, ...], ...]:
    """Rows of a file; none where it cannot be read, which `measure` tells those who need it."""
    try:
        return read_table(path, ",").rows
    except MeasurementError:
        return ()


def _read(source: Source) -> Table:
    (path,) = source.files.values()
    table = read_table(path, ",")
    if table.header[0].lower() not in ("", "subject") or len(table.header) < 2:
        raise MeasurementError(
            f"expected a CSV file of mri_synthseg --vol in {path.name}, whose header begins with "
            f"'subject,', found '{','.join(table.header)[:60]}'"
        )
    return table
