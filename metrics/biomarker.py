"""Biomarkers of Alzheimer's disease (paper, section 2.5, Tables 3 and 4, Fig. 11)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import ClassVar, Literal

from harmobench.base import Stateless
from harmobench.interface import Better, Context, Measure, Reference, Row, Scan, State

UNITS = {"entorhinal": "mm", "inferior_temporal": "mm", "hippocampus": "ml", "amygdala": "ml"}


@dataclass
class Biomarker(Stateless):
    """Thickness of two cortices (mm) and volume of two nuclei (ml), left and right summed."""

    level: ClassVar[Literal["scan"]] = "scan"
    reads: ClassVar[Literal["measures"]] = "measures"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Better] = "equal"
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    units: ClassVar[str] = "mm or ml"
    structures: ClassVar[tuple[str, ...]] = tuple(UNITS)
    reference: ClassVar[Reference] = Reference(
        title="A large-scale comparison of cortical thickness and volume methods for measuring "
        "Alzheimer's disease severity",
        authors="Schwarz CG, Gunter JL, Wiste HJ, Przybelski SA, et al.",
        year=2016,
        venue="NeuroImage: Clinical 11, 802-812",
        doi="10.1016/j.nicl.2016.05.017",
        key="schwarz2016biomarkers",
    )

    def score(
        self, scans: tuple[Scan, ...], state: State | None, context: Context
    ) -> Iterable[Row]:
        """Yield a row for each scan and biomarker."""
        for scan in scans:
            for structure in self.structures:
                yield biomarker_row(scan.scanner, structure, scan.measures)


def biomarker_row(scanner: str, structure: str, measures: Sequence[Measure] | None) -> Row:
    """One biomarker of one scan, `not_measured` where the tool did not measure it.

    Measures of the same name, as a tool may give for the two hemispheres, are summed.

    >>> biomarker_row("GE", "amygdala", (Measure("amygdala", 1.5, "ml"),)).value
    1.5
    """
    expected = UNITS[structure]
    found = [m for m in measures or () if m.structure == structure]
    if not found:
        reason = "no morphometry of this scan" if measures is None else "not among the measures"
        return Row(structure, None, expected, scanner, status="not_measured", reason=reason)
    units = sorted({m.units for m in found})
    value = fsum(m.value for m in found)
    if units != [expected] or not isfinite(value):
        reason = f"expected a finite number in {expected}, found {value:g} {' and '.join(units)}"
        return Row(structure, None, expected, scanner, status="failed", reason=reason)
    return Row(structure, value, expected, scanner)
