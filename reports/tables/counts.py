"""How many scores there are, and how many have no value, for the notes of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harmobench.interface import ASIDE, SPREADS, Finished
from harmobench.reports.lookup import STATUS, first_repeat
from harmobench.reports.style import label

MADE_OF = {spread: metric for metric, spread in SPREADS.items()}


@dataclass
class Count:
    """Scores of one method: how many there should be, and how many have no value, by status."""

    scores: int = 0
    missing: dict[str, int] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """Such as "36 of 36 failed"; empty where nothing is missing."""
        return ", ".join(f"{n} of {self.scores} {s}" for s, n in sorted(self.missing.items()))


def counts(run: Finished, metrics: Sequence[str], **where: str) -> Mapping[str, Count]:
    """Return the count of each method's scores, in the run's order.

    Parameters
    ----------
    metrics
        Metrics whose scores are counted together.
    where
        Columns of the scores and the value wanted, such as structure="gm".
    """
    frame = first_repeat(run.scores)
    frame = frame.loc[frame["metric"].isin([MADE_OF.get(name, name) for name in metrics])]
    for name, wanted in where.items():
        frame = frame.loc[frame[name] == wanted]
    frame = frame.loc[~frame["structure"].str.endswith(ASIDE)]
    found: dict[str, Count] = {}
    for (method, status), n in Counter(zip(frame["method"], frame["status"], strict=True)).items():
        count = found.setdefault(method, Count())
        count.scores += n
        if status != "ok":
            count.missing[STATUS.get(status, status)] = n
    return {name: found[name] for name in run.design.methods if name in found}


def counted(run: Finished, metrics: Sequence[str]) -> str:
    """Say which scores have no value; empty where there are no scores at all."""
    every = counts(run, metrics)
    if not every:
        return ""
    missing = [f"{label(name)} {count.shown}" for name, count in every.items() if count.missing]
    return f"Scores without a value: {'; '.join(missing)}." if missing else "No score is missing."
