"""Statistics side by side: what the paper's mode and the rigorous mode each conclude.

Nothing is computed here. The paper counts scanner pairs and tests each alone, uncorrected; the
rigorous mode averages a subject's pairs, tests over subjects and corrects for the number of tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harmobench.interface import Finished
from harmobench.reports.comparisons import Case, Comparisons
from harmobench.reports.lookup import RIGOROUS, Lookup, Place, compared
from harmobench.reports.style import label
from harmobench.reports.tables.formats import rounded
from harmobench.reports.tables.rounding import Rounding
from harmobench.reports.tables.rows import WHOLE, digits_of, named, p_value
from harmobench.reports.verdicts.disagreements import (
    SAID,
    RigorousSide,
    kind_of,
    sentence,
    shown,
    uncorrected,
)
from harmobench.reports.verdicts.judging import Judge
from harmobench.reports.verdicts.kept import effect
from harmobench.reports.verdicts.verdict import CRITERIA, Criterion, count, places_of

# the rigorous mode's own name of what a criterion is about, where it is tested there
TESTED = {
    "SSIM": "ssim",
    "AUROC": "auroc",
    "AUROC spread": "auroc_spread",
    "Volume bias": "volume",
    "Dice": "dice",
    "Biomarker bias": "biomarker",
}


@dataclass(frozen=True)
class Sides:
    """One line: a criterion, what it is measured on, a method, and the two conclusions.

    Attributes
    ----------
    criterion, of
        Such as "Volume bias" and "HMRF, GM"; `of` is empty where there is but one.
    method
        As the page names it.
    paper, paper_tests, paper_tone
        In how many cases it is better than RAW, such as "better in 5 of 6 scanner pairs, worse in
        1"; what the uncorrected tests say, such as "4 better significant"; and "good", "bad" or "".
    rigorous, difference, p, rigorous_tone
        The verdict's word, such as "better" or "not shown"; method minus RAW with its 95% interval,
        which is not adjusted (of effect sizes the change of d; of RMSDs, which are not tested, both
        values); the adjusted p, empty where nothing was tested; and the tone.
    disagrees
        A key of `disagreements.SAID`, or "" where the two do not contradict each other.
    said
        A sentence on the disagreement; empty where there is none.
    """

    criterion: str
    of: str
    method: str
    paper: str
    paper_tests: str
    paper_tone: str
    rigorous: str
    difference: str
    p: str
    rigorous_tone: str
    disagrees: str = ""
    said: str = ""


def side_by_side(run: Finished) -> tuple[Sides, ...]:
    """Return a line for each criterion, tool, structure and method that was compared with RAW.

    In the order of the paper's criteria; controls are left out. Empty where only RAW ran.
    """
    source = _Source(run)
    return tuple(
        source.sides(criterion, places, method)
        for criterion in CRITERIA
        for places in _groups(places_of(source.paper, criterion))
        for method in source.methods
        if source.known(criterion, places)
    )


def tally(lines: Sequence[Sides]) -> str:
    """Say how often the two modes disagree, and how.

    >>> tally([])
    'The two modes conclude differently in 0 of 0 lines.'
    """
    kinds = [line.disagrees for line in lines if line.disagrees]
    said = [f"{n} {words}" for kind, words in SAID.items() if (n := kinds.count(kind))]
    more = f": {', '.join(said)}" if said else ""
    return f"The two modes conclude differently in {len(kinds)} of {len(lines)} lines{more}."


def _groups(places: Sequence[Place]) -> list[list[Place]]:
    """Places of one tool, structure and space together: scanners or pairs, or all at once."""
    found: dict[Place, list[Place]] = {}
    for place in places:
        key = replace(place, scanner="", reference_scanner="")
        found.setdefault(key, []).append(place)
    return list(found.values())


class _Source:
    def __init__(self, run: Finished) -> None:
        self.run, self.found = run, Comparisons(run)
        self.paper, self.rigorous = Lookup(run), Lookup(run, RIGOROUS)
        self.rounding = Rounding(run)
        self.methods = [name for name in compared(run.design.methods) if name != "raw"]
        self._judges: dict[Case, Judge] = {}

    def known(self, criterion: Criterion, places: Sequence[Place]) -> bool:
        """Whether RAW has a number here: without it there is nothing to compare with."""
        aggregate = criterion.aggregate
        return any(
            self.paper.value(criterion.metric, aggregate, p, "raw") is not None for p in places
        )

    def sides(self, criterion: Criterion, places: Sequence[Place], method: str) -> Sides:
        """Return one line."""
        counted = count(self.paper, self.rounding, criterion, places, method)
        right = self._right(criterion, places[0], method)
        if right.word == "not measured" and not counted.cases:
            right = replace(right, word=counted.status)  # both say what became of the scores
        cases = _cases(places[0])
        kind = kind_of(criterion, counted, right)
        return Sides(
            criterion.name,
            _of(criterion, places[0]),
            named(self.run.design, Case("", "", "", ""), method),
            shown(criterion, counted, cases),
            uncorrected(counted, tested=criterion.tested),
            counted.tone.replace("mixed", "") if counted.cases else "",
            right.word,
            right.difference,
            right.p,
            right.tone,
            kind,
            sentence(kind, criterion, counted, right, cases),
        )

    def _right(self, criterion: Criterion, place: Place, method: str) -> RigorousSide:
        if criterion.aggregate == "rmsd":
            return self._rmsd(criterion.metric, place, method)
        if criterion.better == "kept":
            return self._effect(criterion.metric, place, method)
        case = Case(TESTED[criterion.name], place.tool, place.structure, place.space)
        if case not in self._judges:
            self._judges[case] = Judge(self.run, self.found, case, self.methods)
        judge = self._judges[case]
        own, row = judge.outcome(method), judge.rows.get(method)
        p = "" if row is None or row.p_adjusted is None else p_value(row.p_adjusted).number
        way = judge.direction(method)
        way = 0 if judge.equivalent(method) is not None else way
        return RigorousSide(own.word, judge.difference(method), p, own.tone, way)

    def _rmsd(self, metric: str, place: Place, method: str) -> RigorousSide:
        where = replace(place, scanner="", reference_scanner="")
        both = [self.rigorous.number(metric, "rmsd", where, m) for m in (method, "raw")]
        digits = digits_of([x.value for x in both if x is not None])
        spans = []
        for number in both:
            if number is None or number.value is None:
                return RigorousSide(number.status if number else "not measured", tested=False)
            limits = [rounded(x, digits) for x in (number.low, number.high) if x is not None]
            units = f" {number.units}" if number.units else ""
            span = f" [{', '.join(limits)}]" if limits else ""
            spans.append(f"{rounded(number.value, digits)}{span}{units}")
        return RigorousSide("no test", f"{spans[0]}; RAW {spans[1]}", tested=False)

    def _effect(self, metric: str, place: Place, method: str) -> RigorousSide:
        case = Case(metric, place.tool, place.structure, place.space)
        own = effect(self.run, self.found, self.rigorous, case, method)
        way = {"below RAW's": -1, "above RAW's": 1}.get(own.word, 0)
        detail = "" if own.word == "failed" else own.detail  # which is its reason there
        return RigorousSide(own.word, detail, tone=own.tone, direction=way)


def _of(criterion: Criterion, place: Place) -> str:
    """Return the tool and structure of a line, in the field's own spelling."""
    structure = "" if place.structure in WHOLE else label(place.structure)
    return ", ".join(filter(None, (label(place.tool), structure)))


def _cases(place: Place) -> str:
    if place.reference_scanner:
        return "scanner pairs"
    return "scanners" if place.scanner else ""
