"""The paper's own counts: in how many cases each method is better than RAW; no controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harmobench.interface import Finished
from harmobench.reports.citing.words import joined
from harmobench.reports.lookup import Lookup, Place, compared
from harmobench.reports.style import label
from harmobench.reports.tables.rounding import Rounding, rises

TISSUES = ("gm", "wm")  # the paper counts these two


@dataclass(frozen=True)
class Criterion:
    """One of the paper's criteria and how RAW is beaten on it."""

    name: str
    metric: str
    aggregate: str
    better: str  # higher, lower, or kept: not below RAW in RAW's direction
    verb: str
    cases: str
    tested: bool = False
    pooled: bool = False


CRITERIA = (
    Criterion("SSIM", "ssim", "mean", "higher", "raised", "scanner pairs", tested=True),
    Criterion("AUROC", "auroc", "mean", "higher", "raised", "scanners"),
    Criterion("AUROC spread", "auroc", "spread", "lower", "lowered", "overall", pooled=True),
    Criterion("Volume bias", "volume", "bias", "lower", "lowered", "cases", tested=True),
    Criterion("Volume RMSD", "volume", "rmsd", "lower", "lowered", "cases"),
    Criterion("Dice", "dice", "mean", "higher", "raised", "cases", tested=True),
    Criterion("Biomarker bias", "biomarker", "bias", "lower", "lowered", "biomarkers", True, True),
    Criterion("Biomarker RMSD", "biomarker", "rmsd", "lower", "lowered", "biomarkers", pooled=True),
    Criterion(
        "Effect size",
        "biomarker",
        "cohen_d_mean",
        "kept",
        "not below RAW's",
        "biomarkers",
        pooled=True,
    ),
)


@dataclass(frozen=True)
class Count:
    """Cases in which a method is better or worse than RAW; of those, significantly.

    `status` says why, where there are no cases.
    """

    better: int = 0
    worse: int = 0
    cases: int = 0
    better_significant: int = 0
    worse_significant: int = 0
    status: str = "not measured"

    @property
    def tone(self) -> str:
        """`good`, `bad` or `mixed`: whether more than half the cases are better, or worse."""
        if 2 * self.better > self.cases:
            return "good"
        return "bad" if 2 * self.worse > self.cases else "mixed"

    @property
    def shown(self) -> str:
        """Such as "5 of 6"."""
        if not self.cases:
            return self.status
        return f"{self.better} of {self.cases}" if self.better or self.worse else "as RAW"

    @property
    def tests(self) -> str:
        """Such as "4* better, 1* worse"."""
        parts = [(self.better_significant, "better"), (self.worse_significant, "worse")]
        return ", ".join(f"{n}* {word}" for n, word in parts if n)


@dataclass(frozen=True)
class Verdict:
    """Counts by method and criterion, and sentences that say them."""

    criteria: tuple[Criterion, ...]
    methods: tuple[str, ...]
    counts: dict[tuple[str, str], Count]
    sentences: tuple[str, ...]


def verdict(run: Finished) -> Verdict:
    """Count, for every criterion that was measured, where each method is better than RAW."""
    lookup, rounding = Lookup(run), Rounding(run)
    methods = tuple(name for name in compared(run.design.methods) if name != "raw")
    places = {c.name: places_of(lookup, c) for c in CRITERIA}
    counts = {
        (m, c.name): count(lookup, rounding, c, places[c.name], m)
        for m in methods
        for c in CRITERIA
    }
    measured = tuple(c for c in CRITERIA if any(counts[m, c.name].cases for m in methods))
    sentences = tuple(_sentence(c, methods, counts) for c in measured)
    return Verdict(measured, methods, counts, sentences)


def places_of(lookup: Lookup, criterion: Criterion) -> list[Place]:
    """Cases of a criterion; of volumes, GM and WM."""
    places = lookup.cases(criterion.metric, criterion.aggregate, pooled=criterion.pooled)
    return [p for p in places if criterion.metric != "volume" or p.structure in TISSUES]


def count(
    lookup: Lookup, rounding: Rounding, criterion: Criterion, places: Sequence[Place], method: str
) -> Count:
    """Count in which of these cases a method is better, or worse, than RAW."""
    gains = []
    for place in places:
        value = lookup.value(criterion.metric, criterion.aggregate, place, method)
        raw = lookup.value(criterion.metric, criterion.aggregate, place, "raw")
        if value is None or raw is None:
            continue
        gain = _gain(rounding, criterion, place, value, raw)
        tested = criterion.tested and lookup.significant(criterion.metric, place, method)
        gains.append((gain, tested))
    return Count(
        sum(g > 0 for g, _ in gains),
        sum(g < 0 for g, _ in gains),
        len(gains),
        sum(g > 0 and s for g, s in gains),
        sum(g < 0 and s for g, s in gains),
        lookup.status(criterion.metric, places[0], method) if places else "not measured",
    )


def _gain(rounding: Rounding, criterion: Criterion, place: Place, value: float, raw: float) -> int:
    """1 where better than RAW, -1 where worse, 0 where equal but for rounding."""
    if criterion.better == "kept":
        equal = rounding.equal_d(criterion.metric, place, value, raw)
        return 1 if equal or rises(value, raw) else -1
    if rounding.equal(criterion.metric, place, value, raw):
        return 0
    return 1 if (value > raw) == (criterion.better == "higher") else -1


def _sentence(
    criterion: Criterion, methods: Sequence[str], counts: dict[tuple[str, str], Count]
) -> str:
    every, some, none, same = [], [], [], []
    for method in methods:
        count = counts[method, criterion.name]
        if not count.cases:
            continue
        if count.better == count.cases:
            every.append(label(method))
        elif not count.better and not count.worse:
            same.append(label(method))
        elif count.better:
            some.append(f"{label(method)} ({count.shown})")
        else:
            none.append(label(method))
    single = all(counts[m, criterion.name].cases <= 1 for m in methods)
    parts = [
        ("by " if single else "everywhere by ", every),
        ("in part by ", some),
        ("nowhere by ", none),
    ]
    if single:
        parts[2] = ("by none of " if not every else "not by ", none)
    if criterion.better == "kept":
        parts = [("for all with ", every), ("in part with ", some), ("for none with ", none)]
    said = [f"{head}{joined(names)}" for head, names in parts if names]
    unchanged = f"unchanged by {joined(same)}" if same else ""
    changed = f"{criterion.verb} {'; '.join(said)}" if said else ""
    return f"{criterion.name} {'; '.join(filter(None, (changed, unchanged)))}."
