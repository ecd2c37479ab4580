"""Two methods of a case, ready for a test: who can be compared, over whom, and what is rounding."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import SPREADS, Design
from harmobench.metrics.statistics.blocks import BASELINE
from harmobench.metrics.statistics.cases import Case
from harmobench.metrics.statistics.paired import IDENTICAL
from harmobench.store import merkle

Cell = dict[str, Any]
PARENTS = {spread: metric for metric, spread in SPREADS.items()}


@dataclass(frozen=True)
class Pair:
    """Two methods on the subjects that both have.

    Attributes
    ----------
    subjects, differences
        Method minus comparator for each subject; below rounding it is exactly 0.
    size
        Rounding is 1e-6 of it: the metric's range, or the scores' size where that is infinite.
    """

    subjects: tuple[str, ...]
    differences: NDArray[np.float64]
    size: float


def pair_of(case: Case, method: str, other: str, design: Design) -> Pair:
    """Pair two methods of a case over the common set."""
    subjects, values = case.paired(method, other)
    size = size_of(case, (method, other), design, subjects)
    differences = np.array(values, dtype=np.float64)
    differences[np.abs(differences) <= IDENTICAL * size] = 0.0
    return Pair(subjects, differences, size)


def size_of(
    case: Case, methods: Collection[str], design: Design, subjects: Collection[str]
) -> float:
    """Range of the case's metric; where it is infinite, the methods' largest score of subjects."""
    metric = case.labels["metric"]  # a spread of scores is rounded as the scores are
    low, high = design.ranges.get(PARENTS.get(metric, metric), (-np.inf, np.inf))
    if np.isfinite(high - low):
        return high - low
    found = [
        abs(value)
        for method in methods
        for row in case.blocks[method].values.values()
        for subject, value in row.items()
        if subject in subjects
    ]
    return max(found, default=0.0)


def by_subject(case: Case) -> bool:
    """Whether the scores belong to subjects: one number a cohort cannot be tested."""
    return not any("" in row for block in case.blocks.values() for row in block.values.values())


def absence(case: Case, method: str) -> Cell:
    """Status and reason of a method that cannot be compared; empty where it can."""
    for block in (case.blocks[method], case.blocks[BASELINE]):
        if not block.values:
            status = "undefined" if block.status == "ok" else block.status
            return {"status": status, "reason": block.reason or "no scores"}
    return {"status": "failed", "reason": case.left[method]} if method in case.left else {}


def seed_of(kind: str, case: Case, design: Design) -> int:
    """Seed of what is drawn for a case; which other cases and methods there are changes nothing."""
    return int(merkle(kind, design.seed, dict(case.labels)), 16)


def head_of(case: Case, method: str, aggregate: str) -> Cell:
    """Columns that say what an aggregate of a method is about; it has no unit of its own."""
    config = case.blocks[method].labels["config"]
    return {**case.labels, "method": method, "config": config, "aggregate": aggregate}
