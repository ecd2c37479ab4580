"""A power plan as a CSV file and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from harmobench.metrics.statistics.power_plan import SUBJECT, Column, Plan

FIELDS = (
    "subjects", "scanners", "of", "metric", "structure", "tool", "units", "test", "sd",
    "smallest_difference", "power", "level", "tests", "folds", "within_fold",
)  # fmt: skip


def write_csv(plan: Plan, scanners: int, path: Path) -> None:
    """Write one row for each number of subjects and column."""
    request = plan.request
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for column in plan.columns:
            place = (column.name, column.metric, column.structure, column.tool, column.units)
            for n, value in zip(plan.counts, column.values, strict=True):
                folds = "" if request.folds is None else len(request.sizes(n))
                rho = "" if request.folds is None else request.within_fold
                sd = "" if column.sd is None else column.sd
                asked = (request.power, request.level, request.tests, folds, rho)
                smallest = "" if value is None else value
                writer.writerow((n, scanners, *place, column.test, sd, smallest, *asked))


def draw(plan: Plan, path: Path) -> None:
    """Draw a panel for each metric: smallest difference over number of subjects."""
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str, str], list[Column]] = {}
    for column in plan.columns:
        panels.setdefault((column.name, column.metric, column.units), []).append(column)
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    for place, ((name, metric, units), columns) in enumerate(panels.items()):
        axes: Any = figure.add_subplot(down, across, place + 1)
        for column in columns:
            shown = [float("nan") if v is None else v for v in column.values]
            label = " ".join(part for part in (column.structure, column.tool) if part)
            style = "-" if column.test == SUBJECT else "--"
            mark = "." if len(plan.counts) < 15 else None
            by_folds = "" if column.test == SUBJECT else ", by folds"
            axes.plot(plan.counts, shown, style, marker=mark, label=(label or name) + by_folds)
        title = f"{name}, {metric}" if metric not in ("", name) else name
        axes.set(title=title, xlabel="subjects", ylabel=f"smallest difference [{units or '1'}]")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize="x-small", frameon=False)
    figure.savefig(path, dpi=150)
