"""Run folders made of random numbers, for tests of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import synthetic_run

from harmobench.finish import write_statistics
from harmobench.job import Job
from harmobench.parts import Part, plugin_part
from harmobench.registry import find
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    SCORE_COLUMNS,
    table,
    write_table,
)
from harmobench.store import write_json

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("ssim", "auroc", "volume", "dice", "sharpness", "identifiability")
SUBJECTS = ("01", "02", "03", "04", "05", "06")
SCANNERS = ("GE", "Philips")
FOLDS = {s: i % 3 for i, s in enumerate(SUBJECTS)}
OTHER_FOLDS = {s: i // 2 for i, s in enumerate(SUBJECTS)}
RESAMPLES = 64
Change = Callable[["pd.DataFrame"], None]


def part(kind: str, name: str, **parameters: Any) -> Part:
    """An installed plugin as a run has it."""
    return plugin_part(find(kind, name), parameters, "quick")


def write_run(
    folder: Path,
    methods: Sequence[str] = ("raw", "whitestripe", "mispel"),
    *,
    metrics: Sequence[str] = METRICS,
    subjects: Sequence[str] = SUBJECTS,
    scanners: Sequence[str] = SCANNERS,
    folds: Mapping[str, int] = FOLDS,
    controls: Sequence[str] = (),
    change: Change | None = None,
    parts: Mapping[str, Sequence[Part]] | None = None,
    counted: bool = True,
    **job: Any,
) -> Path:
    """Write a finished run with the numbers of `synthetic_run`, and return its folder.

    Numbers depend on a method's place alone, so runs that begin with the same methods share their
    scores; `change` alters them. Unless `counted`, it has no aggregates and no comparisons.
    """
    run = numbers(tuple(methods), tuple(scanners), tuple(subjects), tuple(controls))
    asked = _job([*methods, *controls], metrics, subjects, scanners, folds)
    asked = replace(asked, **{**(parts or {}), **job})
    scores = run.scores[run.scores["metric"].isin(metrics)].copy()
    scores["fold"] = [
        folds.get(subject, -1) if method in run.design.trained else -1
        for method, subject in zip(scores["method"], scores["subject"], strict=True)
    ]
    if change is not None:
        change(scores)
    _write(folder, asked, scores, run, counted)
    return folder


@cache
def numbers(
    methods: Sequence[str], scanners: Sequence[str], subjects: Sequence[str], own: Sequence[str]
) -> Any:
    """Return a synthetic run, made once."""
    return synthetic_run.finished(
        Path("nowhere"),
        methods,
        scanners,
        subjects,
        biomarkers=False,
        pictures=False,
        controls=own,
        resamples=1,
    )


def _job(
    methods: Sequence[str],
    metrics: Sequence[str],
    subjects: Sequence[str],
    scanners: Sequence[str],
    folds: Mapping[str, int],
) -> Job:
    return Job(
        version="0.1.0",
        command=f"harmobench run --methods {','.join(methods)}",
        scans=tuple(_scan(subject, scanner) for subject in subjects for scanner in scanners),
        source="matched.csv",
        atlas={"source": "builtin", "digest": "d" * 40, "name": "builtin", "space": "MNI"},
        methods=tuple(part("methods", name) for name in methods),
        metrics=tuple(part("metrics", name) for name in metrics),
        segmenters=(part("segmenters", "hmrf"),),
        morphometry=(),
        statistics=(
            part("statistics", "paper"),
            part("statistics", "rigorous", resamples=RESAMPLES),
        ),
        reports=(part("reports", "tables"), part("reports", "html")),
        folds=(dict(folds),),
        seed=0,
        preset="quick",
        device="cpu",
        target=None,
        group=None,
        covariates=(),
        places={},
        native=False,
        environment={"numpy": "2.3.5", "torch": "2.9.0"},
        kernel="k" * 64,
        declared=tuple(methods),
    )


def _scan(subject: str, scanner: str) -> dict[str, Any]:
    image = f"{subject}_{scanner}.nii.gz"
    return {
        "subject": subject,
        "scanner": scanner,
        "image": image,
        "mask": "",
        "values": {"age": "70"},
        "hashes": {image: f"hash of {image}"},
    }


def _write(folder: Path, job: Job, scores: pd.DataFrame, run: Any, counted: bool) -> None:
    scores = table([dict(row) for row in scores.to_dict("records")], SCORE_COLUMNS)
    write_json(folder / "run.json", job.to_json())
    write_table(scores, folder / "scores")
    if counted:
        write_statistics(folder, job, scores)
    else:
        write_table(table([], AGGREGATE_COLUMNS), folder / "aggregates")
        write_table(table([], COMPARISON_COLUMNS), folder / "comparisons")
    write_table(run.costs, folder / "costs")
    write_table(run.failures, folder / "failures")
    write_json(folder / "shown.json", {})
