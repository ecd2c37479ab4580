"""Tables of estimates with their intervals: HB-T9, and the rigorous forms of HB-T3, T7 and T8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harmobench.interface import SPREADS, Finished
from harmobench.reports.comparisons import Case
from harmobench.reports.lookup import RIGOROUS, Lookup, Number, controls
from harmobench.reports.style import pair_label
from harmobench.reports.tables.counts import counted
from harmobench.reports.tables.coverage import coverage_note
from harmobench.reports.tables.formats import Cell, Column, Table
from harmobench.reports.tables.quantities import (
    AGAINST_TRUTH,
    AGREEMENT,
    DETAILS,
    EFFECTS,
    MEASURES,
    RMSDS,
    SEEDS,
    Estimates,
    Quantity,
)
from harmobench.reports.tables.rows import (
    ESTIMATE,
    REGISTRATION,
    REGISTRATION_LABEL,
    Line,
    columns_and_rows,
    digits_of,
    estimate,
    how_intervals,
    lined,
    place,
    tools_note,
)

LIMITS = ("bland_altman_bias", "bland_altman_low", "bland_altman_high")
KEPT = (
    f"In native space the line '{REGISTRATION_LABEL}' says how much anatomy the transforms alone "
    "give back: a subject component or an effect size counts as kept only beside it."
)
ASIDE = "Controls stand below in lines of their own, never ranked."


def estimates(run: Finished, line: str) -> list[Table]:
    """Return the tables of estimates that have any number, HB-T9 always."""
    lookup = Lookup(run, RIGOROUS)
    every = (*RMSDS, EFFECTS, AGREEMENT, DETAILS, AGAINST_TRUTH, _seeds(run))
    tables = [_table(run, lookup, definition, line) for definition in every]
    tables.append(_limits(run, lookup, line))
    return [table for table in tables if table.rows or table.id == AGREEMENT.id]


def _seeds(run: Finished) -> Estimates:
    return Estimates(
        "HB-T9-seeds",
        "Seeds and subjects",
        tuple(dict.fromkeys([*run.design.metrics, *SPREADS.values()])),
        SEEDS,
        "Methods trained again with other seeds and folds: SD of subjects' values over seeds, over "
        "subjects, and what is left (subjects x repeats, both random), in the units of the line. A "
        "difference no larger than the seed SD may be the seed's. An SD of 0 without an interval "
        "was cut off at 0: it is not known to be 0.",
    )


def _table(run: Finished, lookup: Lookup, definition: Estimates, line: str) -> Table:
    cases = _cases(lookup, definition)
    known = [
        _number(lookup, case, q, m)
        for case in cases
        for q in definition.quantities
        for m in run.design.methods
    ]
    if not any(number is not None and number.value is not None for number in known):
        reason = f"Not measured: {_why(lookup, definition)}"
        return Table(definition.id, definition.title, definition.text, (), (), line, reason)
    columns = [
        Column("n", "n", True, ()),
        *(Column(q.heading, q.heading, True, ESTIMATE) for q in definition.quantities),
        Column("group", "Saw the group"),
        Column("note", "Note"),
    ]
    lines = _lines(run, lookup, definition, cases)
    shown, rows = columns_and_rows(run, columns, lines, measures=definition.metrics != MEASURES)
    names = [q.aggregate for q in definition.quantities]
    sentences = [definition.text, how_intervals(known), coverage_note(names), _sizes(known)]
    if definition.quantities != SEEDS:  # of methods that were trained again, on what all have
        sentences.append(counted(run, definition.metrics))
    native = any(case.space == "native" for case in cases)
    if definition.native and native and REGISTRATION in run.design.methods:
        sentences.append(KEPT)
    if controls(run.design.methods):
        sentences.append(ASIDE)
    sentences.append(tools_note(run, {case.tool for case in cases}))
    sentences = [sentence for sentence in sentences if sentence]
    common = tuple(s for s in sentences if s in (ASIDE, KEPT))
    caption = " ".join(sentences)
    return Table(definition.id, definition.title, caption, shown, rows, line, common=common)


def _cases(lookup: Lookup, definition: Estimates) -> list[Case]:
    return list(
        dict.fromkeys(
            Case(metric, p.tool, p.structure, p.space)
            for metric in definition.metrics
            for quantity in definition.quantities
            for p in lookup.cases(metric, quantity.aggregate, pooled=True)
        )
    )


def _why(lookup: Lookup, definition: Estimates) -> str:
    reason = next(
        (
            r
            for m in definition.metrics
            if m in lookup.run.design.metrics and (r := lookup.reason(m))
        ),
        "no such measure was part of the run",
    )
    return reason if reason.endswith(".") else f"{reason}."


def _number(lookup: Lookup, case: Case, quantity: Quantity, method: str) -> Number | None:
    number = lookup.number(case.metric, quantity.aggregate, place(case), method)
    if number is None:
        return None
    if quantity.is_sd and number.high is not None and number.high <= 0:
        number = replace(number, low=None, high=None)  # [0, 0] would look like certainty
    if not quantity.root:
        return number
    return replace(
        number, value=_root(number.value), low=_root(number.low), high=_root(number.high)
    )


def _root(variance: float | None) -> float | None:
    """Return a variance as an SD; a corrected one may be below 0."""
    return None if variance is None else float(np.sqrt(max(variance, 0.0)))


def _lines(
    run: Finished, lookup: Lookup, definition: Estimates, cases: Sequence[Case]
) -> Iterator[Line]:
    methods = lined(run.design.methods)
    for case in cases:
        table = {
            (q, m): _number(lookup, case, q, m) for q in definition.quantities for m in methods
        }
        sized = [x.value for (q, _), x in table.items() if q.digits is None and x is not None]
        digits = digits_of(sized, 2, 4)
        for method in methods:
            numbers = [table[q, method] for q in definition.quantities]
            if any(numbers):
                sees = "cohen_d" in {q.aggregate for q in definition.quantities}
                yield (
                    case,
                    method,
                    [
                        _n(numbers),
                        *(
                            estimate(table[q, method], digits if q.digits is None else q.digits)
                            for q in definition.quantities
                        ),
                        Cell(text="yes" if sees and method in run.design.saw_group else ""),
                        Cell(text="; ".join(_reasons(numbers))),
                    ],
                )


def _n(numbers: Sequence[Number | None]) -> Cell:
    known = [x.n for x in numbers if x is not None and x.n is not None and x.value is not None]
    return Cell(float(known[0]), digits=0) if known else Cell()


def _reasons(numbers: Sequence[Number | None]) -> list[str]:
    """Why there are no numbers, where none of a line has one; single gaps show their status."""
    if any(x is not None and x.value is not None for x in numbers):
        return []
    return list(dict.fromkeys(x.reason for x in numbers if x is not None and x.reason))


def _sizes(numbers: Sequence[Number | None]) -> str:
    sizes = sorted({x.n for x in numbers if x is not None and x.value is not None and x.n})
    if not sizes:
        return ""
    return (
        f"n = {sizes[0]} subjects."
        if len(sizes) == 1
        else f"n = {sizes[0]} to {sizes[-1]} subjects."
    )


def _limits(run: Finished, lookup: Lookup, line: str) -> Table:
    """HB-T9-limits: Bland-Altman bias and limits of agreement of each scanner pair."""
    found = [(m, p) for m in MEASURES for p in lookup.cases(m, LIMITS[0])]
    cases = list(dict.fromkeys(Case(m, p.tool, p.structure, p.space) for m, p in found))
    known = {(p.scanner, p.reference_scanner) for _, p in found}
    pairs = [pair for pair in run.design.pairs if pair in known]
    lines: list[Line] = [
        (case, method, [_limit(lookup, case, method, pair) for pair in pairs])
        for case in cases
        for method in lined(run.design.methods)
    ]
    lines = [line for line in lines if any(cell.shown for cell in line[2])]
    columns = [Column(pair_label(p), pair_label(p), True, ESTIMATE) for p in pairs]
    shown, rows = columns_and_rows(run, columns, lines, measures=False)
    caption = (
        "Bland-Altman: mean difference of two scanners' measures over subjects [limits of "
        "agreement], in the units of the line. Nearer to 0 and narrower is better, and blind to "
        f"degeneracy. {counted(run, MEASURES)}"
    )
    title = "Limits of agreement"
    return Table("HB-T9-limits", title, caption.strip(), shown, rows, line)


def _limit(lookup: Lookup, case: Case, method: str, pair: tuple[str, str]) -> Cell:
    where = replace(place(case), scanner=pair[0], reference_scanner=pair[1])
    bias, low, high = (lookup.number(case.metric, name, where, method) for name in LIMITS)
    span = [x.value for x in (low, high) if x is not None and x.value is not None]
    cell = estimate(bias, digits_of(span, 1, 3))
    low_limit, high_limit = span if len(span) == 2 else (None, None)
    return replace(cell, low=low_limit, high=high_limit)
