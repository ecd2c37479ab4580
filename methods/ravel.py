"""RAVEL: remove what varies together with the CSF, which carries no disease.

Fortin et al., NeuroImage 2016, section 2.3; the arithmetic is that of the R package RAVEL 1.3.6.
The singular vectors come from the images x images Gram matrix of the control voxels, and the least
squares are weighted sums over images: one image is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from harmobench.base import Method
from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Cohort, Context, Group, Needs, Reference, Scan

Array = NDArray[np.float64]

BLOCK = 1 << 15  # voxels: a block of accumulators stays in cache
CSF = 1  # code of cerebrospinal fluid in the shared input "tissue"


def intersect(masks: Iterable[BoolArray], prob: float) -> BoolArray:
    """Voxels that are in at least floor(prob x n), and at least one, of n masks."""
    n, count = 0, np.zeros((), dtype=np.int32)
    for mask in masks:
        n, count = n + 1, count + mask
    needed = max(int(prob * n + 1e-9), 1)
    return np.asarray(count >= needed)


def erode(mask: BoolArray, steps: int, min_voxels: int) -> tuple[BoolArray, int]:
    """Erode by up to `steps` voxels (six neighbours), as long as `min_voxels` remain.

    Returns
    -------
    tuple
        The mask and the steps that were made.
    """
    from scipy import ndimage

    for step in range(steps):
        smaller = np.asarray(ndimage.binary_erosion(mask))
        if np.count_nonzero(smaller) < min_voxels:
            return mask, step
        mask = smaller
    return mask, steps


def unwanted_factors(control: NDArray[np.floating], k: int) -> tuple[Array, Array, Array]:
    """First k singular triplets of the control voxels, neither centred nor scaled.

    Parameters
    ----------
    control
        Images x control voxels, (n, c).
    k
        Factors of unwanted variation.

    Returns
    -------
    tuple
        Z (n, k): each image's factors; U (c, k) and s (k,): an image's factors are
        `values @ U / s`, be it one of these images or another.

    Raises
    ------
    MethodError
        Fewer than k independent images.
    """
    n = control.shape[0]
    gram = np.zeros((n, n))
    for start in range(0, control.shape[1], BLOCK):
        block = control[:, start : start + BLOCK].astype(np.float64)
        gram += block @ block.T
    values, vectors = np.linalg.eigh(gram)
    s = np.sqrt(np.clip(values[::-1], 0, None))
    rank = int(np.count_nonzero(s > 1e-6 * s[0])) if n else 0
    if k > rank:
        raise MethodError(
            f"expected at least k = {k} independent images in the control region, found {rank} "
            f"among {n}: lower ravel.k"
        )
    z = vectors[:, ::-1][:, :k]
    z = z * np.where(z.sum(axis=0) < 0, -1.0, 1.0)
    left = np.concatenate(
        [control[:, i : i + BLOCK].T @ z for i in range(0, control.shape[1], BLOCK)]
    )
    return z, left / s[:k], s[:k]


def factor_weights(z: Array, covariates: Mapping[str, Array]) -> Array:
    """Weights (k, n) of the images in gamma = weights @ images, fitted jointly with covariates.

    The rows of Z in the pseudo-inverse of D = [Z, covariates]. A covariate with one value for all
    images is an intercept, which RAVEL leaves out: it is dropped.

    Raises
    ------
    MethodError
        D has dependent columns, named.
    """
    names = [f"factor {i + 1}" for i in range(z.shape[1])]
    kept = {name: c for name, c in covariates.items() if np.ptp(c) > 0}
    design = np.column_stack([z, *kept.values()])
    dependent = dependent_columns(design)
    if dependent:
        names += list(kept)
        raise MethodError(
            f"expected independent columns in RAVEL's design, found that "
            f"{', '.join(repr(names[i]) for i in dependent)} can be made of the columns before "
            f"(of {', '.join(names)}; {z.shape[0]} scans): leave that covariate out, or give more "
            "scans than columns"
        )
    return np.asarray(np.linalg.pinv(design)[: z.shape[1]])


def dependent_columns(design: Array) -> list[int]:
    """Columns that are, to 1e-8 of their length, a combination of those before them."""
    basis = np.zeros((design.shape[0], 0))
    dependent = []
    for i, column in enumerate((design / np.linalg.norm(design, axis=0)).T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)  # once more: the first pass leaves rounding behind
        length = float(np.linalg.norm(rest))
        if length < 1e-8:
            dependent.append(i)
        else:
            basis = np.column_stack([basis, rest / length])
    return dependent


def weighted_sums(weights: Array, images: Iterable[NDArray[np.floating]]) -> Array:
    """Weights (m, n) times n images (voxels,), read one after the other: (m, voxels)."""
    total = np.zeros((0, 0))
    for column, image in zip(weights.T, images, strict=True):
        if total.size == 0:
            total = np.zeros((column.size, image.size))
        for start in range(0, image.size, BLOCK):
            part = slice(start, start + BLOCK)
            total[:, part] += column[:, None] * image[part].astype(np.float64)
    return total


def correct(
    values: NDArray[np.floating], z: Array, gamma: NDArray[np.floating], mean: NDArray[np.floating]
) -> FloatArray:
    """Take an image's unwanted factors out and add the mean image: `values - z gamma + mean`.

    Factors are not centred, so z gamma holds the mean that is added again. Covariates took part in
    the fit of gamma but are not taken out. Shapes: (voxels,), (k,), (k, voxels), (voxels,).
    """
    out: Array = values.astype(np.float64) + mean
    for weight, row in zip(z, gamma, strict=True):
        out -= weight * row
    return out.astype(np.float32)


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
    """

    k: int = 1
    prob: float = 1.0
    erode: int = 1
    min_voxels: int = 50

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

        Reads each scan's tissue labels once and its White-Striped image twice. Memory: one image,
        the control voxels of all, and k + 1 images of sums.

        Raises
        ------
        MethodError
            A parameter out of range, a control region too small, or dependent covariates.
        """
        self._check()
        brain = intersect((scan.brain() for scan in train.scans), 1.0)
        control, self.eroded_ = self._control(train, brain, context)
        z, self.left_, self.singular_ = unwanted_factors(
            _gather(train, brain, control, context), self.k
        )
        covariates = _covariates(train, context, self.needs.group)
        n = len(train)
        weights = np.vstack([factor_weights(z, covariates), np.full((1, n), 1 / n)])
        images = (_striped(scan, brain) for scan in _tracked(train, context, "RAVEL: regression"))
        sums = weighted_sums(weights, images).astype(np.float32)
        self.gamma_, self.mean_ = sums[:-1], sums[-1]
        self.brain_, self.control_ = brain, control
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return the White-Striped scan without its unwanted factors; 0 outside the brain.

        The factors are the control voxels projected on the left singular vectors, over the
        singular values: for a scan of the fit, its own row of Z.

        Raises
        ------
        MethodError
            Not fitted, or a scan on another grid.
        """
        if not hasattr(self, "gamma_"):
            raise MethodError("expected a fitted RAVEL, found one without fit: call fit or load")
        brain = scan.brain()
        if brain.shape != self.brain_.shape:
            raise MethodError(
                f"expected the grid that RAVEL was fitted on, {self.brain_.shape} voxels, "
                f"found {brain.shape} in {scan}"
            )
        values = _striped(scan, self.brain_)
        z = values[self.control_[self.brain_]] @ (self.left_ / self.singular_)
        out = np.zeros(brain.shape, dtype=np.float32)
        out[self.brain_] = correct(values, z, self.gamma_, self.mean_)
        out[~brain] = 0.0
        return scan.with_voxels(out)

    def _control(self, train: Cohort, brain: BoolArray, context: Context) -> tuple[BoolArray, int]:
        scans = _tracked(train, context, "RAVEL: control region")
        csf = intersect((scan.input_labels("tissue") == CSF for scan in scans), self.prob)
        mask = csf & context.atlas.tissue("csf") & brain
        found = int(np.count_nonzero(mask))
        if found < self.min_voxels:
            raise MethodError(
                f"expected a control region of at least {self.min_voxels} voxels (CSF in "
                f"{self.prob:g} of the {len(train)} scans, CSF in the atlas, in every brain), "
                f"found {found}: lower ravel.prob (0.9, say) or ravel.min_voxels, or check the "
                "tissue labels"
            )
        return erode(mask, self.erode, self.min_voxels)

    def _check(self) -> None:
        faults = {
            f"k of at least 1, found {self.k}": self.k >= 1,
            f"prob above 0 and at most 1, found {self.prob:g}": 0 < self.prob <= 1,
            f"erode of at least 0, found {self.erode}": self.erode >= 0,
            f"min_voxels of at least 1, found {self.min_voxels}": self.min_voxels >= 1,
        }
        wrong = [text for text, right in faults.items() if not right]
        if wrong:
            raise MethodError("RAVEL expected " + "; ".join(wrong))


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


def _gather(train: Cohort, brain: BoolArray, control: BoolArray, context: Context) -> FloatArray:
    out = np.empty((len(train), int(np.count_nonzero(control))), dtype=np.float32)
    for i, scan in enumerate(_tracked(train, context, "RAVEL: factors")):
        out[i] = _striped(scan, control)
    return out


def _covariates(train: Cohort, context: Context, with_group: bool) -> dict[str, Array]:
    """Numbers of each covariate (n,); the clinical group only where it may be seen."""
    group = context.group
    out: dict[str, Array] = {}
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
