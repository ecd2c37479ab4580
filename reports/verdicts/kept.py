"""Whether subjects and groups are still apart, by intervals: the verdict's second part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from harmobench.interface import Finished
from harmobench.reports.comparisons import Case, Comparisons
from harmobench.reports.lookup import STATUS, Lookup, Number
from harmobench.reports.style import label
from harmobench.reports.tables.formats import rounded
from harmobench.reports.tables.guards import EXACT, loses_effect, ratio_text
from harmobench.reports.tables.rows import REGISTRATION, place
from harmobench.reports.verdicts.outcomes import Line, Outcome

KEPT = (  # metric, aggregate, and how the line is called
    ("individuality", "individuality", "Individuality"),
    ("volume", "slope", "Volume slope"),
    ("biomarker", "slope", "Biomarker slope"),
    ("volume", "cohen_d_change", "Volume effect size"),
    ("biomarker", "cohen_d_change", "Biomarker effect size"),
)


def kept(
    run: Finished, found: Comparisons, lookup: Lookup, methods: Sequence[str]
) -> Iterator[Line]:
    """Yield a line for each aggregate of `KEPT`, tool and structure.

    An interval that holds RAW's number shows no loss, which is not to show that nothing was lost.
    """
    for metric, aggregate, name in KEPT:
        for where in lookup.cases(metric, aggregate, pooled=True):
            case = Case(metric, where.tool, where.structure, where.space)
            tool = f" ({label(case.tool)})" if case.tool else ""
            structure = f", {label(case.structure)}" if metric != "individuality" else ""
            cells = [_cell(run, found, lookup, (case, aggregate), method) for method in methods]
            beside = _registration(lookup, case, aggregate)
            criterion = f"{name}{tool}"
            yield Line(f"{criterion}{structure}", tuple(cells), beside=beside, criterion=criterion)


def _cell(
    run: Finished, found: Comparisons, lookup: Lookup, what: tuple[Case, str], method: str
) -> Outcome:
    case, aggregate = what
    left = _left(found, case, method)
    if left is not None:
        return left
    if aggregate == "cohen_d_change":
        return _change(run, lookup, case, method)
    number = lookup.number(case.metric, aggregate, place(case), method)
    if number is None:
        return Outcome(lookup.status(case.metric, place(case), method))
    return ratio(number)


def effect(run: Finished, found: Comparisons, lookup: Lookup, case: Case, method: str) -> Outcome:
    """Return what became of an effect size, by the interval of its change against RAW."""
    return _cell(run, found, lookup, (case, "cohen_d_change"), method)


def _left(found: Comparisons, case: Case, method: str) -> Outcome | None:
    """Say why a method left the comparison: what is left of its scores must not speak for it.

    Individuality is one number a cohort and is not compared itself: there a method is judged by
    the images that its other scores are of.
    """
    same = [case] if case.metric != "individuality" else [c for c in found.cases if not c.tool]
    rows = [found.get("sign_flip", each, method) for each in same]
    reasons = [row.reason for row in rows if row is not None and row.status == "failed"]
    return Outcome("failed", detail=reasons[0]) if reasons else None


def _registration(lookup: Lookup, case: Case, aggregate: str) -> str:
    """Say what the transforms alone give back, where measures were taken in native space."""
    number = lookup.number(case.metric, aggregate, place(case), REGISTRATION)
    if case.space != "native" or number is None or number.value is None:
        return ""
    return f"registration alone {_interval(number)}"


def ratio(
    number: Number | None,
    bad: Literal["below", "above"] = "below",
    unchanged: str = "no loss shown",
) -> Outcome:
    """Judge a ratio to RAW's by its unadjusted interval; on the side `bad` it is a fault."""
    if number is None or number.value is None:
        return Outcome(STATUS.get(number.status, number.status) if number else "not measured")
    text = ratio_text(number)
    if number.low is None or number.high is None:
        return _judged("no interval", text)
    if number.high < 1 - EXACT:
        return _judged("below RAW's", text, "bad" if bad == "below" else "")
    if number.low > 1 + EXACT:
        return _judged("above RAW's", text, "bad" if bad == "above" else "")
    return _judged(unchanged, text)


def _change(run: Finished, lookup: Lookup, case: Case, method: str) -> Outcome:
    number = lookup.number(case.metric, "cohen_d_change", place(case), method)
    if method in run.design.saw_group:
        return Outcome("saw the group", detail="not judged")
    if number is None or number.value is None:
        return Outcome(number.status if number else "not measured")
    if number.low is None or number.high is None:
        return _judged("no interval", _interval(number))
    if loses_effect(lookup, case.metric, place(case), method):
        return _judged("below RAW's", _interval(number), "bad")
    changed = number.low > 0 or number.high < 0
    return _judged("above RAW's" if changed else "no loss shown", _interval(number))


def _judged(word: str, interval: str, tone: str = "") -> Outcome:
    return Outcome(word, tone, interval, short=interval)


def _interval(number: Number, digits: int = 2) -> str:
    if number.value is None or number.low is None or number.high is None:
        return "" if number.value is None else rounded(number.value, digits)
    low, high = rounded(number.low, digits), rounded(number.high, digits)
    return f"{rounded(number.value, digits)} [{low}, {high}]"
