"""Reading and writing NIfTI images, and the grid they lie on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import HarmobenchError
from harmobench.imaging.nifti import Header, read_content, read_header

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
LabelArray = NDArray[np.integer[Any]]

AFFINE_TOLERANCE = 1e-3  # mm: header rounding between programs stays below this


@dataclass(frozen=True)
class Grid:
    """Voxel counts and the voxel-to-world affine (mm, RAS) of an image.

    Attributes
    ----------
    shape
        Voxels along each of the three axes.
    matrix
        The affine's 16 numbers, row by row.
    """

    shape: tuple[int, int, int]
    matrix: tuple[float, ...]

    @classmethod
    def make(cls, shape: Sequence[int], affine: NDArray[Any]) -> Grid:
        """Grid of an array's shape and a 4 x 4 affine."""
        numbers = np.asarray(affine, dtype=np.float64).reshape(16)
        x, y, z = (int(n) for n in shape)
        return cls((x, y, z), tuple(float(n) for n in numbers))

    @property
    def affine(self) -> NDArray[np.float64]:
        """The 4 x 4 voxel-to-world affine, mm."""
        return np.array(self.matrix).reshape(4, 4)

    @property
    def voxel_sizes(self) -> NDArray[np.float64]:
        """Edge lengths of a voxel, mm, one an axis."""
        sizes: NDArray[np.float64] = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return sizes

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def matches(self, other: Grid) -> bool:
        """Whether two grids have the same shape and, to 1e-3 mm, the same affine."""
        if self == other:  # as in most cohorts, and of thousands of scans much faster
            return True
        return self.shape == other.shape and bool(
            np.allclose(self.affine, other.affine, atol=AFFINE_TOLERANCE)
        )

    def __str__(self) -> str:
        """Shape and voxel size, for messages."""
        shape = " x ".join(str(n) for n in self.shape)
        sizes = " x ".join(f"{s:g}" for s in np.round(self.voxel_sizes, 3))
        return f"{shape} voxels of {sizes} mm"


def without_spikes(values: FloatArray) -> FloatArray:
    """Clip what is larger than 10 times the 99.9th percentile of the sizes of values (n,).

    No tissue is; a few broken voxels must not decide what an image is like.
    """
    if values.size == 0:
        return values
    size = np.abs(values)
    rank = int(0.999 * (size.size - 1))
    bound = 10 * float(np.partition(size, rank)[rank])
    return np.clip(values, -bound, bound)


def read_grid(path: Path) -> Grid:
    """Grid of a 3-D image, from its header alone.

    Raises
    ------
    HarmobenchError
        No file, not a NIfTI image, or not three-dimensional.
    """
    return grid_of(read_header(path))


def grid_of(header: Header) -> Grid:
    """Grid of a 3-D image whose header was read.

    Raises
    ------
    HarmobenchError
        Not three-dimensional, or without a place for each voxel.
    """
    path, shape, affine = header.path, header.shape, header.affine
    if len(shape) != 3:
        found = " x ".join(str(n) for n in shape)
        raise HarmobenchError(
            f"expected a 3-D image, found {len(shape)}-D ({found}) in {path}: "
            "split it into volumes and name one"
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise HarmobenchError(
            f"expected an affine that gives each voxel its place, found a broken one in {path}"
        )
    return Grid.make(shape, affine)


def at_least(fraction: FloatArray, threshold: float) -> BoolArray:
    """Voxels of at least this tissue fraction or probability, 0 to 1.

    Fractions are stored in steps of 1/250, and the step that stands for .8 must count as .8.

    >>> at_least(np.float32([0.2, 0.8, 0.9]), 0.8)
    array([False,  True,  True])
    """
    mask: BoolArray = fraction >= threshold - 1e-6
    return mask


def read_voxels(path: Path) -> FloatArray:
    """Voxels of a 3-D image as float32, in the stored axis order.

    Raises
    ------
    HarmobenchError
        No file, not a NIfTI image, or voxels that cannot be read.
    """
    return read_content(path, np.float32).voxels


def read_labels(path: Path) -> NDArray[np.int32]:
    """Voxels of a label image, rounded to int32.

    Raises
    ------
    HarmobenchError
        As `read_voxels`; or what is no label, NaN say.
    """
    with np.errstate(invalid="ignore"):
        whole = np.rint(read_content(path, np.float64).voxels)
    if not (np.abs(whole) < 2.0**31).all():
        raise HarmobenchError(f"expected whole labels, found NaN or numbers beyond 2^31 in {path}")
    labels: NDArray[np.int32] = whole.astype(np.int32)
    return labels


def write_image(path: Path, voxels: NDArray[Any], grid: Grid, scale: float | None = None) -> None:
    """Write an array as NIfTI; the same array gives the same bytes.

    Parameters
    ----------
    path
        Ends in .nii.gz or .nii.
    voxels
        Stored in its own dtype; bool becomes uint8.
    grid
        Where the voxels lie.
    scale
        Slope of the stored integers, where they stand for fractions.
    """
    import nibabel as nib

    array = voxels.astype(np.uint8) if voxels.dtype == np.bool_ else voxels
    image = nib.nifti1.Nifti1Image(array, grid.affine)
    if scale is not None:  # nibabel stores the integers as they are once a slope is set
        image.header.set_slope_inter(scale, 0.0)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
