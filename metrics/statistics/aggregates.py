"""Aggregates over subjects, as the paper makes them; `paper` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.interface import Design
from harmobench.metrics.statistics.blocks import ALL, Block, BySubject, Names, is_equal
from harmobench.metrics.statistics.effect_size import cohen_d, hedges_g

SPREAD = frozenset({"auroc"})
RANGED = frozenset({"slice_consistency"})
Cell = dict[str, Any]


def cells(block: Block, design: Design) -> Iterator[Cell]:
    """Yield the block's aggregates: columns of `AGGREGATE_COLUMNS` beside the block's labels."""
    equal = is_equal(block, design)
    if not block.values:
        aggregate = "bias" if equal else "mean"
        yield _cell(aggregate, None, 0, status=block.status, reason=block.reason)
        return
    for names, row in block.values.items():
        if names != ALL:
            yield from _moments("mean", "sd", list(row.values()), names)
    if equal:
        yield from _pair_differences(block, design)
        yield from _effects(block, design)
    else:
        yield from _overall(block)


def _cell(aggregate: str, value: float | None, n: int, names: Names = ALL, **more: Any) -> Cell:
    """Build what an aggregate adds to its block's labels; without a value it is undefined."""
    cell: Cell = {"aggregate": aggregate, "value": value, "n": n, "status": "ok"}
    if value is None:
        cell |= {"status": "undefined", "reason": f"too few values: {n}"}
    return cell | {"scanner": names[0], "reference_scanner": names[1]} | more


def _moments(mean: str, sd: str, values: list[float], names: Names, **more: Any) -> Iterator[Cell]:
    n = len(values)
    yield _cell(mean, float(np.mean(values)) if n else None, n, names, **more)
    yield _cell(sd, float(np.std(values, ddof=1)) if n > 1 else None, n, names)


def _overall(block: Block) -> Iterator[Cell]:
    metric = block.labels["metric"]
    pooled = [value for row in block.values.values() for value in row.values()]
    span = {"low": min(pooled), "high": max(pooled), "interval": "range"}
    yield from _moments("mean", "sd", pooled, ALL, **(span if metric in RANGED else {}))
    if metric in SPREAD:
        by_subject: dict[str, list[float]] = {}
        for row in block.values.values():
            for subject, value in row.items():
                by_subject.setdefault(subject, []).append(value)
        spreads = [float(np.std(v, ddof=1)) for v in by_subject.values() if len(v) > 1]
        yield _cell("spread", float(np.mean(spreads)) if spreads else None, len(spreads))


def _pair_differences(block: Block, design: Design) -> Iterator[Cell]:
    pooled: list[float] = []
    rmsds: list[float] = []
    for pair in design.pairs:
        differences = np.array(list(block.differences(pair).values()))
        n = differences.size
        rmsd = float(np.sqrt(np.mean(differences**2))) if n else None
        yield from _moments("bias", "bias_sd", np.abs(differences).tolist(), pair)
        yield _cell("rmsd", rmsd, n, pair)
        pooled += np.abs(differences).tolist()
        rmsds += [] if rmsd is None else [rmsd]
    yield from _moments("bias", "bias_sd", pooled, ALL)
    yield _cell("rmsd", float(np.mean(rmsds)) if rmsds else None, len(pooled))


def _effects(block: Block, design: Design) -> Iterator[Cell]:
    if design.group is None:
        return
    found: dict[str, list[float]] = {"cohen_d": [], "hedges_g": []}
    for names, row in block.values.items():
        first = _members(row, design, design.group.first)
        second = _members(row, design, design.group.second)
        d = cohen_d(first, second)
        n = first.size + second.size
        if d is None:
            reason = f"groups of {first.size} and {second.size}: too small, or without spread"
            undefined = {"status": "undefined", "reason": reason, "units": ""}
            yield from (_cell(name, None, n, names, **undefined) for name in found)
            continue
        for name, value in (("cohen_d", d), ("hedges_g", hedges_g(d, first.size, second.size))):
            found[name].append(value)
            yield _cell(name, value, n, names, units="")
    for name, values in found.items():
        for cell in _moments(f"{name}_mean", f"{name}_sd", values, ALL):
            yield cell | {"units": ""}


def _members(row: BySubject, design: Design, group: str) -> NDArray[np.float64]:
    return np.array([v for subject, v in row.items() if design.groups.get(subject) == group])
