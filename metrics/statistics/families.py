"""Families of tests: Holm within one, Benjamini-Bogomolov over many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """One of several families.

    Attributes
    ----------
    simes, adjusted
        p of its intersection hypothesis (Simes), and that by Benjamini-Hochberg over families.
    selected
        Whether that is at most the level.
    tests
        Adjusted p of its tests: the least level of the whole procedure that rejects each.
    """

    simes: float
    adjusted: float
    selected: bool
    tests: Array


def holm(p: ArrayLike) -> Array:
    """Step-down adjusted p that keep the familywise error (Holm 1979).

    statsmodels has it too, but collects garbage at each call: up to 0.1 s for a dozen numbers.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(given.size, 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Step-up adjusted p that keep the false discovery rate (Benjamini & Hochberg 1995); scipy's.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(np.asarray(p, dtype=np.float64), method="bh"))


def simes(p: ArrayLike) -> float:
    """One p for "none of these is true": the least of m p(i) / i (Simes 1986).

    The same as the least p that Benjamini-Hochberg adjusts.

    >>> round(simes([0.01, 0.04, 0.03]), 3)
    0.03
    """
    return float(benjamini_hochberg(p).min())


def benjamini_bogomolov(families: Mapping[str, Sequence[float]], level: float) -> dict[str, Family]:
    """Select families, then test within the selected ones at a level that allows for it.

    Families are selected by Benjamini-Hochberg on their Simes p at `level`; within the R of F that
    are selected, Holm at level R / F keeps the mean familywise error over selected families. The
    adjusted p of a test is the least level at which its family is selected and Holm rejects it: the
    least, over the levels at which R changes, of the larger of that level and Holm's p times F / R.

    Source: Benjamini & Bogomolov 2014, section 3.

    Parameters
    ----------
    families
        p of each family's tests, at least one.
    level
        Of the whole procedure.

    Examples
    --------
    >>> found = benjamini_bogomolov({"ssim": [0.001, 0.02], "dice": [0.6, 0.9]}, 0.05)
    >>> found["ssim"].selected, found["ssim"].tests.round(6).tolist(), found["dice"].selected
    (True, [0.004, 0.04], False)
    """
    if not families:
        return {}
    own = [simes(p) for p in families.values()]
    adjusted = benjamini_hochberg(own)
    selected = adjusted <= level
    levels = np.sort(adjusted)
    share = adjusted.size / np.searchsorted(levels, levels, side="right")  # F / R at each level
    found = {}
    for k, (name, p) in enumerate(families.items()):
        at = levels >= adjusted[k]
        each = np.maximum(levels[at][:, None], holm(p)[None, :] * share[at][:, None])
        tests = np.minimum(1.0, each.min(axis=0))
        found[name] = Family(own[k], float(adjusted[k]), bool(selected[k]), tests)
    return found
