"""White Stripe of one image: harmobench against intensity-normalization, on one core.

Both sides get the same voxels and mask in memory, in turns, in one process. The made image has
CSF, grey and white matter with partial volume and noise, about 1.6 million brain voxels at 1 mm; a
real one may be given instead. The other program, which nothing else here needs:

    pip install intensity-normalization==3.0.1
    python benchmarks/whitestripe.py
    python benchmarks/whitestripe.py --size 96
    python benchmarks/whitestripe.py --image T1.nii.gz --mask MASK.nii.gz

Both normalize by two numbers alone. Their numbers differ, since the other's smooth is a kernel
density on 80 points: "white matter" is the intensity that becomes 0, in the made image about 1.3.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from harmobench.cohort import Scan
from harmobench.imaging.volume import BoolArray, FloatArray, Grid, read_voxels, write_image
from harmobench.methods.whitestripe import WhiteStripe

FIELD = (182, 218, 182)  # of the MNI grid at 1 mm
SEMI_AXES = (0.374, 0.394, 0.363)  # of the brain, in fields
MEANS = (0.4, 0.95, 1.3)  # of CSF, grey and white matter, the brain's mean being about 1
SHARES = (0.15, 0.6)  # of CSF; of CSF and grey matter
Normalize = Callable[[FloatArray, BoolArray], FloatArray]
CITED_SECONDS, CITED_SIZE = 45.0, 96  # R WhiteStripe 2.5.0 on one image of 96 x 96 x 96


def head(shape: tuple[int, ...], seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Three folded tissues, blurred into one another, with noise; and the brain."""
    rng = np.random.default_rng(seed)
    where = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing="ij", sparse=True)
    x, y, z = (w / a for w, a in zip(where, SEMI_AXES, strict=True))
    brain: BoolArray = x**2 + y**2 + z**2 <= 1
    folds = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 3)
    tissue = np.searchsorted(np.quantile(folds[brain], SHARES), folds)
    voxels = ndimage.gaussian_filter(np.array(MEANS, dtype=np.float32)[tissue], 0.5)
    voxels += rng.normal(0, 0.04, shape).astype(np.float32)
    return np.where(brain, np.maximum(voxels, 0.01), 0).astype(np.float32), brain


def by_harmobench(folder: Path, brain: BoolArray) -> Normalize:
    path = folder / "mask.nii.gz"  # read once, as in a run, whose images share a mask
    write_image(path, brain, Grid.make(brain.shape, np.eye(4)))

    def normalize(voxels: FloatArray, brain: BoolArray) -> FloatArray:
        scan = Scan("01", "A", path, mask=path, memory=voxels)
        return WhiteStripe().transform(scan).voxels()

    return normalize


def by_the_other() -> Normalize:
    try:
        from intensity_normalization.adapters.images import NumpyImageAdapter
        from intensity_normalization.normalizers.individual.whitestripe import (
            WhiteStripeNormalizer,
        )
    except ImportError as error:
        sys.exit(f"{error}: pip install intensity-normalization==3.0.1")

    def normalize(voxels: FloatArray, brain: BoolArray) -> FloatArray:
        image, mask = NumpyImageAdapter(voxels), NumpyImageAdapter(brain)
        found: FloatArray = WhiteStripeNormalizer().fit_transform(image, mask).get_data()
        return found

    return normalize


def seconds(call: Normalize, voxels: FloatArray, brain: BoolArray) -> float:
    start = time.perf_counter()
    call(voxels, brain)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, help="voxels along each edge of the made image")
    parser.add_argument("--image", type=Path, help="a real, skull-stripped T1")
    parser.add_argument("--mask", type=Path, help="its brain mask")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    theirs_of = by_the_other()
    if given.image:
        voxels = read_voxels(given.image)
        brain: BoolArray = read_voxels(given.mask) > 0 if given.mask else voxels > 0
        voxels = np.ascontiguousarray(voxels * brain)
    else:
        voxels, brain = head((given.size,) * 3 if given.size else FIELD)
    with tempfile.TemporaryDirectory() as folder:
        ours_of = by_harmobench(Path(folder), brain)
        ours_image, theirs_image = ours_of(voxels, brain), theirs_of(voxels, brain)
        times = [  # in turns, so that whatever else the machine does meets both
            (seconds(ours_of, voxels, brain), seconds(theirs_of, voxels, brain))
            for _ in range(given.repeats)
        ]
    ours, theirs = np.median(times, axis=0)
    zeros = [np.polyfit(out[brain], voxels[brain], 1)[1] for out in (ours_image, theirs_image)]
    print(f"grid {voxels.shape}, brain {np.count_nonzero(brain)} voxels")
    print(f"harmobench              {ours:8.3f} s   (wanted: at most 0.5 at 1 mm)")
    print(f"intensity-normalization {theirs:8.3f} s")
    print(f"white matter            {zeros[0]:8.4f} and {zeros[1]:.4f}")
    print(f"ratio                   {theirs / ours:8.2f}     (wanted: at least 3)")
    if voxels.shape == (CITED_SIZE,) * 3:
        print(f"R WhiteStripe 2.5.0     {CITED_SECONDS:8.0f} s   (cited, not measured here)")
        print(f"ratio                   {CITED_SECONDS / ours:8.0f}     (to the cited time)")


if __name__ == "__main__":
    main()
