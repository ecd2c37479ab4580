"""RAW: the identity, and the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harmobench.base import Method
from harmobench.interface import Needs, Reference, Scan


@dataclass
class Raw(Method):
    """Images as the cohort has them: registered, N4-corrected, masked, scaled by their mean.

    The one thing done is to hold the contract: voxels outside the brain mask are exactly 0.
    """

    needs: ClassVar[Needs] = Needs(role="baseline")
    reference: ClassVar[Reference] = Reference(
        title="MISPEL: A supervised deep learning harmonization method for multi-scanner "
        "neuroimaging data",
        authors="Torbati ME, Minhas DS, Laymon CM, Maillard P, Wilson JD, Chen CL, Crainiceanu CM, "
        "DeCarli CS, Hwang SJ, Tudorascu DL",
        year=2023,
        venue="Medical Image Analysis 89, 102926",
        doi="10.1016/j.media.2023.102926",
        key="torbati2023mispel",
    )

    def transform(self, scan: Scan) -> Scan:
        """Return the scan's own intensities (x, y, z), 0 outside its brain mask."""
        return scan.with_voxels(np.where(scan.brain(), scan.voxels(), np.float32(0)))
