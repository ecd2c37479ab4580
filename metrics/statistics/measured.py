"""Aggregates of a measure that should be equal over scanners, such as a volume.

Removal of the scanner: RMSD, ICC, CoV, Bland-Altman, components and shares. Preservation of the
subject: slope on RAW's or the true subject means, effect sizes and their change.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from harmobench.interface import Design
from harmobench.metrics.statistics.agreement import (
    bland_altman,
    icc_agreement,
    rmsd,
    within_subject_cov,
)
from harmobench.metrics.statistics.blocks import ALL, BASELINE, Block, Names
from harmobench.metrics.statistics.cases import Case
from harmobench.metrics.statistics.components import components
from harmobench.metrics.statistics.effects import change, standardized
from harmobench.metrics.statistics.grids import Grid, cells, in_groups, subject_means
from harmobench.metrics.statistics.intervals import Array, Estimate
from harmobench.metrics.statistics.slopes import slope

Found = Iterator[tuple[str, Estimate, str]]  # aggregate, estimate, units


def measured(
    case: Case, method: str, own: Grid, design: Design, true: Block | None
) -> Iterator[tuple[str, Estimate, str, Names]]:
    """Yield aggregate, estimate, units, and the pair of scanners where it is of one.

    Parameters
    ----------
    case, method, own
        What was measured: a method's scores in a case.
    design
        Of the run.
    true
        The measure's true values of RAW's scans, where they are known.
    """
    for aggregate, found, units in _overall(case, method, own, design, true):
        yield aggregate, found, units, ALL
    for aggregate, found, pair in _pairs(own):
        yield aggregate, found, case.units, pair


def _overall(case: Case, method: str, own: Grid, design: Design, true: Block | None) -> Found:
    yield "rmsd", rmsd(own.values), case.units
    yield "icc", icc_agreement(own.values), ""
    yield "cov", within_subject_cov(own.values), ""
    parts = components(own.values)
    squared = f"{case.units}^2" if case.units else ""
    for name in parts.variances:
        yield f"component_{name}", parts.variances[name], squared
        yield f"share_{name}", parts.shares[name], ""
    baseline = own.baseline if method != BASELINE else None
    if baseline is not None:
        yield "slope", slope(subject_means(baseline), own.means), ""
    truth = None if true is None else _truth(own, true)
    if truth is not None:
        known = ~np.isnan(truth)
        yield "slope_truth", slope(truth[known], own.means[known]), ""
    if design.group is not None:
        yield from _effects(own, baseline, truth, design)


def _truth(own: Grid, true: Block) -> Array | None:
    """Return the true value of each subject, NaN where unknown; None where all are."""
    truth = subject_means(cells(true, own.subjects, own.names))
    return None if np.isnan(truth).all() else truth


def _effects(own: Grid, baseline: Array | None, truth: Array | None, design: Design) -> Found:
    known, first = in_groups(own.subjects, design)
    for name, found in zip(
        ("cohen_d", "hedges_g"), standardized(own.values[known], first), strict=True
    ):
        yield name, found, ""
    if baseline is not None:
        yield "cohen_d_change", change(own.values[known], baseline[known], first), ""
    if truth is not None:
        yield "cohen_d_true", standardized(truth[known][:, None], first)[0], ""


def _pairs(own: Grid) -> Iterator[tuple[str, Estimate, Names]]:
    """Yield RMSD, bias and limits of agreement of each pair of scanners."""
    aggregates = ("bland_altman_bias", "bland_altman_low", "bland_altman_high")
    for i, k in combinations(range(len(own.names)), 2):
        pair = own.names[i][0], own.names[k][0]
        yield "rmsd", rmsd(own.values[:, [i, k]]), pair
        differences = own.values[:, i] - own.values[:, k]
        found = bland_altman(differences[~np.isnan(differences)])
        for aggregate, each in zip(aggregates, found, strict=True):
            yield aggregate, each, pair
