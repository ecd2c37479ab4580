"""Finding the rigorous comparisons of a run; nothing is tested here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harmobench.interface import LOWER_IS_BETTER, SPREADS, Finished
from harmobench.reports.lookup import (
    ALPHA,
    IDENTICAL,
    RIGOROUS,
    first_repeat,
    known,
    of_mode,
    records,
)
from harmobench.reports.style import label, order

# the order of the page; others follow by name
METRICS = (
    "ssim",
    "auroc",
    "auroc_spread",
    "volume",
    "dice",
    "biomarker",
    "volume_error",
    "truth_dice",
    "truth_rmse",
    "identifiability",
    "sharpness",
    "noise",
    "slice_consistency",
)
THRESHOLDED = "_p80"  # of structures: held against the truth's voxels of at least .8
POWERLESS = "cannot reach significance at this n"
# what a subject's value is, where it is not the metric's own score
SAID = {
    "auroc": "AUROC",
    "auroc_spread": "AUROC spread",
    "volume": "Volume bias",
    "biomarker": "Biomarker bias",
    "slice_consistency": "Slice consistency",
    "sharpness": "Sharpness, distance from 1",
    "noise": "Noise, distance from 1",
    "identifiability": "Identifiability",
    "volume_error": "Volume error against truth",
    "truth_dice": "Dice against truth",
    "truth_rmse": "Intensity RMSE against truth",
}


@dataclass(frozen=True)
class Case:
    """What methods are compared on: subjects' values of one metric, tool, structure and space."""

    metric: str
    tool: str
    structure: str
    space: str

    @property
    def measure(self) -> str:
        """What a subject's value is, such as "Volume bias"."""
        return SAID.get(self.metric, label(self.metric))

    @property
    def name(self) -> str:
        """The measure and its tool, such as "Volume bias (HMRF)"."""
        return f"{self.measure} ({label(self.tool)})" if self.tool else self.measure


@dataclass(frozen=True)
class Compared:
    """One comparison as it stands in the run's table."""

    method: str
    comparator: str
    family: str
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    statistic: float | None
    p: float | None
    p_adjusted: float | None
    effect: float | None
    status: str
    reason: str

    @property
    def identical(self) -> bool:
        """Whether no value differs from the comparator's."""
        return self.reason == IDENTICAL

    @property
    def differs(self) -> bool:
        """Whether it is significant after adjustment."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA and not self.identical


class Comparisons:
    """Comparisons of the rigorous mode, first repeat, by case, test and methods."""

    def __init__(self, run: Finished) -> None:
        self.run = run

    @cached_property
    def _rows(self) -> Mapping[tuple[Case, str], Mapping[tuple[str, str], Compared]]:
        found: dict[tuple[Case, str], dict[tuple[str, str], Compared]] = {}
        for row in records(first_repeat(of_mode(self.run.comparisons, RIGOROUS))):
            case = Case(*(str(row[name]) for name in Case.__dataclass_fields__))
            place = (str(row["method"]), str(row["comparator"]))
            found.setdefault((case, str(row["test"])), {}).setdefault(place, _compared(row))
        return found

    @cached_property
    def _families(self) -> Mapping[str, Compared]:
        found = [rows for (_, test), rows in self._rows.items() if test == "family"]
        return {row.family: row for rows in found for row in rows.values()}

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases that were compared with RAW, in the page's order."""
        found = {case for case, test in self._rows if test in ("sign_flip", "guard")}
        names = {name: i for i, name in enumerate(METRICS)}
        structures = order([case.structure for case in found])

        def key(case: Case) -> tuple[object, ...]:
            place = names.get(case.metric, len(names))
            return (place, case.metric, case.tool, case.space, structures.index(case.structure))

        return tuple(sorted(found, key=key))

    @property
    def judging(self) -> tuple[Case, ...]:
        """Cases that a verdict counts: of two truths for one volume, the thresholded one."""
        twice = {
            replace(case, structure=case.structure.removesuffix(THRESHOLDED))
            for case in self.cases
            if case.structure.endswith(THRESHOLDED)
        }
        return tuple(case for case in self.cases if case not in twice)

    def of(self, *metrics: str) -> list[Case]:
        """Cases of these metrics, metrics in the order they are named."""
        return [case for metric in metrics for case in self.cases if case.metric == metric]

    def get(self, test: str, case: Case, method: str, comparator: str = "raw") -> Compared | None:
        """One comparison, or None where the run has none."""
        return self._rows.get((case, test), {}).get((method, comparator))

    def tests(self, test: str, case: Case) -> list[Compared]:
        """All comparisons of one test in a case."""
        return list(self._rows.get((case, test), {}).values())

    def family(self, row: Compared) -> Compared | None:
        """Return the family that a comparison was adjusted in: its Simes p, and over families."""
        return self._families.get(row.family)

    def better(self, case: Case) -> float:
        """1 where a higher difference is better, -1 where a lower one is."""
        spread = case.metric in SPREADS.values()  # made by the statistics: no metric says it
        better = "lower" if spread else self.run.design.metrics.get(case.metric, "higher")
        return -1.0 if better in LOWER_IS_BETTER else 1.0

    def _pairs(self, case: Case) -> list[Compared]:
        return [r for r in self._rows.get((case, "max_t"), {}).values() if r.status == "ok"]

    def untold(self, case: Case) -> bool:
        """Whether no two contenders could be told apart here, there being too few subjects."""
        return any(POWERLESS in row.reason for row in self._pairs(case))

    def tied(self, case: Case) -> list[str]:
        """Contenders that are not significantly worse than any other; all pairs were tested.

        None where no pair could have differed: then to be tied is no evidence.
        """
        if self.untold(case):
            return []
        pairs = self._pairs(case)
        seen = {name for row in pairs for name in (row.method, row.comparator)}
        worse = set()
        for row in pairs:
            if row.differs and row.estimate is not None:
                first_wins = row.estimate * self.better(case) > 0
                worse.add(row.comparator if first_wins else row.method)
        return [name for name in self.run.design.methods if name in seen - worse]


def _compared(row: Mapping[Any, Any]) -> Compared:
    numbers = ("estimate", "low", "high", "statistic", "p", "p_adjusted", "effect")
    estimate, low, high, statistic, p, p_adjusted, effect = (known(row[name]) for name in numbers)
    return Compared(
        method=str(row["method"]),
        comparator=str(row["comparator"]),
        family=str(row["family"]),
        n=int(row["n"]),
        estimate=estimate,
        low=low,
        high=high,
        statistic=statistic,
        p=p,
        p_adjusted=p_adjusted,
        effect=effect,
        status=str(row["status"]),
        reason=str(row["reason"]),
    )
