"""What figures show, in words and numbers, for those who do not see them.

The numbers are those of the run's tables; only the means over the panels of a figure are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from harmobench.interface import Finished
from harmobench.reports.lookup import RIGOROUS, Lookup, Place, compared
from harmobench.reports.shares import Span, cases_of, relative
from harmobench.reports.style import label
from harmobench.reports.tables.guards import Reader, guard_columns
from harmobench.reports.tables.rows import ESTIMATE, lined

Spans = Mapping[str, Span]
Read = Callable[[str], str]


def means(run: Finished, metric: str, aggregate: str, tool: str | None = None) -> str:
    """Return "RAW 0.81, MISPEL 0.94": a mean over all the bars of a method."""
    lookup = Lookup(run)
    places = lookup.cases(metric, aggregate) or lookup.cases(metric, aggregate, pooled=True)
    places = [place for place in places if tool in (None, place.tool)]

    def read(method: str) -> str:
        found = [lookup.value(metric, aggregate, place, method) for place in places]
        known = [value for value in found if value is not None]
        return f"{sum(known) / len(known):.3g}" if known else ""

    return _listed(run, read)


def span(run: Finished, metric: str, structure: str, tool: str) -> str:
    """Return "RAW 598 to 636, MISPEL 600 to 604": lowest and highest mean of a scanner."""
    lookup = Lookup(run)
    places = [p for p in lookup.cases(metric, "mean") if (p.structure, p.tool) == (structure, tool)]

    def read(method: str) -> str:
        found = [lookup.value(metric, "mean", place, method) for place in places]
        known = [value for value in found if value is not None]
        return f"{min(known):.4g} to {max(known):.4g}" if known else ""

    return _listed(run, read)


def different(run: Finished, metric: str, structures: Sequence[str], tool: str = "") -> str:
    """Return "RAVEL in 5 of 6": in how many panels a method is marked as different from RAW."""
    lookup = Lookup(run)
    aggregate = "rmsd" if metric == "volume" else "mean"
    places = [
        place
        for place in lookup.cases(metric, aggregate)
        if place.tool == tool and (not structures or place.structure in structures)
    ]
    methods = [
        method
        for method in compared(run.design.methods)
        if method != "raw"
        and any(lookup.value(metric, aggregate, place, method) is not None for place in places)
    ]
    counts = {m: sum(lookup.significant(metric, p, m) for p in places) for m in methods}
    if not methods or not places:
        return ""
    said = ", ".join(f"{label(m)} in {n}" for m, n in counts.items())
    return f"Marked as different from RAW, of {len(places)} comparisons: {said}."


def over_all(
    run: Finished, metric: str, aggregate: str, tool: str, structures: Collection[str]
) -> str:
    """Return "GM: RAW 21.0, MISPEL 7.6": rigorous estimates over all pairs, by structure."""
    lookup = Lookup(run, RIGOROUS)
    places = lookup.cases(metric, aggregate, pooled=True)
    shown = [p for p in places if p.tool == tool and p.structure in structures]
    return _by_structure(run, lookup, metric, aggregate, shown)


def regions(run: Finished, rigorous: str, paper: str) -> str:
    """Return each region's numbers: rigorous estimates, or the paper's where there are none."""
    for lookup, name in ((Lookup(run, RIGOROUS), rigorous), (Lookup(run), paper)):
        places = lookup.cases("biomarker", name, pooled=True)
        if places:
            return _by_structure(run, lookup, "biomarker", name, places)
    return ""


def _by_structure(
    run: Finished, lookup: Lookup, metric: str, aggregate: str, places: Iterable[Place]
) -> str:
    said = []
    for place in places:

        def read(method: str, place: Place = place) -> str:
            value = lookup.value(metric, aggregate, place, method)
            return "" if value is None else f"{value:.3g}"

        numbers = _listed(run, read)
        if numbers:
            said.append(f"{label(place.structure)}: {numbers}")
    return "; ".join(said)


def components(run: Finished, tool: str) -> str:
    """Return what each contender leaves of the scanner and keeps of the subjects, of RAW's."""
    lookup, said = Lookup(run, RIGOROUS), []
    for case in cases_of(lookup, tool):
        left, kept = (relative(lookup, case, name) for name in ("scanner", "subject"))

        def read(method: str, left: Spans = left, kept: Spans = kept) -> str:
            if method == "raw" or method not in left or method not in kept:
                return ""
            return f"leaves {left[method].value:.2f} and keeps {kept[method].value:.2f}"

        numbers = _listed(run, read) or "no scanner effect found in RAW"
        said.append(f"{label(case.structure)}: {numbers}")
    return "; ".join(said)


def guards(run: Finished) -> str:
    """Return each guard's values, controls among them."""
    said = []
    for column, cell in guard_columns(run):
        if column.parts == ESTIMATE:

            def read(method: str, cell: Reader = cell) -> str:
                value = cell(method).value
                return f"{value:.2f}" if value is not None else ""

            numbers = _listed(run, read, lined(run.design.methods))
            if numbers:
                said.append(f"{column.key}: {numbers}")
    return "; ".join(said)


def _listed(run: Finished, read: Read, methods: Sequence[str] | None = None) -> str:
    names = compared(run.design.methods) if methods is None else methods
    return ", ".join(f"{label(m)} {said}" for m in names if (said := read(m)))
