"""RAVEL's arithmetic, streamed over blocks of voxels.

Fortin et al., NeuroImage 2016, section 2.3; the numbers are those of the R package RAVEL 1.3.6. The
singular vectors come from the images x images Gram matrix of the control voxels, and the least
squares are weighted sums over images: beside what is returned, one block of all images and that
matrix are in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harmobench.cohort import Progress, no_progress
from harmobench.errors import MethodError
from harmobench.imaging.volume import BoolArray, FloatArray

Array = NDArray[np.float64]

BLOCK_BYTES = 1 << 24  # of a block of all images, in single precision
PIECE_BYTES = 1 << 21  # of it at a time in double precision
PART = 1 << 15  # voxels of one image that stay in cache
SAMPLE = 1 << 17  # voxels that an image's percentile is taken from


class Images(Protocol):
    """Images as rows (n, voxels): an array, or a file of which only a block is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, voxels."""
        ...

    def __getitem__(self, where: tuple[slice, slice], /) -> NDArray[Any]:
        """Read a block (rows, columns)."""
        ...


@dataclass(frozen=True)
class Factors:
    """What RAVEL has learned; n images, c control voxels.

    Attributes
    ----------
    z
        Each image's factors, (n, k).
    left, singular
        Left singular vectors (c, k) and singular values (k,) of the control voxels. An image's
        factors are `values @ left / singular`, be it one of these images or another.
    gamma
        Effect of each factor on each voxel, (k, voxels).
    mean
        Mean image, (voxels,).
    """

    z: Array
    left: Array
    singular: Array
    gamma: FloatArray
    mean: FloatArray


def fit_factors(
    images: Images,
    controls: int,
    k: int,
    covariates: Mapping[str, Array],
    block_bytes: int = BLOCK_BYTES,
    progress: Progress = no_progress,
) -> Factors:
    """Estimate the unwanted factors and their effect on every voxel.

    Parameters
    ----------
    images
        (n, voxels); the control voxels come first. Their first `controls` columns are read twice,
        the others once.
    controls
        How many of the voxels are control voxels.
    k
        Factors of unwanted variation.
    covariates
        Values (n,) of what is to be protected, by name.
    block_bytes
        Memory of a block of all images.
    progress
        Told (voxels done, voxels, what).

    Raises
    ------
    MethodError
        Fewer than k independent images, or dependent covariates.
    """
    n, voxels = images.shape
    z, singular = unwanted_factors(gram_matrix(images, controls, block_bytes), k)
    weights = np.vstack([factor_weights(z, covariates), np.full((1, n), 1 / n)])
    left = np.empty((k, controls))
    for part, block in blocks(images, controls, block_bytes):
        left[:, part] = (z / singular).T @ block
    sums = np.empty((k + 1, voxels), dtype=np.float32)
    for part, block in blocks(images, voxels, block_bytes):
        sums[:, part] = weights @ block
        progress(part.stop, voxels, "RAVEL: regression")
    return Factors(z, left.T.copy(), singular, sums[:-1], sums[-1])


def blocks(
    images: Images, columns: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[slice, Array]]:
    """Yield the first `columns` columns bit by bit: where, and their values, (n, width).

    They are read in blocks of `block_bytes`, so that a file is read in long runs, and made double
    precision in smaller ones, which stay in cache.
    """
    n = max(images.shape[0], 1)
    width, step = max(block_bytes // (4 * n), 1), max(PIECE_BYTES // (8 * n), 1)
    for start in range(0, columns, width):
        block = images[:, start : min(start + width, columns)]
        for first in range(0, block.shape[1], step):
            piece = block[:, first : first + step].astype(np.float64)
            yield slice(start + first, start + first + piece.shape[1]), piece


def gram_matrix(images: Images, controls: int, block_bytes: int = BLOCK_BYTES) -> Array:
    """Inner products (n, n) of the images in their first `controls` voxels."""
    gram = np.zeros((images.shape[0],) * 2)
    for _, block in blocks(images, controls, block_bytes):
        gram += block @ block.T
    return gram


def unwanted_factors(gram: Array, k: int) -> tuple[Array, Array]:
    """First k right singular vectors and values of the control voxels, neither centred nor scaled.

    Parameters
    ----------
    gram
        Inner products of the images in the control voxels, (n, n).
    k
        Factors of unwanted variation.

    Returns
    -------
    tuple
        Z (n, k), each image's factors, and the singular values (k,). The sign of a factor, which
        changes nothing, is such that its sum over images is not negative.

    Raises
    ------
    MethodError
        Fewer than k independent images.
    """
    n = gram.shape[0]
    values, vectors = np.linalg.eigh(gram)
    s = np.sqrt(np.clip(values[::-1], 0, None))
    rank = int(np.count_nonzero(s > 1e-6 * s[0])) if n else 0
    if rank == 0:
        raise MethodError(
            f"expected intensities other than 0 in the control region, found 0 alone in all {n} "
            "scans: is the CSF cut out of the images, or are the tissue labels of another image?"
        )
    if k > rank:
        raise MethodError(
            f"expected at least k = {k} independent images in the control region, found {rank} "
            f"among {n}: lower the parameter k"
        )
    z = vectors[:, ::-1][:, :k]
    return z * np.where(z.sum(axis=0) < 0, -1.0, 1.0), s[:k]


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
    # lengths do not matter for Z's rows, but pinv would take a very short column for 0
    design /= np.linalg.norm(design, axis=0)
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


def factors_of(
    values: NDArray[np.floating], left: Array, singular: Array, seen: BoolArray
) -> Array:
    """Factors (k,) of one image from its control voxels (c,), those that it has (`seen`).

    Parameters
    ----------
    values, seen
        Intensities of the control voxels, and whether they are in the image's brain, (c,).
    left, singular
        Of the fit, (c, k) and (k,).

    Raises
    ------
    MethodError
        Fewer control voxels than factors.
    """
    if seen.all():
        return np.asarray(values @ (left / singular))
    if np.count_nonzero(seen) < singular.size:
        raise MethodError(
            f"expected control voxels in the scan's brain mask, found {np.count_nonzero(seen)} of "
            f"{seen.size}: RAVEL reads its factors there; give a mask that leaves the CSF in"
        )
    own: Array = values[seen].astype(np.float64)
    return np.asarray(np.linalg.lstsq(left[seen] * singular, own, rcond=None)[0])


def correct(
    values: NDArray[np.floating], z: Array, gamma: NDArray[np.floating], mean: NDArray[np.floating]
) -> FloatArray:
    """Take an image's unwanted factors out and add the mean image: `values - z gamma + mean`.

    Factors are not centred, so z gamma holds the mean that is added again. Covariates took part in
    the fit of gamma but are not taken out. Shapes: (voxels,), (k,), (k, voxels), (voxels,).
    """
    out = np.empty(values.shape, dtype=np.float32)
    for start in range(0, values.size, PART):
        part = slice(start, start + PART)
        total: Array = values[part].astype(np.float64)
        total += mean[part]
        for weight, row in zip(z, gamma, strict=True):
            total -= weight * row[part]
        out[part] = total
    return out


def without_outliers(values: FloatArray, cap: float, where: str) -> FloatArray:
    """Clip what lies further from 0 than `cap` times the 99.9th percentile of |values|, and warn.

    The factors are sums of squares over the control voxels: one broken voxel can outweigh all
    others. 0: keep all, as R. The percentile is that of up to 2^18 evenly spaced voxels.

    Raises
    ------
    MethodError
        NaN or inf among the values.
    """
    if not np.isfinite(values).all():
        raise MethodError(f"{where}: expected finite intensities, found NaN or inf")
    sample = np.abs(values[:: max(values.size // SAMPLE, 1)])
    if cap <= 0 or values.size == 0:
        return values
    bound = cap * float(np.quantile(sample, 0.999, method="lower"))
    highest, lowest = float(values.max()), float(values.min())
    if bound == 0 or max(highest, -lowest) <= bound:
        return values
    count = np.count_nonzero(np.abs(values) > bound)
    warnings.warn(
        f"{where}: {count} voxels are further from 0 than {cap:g} times the 99.9th percentile "
        f"({lowest:g} to {highest:g} in all): RAVEL learns from them as from {bound:g}",
        stacklevel=2,
    )
    return np.clip(values, -bound, bound)
