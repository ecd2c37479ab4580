"""The paper's own statistics (section 2.5, Tables 2 to 4, Figs. 4 to 11).

Aggregates use scores with status "ok" of subjects who have both scans of a pair. A score of one
scan has its scanner in `scanner`, a pair's in `scanner` and `reference_scanner`; both are empty
where an aggregate is over all scanners or pairs. Scores of level "cohort" are left out.

===============================  ====================  ============================================
metrics                          aggregate             definition
===============================  ====================  ============================================
any but those below              mean, sd              over subjects, of each scanner or pair; with
                                                       empty scanners over all of them pooled
auroc                            spread                SD (n-1) over a subject's scanners, averaged
                                                       over subjects; n subjects
slice_consistency                mean (pooled)         low and high are the smallest and largest
                                                       score, interval "range"
better="equal", level "scan":    mean, sd              over subjects, of each scanner
volume, biomarker                bias, bias_sd         of each pair, mean and SD of absolute
                                                       differences; with empty scanners pooled over
                                                       subjects x pairs (Tables 2 and 3)
                                 rmsd                  of each pair, root mean square difference;
                                                       with empty scanners its mean over pairs
                                 cohen_d, hedges_g     of each scanner, first against second group
                                 cohen_d_mean,         mean and SD over scanners (Table 4);
                                 cohen_d_sd,           n scanners
                                 hedges_g_mean,
                                 hedges_g_sd
===============================  ====================  ============================================

A block without any score gives one row, "bias" or "mean" with empty scanners, which has the worst
status among its scores. Effect sizes need the groups to be named (`Design.group`).

Comparisons are paired t-tests against RAW: for each scanner pair on the scores of level "pair", and
on the absolute differences of measures that should be equal; for `biomarker` once, over all
subjects x pairs (Table 3). Nothing is corrected for the number of tests, so `p_adjusted` is empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harmobench.interface import Design
from harmobench.metrics.statistics.aggregates import cells
from harmobench.metrics.statistics.blocks import (
    ALL,
    BASELINE,
    Block,
    BySubject,
    Names,
    blocks,
    is_equal,
)
from harmobench.metrics.statistics.paired import paired_t
from harmobench.results import AGGREGATE_COLUMNS, COMPARISON_COLUMNS, table

if TYPE_CHECKING:
    import pandas as pd

COHORT = "cohort"  # scores that stand for all scans at once are not the paper's
POOLED = frozenset({"biomarker"})  # tested once over all pairs, as in Table 3
Cell = dict[str, Any]


class Paper:
    """Means, SDs and uncorrected paired t-tests against RAW, as in the paper."""

    mode: ClassVar[str] = "paper"

    def aggregate(self, scores: pd.DataFrame, design: Design) -> pd.DataFrame:
        """Return the aggregates that this module's docstring lists."""
        rows: list[dict[str, object]] = [
            {**block.labels, "units": block.units, "mode": self.mode, **cell}
            for block in blocks(scores)
            if block.level != COHORT
            for cell in cells(block, design)
        ]
        return table(rows, AGGREGATE_COLUMNS)

    def compare(self, scores: pd.DataFrame, design: Design) -> pd.DataFrame:
        """Return paired t-tests of every method against RAW."""
        every = list(blocks(scores))
        baselines = _baselines(every)
        rows: list[dict[str, object]] = []
        for block in every:
            baseline = baselines.get((block.labels["repeat"], *_place(block)))
            baseline = baseline or baselines.get(_place(block))
            if block.labels["method"] != BASELINE and baseline is not None:
                rows += [
                    {**block.labels, "comparator": BASELINE, "mode": self.mode, **cell}
                    for cell in _tests(block, baseline, design)
                ]
        return table(rows, COMPARISON_COLUMNS)


def _place(block: Block) -> tuple[Any, ...]:
    return tuple(block.labels[key] for key in ("tool", "metric", "structure", "space"))


def _baselines(every: list[Block]) -> dict[tuple[Any, ...], Block]:
    """RAW's blocks by repeat and place, and by place alone: RAW may have been scored once."""
    found: dict[tuple[Any, ...], Block] = {}
    raws = [block for block in every if block.labels["method"] == BASELINE]
    for block in sorted(raws, key=lambda b: int(b.labels["repeat"])):
        found.setdefault((block.labels["repeat"], *_place(block)), block)
        found.setdefault(_place(block), block)
    return found


def _tests(block: Block, baseline: Block, design: Design) -> Iterator[Cell]:
    """Yield the tests of one block; what the paper does not test gives none."""
    samples = _samples(block, baseline, design)
    if block.labels["metric"] in POOLED and samples:
        samples = {ALL: [value for values in samples.values() for value in values]}
    size = max(block.size, baseline.size)
    for names, values in samples.items():
        test = asdict(paired_t(np.array(values), size))
        if not block.values or not baseline.values:
            empty = baseline if block.values else block
            test |= {"status": empty.status, "reason": empty.reason}
        yield {"test": "paired_t", "scanner": names[0], "reference_scanner": names[1], **test}


def _samples(block: Block, baseline: Block, design: Design) -> dict[Names, list[float]]:
    """Differences, block minus baseline, of subjects who have both, for each scanner pair."""
    if not (block.level == "pair" or is_equal(block, design)):
        return {}
    samples: dict[Names, list[float]] = {}
    for pair in design.pairs:
        own, raw = (_compared(b, pair, design) for b in (block, baseline))
        samples[pair] = [own[subject] - raw[subject] for subject in own if subject in raw]
    return samples


def _compared(block: Block, pair: Names, design: Design) -> BySubject:
    if is_equal(block, design):
        return {subject: abs(d) for subject, d in block.differences(pair).items()}
    return block.values.get(pair, {})
