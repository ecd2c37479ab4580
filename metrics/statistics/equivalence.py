"""Equivalence of two methods: two one-sided t-tests against a margin (Schuirmann 1987)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmobench.metrics.statistics.paired import IDENTICAL, Test


def tost(differences: NDArray[np.float64], margin: float, size: float) -> Test:
    """Test whether the mean of paired differences lies within -margin and margin.

    Parameters
    ----------
    differences
        Method minus comparator, one a subject.
    margin
        Largest difference that does not matter, in the scores' units.
    size
        Of the scores: where all differences are within 1e-6 of it, the methods are identical and
        so equivalent: p = 0.

    Returns
    -------
    Test
        `statistic` is the margin, p the larger of the two one-sided ones, `low` and `high` the 90%
        t interval: p is below .05 just where that lies within the margin.

    Examples
    --------
    >>> test = tost(np.array([0.1, -0.1, 0.2, 0.0]), margin=0.5, size=10.0)
    >>> round(test.p, 4), round(test.low, 4), round(test.high, 4)
    (0.003, -0.1019, 0.2019)
    """
    from scipy import stats

    n = differences.size
    if not margin > 0:
        reason = f"expected a margin above 0, found {margin:g}"
        return Test(n, status="undefined", reason=reason)
    if n < 2:
        reason = f"expected at least 2 scores that both methods have, found {n}"
        return Test(n, status="undefined", reason=reason)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    if np.abs(differences).max() <= IDENTICAL * size:
        return Test(n, 0.0, 0.0, 0.0, margin, n - 1.0, 0.0, 0.0, reason="identical")
    if sd <= 1e-12 * abs(mean):
        reason = "all differences are equal, so there is no spread to test against"
        return Test(n, mean, statistic=margin, status="undefined", reason=reason)
    above = stats.ttest_1samp(differences, -margin, alternative="greater")
    below = stats.ttest_1samp(differences, margin, alternative="less")
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.9)
    return Test(
        n=n,
        estimate=mean,
        low=float(interval.low),
        high=float(interval.high),
        statistic=margin,
        df=n - 1.0,
        p=float(max(above.pvalue, below.pvalue)),
        effect=mean / sd,
    )
