"""What the captions of the paper's tables say, a sentence at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harmobench.interface import Finished
from harmobench.reports.citing.words import joined
from harmobench.reports.lookup import Lookup, Place, controls, undeclared
from harmobench.reports.style import label
from harmobench.reports.tables.counts import counted
from harmobench.reports.tables.definitions import Definition
from harmobench.reports.tables.rows import tools_note

STAR = "* differs from RAW: paired t-test, p < .05, uncorrected."
SAME = "identical: no value differs from RAW's."
SMALLEST = (
    "Bold: the smallest of its {line}, RAW included, controls{undeclared} left out; none where all "
    "are equal."
)
ABOVE = "Bold: above RAW, in RAW's direction{undeclared}."
FAILED = "What failed stands in HB-T11."


def sentences(
    run: Finished,
    lookup: Lookup,
    definition: Definition,
    places: Sequence[Place],
    *,
    same: bool,
) -> Iterator[str]:
    """Yield what a reader must know of a table; `same`: whether a cell is called identical."""
    numbers = [
        lookup.number(definition.metric, definition.aggregates[0], place, method)
        for place in places
        for method in run.design.methods
        if place.scanner or definition.pooled
    ]
    known = [x for x in numbers if x is not None and x.value is not None]
    yield definition.text
    if not definition.wide:
        units = sorted({x.units for x in known} - {""})
        yield f"Units: {', '.join(units)}." if units else "No unit."
    if definition.id == "HB-T8" and run.design.group is not None:
        group = run.design.group
        yield f"d = ({group.first} - {group.second}) / pooled SD, by {group.column}."
        saw = [label(name) for name in run.design.methods if name in run.design.saw_group]
        if saw:
            yield f"{joined(saw)} saw the group and cannot be judged on it."
    yield from _how_measured(run, places)
    counts = sorted({x.n for x in known if x.n is not None})
    if counts:
        span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        yield f"n = {span} {_unit_of_n(definition)}."
    yield counted(run, [definition.metric])
    yield from _bold(run, definition)
    if definition.tested:
        yield STAR
    if same:
        yield SAME
    if aside := controls(run.design.methods):
        yield f"Controls, never ranked: {', '.join(map(label, aside))}."
    if len(run.failures):
        yield FAILED


def _bold(run: Finished, definition: Definition) -> Iterator[str]:
    plugins = any(undeclared(run.design, name) for name in run.design.methods)
    if definition.best == "smallest":
        also = " and undeclared plugins" if plugins else ""
        line = "column" if definition.wide else "row"
        yield SMALLEST.format(line=line, undeclared=also)
    elif definition.best:
        also = ", undeclared plugins left out" if plugins else ""
        yield ABOVE.format(undeclared=also)


def _how_measured(run: Finished, places: Sequence[Place]) -> Iterator[str]:
    """Say with what and in which space, where that is the same for all."""
    tools = sorted({p.tool for p in places} - {""})
    spaces = sorted({p.space for p in places} - {""})
    by = f" by {label(tools[0])}" if len(tools) == 1 else ""
    where = f" in {spaces[0]} space" if len(spaces) == 1 else ""
    if by or where:
        yield f"Measured{by}{where}."
    if note := tools_note(run, tools):
        yield note


def _unit_of_n(definition: Definition) -> str:
    return {
        "HB-T6": "pooled differences",
        "HB-T7": "pooled differences",
        "HB-T8": "scanners",
    }.get(definition.id, "subjects")
