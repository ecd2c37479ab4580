"""HB-T12: what notices a method that buys agreement by removing anatomy, and which control it did.

Whether a control is caught was tested by the statistics; here the rows that say so are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from harmobench.interface import Finished
from harmobench.reports.comparisons import Comparisons
from harmobench.reports.lookup import (
    RIGOROUS,
    Lookup,
    Number,
    Place,
    controls,
    first_repeat,
    scores,
    values_by,
)
from harmobench.reports.style import label
from harmobench.reports.tables.counts import counted
from harmobench.reports.tables.coverage import coverage_note
from harmobench.reports.tables.formats import Cell, Column, Table, rounded
from harmobench.reports.tables.rows import (
    ESTIMATE,
    WHOLE,
    estimate,
    how_intervals,
    lined,
    structure_label,
)

Reader = Callable[[str], Cell]
GUARDS = ("slice_consistency", "sharpness", "noise", "identifiability", "individuality")
TISSUES = ("gm", "wm")
MUST_BE_CAUGHT = ("degenerate", "degradation")
EXACT = 1e-6  # an interval of a ratio that is this near to 1 is rounding
LOST = "contrast_lost"  # what the reason of an undefined score starts with
# the method's own loss: "contrast_lost: RAW has ..." says that RAW itself had none to lose
OWN_LOSS = rf"{LOST}: (?!RAW\b)"
TEXT = (
    "Slice consistency: correlation of an image's neighbouring-slice SSIM with RAW's along each "
    "axis, mean (SD) over all scans; higher is better. Sharpness: share of RAW's edges that is "
    "kept; noise: against RAW's; means over subjects, 1 is RAW's, nearer is better. "
    "Identifiability: share of scans whose nearest scan on another scanner is of the same person, "
    "among all subjects or those of the test fold (for all methods alike), chance beside it; "
    "higher is better. Individuality: spread between subjects against RAW's, and slope of subject "
    "means of volumes on RAW's; below 1 subjects were shrunk to one another."
)


def guards(run: Finished, line: str) -> list[Table]:
    """Return HB-T12, or nothing where no guard was measured."""
    table = _table(run, line)
    return [table] if table else []


def _table(run: Finished, line: str) -> Table | None:
    columns = guard_columns(run)
    methods = lined(run.design.methods)
    lines = {name: [read(name) for _, read in columns] for name in methods}
    kept = [
        i
        for i in range(len(columns))
        if any(cells[i].value is not None for cells in lines.values())
    ]
    if not kept:
        return None
    by = caught(run)
    aside = set(controls(run.design.methods))
    shown = [Column("method", "Method"), Column("role", "Role")]
    shown += [columns[i][0] for i in kept]
    shown += [Column("caught by", "Caught by")] * bool(by)
    rows = tuple(
        (
            Cell(text=label(name), aside=name in aside),
            Cell(text=run.design.methods[name]),
            *(lines[name][i] for i in kept),
            *([Cell(text=", ".join(by[name]) or "nothing" if name in by else "")] if by else []),
        )
        for name in methods
    )
    return Table("HB-T12", "Guards", _caption(run, bool(by)), tuple(shown), rows, line)


def guard_columns(run: Finished) -> list[tuple[Column, Reader]]:
    """Return each guard of the run as a column, and how to read a method's cell of it."""
    lookup = Lookup(run, RIGOROUS)
    return [*_slices(run), *_images(run, lookup), *_slopes(lookup)]


def _caption(run: Finished, watched: bool) -> str:
    lookup = Lookup(run, RIGOROUS)
    names = ("mean", "individuality", "slope")
    numbers = [
        lookup.number(metric, name, place, method)
        for metric in (*GUARDS[1:], "volume")
        for name in names
        for place in lookup.cases(metric, name, pooled=True)
        for method in run.design.methods
    ]
    sentences = [TEXT, how_intervals(numbers), coverage_note(names)]
    sizes = sorted({x.n for x in numbers if x is not None and x.value is not None and x.n})
    if sizes:
        span = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        sentences.append(f"n = {span} subjects.")
    measured = [name for name in GUARDS if name in run.design.metrics]
    sentences.append(counted(run, measured))
    if watched:
        sentences.append(
            "Caught by: what is worse than in RAW by an unadjusted 95% interval (of sharpness and "
            "noise, of the mean signed distance from 1). Slice consistency alone catches nothing, "
            "since any change lowers it."
        )
    if controls(run.design.methods):
        sentences.append("Controls stand below, never ranked.")
    return " ".join(filter(None, sentences))


def _slices(run: Finished) -> Iterator[tuple[Column, Reader]]:
    lookup = Lookup(run)
    for place in lookup.cases("slice_consistency", "mean", pooled=True):

        def read(method: str, place: Place = place) -> Cell:
            number = lookup.number("slice_consistency", "mean", place, method)
            if number is None or number.value is None:
                return _gap(lookup, "slice_consistency", place, method, number)
            spread = lookup.value("slice_consistency", "sd", place, method)
            return Cell(number.value, spread, 3, number.n)

        name = f"slices {label(place.structure)}"
        yield Column(name, name.capitalize(), True, ("SD", "n")), read


def _images(run: Finished, lookup: Lookup) -> Iterator[tuple[Column, Reader]]:
    for metric, aggregate in (("sharpness", "mean"), ("noise", "mean")):
        for place in lookup.cases(metric, aggregate, pooled=True):
            yield _column(label(metric)), _reader(lookup, metric, aggregate, place)
    for place in lookup.cases("identifiability", "mean", pooled=True):
        name = f"identifiability, {place.structure}"
        yield _column(name), _reader(lookup, "identifiability", "mean", place)
        chances = _chances(run, place.structure)
        if chances:
            heading = f"Chance, {place.structure}"

            def read(method: str, chances: Mapping[str, float] = chances) -> Cell:
                return Cell(chances[method], digits=3) if method in chances else Cell()

            yield Column(heading.lower(), heading, True, ()), read
    for place in lookup.cases("individuality", "individuality", pooled=True):
        yield _column("individuality"), _reader(lookup, "individuality", "individuality", place)


def _chances(run: Finished, structure: str) -> dict[str, float]:
    """Return each method's chance, which stands beside every score: its mean over subjects."""
    found = values_by(scores(run, "identifiability", structure=f"{structure}_chance"), ["method"])
    return {m: sum(v for _, v in rows) / len(rows) for (m,), rows in found.items()}


def _slopes(lookup: Lookup) -> Iterator[tuple[Column, Reader]]:
    places = [p for p in lookup.cases("volume", "slope", pooled=True) if p.structure in TISSUES]
    several = len({(p.tool, p.space) for p in places}) > 1
    for place in places:
        tool = f" {label(place.tool)}" if several else ""
        name = f"slope, {label(place.structure)}{tool}"
        yield _column(name), _reader(lookup, "volume", "slope", place)


def _column(name: str) -> Column:
    return Column(name, name[0].upper() + name[1:], True, ESTIMATE)


def _reader(lookup: Lookup, metric: str, aggregate: str, place: Place) -> Reader:
    def read(method: str) -> Cell:
        number = lookup.number(metric, aggregate, place, method)
        if number is None or number.value is None:
            if aggregate == "slope" and method == "raw":
                return Cell(text="1 by definition")
            return _gap(lookup, metric, place, method, number)
        digits = 3 if metric == "identifiability" else 2
        return estimate(number, digits)

    return read


def _gap(lookup: Lookup, metric: str, place: Place, method: str, number: Number | None) -> Cell:
    if lost_contrast(lookup.run, method, metric):
        return Cell(text="contrast lost")
    return Cell(text=number.status if number else lookup.status(metric, place, method))


def caught(run: Finished) -> dict[str, list[str]]:
    """Return what caught each degenerate or degraded control; an empty list where nothing did.

    What is measured on several structures names those that caught, such as "slope (GM, WM)".
    """
    roles = run.design.methods
    names = [name for name in controls(roles) if roles[name] in MUST_BE_CAUGHT]
    lookup, found = Lookup(run, RIGOROUS), Comparisons(run)
    tools = {case.tool for case in found.cases} - {""}
    return {name: _gathered(_catchers(run, lookup, found, name), len(tools) > 1) for name in names}


def _gathered(catchers: Iterable[tuple[str, str, str]], several: bool) -> list[str]:
    """Join (catcher, tool, structure) by catcher; tools are named where there are several."""
    found: dict[str, list[str]] = {}
    for name, tool, structure in catchers:
        where = structure_label(structure) if structure else ""
        where = f"{label(tool)} {where}".strip() if several and tool else where
        found.setdefault(name, [])
        if where and where not in found[name]:
            found[name].append(where)
    return [f"{name} ({', '.join(of)})" if of else name for name, of in found.items()]


def off_by(run: Finished, method: str) -> Iterator[str]:
    """Say which guards a method is off on, by the unadjusted intervals that catch controls."""
    lookup = Lookup(run, RIGOROUS)
    if lost_contrast(run, method):
        yield "lost contrast"
    guards = (("sharpness", "mean"), ("noise", "mean"), ("individuality", "individuality"))
    for metric, aggregate in guards:
        for place in lookup.cases(metric, aggregate, pooled=True):
            number = lookup.number(metric, aggregate, place, method)
            if number is None or number.value is None or number.low is None:
                continue
            noisy = metric == "noise" and number.low > 1 + EXACT
            if _below(number, 1) or noisy:
                yield f"{label(metric)} {ratio_text(number)}"


def ratio_text(number: Number) -> str:
    """Write a ratio to RAW with its interval: never "1.00" for a limit that is not 1."""
    limits = [x for x in (number.low, number.high) if x is not None]
    digits = 3 if any(rounded(x, 2) == "1.00" and abs(x - 1) > EXACT for x in limits) else 2
    interval = f" [{', '.join(rounded(x, digits) for x in limits)}]" if limits else ""
    return "" if number.value is None else f"{rounded(number.value, digits)}{interval}"


def _catchers(
    run: Finished, lookup: Lookup, found: Comparisons, control: str
) -> Iterator[tuple[str, str, str]]:
    """Yield what caught a control: its name, and tool and structure where it has them."""
    if lost_contrast(run, control):
        yield "lost contrast", "", ""
    guarded = [
        case
        for case in found.judging
        if (row := found.get("guard", case, control)) is not None and row.reason == "caught"
    ]
    names = {case.metric for case in guarded}
    for name in ("sharpness", "noise"):
        if name in names:
            yield f"{name}{_amount(lookup, name, control)}", "", ""
    if "identifiability" in names:
        yield "identifiability", "", ""
    for place in lookup.cases("individuality", "individuality", pooled=True):
        number = lookup.number("individuality", "individuality", place, control)
        if _below(number, 1):
            yield "individuality", "", ""
    for metric in ("volume", "biomarker"):
        for place in lookup.cases(metric, "slope", pooled=True):
            if _below(lookup.number(metric, "slope", place, control), 1):
                yield "slope", place.tool, place.structure
        for place in lookup.cases(metric, "cohen_d_change", pooled=True):
            if loses_effect(lookup, metric, place, control):
                yield "effect size", place.tool, place.structure
    for case in guarded:
        if case.metric not in GUARDS:
            where = "" if case.structure in WHOLE else case.structure
            yield case.measure, case.tool, where


def _amount(lookup: Lookup, metric: str, method: str) -> str:
    """Return a guard's mean in brackets; RAW's is 1 by definition."""
    for place in lookup.cases(metric, "mean", pooled=True):
        value = lookup.value(metric, "mean", place, method)
        if value is not None:
            return f" ({rounded(value, 2)})"
    return ""


def lost_contrast(run: Finished, method: str, metric: str = "") -> bool:
    """Whether some scan of a method, but not its RAW, has white matter no brighter than grey."""
    frame = first_repeat(run.scores)
    own = frame.loc[(frame["method"] == method) & (frame["status"] == "undefined")]
    own = own.loc[own["metric"] == metric] if metric else own
    return bool(own["reason"].str.match(OWN_LOSS).any())


def _below(number: Number | None, limit: float) -> bool:
    return number is not None and number.high is not None and number.high < limit - EXACT


def loses_effect(lookup: Lookup, metric: str, place: Place, method: str) -> bool:
    """Whether a method's effect size is nearer to 0, or turned over, with an interval that says so.

    The interval is of the change of d against RAW.
    """
    change = lookup.number(metric, "cohen_d_change", place, method)
    raw = lookup.value(metric, "cohen_d", place, "raw")
    if change is None or change.low is None or change.high is None or not raw:
        return False
    return change.high < 0 if np.sign(raw) > 0 else change.low > 0
