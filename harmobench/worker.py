"""One task on a worker: done once, measured, and never half-written."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harmobench.doing import begin, stopping
from harmobench.errors import StoppedError
from harmobench.guard import given_up, guarded
from harmobench.reasons import clean, gone, reason_of, refusal
from harmobench.store import LOG, Store, write_json, write_text
from harmobench.task import Task

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Do = Callable[[Path, Task, Path], None]

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes
    ----------
    status
        "done", "failed", "skipped" where something it needs failed, "lost" with a worker that
        died of another task, "stopped" where the run was interrupted before it began, or "refused"
        by the system: a full disk.
    reason
        Why it failed, without paths, process numbers or addresses; what the system refused.
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


def execute(run: Path, do: Do, limit: float, task: Task, *upstream: Outcome) -> Outcome:
    """Do one task, unless it is done already, was given up, or something it needs failed.

    Parameters
    ----------
    run
        The run folder.
    do
        Called with `run`, the task and the folder that its result goes to.
    limit
        Seconds that most tasks may take.
    task
        What to do.
    upstream
        How the tasks ended that it needs.
    """
    store = Store(run / "store")
    if (text := gone(run)) is not None:
        return Outcome(task.key, "refused", text)
    if store.has(task.key):
        return Outcome(task.key, "done")
    if any(outcome.status != "done" for outcome in upstream):
        return Outcome(task.key, "skipped")
    try:
        reason = given_up(run, task, limit)
        if reason is not None:
            return Outcome(task.key, "failed", reason)
        return _begun(run, do, limit, task, store)
    except BaseException as error:  # a plugin may raise anything, SystemExit too: it becomes rows
        if isinstance(error, KeyboardInterrupt) and _is_main():
            raise  # it is the user's, not a plugin's: workers do tasks in other threads
        refused = str(error) if isinstance(error, StoppedError) else refusal(error, run)
        if refused is not None:
            return Outcome(task.key, "refused", refused)
        return Outcome(task.key, "failed", reason_of(error))


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _begun(run: Path, do: Do, limit: float, task: Task, store: Store) -> Outcome:
    marker = begin(run, task)  # before looking: who stops the run waits for what has a marker
    try:
        if stopping(run):
            return Outcome(task.key, "stopped")
        start = time.perf_counter()
        told = _written(run, do, limit, task, store)
        return Outcome(task.key, "done", warnings=told, seconds=time.perf_counter() - start)
    finally:
        marker.unlink(missing_ok=True)


def _written(run: Path, do: Do, limit: float, task: Task, store: Store) -> tuple[str, ...]:
    """Write a task's result into the store; return what it warned of."""
    with store.writing(task.key) as folder:
        try:
            with guarded(run, task, limit, folder / LOG) as note, _measured(note) as cost:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", UserWarning)
                    do(run, task, folder)
                spent = cost()
        except BaseException as error:
            if not isinstance(error, StoppedError) and refusal(error, run) is None:
                _keep_log(run, task, folder, error)
            raise
        told = _told(caught)
        write_json(folder / "cost.json", {**spent, "warnings": told})
    return told


def _keep_log(run: Path, task: Task, folder: Path, error: BaseException) -> None:
    """Keep the traceback of a failed task, and what was printed: its folder goes."""
    text = f"{task.label}\n{''.join(traceback.format_exception(error))}"
    printed = folder / LOG
    if printed.is_file():
        text += f"\n{printed.read_text(encoding='utf-8', errors='replace')}"
    write_text(run / "logs" / f"{task.key[:12]}.log", text)


def _told(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Keep what was meant for the user, each once; libraries' own notices to developers are not."""
    texts = [clean(str(w.message)) for w in caught if w.category is UserWarning]
    return tuple(dict.fromkeys(texts))


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Find numerical libraries that have threads; again only where more modules are loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def _measured(note: Callable[[float], None]) -> Iterator[Callable[[], dict[str, float]]]:
    """Seconds and peak resident memory (MB) of the block, one thread of numerical libraries.

    `note` is called with the bytes in use, several times a second.
    """
    import psutil

    process = psutil.Process()
    peak = process.memory_info().rss
    stop = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(SAMPLE_SECONDS):
            now = process.memory_info().rss
            peak = max(peak, now)
            with contextlib.suppress(OSError):  # a full disk stops the task itself, not its gauge
                note(now)

    start = time.perf_counter()
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()

    def cost() -> dict[str, float]:
        highest = max(peak, process.memory_info().rss)
        return {"seconds": time.perf_counter() - start, "peak_mb": highest / 1e6}

    try:
        with _libraries(len(sys.modules)).limit(limits=1):
            yield cost
    finally:
        stop.set()
        thread.join()
