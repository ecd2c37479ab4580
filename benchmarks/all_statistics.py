"""All statistics of a paper-size run, and the sign-flip tests against scipy's, in one process.

The scores are random numbers: 18 subjects on 4 scanners, five contenders and `histogram`, eight
controls and RAW, every metric with two segmenters. Printed are the seconds of each part, and those
of some of the same exact sign-flip tests by `scipy.stats.permutation_test`, one by one.

    python benchmarks/all_statistics.py --subjects 18 --scanners 4 --resamples 10000 --tests 8
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harmobench.interface import Better, Design, Group, Role, Statistic
from harmobench.metrics.statistics.cases import cases
from harmobench.metrics.statistics.paper import Paper
from harmobench.metrics.statistics.rigorous import Rigorous
from harmobench.metrics.statistics.signflip import EXACT, sign_flip
from harmobench.results import SCORE_COLUMNS, table

ROLES: dict[str, Role] = {
    "raw": "baseline",
    **dict.fromkeys(("whitestripe", "ravel", "ravel-cv", "calamiti", "mispel"), "contender"),
    "histogram": "baseline",
    "oracle": "ceiling",
    **dict.fromkeys(("template", "shrink", "shuffle", "mismatch", "invert"), "degenerate"),
    **dict.fromkeys(("blur", "blur-noise"), "degradation"),
}
TRAINED = frozenset({"ravel-cv", "calamiti", "mispel", "histogram"})
TOOLS = ("hmrf", "atropos")
INF = float("inf")
# metric: better, range, level, structures, tools
METRICS: dict[str, tuple[Better, tuple[float, float], str, tuple[str, ...], tuple[str, ...]]] = {
    "ssim": ("higher", (-1, 1), "pair", ("brain",), ("",)),
    "auroc": ("higher", (0, 1), "scan", ("gm-wm",), ("",)),
    "volume": ("equal", (0, INF), "scan", ("gm", "wm", "csf"), TOOLS),
    "dice": ("higher", (0, 1), "pair", ("gm", "wm"), TOOLS),
    "biomarker": (
        "equal",
        (0, INF),
        "scan",
        ("entorhinal", "inferior_temporal", "hippocampus", "amygdala"),
        ("freesurfer",),
    ),
    "slice_consistency": ("higher", (-1, 1), "scan", ("sagittal", "coronal", "axial"), ("",)),
    "sharpness": ("one", (0, INF), "scan", ("brain",), ("",)),
    "noise": ("one", (0, INF), "scan", ("wm",), ("",)),
    "identifiability": ("higher", (0, 1), "cohort", ("all", "fold"), ("",)),
    "individuality": ("one", (0, INF), "cohort", ("brain",), ("",)),
    "volume_error": (
        "zero",
        (-INF, INF),
        "scan",
        ("gm", "wm", "csf", "gm_p80", "wm_p80", "csf_p80"),
        TOOLS,
    ),
    "truth_dice": ("higher", (0, 1), "scan", ("gm", "wm"), TOOLS),
    "truth_rmse": ("lower", (0, INF), "scan", ("brain",), ("",)),
}


def design_of(subjects: int, scanners: int) -> Design:
    names = tuple(f"{s + 1:02d}" for s in range(subjects))
    return Design(
        scanners=tuple("ABCDEFGHIJ"[:scanners]),
        subjects=names,
        methods=ROLES,
        group=Group("svd", "high", "low"),
        groups={name: ("high", "low")[s % 2] for s, name in enumerate(names)},
        folds={name: s % 6 for s, name in enumerate(names)},
        metrics={name: metric[0] for name, metric in METRICS.items()},
        ranges={name: metric[1] for name, metric in METRICS.items()},
        declared=frozenset(ROLES),
        trained=TRAINED,
        saw_group=frozenset({"ravel"}),
        margins={"ssim": 0.02, "volume": 5.0},
    )


def rows_of(design: Design, seed: int = 0) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(seed)
    for name, (better, (_, high), level, structures, tools) in METRICS.items():
        scale = 1.0 if high == 1 or better == "one" else 500.0
        for method in design.methods:
            shift = 0.02 * rng.normal()
            for tool in tools:
                head: dict[str, object] = {
                    "method": method,
                    "config": "default",
                    "repeat": 0,
                    "tool": tool,
                    "metric": name,
                    "level": level,
                    "space": "template",
                    "units": "",
                    "status": "ok",
                }
                for structure in structures:
                    for subject, a, b in _places(design, level, name):
                        value = scale * (0.8 + shift + 0.05 * rng.normal())
                        fold = design.folds.get(subject, -1) if method in TRAINED else -1
                        where = {"subject": subject, "scanner": a, "reference_scanner": b}
                        own = {"structure": structure, "value": value, "fold": fold}
                        yield head | where | own
                if name == "individuality":
                    for subject in design.subjects:
                        value = 0.8 + shift + 0.01 * rng.normal()
                        own = {"structure": "brain_without", "value": value, "fold": -1}
                        yield head | {"subject": subject} | own


def _places(design: Design, level: str, metric: str) -> list[tuple[str, str, str]]:
    if metric == "individuality":
        return [("", "", "")]
    if level == "cohort":
        return [(subject, "", "") for subject in design.subjects]
    where = list(combinations(design.scanners, 2)) if level == "pair" else []
    where = where or [(scanner, "") for scanner in design.scanners]
    return [(subject, a, b) for subject in design.subjects for a, b in where]


def seconds(call: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call(*given)
    return time.perf_counter() - start, found


def by_scipy(differences: NDArray[np.float64]) -> list[float]:
    def mean(x: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(np.mean(x, axis=axis))

    return [
        float(
            stats.permutation_test(
                (column,), mean, permutation_type="samples", n_resamples=2**column.size, batch=2**14
            ).pvalue
        )
        for column in differences.T
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=18)
    parser.add_argument("--scanners", type=int, default=4)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--tests", type=int, default=8, help="sign-flip tests done by scipy too")
    given = parser.parse_args()
    design = design_of(given.subjects, given.scanners)
    scores = table(list(rows_of(design)), SCORE_COLUMNS)
    print(f"{len(scores)} scores, {len(list(cases(scores, design)))} cases")
    statistics: tuple[Statistic, ...] = (Paper(), Rigorous(resamples=given.resamples))
    total = 0.0
    for statistic in statistics:
        for name in ("aggregate", "compare"):
            took, found = seconds(getattr(statistic, name), scores, design)
            print(f"{statistic.mode:9s} {name:9s} {took:7.2f} s, {len(found)} rows")
            total += took
    print(f"all together        {total:7.2f} s   (wanted: under 60)")
    n = min(given.subjects, EXACT)  # scipy, too, is asked for the exact p
    differences = np.random.default_rng(1).normal(size=(n, given.tests))
    ours, own = seconds(sign_flip, differences, given.resamples, 0)
    theirs, reference = seconds(by_scipy, differences)
    print(f"{given.tests} exact sign-flip tests of {n} subjects")
    print(f"  harmobench {ours * 1000:10.2f} ms\n  scipy      {theirs * 1000:10.2f} ms")
    print(f"  ratio      {theirs / ours:10.0f}")
    print(f"  difference {np.abs(own - reference).max():10.1e}   (wanted: 0, but for rounding)")


if __name__ == "__main__":
    main()
