"""The power planner against simulation: power at the difference that it calls the smallest.

For several numbers of subjects, normal paired differences with that mean are drawn and tested at
the level of 5%; the share of rejections must be within 3 points of the 80% planned. With folds,
differences share a part within a fold. The change of Cohen's d is tested with the interval that a
run prints (jackknife-t by group). With --measure RUN it prints, for
metrics/statistics/power_table.py, the spread of paired differences of a finished run instead.

    python benchmarks/power.py --repetitions 20000
    python benchmarks/power.py --measure RUN
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harmobench.metrics.statistics import power
from harmobench.metrics.statistics.effects import change
from harmobench.metrics.statistics.signflip import EXACT, sign_flip

Array = NDArray[np.float64]
POWER, LEVEL, SCANNERS = 0.8, 0.05, 4


def differences(
    rng: np.random.Generator, repetitions: int, sizes: tuple[int, ...], correlation: float
) -> Array:
    """(repetitions, subjects), of unit variance, with a correlation within each fold."""
    fold = np.repeat(np.arange(len(sizes)), sizes)
    shared = rng.normal(size=(repetitions, len(sizes)))[:, fold]
    own = rng.normal(size=(repetitions, fold.size))
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own


def by_t(values: Array, factor: float = 1.0) -> float:
    """Share of rows that a two-sided t-test rejects, its squared standard error times `factor`."""
    n = values.shape[1]
    error = values.std(axis=1, ddof=1) * np.sqrt(factor / n)
    critical = stats.t.isf(LEVEL / 2, n - 1)
    return float(np.mean(np.abs(values.mean(axis=1)) > critical * error))


def by_sign_flip(values: Array) -> float:
    """Share of rows that the exact sign-flip test rejects."""
    return float(np.mean(sign_flip(values.T, 1, 0) <= LEVEL))


def fold_means(values: Array, sizes: tuple[int, ...]) -> Array:
    """(repetitions, folds)."""
    starts = np.cumsum((0, *sizes[:-1]))
    return np.add.reduceat(values, starts, axis=1) / np.array(sizes)


def of_means(
    rng: np.random.Generator, repetitions: int, n: int, folds: int | None, correlation: float
) -> dict[str, float]:
    """Return the simulated power of each test at the difference planned for it."""
    sizes = (1,) * n if folds is None else power.fold_sizes(n, folds)
    factor = power.design_factor(sizes, correlation)
    null = differences(rng, repetitions, sizes, correlation)
    smallest = power.smallest_difference(1.0, n, POWER, LEVEL, factor)
    found = {"t": by_t(null + smallest, factor)}
    if folds is None:
        if n <= EXACT:
            found["sign-flip"] = by_sign_flip(null + smallest)
        return found
    smallest = power.smallest_by_folds(1.0, sizes, POWER, LEVEL, correlation)
    return found | {"t over folds": by_t(fold_means(null + smallest, sizes))}


def two_tables(
    rng: np.random.Generator, n: int, effect: float, more: float, noise: float
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """RAW's table, a method's and the groups; d is `effect` on RAW, `effect + more` on the method.

    Subjects have SD 1 within groups and scans a noise of their own; the method repeats RAW's scans
    with noise in their place.
    """
    first = np.arange(n) < n // 2
    subject = rng.normal(size=(n, 1))
    raw = subject + noise * rng.normal(size=(n, SCANNERS))
    method = subject + noise * rng.normal(size=(n, SCANNERS))
    spread = np.sqrt(1 + noise**2)
    raw[first] += effect * spread
    method[first] += (effect + more) * spread
    return raw, method, first


def of_change(
    rng: np.random.Generator, repetitions: int, n: int, effect: float, noise: float
) -> tuple[float, float]:
    """Return the smallest change of d, and the simulated power of its jackknife-t interval."""
    # a subject's mean difference of standardized values: noise of both over the scanners
    sd = float(np.sqrt(2 * noise**2 / SCANNERS / (1 + noise**2)))
    smallest = power.smallest_change(sd, n, POWER, LEVEL, effect)
    if smallest is None:
        raise SystemExit(f"no change of d is large enough for {n} subjects")
    found = 0
    for _ in range(repetitions):
        raw, method, first = two_tables(rng, n, effect, smallest, noise)
        interval = change(method, raw, first)
        if interval.low is None or interval.high is None:
            raise SystemExit("a change of d without interval")
        found += not interval.low <= 0 <= interval.high
    return smallest, found / repetitions


def of_groups(rng: np.random.Generator, repetitions: int, n: int) -> float:
    """Return the simulated power of a two-sample t-test at the smallest d."""
    smallest = power.smallest_group_effect(n, POWER, LEVEL)
    first = rng.normal(size=(repetitions, n // 2)) + (smallest or 0.0)
    second = rng.normal(size=(repetitions, n - n // 2))
    return float(np.mean(stats.ttest_ind(first, second, axis=1).pvalue < LEVEL))


def measure(folder: Path) -> None:
    """Print the spread of paired differences of a run, for each number of scanners it has."""
    from harmobench.finish import finished
    from harmobench.metrics.statistics.power_sources import spreads_of

    run = finished(folder)
    found: dict[tuple[str, ...], list[float]] = {}
    for scanners in range(2, len(run.design.scanners) + 1):
        for s in spreads_of(run.scores, run.design, scanners):
            found.setdefault((s.kind, s.metric, s.structure, s.tool, s.units), []).append(s.sd)
    for key, sds in found.items():
        name = ", ".join(f'"{part}"' for part in key)
        print(f"    ({name}): ({', '.join(f'{sd:.3g}' for sd in sds)}),")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", type=Path)
    given = parser.parse_args()
    if given.measure is not None:
        measure(given.measure)
        return
    rng = np.random.default_rng(given.seed)
    print(f"power planned: {POWER:.0%}; simulated, {given.repetitions} repetitions:")
    for n in (6, 8, 12, 18, 40):
        for folds, correlation in ((None, 0.0), (6, 0.0), (6, 0.1), (6, 0.3)):
            if folds is None or n >= 2 * folds:
                found = of_means(rng, given.repetitions, n, folds, correlation)
                where = "" if folds is None else f", {folds} folds, rho {correlation}"
                text = ", ".join(f"{name} {share:.1%}" for name, share in found.items())
                print(f"  n {n}{where}: {text}")
        print(f"  n {n}, d of two groups: {of_groups(rng, given.repetitions, n):.1%}")
    for n in (12, 18, 30, 40):
        for effect in (0.0, 0.8):
            for noise in (0.1, 0.3):
                smallest, share = of_change(rng, given.repetitions // 5, n, effect, noise)
                print(f"  n {n}, d {effect}, noise {noise}, change {smallest:.3f}: {share:.1%}")


if __name__ == "__main__":
    main()
