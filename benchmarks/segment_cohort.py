"""How long the built-in segmenter takes for a cohort of the paper's size, on W processes.

Run as `OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/segment_cohort.py matched.csv`
with a cohort at 2 mm (`harmobench simulate p2`): 72 images x 5 methods are its images, each taken
in turn until 360 are segmented, with reading and writing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from harmobench.cohort import Scan
from harmobench.imaging.canonical import canonical
from harmobench.imaging.volume import write_image
from harmobench.manifest import read_cohort
from harmobench.tools.hmrf import HMRF


def segment(image: Path, mask: Path | None) -> int:
    scan = Scan("", "", image, mask)
    voxels, brain = scan.voxels(), scan.brain()
    maps = HMRF().segment(scan.with_voxels(canonical(voxels * brain, brain)), None)
    with tempfile.TemporaryDirectory() as folder:
        for name, probability in maps.items():
            steps = np.floor(probability * 250).astype(np.uint8)
            write_image(Path(folder) / f"{name}.nii.gz", steps, scan.grid, scale=1 / 250)
    return int(brain.sum())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    scans = read_cohort(given.cohort).scans
    jobs = [scans[i % len(scans)] for i in range(given.images)]
    start = time.perf_counter()
    with ProcessPoolExecutor(given.workers) as pool:
        sizes = list(pool.map(segment, *zip(*((s.image, s.mask) for s in jobs), strict=True)))
    seconds = time.perf_counter() - start
    print(
        f"{len(sizes)} images of {np.mean(sizes):.0f} brain voxels on {given.workers} processes: "
        f"{seconds:.0f} s, {given.workers * seconds / len(sizes):.2f} s of a core each"
    )


if __name__ == "__main__":
    main()
