"""Carrying images between template and native space through a displacement field.

A field is a NIfTI image in the convention of ITK and ANTs (`antsApplyTransforms -o [field,1]`):
shape (x, y, z, 1, 3), millimetres, LPS axes, lying on the grid it brings images to. The point
``x`` of that grid takes its value from the point ``x + field(x)`` of the image that is carried.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.errors import HarmobenchError
from harmobench.imaging.nifti import read_content, read_header
from harmobench.imaging.volume import FloatArray, Grid

RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def read_field(path: Path) -> tuple[FloatArray, Grid]:
    """Displacement field (x, y, z, 3), mm in RAS axes, and the grid it lies on.

    Raises
    ------
    HarmobenchError
        Not a five-dimensional vector image of three components.
    """
    header = read_header(path)
    if len(header.shape) != 5 or header.shape[3:] != (1, 3):
        found = " x ".join(str(n) for n in header.shape)
        raise HarmobenchError(
            f"expected a displacement field of shape x x y x z x 1 x 3, found {found} in {path}: "
            "write one with `antsApplyTransforms -o [field.nii.gz,1]`"
        )
    field = read_content(path, np.float32).voxels[..., 0, :]
    if not np.isfinite(field).all():
        raise HarmobenchError(f"expected finite displacements, found NaN or inf in {path}")
    return field * RAS_TO_LPS.astype(np.float32), Grid.make(header.shape[:3], header.affine)


def write_field(path: Path, field: FloatArray, grid: Grid) -> None:
    """Write a displacement field (x, y, z, 3), mm in RAS axes, as ITK and ANTs read it."""
    import nibabel as nib

    lps = (field * RAS_TO_LPS.astype(np.float32)).astype(np.float32)[..., None, :]
    image = nib.nifti1.Nifti1Image(lps, grid.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def field_indices(field: FloatArray, grid: Grid, source: Grid) -> NDArray[np.float64]:
    """Voxel indices (3, x, y, z) in `source` at which each voxel of `grid` takes its value."""
    index = np.indices(grid.shape, dtype=np.float64).reshape(3, -1)
    world = grid.affine[:3, :3] @ index + grid.affine[:3, 3:]
    world += field.reshape(-1, 3).T
    back = np.linalg.inv(source.affine)
    return (back[:3, :3] @ world + back[:3, 3:]).reshape(3, *grid.shape)


def carry(
    voxels: NDArray[np.generic],
    source: Grid,
    field: FloatArray,
    grid: Grid,
    interpolation: Literal["linear", "nearest"] = "linear",
    outside: float = 0.0,
) -> FloatArray:
    """Bring an image from `source` to `grid` through a displacement field.

    Parameters
    ----------
    voxels
        Image on `source`.
    source, grid
        Where the image lies, and where the field lies.
    field
        Displacements (x, y, z, 3), mm in RAS axes, on `grid`.
    interpolation
        "linear" for intensities, "nearest" for masks and labels.
    outside
        Value of points that fall outside `source`.
    """
    where = field_indices(field, grid, source)
    order: Literal[0, 1] = 1 if interpolation == "linear" else 0
    carried = ndimage.map_coordinates(
        voxels.astype(np.float32, copy=False), where, order=order, cval=outside
    )
    return np.asarray(carried, dtype=np.float32)


def likeness(
    voxels: FloatArray,
    source: Grid,
    field: FloatArray,
    grid: Grid,
    native: FloatArray,
    step: int = 3,
) -> float:
    """Correlation of an image that a field brings to `grid` with the image that lies there.

    Parameters
    ----------
    voxels
        Image on `source`, 0 outside the brain.
    source, grid
        Where the image lies, and where the field and `native` lie.
    field
        Displacements (x, y, z, 3), mm in RAS axes, on `grid`.
    native
        Image on `grid`, 0 where it was not measured.
    step
        Every so many voxels along each axis are compared.

    Returns
    -------
    float
        Pearson's r over the voxels where both are not 0; 0 where there are none.
    """
    every = (slice(None, None, step),) * 3
    scale = np.diag([step, step, step, 1.0])
    coarse = Grid.make(field[every].shape[:3], grid.affine @ scale)
    carried, there = carry(voxels, source, field[every], coarse), native[every]
    both = (carried != 0) & (there != 0)
    if np.count_nonzero(both) < 2:
        return 0.0
    r = float(np.corrcoef(carried[both], there[both])[0, 1])
    return r if np.isfinite(r) else 0.0
