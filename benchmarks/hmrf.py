"""Time of dipy's TissueClassifierHMRF over that of the built-in segmenter, on one core.

Run as `OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/hmrf.py [MM]`. The image is
ICBM152 at MM (default 2) with contrast and noise; both ways run in this one process, in turn.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from dipy.segment.tissue import TissueClassifierHMRF

from harmobench.atlas import icbm152
from harmobench.imaging.canonical import canonical
from harmobench.tools import hmrf
from harmobench.tools.hmrf import HMRF


def head(mm: int):
    tissues, _, brain, _ = icbm152(mm)
    fractions = np.stack([tissues[name] ** 3 for name in ("csf", "gm", "wm")])
    fractions = fractions / np.maximum(fractions.sum(axis=0), 1e-6) * brain
    ideal = np.tensordot([25.0, 60.0, 100.0], fractions, axes=1)
    noise = np.random.default_rng(0).normal(0, 5, (2, *brain.shape))
    image = np.hypot(ideal + noise[0], noise[1]).astype(np.float32)
    return canonical(image, brain), brain, np.where(brain, 1 + fractions.argmax(axis=0), 0)


def dice(found, truth):
    return [
        round(
            2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)), 3
        )
        for k in (1, 2, 3)
    ]


def ours(image, brain):
    tool = HMRF()
    maps, _ = hmrf.segment(image, brain, np.full(3, tool.beta), tool.iterations, tool.tolerance)
    return np.where(brain, 1 + np.stack(list(maps.values())).argmax(axis=0), 0)


def dipys(image, brain):
    box = hmrf.bounding_box(brain)  # the same crop, so that only the algorithms differ
    found = np.zeros(image.shape, dtype=np.intp)
    classifier = TissueClassifierHMRF(verbose=False)
    found[box] = classifier.classify(image[box].astype(np.float64), 3, 0.1, max_iter=20)[1]
    return found * brain


def main(mm: int) -> None:
    image, brain, truth = head(mm)
    print(f"{mm} mm, {np.count_nonzero(brain)} voxels in the brain")
    seconds = {}
    for name, way in (("hmrf", ours), ("dipy", dipys)):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            found = way(image, brain)
            times.append(time.perf_counter() - start)
        seconds[name] = min(times)
        print(f"{name}: {seconds[name]:.2f} s, Dice of CSF, GM, WM {dice(found, truth)}")
    print(f"dipy / hmrf: {seconds['dipy'] / seconds['hmrf']:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
