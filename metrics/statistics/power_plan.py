"""A power plan: for each number of subjects the smallest difference of each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from harmobench.errors import SettingsError
from harmobench.metrics.statistics import power
from harmobench.metrics.statistics.power_sources import Source, Spread

SUBJECT, FOLD = "t over subjects", "t over folds"
FEWEST_FOLDS = 2
LARGEST_EFFECT = 10  # groups that do not overlap at all


@dataclass(frozen=True)
class Request:
    """What is planned; a value that cannot be is refused at once.

    Attributes
    ----------
    counts
        Numbers of subjects, ascending.
    power, level
        Probabilities of a true and of a false finding.
    tests
        That share the level (Bonferroni, which Holm's method never falls short of).
    folds
        Of a trained method; None for a method without training.
    within_fold
        Correlation of the differences of subjects in one test fold.
    effect
        Cohen's d of RAW.
    """

    counts: tuple[int, ...]
    power: float = 0.8
    level: float = 0.05
    tests: int = 1
    folds: int | None = None
    within_fold: float = 0.1
    effect: float = 0.8

    def __post_init__(self) -> None:
        """Refuse what no test could have.

        Raises
        ------
        SettingsError
            Naming the option.
        """
        if not 0 < self.level < 1:
            raise SettingsError(f"--level: expected a number between 0 and 1, found {self.level}")
        if not self.level < self.power < 1:
            raise SettingsError(
                f"--power: expected a number between --level ({self.level}) and 1, "
                f"found {self.power}"
            )
        if self.tests < 1:
            raise SettingsError(f"--tests: expected at least 1, found {self.tests}")
        if self.folds is not None and self.folds < FEWEST_FOLDS:
            raise SettingsError(f"--folds: expected at least {FEWEST_FOLDS}, found {self.folds}")
        if not 0 <= self.within_fold <= 1:
            raise SettingsError(
                f"--within-fold: expected a number from 0 to 1, found {self.within_fold}"
            )
        if not abs(self.effect) <= LARGEST_EFFECT:
            raise SettingsError(
                f"--effect: expected a Cohen's d from -{LARGEST_EFFECT} to {LARGEST_EFFECT}, found "
                f"{self.effect:g}"
            )

    @property
    def own_level(self) -> float:
        """Level of one of the tests."""
        return self.level / self.tests

    def sizes(self, n: int) -> tuple[int, ...]:
        """Sizes of the test folds; every subject its own where nothing is trained."""
        if self.folds is None:
            return (1,) * n
        return power.fold_sizes(n, max(1, min(self.folds, n // 2)))  # a fold tests 2 or more


@dataclass(frozen=True)
class Column:
    """One metric's smallest differences.

    Attributes
    ----------
    name
        What is found: "bias", "change of d", "d itself", or else a difference of the metric.
    metric, structure, tool, units
        Of the scores.
    test
        Which test finds it.
    sd
        Of paired differences, in `units`; None where none is needed.
    values
        One a number of subjects; None where no difference is large enough.
    """

    name: str
    metric: str
    structure: str
    tool: str
    units: str
    test: str
    sd: float | None
    values: tuple[float | None, ...]

    @property
    def heading(self) -> tuple[str, ...]:
        """Lines above the column."""
        test = "" if self.test == SUBJECT else "by folds"
        where = (self.structure, self.tool, test, self.units and f"[{self.units}]")
        return self.name, "" if self.metric == self.name else self.metric, *where


@dataclass(frozen=True)
class Plan:
    """Smallest differences, and what they assume.

    Attributes
    ----------
    request
        What was planned.
    columns
        One a metric, structure, tool and test.
    assumptions
        Sentences.
    """

    request: Request
    columns: tuple[Column, ...]
    assumptions: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of subjects, one a row."""
        return self.request.counts


def make(request: Request, source: Source) -> Plan:
    """Compute the smallest differences for each number of subjects and each metric."""
    columns = [_of_subjects(request, spread) for spread in source.spreads]
    groups = tuple(
        power.smallest_group_effect(n, request.power, request.own_level) for n in request.counts
    )
    columns.append(Column("d itself", "", "", "", "", SUBJECT, None, groups))
    if request.folds is not None:
        columns += [_of_folds(request, s) for s in source.spreads if s.kind != "change of d"]
    columns.sort(key=_place)
    return Plan(request, tuple(columns), tuple(_assumptions(request, source)))


def _place(column: Column) -> tuple[bool, int]:
    """Sort key of columns: what a cohort is planned by comes first."""
    first = ("bias", "ssim", "change of d", "d itself")
    return column.test != SUBJECT, first.index(column.name) if column.name in first else len(first)


def _of_subjects(request: Request, spread: Spread) -> Column:
    def smallest(n: int) -> float | None:
        if spread.kind == "change of d":
            return power.smallest_change(
                spread.sd, n, request.power, request.own_level, request.effect
            )
        factor = power.design_factor(request.sizes(n), request.within_fold)
        return power.smallest_difference(spread.sd, n, request.power, request.own_level, factor)

    return _column(request, spread, SUBJECT, smallest)


def _of_folds(request: Request, spread: Spread) -> Column:
    def smallest(n: int) -> float | None:
        sizes = request.sizes(n)
        if len(sizes) < FEWEST_FOLDS:
            return None
        return power.smallest_by_folds(
            spread.sd, sizes, request.power, request.own_level, request.within_fold
        )

    return _column(request, spread, FOLD, smallest)


def _column(
    request: Request, spread: Spread, test: str, smallest: Callable[[int], float | None]
) -> Column:
    name = spread.metric if spread.kind == "mean" else spread.kind
    values = tuple(smallest(n) for n in request.counts)
    place = (spread.metric, spread.structure, spread.tool, spread.units)
    return Column(name, *place, test, spread.sd, values)


def _assumptions(request: Request, source: Source) -> Iterator[str]:
    yield from source.about
    yield (
        "test: two-sided paired t over subjects, noncentral t; bias is a subject's mean absolute "
        "difference over its scanner pairs, method minus RAW"
    )
    if request.tests > 1:
        yield f"{request.tests} tests share the level: {request.own_level:.2g} for each"
    fewest = power.fewest_for_sign_flip(request.own_level)
    yield (
        f"under {fewest} subjects the exact sign-flip test, which gives the verdict, cannot reach "
        f"{request.own_level:.2g}, whatever the difference; with a few more it finds less than t"
    )
    if request.folds is None:
        yield "a method without training; for a trained one give --folds"
    else:
        yield (
            f"trained in {request.folds} folds (fewer where a fold would test less than 2), "
            f"correlation {request.within_fold:g} within a fold: the variance of a mean is "
            "1 + (m - 1) rho times as large with m subjects a fold; 'by folds' is the t-test on "
            "the folds' means, which needs no such guess"
        )
    yield (
        f"change of d: method minus RAW on the same people, two groups of n/2, RAW's d "
        f"{request.effect:g} (--effect); folds balanced by group cancel in it; under 14 subjects "
        "its interval finds up to 10 points less often than planned"
    )
    yield "d itself: what two groups of n/2 show in a two-sample t-test, without comparing methods"
