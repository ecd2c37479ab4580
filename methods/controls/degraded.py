"""Controls that spoil each image alone: inverted, blurred, blurred with noise on top."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harmobench.base import Method
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Needs, Reference, Scan
from harmobench.limits import number, refuse, whole
from harmobench.methods.controls.common import IMAGE_ONLY, contrast, within
from harmobench.methods.controls.smoothing import gradient, interior, noise_amount, smooth_within
from harmobench.references import OWN


@dataclass
class Invert(Method):
    """RAW with its intensities mirrored: white matter is darker than grey matter."""

    needs: ClassVar[Needs] = Needs(role="degenerate", quick_reads=IMAGE_ONLY)
    reference: ClassVar[Reference] = OWN

    def transform(self, scan: Scan) -> Scan:
        """Return min + max - RAW over the brain (x, y, z), 0 outside it.

        Raises
        ------
        MethodError
            A brain without contrast, or with NaN or inf.
        """
        brain = scan.brain()
        values = contrast(scan, brain).astype(np.float64)
        out = np.zeros(brain.shape, dtype=np.float32)
        out[brain] = values.min() + values.max() - values
        return scan.with_voxels(out)


@dataclass
class Blur(Method):
    """RAW smoothed within the brain: what makes scans alike by losing detail.

    Attributes
    ----------
    fwhm
        Full width at half maximum of the Gaussian, mm.
    """

    fwhm: float = 4.0

    needs: ClassVar[Needs] = Needs(role="degradation")
    reference: ClassVar[Reference] = OWN

    def transform(self, scan: Scan) -> Scan:
        """Return the smoothed scan (x, y, z), 0 outside the brain.

        Raises
        ------
        MethodError
            A brain without contrast, or with NaN or inf.
        SettingsError
            A parameter out of range.
        """
        self.check()
        return scan.with_voxels(self._blurred(scan))

    def _blurred(self, scan: Scan) -> FloatArray:
        brain = scan.brain()
        contrast(scan, brain)  # refuses what cannot be told apart from its blur
        return smooth_within(scan.voxels(), brain, scan.grid.voxel_sizes, self.fwhm)

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that no image can be smoothed with.

        Raises
        ------
        SettingsError
            Each of them, with what was expected.
        """
        refuse("blur", self._fault())

    def _fault(self) -> str:
        return number("fwhm", self.fwhm, lambda v: v > 0, "a number of mm above 0")


@dataclass
class BlurNoise(Blur):
    """Blur, and noise that all scans of a subject share, as much as brings back RAW's sharpness.

    The noise is white and Gaussian; its SD is set for each scan so that the gradient energy within
    the brain is RAW's again: who measures only that takes the image for a sharp one. As the noise
    is the subject's, it looks like anatomy that scanners agree on.

    Attributes
    ----------
    seed
        The noise follows it and the subject's name.
    """

    seed: int = 0

    needs: ClassVar[Needs] = Needs(role="degradation", quick_reads=IMAGE_ONLY)

    def transform(self, scan: Scan) -> Scan:
        """Return the smoothed scan with noise (x, y, z), 0 outside the brain.

        Raises
        ------
        MethodError
            A brain without contrast, or with NaN or inf.
        SettingsError
            A parameter out of range.
        """
        self.check()
        brain, sizes = scan.brain(), scan.grid.voxel_sizes
        inside, blurred, noise = interior(brain), self._blurred(scan), self._noise(scan)
        amount = noise_amount(
            gradient(scan.voxels(), inside, sizes),
            gradient(blurred, inside, sizes),
            gradient(noise, inside, sizes),
        )
        return scan.with_voxels(within(blurred + amount * noise, brain))

    def _noise(self, scan: Scan) -> FloatArray:
        """White noise of SD 1 (x, y, z), the same for all scans of a subject."""
        name = hashlib.sha256(scan.subject.encode()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(name, "big")])
        return rng.standard_normal(scan.grid.shape, dtype=np.float32)

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that no noise can be made with.

        Raises
        ------
        SettingsError
            Each of them, with what was expected.
        """
        refuse("blur-noise", self._fault(), whole("seed", self.seed, 0))
