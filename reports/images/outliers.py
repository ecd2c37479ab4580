"""Which subjects stand out, and whose images are worth looking at.

Tukey's fences: a value is an outlier where it lies more than 1.5 interquartile ranges beyond the
middle half of the subjects with the same metric, tool, structure, place and method. Nothing is left
out for it; it says where to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harmobench.interface import ASIDE, Finished
from harmobench.reports.lookup import compared, first_repeat
from harmobench.reports.style import label, pair_label
from harmobench.reports.tables.rows import WHOLE

FENCE = 1.5  # interquartile ranges beyond the middle half (Tukey 1977)
FEWEST = 5  # subjects without which quartiles say nothing
EXACT = 1e-9  # of the values' size: a spread below that is what rounding left of none
DIFFER = ("volume", "biomarker")  # of which the differences between scanners count
NEAREST = "nearest to the median over the metrics"
FARTHEST = "farthest from the median over the metrics, no outlier"
Value = tuple[str, float]  # a subject's


@dataclass(frozen=True)
class Group:
    """What one value a subject was taken of; `place` is a scanner or a pair of them."""

    metric: str
    tool: str
    structure: str
    place: tuple[str, ...]
    method: str
    units: str


@dataclass(frozen=True)
class Outlier:
    """A subject's value beyond the fences; `far` is its distance from the middle half, in IQRs."""

    subject: str
    metric: str
    tool: str
    structure: str
    place: tuple[str, ...]
    method: str
    units: str
    value: float
    far: float

    @property
    def said(self) -> str:
        """The outlier in words, without its subject."""
        what = label(self.metric) if self.metric not in DIFFER else f"{self.metric} difference"
        where = "" if self.structure in WHOLE else label(self.structure)
        parts = (what, where, label(self.tool), pair_label(self.place), label(self.method))
        named = ", ".join(filter(None, parts))
        return f"{named}: {self.value:.3g}{f' {self.units}' if self.units else ''}"


@dataclass(frozen=True)
class Chosen:
    """A subject whose images are worth looking at."""

    subject: str
    why: str


def beyond(values: Iterable[Value]) -> list[tuple[str, float, float]]:
    """Return subject, value and distance from the middle half (IQRs) of what is beyond the fences.

    Fewer than 5 subjects, or a middle half that is one value, have no fences.

    >>> beyond([("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0), ("e", 9.0)])
    [('e', 9.0, 2.5)]
    """
    known = [(subject, value) for subject, value in values if np.isfinite(value)]
    if len(known) < FEWEST:
        return []
    middle = _middle([value for _, value in known])
    if middle is None:
        return []
    low, _, high = middle
    far = [max(low - value, value - high) / (high - low) for _, value in known]
    return [(*own, x) for own, x in zip(known, far, strict=True) if x > FENCE]


def _middle(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Return the quartiles; None where they are one value but for rounding."""
    low, median, high = (float(x) for x in np.percentile(values, (25, 50, 75)))
    size = max(abs(low), abs(high))
    return (low, median, high) if high - low > EXACT * size else None


def outliers(run: Finished) -> list[Outlier]:
    """Return every outlier of RAW and the contenders, farthest first.

    Volumes and biomarkers count by the absolute differences of matched scans: a brain that is
    large on all scanners is no outlier.
    """
    found = [
        Outlier(subject, g.metric, g.tool, g.structure, g.place, g.method, g.units, value, far)
        for g, values in groups(run).items()
        for subject, value, far in beyond(values)
    ]
    return sorted(found, key=lambda x: (-x.far, x.subject, x.metric, x.said))


def groups(run: Finished) -> dict[Group, list[Value]]:
    """Return each group's values: of scans or, for what should be equal over scanners, of pairs."""
    frame = first_repeat(run.scores)
    aside = frame["structure"].str.endswith(ASIDE) | (frame["level"] == "cohort")
    wanted = frame["method"].isin(compared(run.design.methods)) & ~aside
    frame = frame.loc[wanted & (frame["status"] == "ok") & (frame["value"].abs() < np.inf)]
    names = ("metric", "tool", "structure", "scanner", "reference_scanner", "method", "units")
    columns = [frame[name].to_numpy(dtype=object) for name in (*names, "subject", "value")]
    found: dict[Group, dict[str, float]] = {}
    for metric, tool, structure, scanner, other, method, units, subject, value in zip(
        *columns, strict=True
    ):
        place = tuple(filter(None, (scanner, other)))
        group = Group(metric, tool, structure, place, method, units)
        found.setdefault(group, {})[subject] = float(value)
    return dict(_matched(run, found))


def _matched(
    run: Finished, found: Mapping[Group, Mapping[str, float]]
) -> Iterator[tuple[Group, list[Value]]]:
    """Put absolute pair differences in the place of the scans' values that should be equal."""
    places = {(own,): i for i, own in enumerate(run.design.scanners)}
    for group, values in found.items():
        if run.design.metrics.get(group.metric) != "equal" or len(group.place) != 1:
            yield group, list(values.items())
            continue
        for place in places:
            if places[place] <= places.get(group.place, len(places)):
                continue
            pair = (*group.place, *place)
            other = found.get(_at(group, place), {})
            both = [(s, abs(value - other[s])) for s, value in values.items() if s in other]
            if both:
                yield _at(group, pair), both


def _at(group: Group, place: tuple[str, ...]) -> Group:
    return Group(group.metric, group.tool, group.structure, place, group.method, group.units)


def chosen(run: Finished, most: int = 3) -> list[Chosen]:
    """Return up to `most` subjects to look at, each with the reason why.

    Those with the most outliers come first, the farthest outlier deciding between equals; the last
    is, of the others, the one nearest to the median over the metrics. Places that no outlier fills
    go to the subjects farthest from it.
    """
    if most < 1 or not run.design.subjects:
        return []
    found: dict[str, list[Outlier]] = {}
    for outlier in outliers(run):
        found.setdefault(outlier.subject, []).append(outlier)
    near = _by_distance(run)
    ranked = sorted(found, key=lambda s: (-len(found[s]), -found[s][0].far, s))
    far = [s for s in reversed(near) if s not in found]
    most = min(most, len(near))
    # a place is kept for the nearest, and one for an outlier before it
    first = [*ranked, *far][: max(most - 1, min(len(ranked), 1))]
    picked = [Chosen(s, _why(found[s]) if s in found else FARTHEST) for s in first]
    if len(picked) < most:
        picked.append(Chosen(next(s for s in near if s not in first), NEAREST))
    return picked


def _why(found: Sequence[Outlier]) -> str:
    count = "1 outlier" if len(found) == 1 else f"{len(found)} outliers, the farthest"
    return f"{count}: {found[0].said}"


def _by_distance(run: Finished) -> list[str]:
    """Return the subjects from the nearest to the median to the farthest from it.

    Distances are in IQRs, averaged within each metric and then over metrics, so that the metric
    with the most structures does not decide alone.
    """
    away: dict[str, dict[str, list[float]]] = {s: {} for s in run.design.subjects}
    for group, values in groups(run).items():
        middle = _middle([value for _, value in values])
        if middle is None:
            continue
        low, median, high = middle
        for subject, value in values:
            if subject in away:
                own = away[subject].setdefault(group.metric, [])
                own.append(abs(value - median) / (high - low))
    most = max((len(own) for own in away.values()), default=0)
    order = {subject: place for place, subject in enumerate(run.design.subjects)}

    def key(subject: str) -> tuple[bool, float, int]:
        means = [float(np.mean(own)) for own in away[subject].values()]
        # a subject without half of the metrics is not typical, however near the others are
        missing = 2 * len(means) < most or not means
        return missing, float(np.mean(means)) if means else 0.0, order[subject]

    return sorted(away, key=key)
