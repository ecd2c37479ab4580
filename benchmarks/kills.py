"""Whether a run survives being killed at a random moment.

    python benchmarks/kills.py [--trials 100] [--first 0] [--seed 0] [--keep FOLDER]

A process of a run is killed by SIGKILL; where the run ends badly, the same command is given again;
then the tables are compared byte for byte with those of a run that nobody touched. Who is killed is
drawn: of a run with workers of its own the driver or one of its workers; of a run on a Dask
scheduler with two `dask worker` the driver, a worker or a nanny. A kill that comes after the end of
a run counts as too late, and another is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil

HARMOBENCH = [sys.executable, "-m", "harmobench.cli"]
TABLES = ("scores.parquet", "aggregates.parquet", "comparisons.parquet", "scores.csv")
FIXED = ("failures.csv", "warnings.csv", "references.bib")  # written by every run alike
OPTIONS = [
    *("--methods", "raw,whitestripe,ravel-cv", "--metrics", "ssim,auroc,dice"),
    *("--measures", "none", "--folds", "2", "--quiet"),
]
COSTS = "HB-T10"  # the one table of times
PATIENCE = 600  # seconds that a run of this size may take on a busy machine


class Field:
    """A Dask scheduler and two workers that other processes run on; who dies is replaced.

    Parameters
    ----------
    folder
        For what they print.
    """

    def __init__(self, folder: Path) -> None:
        self.log = (folder / "field.log").open("wb")
        where = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(where),
        )
        while not where.is_file():
            time.sleep(0.1)
        self.address = str(json.loads(where.read_text())["address"])
        self.nannies: list[subprocess.Popen[bytes]] = []

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *words]
        return subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True)

    def mend(self) -> None:
        """Start a worker for each that is gone."""
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < 2:
            options = ["--nthreads", "1", "--resources", "TRAIN=1", "--no-dashboard"]
            self.nannies.append(self._start("worker", self.address, *options))

    def close(self) -> None:
        """End all."""
        for process in (*self.nannies, self.scheduler):
            for each in family(process.pid):
                each.kill()
        self.log.close()


def family(number: int) -> list[psutil.Process]:
    """Return a process and all that it started."""
    try:
        head = psutil.Process(number)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def workers_of(number: int) -> list[psutil.Process]:
    """Return the processes below this one that do tasks."""
    found = []
    for each in family(number)[1:]:
        try:
            if "spawn_main" in " ".join(each.cmdline()):
                found.append(each)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def begin(cohort: Path, out: Path, more: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start the run's command."""
    command = [*HARMOBENCH, "run", "--cohort", str(cohort), "--out", str(out), *OPTIONS, *more]
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)


def differing(out: Path, reference: Path) -> list[str]:
    """Names of the tables that are not those of the run that nobody touched."""
    tables = [str(path.relative_to(reference)) for path in (reference / "tables").glob("*")]
    names = [*TABLES, *FIXED, *(name for name in tables if COSTS not in name)]
    return [
        name
        for name in sorted(names)
        if not (out / name).is_file()
        or (out / name).read_bytes() != (reference / name).read_bytes()
    ]


def half_written(out: Path) -> list[str]:
    """Files that should not be there after a finished run."""
    partial = [*out.rglob("*.partial"), *out.glob("store/??/.*")]
    empty = [path for path in out.glob("store/??/*/cost.json") if not path.stat().st_size]
    return [str(path.relative_to(out)) for path in (*partial, *empty)]


def victim(chance: random.Random, driver: int, field: Field | None) -> tuple[str, int] | None:
    """Draw who is killed: what it is and its process number."""
    kind = chance.choice(["driver", "worker"] if field is None else ["driver", "worker", "nanny"])
    if kind == "driver":
        return kind, driver
    heads = [driver] if field is None else [nanny.pid for nanny in field.nannies]
    if kind == "nanny":
        return kind, chance.choice(heads)
    processes = [each for head in heads for each in workers_of(head)]
    return (kind, chance.choice(processes).pid) if processes else None


def trial(
    number: int,
    seed: int,
    cohort: Path,
    reference: Path,
    seconds: float,
    field: Field | None,
    folder: Path,
) -> tuple[str, list[str]]:
    """Kill one run; return what was killed and how it ended, and what is wrong afterwards."""
    chance = random.Random(f"{seed}-{number}")
    out, log = folder / f"run-{number}", folder / f"run-{number}.log"
    if field is not None:
        field.mend()
    more = ["--workers", "2"] if field is None else ["--scheduler", field.address]
    process = begin(cohort, out, more, log)
    at = time.monotonic() + chance.uniform(0.05, 1.0) * seconds
    while time.monotonic() < at and process.poll() is None:
        time.sleep(0.01)
    chosen = victim(chance, process.pid, field) if process.poll() is None else None
    if chosen is None:
        finish(process)
        shutil.rmtree(out, ignore_errors=True)
        return "too late", []
    kind, pid = chosen
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        kind = f"{kind} (already gone)"
    status = finish(process)
    how = "went on" if status == 0 else "resumed"
    if field is not None:
        field.mend()
    if status != 0:
        process = begin(cohort, out, more, log)
        status = finish(process)
    wrong = [*differing(out, reference), *half_written(out)]
    wrong += [f"status {status}"] if status != 0 else []
    if not wrong:
        shutil.rmtree(out)
        log.unlink()
    where = "own workers" if field is None else "scheduler"
    return f"{where}, {kind}, {how}", wrong


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a run."""
    try:
        return process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        for each in family(process.pid):
            each.kill()
        return -1


def main() -> int:
    """Run the trials and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="trial to begin with, by its number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where failed trials stay")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    simulated = [*HARMOBENCH, "simulate", str(folder / "cohort"), "--quiet"]
    size = ["--subjects", "4", "--scanners", "2", "--resolution", "6"]
    subprocess.run([*simulated, *size], check=True)
    cohort, reference = folder / "cohort" / "matched.csv", folder / "reference"
    start = time.monotonic()
    if finish(begin(cohort, reference, ["--workers", "2"], folder / "reference.log")) != 0:
        print((folder / "reference.log").read_text())
        return 1
    seconds = time.monotonic() - start
    print(f"a run that nobody touches takes {seconds:.0f} s", flush=True)
    counts: Counter[str] = Counter()
    bad, number, tried = 0, given.first, 0
    field = Field(folder)
    try:
        while tried < given.trials:
            on = field if number % 2 else None
            what, wrong = trial(number, given.seed, cohort, reference, seconds, on, folder)
            number += 1
            counts[what] += 1
            tried += what != "too late"
            bad += bool(wrong)
            if wrong:
                print(f"trial {number - 1}: {what}: differs: {', '.join(wrong)}", flush=True)
            if tried and tried % 10 == 0 and what != "too late":
                print(f"{tried} killed, {tried - bad} ended right", flush=True)
    finally:
        field.close()
    for what, count in sorted(counts.items()):
        print(f"  {count:4d}  {what}")
    print(f"{tried} killed, {tried - bad} with tables equal byte for byte")
    if not bad and given.keep is None:
        shutil.rmtree(folder)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
