"""What each run's methods are called in a comparison: plainly where they are one and the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harmobench.interface import CONTROLS
from harmobench.reports.compare.runs import Member, merged_order
from harmobench.reports.compare.same import same_method

Names = Mapping[str, str]  # a run's name of a method to the comparison's


def naming(members: Sequence[Member]) -> list[Names]:
    """Name the methods of each run.

    What has the same settings and equal scores in several runs is one method. What has not bears
    its runs' names. What only one run has keeps its own.
    """
    found: list[dict[str, str]] = [{} for _ in members]
    for method in dict.fromkeys(name for m in members for name in m.run.design.methods):
        groups = _alike(members, method)
        for group in groups:
            name = method if len(groups) == 1 else _apart(members, method, group)
            for place in group:
                found[place][method] = name
    return list(found)


def _alike(members: Sequence[Member], method: str) -> list[list[int]]:
    """Places of the runs that have a method, those for which it is the same together."""
    groups: list[list[int]] = []
    for place, member in enumerate(members):
        if method not in member.run.design.methods:
            continue
        for group in groups:
            if same_method(members[group[0]], member, method):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _apart(members: Sequence[Member], method: str, group: Sequence[int]) -> str:
    """Name a method by its runs, too; no plugin is called so, for names have no brackets."""
    return f"{method} ({', '.join(members[place].name for place in group)})"


def in_order(members: Sequence[Member], names: Sequence[Names]) -> list[str]:
    """Methods of all runs in the order that they were asked for, controls last.

    What is called apart stands side by side.
    """
    methods = merged_order([list(member.run.design.methods) for member in members])
    shown = list(dict.fromkeys(own[name] for name in methods for own in names if name in own))
    roles = {new: m.run.design.methods[old] for m, own in pairs(members, names) for old, new in own}
    return sorted(shown, key=lambda name: roles[name] in CONTROLS)


def pairs(
    members: Sequence[Member], names: Sequence[Names]
) -> list[tuple[Member, list[tuple[str, str]]]]:
    """Each run with its (own name, name in the comparison)."""
    return [(member, list(own.items())) for member, own in zip(members, names, strict=True)]
