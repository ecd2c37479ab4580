"""The runs of a comparison side by side, and what a reader must know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harmobench.reports.citing.words import joined
from harmobench.reports.compare.folds import folds_of
from harmobench.reports.compare.naming import Names
from harmobench.reports.compare.runs import Member
from harmobench.reports.provenance import spoken
from harmobench.reports.style import label

CALLED = {
    "metrics": "Metrics",
    "segmenters": "Segmenters",
    "morphometry": "Region measures",
    "statistics": "Statistics",
}
OWN = ("Run", "Methods", "Command")  # each run has its own: that they differ says nothing


@dataclass(frozen=True)
class Fact:
    """One thing that is known of every run, a value each; plain words for a page."""

    name: str
    values: tuple[str, ...]

    @property
    def own(self) -> bool:
        """Whether it is of a run by its nature."""
        return self.name in OWN

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return len(set(self.values)) > 1


def facts(members: Sequence[Member], names: Sequence[Names] = ()) -> list[Fact]:
    """Return what the runs were, side by side, what is their own first and packages last.

    `names`: what each run's methods are called in the comparison, where that is not their own.
    """
    jobs = [member.job for member in members]
    packages = sorted({name for job in jobs for name in job.environment})
    known = names or [{} for _ in members]
    own = ([m.id for m in members], list(map(_methods, members, known)), [j.command for j in jobs])
    return [
        *(Fact(name, tuple(values)) for name, values in zip(OWN, own, strict=True)),
        *(Fact(name, tuple(map(value, members))) for name, value in ASKED.items()),
        Fact("Test folds", tuple(_folds(members, member) for member in members)),
        *(Fact(name, tuple(j.environment.get(name, "none") for j in jobs)) for name in packages),
    ]


def _methods(member: Member, names: Names) -> str:
    return ", ".join(label(names.get(name, name)) for name in member.run.design.methods)


def _cohort(member: Member) -> str:
    design = member.run.design
    return f"{len(design.subjects)} subjects on {', '.join(design.scanners)}"


def _group(member: Member) -> str:
    group = member.job.groups
    return f"{group.column}: {group.first}, {group.second}" if group else "none"


def _folds(members: Sequence[Member], member: Member) -> str:
    """Say how many folds, and whose are others."""
    if not member.run.design.trained:
        return "none: nothing was trained"
    own = folds_of(member)
    trained = [m for m in members if m.run.design.trained and m.hash == member.hash]
    unlike = [m.name for m in trained if folds_of(m) != own]
    count = f"{len(set(own.values()))}"
    return f"{count}, other ones than those of {joined(unlike)}" if unlike else count


def _plugins(kind: str) -> Callable[[Member], str]:
    return lambda member: ", ".join(part.name for part in getattr(member.job, kind)) or "none"


ASKED: Mapping[str, Callable[[Member], str]] = {
    "harmobench": lambda member: member.job.version,
    "Cohort": _cohort,
    "Cohort hash": lambda member: member.hash,
    "Seed": lambda member: str(member.job.seed),
    "Preset": lambda member: member.job.preset,
    "Repeats": lambda member: str(len(member.job.folds)),
    "Target scanner": lambda member: member.job.target or "none",
    "Clinical groups": _group,
    "Covariates": lambda member: spoken(member.job.covariates) or "none",
    "Atlas": lambda member: str(member.job.atlas["name"]),
    **{name: _plugins(kind) for kind, name in CALLED.items()},
    "Device": lambda member: member.job.device,
}
