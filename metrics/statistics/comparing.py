"""Rows of comparisons in one case: every method against RAW, every two contenders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import CONTROLS, Design
from harmobench.metrics.statistics.blocks import BASELINE
from harmobench.metrics.statistics.cases import Case, contenders, is_contender, subject_values
from harmobench.metrics.statistics.equivalence import tost
from harmobench.metrics.statistics.foldlevel import EveryFold, by_fold
from harmobench.metrics.statistics.guards import guard
from harmobench.metrics.statistics.paired import Test, paired_t
from harmobench.metrics.statistics.pairs import Cell, Pair, absence, pair_of, seed_of
from harmobench.metrics.statistics.signflip import max_t, sign_flip, smallest_p

POWERLESS = "cannot reach significance at this n"


def family_of(case: Case, method: str, design: Design) -> str:
    """Name of the tests that a method's test against RAW is adjusted with."""
    name = " ".join(f"{case.labels['metric']} {case.labels['tool']} vs {BASELINE}".split())
    if is_contender(method, design):
        return name
    return f"{name}, {'controls' if design.methods.get(method) in CONTROLS else method}"


def against_raw(case: Case, design: Design, folds: EveryFold, resamples: int) -> Iterator[Cell]:
    """Yield the tests of each of the case's own methods against RAW; none is adjusted yet."""
    methods = [m for m in case.blocks if m != BASELINE and m in case.fresh]
    pairs = {m: pair_of(case, m, BASELINE, design) for m in methods if not absence(case, m)}
    flips = _flips(pairs, resamples, seed_of("sign_flip", case, design))
    for method in methods:
        head = {**case.labels, "method": method, "comparator": BASELINE}
        head["family"] = family_of(case, method, design)
        gone = absence(case, method)
        if gone:
            for test in _tests(case, method, design):
                yield head | {"test": test, "n": 0} | gone
            continue
        pair = pairs[method]
        t = paired_t(pair.differences, pair.size)
        for test in _tests(case, method, design):
            if test == "sign_flip":
                found = with_flips(t, flips.get(method))
            elif test == "paired_t":
                found = t
            elif test == "wilcoxon":
                found = wilcoxon(pair.differences, t)
            elif test == "fold":
                own = folds.get((case.labels["repeat"], method), design.folds)
                groups = by_fold(pair.subjects, pair.differences, own)
                found = paired_t(np.array([group.mean() for group in groups]), pair.size)
            elif test == "tost":
                margin = design.margins[case.labels["metric"]]
                found = tost(pair.differences, margin, pair.size)
            else:
                found = _guard(case, method, pair, design)
            yield head | {"test": test, **asdict(found)}


def _guard(case: Case, method: str, pair: Pair, design: Design) -> Test:
    """Judge a control by its gain over RAW, or by its distance from the one that RAW is."""
    role = design.methods[method]
    if case.better != "one":
        return guard(method, role, case.sign * pair.differences, pair.size)
    plain = subject_values(case.blocks[method], "higher")
    distances = np.array([plain[subject] - 1.0 for subject in pair.subjects])
    return guard(method, role, distances, pair.size, either=True)


def _tests(case: Case, method: str, design: Design) -> Iterator[str]:
    """Name the tests that a method gets in a case."""
    yield from ("sign_flip", "paired_t", "wilcoxon")
    if method in design.trained:
        yield "fold"
    if case.labels["metric"] in design.margins and design.methods[method] not in CONTROLS:
        yield "tost"
    if design.methods[method] in CONTROLS:
        yield "guard"


def among_contenders(case: Case, design: Design, resamples: int, level: float) -> Iterator[Cell]:
    """Yield every two contenders that stayed, adjusted over all of them by max-|t|."""
    staying = [m for m in contenders(design) if m in case.blocks and m not in case.left]
    names = [pair for pair in combinations(staying, 2) if case.fresh.intersection(pair)]
    pairs = {name: pair_of(case, *name, design) for name in names}
    seed = seed_of("max_t", case, design)
    flips = _flips(pairs, resamples, seed)
    adjusted: dict[tuple[str, str], float] = {}
    if flips and len({pair.subjects for pair in pairs.values()}) == 1:
        together = np.column_stack([pair.differences for pair in pairs.values()])
        adjusted = dict(zip(pairs, max_t(together, resamples, seed).tolist(), strict=True))
    family = " ".join(f"{case.labels['metric']} {case.labels['tool']} vs each other".split())
    for name, pair in pairs.items():
        head = {**case.labels, "method": name[0], "comparator": name[1], "family": family}
        found = with_flips(paired_t(pair.differences, pair.size), flips.get(name))
        row = head | {"test": "max_t", **asdict(found), "p_adjusted": adjusted.get(name)}
        few = found.reason == "" and smallest_p(found.n, resamples) > level
        yield row | ({"reason": POWERLESS} if few else {})


def _flips(pairs: Mapping[Any, Pair], resamples: int, seed: int) -> dict[Any, float]:
    """Sign-flip p of each pair of at least two subjects; those of as many subjects at once."""
    by_n: dict[int, list[Any]] = {}
    for name, pair in pairs.items():
        by_n.setdefault(len(pair.subjects), []).append(name)
    found: dict[Any, float] = {}
    for n, names in by_n.items():
        if n > 1:
            together = np.column_stack([pairs[name].differences for name in names])
            found |= zip(names, sign_flip(together, resamples, seed).tolist(), strict=True)
    return found


def with_flips(t: Test, p: float | None) -> Test:
    """Put the sign-flip p for t's own, which also is where equal differences leave no t.

    >>> found = with_flips(Test(5, estimate=2.0, status="undefined"), 0.0625)
    >>> found.status, found.p, found.low, found.high
    ('ok', 0.0625, 2.0, 2.0)
    """
    if p is None:
        return t
    if t.status == "ok":
        return replace(t, p=p)
    reason = "all differences are equal, so t has no value"
    mean = t.estimate
    return replace(t, p=p, low=mean, high=mean, df=t.n - 1.0, status="ok", reason=reason)


def wilcoxon(differences: NDArray[np.float64], t: Test) -> Test:
    """Signed-rank test beside a t-test; exact where scipy can, and sensitive to skew.

    Its null is a distribution that is symmetric about 0, not a mean of 0.

    >>> wilcoxon(np.array([1.0, 2.0, 3.0, 4.0]), Test(4, estimate=2.5)).p
    0.125
    """
    from scipy import stats

    if t.n < 2 or not differences.any():
        return replace(t, low=None, high=None)
    # ties that rounding has torn apart are ties
    result = stats.wilcoxon(np.round(differences / np.abs(differences).max(), 12))
    return Test(
        t.n,
        t.estimate,
        statistic=float(result.statistic),
        p=float(result.pvalue),
        reason="sensitive to skew",
    )
