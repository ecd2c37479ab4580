"""From finished tasks to the run's tables, its published files and its reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmobench.bids.publish import publish_images, publish_tissues
from harmobench.checksums import UNFINISHED
from harmobench.cohort import Progress, bids_labels
from harmobench.damage import naming_damage
from harmobench.errors import HarmobenchError
from harmobench.imaging.mosaics import mosaic_file
from harmobench.interface import Design, Finished, Reference
from harmobench.job import Job, job_from
from harmobench.parts import Part
from harmobench.plan import Gap, Plan
from harmobench.references import atlas_references
from harmobench.removed import cost_of, read_removed
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    FAILURE_COLUMNS,
    SCORE_COLUMNS,
    WARNING_COLUMNS,
    read_table,
    table,
    write_pieces,
    write_table,
)
from harmobench.store import Store, link_folder, read_json, write_json
from harmobench.store import link as link_file
from harmobench.task import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A run folder with its job and its plan."""

    folder: Path
    job: Job
    plan: Plan
    store: Store


def write_results(run: Run, failed: Mapping[str, tuple[Task, str]]) -> pd.DataFrame:
    """Write scores, aggregates, comparisons, costs, failures and warnings; return the scores."""
    scores = _write_scores(run)
    write_statistics(run.folder, run.job, scores)
    costs = _costs(run)
    write_table(table(_cost_rows(run, costs), COST_COLUMNS), run.folder / "costs")
    write_table(table(_failure_rows(failed), FAILURE_COLUMNS), run.folder / "failures")
    write_table(table(_warning_rows(run, costs), WARNING_COLUMNS), run.folder / "warnings")
    return scores


def _write_scores(run: Run) -> pd.DataFrame:
    """Write the scores, a method at a time: the first column that they are sorted by."""
    import pandas as pd

    metrics = {part.name: part.build() for part in run.job.metrics}
    tasks, gaps = defaultdict(list), defaultdict(list)
    for task in (*run.plan.of_kind("score"), *run.plan.of_kind("rescore")):
        tasks[task.args["method"]].append(task)
    for gap in run.plan.gaps:
        gaps[gap.args["method"]].append(gap)
    pieces = [
        table(_score_rows(run, tasks[method], gaps[method], metrics), SCORE_COLUMNS)
        for method in sorted({*tasks, *gaps})
    ] or [table([], SCORE_COLUMNS)]
    write_pieces(pieces, run.folder / "scores")
    return pd.concat(pieces, ignore_index=True)


def write_statistics(folder: Path, job: Job, scores: pd.DataFrame) -> None:
    """Write aggregates and comparisons, as they follow from scores."""
    import pandas as pd

    design = design_of(job)
    statistics = [part.build() for part in job.statistics]
    for stem, columns, method in (
        ("aggregates", AGGREGATE_COLUMNS, "aggregate"),
        ("comparisons", COMPARISON_COLUMNS, "compare"),
    ):
        frames = [getattr(statistic, method)(scores, design) for statistic in statistics]
        rows = pd.concat(frames).to_dict("records") if frames else []
        write_table(table(rows, columns), folder / stem)


def _score_rows(
    run: Run, tasks: Sequence[Task], gaps: Sequence[Gap], metrics: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Scores of one method."""
    rows = []
    for task in tasks:
        args = task.args
        head = _head(run.job, args, metrics)
        for row in read_json(run.store.path(task.key) / "rows.json"):
            subject = row["subject"] or args.get("subject", "")
            rows.append({**head, **row, "subject": subject, "fold": _fold(run.job, args, subject)})
    return rows + _gap_rows(run, gaps, metrics)


def _head(job: Job, args: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    metric = metrics[args["metric"]]
    return {
        "method": args["method"],
        "config": job.part("methods", args["method"]).config,
        "repeat": args["repeat"],
        "tool": args["tool"],
        "metric": args["metric"],
        "level": metric.level,
        "space": args.get("space", ""),
    }


def _fold(job: Job, args: Mapping[str, Any], subject: str) -> int:
    folds = job.part("methods", args["method"]).needs["folds"]
    return job.folds[args["repeat"]].get(subject, -1) if folds else -1


def _gap_rows(run: Run, gaps: Sequence[Gap], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_subject: dict[tuple[Any, ...], dict[str, Gap]] = {}
    of_cohort: dict[tuple[Any, ...], dict[Any, Gap]] = {}
    for gap in gaps:
        key = tuple(gap.args[k] for k in ("method", "repeat", "metric", "tool"))
        subject, scanner = gap.args["subject"], gap.args["scanner"]
        if metrics[gap.args["metric"]].level == "cohort":
            of_cohort.setdefault(key, {})[subject, scanner] = gap
        else:
            by_subject.setdefault((*key, subject), {})[scanner] = gap
    cohort = run.job.cohort
    rows = []
    for found in of_cohort.values():
        if len(found) == len(cohort):  # else it was scored on the scans that there are
            rows += _gap_structures(run, metrics, next(iter(found.values())), "", ("", ""))
    for (_, _, metric_name, _, subject), found in by_subject.items():
        metric = metrics[metric_name]
        scanners = [scan.scanner for scan in cohort.of(subject)]
        for where in _places(scanners, metric.level):
            own = [found[scanner] for scanner in where if scanner in found]
            if own:
                rows += _gap_structures(run, metrics, own[0], subject, where)
    return rows


def _gap_structures(
    run: Run, metrics: Mapping[str, Any], gap: Gap, subject: str, where: tuple[str, str]
) -> list[dict[str, Any]]:
    head = _head(run.job, gap.args, metrics)
    metric = metrics[gap.args["metric"]]
    return [
        {
            **head,
            "fold": _fold(run.job, gap.args, subject),
            "structure": structure,
            "units": units,
            "subject": subject,
            "scanner": where[0],
            "reference_scanner": where[1],
            "value": None,
            "status": gap.status,
            "reason": gap.reason,
        }
        for structure, units in _structures(run.job, metric, gap.args["tool"]).items()
    ]


def _structures(job: Job, metric: Any, tool: str) -> Mapping[str, str]:
    """Units of each structure that rows without a value stand for."""
    if metric.reads == "measures" and tool:
        return job.part("morphometry", tool).structures
    return dict.fromkeys(metric.structures, getattr(metric, "units", ""))


def _places(scanners: list[str], level: str) -> list[tuple[str, str]]:
    if level == "pair":
        return list(combinations(scanners, 2))
    return [(scanner, "") for scanner in scanners]


def _costs(run: Run) -> dict[str, dict[str, Any]]:
    """Read what each task took, by key."""
    removed = read_removed(run.store.folder.parent)
    return {key: cost_of(task, run.store, removed) for key, task in run.plan.tasks.items()}


def _cost_rows(run: Run, costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for task in run.plan.tasks.values():
        cost = costs[task.key]
        method, tool = str(task.args.get("method", "")), str(task.args.get("tool", ""))
        key = (task.kind, method, tool, int(task.args.get("fold", -1)))
        row = totals.setdefault(key, {"seconds": 0.0, "peak_mb": 0.0, "parameters": -1})
        row["seconds"] += cost["seconds"]
        row["peak_mb"] = max(row["peak_mb"], cost["peak_mb"])
        if task.kind == "fit":
            facts = read_json(run.store.path(task.key) / "fit.json")
            row["parameters"] = facts["parameters"]
        row["device"] = run.job.device if task.heavy else "cpu"
    return [
        {"task": kind, "method": method, "tool": tool, "fold": fold, **row}
        for (kind, method, tool, fold), row in totals.items()
    ]


def _failure_rows(failed: Mapping[str, tuple[Task, str]]) -> list[dict[str, Any]]:
    return [{**_place(task), "reason": reason} for task, reason in failed.values()]


def _warning_rows(run: Run, costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**_place(task), "warning": text}
        for task in run.plan.tasks.values()
        for text in costs[task.key].get("warnings", ())
    ]


def _place(task: Task) -> dict[str, Any]:
    return {
        "task": task.kind,
        "method": task.args.get("method", ""),
        "tool": task.args.get("tool", ""),
        "fold": task.args.get("fold", -1),
        "subject": task.args.get("subject", ""),
        "scanner": task.args.get("scanner", ""),
    }


def design_of(job: Job) -> Design:
    """Return what statistics must know of a run."""
    cohort = job.cohort
    group = job.groups
    groups = {}
    if group is not None:
        groups = {s: cohort.of(s)[0].values.get(group.column, "") for s in cohort.subjects}
    metrics = {part.name: part.build() for part in job.metrics}
    return Design(
        scanners=cohort.scanners,
        subjects=cohort.subjects,
        methods={part.name: part.needs["role"] for part in job.methods},
        group=group,
        groups=groups,
        folds=dict(job.folds[0]),
        metrics={name: metric.better for name, metric in metrics.items()},
        ranges={name: metric.range for name, metric in metrics.items()},
        declared=frozenset(job.declared),
        trained=frozenset(part.name for part in job.methods if part.needs["folds"]),
        saw_group=frozenset(p.name for p in job.methods if group and p.needs["group"]),
        margins=dict(job.margins),
        seed=job.seed,
    )


def publish(run: Run) -> set[Path]:
    """Link images, segmentations and models from the store under readable names (BIDS).

    Returns
    -------
    set
        All files that were published.
    """
    published: set[Path] = set()

    def link(source: Path, target: Path) -> None:
        link_file(source, target)
        published.add(target)

    cohort = run.job.cohort
    subjects, scanners = bids_labels(cohort.subjects), bids_labels(cohort.scanners)
    published.update(publish_images(run))
    published.update(publish_tissues(run))
    for task in (*run.plan.of_kind("fit"), *run.plan.of_kind("calibrate")):
        args = task.args
        fold = f"fold-{args['fold']}" if args["fold"] >= 0 else "all"
        again = f"_repeat-{args['repeat']}" if args["repeat"] else ""
        measured = "_".join(filter(None, (args.get("metric"), args.get("tool"))))
        folder = run.folder / "models" / args["method"] / f"{fold}{again}" / measured
        published.update(link_folder(run.store.path(task.key) / "model", folder))
    for row in _mosaics(run):
        sub, ses = subjects[row["subject"]], scanners[row["scanner"]]
        folder = run.folder / "figures" / "mosaics" / row["method"]
        link(run.store.path(row["key"]) / row["file"], folder / f"sub-{sub}_ses-{ses}.webp")
    return published


def require_run(folder: Path) -> None:
    """Refuse what is no run folder.

    Raises
    ------
    HarmobenchError
        There is no such folder, or no run.json in it.
    """
    if not folder.is_dir():
        raise HarmobenchError(f"expected a run folder, found none at {folder}")
    if not (folder / "run.json").is_file():
        raise HarmobenchError(f"expected a run folder, found no run.json in {folder}")


def finished(folder: Path, *, ended: bool = True) -> Finished:
    """Read a finished run from its folder alone.

    Parameters
    ----------
    folder
        The run folder.
    ended
        Whether its reports must be there, too.

    Raises
    ------
    HarmobenchError
        The folder holds no finished run, or one that is damaged.
    """
    require_run(folder)
    if ended and (folder / UNFINISHED).exists():  # its tables may be of other settings
        raise HarmobenchError(
            f"expected a finished run, found one in {folder} that did not end: wait where it is at "
            "work, else give its command again with the same --out, it goes on where it stopped"
        )
    with naming_damage(folder):
        return _finished(folder)


def _finished(folder: Path) -> Finished:
    settings = read_json(folder / "run.json")
    job = job_from(settings)
    shown = read_json(folder / "shown.json") if (folder / "shown.json").is_file() else {}
    store = Store(folder / "store")
    return Finished(
        folder=folder,
        settings=_settings(settings, job),
        scores=read_table(folder / "scores", SCORE_COLUMNS),
        aggregates=read_table(folder / "aggregates", AGGREGATE_COLUMNS),
        comparisons=read_table(folder / "comparisons", COMPARISON_COLUMNS),
        costs=read_table(folder / "costs", COST_COLUMNS),
        failures=read_table(folder / "failures", FAILURE_COLUMNS),
        design=design_of(job),
        pictures={
            (row["method"], row["subject"], row["scanner"]): _stored(
                store, row["key"], "slices.npz"
            )
            for row in shown.get("pictures", [])
        },
        references=_references(job),
        histories={
            (row["method"], row["fold"]): read_json(_stored(store, row["key"], "fit.json"))[
                "history"
            ]
            for row in shown.get("fits", [])
        },
        mosaics={
            (row["method"], row["subject"], row["scanner"]): _stored(store, row["key"], row["file"])
            for row in shown.get("mosaics", [])
        },
    )


def _stored(store: Store, key: str, file: str) -> Path:
    """File of a task; never one outside the store, whatever shown.json says."""
    if not key.isalnum() or Path(file).name != file:
        raise HarmobenchError(
            f"shown.json: expected a task and its file in {store.folder}, found '{key}', '{file}'"
        )
    return store.path(key) / file


def write_shown(run: Run) -> None:
    """Write where the report finds pictures, mosaics and training curves."""
    pictures = [{**t.args, "key": t.key} for t in run.plan.of_kind("picture")]
    fits = [
        {"method": t.args["method"], "fold": t.args["fold"], "key": t.key}
        for t in run.plan.of_kind("fit")
        if t.args["repeat"] == 0
    ]
    shown = {"pictures": pictures, "mosaics": _mosaics(run), "fits": fits}
    write_json(run.folder / "shown.json", shown)


def _mosaics(run: Run) -> list[dict[str, str]]:
    """Return each mosaic's scan, its task's key, and its file in that task's folder."""
    return [
        {
            "method": task.args["method"],
            "subject": subject,
            "scanner": scanner,
            "key": task.key,
            "file": mosaic_file(place),
        }
        for task in run.plan.of_kind("mosaic")
        for place, (subject, scanner) in enumerate(task.args["order"])
    ]


def _settings(settings: Mapping[str, Any], job: Job) -> dict[str, Any]:
    cohort = job.cohort
    shown = {k: v for k, v in settings.items() if k not in ("scans", "folds", "source")}
    return shown | {
        "methods": {part.name: _shown(part) for part in job.methods},
        "metrics": {part.name: _shown(part) for part in job.metrics},
        "segmenters": {part.name: _shown(part) for part in job.segmenters},
        "morphometry": {part.name: _shown(part) for part in job.morphometry},
        "folds": dict(job.folds[0]),
        "cohort": {
            "source": Path(job.source).name,
            "subjects": list(cohort.subjects),
            "scanners": list(cohort.scanners),
            "scans": len(cohort),
            "complete": cohort.complete,
            "unmatched": list(cohort.unmatched),
            "simulated": cohort.scans[0].values.get("simulated", ""),
        },
    }


def _shown(part: Part) -> dict[str, Any]:
    return {
        "class": part.target,
        "distribution": part.distribution,
        "role": part.needs.get("role", ""),
        "needs": dict(part.needs),
        "individual": part.individual,
        "changes": part.changes,
        "parameters": dict(part.parameters),
        "config": part.config,
        "version": part.version,
        "reference": dict(part.reference),
    }


def _references(job: Job) -> dict[str, Reference]:
    found = {}
    for kind, name in (
        ("methods", "method"),
        ("metrics", "metric"),
        ("segmenters", "segmenter"),
        ("morphometry", "morphometry"),
    ):
        for part in getattr(job, kind):
            if part.reference:
                found[f"{name}:{part.name}"] = Reference(**part.reference)
    return found | atlas_references(job.atlas)


def write_reports(run: Finished, progress: Progress) -> list[list[Path]]:
    """Write every report of a finished run and return their files, each report's main one first."""
    reports = (Part(**part) for part in run.settings["reports"])
    ordered = sorted(reports, key=lambda part: part.name != "tables")
    return [list(part.build().write(run, progress)) for part in ordered]
