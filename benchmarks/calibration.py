"""Calibration of the rigorous statistics on simulated data, as tables in Markdown.

18 subjects on 4 scanners. How often does each test reject where nothing differs, how often does a
95% interval hold the truth? The functions are the very ones that a run uses.

N1  RAW and methods are exchangeable within a subject: equal scanner effects and noise, drawn anew.
N2  mean zero, skewed: the method scales each subject's noise by a factor of mean 1, mostly smaller.
N3  normal differences that share a part within a test fold, 6 folds of 3.

    python benchmarks/calibration.py --repetitions 10000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harmobench.metrics.individuality import without_each
from harmobench.metrics.statistics.agreement import (
    bland_altman,
    icc_agreement,
    rmsd,
    within_subject_cov,
)
from harmobench.metrics.statistics.comparing import wilcoxon
from harmobench.metrics.statistics.components import components
from harmobench.metrics.statistics.effects import change, standardized
from harmobench.metrics.statistics.equivalence import tost
from harmobench.metrics.statistics.families import benjamini_bogomolov, holm
from harmobench.metrics.statistics.foldlevel import by_fold, within_fold_icc
from harmobench.metrics.statistics.intervals import jackknifed, t_interval
from harmobench.metrics.statistics.paired import Test, paired_t
from harmobench.metrics.statistics.seeds import seed_spread
from harmobench.metrics.statistics.signflip import max_t, sign_flip
from harmobench.metrics.statistics.slopes import slope

Array = NDArray[np.float64]
Bounds = tuple[float | None, float | None]
Special = tuple[str, str, list[Bounds], float]
N, SCANNERS, FOLDS = 18, 4, 6
LEVEL = 0.05
SIZE = 1e3  # of the scores: differences below 1e-6 of it are rounding, and none here are
FIRST, SECOND = np.triu_indices(SCANNERS, 1)
EFFECTS = np.array([-1.2, -0.2, 0.4, 1.0])  # of the scanners, in SDs of a scan's noise
NAMES = [f"{k:02}" for k in range(N)]
FOLD_OF = {name: k % FOLDS for k, name in enumerate(NAMES)}
GROUPS = np.arange(N) % 2 == 0
MARGIN = 0.8  # for equivalence, in SDs of the differences


# ------------------------------------------------------------------ data under a null hypothesis


@dataclass(frozen=True)
class Null:
    """Differences of a method and RAW, method minus RAW.

    Attributes
    ----------
    subjects
        (repetitions, subjects): of subject values.
    pairs
        (repetitions, subjects, scanner pairs): of the scores of scanner pairs.
    """

    subjects: Array
    pairs: Array


def pair_scores(volumes: Array) -> Array:
    """Absolute differences over scanner pairs, the last axis, of volumes (..., scanners)."""
    return np.abs(volumes[..., FIRST] - volumes[..., SECOND])


def of_scores(raw: Array, method: Array) -> Null:
    """Compare two sets of pair scores (repetitions, subjects, pairs)."""
    pairs = method - raw
    return Null(pairs.mean(axis=2), pairs)


def n1(rng: np.random.Generator, repetitions: int, unevenness: float = 0.0) -> Null:
    """Volumes with equal scanner effects and noise in both; log-SD of subjects' noise given."""
    spread = np.exp(unevenness * rng.normal(size=(repetitions, N, 1)))
    made = [EFFECTS + spread * rng.normal(size=(repetitions, N, SCANNERS)) for _ in range(2)]
    return of_scores(*(pair_scores(volumes) for volumes in made))


def n2(rng: np.random.Generator, repetitions: int) -> Null:
    """Scale the method's pair scores by a factor a subject: gamma, shape 1/2, mean 1."""
    raw, method = (
        pair_scores(rng.normal(size=(repetitions, N, SCANNERS)) + EFFECTS) for _ in range(2)
    )
    return of_scores(raw, method * rng.gamma(0.5, 2.0, size=(repetitions, N, 1)))


def n3(rng: np.random.Generator, repetitions: int, correlation: float) -> Null:
    """Differences of variance 1 a subject, correlated within folds; half of it is of the pairs."""
    shared = rng.normal(size=(repetitions, FOLDS))[:, [FOLD_OF[name] for name in NAMES], None]
    own = rng.normal(size=(repetitions, N, 1))
    noise = rng.normal(size=(repetitions, N, FIRST.size)) * np.sqrt(FIRST.size / 2)
    noise_and_own = np.sqrt(0.5) * own + noise
    pairs = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * noise_and_own
    return Null(pairs.mean(axis=2), pairs)


def family(rng: np.random.Generator, repetitions: int, contenders: int, structures: int) -> Array:
    """Subject values under N1, (repetitions, subjects, 1 + contenders, structures), RAW first.

    A scan's noise is half shared by its structures, as tissues of one segmentation are.
    """
    shape = (repetitions, N, 1 + contenders, structures, SCANNERS)
    shared = rng.normal(size=(*shape[:3], 1, SCANNERS))
    noise = np.sqrt(0.5) * (shared + rng.normal(size=shape))
    return pair_scores(EFFECTS + noise).mean(axis=-1)


# ------------------------------------------------------------------ rates of rejection

TESTS = ("sign-flip", "t", "Wilcoxon", "t over folds", "pooled t (paper)")


def p_values(null: Null, tests: tuple[str, ...] = TESTS) -> dict[str, Array]:
    """Return p of each test in each repetition."""
    found: dict[str, Array] = {}
    if "sign-flip" in tests:
        found["sign-flip"] = sign_flip(np.ascontiguousarray(null.subjects.T), 1, 0)
    each: dict[str, Callable[[Array, Array], float | None]] = {
        "t": lambda subjects, _: paired_t(subjects, SIZE).p,
        "Wilcoxon": lambda subjects, _: (
            wilcoxon(subjects, Test(N, estimate=float(subjects.mean()))).p
        ),
        "t over folds": lambda subjects, _: over_folds(subjects),
        "pooled t (paper)": lambda _, pairs: paired_t(pairs.ravel(), SIZE).p,
    }
    for name in tests:
        if name in each:
            rows = zip(null.subjects, null.pairs, strict=True)
            found[name] = np.array([each[name](*row) for row in rows], dtype=np.float64)
    return found


def over_folds(differences: Array) -> float | None:
    """Return p of the fold-level test, as `comparing` makes it."""
    means = np.array([group.mean() for group in by_fold(NAMES, differences, FOLD_OF)])
    return paired_t(means, SIZE).p


def rates(null: Null, tests: tuple[str, ...] = TESTS) -> dict[str, float]:
    """Share of repetitions that each test rejects."""
    return {name: float(np.mean(p <= LEVEL)) for name, p in p_values(null, tests).items()}


def flips(differences: Array, chunk: int = 500) -> Array:
    """Sign-flip p (repetitions, tests) of differences (repetitions, subjects, tests)."""
    repetitions, n, tests = differences.shape
    found = []
    for start in range(0, repetitions, chunk):  # all sums of a chunk are held at once
        own = differences[start : start + chunk]
        columns = np.ascontiguousarray(own.transpose(1, 0, 2).reshape(n, -1))
        found.append(sign_flip(columns, 1, 0).reshape(len(own), tests))
    return np.concatenate(found)


def against_raw(values: Array) -> Array:
    """Sign-flip p (repetitions, contenders x structures) of values as `family` makes them."""
    differences = values[:, :, 1:] - values[:, :, :1]
    return flips(differences.reshape(*differences.shape[:2], -1))


def holm_rate(values: Array) -> float:
    """Share of repetitions in which Holm rejects any test of contenders x structures against RAW.

    `values` as `family` makes them.
    """
    return float(np.mean([holm(p).min() <= LEVEL for p in against_raw(values)]))


def families_rate(values: list[Array]) -> float:
    """Share of repetitions in which any test of any family is rejected, by Benjamini-Bogomolov."""
    rejected = []
    for rows in zip(*(against_raw(each) for each in values), strict=True):
        found = benjamini_bogomolov({str(k): list(p) for k, p in enumerate(rows)}, LEVEL)
        rejected.append(any(each.tests.min() <= LEVEL for each in found.values()))
    return float(np.mean(rejected))


def max_t_rate(values: Array) -> float:
    """Share of repetitions in which max-|t| calls any two contenders different.

    An adjusted p is never below the pair's own, so only repetitions with one at most `LEVEL` need
    the whole enumeration. `values` as `family` makes them, of one structure.
    """
    pairs = list(combinations(range(1, values.shape[2]), 2))
    differences = np.stack([values[:, :, a, 0] - values[:, :, b, 0] for a, b in pairs], axis=2)
    some = np.flatnonzero(flips(differences).min(axis=1) <= LEVEL)
    rejected = sum(bool(max_t(differences[k], 1, 0).min() <= LEVEL) for k in some)
    return rejected / len(values)


def tost_rate(null: Null, true: float) -> float:
    """Share called equivalent, where the true difference is `true` and the margin `MARGIN`.

    Both in SDs of the differences.
    """
    values = null.subjects / null.subjects.std() + true
    p = [tost(row, MARGIN, SIZE).p for row in values]
    return float(np.mean(np.array(p, dtype=np.float64) <= LEVEL))


# ------------------------------------------------------------------ coverage of intervals


@dataclass(frozen=True)
class Sample:
    """One simulated cohort.

    Attributes
    ----------
    raw, method
        Volumes, subjects x scanners, of one group.
    gap
        What to add to the first group's rows of both, for effect sizes.
    groups
        Whether a subject is of the first group.
    """

    raw: Array
    method: Array
    gap: Array
    groups: NDArray[np.bool_]

    @property
    def apart(self) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Volumes of the method and of RAW with the groups apart, and the groups."""
        return self.method + 0.9 * self.gap, self.raw + self.gap, self.groups


def cohort(rng: np.random.Generator, n: int, uneven: bool) -> Sample:
    """Volumes of n subjects: mean 20, scanner effects, SD 2 between subjects, d = 0.8 on RAW.

    Scans have noise of SD 1 on RAW, 0.5 on the method, which also halves the scanner effects and
    draws subjects 10% to the mean. Where uneven, subjects are skewed (gamma, shape 2) and their
    noise has a log-SD of 0.4; variances stay as they are.
    """
    groups = np.arange(n) % 2 == 0
    own = rng.gamma(2.0, 1.0, n) - 2.0 if uneven else rng.normal(size=n) * np.sqrt(2.0)
    subject = np.sqrt(2.0) * own[:, None]
    spread = np.exp(0.4 * rng.normal(size=n) - 0.16) if uneven else np.ones(n)
    noise = spread[:, None] * rng.normal(size=(2, n, SCANNERS))
    raw = 20.0 + subject + EFFECTS + noise[0]
    method = 20.0 + 0.9 * subject + 0.5 * EFFECTS + 0.5 * noise[1]
    return Sample(raw, method, 0.8 * np.sqrt(2.0**2 + 1.0) * groups[:, None], groups)


def bias_of(table: Array) -> Array:
    """Subject's mean absolute difference over scanner pairs."""
    return pair_scores(table).mean(axis=1)


@dataclass(frozen=True)
class Estimand:
    """What an interval is for.

    Attributes
    ----------
    name, interval
        As in the tables of a run.
    bounds
        Interval from a cohort.
    value
        Estimate from a cohort; from a very large one it is the truth.
    """

    name: str
    interval: str
    bounds: Callable[[Sample], Bounds]
    value: Callable[[Sample], float | None]


def _estimand(name: str, make: Callable[[Sample], object], interval: str = "") -> Estimand:
    def bounds(sample: Sample) -> Bounds:
        found = make(sample)
        return found.low, found.high  # type: ignore[attr-defined]

    def value(sample: Sample) -> float | None:
        found = make(sample)
        return found.value if hasattr(found, "value") else found.estimate  # type: ignore[attr-defined]

    return Estimand(name, interval, bounds, value)


def _part(share: bool, name: str) -> Callable[[Sample], object]:
    def make(sample: Sample) -> object:
        found = components(sample.method)
        return (found.shares if share else found.variances)[name]

    return make


def _difference(sample: Sample) -> object:
    return paired_t(bias_of(sample.method) - bias_of(sample.raw), SIZE)


T_TYPE = (
    _estimand("mean", lambda s: t_interval(s.method.mean(axis=1)), "t"),
    _estimand("difference of two methods", _difference, "t"),
    _estimand("bias", lambda s: t_interval(bias_of(s.method)), "t"),
)
OTHERS = (
    _estimand("spread over scanners", lambda s: t_interval(s.method.std(axis=1, ddof=1)), "t"),
    _estimand("RMSD", lambda s: rmsd(s.method), "jackknife-t, log"),
    _estimand("within-subject CoV", lambda s: within_subject_cov(s.method), "jackknife-t, log"),
    _estimand("ICC, these scanners", lambda s: icc_agreement(s.method), "F"),
    *(
        _estimand(f"component, {name}", _part(False, name), "jackknife-t, log")
        for name in ("scanner", "subject", "residual")
    ),
    *(
        _estimand(f"share, {name}", _part(True, name), "jackknife-t, logit")
        for name in ("scanner", "subject", "residual")
    ),
    _estimand(
        "slope on RAW", lambda s: slope(s.raw.mean(axis=1), s.method.mean(axis=1)), "jackknife-t"
    ),
    _estimand(
        "Cohen's d", lambda s: standardized(s.apart[0], s.groups)[0], "jackknife-t, stratified"
    ),
    _estimand(
        "Hedges' g", lambda s: standardized(s.apart[0], s.groups)[1], "jackknife-t, stratified"
    ),
    _estimand(
        "change of Cohen's d",
        lambda s: change(*s.apart),
        "jackknife-t, stratified",
    ),
)
LARGE = 200_000  # subjects of the cohort that gives the truth


def coverage(
    rng: np.random.Generator, repetitions: int, estimands: tuple[Estimand, ...], uneven: bool
) -> dict[str, tuple[float, float]]:
    """Share of intervals that hold the truth, and of cohorts that gave no interval."""
    large = cohort(rng, LARGE, uneven)
    truths = [estimand.value(large) for estimand in estimands]
    held, without = np.zeros(len(estimands)), np.zeros(len(estimands))
    for _ in range(repetitions):
        sample = cohort(rng, N, uneven)
        for k, (estimand, truth) in enumerate(zip(estimands, truths, strict=True)):
            low, high = estimand.bounds(sample)
            if low is None or high is None or truth is None:
                without[k] += 1
            else:
                held[k] += low <= truth <= high
    shares = held / np.maximum(repetitions - without, 1)
    return {
        e.name: (float(shares[k]), float(without[k] / repetitions)) for k, e in enumerate(estimands)
    }


def special(rng: np.random.Generator, repetitions: int) -> Iterator[Special]:
    """Yield what needs data of its own: name, interval, bounds of each repetition, truth."""
    subject = 2.0 * rng.normal(size=(repetitions, N, 1))
    tables = subject + rng.normal(size=(repetitions, N, SCANNERS))
    random = tables + rng.normal(size=(repetitions, 1, SCANNERS))
    found = [icc_agreement(table) for table in random]
    yield "ICC, scanners drawn anew", "F", [(f.low, f.high) for f in found], 4 / (4 + 1 + 1)
    limits = [bland_altman(table[:, 0] - table[:, 1] + 0.7) for table in tables]
    for k, (name, how) in enumerate(
        (("bias", "t"), ("lower limit", "noncentral t"), ("upper limit", "noncentral t"))
    ):
        truth = 0.7 + (0.0, -1.96, 1.96)[k] * np.sqrt(2.0)
        yield f"Bland-Altman {name}", how, [(e[k].low, e[k].high) for e in limits], truth
    yield "individuality", "jackknife-t, log", *_individuality(rng, repetitions)
    correlation = 0.3
    groups = [by_fold(NAMES, row, FOLD_OF) for row in n3(rng, repetitions, correlation).subjects]
    iccs = [within_fold_icc(each) for each in groups]
    yield "within-fold ICC", "F", [(f.low, f.high) for f in iccs], correlation
    repeats = 3
    shape = (repetitions, N, repeats)
    values = rng.normal(size=shape) + 2.0 * rng.normal(size=(repetitions, N, 1))
    values += 0.5 * rng.normal(size=(repetitions, 1, repeats))
    spreads = [seed_spread(table) for table in values]
    for name, how, truth in (
        ("seed", "MLS", 0.5), ("subject", "MLS", 2.0), ("residual", "chi-square", 1.0)
    ):  # fmt: skip
        yield f"SD of {name}, 3 repeats", how, [(s[name].low, s[name].high) for s in spreads], truth


def _individuality(rng: np.random.Generator, repetitions: int) -> tuple[list[Bounds], float]:
    """Images of 200 voxels whose variances fall as 1 / k: some patterns dominate, as in brains."""
    sds = 1 / np.sqrt(np.arange(1, 201))
    bounds: list[Bounds] = []
    for _ in range(repetitions):
        raw = sds * rng.normal(size=(N, sds.size))
        method = 0.7 * raw + 0.3 * sds * rng.normal(size=raw.shape)
        own, other = (((x - x.mean(axis=0)) ** 2).sum(axis=1) for x in (method, raw))
        left = np.sqrt(without_each(own) / without_each(other))
        found = jackknifed(float(np.sqrt(own.sum() / other.sum())), left, "log")
        bounds.append((found.low, found.high))
    return bounds, float(np.sqrt(0.7**2 + 0.3**2))


def held(bounds: list[Bounds], truth: float) -> tuple[float, float]:
    """Share of intervals that hold the truth, and of repetitions without an interval."""
    there = [(low, high) for low, high in bounds if low is not None and high is not None]
    share = float(np.mean([low <= truth <= high for low, high in there])) if there else 0.0
    return share, 1 - len(there) / len(bounds)


# ------------------------------------------------------------------ tables


def show_rates(rng: np.random.Generator, repetitions: int) -> None:
    """Print how often each test rejects."""
    designs: dict[str, Null] = {
        "N1": n1(rng, repetitions),
        "N1, subjects differ in noise": n1(rng, repetitions, 0.5),
        "N2, skewed": n2(rng, repetitions),
        **{f"N3, rho {rho:g}": n3(rng, repetitions, rho) for rho in (0.0, 0.1, 0.3)},
    }
    print("\n| rejected, % | " + " | ".join(TESTS) + " |")
    print("|---|" + "---|" * len(TESTS))
    for name, null in designs.items():
        found = rates(null)
        print(
            f"| {name} | " + " | ".join(f"{100 * found[t]:.1f}" for t in TESTS) + " |", flush=True
        )


def show_families(rng: np.random.Generator, repetitions: int) -> None:
    """Print how often anything at all is rejected under N1."""
    holms = holm_rate(family(rng, repetitions, 5, 3))
    largest = max_t_rate(family(rng, repetitions, 5, 1))
    several = families_rate([family(rng, repetitions, 5, k) for k in (1, 3, 2, 1)])
    print("\n| familywise under N1 | rejects anything, % |\n|---|---|")
    print(f"| sign-flip against RAW, Holm over 5 contenders x 3 structures | {100 * holms:.1f} |")
    print(f"| max-t over all 10 pairs of 5 contenders | {100 * largest:.1f} |")
    print(f"| 4 such families, Benjamini-Bogomolov | {100 * several:.1f} |", flush=True)


def show_tost(rng: np.random.Generator, repetitions: int) -> None:
    """Print how often equivalence is found, from a true difference of 0 to the margin."""
    shares = np.linspace(0, 1, 6)
    found = [tost_rate(n1(rng, repetitions), share * MARGIN) for share in shares]
    print("\n| true difference, of the margin | " + " | ".join(f"{s:g}" for s in shares) + " |")
    print("|---|" + "---|" * shares.size)
    print(
        "| called equivalent, % | " + " | ".join(f"{100 * f:.1f}" for f in found) + " |", flush=True
    )


def show_coverage(rng: np.random.Generator, repetitions: int) -> None:
    """Print how often 95% intervals hold the truth."""
    estimands = (*T_TYPE, *OTHERS)
    normal, uneven = (coverage(rng, repetitions, estimands, kind) for kind in (False, True))
    print("\n| estimand | interval | coverage, % | uneven subjects, % | no interval, % |")
    print("|---|---|---|---|---|")
    for each in estimands:
        (own, none), (other, none_either) = normal[each.name], uneven[each.name]
        missing = f"{100 * none:.1f}, {100 * none_either:.1f}" if none + none_either else "0"
        print(
            f"| {each.name} | {each.interval} | {100 * own:.1f} | {100 * other:.1f} | {missing} |"
        )
    for name, interval, bounds, truth in special(rng, repetitions):
        own, none = held(bounds, truth)
        print(f"| {name} | {interval} | {100 * own:.1f} | | {100 * none:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.perf_counter()
    print(f"{given.repetitions} repetitions, {N} subjects, {SCANNERS} scanners, seed {given.seed}")
    parts = (show_rates, show_families, show_tost, show_coverage)
    for part, rng in zip(parts, np.random.default_rng(given.seed).spawn(len(parts)), strict=True):
        part(rng, given.repetitions)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
