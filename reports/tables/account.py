"""HB-T10 and HB-T11: what each method was given and took, and what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harmobench.interface import Finished
from harmobench.reports.style import label
from harmobench.reports.tables.formats import Cell, Column, Table

if TYPE_CHECKING:
    import pandas as pd

GIVEN = (
    Column("method", "Method"),
    Column("role", "Role"),
    Column("training", "Fitted on"),
    Column("pairs", "Saw matched scans"),
    Column("labels", "Saw group label"),
    Column("target", "Target scanner"),
    Column("sees", "Looks at"),
)
TAKEN = (
    Column("parameters", "Parameters", True, ()),
    Column("fit s", "Fitting, s", True, ()),
    Column("image s", "Harmonizing, s a scan", True, ()),
    Column("peak MB", "Peak memory, MB", True, ()),
    Column("device", "Device"),
)
SEES = {"scan": "the scan", "subject": "the subject's scans", "cohort": "everybody's scans"}


def costs(run: Finished, line: str) -> Table:
    """HB-T10: who saw labels, pairs and the target; parameters, time and memory."""
    caption = (
        "What each method was shown, and what it took. Saw matched scans, of one subject on "
        "several scanners: learned from them or looks at them. Looks at: what it is shown when it "
        "harmonizes one scan; more than that scan is a declared cheat, for controls alone. Who saw "
        "the group label must not be judged on that label's effect size. Fitting: seconds over all "
        "folds; harmonizing: median; peak memory: of the whole process, the largest of its tasks. "
        "Times depend on the machine."
    )
    rows = [_cost_row(run, method) for method in run.design.methods]
    return Table("HB-T10", "Costs and fairness", caption, GIVEN + TAKEN, tuple(rows), line)


MADE_ELSEWHERE = "training unknown"  # what a run calls images that it did not make


def _cost_row(run: Finished, method: str) -> tuple[Cell, ...]:
    settings = run.settings.get("methods", {})
    part = settings.get(method, {}) if isinstance(settings, Mapping) else {}
    needs = part.get("needs") or {}
    known = bool(needs) and part.get("distribution") != MADE_ELSEWHERE
    # a method without `needs.target` may have been given a scanner by name
    own = str(part.get("parameters", {}).get("target") or "no")
    sees = str(needs.get("sees", "scan"))
    target = str(run.settings.get("target") or "yes") if needs.get("target") else own
    words = [
        label(method),
        str(run.design.methods[method]),
        _training(part, needs) if known else "unknown",
        _yes(needs.get("matched") or sees != "scan", known),
        _yes(_saw_group(run, needs), known),
        target if known else "unknown",
        SEES.get(sees, sees) if known else "unknown",
    ]
    return (*(Cell(text=word) for word in words), *_taken(run.costs, method))


def _saw_group(run: Finished, needs: Mapping[str, Any]) -> bool:
    return bool(needs.get("group")) and run.design.group is not None


def _training(part: Mapping[str, Any], needs: Mapping[str, Any]) -> str:
    if needs.get("folds"):
        return "other subjects (cross-validated)"
    if "individual" not in part:
        return "not cross-validated"
    return "nothing" if part["individual"] else "all scans at once"


def _yes(value: object, known: bool) -> str:
    return ("yes" if value else "no") if known else "unknown"


def _taken(costs: pd.DataFrame, method: str) -> list[Cell]:
    of_measures = costs["task"] == "calibrate"  # a fit for each tool
    own = costs[(costs["method"] == method) & ((costs["tool"] == "") | of_measures)]
    kinds = own["task"].str.split(r"[^a-z]", n=1, regex=True).str[0]
    fits = own[kinds.isin(("fit", "piece", "calibrate"))]
    images = own[kinds.isin(("image", "transform", "harmonize"))]
    parameters = int(own["parameters"].max()) if len(own) else -1
    devices = ", ".join(sorted(set(own["device"]) - {""}))
    peak = own["peak_mb"].max() if len(own) else float("nan")
    return [
        Cell(float(parameters), digits=0) if parameters >= 0 else Cell(text="none"),
        _number(fits["seconds"].sum() if len(fits) else float("nan"), 1),
        _number(images["seconds"].median(), 2),
        _number(peak, 0),
        Cell(text=devices or "unknown"),
    ]


def _number(value: float, digits: int) -> Cell:
    return Cell(float(value), digits=digits) if math.isfinite(value) else Cell(text="none")


def failures(run: Finished, line: str) -> Table:
    """HB-T11: every task that failed, with its reason."""
    columns = tuple(
        Column(name, name.capitalize())
        for name in ("task", "method", "tool", "fold", "subject", "scanner", "reason")
    )
    rows = tuple(
        tuple(_failure_cell(c.key, row[c.key]) for c in columns)
        for row in run.failures.to_dict("records")
    )
    caption = "Every task that failed, and why. The rest of the run went on without it."
    return Table(
        "HB-T11", "Failures", caption, columns, rows, line, "" if rows else "Nothing failed."
    )


def _failure_cell(name: str, value: object) -> Cell:
    if name == "fold":
        return Cell(text="" if value == -1 else str(value))
    return Cell(text=label(str(value)) if name in ("method", "tool") else str(value))
