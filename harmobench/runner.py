"""Executes a plan on Dask; tasks pass keys, the run folder holds everything else."""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmobench.doing import begin, running
from harmobench.errors import HarmobenchError
from harmobench.pace import Group, group_of
from harmobench.store import LOG, Store, write_json, write_text
from harmobench.task import Task

Do = Callable[[Path, Task, Path], None]

SAMPLE_SECONDS = 0.1
LOST = "its worker died, again and again, before the task began"  # a reason to give a task up


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes
    ----------
    status
        "done", "failed", "skipped" where something it needs failed, or "lost" with a worker that
        died of another task.
    reason
        Why it failed, without paths, process numbers or addresses.
    warnings
        What the plugin warned of (UserWarning), likewise.
    seconds
        What it took; 0 where nothing was done.
    """

    key: str
    status: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


def execute(run: Path, do: Do, task: Task, *upstream: Outcome) -> Outcome:
    """Do one task on a worker, unless it is done already or something it needs failed."""
    store = Store(run / "store")
    if store.has(task.key):
        return Outcome(task.key, "done")
    if any(outcome.status != "done" for outcome in upstream):
        return Outcome(task.key, "skipped")
    marker = begin(run, task)
    start = time.perf_counter()
    try:
        with store.writing(task.key) as folder, _measured() as cost:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                try:
                    do(run, task, folder)
                except Exception as error:
                    _keep_log(run, task, folder, error)
                    raise
            told = _told(caught)
            write_json(folder / "cost.json", {**cost(), "warnings": told})
        seconds = time.perf_counter() - start
        return Outcome(task.key, "done", warnings=told, seconds=seconds)
    except Exception as error:  # a plugin may raise anything: it becomes rows with a reason
        return Outcome(task.key, "failed", reason_of(error))
    finally:
        marker.unlink(missing_ok=True)


def _keep_log(run: Path, task: Task, folder: Path, error: Exception) -> None:
    """Keep the traceback of a failed task, and what programs printed: its folder goes."""
    text = f"{task.label}\n{''.join(traceback.format_exception(error))}"
    printed = folder / LOG
    if printed.is_file():
        text += f"\n{printed.read_text(encoding='utf-8', errors='replace')}"
    write_text(run / "logs" / f"{task.key[:12]}.log", text)


def _told(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Keep what was meant for the user, each once; libraries' own notices to developers are not."""
    texts = [clean(str(w.message)) for w in caught if w.category is UserWarning]
    return tuple(dict.fromkeys(texts))


def reason_of(error: BaseException) -> str:
    """One line that says why, the same in every run: no path, process number or address."""
    known = isinstance(error, HarmobenchError)
    return clean(str(error) if known else f"{type(error).__name__}: {error}")


def clean(text: str) -> str:
    """Leave out of a text what differs from run to run: paths, process numbers, addresses."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x...", " ".join(text.split()))
    text = re.sub(r"\b(pid|PID)[ =:]*\d+", r"\1", text)
    return re.sub(r"(?<![\w<])/(?:[^\s/:,'\"]+/)+([^\s/:,'\"]+)", r"\1", text)


@contextlib.contextmanager
def _measured() -> Iterator[Callable[[], dict[str, float]]]:
    """Seconds and peak resident memory (MB) of the block, one thread of numerical libraries."""
    import psutil
    from threadpoolctl import threadpool_limits

    process = psutil.Process()
    peak = process.memory_info().rss
    stop = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(SAMPLE_SECONDS):
            peak = max(peak, process.memory_info().rss)

    start = time.perf_counter()
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()

    def cost() -> dict[str, float]:
        highest = max(peak, process.memory_info().rss)
        return {"seconds": time.perf_counter() - start, "peak_mb": highest / 1e6}

    try:
        with threadpool_limits(1):
            yield cost
    finally:
        stop.set()
        thread.join()


def run_tasks(
    run: Path,
    do: Do,
    tasks: Mapping[str, Task],
    client: Any,
    done: Callable[[Task, Outcome], None],
) -> dict[str, str]:
    """Execute tasks that are not in the store yet; return the reason of each that failed.

    Parameters
    ----------
    run
        A folder with a store, on a file system that all workers share.
    do
        Called on a worker with `run`, the task and the folder that its result goes to.
    tasks
        By key, each after what it needs.
    client
        A `distributed.Client`.
    done
        Called once for each task that ends.
    """
    from distributed import as_completed

    store = Store(run / "store")
    shutil.rmtree(run / "running", ignore_errors=True)
    missing = {key: task for key, task in tasks.items() if not store.has(key)}
    resources = _resources(client)
    futures: dict[str, Any] = {}
    first = {group_of(task): key for key, task in reversed(missing.items())}
    for key, task in missing.items():
        upstream = [futures[need] for need in task.needs.values() if need in futures]
        futures[key] = client.submit(
            execute,
            run,
            do,
            task,
            *upstream,
            key=f"{task.kind}-{key}",  # Dask's dashboard counts and colours by the kind
            pure=False,
            priority=_priority(task, first),
            resources=resources if task.heavy else None,
        )
    failed: dict[str, str] = {}
    keys = {future.key: key for key, future in futures.items()}
    for future in as_completed(list(futures.values())):
        outcome = _outcome(future, keys[future.key], run)
        if outcome.status == "failed":
            failed[outcome.key] = outcome.reason
        done(missing[outcome.key], outcome)
    return failed


def _priority(task: Task, first: Mapping[Group, str]) -> int:
    """Training begins as early as it can; then one task of each sort, for it tells the time."""
    return 10 if task.heavy else int(first[group_of(task)] == task.key)


def run_all(
    run: Path,
    do: Do,
    tasks: Mapping[str, Task],
    client: Any,
    done: Callable[[Task, Outcome], None],
) -> dict[str, str]:
    """Execute tasks as `run_tasks` does, until each has ended, causes first.

    Those that were lost with a worker that died of another task are done once more.
    """
    failed: dict[str, str] = {}
    left = dict(tasks)

    def ended(task: Task, outcome: Outcome) -> None:
        if outcome.status != "lost":
            del left[task.key]
            done(task, outcome)

    while left:
        before = len(left)
        failed |= run_tasks(run, do, dict(left), client, ended)
        if len(left) == before:
            return failed | dict.fromkeys(left, LOST)
    return failed


def _outcome(future: Any, key: str, run: Path) -> Outcome:
    """How the future of a task ended.

    Dask blames every task that was queued on a worker that died, and what needs them. Only the one
    that was at work is at fault; the others are "lost", and are done by the next round.
    """
    error = future.exception()
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    if type(error).__name__ == "KilledWorker":
        if not running(run, key).is_file():
            return Outcome(key, "lost")
        return Outcome(key, "failed", "the worker died while doing this (out of memory?)")
    return Outcome(key, "failed", reason_of(error))


def _resources(client: Any) -> dict[str, float] | None:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    declared = [worker.get("resources", {}) for worker in workers]
    for name in ("GPU", "TRAIN"):
        if any(resources.get(name, 0) >= 1 for resources in declared):
            return {name: 1}
    return None  # workers that were started by hand, without resources
