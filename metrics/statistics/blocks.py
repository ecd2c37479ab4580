"""Scores arranged for arithmetic: one block a method, tool, metric and structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Design

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "raw"
KEYS = ("method", "config", "repeat", "tool", "metric", "structure", "space")
COLUMNS = (*KEYS, "units", "level", "subject", "scanner", "reference_scanner")
WORST = ("failed", "undefined", "not_measured", "not_applicable")  # what an empty block is
STEP = 1 << 16  # rows that are Python objects at a time
Names = tuple[str, str]  # scanner and reference scanner; "" where there is none
BySubject = dict[str, float]
ALL: Names = ("", "")  # over all scanners or pairs


@dataclass
class Block:
    """Scores of one method on one structure.

    Attributes
    ----------
    labels
        The block's columns, `KEYS`.
    units
        Of the scores.
    level
        "scan", "pair" or "cohort".
    values
        Scores with status "ok", by scanner or scanner pair and by subject.
    status, reason
        Why there are none, where there are none.
    """

    labels: Mapping[str, Any]
    units: str = ""
    level: str = ""
    values: dict[Names, BySubject] = field(default_factory=dict)
    status: str = "ok"
    reason: str = ""

    @property
    def size(self) -> float:
        """Largest absolute score, 0 where there is none."""
        return max((abs(v) for row in self.values.values() for v in row.values()), default=0.0)

    def differences(self, pair: Names) -> BySubject:
        """Score on the first minus on the second scanner, of subjects seen on both."""
        first = self.values.get((pair[0], ""), {})
        second = self.values.get((pair[1], ""), {})
        return {subject: first[subject] - second[subject] for subject in first if subject in second}


def blocks(scores: pd.DataFrame) -> Iterator[Block]:
    """Yield every block of a table of scores, in the table's order."""
    found: dict[tuple[Any, ...], Block] = {}
    bad: dict[tuple[Any, ...], tuple[str, str]] = {}
    for row in _rows(scores):
        key, (units, level, subject, a, b, value, status, reason) = row[:7], row[7:]
        block = found.setdefault(key, Block(dict(zip(KEYS, key, strict=True))))
        block.units, block.level = block.units or units, block.level or level
        if status == "ok" and np.isfinite(value):
            block.values.setdefault((a, b), {})[subject] = float(value)
        elif key not in bad or _rank(status) < _rank(bad[key][0]):
            bad[key] = (status, reason)
    for key, block in found.items():
        if not block.values:
            block.status, block.reason = bad[key]
        yield block


def _rows(scores: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield rows as tuples, some at a time; a text that comes again is the same object."""
    texts: dict[Any, Any] = {}
    for start in range(0, len(scores), STEP):
        part = scores.iloc[start : start + STEP]
        columns = [[texts.setdefault(x, x) for x in part[name].tolist()] for name in COLUMNS]
        columns += [part[name].tolist() for name in ("value", "status", "reason")]
        yield from zip(*columns, strict=True)


def _rank(status: str) -> int:
    return WORST.index(status) if status in WORST else len(WORST)


def is_equal(block: Block, design: Design) -> bool:
    """Whether the metric is a measure that should be equal over scanners, such as a volume."""
    return block.level == "scan" and design.metrics.get(block.labels["metric"]) == "equal"
