"""The tables that can be cited, HB-T1 to HB-T12: one definition each, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.account import costs, failures
from harmobench.reports.companions import companions
from harmobench.reports.counts import counted
from harmobench.reports.definitions import DEFINITIONS, Definition
from harmobench.reports.estimates import estimates
from harmobench.reports.formats import Cell, Column, Table
from harmobench.reports.guards import guards
from harmobench.reports.lookup import Lookup, Number, Place, controls, eligible, undeclared
from harmobench.reports.provenance import provenance_line
from harmobench.reports.rows import digits_of, tools_note
from harmobench.reports.style import label, pair_label

STAR = "* differs from RAW: paired t-test, p < .05, uncorrected; identical: no value differs."
SMALLEST = "Bold: the smallest of its {line}, RAW included, controls{undeclared} left out."
ABOVE = "Bold: above RAW, in RAW's direction{undeclared}."


def citable(run: Finished) -> list[Table]:
    """Return the tables of a run in the order of their ids.

    Tables that nothing was measured for say so; HB-T12, and tables that stand beside another, are
    there where they hold anything.
    """
    lookup = Lookup(run)
    line = provenance_line(run.settings)
    tables = [_aggregates(run, lookup, definition, line) for definition in DEFINITIONS]
    tables += companions(run, line) + estimates(run, line) + guards(run, line)
    tables += [costs(run, line), failures(run, line)]
    return sorted(tables, key=_order)


def _order(table: Table) -> tuple[int, str]:
    """HB-T2 before HB-T10, and what stands beside a table after it."""
    number, _, beside = table.id.removeprefix("HB-T").partition("-")
    return int(number), beside


def _aggregates(run: Finished, lookup: Lookup, definition: Definition, line: str) -> Table:
    aggregate = definition.aggregates[0]
    places = lookup.cases(definition.metric, aggregate, pooled=definition.pooled)
    methods = list(run.design.methods)
    known = [_cells(run, lookup, definition, p, methods) for p in places]
    if definition.overall[0]:
        spreads = lookup.cases(definition.metric, definition.overall[0], pooled=True)
        spread = replace(definition, aggregates=(definition.overall[0], ""))
        known += [_cells(run, lookup, spread, p, methods) for p in spreads]
        places += spreads
    kept = [
        (p, c) for p, c in zip(places, known, strict=True) if any(x.value is not None for x in c)
    ]
    if not kept:
        reason = f"Not measured: {_missing(run, lookup, definition)}"
        return Table(definition.id, definition.title, definition.text, (), (), line, reason)
    build = _by_method if definition.wide else _by_place
    columns, rows = build(definition, methods, [p for p, _ in kept], [c for _, c in kept], lookup)
    caption = _caption(run, lookup, definition, [p for p, _ in kept])
    return Table(definition.id, definition.title, caption, columns, rows, line)


def _missing(run: Finished, lookup: Lookup, definition: Definition) -> str:
    if definition.id == "HB-T8" and run.design.group is None:
        return "no clinical groups were named (--group COLUMN:first,second)."
    frame = lookup.aggregates
    frame = frame[
        (frame["metric"] == definition.metric)
        & (frame["aggregate"] == definition.aggregates[0])
        & (frame["reason"] != "")
    ]
    reason = str(frame["reason"].iloc[0]) if len(frame) else lookup.reason(definition.metric)
    return reason if reason.endswith(".") else f"{reason}."


def _cells(
    run: Finished, lookup: Lookup, definition: Definition, place: Place, methods: Sequence[str]
) -> list[Cell]:
    numbers = [
        lookup.number(definition.metric, definition.aggregates[0], place, m) for m in methods
    ]
    best = _best(run, definition, dict(zip(methods, numbers, strict=True)))
    most = max((x.n for x in numbers if x is not None and x.n is not None), default=None)
    return [
        _cell(lookup, definition, place, method, number, method in best, most)
        for method, number in zip(methods, numbers, strict=True)
    ]


def _cell(
    lookup: Lookup,
    definition: Definition,
    place: Place,
    method: str,
    number: Number | None,
    best: bool,
    most: int | None,
) -> Cell:
    if number is None or number.value is None:
        known = number.status if number else lookup.status(definition.metric, place, method)
        return Cell(text=known, aside=method in controls(lookup.run.design.methods))
    spread = definition.aggregates[1]
    short = "" if number.n in (None, most) else f" [n={number.n}]"
    same = definition.tested and lookup.identical(definition.metric, place, method)
    return Cell(
        number.value,
        lookup.value(definition.metric, spread, place, method) if spread else None,
        _digits(lookup, definition, place),
        number.n,
        definition.tested and lookup.significant(definition.metric, place, method),
        best,
        f"{short} [identical]" if same else short,
        aside=method in controls(lookup.run.design.methods),
    )


def _digits(lookup: Lookup, definition: Definition, place: Place) -> int:
    """Two decimals, or more where RAW-sized numbers would lose their second digit."""
    if definition.digits is not None:
        return definition.digits
    found = [
        lookup.value(definition.metric, definition.aggregates[0], other, method)
        for other in lookup.places(definition.metric, definition.aggregates[0])
        if (other.tool, other.structure) == (place.tool, place.structure)
        for method in lookup.run.design.methods
    ]
    return digits_of(found)


def _best(
    run: Finished, definition: Definition, numbers: dict[str, Number | None]
) -> frozenset[str]:
    values = {m: x.value for m, x in numbers.items() if x is not None and x.value is not None}
    values = {m: values[m] for m in eligible(run.design) if m in values}
    if definition.best == "smallest" and len(values) > 1:
        least = min(values.values())
        return frozenset(m for m, x in values.items() if np.isclose(x, least, rtol=1e-9, atol=0))
    if definition.best == "above RAW" and "raw" in values:
        return frozenset(m for m, x in values.items() if rises(x, values["raw"]))
    return frozenset()


def rises(value: float, raw: float) -> bool:
    """Whether an effect size is larger than RAW's, in RAW's direction."""
    return value * np.sign(raw) > abs(raw) if raw else False


def _caption(run: Finished, lookup: Lookup, definition: Definition, places: Sequence[Place]) -> str:
    numbers = [
        lookup.number(definition.metric, definition.aggregates[0], place, method)
        for place in places
        for method in run.design.methods
        if place.scanner or definition.pooled
    ]
    known = [x for x in numbers if x is not None and x.value is not None]
    sentences = [definition.text]
    if not definition.wide:
        units = sorted({x.units for x in known} - {""})
        sentences.append(f"Units: {', '.join(units)}." if units else "No unit.")
    if definition.id == "HB-T8" and run.design.group is not None:
        group = run.design.group
        sentences.append(f"d = ({group.first} - {group.second}) / pooled SD, by {group.column}.")
    sentences += _how_measured(places)
    counts = sorted({x.n for x in known if x.n is not None})
    if counts:
        span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        sentences.append(f"n = {span} {_unit_of_n(definition)}.")
    sentences.append(counted(run, [definition.metric]))
    plugins = any(undeclared(run.design, name) for name in run.design.methods)
    if definition.best == "smallest":
        also = " and undeclared plugins" if plugins else ""
        line = "column" if definition.wide else "row"
        sentences.append(SMALLEST.format(line=line, undeclared=also))
    elif definition.best:
        also = ", undeclared plugins left out" if plugins else ""
        sentences.append(ABOVE.format(undeclared=also))
    if definition.tested:
        sentences.append(STAR)
    if aside := controls(run.design.methods):
        sentences.append(f"Controls, never ranked: {', '.join(map(label, aside))}.")
    if len(run.failures):
        sentences.append("What failed stands in HB-T11.")
    return " ".join(filter(None, sentences))


def _how_measured(places: Sequence[Place]) -> Iterator[str]:
    """Say with what and in which space, where that is the same for all."""
    tools = sorted({p.tool for p in places} - {""})
    spaces = sorted({p.space for p in places} - {""})
    by = f" by {label(tools[0])}" if len(tools) == 1 else ""
    where = f" in {spaces[0]} space" if len(spaces) == 1 else ""
    if by or where:
        yield f"Measured{by}{where}."
    yield tools_note(tools)


def _unit_of_n(definition: Definition) -> str:
    return {
        "HB-T6": "pooled differences",
        "HB-T7": "pooled differences",
        "HB-T8": "scanners",
    }.get(definition.id, "subjects")


def _by_place(
    definition: Definition,
    methods: Sequence[str],
    places: Sequence[Place],
    cells: Sequence[Sequence[Cell]],
    lookup: Lookup,
) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    paired = any(p.reference_scanner for p in places)
    several = len({p.structure for p in places}) > 1 or definition.metric in ("volume", "dice")
    readers: list[tuple[str, bool, Callable[[Place], str]]] = [
        ("tool", any(p.tool for p in places), lambda p: label(p.tool)),
        ("space", len({p.space for p in places}) > 1, lambda p: p.space),
        ("structure", several, lambda p: label(p.structure)),
        (
            "scanner pair" if paired else "scanner",
            any(p.scanner for p in places),
            lambda p: _where(definition, p),
        ),
    ]
    shown = [(name, read) for name, wanted, read in readers if wanted]
    columns = [Column(name, name.capitalize()) for name, _ in shown]
    columns += [Column(name, label(name), measured=True) for name in methods]
    rows = [
        (*(Cell(text=read(p)) for _, read in shown), *line)
        for p, line in zip(places, cells, strict=True)
    ]
    return tuple(columns), tuple(rows)


def _where(definition: Definition, place: Place) -> str:
    if place.reference_scanner:
        return pair_label((place.scanner, place.reference_scanner))
    return place.scanner or definition.overall[1]


def _by_method(
    definition: Definition,
    methods: Sequence[str],
    places: Sequence[Place],
    cells: Sequence[Sequence[Cell]],
    lookup: Lookup,
) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    several = len({p.tool for p in places}) > 1
    columns = [Column("method", "Method")]
    for place in places:
        number = next(
            x
            for m in methods
            if (x := lookup.number(definition.metric, definition.aggregates[0], place, m))
            and x.value is not None
        )
        units = f" ({number.units})" if number.units else ""
        tool = f"{label(place.tool)} " if several else ""
        key = f"{place.tool} {place.structure}" if several else place.structure
        columns.append(Column(key, f"{tool}{label(place.structure)}{units}", measured=True))
    aside = controls(lookup.run.design.methods)
    rows = [
        (Cell(text=label(method), aside=method in aside), *(line[i] for line in cells))
        for i, method in enumerate(methods)
    ]
    return tuple(columns), tuple(rows)
