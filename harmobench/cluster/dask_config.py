"""What Dask is told, here and in jobs: one thread, certificates, no heartbeat that must come."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from harmobench.cluster.sites import Tls

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
# Of Dask, for scheduler and workers alike.
CONFIG: Mapping[str, Any] = {
    "distributed.worker.daemon": True,
    "distributed.admin.low-level-log-length": 0,
    # a registration holds the interpreter for minutes, in which no heartbeat is sent
    "distributed.scheduler.worker-ttl": None,
    # a task says itself when it was tried too often; Dask counts also those that were only queued
    "distributed.scheduler.allowed-failures": 100,
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    # a worker that waits for memory to come free may wait for ever: tasks hand on keys alone
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


def job_environment() -> dict[str, str]:
    """Variables of a job: what is CONFIG here is set by them there."""
    given = {f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": value
             for name, value in CONFIG.items()}  # fmt: skip
    spelled = {name: json.dumps(value) if isinstance(value, dict) else str(value)
               for name, value in given.items()}  # fmt: skip
    return {**WORKER_ENVIRONMENT, **spelled}


def security_of(tls: Tls | None) -> Any:
    """Certificates for all roles; without any, what Dask's own configuration names."""
    from distributed.security import Security

    if tls is None:
        return None
    own = {
        f"tls_{role}_{part}": str(getattr(tls, part))
        for role in ("client", "scheduler", "worker")
        for part in ("cert", "key")
    }
    return Security(tls_ca_file=str(tls.ca), require_encryption=True, **own)


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
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


@contextlib.contextmanager
def same_interrupts() -> Iterator[None]:
    """Let Ctrl-C do after the block what it did before."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
