"""Looks after jobs of a batch system while tasks wait for them."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harmobench.cluster.jobs import KINDS
from harmobench.cluster.sites import Batch
from harmobench.errors import SettingsError

LOOK_SECONDS = 2.0
REPEAT_SECONDS = 60.0  # between two tries to submit what was refused
ALONE_SECONDS = 30.0  # without any worker, until that is told
DEAD_STARTS = 3  # jobs that end before their worker reports, until the run is given up
TOLD_LINES = 5  # of a job's log in a message


class Care:
    """Looks after the jobs of a cluster: what was lost is asked for again, and waiting is told.

    Parameters
    ----------
    cluster
        Of dask-jobqueue.
    say
        Shows one line.
    """

    def __init__(self, cluster: Any, batch: Batch, logs: Path, say: Callable[[str], None]) -> None:
        self.cluster, self.batch, self.logs, self.say = cluster, batch, logs, say
        self.reported: set[str] = set()  # jobs whose worker was there at some time
        self.ended: set[str] = set()  # identifiers of jobs that ended before that
        self.accepted = False
        self.refused = ""
        self.tried = time.monotonic()
        self.stop = threading.Event()

    def workers(self) -> list[str]:
        """Names of the workers that are there."""
        infos = list(self.cluster.scheduler_info["workers"].values())
        return [str(info["name"]) for info in infos]

    def wait_for_first(self) -> None:
        """Wait until a worker is there.

        Raises
        ------
        SettingsError
            The queue refuses jobs, or they end before their worker reports.
        """
        told = ""
        while not self.workers():
            state = self.look()
            if self.refused and not self.accepted:
                raise SettingsError(
                    f"{KINDS[self.batch.kind].submit} refused the first job: {self.refused}"
                )
            if len(self.ended) >= DEAD_STARTS:
                raise SettingsError(
                    f"{len(self.ended)} jobs ended before their worker could report to the "
                    f"scheduler at {self.cluster.scheduler_address}; the last one's log: "
                    f"{self._last_log()}"
                )
            if state and state != told:
                self.say(f"waiting for the first job: {state}")
                told = state
            time.sleep(LOOK_SECONDS)

    def _last_log(self) -> str:
        logs = sorted(
            (path for path in self.logs.iterdir() if path.stat().st_size),
            key=lambda path: path.stat().st_mtime,
        )
        if not logs:
            return "none was written (can the nodes write into the run folder?)"
        lines = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-TOLD_LINES:])

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Look after the jobs beside what the block does."""
        thread = threading.Thread(target=self._go_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()

    def _go_on(self) -> None:
        last, told = time.monotonic(), ""
        while not self.stop.wait(LOOK_SECONDS):
            state = self.look()
            if self.workers():
                last, told = time.monotonic(), ""
            elif time.monotonic() - last > ALONE_SECONDS and state and state != told:
                self.say(f"no job is at work now: {state}")
                told = state

    def look(self) -> str:
        """Drop jobs that are no more, so that they are asked for again; say how things stand."""
        jobs = dict(self.cluster.workers)
        self.reported |= {
            name for name in jobs for worker in self.workers() if _is_of(worker, name)
        }
        refused = [name for name, job in jobs.items() if job.refused]
        submitted = {name: job.job_id for name, job in jobs.items() if job.job_id}
        self.accepted = self.accepted or bool(submitted)
        self.refused = jobs[refused[-1]].refused if refused else ""
        queue = self._queue()
        gone = [name for name, id in submitted.items() if queue is not None and id not in queue]
        self.ended |= {submitted[name] for name in gone if name not in self.reported}
        quick = [n for n in gone if n in self.reported or len(self.ended) < DEAD_STARTS]
        self._drop(quick, [name for name in (*gone, *refused) if name not in quick])
        return self._state(set(submitted.values()), queue)

    def _drop(self, now: list[str], slowly: list[str]) -> None:
        if time.monotonic() - self.tried > REPEAT_SECONDS:
            self.tried = time.monotonic()
            now = now + slowly
        for name in now:
            self.cluster.loop.add_callback(self.cluster.workers.pop, name, None)
            self.reported.discard(name)

    def _queue(self) -> dict[str, str] | None:
        """State of each job of this user by its number; None where nobody can tell."""
        kind = KINDS[self.batch.kind]
        try:
            done = subprocess.run(
                kind.queue, capture_output=True, text=True, timeout=30, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        lines = [line.split() for line in done.stdout.splitlines()]
        found = [(re.match(r"\d+", words[0]), words) for words in lines if words]
        return {
            match[0]: " ".join(words[kind.state]).removesuffix(" None")
            for match, words in found
            if match
        }

    def _state(self, ours: set[str], queue: Mapping[str, str] | None) -> str:
        if self.refused:
            return f"{KINDS[self.batch.kind].submit} refused a job: {self.refused}"
        if queue is None:
            return f"{KINDS[self.batch.kind].queue[0]} does not say how jobs stand"
        counts = Counter(state for number, state in queue.items() if number in ours)
        return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _is_of(worker: str, job: str) -> bool:
    return worker == job or worker.startswith(f"{job}-")
