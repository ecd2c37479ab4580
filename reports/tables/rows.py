"""Tables with a line for each method under each structure: their heads, names and numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harmobench.interface import Finished
from harmobench.measures import BUILT_IN
from harmobench.reports.comparisons import THRESHOLDED, Case
from harmobench.reports.lookup import Number, Place, compared, controls, undeclared
from harmobench.reports.style import label
from harmobench.reports.tables.formats import Cell, Column

if TYPE_CHECKING:
    from harmobench.interface import Design

ESTIMATE = ("low", "high", "n")  # what CSV has beside an estimate
P_DIGITS = 4
ELLIPSOIDS = "regions drawn as ellipsoids"  # what the built-in atlas says of its space
WHOLE = ("brain", "gm-wm")  # structures that go without saying
REGISTRATION = (
    "template"  # the control that carries, in native space, the transforms' anatomy alone
)
REGISTRATION_LABEL = "registration only (template)"

Line = tuple[Case, str, Sequence[Cell]]  # a structure, a method, and the cells behind its name


def place(case: Case) -> Place:
    """Return where a case's aggregates over all scanners stand."""
    return Place(case.tool, case.structure, case.space)


def lined(methods: Mapping[str, str], *, raw: bool = True) -> list[str]:
    """Return methods in the order of a table's lines: controls below."""
    ranked = [name for name in compared(methods) if raw or name != "raw"]
    return ranked + controls(methods)


def named(design: Design, case: Case, method: str) -> str:
    """Return a method's name in a line, with what it is there for where it is never ranked."""
    if method == REGISTRATION and case.space == "native":
        return REGISTRATION_LABEL
    if method in controls(design.methods):
        return f"{label(method)} ({design.methods[method]})"
    return f"{label(method)} (not declared)" if undeclared(design, method) else label(method)


def columns_and_rows(
    run: Finished, columns: Sequence[Column], lines: Iterable[Line], *, measures: bool = True
) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    """Put what each line is about before its cells, and leave out columns that are empty.

    `measures`: whether lines say which measure they are of, where there are several.
    """
    every = list(lines)
    heads = _heads(run, [case for case, _, _ in every])
    heads = [head for head in heads if measures or head[0].key != "measure"]
    aside = set(controls(run.design.methods))
    rows = [
        (
            *(Cell(text=read(case), aside=method in aside) for _, read in heads),
            Cell(text=named(run.design, case, method), aside=method in aside),
            *cells,
        )
        for case, method, cells in every
    ]
    shown = [*(column for column, _ in heads), Column("method", "Method"), *columns]
    kept = [i for i in range(len(shown)) if i <= len(heads) or any(row[i].shown for row in rows)]
    return tuple(shown[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows)


def _heads(run: Finished, cases: Sequence[Case]) -> list[tuple[Column, Callable[[Case], str]]]:
    """Columns that say what a line is about, where lines differ in it."""
    units = units_of(run)
    measured = {units.get(case, "") for case in cases}
    readers: list[tuple[str, bool, Callable[[Case], str]]] = [
        ("measure", len({c.metric for c in cases}) > 1, lambda c: c.measure),
        ("tool", any(c.tool for c in cases), lambda c: label(c.tool)),
        ("space", len({c.space for c in cases if c.tool}) > 1, lambda c: c.space),
        (
            "structure",
            any(c.structure not in WHOLE for c in cases),
            lambda c: structure_label(c.structure),
        ),
        ("units", measured != {""}, lambda c: units.get(c, "")),
    ]
    return [(Column(name, name.capitalize()), read) for name, wanted, read in readers if wanted]


def units_of(run: Finished) -> dict[Case, str]:
    """Return the units of the scores of each case."""
    return dict(_units(run.scores))


def _units(scores: object) -> Iterator[tuple[Case, str]]:
    names = ["metric", "tool", "structure", "space", "units"]
    for *words, units in scores[names].drop_duplicates().itertuples(index=False, name=None):  # type: ignore[index]
        yield Case(*words), units


def digits_of(values: Iterable[float | None], least: int = 2, most: int = 4) -> int:
    """Decimals with which numbers of this size keep two digits.

    >>> digits_of([0.0123, 0.02]), digits_of([600.0]), digits_of([])
    (3, 2, 2)
    """
    sizes = [abs(x) for x in values if x]
    if not sizes:
        return least
    return int(np.clip(1 - np.floor(np.log10(np.median(sizes))), least, most))


def estimate(number: Number | None, digits: int) -> Cell:
    """Return an aggregate with its interval, or why there is none."""
    if number is None:
        return Cell()
    if number.value is None:
        return Cell(text=number.status)
    return Cell(number.value, digits=digits, n=number.n, low=number.low, high=number.high)


def p_value(p: float | None) -> Cell:
    """Return a p, to four decimals."""
    return Cell() if p is None else Cell(p, digits=P_DIGITS, p=True)


def how_intervals(numbers: Iterable[Number | None]) -> str:
    """Say how the intervals of these aggregates were made."""
    made = sorted({x.interval for x in numbers if x is not None and x.low is not None} - {""})
    return f"Intervals (95%): {'; '.join(made)}." if made else ""


def tools_note(run: Finished, tools: Collection[str]) -> str:
    """Say what the built-in region measures are, where they are among these tools."""
    if BUILT_IN not in tools:
        return ""
    drawn = ", which are drawn as ellipsoids" if drawn_regions(run) else ""
    return f"{BUILT_IN}: grey matter within the atlas's regions{drawn}; it is not FreeSurfer."


def drawn_regions(run: Finished) -> bool:
    """Whether the atlas's regions are ellipsoids, as the built-in atlas's are, and no anatomy."""
    atlas = run.settings.get("atlas")
    return isinstance(atlas, Mapping) and ELLIPSOIDS in str(atlas.get("space", ""))


def structure_label(name: str) -> str:
    """Return a structure's name; one that is held against thresholded truth says so.

    >>> structure_label("gm"), structure_label("gm_p80")
    ('GM', 'GM (p80)')
    """
    base, thresholded, _ = name.partition(THRESHOLDED)
    return f"{label(base)} (p80)" if thresholded else label(name)
