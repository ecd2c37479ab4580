"""Region measures that FreeSurfer has already made: the import of finished subjects.

Each scan of each method is one FreeSurfer subject in a folder of its own, by default named
METHOD_SUBJECT_SCANNER. Read are its `stats/aseg.stats`, `stats/lh.aparc.stats` and
`stats/rh.aparc.stats`, or what a biomarkers.toml names, as FreeSurfer 5.3 to 7 write them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harmobench.interface import Measure, Reference, Source
from harmobench.tools import pattern
from harmobench.tools.biomarkers import FREESURFER, Plain, biomarkers_of, units_of
from harmobench.tools.stats import measures, stats_files

# what FreeSurfer itself puts into a SUBJECTS_DIR, beside fsaverage and its relatives
OWN = frozenset({"bert", "V1_average", "lh.EC_average", "rh.EC_average"})
OWN_STARTS = ("fsaverage", "cvs_avg35")

FISCHL_2012 = Reference(
    title="FreeSurfer",
    authors="Fischl, B.",
    year=2012,
    venue="NeuroImage 62(2), 774-781",
    doi="10.1016/j.neuroimage.2012.01.021",
    key="fischl2012freesurfer",
)


@dataclass(frozen=True)
class FreeSurfer:
    """Thickness and volumes of finished FreeSurfer subjects.

    A place is a SUBJECTS_DIR, whose subjects are named {method}_{subject}_{scanner}, or a path with
    these three in braces, such as /data/{method}/{subject}_{scanner}.

    Attributes
    ----------
    biomarkers
        What to read, as `read_biomarkers` returns it: `file` lies in the subject's folder stats,
        `row` is a StructName and `column` one of the file's ColHeaders.
    """

    biomarkers: Plain = FREESURFER

    reads: ClassVar[Literal["files"]] = "files"
    reference: ClassVar[Reference] = FISCHL_2012

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each biomarker."""
        return units_of(self.biomarkers)

    def check_place(self, place: str) -> str | None:
        """Say what is wrong with a place; None where nothing is."""
        return check_subjects(place)

    def find(self, place: str, method: str, subject: str, scanner: str) -> Source | None:
        """Stats files of a scan's subject folder; None where there is no such folder.

        Where some of the files are missing the others are returned, and `measure` says which.
        """
        folder = subject_folder(place, method, subject, scanner)
        names = [name for marker in biomarkers_of(self.biomarkers) for name in marker.files]
        return Source(stats_files(folder, names)) if folder.is_dir() else None

    def unknown(self, place: str, scans: Collection[tuple[str, str, str]]) -> Sequence[str]:
        """Subject folders that fit the pattern and are none of these scans."""
        return unknown_subjects(place, scans)

    def measure(self, source: Source) -> Iterable[Measure]:
        """Biomarkers of one scan.

        Raises
        ------
        MeasurementError
            A file or a region is missing, a file is cut short, a number is none.
        """
        markers = biomarkers_of(self.biomarkers)
        return measures(source.files, markers, "FreeSurfer", "let recon-all finish")


def subject_folder(place: str, method: str, subject: str, scanner: str) -> Path:
    """Folder of one scan's subject, whether it is there or not."""
    return pattern.at(_with_pattern(place), method, subject, scanner)


def unknown_subjects(place: str, scans: Collection[tuple[str, str, str]]) -> list[str]:
    """Name the subject folders at a place that are none of these scans, sorted."""
    place = _with_pattern(place)
    known = pattern.all_filled(pattern.split_folder(place)[1], scans)
    return sorted(
        name
        for name, path in pattern.existing(place)
        if path.is_dir() and name not in known and not _is_own(path.name)
    )


def check_subjects(place: str) -> str | None:
    """Say what is wrong with a place of subject folders; None where nothing is."""
    wrong = pattern.fault(_with_pattern(place))
    folder, _ = pattern.split_folder(place)
    if wrong is None and not folder.is_dir():
        return f"expected a folder of finished subjects, found none at {folder}"
    return wrong


def _with_pattern(place: str) -> str:
    return place if "{" in place else str(Path(place) / pattern.DEFAULT)


def _is_own(name: str) -> bool:
    return name in OWN or name.startswith(OWN_STARTS)
