"""A run on a real SLURM, one of whose jobs is cancelled at work, equals a local run: see for it.

Starts a SLURM of one node on this machine, in a temporary folder and on free ports, and stops it
again. It needs root and Debian's programs: apt-get install slurm-wlm munge.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
HARMOBENCH = [sys.executable, "-m", "harmobench.cli"]
SMALL = ["--methods", "raw,whitestripe,ravel", "--metrics", "ssim"]
SAME = ("scores.parquet", "aggregates.parquet", "comparisons.parquet", "tables/*")
COSTS = "HB-T10"  # seconds and memory, which are never the same twice
CONF = """\
ClusterName=harmobench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctl}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=2,batch_sched_delay=0
ReturnToService=2
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@contextlib.contextmanager
def slurm(folder: Path, cpus: int) -> Iterator[dict[str, str]]:
    """Start a SLURM whose files are in a folder; gives the environment of its commands."""
    import psutil

    folder.chmod(0o755)  # munged wants its socket to be reachable
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    memory = psutil.virtual_memory().total // 2**20
    ctl, node = free_ports(2)
    config = CONF.format(host=host, ctl=ctl, node=node, folder=folder, cpus=cpus, memory=memory)
    (folder / "slurm.conf").write_text(config)
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    munged = [
        "munged", "--foreground", "--force", f"--socket={folder}/munge.socket",
        f"--key-file={folder}/munge.key", f"--pid-file={folder}/munged.pid",
        f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.enter_context(daemon(munged, folder, env))
        wait("munged", (folder / "munge.socket").exists)
        stack.enter_context(daemon(["slurmctld", "-D"], folder, env))
        stack.enter_context(daemon(["slurmd", "-D", "-N", host], folder, env))
        wait("the node", lambda: told(["sinfo", "-h", "-o", "%t"], env).strip() == "idle")
        stack.callback(cancel_all, env)
        yield env


@contextlib.contextmanager
def daemon(command: list[str], folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Run a program beside the block, and stop it with all that it started."""
    with (folder / f"{command[0]}.out").open("w") as out:
        process = subprocess.Popen(
            command, env=dict(env), stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def cancel_all(env: Mapping[str, str]) -> None:
    """Cancel every job, and wait until none is left."""
    subprocess.run(["scancel", "--me", "--full"], env=dict(env), check=False)
    with contextlib.suppress(SystemExit):
        wait("the last job's end", lambda: not told(["squeue", "-h"], env).strip())


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def told(command: list[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    return done.stdout


def wait(what: str, there, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.1)


def run_and_cancel(command: list[str], run: Path, env: Mapping[str, str], share: float) -> None:
    """Run a command; once a share of its tasks is done, cancel a job that is at work."""
    start = time.monotonic()
    process = subprocess.Popen([*HARMOBENCH, *command], env=dict(env))
    cancelled = ""
    try:
        while process.poll() is None:
            done = len(list((run / "store").glob("??/*")))
            at_work = at_work_in(run)
            jobs = told(["squeue", "-h", "-t", "RUNNING", "-o", "%i"], env).split()
            if not cancelled and done >= share and jobs and len(at_work) >= len(jobs):
                cancelled = jobs[-1]
                subprocess.run(["scancel", cancelled], env=dict(env), check=True)
                print(
                    f"cancelled job {cancelled} of {len(jobs)} running after {done} tasks; at "
                    f"work were: {', '.join(at_work)}",
                    flush=True,
                )
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    if not cancelled:
        sys.exit("the run ended before a job could be cancelled")
    if process.returncode:
        sys.exit(f"the run under SLURM ended with status {process.returncode}")
    left = told(["squeue", "-h"], env).strip()
    print(
        f"under SLURM: status 0 after {time.monotonic() - start:.0f} s, jobs left: {left or 'none'}"
    )


def at_work_in(run: Path) -> list[str]:
    """Name the tasks that are at work, as their marker files say."""
    found = []
    with contextlib.suppress(OSError):
        for path in (run / "running").glob("[!.]*"):
            with contextlib.suppress(OSError, IndexError):
                found.append(path.read_text().splitlines()[0])
    return found


def differing(run: Path, other: Path) -> list[str]:
    """Name the files of results that are not the same bytes in both runs."""
    names = {
        str(path.relative_to(folder))
        for folder in (run, other)
        for pattern in SAME
        for path in folder.glob(pattern)
        if path.is_file() and path.stem != COSTS
    }
    if not names:
        sys.exit(f"no results to compare in {run}")
    print(f"comparing {len(names)} files")
    return sorted(name for name in names if content(run / name) != content(other / name))


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny cohort, three methods")
    parser.add_argument("--jobs", default="2", help="a number, or fewest:most")
    parser.add_argument("--memory", default="3GB", help="of a job")
    parser.add_argument("--cpus", type=int, default=2, help="of the node")
    parser.add_argument("--reference", type=Path, help="the run folder of a local run that is done")
    parser.add_argument("--out", type=Path, help="where runs go; else a folder that is removed")
    asked = parser.parse_args()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} not found: apt-get install slurm-wlm munge")
    if os.geteuid():
        sys.exit("slurmd needs root")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no end leaves daemons behind
    with tempfile.TemporaryDirectory(prefix="harmobench-slurm-") as scratch:
        out = (asked.out or Path(scratch) / "out").absolute()
        out.mkdir(parents=True, exist_ok=True)
        cluster = Path(scratch) / "slurm"
        cluster.mkdir()
        with slurm(cluster, asked.cpus) as env:
            compare(asked, out, env)


def compare(asked: argparse.Namespace, out: Path, env: Mapping[str, str]) -> None:
    jobs = f"jobs={asked.jobs},memory={asked.memory},cores=1,walltime=02:00:00"
    if asked.small:
        cohort = out / "cohort"
        if not cohort.exists():
            size = ["--subjects", "4", "--scanners", "2", "--resolution", "4"]
            subprocess.run([*HARMOBENCH, "simulate", str(cohort), *size, "--quiet"], check=True)
        command = ["run", "--cohort", str(cohort / "matched.csv"), *SMALL, "--out"]
        run, other = out / "slurm", out / "local"
        under, local = [*command, str(run)], [*command, str(other)]
    else:
        run, other = out / "slurm" / "run", out / "local" / "run"
        under, local = ["demo", "--out", str(run.parent)], ["demo", "--out", str(other.parent)]
    run_and_cancel([*under, "--slurm", jobs], run, env, 5 if asked.small else 200)
    if asked.reference is None:
        start = time.monotonic()
        subprocess.run([*HARMOBENCH, *local, "--workers", str(asked.cpus)], check=True)
        print(f"the same command here: {time.monotonic() - start:.0f} s")
    different = differing(run, asked.reference or other)
    if different:
        sys.exit(f"not the same bytes: {', '.join(different)}")
    print("the same bytes as a local run's")


if __name__ == "__main__":
    main()
