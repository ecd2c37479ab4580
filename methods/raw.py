"""RAW: the identity, and the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harmobench.base import Method
from harmobench.interface import Needs, Reference, Scan
from harmobench.references import TORBATI_2023


@dataclass
class Raw(Method):
    """Images as the cohort has them: registered, N4-corrected, masked, scaled by their mean.

    The one thing done is to hold the contract: voxels outside the brain mask are exactly 0.
    """

    needs: ClassVar[Needs] = Needs(role="baseline")
    reference: ClassVar[Reference] = TORBATI_2023

    def transform(self, scan: Scan) -> Scan:
        """Return the scan's own intensities (x, y, z), 0 outside its brain mask."""
        return scan.with_voxels(np.where(scan.brain(), scan.voxels(), np.float32(0)))
