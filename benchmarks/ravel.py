"""RAVEL of many images: harmobench's streamed arithmetic against the formula in memory, in numpy.

Both sides read the same file of White-Striped-like images (float32, image after image), fit one
factor on the control voxels, which come first, and correct and write every image; each side is a
process of its own, whose peak resident memory is asked of the system. Times, on the clock and of
the processor (which other programs disturb less), leave out the writing of results. numpy's side
is the published formula as one would type it, once in double precision, as R computes it, and once
in single: matrix of all images, economy SVD of the control voxels, least squares, correction.

    python benchmarks/ravel.py --images 72 --voxels 1500000
    python benchmarks/ravel.py --scaling 125 250 500 1000 --voxels 1000000

The second form runs harmobench alone: seconds an image and peak memory as images become many.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.volume import FloatArray
from harmobench.methods.ravel.factors import correct, fit_factors
from harmobench.methods.ravel.rows import RowFile

CONTROL_SHARE = 0.02  # of the voxels: about what is CSF in all of 72 brains
SIDES = ("harmobench", "numpy float64", "numpy float32")


def make_images(path: Path, n: int, voxels: int, seed: int = 0) -> RowFile:
    """CSF at -15 and brain at -2, each image's own strength, and noise; written one by one."""
    controls = int(CONTROL_SHARE * voxels)
    rng = np.random.default_rng(seed)
    anatomy = np.full(voxels, -2, dtype=np.float32)
    anatomy[:controls] = -15
    anatomy += rng.standard_normal(voxels, dtype=np.float32)

    def images() -> Iterator[FloatArray]:
        for _ in range(n):
            noise = rng.standard_normal(voxels, dtype=np.float32)
            yield np.float32(rng.uniform(0.8, 1.2)) * anatomy + np.float32(0.5) * noise

    return RowFile.write(path, images(), (n, voxels))


def now() -> NDArray[np.float64]:
    """Seconds on the clock, and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def by_harmobench(images: RowFile, out: Path) -> NDArray[np.float64]:
    """Fit, then correct image by image; the seconds it took without writing."""
    n, voxels = images.shape
    controls = int(CONTROL_SHARE * voxels)
    start, writing = now(), np.zeros(2)
    found = fit_factors(images, controls, 1, {})
    with out.open("wb") as stream:
        for i in range(n):
            values = images[i : i + 1, :][0]
            z = values[:controls] @ (found.left / found.singular)
            corrected = correct(values, z, found.gamma, found.mean)
            before = now()
            corrected.tofile(stream)
            writing += now() - before
    return now() - start - writing


def by_numpy(images: RowFile, out: Path, dtype: Any) -> NDArray[np.float64]:
    """Compute the formula, all at once; the seconds it took without writing."""
    n, voxels = images.shape
    controls = int(CONTROL_SHARE * voxels)
    start = now()
    v: NDArray[Any] = np.empty((n, voxels), dtype=dtype)
    for i in range(n):
        v[i] = np.fromfile(images.path, np.float32, voxels, offset=4 * i * voxels)
    z = np.linalg.svd(v[:, :controls].T, full_matrices=False)[2][:1].T
    gamma = np.linalg.pinv(z) @ v
    corrected = v - z @ gamma + v.mean(axis=0)
    seconds = now() - start
    corrected.astype(np.float32).tofile(out)
    return seconds


def child(side: str, path: Path, n: int, voxels: int, out: Path) -> None:
    images = RowFile(path, (n, voxels))
    if side == "harmobench":
        clock, processor = by_harmobench(images, out)
    else:
        clock, processor = by_numpy(images, out, side.split()[1])
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of kB, on Linux
    print(json.dumps({"clock": clock, "processor": processor, "mib": mib}))


def measured(side: str, images: RowFile, out: Path) -> dict[str, float]:
    """Seconds and peak memory (MiB) of one side in a process of its own."""
    n, voxels = images.shape
    command = [sys.executable, __file__, "--child", side, str(images.path), str(out)]
    command += ["--images", str(n), "--voxels", str(voxels)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(found.stdout)
    return result


def furthest(a: RowFile, b: RowFile) -> float:
    """Largest difference over the largest value."""
    difference = largest = 0.0
    for i in range(a.shape[0]):
        one, other = a[i : i + 1, :], b[i : i + 1, :]
        difference = max(difference, float(np.abs(one - other).max()))
        largest = max(largest, float(np.abs(other).max()))
    return difference / largest


def compare(folder: Path, n: int, voxels: int, repeats: int) -> None:
    images = make_images(folder / "images", n, voxels)
    rounds = [  # in turns, so that whatever else the machine does meets all
        {side: measured(side, images, folder / side) for side in SIDES} for _ in range(repeats)
    ]
    print(f"{n} images of {voxels} voxels; medians of {repeats}")
    median = {
        side: {what: float(np.median([r[side][what] for r in rounds])) for what in rounds[0][side]}
        for side in SIDES
    }
    for side, found in median.items():
        times = f"{found['clock']:7.2f} s  {found['processor']:7.2f} s of processor"
        print(f"{side:14} {times} {found['mib']:7.0f} MiB")
    ours = median[SIDES[0]]
    for side in SIDES[1:]:
        theirs = median[side]
        pair = (RowFile(folder / name, images.shape) for name in (SIDES[0], side))
        print(f"against {side}:")
        for what in ("clock", "processor"):
            print(f"  {theirs[what] / ours[what]:7.2f} x as fast by the {what}, wanted: at least 1")
        print(f"  {ours['mib'] / theirs['mib']:7.2f} of its peak memory, wanted: under 0.33")
        print(f"  {furthest(*pair):7.1e} largest relative difference, wanted: at most 1e-5")


def scale(folder: Path, counts: list[int], voxels: int) -> None:
    print(f"{voxels} voxels an image; wanted: the same milliseconds an image, the same memory")
    for n in counts:
        images = make_images(folder / "images", n, voxels)
        found = measured(SIDES[0], images, folder / "out")
        clock, processor = (1000 * found[what] / n for what in ("clock", "processor"))
        print(
            f"{n:5} images: {found['clock']:6.1f} s, {clock:5.1f} ms an image "
            f"({processor:.1f} of processor), {found['mib']:4.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=72)
    parser.add_argument("--voxels", type=int, default=1_500_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scaling", type=int, nargs="+", help="numbers of images")
    parser.add_argument("--folder", type=Path, help="where to put the images")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        side, path, out = given.child
        child(side, Path(path), given.images, given.voxels, Path(out))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        if given.scaling:
            scale(Path(name), given.scaling, given.voxels)
        else:
            compare(Path(name), given.images, given.voxels, given.repeats)


if __name__ == "__main__":
    main()
