"""A method in its own package: z-scores within the brain. This is the whole plugin."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harmobench.base import Method
from harmobench.interface import Reference, Scan


@dataclass
class ZScore(Method):
    """Each image minus its brain's mean, over its brain's SD."""

    reference: ClassVar[Reference] = Reference("Z-score normalization", "Anonymous", 2026)

    def transform(self, scan: Scan) -> Scan:
        """Return `scan.with_voxels(harmonized)`."""
        voxels, brain = scan.voxels(), scan.brain()
        z = (voxels - voxels[brain].mean()) / voxels[brain].std()
        return scan.with_voxels(np.where(brain, z, 0))
