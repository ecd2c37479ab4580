"""Aggregates over subjects with intervals, the rows of `aggregate` that need no other method's.

The unit is the subject. All aggregates of a method are over the subjects of the common set
(`cases`) that the method has completely; `n` counts them. Cells that RAW lacks are left out of all.

==========================  ====================================  =================================
aggregate                   of                                    interval
==========================  ====================================  =================================
mean                        every metric: subject means; scores   t
                            of pairs: each pair too
mean_abs                    better="zero": subjects' mean sizes   t
individuality               individuality (its mean is the same)  jackknife-t, log
bias, rmsd                  better="equal": pair differences;     t; jackknife-t, log
                            rmsd of each pair too
icc, cov                    better="equal"                        F; jackknife-t, log
bland_altman_bias           better="equal", each pair: first      t
                            minus second scanner
bland_altman_low, _high     the limits of agreement               noncentral t
component_scanner,          better="equal": variances, not        jackknife-t, log
_subject, _residual         truncated at 0
share_...                   the same over their sum               jackknife-t, logit
slope                       subject means on RAW's                jackknife-t
slope_truth                 subject means on true volumes         jackknife-t
cohen_d, hedges_g           mean over scanners                    jackknife-t, stratified
cohen_d_change              d minus RAW's, same subjects          jackknife-t, stratified
cohen_d_true                of the true volumes                   jackknife-t, stratified
sd_seed, sd_subject,        trained methods, repeat 0 of several: MLS; chi-square
sd_residual                 what methods are compared by
==========================  ====================================  =================================

True volumes stand beside the scores of volume_error. A method without any score gives one row,
"mean", with the worst status among its scores; an aggregate that cannot be had is "undefined", with
a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from harmobench.interface import Design
from harmobench.metrics.statistics.blocks import ALL, BASELINE, Block, Names, blocks
from harmobench.metrics.statistics.cases import PLACE, Case, cases
from harmobench.metrics.statistics.grids import grid
from harmobench.metrics.statistics.intervals import Estimate, jackknifed, t_interval, undefined
from harmobench.metrics.statistics.measured import measured
from harmobench.metrics.statistics.seeds import seed_spread

if TYPE_CHECKING:
    import pandas as pd

VOLUME, TRUE = "volume", "_true"  # volume_error gives the true volumes of its structures beside it
ALONE = "individuality"  # one score a cohort; its values without each subject stand beside it
Cell = dict[str, Any]


def rigorous_cells(scores: pd.DataFrame, design: Design) -> Iterator[Cell]:
    """Yield the aggregates that this module's docstring lists.

    Parameters
    ----------
    scores, design
        Of the run.

    Yields
    ------
    Rows with the columns of `results.AGGREGATE_COLUMNS`, without `mode`.
    """
    every = list(cases(scores, design))
    truths = _truths(scores)
    without = list(blocks(scores[scores["structure"] == "brain_without"]))
    for case in every:
        true = truths.get(_place(case))
        for method in case.blocks:
            if method in case.fresh:
                yield from _method(case, method, design, true, without)
    yield from _seeds(every, design)


def _truths(scores: pd.DataFrame) -> dict[tuple[Any, ...], Block]:
    """Return RAW's true volumes by the place of the volumes that they belong to."""
    found = {}
    for block in blocks(scores[scores["structure"].str.endswith(TRUE)]):
        if block.labels["method"] == BASELINE:
            structure = str(block.labels["structure"]).removesuffix(TRUE)
            own = {**block.labels, "metric": VOLUME, "structure": structure}
            found[tuple(own[key] for key in PLACE)] = block
    return found


def _place(case: Case) -> tuple[Any, ...]:
    return tuple(case.labels[key] for key in PLACE)


def _row(
    case: Case, method: str, aggregate: str, found: Estimate, units: str, names: Names = ALL
) -> Cell:
    return {
        **case.labels,
        "method": method,
        "config": case.blocks[method].labels["config"],
        "units": units,
        "aggregate": aggregate,
        "scanner": names[0],
        "reference_scanner": names[1],
        "value": found.value,
        "n": found.n,
        "low": found.low,
        "high": found.high,
        "interval": found.interval,
        "status": "undefined" if found.value is None else "ok",
        "reason": found.reason,
    }


def _method(
    case: Case, method: str, design: Design, true: Block | None, without: list[Block]
) -> Iterator[Cell]:
    block = case.blocks[method]
    if not block.values:
        row = _row(case, method, "mean", undefined(block.reason or "no scores"), case.units)
        yield row | ({} if block.status == "ok" else {"status": block.status})
        return
    own = grid(case, method, design)
    if not own.subjects:
        reason = "no subject has all scores of this method, RAW and the other contenders"
        yield _row(case, method, "mean", undefined(reason), case.units)
        return
    if case.labels["metric"] == ALONE:
        found = _individuality(block, float(own.values[0, 0]), without)
        for aggregate in ("mean", ALONE):
            yield _row(case, method, aggregate, found, case.units)
        return
    yield _row(case, method, "mean", t_interval(own.means), case.units)
    if block.level == "pair":
        for names, column in zip(own.names, own.values.T, strict=True):
            found = t_interval(column[~np.isnan(column)])
            yield _row(case, method, "mean", found, case.units, names)
    values = np.array([case.values[method][subject] for subject in own.subjects])
    if case.better == "zero":
        yield _row(case, method, "mean_abs", t_interval(values), case.units)
    if case.better == "equal" and block.level == "scan":
        yield _row(case, method, "bias", t_interval(values), case.units)
        for aggregate, found, units, names in measured(case, method, own, design, true):
            yield _row(case, method, aggregate, found, units, names)


def _individuality(block: Block, value: float, without: list[Block]) -> Estimate:
    """Give the value an interval from the values that the metric gave without each subject."""
    same = {**block.labels, "structure": "brain_without"}
    rows = [row for other in without if other.labels == same for row in other.values.values()]
    left_out = np.array([v for row in rows for v in row.values()])
    return jackknifed(value, left_out, "log" if value > 0 else "")  # 0: one image for everybody


def _seeds(every: list[Case], design: Design) -> Iterator[Cell]:
    """Yield how much of a trained method's subject values is its seeds'."""
    repeats: dict[tuple[Any, ...], list[Case]] = {}
    for case in every:
        repeats.setdefault(_place(case), []).append(case)
    for own in repeats.values():
        for method in own[0].blocks:
            fresh = [case for case in own if method in case.fresh]
            if method not in design.trained or len(fresh) < 2 or _one_a_cohort(fresh[0]):
                continue
            values = [case.values[method] for case in fresh]
            common = [s for s in fresh[0].common if all(s in c.common for c in fresh)]
            subjects = [s for s in common if all(s in row for row in values)]
            table = np.array([[row[s] for row in values] for s in subjects])
            found = seed_spread(table.reshape(len(subjects), len(values)))
            for name, each in found.items():
                yield _row(own[0], method, f"sd_{name}", each, own[0].units)


def _one_a_cohort(case: Case) -> bool:
    """Whether there is one score a cohort, of no subject."""
    return any("" in row for row in case.blocks[BASELINE].values.values())
