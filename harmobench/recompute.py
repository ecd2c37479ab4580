"""Whether a run's numbers follow from what it says of itself: computed again, and compared.

Only where the installed code and libraries are those that made the run: others may round otherwise,
and code that a run merely names is not started.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harmobench
from harmobench.checksums import TABLES
from harmobench.cohort import Progress
from harmobench.finish import (
    Run,
    finished,
    write_results,
    write_shown,
    write_statistics,
)
from harmobench.job import Job
from harmobench.plan import Plan, make_plan
from harmobench.provenance import differing, environment, kernel_digest
from harmobench.removed import known, read_removed
from harmobench.results import FAILURE_COLUMNS, FLOATS, SCORE_COLUMNS, read_table
from harmobench.samecode import other_parts
from harmobench.store import Store
from harmobench.task import Task

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-9  # relative: other processors add in another order
STATISTICS = ("aggregates", "comparisons")
KINDS = ("methods", "metrics", "segmenters", "morphometry", "statistics", "reports")


@dataclass
class Compared:
    """What was computed again, and what came out otherwise.

    Attributes
    ----------
    differences, notes
        Sentences for the user.
    """

    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def unlike(job: Job) -> str:
    """Say in what the installed code differs from that of a run; "" where it is the same."""
    if job.version != harmobench.__version__:
        return f"harmobench {job.version} made it, {harmobench.__version__} is installed"
    if job.kernel != kernel_digest():
        return f"another state of harmobench {job.version} made it than is installed"
    for name, then, now in differing(job.environment, environment()):
        return f"it was made with {name} {then}, {now} is installed"
    for part, state in other_parts(job, KINDS):
        if state == "absent":
            return f"{part.name} ({part.target}, of {part.distribution}) is not installed"
        return f"another state of {part.name} ({part.distribution}) made it than is installed"
    return ""


def recompute(folder: Path, job: Job, progress: Progress) -> Compared:
    """Compute identifiers, tables and statistics again, and compare them with the run's."""
    found = Compared()
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        again = Path(scratch)
        steps = ("planning it again", "computing scores and statistics again", "writing tables")
        progress(0, len(steps), steps[0])
        plan, failed, why = _followed(folder, job)
        found.differences += why if plan is None and not job.places else []
        found.notes += why if job.places else []
        progress(1, len(steps), steps[1])
        if plan is not None:
            run = Run(again, job, plan, Store(folder / "store"))
            write_results(run, failed)
            write_shown(run)
            stems: tuple[str, ...] = TABLES
        else:
            write_statistics(again, job, read_table(folder / "scores", SCORE_COLUMNS))
            stems = STATISTICS
        found.differences += _compare_tables(folder, again, stems)
        progress(2, len(steps), steps[2])
        found.differences += _compare_citable(folder, again / "reports", job)
        progress(3, len(steps), steps[2])
    return found


def _followed(folder: Path, job: Job) -> tuple[Plan | None, dict[str, tuple[Task, str]], list[str]]:
    if job.places:
        names = ", ".join(sorted(job.places))
        return None, {}, [f"scores were not followed to the measures of {names}, made elsewhere"]
    return plan_again(folder, job)


def plan_again(
    folder: Path, job: Job
) -> tuple[Plan | None, dict[str, tuple[Task, str]], list[str]]:
    """Plan a run around the tasks that failed in it: every other task must be in the store.

    Returns
    -------
    tuple
        The plan, or None; tasks that failed, by key, with the reason; why there is no plan.
    """
    store, removed = Store(folder / "store"), read_removed(folder)
    failures = read_table(folder / "failures", FAILURE_COLUMNS).to_dict("records")
    failed: dict[str, tuple[Task, str]] = {}
    while True:
        try:
            plan = make_plan(job, {key: reason for key, (_, reason) in failed.items()})
        except OSError as error:
            return None, {}, [f"{error.filename}: cannot be read, so that scores are not followed"]
        missing = {k: task for k, task in plan.tasks.items() if not known(task, store, removed)}
        first = [t for t in missing.values() if not missing.keys() & set(t.needs.values())]
        if not first:
            return plan, failed, []
        why = {task.key: (task, reason) for task in first if (reason := _reason(task, failures))}
        lost = [task for task in first if task.key not in why]
        if lost:
            return None, {}, [_lost(task) for task in lost]
        failed |= why


def _lost(task: Task) -> str:
    return (
        f"store: expected the result of {task.label} under {task.key[:12]}, made of what run.json "
        "and its files say, found none"
    )


def _reason(task: Task, failures: list[dict[Any, Any]]) -> str:
    """Why a task failed, as the run's table says; "" where it does not say that it failed."""
    place = [task.kind, *(task.args.get(name, "") for name in ("method", "tool"))]
    place += [task.args.get("fold", -1)]
    place += [task.args.get(name, "") for name in ("subject", "scanner")]
    for row in failures:
        own = [row[name] for name in FAILURE_COLUMNS[:-1]]
        if own == place and str(row["reason"]).startswith(f"{task.label}: "):
            return str(row["reason"])
    return ""


def _compare_tables(folder: Path, again: Path, stems: tuple[str, ...]) -> Iterator[str]:
    """Compare tables with those computed again, and the .csv beside each with its .parquet."""
    import pandas as pd

    for stem in stems:
        path = folder / f"{stem}.parquet"
        if not path.is_file():
            continue  # named as missing already
        found = pd.read_parquet(path)
        text = _first_difference(pd.read_parquet(again / path.name), found)
        if text:
            yield f"{path.name}: {text}"
        beside = path.with_suffix(".csv")
        if beside.is_file() and beside.read_text(encoding="utf-8") != _text(found):
            yield f"{beside.name}: expected the rows of {path.name}, found others"


def _text(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _first_difference(expected: pd.DataFrame, found: pd.DataFrame) -> str:
    """Say where two tables differ; "" where they do not, or by what processors round otherwise."""
    import numpy as np

    if list(expected) != list(found) or len(expected) != len(found):
        return (
            f"expected {len(expected)} rows of {len(expected.columns)} columns, computed again, "
            f"found {len(found)} of {len(found.columns)}"
        )
    for name in expected:
        old, new = expected[name], found[name]
        if name in FLOATS:
            same = np.isclose(old, new, rtol=ROUNDING, atol=ROUNDING**2, equal_nan=True)
        else:
            same = (old == new).to_numpy()
        if not same.all():
            row = int(np.argmin(same))
            return f"row {row + 1}, {name}: expected {old[row]}, computed again, found {new[row]}"
    return ""


def _compare_citable(folder: Path, again: Path, job: Job) -> Iterator[str]:
    """Write the tables that can be cited again, from the run's own, and compare their bytes."""
    part = next((part for part in job.reports if part.name == "tables"), None)
    if part is None:
        return
    again.mkdir()
    run = replace(finished(folder), folder=again)
    for path in sorted(part.build().write(run, _nothing)):
        name = path.relative_to(again).as_posix()
        own = folder / name
        if own.is_file() and own.read_bytes() != path.read_bytes():
            yield f"{name}: expected what the run's tables give, found other text"
        elif not own.is_file():
            yield f"{name}: expected the table that the run's scores give, found none"


def _nothing(done: int, total: int, what: str) -> None:
    return
