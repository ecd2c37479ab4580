"""What a comparison of merged runs says of itself where a run has its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import harmobench
from harmobench.interface import Design
from harmobench.reports.compare.facts import facts
from harmobench.reports.compare.folds import folds_of
from harmobench.reports.compare.naming import Names, pairs
from harmobench.reports.compare.remarks import remarks
from harmobench.reports.compare.runs import Member
from harmobench.reports.provenance import spoken

PARTS = ("metrics", "segmenters", "morphometry")
OWN = ("seed", "preset", "device", "target", "covariates")


def settings_of(
    members: Sequence[Member], names: Sequence[Names], design: Design, id: str
) -> dict[str, Any]:
    """Return the first run's settings with what comes from all of them.

    `compared` and `comparison` are what the page shows of the runs side by side.
    """
    shown = [member.name for member in members]
    first = members[0].run.settings
    parts: dict[str, dict[str, Any]] = {
        kind: _union([m.run.settings[kind] for m in members]) for kind in PARTS
    }
    methods = {
        new: member.run.settings["methods"][old]
        for member, own in reversed(pairs(members, names))
        for old, new in own
    }
    return {
        **first,
        **parts,
        **{key: _said(members, key) for key in OWN},
        "methods": {name: methods[name] for name in design.methods},
        "version": harmobench.__version__,
        "run_id": id,
        "command": f"harmobench compare, of {', '.join(shown)}",
        "folds": dict(design.folds),
        "fold_counts": _fold_counts(members),
        "environment": _environment(members),
        "notes": _notes(members),
        "declared": sorted(design.declared),
        "compared": [
            {"name": m.name, "run_id": m.id, "cohort_hash": m.hash, "version": m.job.version}
            for m in members
        ],
        "comparison": {
            "facts": facts(members, names),
            "remarks": remarks(members, names),
        },
    }


def _union(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mapping in mappings:
        found |= {name: part for name, part in mapping.items() if name not in found}
    return found


def _said(members: Sequence[Member], key: str) -> Any:
    """Return a setting, or who has what where it differs."""
    values = [member.run.settings.get(key) for member in members]
    if all(value == values[0] for value in values):
        return values[0]
    return _by_run(members, [spoken(value) or "none" for value in values])


def _by_run(members: Sequence[Member], values: Sequence[str]) -> str:
    """Return values with their runs in brackets, such as "0 (labA), 1 (labB)"."""
    who: dict[str, list[str]] = {}
    for member, value in zip(members, values, strict=True):
        who.setdefault(value, []).append(member.name)
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in who.items())


def _fold_counts(members: Sequence[Member]) -> str:
    """Say in how many folds each run trained; empty where all trained in as many."""
    trained = [member for member in members if member.run.design.trained]
    counts = [str(len(set(folds_of(member).values()))) for member in trained]
    return _by_run(trained, counts) if len(set(counts)) > 1 else ""


def _environment(members: Sequence[Member]) -> dict[str, str]:
    found = {}
    for name in sorted({name for member in members for name in member.job.environment}):
        versions = [member.job.environment.get(name, "none") for member in members]
        same = len(set(versions)) == 1
        found[name] = versions[0] if same else _by_run(members, versions)
    return found


def _notes(members: Sequence[Member]) -> list[str]:
    """Return the runs' notes, with the runs' names where not all have them."""
    notes = dict.fromkeys(note for member in members for note in member.job.notes)
    found = []
    for note in notes:
        who = [member.name for member in members if note in member.job.notes]
        found.append(note if len(who) == len(members) else f"{', '.join(who)}: {note}")
    return found
