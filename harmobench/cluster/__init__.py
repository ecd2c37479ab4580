"""Starts workers or finds them: on this machine, under a running scheduler, in a batch system."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from harmobench.cluster.dask_config import CONFIG, deaf_to_interrupts, security_of
from harmobench.cluster.sites import Batch, Local, Remote, Site
from harmobench.errors import SettingsError, StoppedError

DASHBOARD_PORT = 8787
CONNECT_SECONDS = 10.0
WAITING_SECONDS = 1.0
JOB_LOGS = "logs/jobs"  # in a run folder
Say = Callable[[str], None]


@contextlib.contextmanager
def connect(site: Site, folder: Path, say: Say, gpu: bool = False) -> Iterator[Any]:
    """Client of workers that are there when the block begins; those started here end with it.

    Parameters
    ----------
    site
        Where tasks are done.
    folder
        The run folder; jobs of a batch system write their logs into it.
    say
        Shows one line, where workers have to be waited for.
    gpu
        Whether this machine has one to use: exactly one of its workers then holds it.

    Raises
    ------
    SettingsError
        No such scheduler, or the batch system refuses jobs.
    StoppedError
        A process here died before it was ready.
    """
    if isinstance(site, Local):
        opened = _local(site, gpu)
    elif isinstance(site, Remote):
        opened = _remote(site, say)
    else:
        from harmobench.cluster.batch import open_batch

        opened = open_batch(site, folder.absolute() / JOB_LOGS, _dashboard(), say)
    with opened as client:
        yield client


def refuse_site(site: Site) -> None:
    """Refuse at once where tasks can never be done, before a cohort is read.

    Raises
    ------
    SettingsError
        No scheduler answers, or this machine has no command that submits jobs.
    """
    if isinstance(site, Remote):
        with _client_of(site):
            return
    if isinstance(site, Batch):
        from harmobench.cluster.jobs import refuse_absent

        refuse_absent(site)


@contextlib.contextmanager
def _local(site: Local, gpu: bool) -> Iterator[Any]:
    from distributed import Client

    try:
        with deaf_to_interrupts():
            cluster = _cluster(site, gpu)
    except RuntimeError as error:  # a worker died before it was ready
        raise StoppedError(
            "the processes that do the tasks could not be started: one died at once, killed or for "
            "want of memory; give the same command again, with fewer --workers perhaps"
        ) from error
    with cluster, Client(cluster) as client:
        yield client


def _client_of(site: Remote) -> Any:
    """Connect; whatever answers there instead of a scheduler, or is silent, is refused in time."""
    from distributed import Client

    def dial() -> Any:
        return Client(site.address, timeout=f"{CONNECT_SECONDS}s", security=security_of(site.tls))

    dialled = _in_time(dial, 2 * CONNECT_SECONDS)
    if not isinstance(dialled, BaseException):
        return dialled
    if isinstance(dialled, TypeError | RuntimeError) and site.address.startswith("tls"):
        raise SettingsError(  # Dask says so of TLS without certificates
            f"--scheduler: {site.address} needs certificates: name them under [tls] of a file for "
            "--cluster, or in Dask's configuration (distributed.comm.tls)"
        ) from dialled
    raise SettingsError(
        f"--scheduler: expected a running Dask scheduler at {site.address}, could not connect "
        f"({type(dialled).__name__}): was it started, and is this its address?"
    ) from dialled


def _in_time(do: Callable[[], Any], seconds: float) -> Any:
    """Return what a call gives or raises; a TimeoutError where it does not come back."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(do())
        except Exception as error:  # libraries of transports raise many kinds
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else TimeoutError(f"no answer within {seconds:g} s")


@contextlib.contextmanager
def _remote(site: Remote, say: Say) -> Iterator[Any]:
    with _client_of(site) as client:
        told = False
        while not client.scheduler_info(n_workers=1)["workers"]:
            if not told:
                say(f"waiting for a worker: the scheduler at {site.address} has none yet")
            told = True
            time.sleep(WAITING_SECONDS)
        count = len(client.scheduler_info(n_workers=-1)["workers"])
        say(f"{count} worker{'' if count == 1 else 's'} at {site.address}")
        yield client


def training_resource(client: Any) -> dict[str, float] | None:
    """Name what a task that trains holds, so that two never share cores or a GPU.

    Jobs of a batch system declare it beforehand: at times there is no worker that could be asked.
    None where workers were started by hand without resources.
    """
    workers = list(client.scheduler_info(n_workers=-1)["workers"].values())
    crowded = max((worker["nthreads"] for worker in workers), default=1)
    if crowded > 1:
        raise SettingsError(
            f"--scheduler: expected workers of one thread, found one of {crowded}: start them with "
            "`dask worker --nthreads 1`, as many as there are cores"
        )
    declared = [worker.get("resources", {}) for worker in workers]
    declared.append(getattr(client.cluster, "declared", {}))
    for name in ("GPU", "TRAIN"):
        if any(resources.get(name, 0) >= 1 for resources in declared):
            return {name: 1}
    return None


def _cluster(site: Local, gpu: bool) -> Any:
    import dask
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    dask.config.set(CONFIG)
    spec = {}
    for index in range(site.workers or os.cpu_count() or 1):
        resources = {"GPU": 1} if gpu and index == 0 else {} if gpu else {"TRAIN": 1}
        options = {
            "nthreads": 1,
            "memory_limit": site.memory or MEMORY_LIMIT,
            "resources": resources,
            "host": "127.0.0.1",
            "silence_logs": 50,  # what fails is told by the task itself
            "dashboard": False,  # the scheduler's shows all workers
            "dashboard_address": "127.0.0.1:0",
        }
        spec[index] = {"cls": Nanny, "options": options}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, **_dashboard()},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # another run took the port meanwhile: any other will do
        return SpecCluster(workers=spec, scheduler=scheduler, silence_logs=40)


def _dashboard() -> dict[str, Any]:
    """Options of a scheduler: whoever sees its pages could stop it, so only this machine can."""
    return {"dashboard": _can_draw(), "dashboard_address": f"127.0.0.1:{_free_port()}"}


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
