"""ICBM152 as the phantom uses it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from harmobench.atlas import ELLIPSOIDS, icbm152
from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.phantom.deformation import Points, apply_matrix

FINE = 2.0  # mm, of the maps that subjects are made from
OFFSETS = {"csf": 0.8, "wm": 0.2}  # log-odds: averaging washes sulci and thin white matter out
VENTRICLE_BOX = ((-32.0, 32.0), (-52.0, 42.0), (-6.0, 32.0))  # mm, MNI


@dataclass(frozen=True, eq=False)
class Base:
    """What all subjects are made from: smooth maps of ICBM152 at 2 mm, whatever the images have.

    Attributes
    ----------
    grid, brain
        The template's.
    points
        World coordinates (3, x, y, z), mm.
    csf, wm
        Log-odds of each against grey matter.
    edge, ventricle
        Signed distance from the brain mask's edge and the ventricles' wall, mm, negative inside.
    """

    grid: Grid
    brain: BoolArray
    points: FloatArray
    csf: FloatArray
    wm: FloatArray
    edge: FloatArray
    ventricle: FloatArray

    def surface(self) -> BoolArray:
        """Outermost voxels of the brain."""
        return np.asarray(self.brain & (self.edge > -FINE))


@lru_cache(maxsize=1)
def base_maps() -> Base:
    """ICBM152 as subjects are made from it."""
    fractions, _, brain, grid = icbm152(int(FINE))
    logs = {name: np.log(f + 0.01) for name, f in fractions.items()}
    logs["csf"][~brain] = np.log(1.01)
    for name in ("gm", "wm"):
        logs[name][~brain] = np.log(0.01)
    points = grid_points(grid).astype(np.float32)
    ventricles = (fractions["csf"] > 0.5) & _inside(points, VENTRICLE_BOX)
    return Base(
        grid=grid,
        brain=brain,
        points=points,
        csf=(logs["csf"] - logs["gm"] + OFFSETS["csf"]).astype(np.float32),
        wm=(logs["wm"] - logs["gm"] + OFFSETS["wm"]).astype(np.float32),
        edge=_signed_distance(brain, grid),
        ventricle=_signed_distance(ventricles, grid),
    )


@lru_cache(maxsize=2)
def template(resolution: float) -> tuple[Grid, BoolArray]:
    """Grid and brain mask of ICBM152 at a voxel size, a whole number of mm."""
    _, _, brain, grid = icbm152(int(resolution))
    return grid, brain


def grid_points(grid: Grid) -> Points:
    """World coordinates (3, x, y, z) of a grid's voxels, mm."""
    return apply_matrix(grid.affine, np.indices(grid.shape, dtype=np.float64))


def _inside(points: FloatArray, box: tuple[tuple[float, float], ...]) -> BoolArray:
    inside = [(p >= low) & (p <= high) for p, (low, high) in zip(points, box, strict=True)]
    return np.asarray(np.logical_and.reduce(inside))


def _signed_distance(mask: BoolArray, grid: Grid) -> FloatArray:
    sampling = tuple(float(v) for v in grid.voxel_sizes)
    half = 0.5 * sampling[0]
    outside = ndimage.distance_transform_edt(~mask, sampling=sampling)
    inside = ndimage.distance_transform_edt(mask, sampling=sampling)
    signed = np.where(mask, half - inside, outside - half)
    return np.asarray(signed, dtype=np.float32)


def ellipsoid_distance(points: Points, name: str, side: int) -> Points:
    """About the signed distance, mm, from the surface of a region's ellipsoid.

    Parameters
    ----------
    points
        Of template space (3, ...), mm.
    name
        A region of `ELLIPSOIDS`.
    side
        -1 left, 1 right.
    """
    centre, axes = ELLIPSOIDS[name]
    middle = (side * centre[0], *centre[1:])
    squares = sum(((p - c) / a) ** 2 for p, c, a in zip(points, middle, axes, strict=True))
    return np.asarray((np.sqrt(squares) - 1.0) * min(axes))
