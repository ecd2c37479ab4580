"""Metrics that break their contract, each in one way; tests register them by their class names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from harmobench.base import Stateless
from harmobench.interface import Context, Reference, Row, Scan

NOBODY = Reference("A metric that nobody should use", "Nobody, N.", 2026)


@dataclass
class Odd(Stateless):
    """Scores each scan by 1; those below change what is told."""

    level: ClassVar[Literal["scan", "pair", "cohort"]] = "scan"
    reads: ClassVar[Literal["image"]] = "image"
    space: ClassVar[Literal["template"]] = "template"
    better: ClassVar[Literal["higher"]] = "higher"
    range: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))
    units: ClassVar[str] = ""
    structures: ClassVar[tuple[str, ...]] = ("brain",)
    reference: ClassVar[Reference] = NOBODY

    def score(self, scans: tuple[Scan, ...], state: object, context: Context) -> Iterable[Row]:
        return [self.row(scan) for scan in scans]

    def row(self, scan: Scan) -> Row:
        return Row("brain", self.value(scan), scanner=scan.scanner)

    def value(self, scan: Scan) -> float:
        return 1.0 + len(scan.scanner) / 10 + int(scan.subject) / 7


class Twice(Odd):
    """Tells every row twice."""

    def score(self, scans: tuple[Scan, ...], state: object, context: Context) -> Iterable[Row]:
        return [self.row(scan) for scan in (*scans, *scans)]


class Nobody(Odd):
    """Tells rows of a scanner that there is not."""

    def row(self, scan: Scan) -> Row:
        return Row("brain", 1.0, scanner="Nobody's")


class Reserved(Odd):
    """Names its structure as what stands beside a score."""

    structures = ("brain_true",)

    def row(self, scan: Scan) -> Row:
        return Row("brain_true", 1.0, scanner=scan.scanner)


class Tiny(Odd):
    """Tells values of which no square is a number."""

    def value(self, scan: Scan) -> float:
        return 1e-180 * super().value(scan)


class Huge(Odd):
    """Tells values of which every square is infinite."""

    def value(self, scan: Scan) -> float:
        return 1e200 * super().value(scan)


class Large(Odd):
    """Tells the largest values that are taken."""

    def value(self, scan: Scan) -> float:
        return 1e49 * super().value(scan)


class Small(Odd):
    """Tells the smallest values that are taken."""

    def value(self, scan: Scan) -> float:
        return 1e-50 * super().value(scan)
