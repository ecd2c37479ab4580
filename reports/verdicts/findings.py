"""What the rigorous comparisons say, in words: the verdict at the top of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harmobench.interface import Finished
from harmobench.reports.citing.words import joined
from harmobench.reports.comparisons import Case, Comparisons
from harmobench.reports.lookup import RIGOROUS, Lookup, compared, undeclared
from harmobench.reports.style import label
from harmobench.reports.tables.rows import named, units_of
from harmobench.reports.verdicts.evidence import (
    RAW_IS_ONE,
    circularity,
    marks,
    named_case,
    on_contenders,
    on_controls,
    rewards,
    untold,
)
from harmobench.reports.verdicts.judging import Judge
from harmobench.reports.verdicts.kept import kept
from harmobench.reports.verdicts.outcomes import Line

SUBJECTS = ("identifiability",)  # compared like the others, but of what must be kept
TRAINED = "Methods trained by folds are judged given these trained models: see p over folds."
UNDECLARED = (
    "Own family: a plugin that was not declared, tested apart from the others, where less is asked "
    "of it; it is not ranked."
)
THRESHOLD = (
    "Volume errors are judged against the truth's voxels of at least .8 (p80), as a perfect "
    "segmenter with that threshold gives; those against true fractions summed stand in HB-T9-truth."
)
MARGINS = (
    "Equivalent: two one-sided tests, not adjusted for their number, hold the difference within "
    "the margin that was declared"
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
    lines = {case: _line(run, found, case, methods, rewarded) for case in found.judging}
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
    yield untold(found, found.judging)
    if len(found.judging) < len(found.cases):
        yield THRESHOLD
    tested = {case.metric for case in found.cases if found.tests("tost", case)}
    margins = sorted(tested & set(run.design.margins))
    if margins:
        units = {case.metric: unit for case, unit in units_of(run).items() if unit}
        said = [
            f"{label(m)} \N{PLUS-MINUS SIGN}{run.design.margins[m]:g} {units.get(m, '')}".strip()
            for m in margins
        ]
        yield f"{MARGINS}: {joined(said)}."


def _line(
    run: Finished,
    found: Comparisons,
    case: Case,
    methods: Sequence[str],
    rewarded: Mapping[Case, str],
) -> Line:
    judge = Judge(run, found, case, methods)
    outcomes = tuple(judge.outcome(name) for name in methods)
    return Line(named_case(case), outcomes, rewarded.get(case, ""), criterion=case.name)
