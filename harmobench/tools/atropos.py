"""Tissue segmentation by ANTs Atropos, through antspyx.

Atropos (Avants et al., Neuroinformatics 2011) fits a mixture with a Markov random field. Here it
starts from k-means of the intensities alone: no atlas, no spatial prior.

Atropos takes its number of threads from ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS, which ITK reads once,
when ants is imported: whoever starts the process must set it (to `Context.threads`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harmobench.errors import MeasurementError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Context, Reference, Scan
from harmobench.tools.hmrf import bounding_box, tails

NAMES = ("csf", "gm", "wm")


@dataclass(frozen=True)
class Atropos:
    """ANTs Atropos with three classes from k-means.

    Attributes
    ----------
    smoothing
        Weight of the Markov random field over the 3 x 3 x 3 neighbourhood.
    iterations
        At most so many.
    tolerance
        Done when the mean of the largest posterior moves by less than this.
    """

    smoothing: float = 0.1
    iterations: int = 5
    tolerance: float = 1e-3

    reference: ClassVar[Reference] = Reference(
        title="An open source multivariate framework for n-tissue segmentation with evaluation on "
        "public data",
        authors="Avants, B. B. and Tustison, N. J. and Wu, J. and Cook, P. A. and Gee, J. C.",
        year=2011,
        venue="Neuroinformatics 9(4), 381-400",
        doi="10.1007/s12021-011-9109-y",
        key="avants2011atropos",
    )

    def available(self) -> str | None:
        """None where antspyx is installed; else a sentence on how to get it."""
        if find_spec("ants") is None:
            return "Atropos needs antspyx, which is not installed: python -m pip install antspyx"
        return None

    def version(self) -> str:
        """Return that of antspyx."""
        return f"antspyx {installed_version('antspyx')}"

    def segment(self, scan: Scan, context: Context) -> Mapping[str, FloatArray]:
        """Posterior probability of csf, gm and wm, which sum to 1 in the brain.

        Intensities beyond the 0.5% tails take the value at the tail's edge: k-means starts from
        the range, and a few bright vessels would otherwise become a tissue of their own.

        Raises
        ------
        MeasurementError
            An image without three tissues, or a failure of Atropos.
        """
        voxels, brain = scan.voxels(), scan.brain()
        box = bounding_box(brain)
        inside = brain[box]
        bounded = np.where(inside, np.clip(voxels[box], *tails(voxels[brain])), 0)
        if np.unique(bounded[inside]).size < len(NAMES):
            raise MeasurementError(
                "expected the intensities of three tissues, found fewer than three different "
                "values in the brain"
            )
        with _scratch(context.scratch):
            maps = self._run(bounded.astype(np.float32), inside, scan)
        return _fill(maps, bounded, inside, box, brain.shape)

    def _run(self, voxels: FloatArray, brain: BoolArray, scan: Scan) -> list[FloatArray]:
        import ants

        spacing = [float(size) for size in scan.grid.voxel_sizes]
        try:
            found: dict[str, Any] = ants.atropos(
                a=ants.from_numpy(voxels, spacing=spacing),
                x=ants.from_numpy(brain.astype(np.float32), spacing=spacing),
                i=f"kmeans[{len(NAMES)}]",
                m=f"[{self.smoothing},1x1x1]",
                c=f"[{self.iterations},{self.tolerance}]",
                r=0,  # a constant seed: without it ITK takes the time of day
            )
        except Exception as error:  # ants raises bare Exception for any failure of the program
            raise MeasurementError("Atropos ended with an error and gave no result") from error
        return [np.asarray(image.numpy(), np.float32) for image in found["probabilityimages"]]


@contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Let ants leave its temporary files in a folder of ours: it never removes them."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        tempfile.tempdir = inner
        try:
            yield
        finally:
            tempfile.tempdir = before


def _fill(
    maps: list[FloatArray],
    voxels: FloatArray,
    inside: BoolArray,
    box: tuple[slice, slice, slice],
    shape: tuple[int, ...],
) -> dict[str, FloatArray]:
    """Order the maps by mean intensity, make them sum to 1, and put them into the whole image."""
    stack = np.stack([np.clip(m[inside], 0, 1) for m in maps]).astype(np.float64)
    total = stack.sum(axis=0)
    weight = stack.sum(axis=1)
    if len(stack) != len(NAMES) or not (total > 0).all() or not (weight > 0).all():
        raise MeasurementError("expected three tissues from Atropos, found an empty one")
    order = np.argsort(stack @ voxels[inside] / weight, kind="stable")
    out = {name: np.zeros(shape, dtype=np.float32) for name in NAMES}
    for tissue, k in zip(out.values(), order, strict=True):
        tissue[box][inside] = stack[k] / total
    return out
