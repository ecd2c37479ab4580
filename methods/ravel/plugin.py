"""RAVEL: remove what varies together with the CSF, which carries no disease.

Fortin et al., NeuroImage 2016; the arithmetic is in `factors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Cohort, Context, Group, Needs, Reference, Scan
from harmobench.limits import number, refuse, whole
from harmobench.methods.ravel.factors import correct, factors_of, fit_factors, without_outliers
from harmobench.methods.ravel.region import erode, intersect, needed
from harmobench.methods.ravel.rows import RowFile

CSF = 1  # code of cerebrospinal fluid in the shared input "tissue"


@dataclass
class Ravel(Method):
    """RAVEL as published: all images fitted at once, the clinical group protected.

    Attributes
    ----------
    k
        Factors of unwanted variation.
    prob
        Share of the scans in which a control voxel must be CSF.
    erode
        Voxels by which the control region is eroded, as far as `min_voxels` remain.
    min_voxels
        The fewest control voxels that it works with.
    cap
        Intensities further from 0 than `cap` x the 99.9th percentile are learned from as if they
        lay there: one broken voxel would outweigh all others. 0 keeps all, as R.
    """

    k: int = 1
    prob: float = 1.0
    erode: int = 1
    min_voxels: int = 50
    cap: float = 3.0

    needs: ClassVar[Needs] = Needs(covariates=True, group=True, inputs=("whitestripe", "tissue"))
    reference: ClassVar[Reference] = Reference(
        title="Removing inter-subject technical variability in magnetic resonance imaging studies",
        authors="Fortin JP, Sweeney EM, Muschelli J, Crainiceanu CM, Shinohara RT",
        year=2016,
        venue="NeuroImage 132, 198-212",
        doi="10.1016/j.neuroimage.2016.02.036",
        key="fortin2016ravel",
    )

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Estimate the factors in the control region, and their effect on every brain voxel.

        Reads each scan's mask, tissue labels and White-Striped image once. Memory: one image, a
        block of all, and k + 1 images of sums; disk: `context.scratch` holds all images' brains.

        Raises
        ------
        MethodError
            A control region too small, dependent covariates, or not enough room on the disk.
        SettingsError
            A parameter out of range.
        """
        self.check()
        covariates = _covariates(train, context, self.needs.group)
        brain = intersect((scan.brain() for scan in train.scans), 1.0)
        control, self.eroded_ = self._control(train, brain, context)
        inside = control[brain]
        order = np.argsort(~inside, kind="stable")  # control voxels first
        scans = _tracked(train, context, "RAVEL: reading")
        images = RowFile.write(
            context.scratch / "images.f32",
            (without_outliers(_striped(scan, brain), self.cap, str(scan))[order] for scan in scans),
            (len(train), order.size),
        )
        controls = int(np.count_nonzero(inside))
        found = fit_factors(images, controls, self.k, covariates, progress=context.progress)
        images.path.unlink()
        self.gamma_, self.mean_ = np.empty_like(found.gamma), np.empty_like(found.mean)
        self.gamma_[:, order], self.mean_[order] = found.gamma, found.mean
        self.left_, self.singular_ = found.left, found.singular
        self.brain_, self.control_ = brain, control
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return the White-Striped scan without its unwanted factors; 0 outside the brain.

        The factors are the control voxels projected on the left singular vectors, over the
        singular values: for a scan of the fit, its own row of Z. Control voxels outside the scan's
        own mask hold no brain and are left out of that, by least squares on the others.

        Raises
        ------
        MethodError
            Not fitted, a scan on another grid, or one with NaN or inf.
        SettingsError
            A parameter out of range.
        """
        self.check()
        if not hasattr(self, "gamma_"):
            raise MethodError("expected a fitted RAVEL, found one without fit: call fit or load")
        brain = scan.brain()
        if brain.shape != self.brain_.shape:
            raise MethodError(
                f"expected the grid that RAVEL was fitted on, {self.brain_.shape} voxels, "
                f"found {brain.shape} in {scan}"
            )
        values = _striped(scan, self.brain_)
        inside = self.control_[self.brain_]
        known = without_outliers(values, self.cap, str(scan))[inside]
        z = factors_of(known, self.left_, self.singular_, brain[self.brain_][inside])
        out = np.zeros(brain.shape, dtype=np.float32)
        out[self.brain_] = correct(values, z, self.gamma_, self.mean_)
        out[~brain] = 0.0
        return scan.with_voxels(out)

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that no cohort can be fitted with.

        Raises
        ------
        SettingsError
            Each of them, with what was expected.
        """
        refuse(
            "RAVEL",
            whole("k", self.k, 1),
            number("prob", self.prob, lambda v: 0 < v <= 1, "a number above 0 and at most 1"),
            whole("erode", self.erode, 0),
            whole("min_voxels", self.min_voxels, 1),
            number("cap", self.cap, lambda v: v == 0 or v > 1, "a number above 1, or 0 for none"),
        )

    def _control(self, train: Cohort, brain: BoolArray, context: Context) -> tuple[BoolArray, int]:
        scans = _tracked(train, context, "RAVEL: control region")
        csf = intersect((scan.input_labels("tissue") == CSF for scan in scans), self.prob)
        mask = csf & context.atlas.tissue("csf") & brain
        found = int(np.count_nonzero(mask))
        if found < self.min_voxels:
            least = needed(self.prob, len(train))
            raise MethodError(
                f"expected a control region of at least {self.min_voxels} voxels (CSF in at least "
                f"{least} of the {len(train)} scans, CSF in the atlas, in every brain), "
                f"found {found}: lower the parameter prob (0.9, say) or min_voxels, or check the "
                "tissue labels"
            )
        return erode(mask, self.erode, self.min_voxels)


@dataclass
class RavelCV(Ravel):
    """RAVEL by folds: fitted on training scans only, without the clinical group."""

    needs: ClassVar[Needs] = Needs(folds=True, covariates=True, inputs=("whitestripe", "tissue"))


def _tracked(train: Cohort, context: Context, what: str) -> Iterator[Scan]:
    for done, scan in enumerate(train.scans, start=1):
        yield scan
        context.progress(done, len(train), what)


def _striped(scan: Scan, brain: BoolArray) -> FloatArray:
    return scan.input("whitestripe")[brain]


def _covariates(
    train: Cohort, context: Context, with_group: bool
) -> dict[str, NDArray[np.float64]]:
    """Numbers of each covariate (n,); the clinical group only where it may be seen."""
    group = context.group
    out: dict[str, NDArray[np.float64]] = {}
    if with_group and group is not None:
        out[group.column] = np.array([_code(scan, group) for scan in train.scans])
    for name in context.covariates:
        if group is None or name != group.column:
            out[name] = np.array([scan.covariate(name) for scan in train.scans])
    return out


def _code(scan: Scan, group: Group) -> float:
    found = scan.values.get(group.column, "")
    if found not in (group.first, group.second):
        raise MethodError(
            f"expected '{group.first}' or '{group.second}' in column '{group.column}' for {scan}, "
            f"found '{found}': RAVEL protects two groups; leave other scans out of the cohort"
        )
    return group.code(scan)
