"""How long a large manifest takes to check, cold and warm, and against reading files one by one.

The former way opened each image twice, unpacked it to its end for the checksum, unpacked it again
for its voxels, and read it once more for its hash, one file after another, each time it was asked.

    python benchmarks/manifest.py [SCANS]
"""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from harmobench.phantom.simulate import simulate
from harmobench.store import hash_file

SCANNERS = ("GE", "Philips", "Siemens", "Canon")
RESOLUTION = 4.0  # mm


def write_cohort(folder: Path, scans: int) -> Path:
    """Write so many images, each with bytes of its own, from those of a small phantom."""
    kinds = simulate(folder / "phantom", 2, 2, RESOLUTION, 0)
    with kinds.open(encoding="utf-8", newline="") as stream:
        few = [kinds.parent / row["image"] for row in csv.DictReader(stream)]
    contents = [bytearray(gzip.decompress(path.read_bytes())) for path in few]
    manifest = folder / "matched.csv"
    with manifest.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["subject", "scanner", "image"])
        for number in range(scans):
            content = contents[number % len(contents)]
            content[148:180] = f"scan {number}".ljust(32).encode()  # the header's description
            path = folder / f"{number}.nii.gz"
            path.write_bytes(gzip.compress(bytes(content), 1, mtime=0))
            subject, scanner = divmod(number, len(SCANNERS))
            table.writerow([f"{subject:05d}", SCANNERS[scanner], path.name])
    return manifest


def former_way(images: list[Path]) -> None:
    """Open, unpack and hash each file as it was done before."""
    for path in images:
        for _ in range(2):
            np.asarray(nib.load(path).affine)
        with gzip.open(path) as stream:
            while stream.read(1 << 24):
                pass
        voxels = np.asarray(nib.load(path).dataobj, dtype=np.float32)
        if not np.isfinite(voxels).all() or not voxels.any():
            raise ValueError(f"{path} is at fault")
        hash_file(path)


class Taken(NamedTuple):
    """Seconds of the clock, and of the processors: those do not hang on who else works there."""

    clock: float
    processors: float


def measured(do: Callable[[], object]) -> Taken:
    """Measure what a call takes, with the processes that it starts."""
    clock, processors = time.perf_counter(), sum(os.times()[:4])
    do()
    return Taken(time.perf_counter() - clock, sum(os.times()[:4]) - processors)


def main(scans: int) -> None:
    """Print the seconds of a first check, of a second, and of the former way."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        manifest = write_cohort(folder, scans)
        time.sleep(2.5)  # files of the last two seconds are not believed to stay as they are
        command = [sys.executable, "-m", "harmobench.cli", "cohort", "check", str(manifest)]
        own = {**os.environ, "HARMOBENCH_CACHE": str(folder / "cache")}

        def check() -> None:
            subprocess.run([*command, "--quiet"], env=own, check=True, stdout=subprocess.DEVNULL)

        taken = {"cold": measured(check), "warm": measured(check)}
        former = measured(lambda: former_way(sorted(folder.glob("*.nii.gz"))))
    print(f"{scans} scans at {RESOLUTION:g} mm, {len(os.sched_getaffinity(0))} cores")
    print(f"former way: {former.clock:.2f} s, {former.processors:.2f} s of processors")
    for name, own in taken.items():
        times, work = former.clock / own.clock, former.processors / own.processors
        print(
            f"{name}: {own.clock:.2f} s, {own.processors:.2f} s of processors; "
            f"the former way takes {times:.1f} times as long and {work:.1f} times the processors"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
