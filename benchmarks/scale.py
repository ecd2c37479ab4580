"""How a run grows with its cohort: seconds and peak memory at 125, 250, 500 and 1,000 scans.

The cohort is a phantom of many subjects on four scanners (`--cohort`, or simulated here at 4 mm);
smaller ones are its first subjects. Each is run by the real command: RAW, White Stripe and RAVEL,
scored by every metric that reads images. Meanwhile the resident memory of every process of the run
is read from /proc ten times a second: the driver, which is also the scheduler, and each worker.
Printed are the seconds, the exponent of their growth (1 is linear: time ~ scans ** exponent), how
long the run planned and finished, what its tasks took, and the peaks; of the fewest scans and of
the most.

    python benchmarks/scale.py --scans 125 250 500 1000 --workers 2
    python benchmarks/scale.py --cohort PHANTOM/matched.csv --folder KEEP
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

METHODS = "raw,whitestripe,ravel"
LEAN = ["--segmenters", "none", "--measures", "none", "--controls", "off"]
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SAMPLE_SECONDS = 0.1
MOST_EXPONENT, MOST_MB = 1.1, 1500.0


def image_metrics() -> list[str]:
    """Metrics that read images and need no truth."""
    from harmobench.registry import plugins

    found = {name: plugin.load() for name, plugin in plugins("metrics").items()}
    return [n for n, m in found.items() if m.reads == "image" and not getattr(m, "truth", ())]


def cut(manifest: Path, scans: int, target: Path) -> int:
    """Write a manifest of the first whole subjects of another; return how many scans it has."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    each = sum(row["subject"] == rows[0]["subject"] for row in rows)
    kept = rows[: scans // each * each]
    plain = {"subject", "scanner", "group", "age", "sex"}
    for row in kept:  # the paths that remain are of the first manifest's folder
        row["image"] = str(manifest.parent.absolute() / row["image"])
        row["mask"] = str(manifest.parent.absolute() / row["mask"]) if row.get("mask") else ""
    columns = ["image", "mask", *(name for name in rows[0] if name in plain)]
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
    return len(kept)


def kind_of(process: psutil.Process, driver: int) -> str:
    """Name a process of a run."""
    if process.pid == driver:
        return "driver"
    line = " ".join(process.cmdline())
    return "tracker" if "resource_tracker" in line else "worker"


def watch(command: Sequence[str], log: Path) -> tuple[float, dict[str, float]]:
    """Run a command; return its seconds, and the peak memory (MB) of each kind of its processes."""
    peaks: dict[str, float] = {}
    start = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        run = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **ONE_CORE}
        )
        root = psutil.Process(run.pid)
        while run.poll() is None:
            sample(root, peaks)
            time.sleep(SAMPLE_SECONDS)
    if run.returncode:
        raise SystemExit(f"status {run.returncode}: {log.read_text(encoding='utf-8')}")
    return time.perf_counter() - start, peaks


def sample(root: psutil.Process, peaks: dict[str, float]) -> None:
    """Take in the resident memory of a process and of all below it; one that ended is left out."""
    try:
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            kind = kind_of(process, root.pid)
            peaks[kind] = max(peaks.get(kind, 0.0), process.memory_info().rss / 1e6)
        except psutil.Error:  # it ended meanwhile
            continue


def task_seconds(run: Path) -> tuple[float, int]:
    """Sum of the seconds of all tasks of a run, and how many there are."""
    with (run / "costs.csv").open(newline="", encoding="utf-8") as stream:
        total = sum(float(row["seconds"]) for row in csv.DictReader(stream))
    return total, sum(1 for _ in (run / "store").glob("??/*"))


def measure(
    manifest: Path, folder: Path, scans: int, workers: int, again: bool
) -> tuple[int, float]:
    """Run one cohort and print what it took."""
    own = folder / f"{scans}.csv"
    count = cut(manifest, scans, own)
    out = folder / f"run-{scans}"
    command = [sys.executable, "-m", "harmobench.cli", "run", "--cohort", str(own)]
    command += ["--out", str(out), "--methods", METHODS, "--metrics", ",".join(image_metrics())]
    seconds, peaks = watch([*command, *LEAN, "--workers", str(workers)], folder / f"{scans}.log")
    inside, tasks = task_seconds(out)
    page = (out / "report.html").stat().st_size / 1e6
    print(
        f"{count:5d} scans: {seconds:7.1f} s ({seconds / count:.3f} s a scan); {tasks} tasks of "
        f"{inside:.0f} s in all; report.html {page:.1f} MB; peak MB: "
        + ", ".join(f"{kind} {peak:.0f}" for kind, peak in sorted(peaks.items())),
        flush=True,
    )
    if again:
        repeated, _ = watch([*command, *LEAN, "--workers", str(workers)], folder / f"{scans}.again")
        print(
            f"      the same command again, with nothing to compute: {repeated:.1f} s", flush=True
        )
    worst = max(peaks, key=lambda kind: peaks[kind])
    if peaks[worst] > MOST_MB:
        print(f"      above {MOST_MB:.0f} MB: {worst}")
    return count, seconds


def simulated(folder: Path, scans: int) -> Path:
    """Simulate a phantom of as many scans on four scanners at 4 mm."""
    from harmobench.phantom.simulate import simulate

    out = folder / "phantom"
    if not (out / "matched.csv").is_file():
        simulate(out, math.ceil(scans / 4), 4, 4.0, 0, lambda *_: None)
    return out / "matched.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scans", type=int, nargs="+", default=[125, 250, 500, 1000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cohort", type=Path, help="a phantom's manifest; else one is simulated")
    parser.add_argument("--folder", type=Path, help="keep the runs here; those there are gone on")
    parser.add_argument("--again", action="store_true", help="time each command a second time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = given.cohort or simulated(folder, max(given.scans))
        found = [
            measure(manifest, folder, scans, given.workers, given.again)
            for scans in sorted(given.scans)
        ]
    (few, short), (many, long) = found[0], found[-1]
    if many > few:
        exponent = math.log(long / short) / math.log(many / few)
        told = "linear enough" if exponent < MOST_EXPONENT else f"above {MOST_EXPONENT}"
        print(f"exponent {exponent:.2f} from {few} to {many} scans: {told}")


if __name__ == "__main__":
    main()
