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
    on_contenders,
    on_controls,
    rewards,
    untold,
)
from harmobench.reports.formats import rounded
from harmobench.reports.kept import kept
from harmobench.reports.lookup import RIGOROUS, STATUS, Lookup, compared, undeclared
from harmobench.reports.outcomes import Line, Outcome
from harmobench.reports.rows import digits_of, named, p_value, units_of

SUBJECTS = ("identifiability",)  # compared like the others, but of what must be kept
HARD = "\N{NO-BREAK SPACE}"  # a p stays in one line
TRAINED = "Methods trained by folds are judged given these trained models: see p over folds."
UNDECLARED = (
    "Own family: a plugin that was not declared, tested apart from the others, where less is asked "
    "of it; it is not ranked."
)


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
    notes
        Sentences on how to read this run's cells.
    rewards
        A sentence for each metric that rewards blur or noise.
    caught, uncaught
        Sentences on the controls that something caught, and warnings on the others.
    changed
        Sentences on contenders that the guards would catch if they were controls.
    circularity
        Sentences on who saw labels, pairs and the target.
    """

    methods: tuple[str, ...]
    agreement: tuple[Line, ...]
    kept: tuple[Line, ...]
    limits: tuple[Line, ...]
    notes: tuple[str, ...]
    rewards: tuple[str, ...]
    caught: tuple[str, ...]
    uncaught: tuple[str, ...]
    changed: tuple[str, ...]
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
            *(kept(run, found, lookup, methods) if found.cases else ()),
        ),
        tuple(line for case, line in lines.items() if case.metric in RAW_IS_ONE),
        tuple(filter(None, _notes(run, found, methods))),
        tuple(rewards(run, found)),
        *on_controls(run, found),
        tuple(on_contenders(run)),
        tuple(circularity(run)),
    )


def _notes(run: Finished, found: Comparisons, methods: Sequence[str]) -> Iterator[str]:
    if run.design.trained.intersection(methods):
        yield TRAINED
    if any(undeclared(run.design, name) for name in methods):
        yield UNDECLARED
    yield untold(found, found.cases)


def _line(
    run: Finished,
    found: Comparisons,
    case: Case,
    methods: Sequence[str],
    rewarded: Mapping[Case, str],
) -> Line:
    rows = {name: found.get("sign_flip", case, name) for name in methods}
    digits = digits_of([row.estimate for row in rows.values() if row], 2, 4)
    units = units_of(run).get(case, "")
    tied = found.tied(case)
    better = 0.0 if case.metric in RAW_IS_ONE else found.better(case)

    def outcome(name: str, row: Compared | None) -> Outcome:
        fold = found.get("fold", case, name) if name in run.design.trained else None
        own = _outcome(row, better, _detail(row, digits, units, fold))
        if undeclared(run.design, name) and row is not None and row.differs:
            own = replace(own, word=f"{own.word}, own family", tone="")
        return replace(own, tied=name in tied)

    outcomes = tuple(outcome(name, row) for name, row in rows.items())
    return Line(named_case(case), outcomes, rewarded.get(case, ""))


def _outcome(row: Compared | None, better: float, detail: str) -> Outcome:
    """Return what a comparison with RAW says; `better` is 0 where RAW cannot be beaten."""
    if row is None:
        return Outcome("not measured")
    if row.identical:
        return Outcome("identical")
    if row.estimate is None or row.p is None:
        return Outcome(STATUS.get(row.status, row.status), detail=row.reason)
    if row.differs and not better:
        return Outcome("differs", detail=detail)
    if row.differs:
        wins = row.estimate * better > 0
        return Outcome("better", "good", detail) if wins else Outcome("worse", "bad", detail)
    return Outcome("n too small" if POWERLESS in row.reason else "not shown", detail=detail)


def _detail(row: Compared | None, digits: int, units: str, fold: Compared | None) -> str:
    """Return the difference, its adjusted p, and that over folds."""
    if row is None or row.estimate is None:
        return ""
    sign = "+" if row.estimate > 0 else ""
    parts = [f"{sign}{rounded(row.estimate, digits)}{f' {units}' if units else ''}"]
    if row.p_adjusted is not None:
        parts.append(f"p{HARD}{_equals(row.p_adjusted)}")
    if fold is not None and fold.p is not None:
        parts.append(f"p over folds{HARD}{_equals(fold.p)}")
    return ", ".join(parts)


def _equals(p: float) -> str:
    shown = p_value(p).number
    return shown.replace("<", f"<{HARD}") if shown.startswith("<") else f"={HARD}{shown}"
