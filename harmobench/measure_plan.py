"""Planning of methods that change measures: which scores of RAW they are fitted on and change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harmobench.parts import Part

MEASURED = ("segmentation", "measures")
COLUMNS = ("subject", "scanner", "structure", "units", "value")  # of a table of measures


def changes(traits: Mapping[str, Any]) -> bool:
    """Whether a metric's scores are measures of single scans, in units, such as volumes."""
    return traits["level"] == "scan" and traits["better"] == "equal" and traits["reads"] in MEASURED


def plan_measures(planner: Any, part: Part, repeat: int, metric: Part) -> None:
    """Plan a metric's scores of a method that changes measures.

    Parameters
    ----------
    planner
        The planner of `harmobench.plan`, which has planned RAW's scores already.
    part, metric
        The method and the metric.
    repeat
        Number of the repeat, whose folds are used.
    """
    traits = planner.metric_traits[metric.name]
    for tool, missing in planner.tools(traits):
        if not changes(traits):
            reason = f"{part.name} changes measures and no image"
            _gaps(planner, part, repeat, metric, tool, "not_applicable", reason)
        elif missing:
            _gaps(planner, part, repeat, metric, tool, "not_measured", missing)
        else:
            _plan_tool(planner, part, repeat, metric, tool)


def _gaps(
    planner: Any, part: Part, repeat: int, metric: Part, tool: Part | None, status: str, why: str
) -> None:
    for scan in planner.rows:
        planner.gap(planner.gap_args(part, repeat, metric, tool, scan), status, why)


def _plan_tool(planner: Any, part: Part, repeat: int, metric: Part, tool: Part | None) -> None:
    name = tool.name if tool else ""
    for gap in planner.gaps_of("raw", metric.name, name):  # what RAW has no score of
        where = {**gap.args, "method": part.name, "repeat": repeat}
        planner.gap(where, gap.status, gap.reason)
    for subject in planner.by_subject:
        raw = planner.scored.get((metric.name, name, subject))
        if raw is None or raw in planner.broken:
            continue
        for scan in planner.scans_scored[raw]:
            args = planner.gap_args(part, repeat, metric, tool, scan)
            key = _rescore(planner, part, repeat, (metric, name), raw, args)
            if key in planner.broken:
                planner.gap(args, "failed", planner.broken[key])


def _rescore(
    planner: Any,
    part: Part,
    repeat: int,
    what: tuple[Part, str],
    raw: str,
    args: Mapping[str, Any],
) -> str:
    subject = args["subject"]
    fold = planner.fold_of(part, repeat, subject)
    needs = {"space": planner.space(), "scores": raw}
    if not part.individual:
        needs["fit"] = planner.once(
            ("calibrate", part.name, repeat, fold, what[0].name, what[1]),
            lambda: _calibrate(planner, part, repeat, fold, what),
        )
    scan = (subject, args["scanner"])
    identity = [part.identity, what[0].identity, _seen(planner, part, [scan])]
    return str(planner.add("rescore", needs, {**args, "fold": fold}, *identity))


def _calibrate(planner: Any, part: Part, repeat: int, fold: int, what: tuple[Part, str]) -> str:
    metric, tool = what
    training = []
    needs = {"space": planner.space()}
    parts = planner.split(part, repeat, fold)
    for subject in (*parts.training, *parts.validation):  # it has no use for others to validate on
        raw = planner.scored.get((metric.name, tool, subject))
        if raw is not None and raw not in planner.broken:  # else the others are all there is
            training.append(subject)
            needs[f"train:{subject}"] = raw
    args = {
        "method": part.name,
        "metric": metric.name,
        "tool": tool,
        "repeat": repeat,
        "fold": fold,
        "seed": planner.seed(part, repeat, fold),
        "training": training,
    }
    scans = [scan for subject in training for scan in planner.by_subject[subject]]
    identity = [part.identity, training, _seen(planner, part, scans), args["seed"]]
    identity += planner.circumstances(part)
    return str(planner.add("calibrate", needs, args, *identity))


def _seen(planner: Any, part: Part, scans: Sequence[tuple[str, str]]) -> list[Any]:
    """Return what a method sees of the manifest for these scans."""
    return [[*scan, planner.labels(part, planner.rows[scan]["values"])] for scan in scans]
