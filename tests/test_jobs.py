"""Jobs of batch systems: what their scripts say, and what is told when the queue refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harmobench.cluster import care, connect, training_resource
from harmobench.cluster.care import Care
from harmobench.cluster.dask_config import WORKER_ENVIRONMENT, job_environment
from harmobench.cluster.jobs import KINDS, job_options
from harmobench.cluster.sites import Batch, Tls
from harmobench.errors import SettingsError

COMMAND = [sys.executable, "-m", "harmobench.cli"]
FULL = Batch(
    "slurm",
    queue="short",
    account="lab",
    walltime=3600,
    memory=16 * 10**9,
    cores=4,
    directives=("-x bad",),
    prologue=("module load python",),
)


def script(batch: Batch, logs: Path) -> str:
    """Return what would be submitted; no batch system is needed for it."""
    job = KINDS[batch.kind].job("tcp://10.0.0.1:8786", name="w", **job_options(
        batch, logs, job_environment()
    ))  # fmt: skip
    text = job.job_script()
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("batch", "lines"),
    [
        (
            FULL,
            [
                "#SBATCH -J harmobench", "#SBATCH -p short", "#SBATCH -A lab", "#SBATCH -n 1",
                "#SBATCH --cpus-per-task=4", "#SBATCH --mem=15258M", "#SBATCH -t 01:00:00",
                "#SBATCH -x bad",
            ],
        ),
        (replace(FULL, gpus=1), ["#SBATCH --gres=gpu:1", "#SBATCH --cpus-per-task=4"]),
        (
            replace(FULL, kind="pbs"),
            [
                "#PBS -N harmobench", "#PBS -q short", "#PBS -A lab", "#PBS -x bad",
                "#PBS -l select=1:ncpus=4:mem=15258mb", "#PBS -l walltime=01:00:00",
            ],
        ),
        (replace(FULL, kind="pbs", gpus=1), ["#PBS -l select=1:ncpus=4:mem=15258mb:ngpus=1"]),
        (
            replace(FULL, kind="sge", directives=("-pe smp 4",)),
            [
                "#$ -N harmobench", "#$ -q short", "#$ -P lab", "#$ -l h_rt=01:00:00",
                "#$ -pe smp 4",
            ],
        ),
        (replace(FULL, kind="sge", gpus=1), ["#$ -l gpu=1"]),
    ],
)  # fmt: skip
def test_the_script_asks_for_what_was_asked(batch: Batch, lines: list[str], tmp_path: Path) -> None:
    written = script(batch, tmp_path / "jobs").splitlines()
    for line in lines:
        assert line in written
    logs = [line for line in written if str(tmp_path / "jobs") in line]
    assert [line.split()[1] for line in logs] == ["-e", "-o"]
    assert (tmp_path / "jobs").is_dir()  # a batch system does not make it


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_worker_has_one_thread_and_trains_once_at_a_time(
    kind: str, gpus: int, tmp_path: Path
) -> None:
    written = script(replace(FULL, kind=kind, gpus=gpus), tmp_path).splitlines()
    for name, value in WORKER_ENVIRONMENT.items():
        assert f"export {name}={value}" in written
    (worker,) = [line for line in written if "dask_worker" in line]
    assert written.index("module load python") < written.index(worker)
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://10.0.0.1:8786")
    assert "--nthreads 1 " in worker
    assert "--nanny" in worker
    assert f"--resources {'GPU' if gpus else 'TRAIN'}=1" in worker
    assert "--lifetime 3300s --lifetime-stagger 150s" in worker
    # a job with a GPU has one worker and all memory; else each core has one, and they share
    assert ("--nworkers 4" in worker) == (not gpus)
    assert f"--memory-limit {'14.90' if gpus else '3.73'}GiB" in worker


def test_what_dask_is_told_reaches_the_job(tmp_path: Path) -> None:
    """The shell reads the script's exports; Dask reads them as it was told here."""
    exports = [line for line in script(FULL, tmp_path).splitlines() if line.startswith("export ")]
    ask = (
        "import dask.config as c, distributed;"
        "print(c.get('distributed.nanny.pre-spawn-environ')['MALLOC_TRIM_THRESHOLD_'],"
        "c.get('distributed.worker.memory.pause'), c.get('distributed.worker.memory.spill'),"
        "c.get('distributed.worker.memory.terminate'))"
    )
    shell = "\n".join([*exports, f'"{sys.executable}" -c "{ask}"'])
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1000000000", "False", "False", "0.95"]


def test_certificates_are_given_to_the_worker(tmp_path: Path) -> None:
    from harmobench.cluster.dask_config import security_of

    tls = Tls(tmp_path / "ca.pem", tmp_path / "own.pem", tmp_path / "own.key")
    batch = replace(FULL, tls=tls)
    job = KINDS["slurm"].job(
        "tls://a:1",
        name="w",
        security=security_of(tls),
        protocol="tls://",
        **job_options(batch, tmp_path, {}),
    )
    written = job.job_script()
    for option, path in (("ca-file", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        assert f"--tls-{option} {path}" in written


@pytest.mark.parametrize(
    "change", [{"python": "/my env/python"}, {"tls": Tls(Path("/a b"), Path("/c"), Path("/d"))}]
)
def test_paths_that_a_batch_system_cannot_be_given_are_refused(
    change: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="expected paths without spaces for jobs of SLURM"):
        job_options(replace(FULL, **change), tmp_path, {})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"found .*my run"):
        job_options(FULL, tmp_path / "my run", {})


def test_interrupts_stay_what_they_were() -> None:
    ask = (
        "import signal; before = signal.getsignal(signal.SIGINT); import harmobench.cluster.jobs; "
        "print(signal.getsignal(signal.SIGINT) == before)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


# --- a queue that is not a queue ------------------------------------------------------------------


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, **bodies: str) -> None:
    """Put programs of these names and shell bodies on PATH, and no others of a batch system."""
    folder.mkdir()
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    for name in ("sh", "bash", "env", "cat", "sleep", "kill"):
        (folder / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else "/bin/true")
    monkeypatch.setenv("PATH", str(folder))


def refused(site: Batch, out: Path, said: list[str]) -> str:
    with pytest.raises(SettingsError) as error, connect(site, out, said.append):
        pass
    return str(error.value)


def test_no_batch_system_here_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", monkeypatch)
    for kind, command in (("slurm", "sbatch"), ("sge", "qsub"), ("pbs", "qsub")):
        text = refused(Batch(kind), tmp_path / "out", [])
        assert text.startswith(f"expected {kind.upper()}'s command {command} on PATH, found none")
    assert not (tmp_path / "out").exists()


def test_a_job_that_the_queue_refuses_ends_the_run_before_it_began(
    cohort_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "sbatch: error: invalid partition specified: nope"
    fake(tmp_path / "bin", monkeypatch, sbatch=f"echo '{said}' >&2; exit 1", squeue="exit 0")
    done = subprocess.run(
        [
            *COMMAND, "run", "--cohort", str(cohort_csv), "--out", str(tmp_path / "a" / "out"),
            "--methods", "raw", "--slurm", "queue=nope",
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == f"harmobench: sbatch refused the first job: {said}\n"
    assert not (tmp_path / "a").exists()


def test_jobs_that_end_at_once_are_given_up_with_their_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted well, they end before any worker reports: python is not on the nodes, say."""
    logs = tmp_path / "out" / "logs" / "jobs"
    submit = f"echo 'python: not found' > {logs}/harmobench-7.err; echo Submitted batch job $$"
    fake(tmp_path / "bin", monkeypatch, sbatch=submit, squeue="exit 0", scancel="exit 0")
    monkeypatch.setattr(care, "LOOK_SECONDS", 0.1)
    (tmp_path / "out").mkdir()
    text = refused(Batch("slurm", jobs=(1, 2)), tmp_path / "out", [])
    assert "3 jobs ended before their worker could report" in text
    assert "the last one's log: python: not found" in text
    assert list((tmp_path / "out").iterdir()) == []  # what was there stays, without the logs


def test_waiting_in_the_queue_is_told_and_jobs_are_cancelled_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(
        tmp_path / "bin", monkeypatch,
        sbatch="echo Submitted batch job 41",
        squeue="echo 41 PENDING Priority; echo 9 RUNNING None",
        scancel=f"echo $* >> {tmp_path}/cancelled",
    )  # fmt: skip
    monkeypatch.setattr(care, "LOOK_SECONDS", 0.1)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("waiting"):
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        connect(Batch("slurm", jobs=(1, 1)), tmp_path / "out", say),
    ):
        pass
    assert said == ["waiting for the first job: 1 PENDING Priority"]
    assert (tmp_path / "cancelled").read_text() == "41\n"
    assert not (tmp_path / "out").exists()


QUEUE = """for pid in $(cat {folder}/pids); do
kill -0 "$pid" 2>/dev/null && echo "$pid RUNNING None"; done; exit 0"""


def test_a_lost_job_is_asked_for_again_and_training_knows_its_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue of processes: jobs are shells here; one that is killed comes back by itself."""
    submit = (
        f'cp "$1" {tmp_path}/job.$$.sh; setsid sh {tmp_path}/job.$$.sh >/dev/null 2>&1 </dev/null &'
        f"\necho $! >> {tmp_path}/pids; echo Submitted batch job $!"
    )
    (tmp_path / "bin").mkdir()
    for name, body in {
        "sbatch": submit,
        "squeue": QUEUE.format(folder=tmp_path),
        "scancel": 'kill -9 -- "-$1"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(care, "LOOK_SECONDS", 0.3)
    site = Batch("slurm", memory=10**9, jobs=(1, 1))
    with connect(site, tmp_path / "out", lambda text: None) as client:
        assert training_resource(client) == {"TRAIN": 1}
        first = int((tmp_path / "pids").read_text())
        assert client.submit(os.getpgid, 0).result(timeout=60) == first
        os.killpg(first, 9)
        other = client.submit(os.getpgid, 0, pure=False).result(timeout=120)
        assert other == int((tmp_path / "pids").read_text().split()[-1])
        assert other != first
        assert not list((tmp_path / "out" / "logs" / "jobs").glob("*.sh"))
        last = other
    until(lambda: not alive(last))


def test_training_knows_its_resource_before_any_job_runs() -> None:
    for declared, expected in (({"GPU": 1}, {"GPU": 1}), ({"TRAIN": 1}, {"TRAIN": 1}), ({}, None)):
        client = SimpleNamespace(
            scheduler_info=lambda n_workers: {"workers": {}},
            cluster=SimpleNamespace(declared=declared),
        )
        assert training_resource(client) == expected


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_queues_of_every_batch_system_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {
        "slurm": "41 PENDING Priority\n42 RUNNING None\n",
        "sge": (
            "job-ID  prior   name       user         state submit/start at     queue\n"
            "-----------------------------------------------------------------------\n"
            "     41 0.55500 harmobench user         qw    11/26/2026 03:57:29 all.q\n"
            "     42 0.55500 harmobench user         r     11/26/2026 03:57:29 all.q\n"
        ),
        "pbs": (
            "Job id            Name             User              Time Use S Queue\n"
            "----------------  ---------------- ----------------  -------- - -----\n"
            "41.head           harmobench       user              0        Q workq\n"
            "42.head           harmobench       user              00:00:01 R workq\n"
        ),
    }
    for kind, text in shown.items():
        (tmp_path / kind).write_text(text)
    fake(
        tmp_path / "bin", monkeypatch,
        squeue=f"cat {tmp_path}/slurm", qstat=f"cat {tmp_path}/$KIND",
    )  # fmt: skip
    states = {"slurm": ("PENDING Priority", "RUNNING"), "sge": ("qw", "r"), "pbs": ("Q", "R")}
    for kind, (waiting, running) in states.items():
        monkeypatch.setenv("KIND", kind)
        cluster = SimpleNamespace(
            workers={n: SimpleNamespace(job_id=n, refused="") for n in ("41", "42")},
            scheduler_info={"workers": {}},
        )
        looking = Care(cluster, Batch(kind), tmp_path, print)
        assert looking.look() == f"1 {waiting}, 1 {running}"
        assert not looking.ended
