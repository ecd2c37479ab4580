"""Where a power plan takes its standard deviations from: a finished run, or the phantom.

They are standard deviations over subjects of paired differences, method minus RAW, of the subject
values that the rigorous comparisons use (`cases.subject_values`); where a source has several
methods, their median. A subject's value varies less the more scanners it is a mean over, so a
source with more scanners than are planned is measured on all choices of as many of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import SettingsError
from harmobench.interface import CONTROLS, Design
from harmobench.metrics.statistics.blocks import BASELINE
from harmobench.metrics.statistics.cases import Case, cases
from harmobench.metrics.statistics.power_table import ABOUT, MEASURED, SCANNERS, Key, Kind

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 3  # subjects of a run: of fewer, a standard deviation says nothing
MOST_CHOICES = 40  # of scanners, evenly spaced among all: a run of 12 would have 924 of 6
IDENTICAL = 1e-6  # of the scores' size: a method that changes less changes nothing


@dataclass(frozen=True)
class Spread:
    """Standard deviation over subjects of paired differences.

    Attributes
    ----------
    kind
        "bias": a subject's mean absolute difference over its scanner pairs; "mean" of its scores;
        "change of d": of standardized values, without unit.
    metric, structure, tool, units
        Of the scores.
    sd
        In `units`.
    """

    kind: Kind
    metric: str
    structure: str
    tool: str
    units: str
    sd: float


@dataclass(frozen=True)
class Source:
    """Standard deviations to plan with.

    Attributes
    ----------
    spreads
        One a column of the plan.
    about
        Sentences that say where they come from.
    """

    spreads: tuple[Spread, ...]
    about: tuple[str, ...]


def phantom(scanners: int) -> Source:
    """Return standard deviations measured on the phantom.

    Raises
    ------
    SettingsError
        Fewer than 2 scanners.
    """
    _check_scanners(scanners)
    used = min(scanners, SCANNERS[-1])
    place = SCANNERS.index(used)
    spreads = tuple(Spread(*key, sd=sds[place]) for key, sds in MEASURED.items())
    return Source(spreads, (ABOUT, *_fewer(scanners, used)))


def of_run(folder: Path, scanners: int) -> Source:
    """Return standard deviations of a finished run's scores.

    Raises
    ------
    HarmobenchError
        The folder holds no finished run, or the run has too few subjects, scanners or methods.
    """
    from harmobench.finish import finished

    _check_scanners(scanners)
    run = finished(folder)
    spreads = spreads_of(run.scores, run.design, scanners)
    n, used = len(run.design.subjects), min(scanners, len(run.design.scanners))
    if not spreads:
        raise SettingsError(
            f"--run {folder}: expected a run in which a method other than RAW and the controls "
            f"has scores of at least {FEWEST} subjects that RAW has too, found none: run more "
            "methods or subjects, or leave --run out to plan with the phantom's spread"
        )
    names = ", ".join(_methods(run.design))
    off = 100 / np.sqrt(2 * (n - 1))
    about = (
        f"SDs: run {folder}, {n} subjects, median over {names}; from so few subjects an SD is off "
        f"by about {off:.0f}%, and so is each difference here"
    )
    return Source(spreads, (about, *_fewer(scanners, used)))


def _check_scanners(scanners: int) -> None:
    if scanners < 2:
        raise SettingsError(f"--scanners: expected at least 2, found {scanners}")


def _fewer(wanted: int, used: int) -> tuple[str, ...]:
    if wanted <= used:
        return ()
    return (
        f"scanners: {wanted} planned, the SDs are of {used}, the most that this source has; a mean "
        "over more scanners varies less, so smaller differences may show",
    )


def _methods(design: Design) -> tuple[str, ...]:
    return tuple(m for m, role in design.methods.items() if m != BASELINE and role not in CONTROLS)


def spreads_of(scores: pd.DataFrame, design: Design, scanners: int) -> tuple[Spread, ...]:
    """Return the standard deviations of a table of scores.

    Parameters
    ----------
    scores
        Columns of `results.SCORE_COLUMNS`.
    design
        Of the run.
    scanners
        How many are planned. Metrics of a whole cohort cannot be had of fewer scanners than the
        run has, and are then left out.
    """
    scores = scores[scores["repeat"] == 0]
    choices = _choices(design.scanners, scanners)
    variances: dict[Key, dict[str, list[float]]] = {}
    for chosen in choices:
        own = scores
        if len(chosen) < len(design.scanners):
            other = {"", *chosen}
            own = scores[scores["scanner"].isin(chosen) & scores["reference_scanner"].isin(other)]
        for case in cases(own, design):
            for method in _methods(design):
                for key, sd in _of_case(case, method, chosen, design):
                    variances.setdefault(key, {}).setdefault(method, []).append(sd**2)
    return tuple(
        Spread(*key, sd=median(float(np.sqrt(np.mean(v))) for v in by_method.values()))
        for key, by_method in variances.items()
    )


def _choices(scanners: Sequence[str], wanted: int) -> list[tuple[str, ...]]:
    every = list(combinations(scanners, min(wanted, len(scanners))))
    if len(every) <= MOST_CHOICES:
        return every
    return [every[k] for k in np.linspace(0, len(every) - 1, MOST_CHOICES).round().astype(int)]


def _of_case(
    case: Case, method: str, chosen: Sequence[str], design: Design
) -> Iterator[tuple[Key, float]]:
    subjects, differences = case.paired(method, BASELINE)
    if len(subjects) < FEWEST:
        return
    size = max(case.blocks[method].size, case.blocks[BASELINE].size)
    if max(abs(d) for d in differences) <= IDENTICAL * size:
        return
    place = (str(case.labels["metric"]), str(case.labels["structure"]), str(case.labels["tool"]))
    kind: Kind = "bias" if case.better == "equal" else "mean"
    yield (kind, *place, case.units), float(np.std(differences, ddof=1))
    if kind == "bias":
        sd = _of_standardized(case, method, subjects, chosen, design.groups)
        if sd is not None:
            yield ("change of d", *place, ""), sd


def _of_standardized(
    case: Case,
    method: str,
    subjects: Sequence[str],
    chosen: Sequence[str],
    groups: Mapping[str, str],
) -> float | None:
    """SD within groups of a subject's mean difference of values over their SD within groups."""
    cells = [case.blocks[m].values.get((c, ""), {}) for m in (method, BASELINE) for c in chosen]
    subjects = [s for s in subjects if all(s in row for row in cells)]
    if len(subjects) < 2:
        return None
    labels = np.array([groups.get(s, "") for s in subjects])
    total = np.zeros(len(subjects))
    for scanner in chosen:
        for name, sign in ((method, 1.0), (BASELINE, -1.0)):
            row = case.blocks[name].values[scanner, ""]
            values = np.array([row[s] for s in subjects])
            spread = _within(values, labels)
            if not spread:
                return None
            total += sign * values / spread
    return _within(total / len(chosen), labels)


def _within(values: NDArray[np.float64], labels: NDArray[np.str_]) -> float | None:
    """Pooled SD within groups; None where no group has two members, or nothing varies."""
    squares, df = 0.0, 0
    for label in np.unique(labels):
        own = values[labels == label]
        squares += float(((own - own.mean()) ** 2).sum())
        df += own.size - 1
    return float(np.sqrt(squares / df)) if df > 0 and squares > 0 else None
