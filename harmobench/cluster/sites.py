"""Where tasks can be done, as plain data: this machine, a running scheduler, a batch system."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

MARGIN_SECONDS = 300.0  # before its walltime a job's workers end by themselves, at most
MARGIN_SHARE = 0.1  # of a walltime, where that is less


@dataclass(frozen=True)
class Tls:
    """Certificates: each side shows `cert`, and trusts what `ca` signed."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True)
class Local:
    """Processes on this machine, one thread each.

    Attributes
    ----------
    workers
        How many; None for as many as cores.
    memory
        Bytes that each may use; None for all that this machine has.
    """

    workers: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Remote:
    """A Dask scheduler that somebody started, with workers of its own."""

    address: str
    tls: Tls | None = None


@dataclass(frozen=True)
class Batch:
    """Jobs of a batch system, and a scheduler here that they report to.

    Attributes
    ----------
    kind
        "slurm", "sge" or "pbs".
    queue, account
        Partition or queue, and who pays; None for the batch system's own defaults.
    walltime
        Seconds that a job may take.
    memory
        Bytes of a job, shared equally by its workers.
    cores
        Cores of a job: as many workers, but one alone where the job has a GPU.
    gpus
        0 or 1.
    jobs
        Fewest and most jobs at a time.
    directives
        More lines of the job script's head, without their `#SBATCH`, `#$` or `#PBS`.
    prologue
        Shell lines before the worker starts, such as `module load`.
    python
        Executable that has harmobench on the nodes; None for the one that runs now.
    interface, host, port
        Network interface that nodes reach, address and port of the scheduler here.
    """

    kind: str
    queue: str | None = None
    account: str | None = None
    walltime: int = 12 * 3600
    memory: int = 8 * 10**9
    cores: int = 1
    gpus: int = 0
    jobs: tuple[int, int] = (1, 10)
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    interface: str | None = None
    host: str | None = None
    port: int = 0
    tls: Tls | None = None

    @property
    def workers(self) -> int:
        """Worker processes of a job."""
        return 1 if self.gpus else self.cores

    @property
    def resource(self) -> str:
        """What a worker declares, and a training holds."""
        return "GPU" if self.gpus else "TRAIN"

    @property
    def margin(self) -> float:
        """Seconds before the walltime at which a worker ends by itself."""
        return min(MARGIN_SECONDS, MARGIN_SHARE * self.walltime)


Site = Local | Remote | Batch


def at_most(site: Site, tasks: int) -> Site:
    """Start no more processes here than there are tasks, unless a number was asked for."""
    if isinstance(site, Local) and site.workers is None:
        return replace(site, workers=max(1, min(os.cpu_count() or 1, tasks)))
    return site


def has_gpu(site: Site) -> bool:
    """Whether networks can train on a GPU there: as jobs say, else as this machine has one."""
    import torch

    return bool(site.gpus) if isinstance(site, Batch) else torch.cuda.is_available()
