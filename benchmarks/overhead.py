"""What the engine adds to the work itself: to tasks that are done, and to tasks that are finished.

Three measurements, each asked for by name:

`--demo FOLDER` runs `harmobench demo` there with one worker (one that is finished is only read).
Counted is the time from the first task's start to the last one's end, as the files of the store
tell, against the sum of the tasks' own seconds (costs.csv): what is left is the engine's, with the
scheduler, the store's flushes and measuring itself. With one worker no time is lost because tasks
wait for each other.

`--cached N` plans a cohort of about N tasks (6 mm images, made here), puts an empty result of each
into the store, and times what `harmobench run` does until nothing is left to execute: checking and
planning, looking up what is finished, starting workers, executing. What comes after, tables and the
report, needs real results: `scale.py --again` times it.

`--trivial N` executes N tasks that do nothing on one worker: milliseconds a task.

`--rates RUN` prints seconds and bytes of a run's tasks for each million voxels: the guesses of
`harmobench run --dry-run`.

    python benchmarks/overhead.py --cached 20000 --trivial 2000
    python benchmarks/overhead.py --demo DEMO --rates DEMO/run
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np

from harmobench.ahead.forecast import GROWING, measured
from harmobench.finish import finished
from harmobench.job import Options, job_from
from harmobench.plan import make_plan
from harmobench.runner import run_tasks
from harmobench.store import Store, read_json, write_json
from harmobench.task import Task

WANTED_SHARE, WANTED_SECONDS = 0.05, 30.0
METHODS = "raw,whitestripe,ravel"
SCANNERS = 4
TASKS_A_SCAN = 14.75  # of these methods with the metrics that read images


@contextmanager
def timed(what: str, times: dict[str, float]) -> Iterator[None]:
    """Note the seconds of a block, and print them."""
    start = time.perf_counter()
    yield
    times[what] = time.perf_counter() - start
    print(f"  {what}: {times[what]:.1f} s", flush=True)


def window(run: Path) -> tuple[float, float]:
    """Seconds from the first task's start to the last one's end, and the sum of all tasks'."""
    starts, ends, total = [], [], 0.0
    for path in run.glob("store/??/*/cost.json"):
        seconds = float(read_json(path)["seconds"])
        ended = path.stat().st_mtime
        starts.append(ended - seconds)
        ends.append(ended)
        total += seconds
    return max(ends) - min(starts), total


def demo(folder: Path) -> None:
    """Print what the engine adds to the demo's tasks."""
    run = folder / "run"
    if not (run / "report.html").is_file():
        command = [sys.executable, "-m", "harmobench.cli", "demo", "--out", str(folder)]
        subprocess.run([*command, "--workers", "1", "--quiet"], check=True)
    with (run / "costs.csv").open(newline="", encoding="utf-8") as stream:
        costs = sum(float(row["seconds"]) for row in csv.DictReader(stream))
    wall, total = window(run)
    share = wall / total - 1
    verdict = "as wanted" if share < WANTED_SHARE else f"wanted under {WANTED_SHARE:.0%}"
    print(f"demo, one worker: {wall:.1f} s for tasks of {total:.1f} s (costs.csv: {costs:.1f} s)")
    print(f"  the engine adds {share:.1%}: {verdict}")


def cohort(folder: Path, scans: int) -> Path:
    """Write small brains, each of its own, and a manifest."""
    from harmobench.atlas import icbm152
    from harmobench.imaging.volume import write_image

    tissues, _, brain, grid = icbm152(6.0)
    mixed = 0.3 * tissues["csf"] + 0.9 * tissues["gm"] + 1.2 * tissues["wm"]
    rng = np.random.default_rng(0)
    rows = ["subject,scanner,image"]
    for number in range(scans):
        noise = rng.normal(0, 0.03, grid.shape).astype(np.float32)
        path = folder / f"{number}.nii.gz"
        write_image(path, ((mixed + noise) * brain).astype(np.float32), grid)
        rows.append(f"s{number // SCANNERS:04d},scanner{number % SCANNERS},{path.name}")
    manifest = folder / "matched.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest


def cached(folder: Path, tasks: int) -> None:
    """Print how long a run of finished tasks takes until nothing is left to execute."""
    from harmobench.cluster import connect
    from harmobench.cluster.sites import Local
    from harmobench.resolve import resolve

    manifest = cohort(folder, int(tasks / TASKS_A_SCAN) // SCANNERS * SCANNERS)
    options = Options(
        cohort=manifest,
        out=folder / "run",
        methods=METHODS,
        segmenters="none",
        measures=("none",),
        controls="off",
    )
    times: dict[str, float] = {}
    store = Store(folder / "run" / "store")
    job = resolve(options, "", lambda *_: None)
    for key in make_plan(job).tasks:
        write_json(store.path(key) / "cost.json", {"seconds": 0.01, "peak_mb": 1.0})
    print(f"{len(job.scans)} scans, every task finished:")
    with timed("checking the cohort", times):
        job = resolve(options, "", lambda *_: None)
    with timed("planning", times):
        plan = make_plan(job)
    with timed("looking up", times):
        there = [key for key in plan.tasks if store.has(key)]
    with (
        timed("starting workers, executing, stopping workers", times),
        connect(Local(2), folder, print) as client,
    ):
        run_tasks(folder / "run", fail, plan.tasks, client, lambda *_: None)
    total = sum(times.values())
    verdict = "as wanted" if total < WANTED_SECONDS else f"wanted under {WANTED_SECONDS:.0f} s"
    print(f"  {len(there):,} of {len(plan.tasks):,} tasks: {total:.1f} s in all, {verdict}")


def fail(run: Path, task: Task, folder: Path) -> None:
    raise RuntimeError(f"expected every task to be finished, found {task.label} not so")


def nothing(run: Path, task: Task, folder: Path) -> None:
    """Do what the smallest task does: write one file."""
    write_json(folder / "rows.json", [])


def trivial(folder: Path, count: int) -> None:
    """Print what a task costs that does nothing."""
    from harmobench.cluster import connect
    from harmobench.cluster.sites import Local

    run = folder / "trivial"
    (run / "store").mkdir(parents=True)
    keys = [f"{number:040x}"[::-1] for number in range(count)]
    tasks = {
        key: Task(key, "score", {"read": keys[i // 2]} if i else {}, {"subject": str(i)})
        for i, key in enumerate(keys)
    }
    with connect(Local(1), folder, print) as client:
        start = time.perf_counter()
        run_tasks(run, nothing, tasks, client, lambda *_: None)
        seconds = time.perf_counter() - start
    inside = window(run)[1]
    print(
        f"{count:,} tasks that do nothing, one worker: {1000 * seconds / count:.2f} ms each, of "
        f"which {1000 * inside / count:.2f} ms are counted as the task's own"
    )


def rates(run: Path) -> None:
    """Print what a run's tasks took for each million voxels of the grid."""
    job = job_from(finished(run).settings | read_json(run / "run.json"))
    millions = prod(job.cohort.scans[0].grid.shape) / 1e6
    store, plan = Store(run / "store"), make_plan(job)
    known = measured([t for key, t in plan.tasks.items() if store.has(key)], store)
    needs: dict[str, list[int]] = defaultdict(list)
    for task in plan.tasks.values():
        needs[task.kind].append(1 if task.kind in GROWING else max(1, len(task.needs)))
    print(f"a grid of {millions:.2f} million voxels; seconds and bytes for each million:")
    for (kind, name), each in sorted(known.items()):
        parts = float(np.mean(needs[kind]))
        print(
            f"  {kind} {name}: {each.seconds * parts / millions:.3g}, "
            f"{each.size * parts / millions:.2g}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", type=Path, metavar="FOLDER")
    parser.add_argument("--cached", type=int, metavar="TASKS")
    parser.add_argument("--trivial", type=int, metavar="TASKS")
    parser.add_argument("--rates", type=Path, metavar="RUN")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.cached:
            cached(Path(scratch), given.cached)
        if given.trivial:
            trivial(Path(scratch), given.trivial)
    if given.demo:
        demo(given.demo)
    if given.rates:
        rates(given.rates)


if __name__ == "__main__":
    main()
