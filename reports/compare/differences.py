"""What keeps runs from being one benchmark: other cohorts, or other definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harmobench.reports.compare.runs import KINDS, RAW, Member, told
from harmobench.reports.compare.same import unlike
from harmobench.reports.provenance import spoken

Kind = Literal["cohorts", "definitions"]
CALLED = {
    "metrics": "metric",
    "segmenters": "segmenter",
    "morphometry": "region measures",
    "statistics": "statistics",
}
# plugins whose code counts: statistics are computed again, by one code for all
MANY = {"metrics": "metrics", "segmenters": "segmenters", "morphometry": "tools"}
SHORT = 8  # characters of a hash
FEW = 3  # plugins that are named


@dataclass(frozen=True)
class Difference:
    """One thing in which runs differ.

    Attributes
    ----------
    kind
        What --allow calls it.
    what
        Its name, such as "metric ssim, parameter window".
    who
        Which run has what.
    """

    kind: Kind
    what: str
    who: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.what}: {self.who}"


def differences(members: Sequence[Member]) -> list[Difference]:
    """All that keeps these runs from being one benchmark, each with who has what.

    RAW's scores are compared where the cohort and what was asked are the same.
    """
    found = [*_cohorts(members), *_definitions(members)]
    return found or list(_raw(members))


def _cohorts(members: Sequence[Member]) -> Iterator[Difference]:
    if len({member.hash for member in members}) == 1:
        return
    names = [member.name for member in members]
    yield Difference("cohorts", "cohort", told(names, [_cohort(member) for member in members]))
    first = members[0]
    for other in members[1:]:
        where = _other_scan(_rows(first), _rows(other))
        if other.hash != first.hash and where:
            pair = f"{first.name} and {other.name}"
            yield Difference("cohorts", "the same scans, of other content", f"{pair}: {where}")


def _cohort(member: Member) -> str:
    cohort = member.job.cohort
    return (
        f"{len(cohort)} scans of {len(cohort.subjects)} subjects on "
        f"{len(cohort.scanners)} scanners ({', '.join(cohort.scanners)}), hash {member.hash}"
    )


def _rows(member: Member) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(row["subject"], row["scanner"]): row for row in member.job.scans}


def _other_scan(
    rows: Mapping[tuple[str, str], Mapping[str, Any]],
    others: Mapping[tuple[str, str], Mapping[str, Any]],
) -> str:
    """Say where cohorts of the same scans differ first; empty where the scans are others."""
    if set(rows) != set(others):
        return ""
    for (subject, scanner), row in rows.items():
        own, theirs = _content(row), _content(others[subject, scanner])
        unlike = [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]
        if unlike:
            return f"{', '.join(unlike)} of subject {subject} on {scanner}"
    return "the order of the scans"


def _content(row: Mapping[str, Any]) -> dict[str, str]:
    hashes = row["hashes"]
    columns = {f"column {k}": str(hashes.get(v, v)) for k, v in row["values"].items()}
    mask = str(hashes[row["mask"]]) if row["mask"] else ""
    return {"image": str(hashes[row["image"]]), "mask": mask, **columns}


def _definitions(members: Sequence[Member]) -> Iterator[Difference]:
    yield from _of(members, "atlas", [_atlas(m) for m in members])
    yield from _of(members, "code that computes", [_kernel(m) for m in members])
    yield from _of(members, "clinical groups", [_group(m) for m in members])
    yield from _of(members, "margins", [spoken(dict(m.job.margins)) or "none" for m in members])
    for kind in KINDS:
        names = dict.fromkeys(part.name for m in members for part in getattr(m.job, kind))
        for name in names:
            yield from _plugin(members, kind, name)
        yield from _code(members, kind, list(names)) if kind in MANY else ()


def _of(members: Sequence[Member], what: str, values: Sequence[Any]) -> Iterator[Difference]:
    """Yield a difference where those who have a value have not the same one."""
    if len({str(value) for value in values if value is not None}) > 1:
        yield Difference("definitions", what, told([m.name for m in members], values))


def _atlas(member: Member) -> str:
    return f"{member.job.atlas['name']} ({member.job.atlas['digest'][:SHORT]})"


def _kernel(member: Member) -> str:
    return f"harmobench {member.job.version} ({member.job.kernel[:SHORT]})"


def _group(member: Member) -> str:
    group = member.job.groups
    return f"{group.column}: {group.first}, {group.second}" if group else "none"


def _plugin(members: Sequence[Member], kind: str, name: str) -> Iterator[Difference]:
    """Yield what of a plugin differs between the runs that have it: class, version, parameters."""
    having = [(m, part) for m in members if (part := m.part(kind, name)) is not None]
    owners, parts = [m for m, _ in having], [part for _, part in having]
    what = f"{CALLED[kind]} {name}"
    yield from _of(owners, f"{what}, class", [p.target for p in parts])
    yield from _of(owners, f"{what}, version", [p.version or "none" for p in parts])
    used = [{k: v for k, v in p.parameters.items() if k not in p.aside} for p in parts]
    for key in dict.fromkeys(key for values in used for key in values):
        said = [spoken(values.get(key)) or "none" for values in used]
        yield from _of(owners, f"{what}, parameter {key}", said)


def _code(members: Sequence[Member], kind: str, names: Sequence[str]) -> Iterator[Difference]:
    """Yield differences of the code behind plugins, those of one package together."""
    alike: dict[tuple[str | None, ...], list[str]] = {}
    for name in names:
        parts = [member.part(kind, name) for member in members]
        code = tuple(f"{p.distribution} ({p.digest[:SHORT]})" if p else None for p in parts)
        alike.setdefault(code, []).append(name)
    for values, group in alike.items():
        few = f"{CALLED[kind]} {', '.join(group)}"
        what = few if len(group) <= FEW else f"{len(group)} {MANY[kind]}"
        yield from _of(members, f"code of {what}", values)


def _raw(members: Sequence[Member]) -> Iterator[Difference]:
    """Yield where RAW, the same images in every run, was scored otherwise."""
    first = members[0]
    own = first.run.scores[first.run.scores["method"] == RAW]
    for other in members[1:]:
        theirs = other.run.scores[other.run.scores["method"] == RAW]
        where = unlike(own, theirs)
        if where:
            yield Difference("definitions", "scores of RAW", f"{first.name}, {other.name}: {where}")


def refusal(found: Sequence[Difference], names: Sequence[str], allowed: frozenset[str]) -> str:
    """Say why runs are not put into one benchmark, and what to do; empty where all is allowed."""
    kinds = [kind for kind in ("cohorts", "definitions") if any(d.kind == kind for d in found)]
    if allowed.issuperset(kinds):
        return ""
    count = f"{len(found)} difference{'s' if len(found) != 1 else ''}"
    lines = [f"{', '.join(names)} are not one benchmark, {count}:"]
    lines += [f"  - {difference}" for difference in found]
    lines.append(
        "run them again on one cohort, by one version and with one set of options, or let "
        f"--allow {','.join(kinds)} put their tables one below the other, without tests between "
        "them"
    )
    return "\n".join(lines)
