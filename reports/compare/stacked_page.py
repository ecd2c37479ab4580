"""The page of runs that are no one benchmark: side by side what they were, their tables below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harmobench.reports.compare.differences import Difference
from harmobench.reports.compare.facts import facts
from harmobench.reports.compare.runs import Member
from harmobench.reports.compare.stack import warnings
from harmobench.reports.tables.formats import Table
from harmobench.reports.verdicts.findings import findings
from harmobench.reports.verdicts.summary import Summary, summary
from harmobench.reports.verdicts.verdict import verdict

TEMPLATE = "compare_stacked.html.j2"


@dataclass(frozen=True)
class Verdict:
    """A run's own verdict: a table, sentences on its controls, and the paper's counts."""

    name: str
    summary: Summary
    controls: tuple[str, ...]
    paper: tuple[str, ...]


def _verdict(member: Member) -> Verdict:
    found = findings(member.run)
    said = (*found.uncaught, *found.caught, *found.rewards)
    return Verdict(member.name, summary(member.run, found), said, verdict(member.run).sentences)


def page(members: Sequence[Member], found: Sequence[Difference], tables: Sequence[Table]) -> str:
    """Return the page as text; everything that comes from files is escaped."""
    from harmobench.reports.html import LONG, template

    return template(TEMPLATE).render(
        names=[member.name for member in members],
        runs=[{"name": m.name, "id": m.id, "hash": m.hash} for m in members],
        warnings=warnings(found),
        differences=found,
        facts=facts(members),
        verdicts=[_verdict(member) for member in members],
        tables=tables,
        long=LONG,
    )
