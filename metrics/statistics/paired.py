"""Paired t-test of one method against another (paper, section 2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import Status

IDENTICAL = 1e-6  # of the scores' size: smaller differences are rounding, not a result


@dataclass(frozen=True)
class Test:
    """A paired t-test; the names are columns of `results.COMPARISON_COLUMNS`.

    Attributes
    ----------
    n
        Pairs of values.
    estimate, low, high
        Mean difference and its 95% t interval.
    statistic, df, p
        t, n - 1 and the two-sided p.
    effect
        d_z: the mean over the SD (n-1) of the differences.
    status, reason
        "undefined" where there is no test, and why; "identical" where nothing differs.
    """

    __test__ = False  # pytest collects classes named so

    n: int
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    statistic: float | None = None
    df: float | None = None
    p: float | None = None
    effect: float | None = None
    status: Status = "ok"
    reason: str = ""


def paired_t(differences: NDArray[np.float64], size: float) -> Test:
    """Test whether paired differences have mean 0.

    Parameters
    ----------
    differences
        Method minus comparator, one a pair of values.
    size
        Of the scores: differences up to 1e-6 of it are zero, and all zero gives p = 1.

    Examples
    --------
    >>> round(paired_t(np.array([1.0, 2.0, 3.0]), size=10.0).statistic, 4)
    3.4641
    """
    from scipy import stats

    n = differences.size
    if n < 2:
        reason = f"expected at least 2 scores that both methods have, found {n}"
        return Test(n, status="undefined", reason=reason)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    if np.abs(differences).max() <= IDENTICAL * size:
        return Test(n, 0.0, 0.0, 0.0, 0.0, n - 1.0, 1.0, 0.0, reason="identical")
    if sd <= 1e-12 * abs(mean):
        reason = "all differences are equal, so there is no spread to test against"
        return Test(n, mean, status="undefined", reason=reason)
    result = stats.ttest_1samp(differences, 0.0)
    interval = result.confidence_interval(0.95)
    return Test(
        n=n,
        estimate=mean,
        low=float(interval.low),
        high=float(interval.high),
        statistic=float(result.statistic),
        df=n - 1.0,
        p=float(result.pvalue),
        effect=mean / sd,
    )
