"""SSIM of all pairs of subjects' scans: harmobench against scikit-image, pair by pair.

Both sides get the same mapped float32 images in memory and run on one thread, in turns, in one
process; the printed ratio is of their total times. The brain is an ellipsoid of the size of a
head's, about 1.6 million voxels at 1 mm.

    python benchmarks/ssim.py --subjects 18 --scanners 4 --resolution 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from ellipsoids import subject
from skimage.metrics import structural_similarity

from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.metrics.ssim import pairwise_ssim


def by_scikit_image(images: list[FloatArray], brain: BoolArray) -> list[float]:
    values = []
    compare: Callable[..., Any] = structural_similarity
    for a, b in combinations(images, 2):
        _, index = compare(a, b, win_size=7, data_range=1, full=True)
        values.append(float(index[brain].mean(dtype=np.float64)))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=18)
    parser.add_argument("--scanners", type=int, default=4)
    parser.add_argument("--resolution", type=float, default=1.0, help="mm")
    given = parser.parse_args()
    ours = theirs = furthest = 0.0
    for seed in range(given.subjects):
        images, brain = subject(given.scanners, given.resolution, seed)
        start = time.perf_counter()
        own = [value or 0.0 for _, _, value in pairwise_ssim(images, [brain] * len(images))]
        middle = time.perf_counter()
        reference = by_scikit_image(images, brain)
        theirs += time.perf_counter() - middle
        ours += middle - start
        furthest = max(furthest, float(np.abs(np.subtract(own, reference)).max()))
    pairs = given.subjects * given.scanners * (given.scanners - 1) // 2
    print(f"{pairs} pairs, grid {images[0].shape}, brain {np.count_nonzero(brain)} voxels")
    print(f"harmobench   {ours:8.2f} s\nscikit-image {theirs:8.2f} s")
    print(f"ratio        {theirs / ours:8.2f}   (wanted: at least 4)")
    print(f"largest difference {furthest:.1e}   (wanted: at most 1e-5)")


if __name__ == "__main__":
    main()
