"""Preprocessing against the same antspyx calls run by hand, and how it grows with workers.

Run as `ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 python benchmarks/preprocess.py T1 ATLAS_FOLDER` for
one image, by hand and by harmobench in turn; with `--scans N --workers W` for N copies of it on one
worker and on W.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from harmobench.atlas import Atlas, bring_atlas, read_atlas
from harmobench.cluster import connect
from harmobench.cluster.sites import Local
from harmobench.cohort import Scan
from harmobench.preprocess.request import Native
from harmobench.preprocess.steps import QUALITY, do, make_tasks
from harmobench.runner import run_all


def by_hand(image: Path, atlas: Atlas, quality: str, folder: Path) -> None:
    """Call antspyx as someone would who wants the same files."""
    import ants

    chosen = QUALITY[quality]
    template, mask = ants.image_read(str(atlas.template)), ants.image_read(str(atlas.mask))
    native = ants.image_read(str(image))
    pair = [template, native]
    if chosen.spacing:
        size = (chosen.spacing,) * 3
        pair = [ants.resample_image(ants.smooth_image(i, 0.8), size) for i in pair]
    found = ants.registration(
        *pair,
        type_of_transform="SyN",
        reg_iterations=chosen.iterations,
        outprefix=str(folder / "syn"),
    )
    moved = ants.apply_transforms(template, native, found["fwdtransforms"])
    corrected = ants.n4_bias_field_correction(
        moved, mask=mask, convergence={"iters": [50] * 4, "tol": 1e-3}
    )
    raw = corrected * mask
    (raw / raw[mask > 0].mean()).to_filename(str(folder / "raw.nii.gz"))
    for grid, moving, files in (
        (template, native, found["fwdtransforms"]),
        (native, template, found["invtransforms"]),
    ):
        inverted = [name.endswith(".mat") for name in files] if grid is native else None
        stem = str(folder / ("back" if grid is native else "there"))
        ants.apply_transforms(grid, moving, files, whichtoinvert=inverted, compose=stem)


def tasks_of(image: Path, quality: str, count: int):
    scans = [Native(Scan(f"{i:03d}", "A", image), skull=False) for i in range(count)]
    return make_tasks(scans, quality, "benchmark")


def one(image: Path, atlas: Atlas, quality: str, repeats: int) -> None:
    seconds: dict[str, list[float]] = {"by hand": [], "harmobench": []}
    for _ in range(repeats):
        for way, times in seconds.items():
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                bring_atlas(atlas, atlas.grid, folder / "atlas")
                start = time.perf_counter()
                if way == "by hand":
                    by_hand(image, atlas, quality, folder)
                else:
                    (task,) = tasks_of(image, quality, 1).values()
                    do(folder, task, folder)
                times.append(time.perf_counter() - start)
                print(f"{way}: {times[-1]:.1f} s", flush=True)
    ratio = min(seconds["harmobench"]) / min(seconds["by hand"])
    print(f"harmobench takes {ratio:.3f} times as long ({quality})")


def many(image: Path, atlas: Atlas, quality: str, count: int, workers: int) -> None:
    seconds = {}
    for number in (1, workers):
        with (
            tempfile.TemporaryDirectory() as scratch,
            connect(Local(number), Path(scratch), print) as client,
        ):
            folder = Path(scratch)
            bring_atlas(atlas, atlas.grid, folder / "atlas")
            start = time.perf_counter()
            tasks = tasks_of(image, quality, count)
            failed = run_all(folder, do, tasks, client, lambda task, outcome: None)
            seconds[number] = time.perf_counter() - start
            print(f"{count} scans on {number}: {seconds[number]:.1f} s {failed or ''}", flush=True)
    share = seconds[1] / seconds[workers] / workers
    print(f"{workers} workers: {share:.0%} of {workers} times as fast as one ({quality})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("image", type=Path)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("--quality", default="quick", choices=tuple(QUALITY))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--scans", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    atlas = read_atlas(given.atlas)
    if given.scans:
        many(given.image, atlas, given.quality, given.scans, given.workers)
    else:
        one(given.image, atlas, given.quality, given.repeats)


if __name__ == "__main__":
    main()
