"""What the rigorous comparisons say, in words: the verdict at the top of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harmobench.interface import Finished
from harmobench.reports.comparisons import POWERLESS, Case, Compared, Comparisons
from harmobench.reports.evidence import (
    RAW_IS_ONE,
    circularity,
    marks,
    named_case,
    on_controls,
    rewards,
)
from harmobench.reports.formats import rounded
from harmobench.reports.guards import loses_effect
from harmobench.reports.lookup import RIGOROUS, STATUS, Lookup, Number, compared
from harmobench.reports.rows import (
    digits_of,
    named,
    p_value,
    place,
    units_of,
)
from harmobench.reports.style import label

SUBJECTS = ("identifiability",)  # compared like the others, but of what must be kept
KEPT = (  # aggregates whose interval says whether subjects and groups are still apart
    ("individuality", "individuality", "Individuality"),
    ("volume", "slope", "Volume slope"),
    ("biomarker", "slope", "Biomarker slope"),
    ("volume", "cohen_d_change", "Volume effect size"),
    ("biomarker", "cohen_d_change", "Biomarker effect size"),
)
HARD = "\N{NO-BREAK SPACE}"  # a p stays in one line


@dataclass(frozen=True)
class Outcome:
    """One cell of the verdict: a word, a tone ("good", "bad" or ""), and the number behind it.

    `tied` says that no other contender is significantly better.
    """

    word: str
    tone: str = ""
    detail: str = ""
    tied: bool = False


@dataclass(frozen=True)
class Line:
    """One line of the verdict: what was compared, and an outcome for each contender.

    `mark` says what the metric rewards, where a control has shown it.
    """

    name: str
    outcomes: tuple[Outcome, ...]
    mark: str = ""


@dataclass(frozen=True)
class Findings:
    """The rigorous verdict.

    Attributes
    ----------
    methods
        Contenders, which are the columns, as they are named there.
    agreement, kept, limits
        Lines on what was removed, on what was kept (by intervals), and on guards that RAW passes by
        definition.
    rewards
        A sentence for each metric that rewards blur or noise.
    caught, uncaught
        Sentences on the controls that something caught, and warnings on the others.
    circularity
        Sentences on who saw labels, pairs and the target.
    """

    methods: tuple[str, ...]
    agreement: tuple[Line, ...]
    kept: tuple[Line, ...]
    limits: tuple[Line, ...]
    rewards: tuple[str, ...]
    caught: tuple[str, ...]
    uncaught: tuple[str, ...]
    circularity: tuple[str, ...]


def findings(run: Finished) -> Findings:
    """Read the verdict from the run's rigorous rows; without any it is empty."""
    found, lookup = Comparisons(run), Lookup(run, RIGOROUS)
    methods = tuple(name for name in compared(run.design.methods) if name != "raw")
    rewarded = marks(run, found)
    lines = {case: _line(run, found, case, methods, rewarded) for case in found.cases}
    return Findings(
        tuple(named(run.design, Case("", "", "", ""), name) for name in methods),
        tuple(x for case, x in lines.items() if case.metric not in (*RAW_IS_ONE, *SUBJECTS)),
        (
            *(line for case, line in lines.items() if case.metric in SUBJECTS),
            *(_kept(run, lookup, methods) if found.cases else ()),
        ),
        tuple(line for case, line in lines.items() if case.metric in RAW_IS_ONE),
        tuple(rewards(run, found)),
        *on_controls(run, found),
        tuple(circularity(run)),
    )


def _line(
    run: Finished,
    found: Comparisons,
    case: Case,
    methods: Sequence[str],
    rewarded: Mapping[Case, str],
) -> Line:
    rows = [found.get("sign_flip", case, name) for name in methods]
    digits = digits_of([row.estimate for row in rows if row], 2, 4)
    units = units_of(run).get(case, "")
    tied = found.tied(case)
    better = 0.0 if case.metric in RAW_IS_ONE else found.better(case)
    outcomes = tuple(
        replace(_outcome(row, better, digits, units), tied=name in tied)
        for name, row in zip(methods, rows, strict=True)
    )
    return Line(named_case(case), outcomes, rewarded.get(case, ""))


def _outcome(row: Compared | None, better: float, digits: int, units: str) -> Outcome:
    """Return what a comparison with RAW says; `better` is 0 where RAW cannot be beaten."""
    if row is None:
        return Outcome("not measured")
    if row.identical:
        return Outcome("identical")
    if row.estimate is None or row.p is None:
        return Outcome(STATUS.get(row.status, row.status), detail=row.reason)
    sign = "+" if row.estimate > 0 else ""
    detail = f"{sign}{rounded(row.estimate, digits)}{f' {units}' if units else ''}"
    if row.p_adjusted is not None:
        detail += f", p{HARD}{_equals(p_value(row.p_adjusted).number)}"
    if row.differs and not better:
        return Outcome("differs", detail=detail)
    if row.differs:
        wins = row.estimate * better > 0
        return Outcome("better", "good", detail) if wins else Outcome("worse", "bad", detail)
    return Outcome("n too small" if POWERLESS in row.reason else "not shown", detail=detail)


def _equals(p: str) -> str:
    return p.replace("<", f"<{HARD}") if p.startswith("<") else f"={HARD}{p}"


def _kept(run: Finished, lookup: Lookup, methods: Sequence[str]) -> Iterator[Line]:
    for metric, aggregate, name in KEPT:
        for where in lookup.cases(metric, aggregate, pooled=True):
            case = Case(metric, where.tool, where.structure, where.space)
            tool = f" ({label(case.tool)})" if case.tool else ""
            structure = f", {label(case.structure)}" if metric != "individuality" else ""
            if aggregate == "cohen_d_change":
                cells = [_effect(run, lookup, case, method) for method in methods]
            else:
                cells = [
                    _ratio(lookup.number(metric, aggregate, where, method)) for method in methods
                ]
            yield Line(f"{name}{tool}{structure}", tuple(cells))


def _ratio(number: Number | None) -> Outcome:
    if number is None or number.value is None:
        return Outcome(number.status if number else "not measured")
    detail = _interval(number)
    if number.low is None or number.high is None:
        return Outcome("no interval", detail=detail)
    if number.high < 1:
        return Outcome("below RAW's", "bad", detail)
    return Outcome("above RAW's" if number.low > 1 else "kept", detail=detail)


def _effect(run: Finished, lookup: Lookup, case: Case, method: str) -> Outcome:
    number = lookup.number(case.metric, "cohen_d_change", place(case), method)
    if method in run.design.saw_group:
        return Outcome("saw the group", detail="not judged")
    if number is None or number.value is None:
        return Outcome(number.status if number else "not measured")
    if number.low is None or number.high is None:
        return Outcome("no interval", detail=_interval(number))
    if loses_effect(lookup, case.metric, place(case), method):
        return Outcome("below RAW's", "bad", _interval(number))
    changed = number.low > 0 or number.high < 0
    return Outcome("above RAW's" if changed else "no loss shown", detail=_interval(number))


def _interval(number: Number, digits: int = 2) -> str:
    if number.value is None or number.low is None or number.high is None:
        return "" if number.value is None else rounded(number.value, digits)
    low, high = rounded(number.low, digits), rounded(number.high, digits)
    return f"{rounded(number.value, digits)} [{low}, {high}]"
