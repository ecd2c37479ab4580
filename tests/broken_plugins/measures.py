"""Methods of measures, each of which breaks one rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from harmobench.base import MeasureMethod
from harmobench.interface import Reference


@dataclass
class Halves(MeasureMethod):
    """In order."""

    reference: ClassVar[Reference] = Reference("Halves", "N. N.", 2026)

    def transform(self, table: Any) -> Any:
        return table.assign(value=table["value"] / 2)


@dataclass
class DropsARow(Halves):
    """Returns fewer rows than it was given."""

    def transform(self, table: Any) -> Any:
        return table.iloc[1:]


@dataclass
class DividesByZero(Halves):
    """Returns what is no number on one scanner."""

    def transform(self, table: Any) -> Any:
        return table.assign(value=table["value"] / (table["scanner"] != "Philips"))


@dataclass
class Counts(Halves):
    """Gives each scan more than the one before."""

    def transform(self, table: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return table.assign(value=table["value"] + self.seen)


@dataclass
class CountsLate(Counts):
    """Changes after as many scans as a check's plays transform."""

    def transform(self, table: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return table.assign(value=table["value"] + max(self.seen, 8))


@dataclass
class ChangesTheTable(Halves):
    """Works on the table that it was given."""

    def transform(self, table: Any) -> Any:
        table["value"] /= 2
        return table
