"""How much of a trained method's scores is its seed's: subjects x repeats, both random.

Repeats of a run vary seed and fold assignment together. With the mean squares of the two-way
analysis of variance, var(seed) = (MS repeats - MS residual) / subjects, var(subject) =
(MS subjects - MS residual) / repeats. They are shown as SDs, so a variance below 0 becomes 0. The
residual has a chi-square interval; the others have modified large-sample (MLS) intervals, with
which few repeats give wide ones. Source: Burdick & Graybill 1992, "Confidence intervals on variance
components", sections 3.3 and 5.2.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from harmobench.metrics.statistics.agreement import complete, mean_squares
from harmobench.metrics.statistics.intervals import (
    COVERAGE,
    Array,
    Estimate,
    Interval,
    f_quantile,
    too_few,
)

NAMES = ("seed", "subject", "residual")


def seed_spread(table: Array, level: float = COVERAGE) -> dict[str, Estimate]:
    """SDs of seeds, subjects and the residual.

    Parameters
    ----------
    table
        Subjects x repeats; subjects with a missing value are left out.
    level
        Coverage.

    Examples
    --------
    >>> found = seed_spread(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    >>> [round(found[name].value, 4) for name in NAMES]
    [0.7071, 2.0, 0.0]
    """
    table = complete(np.asarray(table, dtype=np.float64))
    n, repeats = table.shape
    if n < 2 or repeats < 2:
        return dict.fromkeys(NAMES, too_few(2, n) if n < 2 else too_few(2, repeats, "repeats"))
    ms = mean_squares(table)
    df = (n - 1) * (repeats - 1)
    quantiles = [f_quantile(p, df, inf) for p in ((1 + level) / 2, (1 - level) / 2)]
    residual = (ms.residual / quantiles[0], ms.residual / quantiles[1])
    return {
        "seed": _sd(
            (ms.scanners - ms.residual) / n,
            mls_interval(ms.scanners / n, ms.residual / n, repeats - 1, df, level),
            n,
            "MLS",
        ),
        "subject": _sd(
            (ms.subjects - ms.residual) / repeats,
            mls_interval(ms.subjects / repeats, ms.residual / repeats, n - 1, df, level),
            n,
            "MLS",
        ),
        "residual": _sd(ms.residual, residual, n, "chi-square"),
    }


def _sd(variance: float, interval: Interval, n: int, how: str) -> Estimate:
    value, low, high = (sqrt(max(v, 0.0)) for v in (variance, *interval))
    return Estimate(value, n, low, high, how)


def mls_interval(
    first: float, second: float, df1: int, df2: int, level: float = COVERAGE
) -> Interval:
    """Interval of E(first) - E(second), two independent mean squares (scaled alike).

    Source: Ting, Burdick, Graybill, Jeyaratnam & Lu 1990, "Confidence intervals on linear
    combinations of variance components that are unrestricted in sign".
    """
    ends = []
    for p, sign in (((1 + level) / 2, -1.0), ((1 - level) / 2, 1.0)):
        # p is the upper tail's quantile for the lower end and the lower tail's for the upper end
        own = (1 - 1 / f_quantile(p, df1, inf)) ** 2
        other = (1 / f_quantile(1 - p, df2, inf) - 1) ** 2
        f = f_quantile(p, df1, df2)
        both = ((f - 1) ** 2 - own * f**2 - other) / f
        spread = own * first**2 + other * second**2 + both * first * second
        ends.append(first - second + sign * float(np.sqrt(max(spread, 0.0))))
    return ends[0], ends[1]
