"""Finding numbers in the tables of a run; nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import ASIDE, Finished
from harmobench.reports.style import order

if TYPE_CHECKING:
    import pandas as pd

    from harmobench.interface import Design

ALPHA = 0.05  # paper, section 2.5; the rigorous mode's level too
PAPER, RIGOROUS = "paper", "rigorous"
IDENTICAL = "identical"  # the reason of tests where no value differs
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
    """An aggregate as it stands in the run's table; `interval` says how low and high were made."""

    value: float | None
    n: int | None
    status: str
    reason: str
    units: str
    low: float | None = None
    high: float | None = None
    interval: str = ""


class Lookup:
    """Aggregates (and the paper's tests) of one mode, first repeat, by what they belong to."""

    def __init__(self, run: Finished, mode: str = PAPER) -> None:
        self.run = run
        self.mode = mode
        self._places: dict[tuple[str, str], list[Place]] = {}

    @cached_property
    def aggregates(self) -> pd.DataFrame:
        """Aggregates of this mode, of the first repeat."""
        return first_repeat(of_mode(self.run.aggregates, self.mode))

    @cached_property
    def _numbers(self) -> Mapping[tuple[str, str, Place, str], Number]:
        found: dict[tuple[str, str, Place, str], Number] = {}
        for row in records(self.aggregates):
            key = (str(row["metric"]), str(row["aggregate"]), _place(row), str(row["method"]))
            found.setdefault(key, _number(row))
        return found

    @cached_property
    def _tests(self) -> pd.DataFrame:
        frame = first_repeat(of_mode(self.run.comparisons, PAPER))
        return frame[(frame["comparator"] == "raw") & (frame["status"] == "ok")]

    @cached_property
    def _significant(self) -> frozenset[tuple[str, ...]]:
        return _keys(self._tests[self._tests["p"] < ALPHA])

    @cached_property
    def _identical(self) -> frozenset[tuple[str, ...]]:
        return _keys(self._tests[self._tests["reason"] == IDENTICAL])

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

    def identical(self, metric: str, place: Place, method: str) -> bool:
        """Whether all of the method's values here are RAW's, so that there is nothing to test."""
        pair = (place.scanner, place.reference_scanner)
        return (metric, place.tool, place.structure, *pair, method) in self._identical

    def places(self, metric: str, aggregate: str) -> list[Place]:
        """All that this aggregate was made for: by tool, space, structure, then scanner order.

        Structures that stand beside a score (`ASIDE`) are none of them.
        """
        if (metric, aggregate) not in self._places:
            self._places[metric, aggregate] = self._sorted(metric, aggregate)
        return list(self._places[metric, aggregate])

    def _sorted(self, metric: str, aggregate: str) -> list[Place]:
        found = {k[2] for k in self._numbers if k[0] == metric and k[1] == aggregate}
        found = {place for place in found if not place.structure.endswith(ASIDE)}
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


def of_mode(frame: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Rows of one mode's statistics: the paper's, or the rigorous ones."""
    return frame.loc[frame["mode"] == mode]


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield rows by column name, many times faster than pandas does for text columns."""
    names = [str(name) for name in frame.columns]
    columns = [frame[name].to_numpy(dtype=object) for name in names]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def first_repeat(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first repeat; a report shows one, the tables of the run hold them all."""
    return frame.loc[frame["repeat"] == frame["repeat"].min()] if len(frame) else frame


def scores(run: Finished, metric: str, **where: str) -> pd.DataFrame:
    """Return a metric's values: first repeat, status ok, finite.

    Structures that stand beside a score are left out, unless one is asked for by its name.
    """
    frame = first_repeat(run.scores)
    frame = frame.loc[(frame["metric"] == metric) & (frame["status"] == "ok")]
    for name, wanted in where.items():
        frame = frame.loc[frame[name] == wanted]
    if "structure" not in where:
        frame = frame.loc[~frame["structure"].str.endswith(ASIDE)]
    return frame.loc[frame["value"].abs() < np.inf]  # drops NaN too


def measured(run: Finished, metric: str, column: str) -> list[str]:
    """Names in a column of a metric's scores, such as its tools, in the paper's order."""
    return order([str(name) for name in scores(run, metric)[column].unique()])


def compared(methods: Mapping[str, str]) -> list[str]:
    """Methods that are compared: controls are there to test the metrics, not to win."""
    return [name for name, role in methods.items() if role in ("contender", "baseline")]


def undeclared(design: Design, method: str) -> bool:
    """Whether a method is a plugin that nobody named: it was tested in a family of its own."""
    return bool(design.declared) and method not in design.declared and method != "raw"


def eligible(design: Design) -> list[str]:
    """Methods that may be best, RAW among them: no controls, no undeclared plugins."""
    return [name for name in compared(design.methods) if not undeclared(design, name)]


def controls(methods: Mapping[str, str]) -> list[str]:
    """Methods that are never ranked."""
    return [name for name in methods if name not in compared(methods)]


def _place(row: Mapping[Any, Any]) -> Place:
    return Place(*(str(row[name]) for name in Place.__dataclass_fields__))


def _keys(frame: pd.DataFrame) -> frozenset[tuple[str, ...]]:
    names = ["metric", "tool", "structure", "scanner", "reference_scanner", "method"]
    return frozenset(frame[names].itertuples(index=False, name=None))


def _number(row: Mapping[Any, Any]) -> Number:
    value = known(row["value"]) if row["status"] == "ok" else None
    return Number(
        value,
        int(row["n"]) if row["n"] >= 0 else None,
        "" if value is not None else STATUS.get(str(row["status"]), "undefined"),
        str(row["reason"]),
        row["units"],
        known(row["low"]),
        known(row["high"]),
        str(row["interval"]),
    )


def known(number: Any) -> float | None:
    """Return a number of a table; None where it has none there."""
    value = float(number)
    return value if np.isfinite(value) else None


def values_by(
    frame: pd.DataFrame, names: Sequence[str]
) -> dict[tuple[str, ...], list[tuple[str, float]]]:
    """Group values: the names' values to (subject, value) pairs."""
    found: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    columns = [*names, "subject", "value"]
    for *key, subject, value in frame[columns].itertuples(index=False, name=None):
        found.setdefault(tuple(key), []).append((subject, float(value)))
    return found
