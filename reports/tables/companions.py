"""The rigorous comparisons beside the paper's tables: HB-T1-rigorous and so on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harmobench.interface import SPREADS, Finished
from harmobench.reports.comparisons import Case, Compared, Comparisons
from harmobench.reports.lookup import IDENTICAL, RIGOROUS, STATUS, Lookup, controls
from harmobench.reports.style import label
from harmobench.reports.tables.counts import Count, counted, counts
from harmobench.reports.tables.coverage import coverage_note
from harmobench.reports.tables.formats import Cell, Column, Table, rounded
from harmobench.reports.tables.rows import (
    ESTIMATE,
    P_DIGITS,
    Line,
    columns_and_rows,
    digits_of,
    lined,
    p_value,
    place,
    tools_note,
)
from harmobench.reports.verdicts.evidence import untold

TESTED = (
    "Each subject's scores are averaged first. Difference: method minus RAW, mean over subjects "
    "with its 95% t interval; d_z: that mean over its SD. p: sign-flip test (exact to 20 "
    "subjects), adjusted by Holm within the family of contenders and by Benjamini-Bogomolov across "
    "families. Beside it, unadjusted: paired t-test and Wilcoxon, which is sensitive to skew."
)
FOLDS = (
    "Subjects of a fold share a trained model, so intervals are given these trained models; beside "
    "them p of the folds' means, and ICC of differences within folds."
)
RANKED = (
    "Not shown worse: than any other contender (max-|t| sign-flip over all pairs); it holds for "
    "the best and for all that could not be told from them. Rank: its span over bootstrap samples "
    "claims no coverage."
)
BELOW = (
    "Controls stand below, a family of their own, never ranked; whether they are caught, and what "
    "a metric rewards, is judged by unadjusted 95% intervals."
)
COMMON = (TESTED, FOLDS, RANKED, BELOW)
COLUMNS = (
    Column("n", "n", True, ()),
    Column("difference", "Difference [95%]", True, ESTIMATE[:2]),
    Column("d_z", "d_z", True, ()),
    Column("p", "p", True, ()),
    Column("p adjusted", "p adjusted", True, ()),
    Column("p t", "p, t", True, ()),
    Column("p Wilcoxon", "p, Wilcoxon", True, ()),
    Column("p folds", "p, folds", True, ()),
    Column("ICC folds", "ICC in folds", True, ()),
    Column("p equivalence", "p, equivalence", True, ()),
    Column("rank", "Rank [span]", True, ESTIMATE[:2]),
    Column("best", "Not shown worse"),
    Column("missing", "Missing scores"),
    Column("note", "Note"),
)


@dataclass(frozen=True)
class Companion:
    """A table of comparisons: beside which table, its title, its metrics, and what is better."""

    beside: str
    title: str
    metrics: tuple[str, ...]
    better: str


COMPANIONS = (
    Companion("HB-T1", "Image similarity", ("ssim",), "Positive is better."),
    Companion("HB-T2", "Volumetric bias", ("volume",), "Negative is better."),
    Companion("HB-T4", "Segmentation overlap", ("dice",), "Positive is better."),
    Companion(
        "HB-T5",
        "GM-WM contrast",
        ("auroc", "auroc_spread"),
        "AUROC: positive is better; spread over a subject's scanners: negative is better.",
    ),
    Companion("HB-T6", "Biomarker bias", ("biomarker",), "Negative is better."),
    Companion(
        "HB-T9-truth",
        "Distance from the truth",
        ("volume_error", "truth_dice", "truth_rmse"),
        "Volume error (mean absolute) and intensity RMSE: negative is better; Dice: positive. "
        "(p80): against the truth's voxels of at least .8, which the verdict counts; else against "
        "true fractions summed.",
    ),
    Companion(
        "HB-T12",
        "Guards",
        ("slice_consistency", "sharpness", "noise", "identifiability"),
        "Slice consistency and identifiability: positive is better. Sharpness and noise: distance "
        "from 1, which is RAW's own value, so RAW cannot be beaten and p says only that something "
        "changed; controls are judged there by their mean signed distance from 1.",
    ),
)


@dataclass(frozen=True)
class _Source:
    run: Finished
    found: Comparisons
    lookup: Lookup
    missing: dict[Case, dict[str, Count]] = field(default_factory=dict)


def companions(run: Finished, line: str) -> list[Table]:
    """Return a table of rigorous comparisons for each of `COMPANIONS` that was compared."""
    source = _Source(run, Comparisons(run), Lookup(run, RIGOROUS))
    return [_table(source, c, line) for c in COMPANIONS if source.found.of(*c.metrics)]


def _table(source: _Source, companion: Companion, line: str) -> Table:
    cases = source.found.of(*companion.metrics)
    lines = [line for case in cases for line in _lines(source, case)]
    columns, rows = columns_and_rows(source.run, COLUMNS, lines)
    sentences = list(filter(None, _caption(source, companion, cases)))
    return Table(
        f"{companion.beside}-rigorous",
        f"{companion.title}: rigorous comparison with RAW",
        " ".join(sentences),
        columns,
        rows,
        line,
        common=tuple(s for s in sentences if s in (*COMMON, coverage_note(["difference"]))),
    )


def _lines(source: _Source, case: Case) -> Iterator[Line]:
    found, methods = source.found, lined(source.run.design.methods, raw=False)
    every = {name: found.get("sign_flip", case, name) for name in methods}
    known = [row for row in every.values() if row is not None and row.estimate is not None]
    digits = digits_of([row.estimate for row in known], 2, 5)
    tied = found.tied(case)
    missing = counts(source.run, [case.metric], tool=case.tool, structure=case.structure)
    if case.metric in SPREADS.values():
        missing = counts(source.run, [case.metric])
    for name, row in every.items():
        if row is not None:
            count = missing.get(name, Count())
            yield case, name, _cells(source, case, row, digits, name in tied, count)


def _cells(
    source: _Source, case: Case, row: Compared, digits: int, best: bool, missing: Count
) -> list[Cell]:
    def p_of(test: str) -> Cell:
        other = source.found.get(test, case, row.method)
        return p_value(other.p if other else None)

    where, method = place(case), row.method
    icc = source.lookup.number(case.metric, "within_fold_icc", where, method)
    rank = source.lookup.number(case.metric, "rank", where, method)
    return [
        Cell(float(row.n), digits=0),
        _difference(row, digits),
        Cell() if row.effect is None or row.identical else Cell(row.effect),
        p_value(row.p),
        p_value(row.p_adjusted),
        p_of("paired_t"),
        p_of("wilcoxon"),
        p_of("fold"),
        Cell(icc.value) if icc and icc.value is not None else Cell(),
        p_of("tost"),
        Cell(rank.value, digits=1, low=rank.low, high=rank.high)
        if rank and rank.value is not None
        else Cell(),
        Cell(text="yes" if best else ""),
        Cell(text=missing.shown or f"0 of {missing.scores}"),
        Cell(text="; ".join(_notes(source, case, row))),
    ]


def _difference(row: Compared, digits: int) -> Cell:
    if row.identical:
        return Cell(text=IDENTICAL)
    if row.estimate is None:
        return Cell(text=STATUS.get(row.status, row.status))
    return Cell(row.estimate, digits=digits, n=row.n, low=row.low, high=row.high)


def _notes(source: _Source, case: Case, row: Compared) -> Iterator[str]:
    if row.reason and not row.identical:
        yield row.reason
    if row.method in source.run.design.trained and row.p is not None:
        yield "given these trained models"
    guard = source.found.get("guard", case, row.method)
    if guard is not None and guard.reason == "caught":
        yield f"caught here{_off_one(source.run, case, guard)}"
    elif guard is not None and guard.reason and guard.reason != row.reason:
        yield f"the metric {guard.reason}"


def _off_one(run: Finished, case: Case, guard: Compared) -> str:
    """Return what a control was caught by where the line's difference is of another number."""
    if run.design.metrics.get(case.metric) != "one" or guard.estimate is None:
        return ""
    digits = digits_of([guard.estimate], 2, 5)
    limits = [rounded(x, digits) for x in (guard.low, guard.high) if x is not None]
    span = f" [{', '.join(limits)}]" if limits else ""
    return f": off 1 by {rounded(guard.estimate, digits)}{span}"


def _caption(source: _Source, companion: Companion, cases: Sequence[Case]) -> Iterator[str]:
    run, found = source.run, source.found
    yield companion.better
    yield TESTED
    yield coverage_note(["difference"])
    ranked = [m for m in lined(run.design.methods, raw=False) if m not in _asides(run)]
    rows = [r for c in cases for m in ranked if (r := found.get("sign_flip", c, m))]
    numbers = sorted({row.n for row in rows if row.n > 0})
    if numbers:
        yield f"n = {_span(numbers)} subjects."
    yield counted(run, companion.metrics)
    yield _families(found, rows)
    if any(found.get("fold", case, row.method) for case in cases for row in rows):
        yield FOLDS
    yield RANKED
    yield untold(found, cases)
    yield _margins(run, found, cases, ranked)
    if _asides(run):
        yield BELOW
    yield tools_note(run, {case.tool for case in cases})


def _asides(run: Finished) -> list[str]:
    return controls(run.design.methods)


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _families(found: Comparisons, rows: Sequence[Compared]) -> str:
    """Name each family's own p (Simes), and adjusted over families."""
    known = {row.family: family for row in rows if (family := found.family(row))}
    said = [
        f"{label(name)}: {family.n} tests, p = {p_value(family.p).number}, "
        f"{p_value(family.p_adjusted).number} over families"
        for name, family in known.items()
        if family.p is not None and family.p_adjusted is not None
    ]
    return f"Families (Simes p): {'; '.join(said)}." if said else ""


def _margins(
    run: Finished, found: Comparisons, cases: Sequence[Case], methods: Sequence[str]
) -> str:
    tested = {c.metric for c in cases for m in methods if found.get("tost", c, m)}
    margins = [
        f"{rounded(run.design.margins[name], digits_of([run.design.margins[name]], 0, P_DIGITS))} "
        f"({label(name)})"
        for name in sorted(tested & set(run.design.margins))
    ]
    if not margins:
        return ""
    return f"Equivalence: two one-sided tests, unadjusted, margin {', '.join(margins)}."
