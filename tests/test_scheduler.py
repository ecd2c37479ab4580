"""Runs on a scheduler that somebody started: a worker is killed, connections are under TLS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from harmobench.cluster import connect, training_resource
from harmobench.cluster.sites import Local, Remote, Site, Tls
from harmobench.errors import SettingsError, StoppedError

DASK = [sys.executable, "-m", "distributed.cli.dask_{}"]
ASKED = ["--metrics", "auroc", "--segmenters", "none", "--measures", "none"]
COSTS = ("HB-T10", "costs")  # seconds and memory, which are never the same twice
SLOW = """
import os, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from harmobench.base import Method
from harmobench.interface import Needs, Reference

@dataclass
class Slow(Method):
    reference = Reference('Slow', 'Nobody', 2026)
    needs = Needs(folds=True, gpu=True)

    def fit(self, train, validation, context):
        pids = Path(os.environ["HARMOBENCH_TEST_PIDS"])
        (pids / str(os.getpid())).touch()
        while pids.with_name("hold").exists():
            time.sleep(0.05)
            context.progress(0, 1, "slowly")
        self.mean_ = np.mean([scan.voxels().mean() for scan in train.scans])
        return self

    def transform(self, scan):
        return scan.with_voxels(scan.voxels() + self.mean_ * scan.brain())
"""


def free_of_prints(command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a program beside the test."""
    null = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=null, stderr=null)


@contextmanager
def beside(program: str, *options: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Dask's scheduler or a worker beside the block; at its end it is gone with its own."""
    process = free_of_prints([*DASK[:-1], DASK[-1].format(program), *options], env)
    try:
        yield process
    finally:
        for each in family(process.pid):
            each.kill()
        process.wait(timeout=30)


def family(pid: int) -> list[psutil.Process]:
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def listening(process: psutil.Process) -> set[str]:
    """Addresses that a process listens on; none where it has ended."""
    try:
        found = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}


@contextmanager
def scheduler(folder: Path, *options: str) -> Iterator[str]:
    """Run a scheduler on a free port of this machine; gives its address."""
    told = folder / "scheduler.json"
    here = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    with beside("scheduler", *here, "--scheduler-file", str(told), *options):
        until(lambda: told.exists() and told.stat().st_size > 0)
        yield json.loads(told.read_text())["address"]


def until(there: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def harmobench(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harmobench.cli", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# --- a worker is killed ---------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """Write a method that says where it trains, as long as it is held; returns its environment."""
    info = tmp_path / "plugin" / "harmobench_slow-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harmobench-slow\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[harmobench.methods]\nslow = harmobench_slow:Slow\n")
    (info.parent / "harmobench_slow.py").write_text(SLOW)
    (tmp_path / "pids").mkdir()
    return {"PYTHONPATH": str(info.parent), "HARMOBENCH_TEST_PIDS": str(tmp_path / "pids")}


def at_work(run: Path, what: str) -> bool:
    markers = run / "running"
    return any(path.read_text().startswith(what) for path in markers.glob("[!.]*") if path.exists())


def test_a_worker_that_is_killed_in_training_changes_no_byte(
    cohort_csv: Path, tmp_path: Path, plugin: dict[str, str]
) -> None:
    asked = ["run", "--cohort", str(cohort_csv), "--methods", "raw,slow", *ASKED, "--device", "cpu"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = harmobench(*asked, "--out", str(whole), "--workers", "2", **plugin)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (tmp_path / "pids").iterdir():
        path.unlink()
    (tmp_path / "hold").touch()
    worker = ["--nthreads", "1", "--resources", "TRAIN=1", "--dashboard-address", "127.0.0.1:0"]
    with ExitStack() as stack:
        address = stack.enter_context(scheduler(tmp_path))
        for _ in range(2):
            stack.enter_context(beside("worker", address, *worker, **plugin))
        command = [sys.executable, "-m", "harmobench.cli", *asked]
        process = subprocess.Popen(
            [*command, "--out", str(cut), "--scheduler", address],
            env={**os.environ, **plugin},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stack.callback(process.kill)
        until(lambda: list((tmp_path / "pids").iterdir()) or process.poll() is not None)
        assert at_work(cut, "fit slow"), process.communicate()[0]
        victim = psutil.Process(int(next((tmp_path / "pids").iterdir()).name))
        nanny = victim.parent()
        assert nanny is not None
        assert "distributed.cli.dask_worker" in nanny.cmdline()
        nanny.kill()
        victim.kill()
        (tmp_path / "hold").unlink()
        text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    assert len(list((tmp_path / "pids").iterdir())) == 2  # the other worker trained too
    names = [p.relative_to(whole) for p in (*whole.glob("*.parquet"), *whole.glob("tables/*"))]
    assert len(names) > 10
    for name in names:
        if name.stem not in COSTS:
            assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


# --- who may listen, and to whom ------------------------------------------------------------------


def test_a_local_run_listens_on_this_machine_alone(tmp_path: Path) -> None:
    with connect(Local(2, 10**9), tmp_path, print) as client:
        assert training_resource(client) == {"TRAIN": 1}
        bound = {address for process in family(os.getpid()) for address in listening(process)}
        limits = {w["memory_limit"] for w in client.scheduler_info(-1)["workers"].values()}
    assert bound == {"127.0.0.1"}
    assert limits == {10**9}
    assert not list(tmp_path.iterdir())


def test_a_scheduler_without_workers_is_said(tmp_path: Path) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        raise KeyboardInterrupt

    with scheduler(tmp_path) as address:
        with pytest.raises(KeyboardInterrupt), connect(Remote(address), tmp_path, say):
            pass
        assert said == [f"waiting for a worker: the scheduler at {address} has none yet"]


# --- TLS ------------------------------------------------------------------------------------------


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """Make an authority of one's own, and a certificate that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path / "tls"
    folder.mkdir()
    ca, ca_key, cert, key = (str(folder / n) for n in ("ca.pem", "ca.key", "own.pem", "own.key"))
    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", ca_key, "-out", ca)
    openssl(*new, "-subj", "/CN=harmobench", "-keyout", key, "-out", f"{cert}.csr")
    signed = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-out", cert]
    openssl("x509", "-req", "-in", f"{cert}.csr", *signed)
    return Tls(Path(ca), Path(cert), Path(key))


def refused(site: Site, folder: Path) -> str:
    with pytest.raises(SettingsError) as error, connect(site, folder, print):
        pass
    return str(error.value)


def test_a_run_under_tls_needs_certificates_and_ends_right(
    cohort_csv: Path, tmp_path: Path, tls: Tls
) -> None:
    given = ["--tls-ca-file", str(tls.ca), "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
    config = tmp_path / "cluster.toml"
    worker = ["--nthreads", "1", "--resources", "TRAIN=1", "--dashboard-address", "127.0.0.1:0"]
    asked = ["run", "--cohort", str(cohort_csv), "--methods", "raw", *ASKED, "--quiet"]
    dask = "DASK_DISTRIBUTED__COMM__TLS__"
    named = {
        f"{dask}CA_FILE": str(tls.ca),
        f"{dask}CLIENT__CERT": str(tls.cert),
        f"{dask}CLIENT__KEY": str(tls.key),
    }
    with (
        scheduler(tmp_path, "--protocol", "tls", *given) as address,
        beside("worker", address, *given, *worker),
    ):
        assert address.startswith("tls://")
        config.write_text(
            f'kind = "scheduler"\naddress = "{address}"\n'
            '[tls]\nca = "tls/ca.pem"\ncert = "tls/own.pem"\nkey = "tls/own.key"\n'
        )
        first = harmobench(*asked, "--out", str(tmp_path / "a"), "--cluster", str(config))
        assert first.returncode == 0, first.stdout + first.stderr
        again = harmobench(*asked, "--out", str(tmp_path / "a"), "--scheduler", address, **named)
        assert again.returncode == 0, again.stdout + again.stderr
        text = refused(Remote(address), tmp_path)
    assert text.startswith(f"--scheduler: {address} needs certificates: name them under [tls]")


def test_a_worker_that_dies_while_it_starts_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def dies(*_: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("harmobench.cluster._cluster", dies)
    with (
        pytest.raises(StoppedError, match="one died at once, killed or for want of memory"),
        connect(Local(1), tmp_path, print),
    ):
        pass
