"""Tables of runs that are no one benchmark, one run below the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from harmobench.interface import CONTROLS
from harmobench.reports.compare.differences import Difference
from harmobench.reports.compare.runs import Member, merged_order
from harmobench.reports.style import label
from harmobench.reports.tables.citable import citable
from harmobench.reports.tables.formats import Cell, Column, Table

RUN = Column("run", "Run")
NOT_RUN, NOT_MEASURED = "not run", "not measured"
COHORTS = (
    "The cohorts of these runs differ: numbers of different runs must not be compared as if they "
    "were of one cohort."
)
DEFINITIONS = (
    "The definitions of these runs differ: {what}. Numbers that follow from these are not one "
    "measure."
)
WITHIN = "Bold and * are within a run."
SENTENCE = re.compile(r"(?<=\.) (?=[A-Z*]|n = )")


def warnings(found: Sequence[Difference]) -> list[str]:
    """Sentences that every table of such runs has to say."""
    what = dict.fromkeys(d.what for d in found if d.kind == "definitions")
    said = [COHORTS] if any(d.kind == "cohorts" for d in found) else []
    return said + ([DEFINITIONS.format(what="; ".join(what))] if what else [])


def stacked(members: Sequence[Member], found: Sequence[Difference]) -> list[Table]:
    """Return each table that any of the runs has: the rows of all, and whose each is.

    Parameters
    ----------
    members
        The runs, in order.
    found
        In what they differ.
    """
    tables = [{table.id: table for table in citable(member.run)} for member in members]
    return [
        _stack(members, [own.get(id) for own in tables], warnings(found))
        for id in merged_order([list(own) for own in tables])
    ]


def _stack(members: Sequence[Member], tables: Sequence[Table | None], said: Sequence[str]) -> Table:
    first = next(table for table in tables if table is not None)
    columns = _columns([table.columns for table in tables if table is not None and table.rows])
    rows = [
        row
        for member, table in zip(members, tables, strict=True)
        for row in _rows(members, member, table, columns)
    ]
    names = [member.name for member in members]
    reasons = _reasons(names, tables)
    known = [table.caption if table and table.rows else None for table in tables]
    caption = [*said, *_captions(names, known), WITHIN, *(reasons if rows else ())]
    lines = [
        f"{name}: {table.provenance}"
        for name, table in zip(names, tables, strict=True)
        if table is not None
    ]
    return replace(
        first,
        caption=" ".join(caption if rows else said),
        columns=(RUN, *columns) if rows else (),
        rows=tuple(rows),
        provenance=" ".join(lines),
        reason="" if rows else " ".join(reasons),
    )


def _columns(orders: Sequence[Sequence[Column]]) -> list[Column]:
    """Columns of all; of one key and another heading, such as other units, apart."""
    every = merged_order(orders)
    keys = [column.key for column in every]
    return [replace(c, key=c.heading) if keys.count(c.key) > 1 else c for c in every]


def _rows(
    members: Sequence[Member], member: Member, table: Table | None, columns: Sequence[Column]
) -> list[tuple[Cell, ...]]:
    if table is None:
        return []
    places = {(column.key, column.heading): i for i, column in enumerate(table.columns)}
    headings = {column.heading: i for i, column in enumerate(table.columns)}
    found = []
    for row in table.rows:
        cells = [Cell(text=member.name, aside=row[0].aside)]
        for column in columns:
            place = places.get((column.key, column.heading))
            if place is None and column.key == column.heading:
                place = headings.get(column.heading)
            cells.append(_absent(members, member, column) if place is None else row[place])
        found.append(tuple(cells))
    return found


def _absent(members: Sequence[Member], member: Member, column: Column) -> Cell:
    """Return the cell of a column that the run's table has not."""
    if not column.measured:
        return Cell()
    every = {name for other in members for name in other.run.design.methods}
    whose = [name for name in every if column.key == name or column.heading in _headings(name)]
    own = [name for name in whose if name in member.run.design.methods]
    return Cell(text=NOT_RUN if whose and not own else NOT_MEASURED)


def _headings(method: str) -> tuple[str, ...]:
    """Return what the column of a method is called, or of one with its role in brackets."""
    return (label(method), *(f"{label(method)} ({role})" for role in CONTROLS))


def _captions(names: Sequence[str], captions: Sequence[str | None]) -> list[str]:
    """Return what all captions say, then what each says alone."""
    split = {
        name: SENTENCE.split(caption)
        for name, caption in zip(names, captions, strict=True)
        if caption is not None
    }
    common = [
        text
        for text in dict.fromkeys(t for own in split.values() for t in own)
        if all(text in own for own in split.values())
    ]
    alone = {name: [text for text in own if text not in common] for name, own in split.items()}
    return common + [f"{name}: {' '.join(own)}" for name, own in alone.items() if own]


def _reasons(names: Sequence[str], tables: Sequence[Table | None]) -> list[str]:
    """Say why a run has no rows here."""
    return [
        f"{name}: {table.reason if table else 'This table is not made of what it ran.'}"
        for name, table in zip(names, tables, strict=True)
        if table is None or not table.rows
    ]
