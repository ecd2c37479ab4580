"""Who gets whose scans: random derangements of subjects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.volume import BoolArray

DRAWS = 1000  # cyclic orders to choose from: the best count of crossings comes up at any size
NOBODY = -1


def cyclic_order(first: BoolArray, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw an order in which each subject's donor is the next one, the last one's the first.

    Nobody is his own donor, and what remains of a cycle when subjects are taken out is a cycle
    again. Of `DRAWS` random orders that one is taken in which the number of subjects of the first
    group with a donor of the second is nearest to n1 n2 / N. That is each group's share in the
    cohort, so that the groups' means become equal; if all donors crossed, the difference of the
    groups would only change its sign.

    Parameters
    ----------
    first
        Whether each subject is of the first group (n,); none, where there are no groups.
    rng
        What is drawn follows it.

    Returns
    -------
    array
        Indices of subjects (n,).

    Examples
    --------
    >>> first = np.array([True, True, False, False])
    >>> order = cyclic_order(first, np.random.default_rng(0))
    >>> int((first[order] & ~first[np.roll(order, -1)]).sum())
    1
    """
    n = first.size
    orders = rng.permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)
    crossings = (first[orders] & ~first[np.roll(orders, -1, axis=1)]).sum(axis=1)
    wanted = np.count_nonzero(first) * np.count_nonzero(~first) / max(n, 1)
    chosen: NDArray[np.intp] = orders[np.argmin(np.abs(crossings - wanted))]
    return chosen


def unlike_donors(seen: BoolArray, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a derangement for each scanner; a subject's donors differ between scanners.

    Scanner by scanner, a random assignment (linear sum assignment on random costs) of all who
    were seen there to each other, in which nobody is his own donor, and a donor that the subject
    has on an earlier scanner is taken only where nothing else is possible. With more subjects than
    scanners, all seen on all, it is always possible: what is left to choose from has as many
    takers as givers each (Hall's theorem).

    Parameters
    ----------
    seen
        Which subject was on which scanner (subjects, scanners).
    rng
        What is drawn follows it.

    Returns
    -------
    array
        Index of each one's donor (subjects, scanners); `NOBODY` where the subject was not on the
        scanner, or nobody else.

    Examples
    --------
    >>> unlike_donors(np.ones((3, 2), dtype=bool), np.random.default_rng(0)).sum(axis=1)
    array([3, 2, 1])
    """
    from scipy.optimize import linear_sum_assignment

    donors = np.full(seen.shape, NOBODY, dtype=np.intp)
    used = np.zeros((seen.shape[0], seen.shape[0]), dtype=bool)
    for scanner in range(seen.shape[1]):
        there = np.flatnonzero(seen[:, scanner])
        count = there.size
        if count < 2:
            continue
        cost = rng.random((count, count)) + (count + 1) * used[np.ix_(there, there)]
        np.fill_diagonal(cost, (count + 1) ** 2)  # more than all others together
        takers, givers = linear_sum_assignment(cost)
        donors[there[takers], scanner] = there[givers]
        used[there[takers], there[givers]] = True
    return donors
