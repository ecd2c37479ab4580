"""Scores arranged for comparing methods: one case a metric, tool and structure, one unit a subject.

Source: design of the rigorous mode. The unit is the subject: scores are averaged over a subject's
scans or pairs first, since pooling pairs of one subject rejects a true null far too often.

A case holds the methods' blocks of one repeat. Methods without folds are scored once, so their
block of repeat 0 stands in every repeat's case; `Case.fresh` names those that belong to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import ASIDE, CONTROLS, LOWER_IS_BETTER, SPREADS, Better, Design
from harmobench.metrics.statistics.blocks import BASELINE, Block, BySubject, Names, blocks

if TYPE_CHECKING:
    import pandas as pd

# Metric and structure that hang on the folds of a repeat, so that repeats cannot be compared.
OF_FOLDS = frozenset({("identifiability", "fold")})
MOST_MISSING = 0.1  # of RAW's subjects: a contender that lacks more leaves the comparison
PLACE = ("tool", "metric", "structure", "space")


@dataclass(frozen=True)
class Case:
    """All methods on one metric, tool, structure and space.

    Attributes
    ----------
    labels
        tool, metric, structure, space, repeat.
    units
        Of the scores.
    better
        Of the metric.
    blocks
        Scores by method, RAW among them.
    values
        A subject's value by method and subject, all that there are: see `subject_values`.
    common
        Subjects that RAW and every contender that stayed have completely, in the manifest's order.
    left
        Contenders that left the comparison, and why.
    fresh
        Methods whose scores are of this repeat: the others were compared in an earlier one.
    """

    labels: Mapping[str, Any]
    units: str
    better: Better
    blocks: Mapping[str, Block]
    values: Mapping[str, BySubject]
    common: tuple[str, ...]
    left: Mapping[str, str] = field(default_factory=dict)
    fresh: frozenset[str] = frozenset()

    @property
    def sign(self) -> float:
        """1 where a higher subject value is better, -1 where a lower one is."""
        return -1.0 if self.better in LOWER_IS_BETTER else 1.0

    def paired(self, method: str, other: str) -> tuple[tuple[str, ...], list[float]]:
        """Subjects of the common set that both methods have, and method minus other for each."""
        own, theirs = self.values.get(method, {}), self.values.get(other, {})
        subjects = tuple(s for s in self.common if s in own and s in theirs)
        return subjects, [own[s] - theirs[s] for s in subjects]


def contenders(design: Design) -> tuple[str, ...]:
    """Return the ranked methods: RAW, controls and undeclared plugins are none of them."""
    return tuple(m for m in design.methods if is_contender(m, design))


def is_contender(method: str, design: Design) -> bool:
    """Whether a method is ranked."""
    return (
        method != BASELINE
        and design.methods.get(method) not in CONTROLS
        and method in design.declared
    )


def cases(scores: pd.DataFrame, design: Design) -> Iterator[Case]:
    """Yield a case for each metric, tool, structure, space and repeat that RAW was scored on."""
    found: dict[tuple[Any, ...], dict[int, dict[str, Block]]] = {}
    for block in blocks(scores):
        for each in (block, *_spread(block)):
            if not str(each.labels["structure"]).endswith(ASIDE):
                place = tuple(each.labels[key] for key in PLACE)
                repeats = found.setdefault(place, {})
                repeats.setdefault(int(each.labels["repeat"]), {})[each.labels["method"]] = each
    for place, repeats in found.items():
        first = {} if place[1:3] in OF_FOLDS else repeats.get(0, {})
        for repeat, own in sorted(repeats.items()):
            every = {**first, **own}
            if BASELINE in every:
                labels = dict(zip(PLACE, place, strict=True)) | {"repeat": repeat}
                yield _case(
                    labels, {m: every[m] for m in design.methods if m in every}, own, design
                )


def _case(
    labels: dict[str, Any], every: dict[str, Block], own: Mapping[str, Block], design: Design
) -> Case:
    better = better_of(str(labels["metric"]), design)
    raw = every[BASELINE]
    cells = _cells(raw)
    seen = [s for s in design.subjects if s in cells] or sorted(cells)
    owned = {m: _cells(b) for m, b in every.items()}
    whole = {m: {s for s in seen if cells[s] <= has.get(s, set())} for m, has in owned.items()}
    left: dict[str, str] = {}
    staying = []
    for method in every:
        if not is_contender(method, design):
            continue
        missing = len(seen) - len(whole[method])
        if missing > MOST_MISSING * len(seen):
            left[method] = f"no complete scores of {missing} of {len(seen)} subjects"
        else:
            staying.append(method)
    common = tuple(s for s in seen if all(s in whole[m] for m in staying))
    values = {
        m: {s: v for s, v in subject_values(b, better, cells).items() if s in whole[m]}
        for m, b in every.items()
    }
    units = next((b.units for b in every.values() if b.units), "")
    return Case(labels, units, better, every, values, common, left, frozenset(own))


def better_of(metric: str, design: Design) -> Better:
    """`better` of a metric, also of those that are made of another one's scores."""
    return "lower" if metric in SPREADS.values() else design.metrics.get(metric, "higher")


def _cells(block: Block) -> dict[str, set[Names]]:
    found: dict[str, set[Names]] = {}
    for names, row in block.values.items():
        for subject in row:
            found.setdefault(subject, set()).add(names)
    return found


def _spread(block: Block) -> Iterator[Block]:
    """Yield the SD (n-1) of a metric's scores over a subject's scanners as a block of its own."""
    name = SPREADS.get(block.labels["metric"])
    if name is None:
        return
    if not block.values:
        labels = {**block.labels, "metric": name}
        yield Block(labels, block.units, block.level, {}, block.status, block.reason)
        return
    by_subject: dict[str, list[float]] = {}
    for row in block.values.values():
        for subject, value in row.items():
            by_subject.setdefault(subject, []).append(value)
    spreads = {s: float(np.std(v, ddof=1)) for s, v in by_subject.items() if len(v) > 1}
    # it stands at every scan, so that who lacks one lacks it here too
    values = {
        names: {s: spreads[s] for s in row if s in spreads} for names, row in block.values.items()
    }
    kept = {names: row for names, row in values.items() if row}
    yield Block({**block.labels, "metric": name}, block.units, block.level, kept)


def subject_values(
    block: Block, better: Better, cells: Mapping[str, set[Names]] | None = None
) -> BySubject:
    """One number a subject: what methods are compared by.

    The mean over the subject's scans or pairs; of measures that should be equal over scanners the
    mean absolute difference over its pairs; of those that should be one or zero the mean distance
    from it. Where `cells` names a subject's scans or pairs, the others are left out: a method may
    have been scored where RAW was not.
    """
    by_subject: dict[str, list[float]] = {}
    for names, row in block.values.items():
        for subject, value in row.items():
            if cells is None or names in cells.get(subject, ()):
                by_subject.setdefault(subject, []).append(value)
    if better == "equal":
        return {s: _mean_difference(v) for s, v in by_subject.items() if len(v) > 1}
    target = {"one": 1.0, "zero": 0.0}.get(better)
    if target is not None:
        return {s: float(np.mean(np.abs(np.array(v) - target))) for s, v in by_subject.items()}
    return {s: float(np.mean(v)) for s, v in by_subject.items()}


def _mean_difference(values: list[float]) -> float:
    array = np.array(values)
    first, second = np.triu_indices(array.size, 1)
    return float(np.abs(array[first] - array[second]).mean())
