"""Two-way table with missing cells: fixed scanner means, random subjects, by REML.

y_ij = m_j + s_i + e_ij with var(s) = ratio x var(e). Up to the ratio the fit is linear, so the
restricted likelihood is maximized over the ratio alone, for the whole table and for the table
without each subject at once. The subject's variance may come out below 0 (down to where the
covariance of a subject's scans is no covariance any more): on a complete table the estimates are
then those of the analysis of variance, untruncated. Source: Searle, Casella & McCulloch 1992,
chapter 6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN = (5**0.5 - 1) / 2
STEPS = 60  # of the golden section: the bracket shrinks to 3e-13 of its width
Array = NDArray[np.float64]


def fit(table: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """Fit the table once for each row of weights.

    Parameters
    ----------
    table
        Subjects x scanners, NaN where there is no scan; every scanner has scans of at least 2
        subjects, and at least 2 subjects have 2 scans.
    weights
        Fits x subjects: 1 where a subject takes part, 0 where not.

    Returns
    -------
    means, error, subject, residual
        Scanner means, fits x scanners; expected error of their variance (n-1 over scanners); the
        two variances.
    """
    there = (~np.isnan(table)).astype(np.float64)
    values = np.where(there > 0, table, 0.0)
    most = float(there.sum(axis=1).max())
    # the correlation of two scans of a subject: between -1/(most-1) and 1
    low = np.full(len(weights), -1 / (most - 1) + 1e-9)
    high = np.full(len(weights), 1 - 1e-9)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    f_left, f_right = (_solve(values, there, weights, c)[0] for c in (left, right))
    for _ in range(STEPS):
        lower = f_left < f_right  # the minimum lies left of `right`
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        new = np.where(lower, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        f_new = _solve(values, there, weights, new)[0]
        left, right = np.where(lower, new, right), np.where(lower, left, new)
        f_left, f_right = np.where(lower, f_new, f_right), np.where(lower, f_left, f_new)
    correlation = (low + high) / 2
    _, means, covariance, residual = _solve(values, there, weights, correlation)
    k = means.shape[1]
    centred = np.trace(covariance, axis1=1, axis2=2) - covariance.sum(axis=(1, 2)) / k
    ratio = correlation / (1 - correlation)
    return means, residual * centred / (k - 1), residual * ratio, residual


def _solve(
    values: Array, there: Array, weights: Array, correlation: Array
) -> tuple[Array, Array, Array, Array]:
    """-2 log restricted likelihood, scanner means, their covariance over var(e), and var(e)."""
    ratio = (correlation / (1 - correlation))[:, None]
    scans = there.sum(axis=1)
    pull = weights * ratio / (1 + ratio * scans)  # V^-1 = I - pull J for each subject
    totals = values.sum(axis=1)
    a = -np.einsum("bi,ij,ik->bjk", pull, there, there)
    diagonal = np.arange(there.shape[1])
    a[:, diagonal, diagonal] += weights @ there
    b = weights @ values - (pull * totals) @ there
    means = np.linalg.solve(a, b[..., None])[..., 0]
    yy = weights @ (values**2).sum(axis=1) - pull @ totals**2
    df = weights @ scans - there.shape[1]
    residual = np.maximum(yy - (b * means).sum(axis=1), np.finfo(np.float64).tiny) / df
    logs = (weights * np.log1p(ratio * scans)).sum(axis=1) + np.linalg.slogdet(a)[1]
    return df * np.log(residual) + logs, means, np.linalg.inv(a), residual
