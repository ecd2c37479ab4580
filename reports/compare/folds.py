"""Test folds that differ between runs, and what cannot be compared because they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harmobench.reports.compare.runs import Member
from harmobench.reports.compare.same import of_folds

if TYPE_CHECKING:
    import pandas as pd


def leading(members: Sequence[Member], repeat: int = 0) -> Member:
    """Return the run whose folds stand for all where one has to: the first that trained any."""
    having = [member for member in members if repeat < len(member.job.folds)]
    trained = [member for member in having if member.run.design.trained]
    measured = [m for m in trained or having if _looked_up(m)]
    return (measured or trained or having)[0]


def others(members: Sequence[Member], repeat: int = 0) -> list[Member]:
    """Return runs that trained methods on other folds than the leading one."""
    wanted = folds_of(leading(members, repeat), repeat)
    having = [m for m in members if repeat < len(m.job.folds) and m.run.design.trained]
    return [member for member in having if folds_of(member, repeat) != wanted]


def elsewhere(members: Sequence[Member]) -> list[Member]:
    """Return runs that looked subjects up among other ones than the leading run did."""
    wanted = folds_of(leading(members))
    return [m for m in members if _looked_up(m) and folds_of(m) != wanted]


def _looked_up(member: Member) -> bool:
    """Whether a run has scores that depend on its folds."""
    scores = member.run.scores
    return bool((of_folds(scores) & (scores["status"] == "ok")).any())


def folds_of(member: Member, repeat: int = 0) -> Mapping[str, int]:
    """Test fold of each subject in one repeat."""
    return dict(member.job.folds[repeat])


def comparable(members: Sequence[Member], member: Member) -> pd.DataFrame:
    """Scores of a run; those whose galleries are other test folds than the leading run's are not.

    A subject is easier to find among few than among many, so a method is compared with RAW and
    with others on the same galleries alone.
    """
    scores = member.run.scores.copy()
    for repeat, folds in enumerate(member.job.folds):
        first = leading(members, repeat)
        if dict(folds) == folds_of(first, repeat):
            continue
        other = of_folds(scores) & (scores["repeat"] == repeat) & (scores["status"] == "ok")
        scores.loc[other, ["status", "reason"]] = (
            "not_applicable",
            f"looked up among the subjects of {member.name}'s test folds, which are not those of "
            f"{first.name}",
        )
        scores.loc[other, "value"] = float("nan")
    return scores
