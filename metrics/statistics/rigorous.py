"""Comparisons that survive review: one value a subject, exact tests, families, intervals.

Rows of `compare`, all of them over subjects of the common set (`cases`); `estimate` is the mean of
method minus comparator, `low` and `high` its 95% t interval, `effect` d_z:

===========  ==============  =======================================================================
test         against         p and p_adjusted
===========  ==============  =======================================================================
sign_flip    RAW             exact to 20 subjects, Monte Carlo above; Holm within the family, then
                             Benjamini-Bogomolov over the families of contenders; controls and
                             undeclared plugins are families of their own, by Holm alone
paired_t     RAW             t
wilcoxon     RAW             signed rank, exact where scipy can
fold         RAW             t of the folds' means, of cross-validated methods; n folds
tost         RAW             equivalence, where a margin was declared; the interval is of 90%
guard        RAW             of controls: `estimate` is positive where the control is better than
                             RAW; of metrics that are 1 in RAW the mean distance from 1, with its
                             sign; `reason` is the metric's mark
max_t        each other      sign-flip; step-down max-|t| over all pairs of contenders
family                       Simes p of a family of contenders; Benjamini-Hochberg over families
===========  ==============  =======================================================================

A family is all contenders and structures of one metric and tool against RAW, in one repeat. Methods
that are not trained are compared once, in repeat 0; in later ones they stand beside the trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harmobench.interface import Design
from harmobench.limits import number, refuse, whole
from harmobench.metrics.statistics.blocks import BASELINE
from harmobench.metrics.statistics.cases import cases, is_contender
from harmobench.metrics.statistics.comparing import POWERLESS, against_raw, among_contenders
from harmobench.metrics.statistics.families import benjamini_bogomolov, holm
from harmobench.metrics.statistics.foldlevel import fold_cells, folds_of
from harmobench.metrics.statistics.pairs import Cell, by_subject
from harmobench.metrics.statistics.ranks import rank_cells
from harmobench.metrics.statistics.signflip import smallest_p
from harmobench.metrics.statistics.summaries import rigorous_cells
from harmobench.results import AGGREGATE_COLUMNS, COMPARISON_COLUMNS, table

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Rigorous:
    """Subject-level statistics with intervals, and tests adjusted for their number.

    Attributes
    ----------
    resamples
        Random sign vectors above 20 subjects, and bootstrap samples of ranks.
    level
        Of the tests; families are selected at it.
    """

    resamples: int = 10_000
    level: float = 0.05

    mode: ClassVar[str] = "rigorous"

    def check(self) -> None:
        """Refuse parameters that no run can use.

        Raises
        ------
        SettingsError
            Each of them, with what was expected.
        """
        refuse(
            "the rigorous statistics",
            whole("resamples", self.resamples, 1),
            number("level", self.level, lambda x: 0 < x < 1, "a number between 0 and 1"),
        )

    def aggregate(self, scores: pd.DataFrame, design: Design) -> pd.DataFrame:
        """Return aggregates over subjects, how alike a fold's subjects are, and ranks."""
        self.check()
        folds = folds_of(scores, design)
        rows: list[Cell] = [*rigorous_cells(scores, design)]
        for case in filter(by_subject, cases(scores, design)):
            rows += fold_cells(case, design, folds)
            rows += rank_cells(case, design, self.resamples)
        return table([row | {"mode": self.mode} for row in rows], AGGREGATE_COLUMNS)

    def compare(self, scores: pd.DataFrame, design: Design) -> pd.DataFrame:
        """Return the comparisons that this module's docstring lists."""
        self.check()
        folds = folds_of(scores, design)
        rows: list[Cell] = []
        for case in filter(by_subject, cases(scores, design)):
            rows += against_raw(case, design, folds, self.resamples)
            rows += among_contenders(case, design, self.resamples, self.level)
        rows += self._adjust(rows, design)
        return table([row | {"mode": self.mode} for row in rows], COMPARISON_COLUMNS)

    def _adjust(self, rows: list[Cell], design: Design) -> Iterator[Cell]:
        """Adjust the sign-flip tests in place, and yield the rows of families."""
        repeats: dict[int, dict[str, list[Cell]]] = {}
        for row in rows:
            if row["test"] == "sign_flip" and row.get("p") is not None:
                families = repeats.setdefault(row["repeat"], {})
                families.setdefault(row["family"], []).append(row)
        for families in repeats.values():
            ranked = {k: v for k, v in families.items() if is_contender(v[0]["method"], design)}
            p = {name: [row["p"] for row in tests] for name, tests in ranked.items()}
            found = benjamini_bogomolov(p, self.level)
            for name, tests in families.items():
                own = found.get(name)
                adjusted = own.tests if own else holm([row["p"] for row in tests])
                for row, value in zip(tests, adjusted.tolist(), strict=True):
                    row["p_adjusted"] = value
                    row["reason"] = self._reason(row, len(tests), own is None or own.selected)
                if own:
                    labels = {k: tests[0][k] for k in ("repeat", "family", "tool", "metric")}
                    yield labels | {
                        "comparator": BASELINE,
                        "test": "family",
                        "n": len(tests),
                        "p": own.simes,
                        "p_adjusted": own.adjusted,
                        "status": "ok",
                        "reason": "" if own.selected else "family not selected",
                    }

    def _reason(self, row: Cell, tests: int, selected: bool) -> str:
        if row["reason"] == "identical":
            return "identical"
        reasons = [row["reason"]]
        if smallest_p(row["n"], self.resamples) * tests > self.level:
            reasons.append(POWERLESS)
        if not selected:
            reasons.append("family not selected")
        return "; ".join(reason for reason in reasons if reason)
