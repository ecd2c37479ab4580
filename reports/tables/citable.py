"""The tables that can be cited, HB-T1 to HB-T12: one definition each, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harmobench.interface import Finished
from harmobench.reports.lookup import (
    IDENTICAL,
    Lookup,
    Number,
    Place,
    controls,
    eligible,
)
from harmobench.reports.provenance import provenance_line
from harmobench.reports.style import label, pair_label
from harmobench.reports.tables.account import costs, failures
from harmobench.reports.tables.captions import FAILED, SAME, STAR, sentences
from harmobench.reports.tables.companions import companions
from harmobench.reports.tables.definitions import DEFINITIONS, Definition
from harmobench.reports.tables.estimates import estimates
from harmobench.reports.tables.formats import Cell, Column, Table
from harmobench.reports.tables.guards import guards
from harmobench.reports.tables.rounding import Rounding, rises
from harmobench.reports.tables.rows import digits_of


def citable(run: Finished) -> list[Table]:
    """Return the tables of a run in the order of their ids.

    Tables that nothing was measured for say so; HB-T12, and tables that stand beside another, are
    there where they hold anything.
    """
    lookup, rounding = Lookup(run), Rounding(run)
    line = provenance_line(run.settings)
    tables = [_aggregates(run, lookup, rounding, each, line) for each in DEFINITIONS]
    tables += companions(run, line) + estimates(run, line) + guards(run, line)
    tables += [costs(run, line), failures(run, line)]
    return sorted(tables, key=_order)


def _order(table: Table) -> tuple[int, str]:
    """HB-T2 before HB-T10, and what stands beside a table after it."""
    number, _, beside = table.id.removeprefix("HB-T").partition("-")
    return int(number), beside


def _aggregates(
    run: Finished, lookup: Lookup, rounding: Rounding, definition: Definition, line: str
) -> Table:
    aggregate = definition.aggregates[0]
    places = lookup.cases(definition.metric, aggregate, pooled=definition.pooled)
    methods = list(run.design.methods)
    known = [_cells(run, lookup, rounding, definition, p, methods) for p in places]
    if definition.overall[0]:
        spreads = lookup.cases(definition.metric, definition.overall[0], pooled=True)
        spread = replace(definition, aggregates=(definition.overall[0], ""))
        known += [_cells(run, lookup, rounding, spread, p, methods) for p in spreads]
        places += spreads
    kept = [
        (p, c) for p, c in zip(places, known, strict=True) if any(x.value is not None for x in c)
    ]
    if not kept:
        reason = f"Not measured: {_missing(run, lookup, definition)}"
        return Table(definition.id, definition.title, definition.text, (), (), line, reason)
    build = _by_method if definition.wide else _by_place
    columns, rows = build(definition, methods, [p for p, _ in kept], [c for _, c in kept], lookup)
    same = any(IDENTICAL in cell.text for _, cells in kept for cell in cells)
    said = list(filter(None, sentences(run, lookup, definition, [p for p, _ in kept], same=same)))
    common = tuple(s for s in said if s in (STAR, SAME, FAILED) or s.startswith("Controls"))
    caption = " ".join(said)
    return Table(definition.id, definition.title, caption, columns, rows, line, common=common)


def _missing(run: Finished, lookup: Lookup, definition: Definition) -> str:
    if definition.id == "HB-T8" and (said := _no_effect(run, lookup, definition)):
        return said
    frame = lookup.aggregates
    frame = frame[
        (frame["metric"] == definition.metric)
        & (frame["aggregate"] == definition.aggregates[0])
        & (frame["reason"] != "")
    ]
    reason = str(frame["reason"].iloc[0]) if len(frame) else lookup.reason(definition.metric)
    return reason if reason.endswith(".") else f"{reason}."


def _no_effect(run: Finished, lookup: Lookup, definition: Definition) -> str:
    """Say why there is no effect size, where that is not for want of measures."""
    group = run.design.group
    if group is None:
        return "no clinical groups were named (--group COLUMN:first,second)."
    if not lookup.cases(definition.metric, definition.aggregates[0], pooled=True):
        return ""
    members = list(run.design.groups.values())
    sizes = [f"{members.count(name)} {name}" for name in (group.first, group.second)]
    return (
        "Cohen's d needs at least 2 measured subjects of each group and a spread among them; of "
        f"the run's subjects {' and '.join(sizes)} ({group.column})."
    )


def _cells(
    run: Finished,
    lookup: Lookup,
    rounding: Rounding,
    definition: Definition,
    place: Place,
    methods: Sequence[str],
) -> list[Cell]:
    numbers = [
        lookup.number(definition.metric, definition.aggregates[0], place, m) for m in methods
    ]
    best = _best(run, rounding, definition, place, dict(zip(methods, numbers, strict=True)))
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
    run: Finished,
    rounding: Rounding,
    definition: Definition,
    place: Place,
    numbers: dict[str, Number | None],
) -> frozenset[str]:
    """Return what is bold; differences that are rounding make nobody the best."""
    values = {m: x.value for m, x in numbers.items() if x is not None and x.value is not None}
    values = {m: values[m] for m in eligible(run.design) if m in values}
    metric = definition.metric
    if definition.best == "smallest" and values:
        least = min(values.values())
        found = {m for m, x in values.items() if rounding.equal(metric, place, x, least)}
        return frozenset(found if len(found) < len(values) else ())
    if definition.best == "above RAW" and "raw" in values:
        raw = values["raw"]
        risen = {m: x for m, x in values.items() if rises(x, raw)}
        return frozenset(m for m, x in risen.items() if not rounding.equal_d(metric, place, x, raw))
    return frozenset()


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
