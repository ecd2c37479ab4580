"""Region measures that FastSurfer has already made.

FastSurfer's subject folders are laid out as FreeSurfer's. Volumes stand in `stats/aseg+DKT.stats`,
which its segmentation writes; runs that have none (before version 2) give them in
`stats/aseg.stats`. Thickness stands in `stats/lh.aparc.DKTatlas.mapped.stats` and its right twin,
which its surface pipeline writes. The files `lh.aparc.stats` and `lh.aparc.DKTatlas.stats` of a run
with --fsaparc are another parcellation, and are not taken in their place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from harmobench.interface import Measure, Reference, Source
from harmobench.tools.biomarkers import Plain, biomarkers_of, paper_four, units_of
from harmobench.tools.freesurfer import check_subjects, subject_folder, unknown_subjects
from harmobench.tools.stats import measures, stats_files

SEGMENTATION, OLDER = "aseg+DKT.stats", "aseg.stats"
FOUR = paper_four(SEGMENTATION, "{hemi}.aparc.DKTatlas.mapped.stats")
REMEDY = "let FastSurfer finish"
REMEDY_SURFACES = (
    "the surface pipeline was not run (--seg_only): run it, or ask for volumes alone with a "
    "biomarkers.toml"
)


@dataclass(frozen=True)
class FastSurfer:
    """Thickness and volumes of finished FastSurfer subjects.

    Attributes
    ----------
    biomarkers
        What to read, as FreeSurfer's, in FastSurfer's files; of a segmentation without surfaces
        only what stands in aseg+DKT.stats can be read.
    """

    biomarkers: Plain = FOUR

    reads: ClassVar[Literal["files"]] = "files"
    reference: ClassVar[Reference] = Reference(
        title="FastSurfer - A fast and accurate deep learning based neuroimaging pipeline",
        authors="Henschel, L. and Conjeti, S. and Estrada, S. and Diers, K. and Fischl, B. and "
        "Reuter, M.",
        year=2020,
        venue="NeuroImage 219, 117012",
        doi="10.1016/j.neuroimage.2020.117012",
        key="henschel2020fastsurfer",
    )

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Units of each biomarker."""
        return units_of(self.biomarkers)

    def check_place(self, place: str) -> str | None:
        """Say what is wrong with a place; None where nothing is."""
        return check_subjects(place)

    def find(self, place: str, method: str, subject: str, scanner: str) -> Source | None:
        """Stats files of a scan's subject folder; None where there is no such folder."""
        folder = subject_folder(place, method, subject, scanner)
        if not folder.is_dir():
            return None
        names = [name for marker in biomarkers_of(self.biomarkers) for name in marker.files]
        found = stats_files(folder, names)
        if SEGMENTATION in names and SEGMENTATION not in found:
            older = stats_files(folder, [OLDER])
            found |= dict(zip([SEGMENTATION], older.values(), strict=False))
        return Source(found)

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
        surfaces = any(name.startswith(("lh.", "rh.")) for name in source.files)
        remedy = REMEDY if surfaces or not source.files else REMEDY_SURFACES
        return measures(source.files, biomarkers_of(self.biomarkers), "FastSurfer", remedy)
