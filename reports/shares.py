"""What a method leaves of the scanners and keeps of the subjects, as shares of RAW's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.comparisons import Case
from harmobench.reports.lookup import RIGOROUS, Lookup, Number, Place
from harmobench.reports.tables.rows import place

SHOWN = {"volume": ("gm", "wm"), "biomarker": ()}  # structures in a figure; none named: all
MOST = 4  # of them


@dataclass(frozen=True)
class Span:
    """A number of RAW's, with its interval where there is one."""

    value: float
    low: float
    high: float


Points = Mapping[str, tuple[Span, Span]]


def tools(run: Finished) -> list[str]:
    """Return the tools whose measures have components, in the tables' order."""
    return list(dict.fromkeys(case.tool for case in _cases(Lookup(run, RIGOROUS))))


def _cases(lookup: Lookup) -> list[Case]:
    return [
        Case(metric, p.tool, p.structure, p.space)
        for metric, wanted in SHOWN.items()
        for p in lookup.cases(metric, "component_scanner", pooled=True)
        if not wanted or p.structure in wanted
    ]


def cases_of(lookup: Lookup, tool: str) -> list[Case]:
    """Return a tool's structures that have a panel, those without a scanner effect last."""
    found = [case for case in _cases(lookup) if case.tool == tool]
    return sorted(found, key=lambda case: not relative(lookup, case, "scanner"))[:MOST]


def relative(lookup: Lookup, case: Case, which: str) -> dict[str, Span]:
    """Return the root of each method's component over RAW's; nothing where RAW has none."""
    name = f"component_{which}"
    numbers = {
        m: lookup.number(case.metric, name, place(case), m) for m in lookup.run.design.methods
    }
    raw = numbers.get("raw")
    if raw is None or raw.value is None or raw.value <= 0:
        return {}
    return {
        method: Span(*(float(np.sqrt(max(x, 0.0) / raw.value)) for x in _ends(number)))
        for method, number in numbers.items()
        if number is not None and number.value is not None
    }


def individuality(lookup: Lookup, where: Place | None) -> dict[str, Span]:
    """Return each method's individuality, which is a share of RAW's by itself."""
    if where is None:
        return {}
    found = {
        m: lookup.number("individuality", "individuality", where, m)
        for m in lookup.run.design.methods
    }
    return {m: Span(*_ends(x)) for m, x in found.items() if x is not None and x.value is not None}


def _ends(number: Number) -> tuple[float, float, float]:
    value = number.value if number.value is not None else float("nan")
    low = value if number.low is None else number.low
    return value, low, value if number.high is None else number.high


def undominated(points: Points) -> list[str]:
    """Return the methods that no other beats on both, by what they leave of the scanner.

    Less of the scanner is better; so is what is kept nearer to 1.

    >>> spans = {"a": (.2, .5), "b": (.5, .9), "c": (.6, .8), "d": (.5, 1.3)}
    >>> undominated({k: (Span(x, x, x), Span(y, y, y)) for k, (x, y) in spans.items()})
    ['a', 'b']
    """
    costs = {m: (x.value, abs(y.value - 1)) for m, (x, y) in points.items()}

    def beaten(own: tuple[float, float]) -> bool:
        return any(
            other[0] <= own[0] and other[1] <= own[1] and other != own for other in costs.values()
        )

    return sorted((m for m, cost in costs.items() if not beaten(cost)), key=lambda m: costs[m])
