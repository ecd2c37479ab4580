"""Where tasks are done: a cluster on this machine, or a Dask scheduler that runs elsewhere."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from harmobench.errors import SettingsError

# Set before a worker starts. One thread, whatever the machine: a task's numbers must not depend on
# it. And memory that a network freed stays with its process: asking the system for the same pages
# at every step made training a quarter slower.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "1000000000",
}
DASHBOARD_PORT = 8787


@contextlib.contextmanager
def connect(workers: int | None, scheduler: str | None, gpu: bool) -> Iterator[Any]:
    """Client of a running scheduler, or of a cluster on this machine that ends with the block.

    Parameters
    ----------
    workers
        Processes to start here, one thread each; the number of cores where not given.
    scheduler
        Address of a running scheduler, such as tcp://node1:8786.
    gpu
        Whether there is one: exactly one worker then holds it.
    """
    from distributed import Client

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"--scheduler: expected a running Dask scheduler at {scheduler}, could not "
                f"connect: {type(error).__name__}"
            ) from error
        with client:
            yield client
        return
    count = workers or os.cpu_count() or 1
    with _deaf_to_interrupts():
        cluster = _cluster(count, gpu)
    with cluster, Client(cluster) as client:
        yield client


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that start in this block never see Ctrl-C: the run stops them itself.

    The signal is blocked, which children inherit; one that comes meanwhile is raised afterwards.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it lifts the block when it is started inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cluster(count: int, gpu: bool) -> Any:
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    dask.config.set(
        {
            "distributed.worker.daemon": True,
            "distributed.admin.low-level-log-length": 0,
            # a registration holds the interpreter for minutes, in which no heartbeat is sent
            "distributed.scheduler.worker-ttl": None,
            "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        }
    )
    spec = {}
    for index in range(count):
        resources = {"GPU": 1} if gpu and index == 0 else {} if gpu else {"TRAIN": 1}
        options = {
            "nthreads": 1,
            "memory_limit": 0,
            "resources": resources,
            "host": "127.0.0.1",
            "silence_logs": 50,  # what fails is told by the task itself
            "dashboard": False,  # the scheduler's shows all workers
            "dashboard_address": "127.0.0.1:0",
        }
        spec[index] = {"cls": Nanny, "options": options}
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": "127.0.0.1",
            "port": 0,
            "dashboard": _can_draw(),
            "dashboard_address": f"127.0.0.1:{_free_port()}",
        },
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # another run took the port meanwhile: any other will do
        return SpecCluster(workers=spec, scheduler=scheduler, silence_logs=40)


def announce(client: Any) -> list[str]:
    """Say where Dask shows what its workers do, if it does."""
    if client.cluster is not None and not _can_draw():
        return []
    try:
        link = client.dashboard_link
    except (KeyError, ValueError):  # a scheduler without one, or a form of link that fits none
        return []
    return [f"what the workers do: {link}"] if link else []


@lru_cache(maxsize=1)
def _can_draw() -> bool:
    """Whether Dask's dashboard can be shown here: bokeh is there, and of a version that fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("distributed.dashboard.scheduler")
        except Exception:  # a broken installation of what is only looked at must not stop a run
            return False
    return True


def _free_port() -> int:
    """Return 8787 if it is free, else 0, which is any: several runs go side by side."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DASHBOARD_PORT))
        except OSError:
            return 0
    return DASHBOARD_PORT
