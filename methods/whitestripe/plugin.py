"""White Stripe: each image in units of its own normal-appearing white matter.

Shinohara et al., NeuroImage: Clinical 2014; the arithmetic is in `stripe`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.interface import Needs, Reference, Scan
from harmobench.limits import choice, number, refuse
from harmobench.methods.whitestripe.stripe import white_stripe

PEAKS = {"T1": "last", "FA": "last", "MD": "first", "T2": "largest"}


@dataclass
class WhiteStripe(Method):
    """Individual normalization: (image - mean) / sd of the white stripe; fitted on nothing.

    Attributes
    ----------
    modality
        Which peak is white matter: "T1" and "FA" the last, "MD" the first, "T2" the largest.
    width
        Half-width of the stripe in quantiles.
    cap
        Voxels above `cap` x the 99.9th percentile stay out of the histogram; 0 keeps all, as R.
    """

    modality: str = "T1"
    width: float = 0.05
    cap: float = 3.0

    needs: ClassVar[Needs] = Needs()
    reference: ClassVar[Reference] = Reference(
        title="Statistical normalization techniques for magnetic resonance imaging",
        authors="Shinohara RT, Sweeney EM, Goldsmith J, Shiee N, Mateen FJ, Calabresi PA, "
        "Jarso S, Pham DL, Reich DS, Crainiceanu CM",
        year=2014,
        venue="NeuroImage: Clinical 6, 9-19",
        doi="10.1016/j.nicl.2014.08.008",
        key="shinohara2014whitestripe",
    )

    def transform(self, scan: Scan) -> Scan:
        """Return the scan in units of its white stripe; outside the mask -mean / sd.

        Raises
        ------
        MethodError
            A constant, negative or non-finite brain.
        SettingsError
            A parameter out of range.
        """
        self.check()
        voxels, brain = scan.voxels(), scan.brain()
        values = voxels[brain]
        if not np.isfinite(values).all():
            raise MethodError(f"expected finite intensities, found NaN or inf in {scan}")
        mean = float(values.sum(dtype=np.float64)) / voxels.size
        ordered = np.sort(values[values > 0])
        peak = PEAKS[self.modality]
        stripe = white_stripe(ordered, mean, peak, self.width, self.cap, str(scan))
        out = np.full(voxels.shape, -stripe.mean / stripe.sd, dtype=np.float32)
        out[brain] = (values.astype(np.float64) - stripe.mean) / stripe.sd
        return scan.with_voxels(out)

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that no image can be normalized with.

        Raises
        ------
        SettingsError
            Each of them, with what was expected.
        """
        refuse(
            "White Stripe",
            choice("modality", self.modality, tuple(PEAKS)),
            number("width", self.width, lambda v: 0 < v <= 0.5, "a number above 0 and at most 0.5"),
            number("cap", self.cap, lambda v: v == 0 or v > 1, "a number above 1, or 0 for none"),
        )
