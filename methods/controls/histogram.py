"""Histogram matching: the simple method that a trained one has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import FloatArray
from harmobench.interface import Cohort, Context, Needs, Reference, Scan
from harmobench.limits import refuse, whole
from harmobench.methods.controls.common import contrast

Floats = NDArray[np.float64]


@dataclass
class Histogram(Method):
    """Each brain's quantiles are mapped onto the mean quantiles of the training scans.

    Nyul, Udupa and Zhang 2000 map deciles onto their mean; here the landmarks lie so close that
    the whole histogram is matched.

    Attributes
    ----------
    quantiles
        How many landmarks, from the smallest to the largest intensity of the brain.
    """

    quantiles: int = 1001

    needs: ClassVar[Needs] = Needs(folds=True, role="baseline")
    reference: ClassVar[Reference] = Reference(
        title="New variants of a method of MRI scale standardization",
        authors="Nyúl LG, Udupa JK, Zhang X",
        year=2000,
        venue="IEEE Transactions on Medical Imaging 19(2), 143-150",
        doi="10.1109/42.836373",
        key="nyul2000standardization",
    )

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Average the quantiles of the training scans' brains, one scan in memory at a time.

        Raises
        ------
        MethodError
            No training scan, or one without contrast or with NaN or inf in its brain.
        SettingsError
            A parameter out of range.
        """
        self.check()
        if not train.scans:
            raise MethodError("expected training scans, found none")
        total = np.zeros(self.quantiles)
        for done, scan in enumerate(train.scans, start=1):
            total += quantiles_of(contrast(scan, scan.brain()), self.quantiles)
            context.progress(done, len(train), "histogram: mean quantiles")
        self.landmarks_ = total / len(train)
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return the scan with the mean histogram (x, y, z), 0 outside the brain.

        Raises
        ------
        MethodError
            Not fitted, or a brain without contrast or with NaN or inf.
        """
        if not hasattr(self, "landmarks_"):
            raise MethodError("expected mean quantiles, found none: call fit or load")
        brain = scan.brain()
        values = contrast(scan, brain)
        out = np.zeros(brain.shape, dtype=np.float32)
        out[brain] = matched(values, quantiles_of(values, self.landmarks_.size), self.landmarks_)
        return scan.with_voxels(out)

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse a number of landmarks that maps nothing.

        Raises
        ------
        SettingsError
            What was expected, and what was found.
        """
        refuse("histogram", whole("quantiles", self.quantiles, 2))


def quantiles_of(values: FloatArray, count: int) -> Floats:
    """Quantiles of values (n,) at `count` equal steps from 0 to 1, linear between order statistics.

    >>> quantiles_of(np.float32([4, 0, 2]), 5)
    array([0., 1., 2., 3., 4.])
    """
    ordered = np.sort(values).astype(np.float64)
    ranks = np.linspace(0, ordered.size - 1, count)
    return np.interp(ranks, np.arange(ordered.size), ordered)


def matched(values: FloatArray, own: Floats, onto: Floats) -> Floats:
    """Map values (n,) piecewise linearly from quantiles onto others, never falling.

    Quantiles that many voxels share are one landmark, which goes to the mean of its targets.

    Parameters
    ----------
    values
        Intensities (n,), within the range of `own`.
    own, onto
        Quantiles, not falling (k,).

    Examples
    --------
    >>> matched(np.float32([0, 0.5, 1]), np.array([0.0, 0, 1]), np.array([2.0, 4, 5]))
    array([3., 4., 5.])
    """
    levels, at, times = np.unique(own, return_inverse=True, return_counts=True)
    targets = np.bincount(at, weights=onto) / times
    return np.interp(values, levels, targets)
