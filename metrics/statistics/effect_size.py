"""Standardized difference of two groups (paper, section 2.5 and Table 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cohen_d(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Difference of means over the pooled standard deviation, (first - second) / s.

    s^2 = ((n1 - 1) s1^2 + (n2 - 1) s2^2) / (n1 + n2 - 2). Source: Cohen 1988, equation 2.5.1.

    Parameters
    ----------
    first, second
        One number a subject.

    Returns
    -------
    float or None
        None where a group has fewer than 2 subjects, or neither group varies.

    Examples
    --------
    >>> round(cohen_d(np.array([3.0, 4.0, 5.0]), np.array([2.0, 3.0, 4.0])), 12)
    1.0
    """
    n1, n2 = first.size, second.size
    if n1 < 2 or n2 < 2:
        return None
    squares = (n1 - 1) * first.var(ddof=1) + (n2 - 1) * second.var(ddof=1)
    pooled = float(np.sqrt(squares / (n1 + n2 - 2)))
    largest = max(float(np.abs(first).max()), float(np.abs(second).max()))
    if pooled <= 1e-12 * largest:  # below that, a spread is what rounding left of none
        return None
    return float(first.mean() - second.mean()) / pooled


def hedges_g(d: float, n1: int, n2: int) -> float:
    """Cohen's d without its small-sample bias: d (1 - 3 / (4 (n1 + n2) - 9)).

    Source: Hedges 1981, the usual approximation of its equation 6e.

    >>> round(hedges_g(1.0, 3, 3), 3)
    0.8
    """
    return d * (1.0 - 3.0 / (4.0 * (n1 + n2) - 9.0))
