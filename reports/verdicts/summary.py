"""The verdict in one screen: a line for each criterion, what each method removes and keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harmobench.interface import Finished
from harmobench.reports.lookup import RIGOROUS, Lookup, compared
from harmobench.reports.style import label
from harmobench.reports.tables.guards import lost_contrast
from harmobench.reports.verdicts.findings import Findings
from harmobench.reports.verdicts.kept import ratio
from harmobench.reports.verdicts.outcomes import Line, Outcome

GUARDS: dict[str, Literal["below", "above"]] = {  # and the side of RAW's 1 that is a fault
    "sharpness": "below",
    "noise": "above",
}
LOST = Outcome("contrast lost", "bad")
REMOVED, KEPT, IMAGE = "Removed: the scanner", "Kept: subjects and groups", "Kept: the image"
NOT_MEASURED = "not measured"
SHORT = 4  # letters of a structure's name that a cell has room for


@dataclass(frozen=True)
class Cell:
    """What one method came to on one criterion: (structure, outcome) of each of its lines."""

    outcomes: tuple[tuple[str, Outcome], ...]

    @property
    def tone(self) -> str:
        """The tone that all outcomes have, "bad" where some are, else ""."""
        tones = {outcome.tone for _, outcome in self.outcomes}
        return "bad" if "bad" in tones else tones.pop() if len(tones) == 1 else ""

    @property
    def words(self) -> str:
        """The word of all outcomes, or how many there are of each, such as "2 better"."""
        words = [outcome.word for _, outcome in self.outcomes]
        if len(set(words)) == 1:
            return words[0]
        return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))

    @property
    def tied(self) -> bool:
        """Whether it is better than RAW on every line, and not shown worse than another method."""
        return all(outcome.tied for _, outcome in self.outcomes)

    @property
    def reason(self) -> str:
        """Why nothing was measured, where that is said."""
        first = self.outcomes[0][1]
        return first.detail if first.word == NOT_MEASURED else ""

    @property
    def single(self) -> str:
        """The number with its interval, where there is one line alone."""
        return self.outcomes[0][1].short if len(self.outcomes) == 1 else ""

    @property
    def parts(self) -> list[tuple[str, str, Outcome]]:
        """(structure, its short name, outcome) of each of several lines."""
        if len(self.outcomes) == 1:
            return []
        return [(name, _short(name), outcome) for name, outcome in self.outcomes]


def _short(name: str) -> str:
    """Return the first word of a structure's name, cut where it is long."""
    first = name.split(" ")[0].rstrip(",")
    return first if len(first) <= SHORT else f"{first[: SHORT - 1]}."


@dataclass(frozen=True)
class Row:
    """A criterion with a cell for each method, and what its metric is known to reward."""

    criterion: str
    mark: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Summary:
    """Rows under their headings, and how many tasks failed for each method."""

    methods: tuple[str, ...]
    parts: tuple[tuple[str, tuple[Row, ...]], ...]
    failed: tuple[int, ...]


def summary(run: Finished, found: Findings) -> Summary:
    """Gather the lines of the rigorous verdict by criterion; nothing new is tested here."""
    methods = [name for name in compared(run.design.methods) if name != "raw"]
    parts = (
        (REMOVED, tuple(_rows(found.agreement))),
        (KEPT, tuple(_rows(found.kept))),
        (IMAGE, (*_guards(run, methods), *_rows(found.limits, "Slice consistency"))),
    )
    failures = run.failures["method"].value_counts()
    return Summary(
        found.methods,
        tuple((title, rows) for title, rows in parts if rows and methods),
        tuple(int(failures.get(method, 0)) for method in methods),
    )


def _rows(lines: Sequence[Line], only: str = "") -> Iterator[Row]:
    for criterion in dict.fromkeys(line.criterion for line in lines):
        if only not in criterion:
            continue
        same = [line for line in lines if line.criterion == criterion]
        names = [line.name.removeprefix(criterion).removeprefix(", ") for line in same]
        cells = (
            Cell(_measured(tuple(zip(names, outcomes, strict=True))))
            for outcomes in zip(*(line.outcomes for line in same), strict=True)
        )
        mark = next((line.mark for line in same if line.mark), "")
        yield Row(criterion, mark, tuple(cells))


def _measured(outcomes: tuple[tuple[str, Outcome], ...]) -> tuple[tuple[str, Outcome], ...]:
    """Leave out what is not asked of a method, such as some galleries where it has folds."""
    known = tuple(each for each in outcomes if each[1].word != NOT_MEASURED)
    return known or outcomes[:1]


def _guards(run: Finished, methods: Sequence[str]) -> Iterator[Row]:
    """Judge the image's guards against RAW's 1 as controls are judged."""
    lookup = Lookup(run, RIGOROUS)
    lost = [method for method in methods if lost_contrast(run, method)]
    for metric, bad in GUARDS.items():
        places = lookup.cases(metric, "mean", pooled=True)
        if not places:
            continue
        cells = []
        for method in methods:
            numbers = [lookup.number(metric, "mean", place, method) for place in places]
            outcomes = [
                LOST if method in lost else ratio(number, bad, "no change shown")
                for number in numbers
            ]
            names = [label(place.structure) for place in places]
            cells.append(Cell(tuple(zip(names, outcomes, strict=True))))
        yield Row(label(metric).capitalize(), "", tuple(cells))
