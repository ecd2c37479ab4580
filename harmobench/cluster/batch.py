"""Work in a batch system: a scheduler here, workers in its jobs, logs of the jobs in the run."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harmobench.cluster.care import Care
from harmobench.cluster.dask_config import CONFIG, deaf_to_interrupts, job_environment, security_of
from harmobench.cluster.jobs import refuse_absent, start_cluster
from harmobench.cluster.sites import Batch
from harmobench.errors import SettingsError

# A training of an hour must not look as short as a score, or nobody asks for a job to do it.
UNKNOWN_SECONDS = "60s"


@contextlib.contextmanager
def open_batch(
    site: Batch, logs: Path, dashboard: Mapping[str, Any], say: Callable[[str], None]
) -> Iterator[Any]:
    """Client of a scheduler here, once the first of its jobs is at work; jobs end with the block.

    Parameters
    ----------
    site
        What a job is, and how many.
    logs
        Folder for what jobs print, on the shared file system.
    dashboard
        Options of the scheduler's pages.
    say
        Shows one line.

    Raises
    ------
    SettingsError
        There is no such batch system, or it refuses jobs; then no folder was made.
    """
    import dask
    from distributed import Client

    refuse_absent(site)
    dask.config.set(CONFIG)
    dask.config.set(
        {
            "distributed.scheduler.unknown-task-duration": UNKNOWN_SECONDS,
            "distributed.dashboard.link": "http://127.0.0.1:{port}/status",  # where it listens
        }
    )
    security = security_of(site.tls)
    with (
        _made(logs) as keep,
        _started(site, logs, dashboard) as cluster,
        Client(cluster, security=security) as client,
    ):
        care = Care(cluster, site, logs, say)
        care.wait_for_first()
        keep()
        with care.going_on():
            yield client


@contextlib.contextmanager
def _started(site: Batch, logs: Path, dashboard: Mapping[str, Any]) -> Iterator[Any]:
    try:
        with deaf_to_interrupts(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an installation's own settings of dask-jobqueue
            cluster = start_cluster(site, logs, job_environment(), dashboard, security_of(site.tls))
    except (OSError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"the scheduler for jobs of {site.kind.upper()} could not start: {error}"
        ) from error
    with cluster:
        yield cluster


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[Callable[[], None]]:
    """Make a folder; unless the block calls what it is given, it and those above go again."""
    there = next(path for path in folder.parents if path.exists())
    fresh = not folder.exists()
    kept = False

    def keep() -> None:
        nonlocal kept
        kept = True

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"expected a place for the logs of jobs, found {there}: {error.strerror}"
        ) from error
    try:
        yield keep
    finally:
        if fresh and not kept:
            shutil.rmtree(folder, ignore_errors=True)
            for path in folder.parents:
                if path == there or any(path.iterdir()):
                    break
                path.rmdir()
