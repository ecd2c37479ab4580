"""Runs of one cohort and one set of definitions, made into one finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmobench.interface import Design, Finished, Progress
from harmobench.parts import Part
from harmobench.reports.compare.folds import comparable, leading
from harmobench.reports.compare.naming import Names, in_order, naming, pairs
from harmobench.reports.compare.runs import Member
from harmobench.reports.compare.same import KEY
from harmobench.reports.compare.settings import settings_of
from harmobench.reports.lookup import records
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    FAILURE_COLUMNS,
    SCORE_COLUMNS,
    table,
)

if TYPE_CHECKING:
    import pandas as pd


def merged(members: Sequence[Member], folder: Path, id: str, progress: Progress) -> Finished:
    """Return one finished run of all methods; its statistics are computed over all of them.

    Parameters
    ----------
    members
        Runs without differences, the first of which counts where one has to.
    folder
        Where the comparison is written.
    id
        Of the comparison.
    progress
        Told of each statistic.
    """
    names = naming(members)
    design = _design(members, names)
    scores = _scores(members, names)
    parts = {part.name: part for member in reversed(members) for part in member.job.statistics}
    found: dict[str, list[pd.DataFrame]] = {"aggregate": [], "compare": []}
    for done, part in enumerate(parts.values()):
        progress(done, len(parts), f"statistics {part.name}")
        _add(found, part, scores, design)
    first = members[0].run
    return replace(
        first,
        folder=folder,
        settings=settings_of(members, names, design, id),
        scores=scores,
        aggregates=_table(found["aggregate"], AGGREGATE_COLUMNS),
        comparisons=_table(found["compare"], COMPARISON_COLUMNS),
        costs=_once(members, names, "costs", COST_COLUMNS, COST_COLUMNS[:4]),
        failures=_once(members, names, "failures", FAILURE_COLUMNS, FAILURE_COLUMNS),
        design=design,
        references=_references(members, names),
        pictures=_by_method(members, names, "pictures"),
        histories=_by_method(members, names, "histories"),
        mosaics=_by_method(members, names, "mosaics"),
    )


def _add(
    found: Mapping[str, list[pd.DataFrame]], part: Part, scores: pd.DataFrame, design: Design
) -> None:
    statistic = part.build()
    for what, frames in found.items():
        frames.append(getattr(statistic, what)(scores, design))


def _table(frames: Sequence[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return _rows(pd.concat(frames), columns) if frames else table([], columns)


def _rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    return table([dict(row) for row in records(frame)], columns)


def _design(members: Sequence[Member], names: Sequence[Names]) -> Design:
    first = members[0].run.design
    roles = {
        new: member.run.design.methods[old]
        for member, own in reversed(pairs(members, names))
        for old, new in own
    }

    def of(what: str) -> frozenset[str]:
        return frozenset(
            new
            for member, own in pairs(members, names)
            for old, new in own
            if old in getattr(member.run.design, what)
        )

    metrics: dict[str, Any] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for member in members:
        metrics |= {k: v for k, v in member.run.design.metrics.items() if k not in metrics}
        ranges |= member.run.design.ranges
    return replace(
        first,
        methods={name: roles[name] for name in in_order(members, names)},
        folds=dict(leading(members).run.design.folds),
        metrics=metrics,
        ranges=ranges,
        declared=of("declared"),
        trained=of("trained"),
        saw_group=of("saw_group"),
    )


def _renamed(frame: pd.DataFrame, names: Names) -> pd.DataFrame:
    return frame.assign(method=[names.get(name, name) for name in frame["method"]])


def _scores(members: Sequence[Member], names: Sequence[Names]) -> pd.DataFrame:
    """Scores of all runs; of a method that several have, each once, the measured one first."""
    import pandas as pd

    frames = [
        _renamed(comparable(members, member), own)
        for member, own in zip(members, names, strict=True)
    ]
    every = pd.concat(frames, ignore_index=True)
    measured = every.assign(aside=every["status"] != "ok").sort_values("aside", kind="stable")
    kept = measured.drop_duplicates(["method", *KEY]).drop(columns="aside")
    return _rows(kept, SCORE_COLUMNS)


def _once(
    members: Sequence[Member],
    names: Sequence[Names],
    what: str,
    columns: tuple[str, ...],
    keys: Sequence[str],
) -> pd.DataFrame:
    """Rows of all runs; of what several have, the first run's."""
    import pandas as pd

    frames = [_renamed(getattr(m.run, what), own) for m, own in zip(members, names, strict=True)]
    every = pd.concat(frames, ignore_index=True).drop_duplicates(list(keys))
    return _rows(every, columns)


def _by_method(members: Sequence[Member], names: Sequence[Names], what: str) -> dict[Any, Any]:
    """Merge mappings whose keys begin with a method."""
    found: dict[Any, Any] = {}
    for member, own in zip(members, names, strict=True):
        for (method, *rest), value in getattr(member.run, what).items():
            found.setdefault((own.get(method, method), *rest), value)
    return found


def _references(members: Sequence[Member], names: Sequence[Names]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member, own in zip(members, names, strict=True):
        for key, reference in member.run.references.items():
            kind, colon, name = key.partition(":")
            shown = own.get(name, name) if kind == "method" else name
            found.setdefault(f"{kind}{colon}{shown}", reference)
    return found
