"""Grey matter within the atlas's regions: the morphometry that needs no other program.

It is no FreeSurfer: a region is where the atlas has it after registration, not where the anatomy of
the scan has it, and no thickness is measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

import harmobench
from harmobench.errors import MeasurementError
from harmobench.interface import Context, Measure, Reference, Scan

SUFFIX = "_gm"  # a structure's name says what was measured there


@dataclass(frozen=True)
class AtlasROI:
    """Grey matter in the regions of the atlas, left and right summed, ml.

    The grey-matter probabilities in a region are summed: a region of few voxels would jump with a
    threshold.

    Attributes
    ----------
    segmenter
        Whose grey matter: the name of any segmenter.
    """

    segmenter: str = "hmrf"

    reads: ClassVar[Literal["segmentation"]] = "segmentation"
    reference: ClassVar[Reference] = Reference(
        title="Voxel-based morphometry: the methods",
        authors="Ashburner, J. and Friston, K. J.",
        year=2000,
        venue="NeuroImage 11(6), 805-821",
        doi="10.1006/nimg.2000.0582",
        key="ashburner2000vbm",
    )

    def available(self) -> str | None:
        """None: it needs nothing but numpy."""
        return None

    def version(self) -> str:
        """Return that of harmobench."""
        return f"harmobench {harmobench.__version__}"

    def structures(self, regions: Collection[str]) -> Mapping[str, str]:
        """Return each region of the atlas with `_gm`, in ml."""
        return {f"{name}{SUFFIX}": "ml" for name in sorted(regions)}

    def measure(self, scan: Scan, context: Context) -> Iterable[Measure]:
        """Grey matter of each region, ml.

        Raises
        ------
        MeasurementError
            No segmentation, or a region that does not reach the image.
        """
        if scan.segmentation is None:
            raise MeasurementError(f"expected a segmentation of {scan}, found none")
        gm = scan.segmentation.probability("gm")
        regions = scan.input_labels("regions")
        voxel_ml = scan.segmentation.voxel_ml
        found = []
        for name, sides in sorted(context.atlas.labels.items()):
            inside = np.isin(regions, sides)
            if not inside.any():
                raise MeasurementError(
                    f"expected the region {name} of atlas '{context.atlas.name}' in the image, "
                    "found none of its voxels there"
                )
            ml = float(gm[inside].sum(dtype=np.float64)) * voxel_ml
            found.append(Measure(f"{name}{SUFFIX}", ml, "ml"))
        return found
