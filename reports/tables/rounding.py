"""Which differences are rounding: the statistics' own tolerance, for counts and bold."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from harmobench.interface import SPREADS, Finished
from harmobench.reports.lookup import Place, records, scores

RELATIVE = 1e-6  # of the scores' size: smaller differences are rounding, not a result
PARENTS = {spread: metric for metric, spread in SPREADS.items()}
Key = tuple[str, str, str, str]


class Rounding:
    """Tells rounding from differences, by the size of a run's scores.

    Size is the metric's range; where that has no end, the largest score of its tool and structure.
    A bias of 2 ml is made of volumes of 600 ml, so 1e-6 of 600 ml is what rounding does to it.
    """

    def __init__(self, run: Finished) -> None:
        self.run = run

    @cached_property
    def _values(self) -> dict[Key, list[float]]:
        found: dict[Key, list[float]] = {}
        for metric in self.run.design.metrics:
            for row in records(scores(self.run, metric)):
                key = (metric, row["tool"], row["structure"], row["space"])
                found.setdefault(key, []).append(abs(float(row["value"])))
        return found

    def size(self, metric: str, place: Place) -> float:
        """Size of a metric's scores: the end of its range, else the largest of them."""
        metric = PARENTS.get(metric, metric)
        low, high = self.run.design.ranges.get(metric, (-np.inf, np.inf))
        if np.isfinite(high - low):
            return float(high - low)
        return max(self._of(metric, place), default=0.0)

    def _of(self, metric: str, place: Place) -> list[float]:
        return self._values.get((metric, place.tool, place.structure, place.space), [])

    def equal(self, metric: str, place: Place, value: float, other: float) -> bool:
        """Whether two means, biases or RMSDs of a metric differ by rounding alone."""
        return bool(abs(value - other) <= RELATIVE * self.size(metric, place))

    def equal_d(self, metric: str, place: Place, value: float, other: float) -> bool:
        """Whether two effect sizes do; d is in SDs, so the scores' rounding is too."""
        spread = float(np.std(self._of(metric, place) or [0.0]))
        tolerance = self.size(metric, place) / spread if spread > 0 else 1.0
        return bool(abs(value - other) <= RELATIVE * tolerance)


def rises(value: float, raw: float) -> bool:
    """Whether an effect size is larger than RAW's, in RAW's direction.

    >>> rises(-0.9, -0.8), rises(0.9, -0.8)
    (True, False)
    """
    return bool(value * np.sign(raw) > abs(raw)) if raw else False
