"""Where tasks are done: what can be asked for, and what is refused with what was expected."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench.cli import main
from harmobench.cluster.jobs import clock
from harmobench.cluster.sites import Batch, Local, Remote, Tls, at_most
from harmobench.cluster.where import Where, read_where
from harmobench.errors import SettingsError

FULL = """
kind = "pbs"
queue = "long"
project = "p123"
walltime = "1-02:03:04"
memory = "16 GB"
cores = 4
gpus = 1
jobs = [2, 40]
directives = ["-j oe", "-l place=pack"]
prologue = ["module load python", "source env/bin/activate"]
python = "/opt/py/bin/python"
interface = "ib0"
host = "10.0.0.1"
port = 8786
[tls]
ca = "ca.pem"
cert = "certs/own.pem"
key = "certs/own.key"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "certs").mkdir(exist_ok=True)
    for name in ("ca.pem", "certs/own.pem", "certs/own.key"):
        (folder / name).touch()
    path = folder / "cluster.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_asked_for_is_this_machine() -> None:
    assert read_where(Where()) == Local()
    assert read_where(Where(workers=3, memory="4GB")) == Local(3, 4 * 10**9)
    assert read_where(Where(memory="2 GiB")) == Local(None, 2 * 2**30)
    assert read_where(Where(scheduler="tls://a:1")) == Remote("tls://a:1")


def test_no_more_processes_than_tasks_unless_asked_for() -> None:
    assert at_most(Local(), 1) == Local(1)
    assert at_most(Local(), 0) == Local(1)
    assert at_most(Local(7), 1) == Local(7)
    assert at_most(Batch("slurm"), 1) == Batch("slurm")


def test_slurm_in_one_option() -> None:
    text = "queue=short, account=a1,gpus=1,walltime=01:00:00,cores=2,memory=16GB,jobs=1:50"
    assert read_where(Where(slurm=text)) == Batch(
        "slurm", "short", "a1", 3600, 16 * 10**9, 2, 1, (1, 50)
    )
    assert read_where(Where(slurm="jobs=20")) == Batch("slurm", jobs=(20, 20))
    assert read_where(Where(slurm="")) == Batch("slurm")


def test_a_file_says_all(tmp_path: Path) -> None:
    assert read_where(Where(cluster=write(tmp_path, FULL))) == Batch(
        kind="pbs",
        queue="long",
        account="p123",
        walltime=93784,
        memory=16 * 10**9,
        cores=4,
        gpus=1,
        jobs=(2, 40),
        directives=("-j oe", "-l place=pack"),
        prologue=("module load python", "source env/bin/activate"),
        python="/opt/py/bin/python",
        interface="ib0",
        host="10.0.0.1",
        port=8786,
        tls=Tls(tmp_path / "ca.pem", tmp_path / "certs/own.pem", tmp_path / "certs/own.key"),
    )


def test_a_file_names_a_running_scheduler(tmp_path: Path) -> None:
    tls = FULL[FULL.index("[tls]") :]
    path = write(tmp_path, f'kind = "scheduler"\naddress = "tls://node1:8786"\n{tls}')
    site = read_where(Where(cluster=path))
    assert isinstance(site, Remote)
    assert site.address == "tls://node1:8786"
    assert site.tls is not None
    assert site.tls.key == tmp_path / "certs/own.key"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where(workers=0), r"--workers: expected at least 1, found 0"),
        (Where(memory="much"), r"--memory: expected an amount such as 4GB.*found 'much'"),
        (Where(memory="4"), r"--memory: expected an amount such as 4GB, at least 256 MB"),
        (Where(memory="-4GB"), r"--memory: expected an amount"),
        (Where(memory="nan GB"), r"--memory: expected an amount"),
        (Where(memory="1e999 GB"), r"--memory: expected an amount"),
        (Where(scheduler="tcp://a:1", slurm="jobs=2"), r"found --scheduler and --slurm"),
        (Where(slurm="jobs=2", cluster=Path("c")), r"found --slurm and --cluster"),
        (Where(workers=2, slurm="jobs=2"), r"--workers: .*set jobs= of --slurm"),
        (Where(memory="4GB", cluster=Path("c")), r"--memory: .*set memory= of --cluster"),
        (Where(workers=2, scheduler="tcp://a:1"), r"--workers: .*leave it out$"),
        (Where(slurm="que=short"), r"--slurm: unknown key 'que'; is 'queue' meant\?"),
        (Where(slurm="tls=x"), r"--slurm: unknown key 'tls'; known are account, cores"),
        (Where(slurm="short"), r"--slurm: expected KEY=VALUE with commas.*found 'short'"),
        (Where(slurm="queue=a,queue=b"), r"expected each key once, found 'queue' twice"),
        (Where(slurm="account=a,project=b"), r"account or project, which are one"),
        (Where(slurm="queue="), r"key 'queue': expected a text without spaces, found ''"),
        (Where(slurm="queue=a b"), r"key 'queue': expected a text without spaces"),
        (Where(slurm="jobs=0"), r"key 'jobs': expected a number of jobs such as 20"),
        (Where(slurm="jobs=5:2"), r"key 'jobs': expected"),
        (Where(slurm="jobs=1:2:3"), r"key 'jobs': expected"),
        (Where(slurm="gpus=2"), r"key 'gpus': expected 0 or 1"),
        (Where(slurm="cores=0"), r"key 'cores': expected a whole number from 1 to"),
        (Where(slurm="cores=1.5"), r"key 'cores': expected a whole number"),
        (Where(slurm="walltime=2h"), r"key 'walltime': expected HOURS:MINUTES:SECONDS"),
        (Where(slurm="walltime=00:04:59"), r"at least 00:05:00, found '00:04:59'"),
        (Where(slurm="memory=1GB,cores=8"), r"256 MB for each of the 8 workers"),
    ],
)
def test_what_cannot_be_used_is_refused(where: Where, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        read_where(where)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = 3 4", r"--cluster: .*cluster.toml: expected a TOML file, found"),
        ('queue = "a"', r"key 'kind': expected one of slurm, sge, pbs, scheduler, found None"),
        ('kind = "slurn"', r"found 'slurn'; is 'slurm' meant\?"),
        ('kind = "slurm"\nqueu = "a"', r"unknown key 'queu'; is 'queue' meant\?"),
        ('kind = "slurm"\nqueue = 3', r"key 'queue': expected a text without spaces, found 3"),
        ('kind = "slurm"\nmemory = 16', r"key 'memory': expected an amount such as 4GB"),
        ('kind = "slurm"\ncores = true', r"key 'cores': expected a whole number"),
        ('kind = "slurm"\njobs = [1, "x"]', r"key 'jobs': expected a number of jobs"),
        ('kind = "slurm"\nprologue = "module load"', r"key 'prologue': expected a list of texts"),
        ('kind = "slurm"\ndirectives = ["a\\nb"]', r"key 'directives': expected a list of texts"),
        ('kind = "slurm"\nport = 70000', r"key 'port': expected a whole number from 0 to 65535"),
        ('kind = "slurm"\n[tls]\nca = "ca.pem"', r"expected \[tls\] with the files ca, cert"),
        ('kind = "slurm"\ntls = 3', r"expected \[tls\] with the files ca, cert and key"),
        (
            'kind = "slurm"\n[tls]\nca = "ca.pem"\ncert = "no.pem"\nkey = "certs/own.key"',
            r"\[tls\] cert: expected a file, found none at .*no.pem",
        ),
        ('kind = "scheduler"', r"expected address = "),
        ('kind = "scheduler"\naddress = "tcp://a:1"\njobs = 2', r"unknown key 'jobs'"),
        ('kind = "sge"\ncores = 4', r'add it, such as directives = \["-pe smp 4"\]'),
    ],
)
def test_faults_of_a_file_are_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        read_where(Where(cluster=write(tmp_path, text)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"none\.toml: expected a TOML file, found no file that"
    ):
        read_where(Where(cluster=tmp_path / "none.toml"))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a refusal comes out of a text that makes no sense."""
    for where in (Where(slurm=text), Where(memory=text), Where(slurm=f"walltime={text}")):
        try:
            site = read_where(where)
        except SettingsError:
            continue
        assert isinstance(site, Batch | Local)


@given(st.integers(300, 10**7))
def test_a_walltime_comes_back_as_it_was_asked_for(seconds: int) -> None:
    site = read_where(Where(slurm=f"walltime={clock(seconds)}"))
    assert isinstance(site, Batch)
    assert site.walltime == seconds
    assert 30 <= site.margin <= 300  # time for the worker to end by itself


@pytest.mark.parametrize("command", ["run", "preprocess", "apply"])
def test_every_command_refuses_before_it_reads(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = {
        "run": ["--cohort", "none.csv", "--out", "out"],
        "preprocess": ["none.csv", "--out", "out"],
        "apply": ["none", "ravel", "none.nii", "out.nii"],
    }[command]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harmobench", command, *given, "--slurm", "quue=a"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "--slurm: unknown key 'quue'; is 'queue' meant?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_configuration_names_a_cluster_beside_it(tmp_path: Path) -> None:
    from harmobench.options import read_options

    (tmp_path / "run.toml").write_text('cohort = "m.csv"\ncluster = "cluster.toml"\n')
    where = read_options({}, tmp_path / "run.toml").where
    assert where == Where(cluster=tmp_path / "cluster.toml")
    (tmp_path / "run.toml").write_text('cohort = "m.csv"\nslurm = "jobs=2"\nmemory = "4GB"\n')
    assert read_options({}, tmp_path / "run.toml").where == Where(memory="4GB", slurm="jobs=2")
