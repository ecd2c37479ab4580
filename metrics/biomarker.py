"""Biomarkers of Alzheimer's disease (paper, section 2.5, Tables 3 and 4, Fig. 11)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from harmobench.base import Stateless
from harmobench.interface import Better, Context, Reference, Row, Scan, State


@dataclass
class Biomarker(Stateless):
    """What the morphometry tool measured; the paper's four are of FreeSurfer.

    `structures` are the paper's, for rows of scans that no tool measured.

    Examples
    --------
    >>> from pathlib import Path
    >>> from harmobench.interface import Measure
    >>> measured = (Measure("hippocampus", 7.25, "ml"),)
    >>> scan = Scan("01", "GE", Path("t1.nii.gz"), measures=measured)
    >>> [(row.structure, row.value) for row in Biomarker().score((scan,), None, None)]
    [('hippocampus', 7.25)]
    """

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["measures"]] = "measures"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "equal"
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    units: ClassVar[str] = "mm or ml"
    structures: ClassVar[tuple[str, ...]] = (
        "entorhinal",
        "inferior_temporal",
        "hippocampus",
        "amygdala",
    )
    reference: ClassVar[Reference] = Reference(
        title="A large-scale comparison of cortical thickness and volume methods for measuring "
        "Alzheimer's disease severity",
        authors="Schwarz CG, Gunter JL, Wiste HJ, Przybelski SA, Weigand SD, Ward CP, Senjem ML, "
        "Vemuri P, Murray ME, Dickson DW, Parisi JE, Kantarci K, Weiner MW, Petersen RC, Jack CR",
        year=2016,
        venue="NeuroImage: Clinical 11, 802-812",
        doi="10.1016/j.nicl.2016.05.017",
        key="schwarz2016biomarkers",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan and structure that the tool measured."""
        for scan in scans:
            if scan.measures is None:
                for structure in self.structures:
                    reason = "no morphometry of this scan"
                    yield Row(structure, None, "", scan.scanner, "", "not_measured", reason)
            for measure in scan.measures or ():
                yield Row(measure.structure, measure.value, measure.units, scan.scanner)
