"""How sure the ranks of methods are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import Design
from harmobench.metrics.statistics.cases import Case, contenders
from harmobench.metrics.statistics.paired import IDENTICAL
from harmobench.metrics.statistics.pairs import Cell, absence, head_of, seed_of, size_of

Array = NDArray[np.float64]
CHUNK = 1024  # bootstrap samples that are ranked at once


def rank_stability(
    values: Array, tolerance: float, resamples: int, seed: int
) -> tuple[Array, Array, Array]:
    """Rank methods by their mean over subjects, with the percentiles of bootstrapped ranks.

    Subjects are drawn with replacement, the same ones for all methods. The percentile bootstrap is
    known to cover too seldom at this n: what it gives is how far ranks move, not a confidence.

    Source: Efron & Tibshirani 1993, section 13.3.

    Parameters
    ----------
    values
        (methods, subjects), higher is better.
    tolerance
        Means that differ by no more share the mean of their ranks.
    resamples, seed
        Bootstrap samples.

    Returns
    -------
    (methods,) ranks from 1 for the best, then their 2.5 and 97.5 percentiles.

    Examples
    --------
    >>> rank_stability(np.array([[1.0, 2.0], [3.0, 4.0], [3.0, 4.0]]), 1e-9, 100, 0)[0].tolist()
    [3.0, 1.5, 1.5]
    """
    methods, n = values.shape
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, methods))
    for start in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - start)
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=rows)
        drawn[start : start + rows] = _ranks(counts @ values.T / n, tolerance)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0, method="inverted_cdf")
    return _ranks(values.mean(axis=1)[np.newaxis], tolerance)[0], low, high


def _ranks(means: Array, tolerance: float) -> Array:
    """Rank each row: 1, and one for each that is better, and half for each that is as good."""
    apart = means[:, np.newaxis, :] - means[:, :, np.newaxis]  # [row, method, other]
    better = np.count_nonzero(apart > tolerance, axis=2)
    equal = np.count_nonzero(np.abs(apart) <= tolerance, axis=2) - 1  # itself is not another
    return np.asarray(1.0 + better + 0.5 * equal, dtype=np.float64)


def rank_cells(case: Case, design: Design, resamples: int) -> Iterator[Cell]:
    """Yield the rank of each contender and how far it moves when subjects are drawn again."""
    ranked = [m for m in contenders(design) if m in case.blocks]
    staying = [m for m in ranked if not absence(case, m)]
    subjects = [s for s in case.common if all(s in case.values[m] for m in staying)]
    n = len(subjects)
    ranks: dict[str, Cell] = {}
    if staying and n > 1:
        values = np.array([[case.values[m][s] for s in subjects] for m in staying]) * case.sign
        tolerance = IDENTICAL * size_of(case, staying, design, case.common)
        found = rank_stability(values, tolerance, resamples, seed_of("rank", case, design))
        how = {"status": "ok", "interval": "percentile bootstrap, no coverage claimed"}
        for method, rank, low, high in zip(staying, *(f.tolist() for f in found), strict=True):
            ranks[method] = how | {"value": rank, "low": low, "high": high, "n": n}
    few = {"n": n, "status": "undefined", "reason": f"expected at least 2 subjects, found {n}"}
    for method in ranked:
        if method in case.fresh:
            own = ranks.get(method) or few | absence(case, method)
            yield head_of(case, method, "rank") | own
