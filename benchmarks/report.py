"""The report of a large run: how long it takes to build, how large it is, how soon it opens.

The run is of random numbers and random brains (`tests/synthetic_run.py`): 18 subjects on 4
scanners, RAW and nine methods, and eight controls, with pictures of brains of 2 mm. Printed are the
seconds and the peak memory of building tables, figures and the page; the size of the page; and,
where Chromium and selenium are installed, the time until the browser has drawn something and has
loaded all of it, and how much memory its JavaScript holds.

    python benchmarks/report.py --subjects 18 --scanners 4 --voxel 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import browser
import synthetic_run

from harmobench.interface import Finished
from harmobench.reports.html import Html
from harmobench.reports.tables import Tables

METHODS = (*synthetic_run.METHODS, "combat", "dlest", "cyclegan", "histogram")
MORE = {"shrink": "degenerate", "shuffle": "degenerate", "mismatch": "degenerate"}
MORE |= {"invert": "degenerate", "blur-noise": "degradation"}
EXTENT = (145, 180, 145)  # mm
LOADS = 5
TIMES = (
    "const page = performance.getEntriesByType('navigation')[0];"
    "const drawn = performance.getEntriesByName('first-contentful-paint')[0];"
    "return page.loadEventEnd && drawn"
    " && [page.domContentLoadedEventEnd, page.loadEventEnd, drawn.startTime]"
)


def make(folder: Path, subjects: int, scanners: int, voxel: float) -> Finished:
    """Return a run of a paper's size."""
    synthetic_run.SHAPE = tuple(round(length / voxel) for length in EXTENT)
    start = [-voxel * (n - 1) / 2 for n in synthetic_run.SHAPE]
    synthetic_run.AFFINE = np.diag([voxel, voxel, voxel, 1.0])
    synthetic_run.AFFINE[:3, 3] = start
    synthetic_run.CONTROLS |= MORE
    return synthetic_run.finished(
        folder,
        METHODS,
        ("GE", "Philips", "SiemensP", "SiemensT", "Canon", "UIH", "Siemens7T")[:scanners],
        [f"{number + 1:02d}" for number in range(subjects)],
        controls=tuple(synthetic_run.CONTROLS),
        tools=("hmrf", "atropos"),
    )


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print seconds and peak memory of a block, and what the process held before."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    stop = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stop.wait(0.05):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    stop.set()
    thread.join()
    print(f"{what}: {seconds:.1f} s, peak {peak / 1e6:.0f} MB ({before / 1e6:.0f} MB before)")


def load(page: Path) -> None:
    """Print how soon Chromium shows a page: median of several loads."""
    missing = browser.missing()
    if missing:
        print(f"not opened: {missing}")
        return
    with browser.chromium() as window:
        window.look()
        window.do("Performance.enable")
        times: list[Any] = []
        for _ in range(LOADS):
            window.open(page)
            times.append(window.until(TIMES, seconds=120))
        ready, loaded, drawn = (median(each) for each in zip(*times, strict=True))
        metrics = window.do("Performance.getMetrics")["metrics"]
    heap = next(each["value"] for each in metrics if each["name"] == "JSHeapUsedSize")
    print(f"first contentful paint {drawn:.0f} ms, DOMContentLoaded {ready:.0f} ms", end="")
    print(f", load {loaded:.0f} ms (median of {LOADS}); JavaScript holds {heap / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subjects", type=int, default=18)
    parser.add_argument("--scanners", type=int, default=4, help="2 to 7")
    parser.add_argument("--voxel", type=float, default=2.0, help="mm")
    parser.add_argument("--out", type=Path, help="keep the run here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        run = make(folder, given.subjects, given.scanners, given.voxel)
        print(f"{len(run.design.methods)} methods, {len(run.scores)} scores")
        with measured("tables"):
            Tables().write(run, lambda *_: None)
        with measured("figures and page"):
            page = Html().write(run, lambda *_: None)[0]
        print(f"report.html: {page.stat().st_size / 1e6:.1f} MB")
        load(page)


if __name__ == "__main__":
    main()
