"""AUROC of grey against white matter: harmobench against scikit-learn, in one process.

Twice: intensities that are all different, and intensities rounded to 1000 levels, full of ties.

    python benchmarks/auroc.py --voxels 1700000 --repeats 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from harmobench.imaging.volume import FloatArray
from harmobench.metrics.auroc import auroc


def tissues(voxels: int, levels: int | None, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Overlapping grey and white matter, 52% grey; rounded to steps of the given number."""
    rng = np.random.default_rng(seed)
    n_grey = int(0.52 * voxels)
    grey = rng.normal(60, 12, n_grey).astype(np.float32)
    white = rng.normal(85, 9, voxels - n_grey).astype(np.float32)
    if levels:
        step = np.float32(120 / levels)
        grey, white = np.round(grey / step) * step, np.round(white / step) * step
    return grey, white


def by_scikit_learn(grey: FloatArray, white: FloatArray) -> float:
    labels = np.repeat([False, True], [grey.size, white.size])
    return float(roc_auc_score(labels, np.concatenate([grey, white])))


def seconds(call: Callable[..., object], grey: FloatArray, white: FloatArray) -> float:
    start = time.perf_counter()
    call(grey, white)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voxels", type=int, default=1_700_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    for name, levels in (("all different", None), ("1000 levels", 1000)):
        grey, white = tissues(given.voxels, levels)
        own, reference = auroc(grey, white) or 0.0, by_scikit_learn(grey, white)
        times = [  # in turns, so that whatever else the machine does meets both
            (seconds(auroc, grey, white), seconds(by_scikit_learn, grey, white))
            for _ in range(given.repeats)
        ]
        ours, theirs = np.median(times, axis=0)
        print(f"{name}: {given.voxels} voxels, AUROC {own:.6f}")
        print(f"  harmobench   {ours * 1000:8.1f} ms\n  scikit-learn {theirs * 1000:8.1f} ms")
        print(f"  ratio        {theirs / ours:8.2f}   (wanted: at least 4)")
        print(f"  difference   {abs(own - reference):8.1e}   (wanted: at most 1e-9)")


if __name__ == "__main__":
    main()
