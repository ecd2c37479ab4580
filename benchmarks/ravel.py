"""RAVEL of many images: harmobench's streamed arithmetic against the formula in memory, in numpy.

Both sides read the same file of White-Striped-like images (float32, image after image), fit one
factor on the control voxels, which come first, and correct and write every image; each side is a
process of its own, whose peak resident memory is asked of the system. Times leave out the writing
of results. numpy's side is the published formula as one would type it, once in double precision, as
R computes it, and once in single: matrix of all images, economy SVD of the control voxels, least
squares, correction.

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
from harmobench.methods.factors import correct, fit_factors
from harmobench.methods.rows import RowFile

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


def by_harmobench(images: RowFile, out: Path) -> float:
    """Fit, then correct image by image; the seconds it took without writing."""
    n, voxels = images.shape
    controls = int(CONTROL_SHARE * voxels)
    start, writing = time.perf_counter(), 0.0
    found = fit_factors(images, controls, 1, {})
    with out.open("wb") as stream:
        for i in range(n):
            values = images[i : i + 1, :][0]
            z = values[:controls] @ (found.left / found.singular)
            corrected = correct(values, z, found.gamma, found.mean)
            before = time.perf_counter()
            corrected.tofile(stream)
            writing += time.perf_counter() - before
    return time.perf_counter() - start - writing


def by_numpy(images: RowFile, out: Path, dtype: Any) -> float:
    """Compute the formula, all at once; the seconds it took without writing."""
    n, voxels = images.shape
    controls = int(CONTROL_SHARE * voxels)
    start = time.perf_counter()
    v: NDArray[Any] = np.empty((n, voxels), dtype=dtype)
    for i in range(n):
        v[i] = np.fromfile(images.path, np.float32, voxels, offset=4 * i * voxels)
    z = np.linalg.svd(v[:, :controls].T, full_matrices=False)[2][:1].T
    gamma = np.linalg.pinv(z) @ v
    corrected = v - z @ gamma + v.mean(axis=0)
    seconds = time.perf_counter() - start
    corrected.astype(np.float32).tofile(out)
    return seconds


def child(side: str, path: Path, n: int, voxels: int, out: Path) -> None:
    images = RowFile(path, (n, voxels))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if side == "harmobench":
        seconds = by_harmobench(images, out)
    else:
        seconds = by_numpy(images, out, side.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "mb": peak / 1024, "base": base / 1024}))


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
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    memory: dict[str, float] = {}
    for _ in range(repeats):  # in turns, so that whatever else the machine does meets all
        for side in SIDES:
            found = measured(side, images, folder / side)
            times[side].append(found["seconds"])
            memory[side] = max(memory.get(side, 0.0), found["mb"])
    print(f"{n} images of {voxels} voxels")
    ours = SIDES[0]
    for side in SIDES:
        seconds = float(np.median(times[side]))
        print(f"{side:14} {seconds:7.2f} s  {memory[side]:7.0f} MiB")
    for side in SIDES[1:]:
        faster = float(np.median(times[side]) / np.median(times[ours]))
        print(f"against {side}:")
        print(f"  time   {faster:6.2f} x as fast         (wanted: at least 1)")
        print(f"  memory {memory[ours] / memory[side]:6.2f} of its peak      (wanted: under 0.33)")
        pair = (RowFile(folder / name, images.shape) for name in (ours, side))
        difference = furthest(*pair)
        print(f"  largest relative difference {difference:.1e} (wanted: at most 1e-5)")


def scale(folder: Path, counts: list[int], voxels: int) -> None:
    print(f"{voxels} voxels an image")
    for n in counts:
        images = make_images(folder / "images", n, voxels)
        found = measured(SIDES[0], images, folder / "out")
        print(
            f"{n:5} images {found['seconds']:7.1f} s, {1000 * found['seconds'] / n:6.1f} ms an "
            f"image, {found['mb']:6.0f} MiB"
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
