"""Finding numbers in the tables of a run; nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.style import order

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05  # paper, section 2.5
MODE = "paper"
STATUS = {
    "failed": "failed",
    "undefined": "undefined",
    "not_applicable": "not applicable",
    "not_measured": "not measured",
}


@dataclass(frozen=True)
class Place:
    """What a number belongs to, beside its method: a row of a table."""

    tool: str = ""
    structure: str = ""
    space: str = ""
    scanner: str = ""
    reference_scanner: str = ""


@dataclass(frozen=True)
class Number:
    """An aggregate as it stands in the run's table."""

    value: float | None
    n: int | None
    status: str
    reason: str
    units: str


class Lookup:
    """Aggregates and tests of the paper's mode, first repeat, by what they belong to."""

    def __init__(self, run: Finished) -> None:
        self.run = run
        self._places: dict[tuple[str, str], list[Place]] = {}

    @cached_property
    def aggregates(self) -> pd.DataFrame:
        """Aggregates of the paper's mode, of the first repeat."""
        return first_repeat(paper(self.run.aggregates))

    @cached_property
    def _numbers(self) -> Mapping[tuple[str, str, Place, str], Number]:
        found: dict[tuple[str, str, Place, str], Number] = {}
        for row in self.aggregates.to_dict("records"):
            key = (str(row["metric"]), str(row["aggregate"]), _place(row), str(row["method"]))
            found.setdefault(key, _number(row))
        return found

    @cached_property
    def _significant(self) -> frozenset[tuple[str, str, str, str, str, str]]:
        frame = first_repeat(paper(self.run.comparisons))
        frame = frame[(frame["comparator"] == "raw") & (frame["status"] == "ok")]
        frame = frame[frame["p"] < ALPHA]
        names = ["metric", "tool", "structure", "scanner", "reference_scanner", "method"]
        return frozenset(frame[names].itertuples(index=False, name=None))

    def number(self, metric: str, aggregate: str, place: Place, method: str) -> Number | None:
        """One aggregate, or None where the run has none."""
        return self._numbers.get((metric, aggregate, place, method))

    def value(self, metric: str, aggregate: str, place: Place, method: str) -> float | None:
        """One aggregate's number, or None."""
        number = self.number(metric, aggregate, place, method)
        return number.value if number else None

    def significant(self, metric: str, place: Place, method: str) -> bool:
        """Whether the method differs from RAW here: paired t-test, p < .05, uncorrected."""
        pair = (place.scanner, place.reference_scanner)
        return (metric, place.tool, place.structure, *pair, method) in self._significant

    def places(self, metric: str, aggregate: str) -> list[Place]:
        """All that this aggregate was made for: by tool, space, structure, then scanner order."""
        if (metric, aggregate) not in self._places:
            self._places[metric, aggregate] = self._sorted(metric, aggregate)
        return list(self._places[metric, aggregate])

    def _sorted(self, metric: str, aggregate: str) -> list[Place]:
        found = {k[2] for k in self._numbers if k[0] == metric and k[1] == aggregate}
        scanners = {name: i for i, name in enumerate(("", *self.run.design.scanners))}
        structures = order([place.structure for place in found])
        far = len(scanners)

        def key(place: Place) -> tuple[object, ...]:
            pair = (place.scanner, place.reference_scanner)
            where = tuple(scanners.get(name, far) for name in pair)
            head = (place.tool, place.space, structures.index(place.structure))
            # "" is over all scanners: the last line of its block
            return (*head, pair[0] == "", *where, *pair)

        return sorted(found, key=key)

    def cases(self, metric: str, aggregate: str, *, pooled: bool = False) -> list[Place]:
        """Places of each scanner or pair; `pooled`: those over all scanners or pairs."""
        return [p for p in self.places(metric, aggregate) if bool(p.scanner) != pooled]

    def status(self, metric: str, place: Place, method: str) -> str:
        """Why a method has no number here: what became of all its scores, else "not measured"."""
        whole = Place(place.tool, place.structure, place.space)
        for aggregate in ("bias", "mean"):
            number = self.number(metric, aggregate, whole, method)
            if number is not None and number.status:
                return number.status
        return "not measured"

    def reason(self, metric: str) -> str:
        """Why the run has no number of this metric."""
        for frame in (self.aggregates, self.run.scores):
            rows = frame[(frame["metric"] == metric) & (frame["reason"] != "")]
            if len(rows):
                return str(rows["reason"].iloc[0])
        if metric in self.run.design.metrics:
            return "The run left no value of this metric."
        return "This metric was not part of the run."


def paper(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the paper's statistics."""
    return frame.loc[frame["mode"] == MODE]


def first_repeat(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first repeat; a report shows one, the tables of the run hold them all."""
    return frame.loc[frame["repeat"] == frame["repeat"].min()] if len(frame) else frame


def scores(run: Finished, metric: str, **where: str) -> pd.DataFrame:
    """Return a metric's values: first repeat, status ok, finite."""
    frame = first_repeat(run.scores)
    frame = frame.loc[(frame["metric"] == metric) & (frame["status"] == "ok")]
    for name, wanted in where.items():
        frame = frame.loc[frame[name] == wanted]
    return frame.loc[frame["value"].abs() < np.inf]  # drops NaN too


def measured(run: Finished, metric: str, column: str) -> list[str]:
    """Names in a column of a metric's scores, such as its tools, in the paper's order."""
    return order([str(name) for name in scores(run, metric)[column].unique()])


def compared(methods: Mapping[str, str]) -> list[str]:
    """Methods that may be best: controls are there to test the metrics, not to win."""
    return [name for name, role in methods.items() if role in ("contender", "baseline")]


def _place(row: Mapping[Any, Any]) -> Place:
    return Place(*(str(row[name]) for name in Place.__dataclass_fields__))


def _number(row: Mapping[Any, Any]) -> Number:
    value = float(row["value"])
    known = row["status"] == "ok" and bool(np.isfinite(value))
    n = int(row["n"])
    status = "" if known else STATUS.get(str(row["status"]), "undefined")
    return Number(
        value if known else None, n if n >= 0 else None, status, str(row["reason"]), row["units"]
    )


def values_by(
    frame: pd.DataFrame, names: Sequence[str]
) -> dict[tuple[str, ...], list[tuple[str, float]]]:
    """Group values: the names' values to (subject, value) pairs."""
    found: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    columns = [*names, "subject", "value"]
    for *key, subject, value in frame[columns].itertuples(index=False, name=None):
        found.setdefault(tuple(key), []).append((subject, float(value)))
    return found
