"""Whether two runs gave a method the same scores, and the same settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmobench.reports.compare.runs import Member

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6  # of the largest score of a metric: less is no difference
KEY = (
    "repeat", "metric", "tool", "structure", "level", "space", "units", "subject", "scanner",
    "reference_scanner",
)  # fmt: skip
FOLD = ("fold", "fold_chance")  # structures whose galleries are the subjects of a test fold
UNMEASURED = "not_measured"


def of_folds(scores: pd.DataFrame) -> pd.Series[bool]:
    """Which scores depend on who else is in a subject's test fold."""
    return (scores["level"] == "cohort") & scores["structure"].isin(FOLD)


def unlike(scores: pd.DataFrame, others: pd.DataFrame) -> str:
    """Say how the scores of one method differ between two runs; empty where they do not.

    Compared are metrics, tools and repeats that both have; what one of them did not measure, and
    what depends on test folds, is passed over.
    """
    both = _beside(scores, others)
    if both.empty:
        return ""
    size = both[["value", "value_other"]].abs().max(axis=1)
    size = size.groupby(both["metric"]).transform("max")
    gap = (both["value"] - both["value_other"]).abs() / size.where(size > 0, 1.0)
    bad = both[(gap > ROUNDING) | (both["status"] != both["status_other"])]
    if bad.empty:
        return ""
    worst = bad.assign(gap=gap[bad.index].fillna(float("inf"))).sort_values("gap", kind="stable")
    row = worst.iloc[-1]
    place = [row[name] for name in KEY[1:4]] + [row[name] for name in KEY[7:]]
    return (
        f"{len(bad)} of {len(both)} scores differ, most of all "
        f"{' '.join(str(x) for x in place if x)}: {_shown(row, '')} and {_shown(row, '_other')}"
    )


def _shown(row: pd.Series[str], suffix: str) -> str:
    status = str(row[f"status{suffix}"])
    return f"{float(row[f'value{suffix}']):.7g}" if status == "ok" else status


def _beside(scores: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Scores of both runs in one row each, where both measured at all."""
    columns = [*KEY, "value", "status"]
    own, theirs = (frame.loc[~of_folds(frame), columns] for frame in (scores, others))
    measured = ["repeat", "metric", "tool"]
    shared = own[measured].drop_duplicates().merge(theirs[measured].drop_duplicates())
    own, theirs = own.merge(shared), theirs.merge(shared)
    both = own.merge(theirs, on=list(KEY), how="outer", suffixes=("", "_other"))
    both = both.fillna({"status": "missing", "status_other": "missing"})
    passed = both["status"].eq(UNMEASURED) | both["status_other"].eq(UNMEASURED)
    return both[~passed].reset_index(drop=True)


def same_method(member: Member, other: Member, method: str) -> bool:
    """Whether both runs ran a method under the same settings and scored it the same."""
    own, theirs = (each.job.part("methods", method) for each in (member, other))
    used = [
        (p.target, {k: v for k, v in p.parameters.items() if k not in p.aside}, dict(p.needs))
        for p in (own, theirs)
    ]
    if used[0] != used[1]:
        return False
    if own.needs["target"] and member.job.target != other.job.target:
        return False
    if own.needs["covariates"] and member.job.covariates != other.job.covariates:
        return False
    scores, others = (
        each.run.scores[each.run.scores["method"] == method] for each in (member, other)
    )
    return not _beside(scores, others).empty and not unlike(scores, others)
