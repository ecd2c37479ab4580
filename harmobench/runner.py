"""Executes a plan on Dask; tasks pass keys, the run folder holds everything else."""

from __future__ import annotations

import contextlib
import queue
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harmobench.cluster import training_resource
from harmobench.doing import ask_to_stop, stamps
from harmobench.errors import StoppedError
from harmobench.guard import given_up
from harmobench.live.pace import Group, group_of
from harmobench.reasons import reason_of
from harmobench.store import Store
from harmobench.task import Task
from harmobench.worker import Do, Outcome, execute

LOST = "its worker died, again and again, before the task began"  # a reason to give a task up
DAY = 86400.0  # seconds that a task may take where nothing else is asked for
LISTEN_SECONDS = 0.2
Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


def run_tasks(
    run: Path,
    do: Do,
    tasks: Mapping[str, Task],
    client: Any,
    done: Callable[[Task, Outcome], None],
    limit: float = DAY,
    say: Say = silent,
) -> dict[str, str]:
    """Execute tasks that are not in the store yet; return the reason of each that failed.

    Ctrl-C lets the tasks at work end and then stops; a second one stops at once.

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
    limit
        Seconds that most tasks may take.
    say
        Shows a person one line.

    Raises
    ------
    StoppedError
        The system refused what every task needs, a full disk say.
    KeyboardInterrupt
        Ctrl-C, after the tasks at work have ended.
    """
    store = Store(run / "store")
    store.folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run / "running", ignore_errors=True)
    missing = {key: task for key, task in tasks.items() if not store.has(key)}
    futures = _submitted(run, do, limit, missing, client)
    failed: dict[str, str] = {}
    for outcome in _outcomes(run, client, futures, missing, limit, say):
        if outcome.status == "refused":
            raise StoppedError(
                f"{outcome.reason}: what is finished is kept; make room, or mend what the system "
                "says, and give the same command again"
            )
        if outcome.status == "failed":
            failed[outcome.key] = outcome.reason
        done(missing[outcome.key], outcome)
    return failed


def _submitted(
    run: Path, do: Do, limit: float, missing: Mapping[str, Task], client: Any
) -> dict[str, Any]:
    """Futures of tasks, by key; Dask begins with them."""
    resources = training_resource(client)
    futures: dict[str, Any] = {}
    first = {group_of(task): key for key, task in reversed(list(missing.items()))}
    for key, task in missing.items():
        upstream = [futures[need] for need in task.needs.values() if need in futures]
        futures[key] = client.submit(
            execute,
            run,
            do,
            limit,
            task,
            *upstream,
            key=f"{task.kind}-{key}",  # Dask's dashboard counts and colours by the kind
            pure=False,
            priority=_priority(task, first),
            resources=resources if task.heavy else None,
        )
    return futures


def _priority(task: Task, first: Mapping[Group, str]) -> int:
    """Training begins as early as it can; then one task of each sort, for it tells the time."""
    return 10 if task.heavy else int(first[group_of(task)] == task.key)


def _outcomes(
    run: Path,
    client: Any,
    futures: Mapping[str, Any],
    tasks: Mapping[str, Task],
    limit: float,
    say: Say,
) -> Iterator[Outcome]:
    """Give how tasks ended, as they do; after Ctrl-C those at work, and then be interrupted."""
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    keys = {future.key: key for key, future in futures.items()}
    for future in futures.values():
        future.add_done_callback(ended.put)
    left = set(futures)
    with _first_interrupt() as interrupted:
        stopping = False
        while left:
            some = [(keys[future.key], future) for future in _waited(ended)]
            some = [(key, future) for key, future in some if key in left]
            left.difference_update(key for key, _ in some)
            yield from _read(client, some, tasks, run, limit)
            if interrupted.is_set() and not stopping:
                stopping = True
                left = _stop(run, client, {key: futures[key] for key in left}, say)
    if stopping:
        raise KeyboardInterrupt


def _waited(ended: queue.SimpleQueue[Any]) -> list[Any]:
    """Return what is in a queue; of an empty one, the first that comes within a moment."""
    found = []
    with contextlib.suppress(queue.Empty):
        found.append(ended.get(timeout=LISTEN_SECONDS))
        while True:
            found.append(ended.get_nowait())
    return found


def _read(
    client: Any,
    ended: Sequence[tuple[str, Any]],
    tasks: Mapping[str, Task],
    run: Path,
    limit: float,
) -> Iterator[Outcome]:
    """Fetch how these tasks ended, in one call for all that Dask has no complaint about."""
    yield from client.gather([future for _, future in ended if future.status != "error"])
    for key, future in ended:
        if future.status == "error":
            yield _blamed(future.exception(), tasks[key], run, limit)


def _stop(run: Path, client: Any, left: Mapping[str, Any], say: Say) -> set[str]:
    """Let no other task begin; return the keys of those at work."""
    ask_to_stop(run)
    at_work = {key for key in stamps(run) if key in left}
    client.cancel([future for key, future in left.items() if key not in at_work])
    number = f"{len(at_work)} task{'' if len(at_work) == 1 else 's'}"
    say(f"stopping: {number} at work will be finished first; Ctrl-C again stops at once")
    return at_work


@contextlib.contextmanager
def _first_interrupt() -> Iterator[threading.Event]:
    """Note the first Ctrl-C of the block instead of raising; the second one raises."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # signals come to the main thread alone
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        noted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def run_all(
    run: Path,
    do: Do,
    tasks: Mapping[str, Task],
    client: Any,
    done: Callable[[Task, Outcome], None],
    say: Say = silent,
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
        failed |= run_tasks(run, do, dict(left), client, ended, say=say)
        if len(left) == before:
            return failed | dict.fromkeys(left, LOST)
    return failed


def _blamed(error: BaseException, task: Task, run: Path, limit: float) -> Outcome:
    """How a task ended that Dask gave up.

    Dask blames every task that was queued on workers that died, and what needs them. One that was
    at work when they did says so itself; the others are "lost", and are done by the next round.
    """
    if type(error).__name__ != "KilledWorker":
        return Outcome(task.key, "failed", reason_of(error))
    why = given_up(run, task, limit)
    return Outcome(task.key, "lost") if why is None else Outcome(task.key, "failed", why)
