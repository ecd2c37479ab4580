"""Scores of a method as a table: one row a subject of the common set, one column a scan or pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import Design
from harmobench.metrics.statistics.blocks import BASELINE, Block, Names
from harmobench.metrics.statistics.cases import Case
from harmobench.metrics.statistics.intervals import Array


@dataclass(frozen=True)
class Grid:
    """Scores of one method.

    Attributes
    ----------
    subjects
        Of the common set, those that the method has completely.
    names
        Scanner, or scanner pair, of each column.
    values, baseline
        The method's scores and RAW's, subjects x names; both NaN where RAW has no score.
    """

    subjects: tuple[str, ...]
    names: tuple[Names, ...]
    values: Array
    baseline: Array

    @property
    def means(self) -> Array:
        """Mean score of each subject."""
        return subject_means(self.values)


def grid(case: Case, method: str, design: Design) -> Grid:
    """Arrange a method's scores; columns are in the design's order of scanners."""
    raw = case.blocks[BASELINE]
    order = {scanner: place for place, scanner in enumerate(design.scanners)}
    names = sorted(raw.values, key=lambda name: tuple(order.get(s, len(order)) for s in name))
    own = case.values.get(method, {})
    subjects = tuple(subject for subject in case.common if subject in own)
    baseline = cells(raw, subjects, names)
    values = np.where(np.isnan(baseline), np.nan, cells(case.blocks[method], subjects, names))
    return Grid(subjects, tuple(names), values, baseline)


def cells(block: Block, subjects: tuple[str, ...], names: list[Names] | tuple[Names, ...]) -> Array:
    """Scores of a block, subjects x names, NaN where there is none."""
    rows: list[Mapping[str, float]] = [block.values.get(name, {}) for name in names]
    found = [[row.get(subject, np.nan) for row in rows] for subject in subjects]
    return np.array(found, dtype=np.float64).reshape(len(subjects), len(names))


def subject_means(table: Array) -> Array:
    """Mean of each row without its NaN; NaN where a row has nothing."""
    there = ~np.isnan(table)
    count = there.sum(axis=1)
    total = np.where(there, table, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def in_groups(subjects: tuple[str, ...], design: Design) -> tuple[NDArray[np.bool_], ...]:
    """Which subjects are in one of the clinical groups, and which of those are in the first."""
    groups = np.array([design.groups.get(subject, "") for subject in subjects], dtype=object)
    if design.group is None:
        return np.zeros(len(subjects), dtype=bool), np.zeros(0, dtype=bool)
    first, second = groups == design.group.first, groups == design.group.second
    return first | second, first[first | second]
