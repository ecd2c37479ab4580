"""Workers as jobs of a batch system, through dask-jobqueue: asks for them and looks after them."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harmobench.cluster.dask_config import same_interrupts
from harmobench.cluster.sites import Batch
from harmobench.errors import SettingsError

with same_interrupts():  # importing dask-jobqueue makes Ctrl-C end the process with status 0
    from dask_jobqueue.core import Job
    from dask_jobqueue.pbs import PBSCluster, PBSJob
    from dask_jobqueue.sge import SGECluster, SGEJob
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob

IDLE_LOOKS = 60  # of the scaling, once a second, in which a job without work is kept
LONG_SECONDS = 60  # work for each job that is worth to be asked for


class Submitted:
    """A job whose script lies beside its logs, and that keeps why the queue refused it."""

    refused = ""

    @contextlib.contextmanager
    def job_file(self) -> Iterator[str]:
        """Write the script where the run has its logs, for as long as it is submitted."""
        path = Path(self.log_directory) / f"{self.name}.sh"  # type: ignore[attr-defined]
        path.write_text(self.job_script(), encoding="utf-8")  # type: ignore[attr-defined]
        try:
            yield str(path)
        finally:
            path.unlink()

    async def start(self) -> None:
        """Submit; a refusal is kept, for the cluster has nobody to tell."""
        try:
            await super().start()  # type: ignore[misc]
        except (RuntimeError, ValueError, OSError) as error:
            self.refused = _said(str(error))
            await super(Job, self).start()  # type: ignore[misc]


class SlurmJob(Submitted, SLURMJob):
    """A job of SLURM."""


class SgeJob(Submitted, SGEJob):
    """A job of SGE."""


class PbsJob(Submitted, PBSJob):
    """A job of PBS."""


class Kind(NamedTuple):
    """A batch system: its classes, commands, and where a line of its queue has the state."""

    cluster: Any
    job: Any
    submit: str
    queue: tuple[str, ...]
    state: slice


KINDS: Mapping[str, Kind] = {
    "slurm": Kind(
        SLURMCluster, SlurmJob, "sbatch",
        ("squeue", "--me", "--noheader", "--format=%i %T %r"), slice(1, None),
    ),
    "sge": Kind(SGECluster, SgeJob, "qsub", ("qstat",), slice(4, 5)),
    "pbs": Kind(PBSCluster, PbsJob, "qsub", ("qstat",), slice(4, 5)),
}  # fmt: skip


def _said(text: str) -> str:
    """Cut out what the command that submits wrote to its stderr."""
    _, found, stderr = text.partition("\nstderr:\n")
    return " ".join((stderr if found else text).split())


def refuse_absent(batch: Batch) -> None:
    """Refuse a batch system whose commands are not on this machine.

    Raises
    ------
    SettingsError
        The command that submits jobs is not on PATH.
    """
    command = KINDS[batch.kind].submit
    if shutil.which(command) is None:
        raise SettingsError(
            f"expected {batch.kind.upper()}'s command {command} on PATH, found none: give the "
            "command on a machine from which jobs are submitted, a login node say"
        )


def job_options(batch: Batch, logs: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Say what a job is, in dask-jobqueue's words.

    Parameters
    ----------
    logs
        Folder for what jobs print, on the shared file system.
    environment
        Variables that are set before a worker starts.

    Raises
    ------
    SettingsError
        A path has a space, which batch systems cannot be given.
    """
    python = batch.python or sys.executable
    certificates = vars(batch.tls).values() if batch.tls is not None else ()
    for path in map(str, (logs, python, *certificates)):
        if re.search(r"\s", path):
            raise SettingsError(
                f"expected paths without spaces for jobs of {batch.kind.upper()}, found {path}: "
                "choose another place"
            )
    life = batch.walltime - batch.margin
    return {
        "job_name": "harmobench",
        "queue": batch.queue,
        "walltime": clock(batch.walltime),
        "cores": batch.workers,
        "processes": batch.workers,
        "memory": f"{batch.memory}B",
        "python": python,
        "interface": batch.interface,
        "log_directory": str(logs),
        "job_script_prologue": [
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            *batch.prologue,
        ],
        "worker_extra_args": [
            *("--resources", f"{batch.resource}=1"),
            *("--lifetime", f"{life:.0f}s", "--lifetime-stagger", f"{batch.margin / 2:.0f}s"),
            "--no-dashboard",
        ],
        **_asked(batch),
    }


def _asked(batch: Batch) -> dict[str, Any]:
    """Say what each batch system has its own words for: cores, memory, GPUs, who pays."""
    more = list(batch.directives)
    if batch.kind == "slurm":
        gpus = [f"--gres=gpu:{batch.gpus}"] if batch.gpus else []
        return {
            "account": batch.account,
            "job_cpu": batch.cores,
            "job_mem": f"{batch.memory // 2**20}M",
            "job_extra_directives": gpus + more,
        }
    if batch.kind == "pbs":
        gpus = [f"ngpus={batch.gpus}"] if batch.gpus else []
        chunk = ["select=1", f"ncpus={batch.cores}", f"mem={batch.memory // 2**20}mb", *gpus]
        return {
            "account": batch.account,
            "resource_spec": ":".join(chunk),
            "job_extra_directives": more,
        }
    gpus = [f"-l gpu={batch.gpus}"] if batch.gpus else []
    return {"project": batch.account, "job_extra_directives": gpus + more}


def clock(seconds: int) -> str:
    """Write a walltime as every batch system reads it.

    >>> clock(93784)
    '26:03:04'
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def start_cluster(
    batch: Batch, logs: Path, environment: Mapping[str, str], scheduler: Mapping[str, Any],
    security: Any,
) -> Any:  # fmt: skip
    """Start a scheduler here, which asks the batch system for jobs as there is work.

    Jobs that were lost are asked for again, also where their number is fixed.

    Parameters
    ----------
    scheduler
        Options of Dask's scheduler.
    security
        A `distributed.Security`, or None.
    """
    kind = KINDS[batch.kind]
    address = {"host": batch.host} if batch.host else {}
    cluster = kind.cluster(
        job_cls=kind.job,
        security=security,
        scheduler_options={**scheduler, "port": batch.port, **address},
        silence_logs=50,
        **job_options(batch, logs, environment),
    )
    cluster.declared = {batch.resource: 1}
    low, high = batch.jobs
    cluster.adapt(
        minimum_jobs=low,
        maximum_jobs=high,
        interval="1s",
        wait_count=IDLE_LOOKS,
        target_duration=LONG_SECONDS,
        worker_key=_job_of if batch.workers > 1 else None,
    )
    return cluster


def _job_of(worker: Any) -> str:
    """Name of a worker's job, where it has several: they are let go together."""
    return str(worker.name).rpartition("-")[0]
