"""Sign-flip tests of paired differences, and their step-down max-|t| over many pairs of methods.

Where two methods are exchangeable within a subject, the sign of each difference is a coin's. A
flip leaves the sum of squares as it is, so |sum| orders the flips as |t| does.

Sources: Fisher 1935 (the test); Westfall & Young 1993, algorithm 2.8 (step-down maxima); Horowitz
& Sahni 1974 (all sums of n numbers from the sorted sums of two halves); Phipson & Smyth 2010 (the
1 in (1 + b) / (1 + B)).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

EXACT = 20  # subjects up to which all sign vectors are gone through
TIE = 1e-12  # of the sum of sizes: sums that are nearer than this are equal but for rounding
CHUNK = 12  # log2 of the sign vectors that are held at once
Array = NDArray[np.float64]


def smallest_p(n: int, resamples: int) -> float:
    """Smallest p that n subjects can give: 2 of 2^n sign vectors, above 20 that of sampling.

    >>> smallest_p(5, 10_000)
    0.0625
    """
    return 2.0 ** (1 - n) if n <= EXACT else 1.0 / (1 + resamples)


def sign_flip(differences: Array, resamples: int, seed: int) -> Array:
    """Two-sided p of each column's mean: exact to 20 subjects, by Monte Carlo above.

    Parameters
    ----------
    differences
        (subjects, tests), at least one subject.
    resamples
        Random sign vectors where there are more than 20 subjects; p = (1 + b) / (1 + resamples).
    seed
        Of those.

    Returns
    -------
    (tests,), above 0 and at most 1.

    Examples
    --------
    >>> sign_flip(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 3.0]]), 10_000, 0).tolist()
    [0.25, 0.75]
    """
    slack = TIE * np.abs(differences).sum(axis=0)
    least = np.abs(differences.sum(axis=0)) - slack
    if len(differences) <= EXACT:
        return _exact(differences, least)
    above = np.zeros(differences.shape[1])
    for signs in _random_signs(len(differences), resamples, seed):
        above += np.count_nonzero(np.abs(signs @ differences) >= least, axis=0)
    return (1.0 + above) / (1.0 + resamples)


def _exact(differences: Array, least: Array) -> Array:
    """Count sums of at least `least`: of each sum of one half, how many of the other suffice.

    All 2^n sums are those of two halves of the subjects, added: sorted, 2^(n/2) of them are
    enough. Signs come in opposite pairs, so one side is counted: it holds half of them.
    """
    n, half = len(differences), len(differences) // 2
    first = _all_signs(half) @ differences[:half]
    second = np.sort(_all_signs(n - half) @ differences[half:], axis=0)
    found = np.ones(differences.shape[1])
    for test in np.flatnonzero(least > 0):
        needed = np.sort(least[test] - first[:, test])  # sorted: near places are searched in turn
        short = np.searchsorted(second[:, test], needed, side="left")
        found[test] = (short.size * len(second) - short.sum()) / 2.0 ** (n - 1)
    return found


def max_t(differences: Array, resamples: int, seed: int) -> Array:
    """Step-down adjusted p of each column, by the largest |t| of the columns that are left.

    All columns are flipped together, so what they share is kept: pairs of methods share methods.

    Parameters
    ----------
    differences
        (subjects, tests), complete.
    resamples, seed
        As in `sign_flip`.

    Returns
    -------
    (tests,): never below the column's own sign-flip p, but for Monte Carlo draws.

    Examples
    --------
    >>> max_t(np.array([[1.0, 1.0], [2.0, -2.0], [3.0, 3.0]]), 10_000, 0).tolist()
    [0.5, 0.75]
    """
    n, tests = differences.shape
    size = np.sqrt(n * (differences**2).sum(axis=0))
    # |sum| over this is a growing function of |t|, the same one for every column
    scaled = differences / np.where(size > 0, size, 1.0)
    order = np.argsort(-np.abs(scaled.sum(axis=0)), kind="stable")
    scaled = scaled[:, order]
    least = np.abs(scaled.sum(axis=0)) - TIE * np.abs(scaled).sum(axis=0)
    above, drawn = np.zeros(tests), 0
    exact = n <= EXACT
    for sums in _exact_sums(scaled) if exact else _random_sums(scaled, resamples, seed):
        largest = np.zeros(sums.shape[1])
        for test in reversed(range(tests)):  # largest of this test and those after it
            np.maximum(largest, np.abs(sums[test]), out=largest)
            above[test] += np.count_nonzero(largest >= least[test])
        drawn += sums.shape[1]
    p = above / drawn if exact else (1.0 + above) / (1.0 + drawn)
    adjusted = np.empty(tests)
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def _exact_sums(columns: Array) -> Iterator[Array]:
    """Yield (tests, chunk) sums under all sign vectors whose first sign is plus.

    The other half of them has the same sizes. The sums of the last subjects are made once; each
    combination of the earlier ones' signs is then one number a test to add.
    """
    late = min(CHUNK, len(columns) - 1)
    early = len(columns) - late
    last = np.ascontiguousarray((_all_signs(late) @ columns[early:]).T)
    offsets = _all_signs(early)[: 2 ** (early - 1)] @ columns[:early]
    for offset in offsets:
        yield last + offset[:, np.newaxis]


def _random_sums(columns: Array, resamples: int, seed: int) -> Iterator[Array]:
    for signs in _random_signs(len(columns), resamples, seed):
        yield np.ascontiguousarray((signs @ columns).T)


def _all_signs(n: int) -> Array:
    """(2^n, n) of all sign vectors, the first half with a plus in front.

    >>> _all_signs(1).tolist()
    [[1.0], [-1.0]]
    """
    codes = np.arange(2**n)[:, np.newaxis] >> np.arange(n)[::-1]
    return np.where(codes & 1, -1.0, 1.0)


def _random_signs(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield `resamples` random sign vectors, a chunk of rows at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, 2**CHUNK):
        rows = min(2**CHUNK, resamples - start)
        yield np.where(rng.integers(0, 2, (rows, n), dtype=np.int8), -1.0, 1.0)
