"""Controls that average RAW: over a subject's scans, or over everybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Cohort, Context, Needs, Reference, Scan
from harmobench.limits import number, refuse
from harmobench.methods.controls.common import IMAGE_ONLY, within
from harmobench.references import OWN


@dataclass
class Oracle(Method):
    """Mean of the subject's own RAW scans: the ceiling of agreement, and a declared cheat."""

    needs: ClassVar[Needs] = Needs(role="ceiling", sees="subject", quick_reads=IMAGE_ONLY)
    reference: ClassVar[Reference] = OWN

    def transform(self, scan: Scan) -> Scan:
        """Return the mean over scanners of the subject's RAW (x, y, z), 0 outside the brain.

        Raises
        ------
        MethodError
            The subject's scans were not given, or lie on several grids.
        """
        own = [other for other in scan.others if other.subject == scan.subject]
        if not own:
            raise MethodError(f"expected the scans of {scan.subject} in scan.others, found none")
        return scan.with_voxels(within(mean_image(own), scan.brain()))


@dataclass
class Template(Method):
    """One image for everyone: the mean of all RAW.

    It agrees perfectly and knows nobody. Carried to native space it shows what the transforms
    alone give back of the anatomy: the registration-only reference.
    """

    needs: ClassVar[Needs] = Needs(role="degenerate")
    reference: ClassVar[Reference] = OWN

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Average all scans, one in memory at a time.

        Raises
        ------
        MethodError
            No scans, or scans on several grids.
        SettingsError
            A parameter out of range.
        """
        self.check()
        count = len(train)

        def progress(done: int) -> None:
            context.progress(done, count, "mean of all RAW")

        self.mean_ = mean_image(train.scans, progress)
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return the mean of all RAW (x, y, z), 0 outside the brain.

        Raises
        ------
        MethodError
            Not fitted, or a scan on another grid.
        """
        return scan.with_voxels(within(self._mean(scan), scan.brain()))

    def _mean(self, scan: Scan) -> FloatArray:
        """Return what was fitted, on the scan's grid or not at all."""
        if not hasattr(self, "mean_"):
            raise MethodError("expected a fitted template, found none: call fit or load")
        mean: FloatArray = self.mean_
        if mean.shape != scan.grid.shape:
            raise MethodError(
                f"expected the grid that the template was fitted on, {mean.shape} voxels, found "
                f"{scan.grid.shape} in {scan}"
            )
        return mean


@dataclass
class Shrink(Template):
    """RAW drawn towards the mean of all RAW: nearly one image for everyone.

    Agreement rises with what is taken away from the subject, so metrics of agreement reward it.

    Attributes
    ----------
    keep
        Share of RAW that is kept, 0 (the template) to 1 (RAW).
    """

    keep: float = 0.2

    needs: ClassVar[Needs] = Needs(role="degenerate", quick_reads=IMAGE_ONLY)

    def transform(self, scan: Scan) -> Scan:
        """Return keep x RAW + (1 - keep) x the mean of all RAW (x, y, z), 0 outside the brain.

        Raises
        ------
        MethodError
            Not fitted, or a scan on another grid.
        SettingsError
            A parameter out of range.
        """
        self.check()
        mean = self._mean(scan).astype(np.float64)
        mixed = self.keep * scan.voxels() + (1 - self.keep) * mean
        return scan.with_voxels(within(mixed, scan.brain()))

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse a share that is none.

        Raises
        ------
        SettingsError
            What was expected, and what was found.
        """
        refuse("shrink", number("keep", self.keep, lambda v: 0 <= v <= 1, "a number from 0 to 1"))


def mean_image(
    scans: Sequence[Scan], progress: Callable[[int], None] = lambda done: None
) -> FloatArray:
    """Mean of scans voxel by voxel (x, y, z), summed in float64 with one scan in memory.

    Raises
    ------
    MethodError
        No scans, or scans on several grids.
    """
    if not scans:
        raise MethodError("expected scans to average, found none")
    total = np.zeros(scans[0].grid.shape)
    for done, scan in enumerate(scans, start=1):
        voxels = scan.voxels()
        if voxels.shape != total.shape:
            raise MethodError(
                f"expected all scans on one grid, found {voxels.shape} voxels in {scan} and "
                f"{total.shape} in {scans[0]}"
            )
        total += voxels
        progress(done)
    return (total / len(scans)).astype(np.float32)
