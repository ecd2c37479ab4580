"""What subjects of one test fold share: a model, and so a part of its luck.

Subjects scored by the same trained model are not independent, so a test over subjects rejects too
often for cross-validated methods. Beside it stands a test over folds, and how much a fold's
subjects have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import Design
from harmobench.metrics.statistics.blocks import BASELINE
from harmobench.metrics.statistics.cases import Case
from harmobench.metrics.statistics.pairs import Cell, absence, head_of, pair_of

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Folds = Mapping[str, int]  # test fold of each subject
EveryFold = Mapping[tuple[int, str], Folds]  # by repeat and method


def folds_of(scores: pd.DataFrame, design: Design) -> dict[tuple[int, str], dict[str, int]]:
    """Test fold of each subject by repeat and method.

    Every repeat splits anew, and methods of runs that are compared may have been trained on other
    folds. Where the scores do not say, it is the design's fold.
    """
    found: dict[tuple[int, str], dict[str, int]] = {}
    trained = scores[scores["method"].isin(design.trained) & (scores["fold"] >= 0)]
    columns = trained[["repeat", "method", "subject", "fold"]].drop_duplicates().to_dict("list")
    for repeat, method, subject, fold in zip(*columns.values(), strict=True):
        found.setdefault((repeat, method), dict(design.folds))[subject] = fold
    return found


def by_fold(subjects: Sequence[str], differences: Array, folds: Folds) -> list[Array]:
    """Sort differences into test folds, in the order of the folds; unknown folds are left out.

    >>> by_fold(["01", "02", "03"], np.array([1.0, 2.0, 3.0]), {"01": 1, "02": 0, "03": 1})
    [array([2.]), array([1., 3.])]
    """
    own = np.array([folds.get(subject, -1) for subject in subjects], dtype=np.int64)
    return [differences[own == fold] for fold in np.unique(own) if fold >= 0]


@dataclass(frozen=True)
class Correlation:
    """An intraclass correlation with its 95% F interval; `reason` where it has no value."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def within_fold_icc(groups: Sequence[Array]) -> Correlation:
    """ICC(1) of subjects' differences within test folds, from the one-way analysis of variance.

    (MSB - MSW) / (MSB + (k - 1) MSW), with k the folds' size, of unequal folds
    (N - sum n_i^2 / N) / (F - 1). The interval is exact for normal values and equal folds, else
    near it.

    Source: Donner 1986, sections 2 and 3 (analysis of variance estimator, unequal sizes).

    Parameters
    ----------
    groups
        Differences of each fold.

    Examples
    --------
    >>> round(within_fold_icc([np.array([1.0, 1.2]), np.array([3.0, 3.4])]).value, 3)
    0.978
    """
    from scipy import stats

    sizes = np.array([group.size for group in groups if group.size])
    n, folds = int(sizes.sum()), sizes.size
    if folds < 2 or n <= folds:
        return Correlation(reason=f"expected 2 folds, one of 2 subjects; found {n} in {folds}")
    means = np.array([group.mean() for group in groups if group.size])
    pooled = np.concatenate(list(groups))
    between = float((sizes * (means - pooled.mean()) ** 2).sum()) / (folds - 1)
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups if g.size) / (n - folds)
    if between + within <= (1e-12 * float(np.abs(pooled).max())) ** 2:
        return Correlation(reason="the differences do not vary")
    k = float(n - (sizes**2).sum() / n) / (folds - 1)
    if within <= 1e-24 * between:
        return Correlation(1.0, 1.0, 1.0)
    ratio = between / within
    low, high = (ratio / float(stats.f.isf(tail, folds - 1, n - folds)) for tail in (0.025, 0.975))
    value, low, high = ((f - 1) / (f + k - 1) for f in (ratio, low, high))
    return Correlation(value, low, high)


def fold_cells(case: Case, design: Design, folds: EveryFold) -> Iterator[Cell]:
    """Yield how alike the differences to RAW are within test folds, of trained methods."""
    for method in case.blocks:
        if method not in design.trained or method not in case.fresh:
            continue
        row = head_of(case, method, "within_fold_icc") | {"n": 0} | absence(case, method)
        if "status" not in row:
            pair = pair_of(case, method, BASELINE, design)
            own = folds.get((case.labels["repeat"], method), design.folds)
            found = within_fold_icc(by_fold(pair.subjects, pair.differences, own))
            row |= {"n": len(pair.subjects), "value": found.value, "reason": found.reason}
            row |= {"low": found.low, "high": found.high}
            row |= {"status": "undefined"} if found.value is None else {"interval": "F"}
        yield {"status": "ok"} | row
