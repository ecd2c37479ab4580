"""Random smooth deformations, their inverses and their Jacobians, on a lattice of 4 mm.

Points are arrays (3, ...) of mm in RAS axes. The lattice covers the template whatever the
resolution of the images, so that a subject is the same at every resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.errors import HarmobenchError
from harmobench.imaging.volume import FloatArray
from harmobench.phantom.interpolation import trilinear

Points = NDArray[np.floating[Any]]
LOW, HIGH = (-104.0, -140.0, -80.0), (104.0, 104.0, 124.0)  # mm, wider than ICBM152
SPACING = 4.0
TOLERANCE = 0.01  # mm, of the last step; the error left is several times smaller
ITERATIONS = 60
DEFORMATION_SIGMA, DEFORMATION_RMS = 18.0, 5.0  # mm, of a subject's velocity field


def lattice_shape(spacing: float = SPACING) -> tuple[int, int, int]:
    """Nodes of the lattice along each axis."""
    x, y, z = (
        int(np.ceil((high - low) / spacing)) + 1 for low, high in zip(LOW, HIGH, strict=True)
    )
    return x, y, z


def smooth_noise(
    rng: np.random.Generator, sigma: float, spacing: float = SPACING, fields: int = 1
) -> FloatArray:
    """Gaussian noise (fields, x, y, z) on the lattice, smoothed by `sigma` mm, SD 1, mean 0."""
    white = rng.standard_normal((fields, *lattice_shape(spacing)), dtype=np.float32)
    # wrapped round, so that the spread is the same at the edges as within
    smooth = np.stack(
        [ndimage.gaussian_filter(w, sigma / spacing, mode="wrap", truncate=3.0) for w in white]
    )
    axes = (1, 2, 3)
    smooth -= smooth.mean(axis=axes, keepdims=True)
    return np.asarray(smooth / smooth.std(axis=axes, keepdims=True), dtype=np.float32)


def sample(fields: FloatArray, points: Points, spacing: float = SPACING) -> FloatArray:
    """Interpolate lattice fields (n, x, y, z) linearly at points (3, ...); edges are extended."""
    low = np.reshape(LOW, (3,) + (1,) * (points.ndim - 1))
    index = (points - low) / spacing
    return trilinear(fields, index)


@dataclass(frozen=True, eq=False)
class Deformation:
    """A map of space: the point p goes to p + displacement(p).

    Attributes
    ----------
    displacement
        On the lattice (3, x, y, z), mm, interpolated linearly between nodes.
    """

    displacement: FloatArray

    def __call__(self, points: Points) -> Points:
        """Where the points (3, ...) go, mm."""
        return points + sample(self.displacement, points)

    def inverse(self, points: Points, start: Points | None = None) -> Points:
        """Points (3, ...) that go to these, see `invert`."""
        first = points - sample(self.displacement, points) if start is None else start
        return invert(lambda p: sample(self.displacement, p), points, first)

    def jacobian(self) -> FloatArray:
        """Compute the determinant of the Jacobian at every node of the lattice."""
        x, y, z = (np.stack(np.gradient(d, SPACING)) for d in self.displacement)
        x[0] += 1
        y[1] += 1
        z[2] += 1
        return np.asarray((x * np.cross(y, z, axis=0)).sum(axis=0))


def invert(displacement: Callable[[Points], Points], points: Points, start: Points) -> Points:
    """Solve p + displacement(p) = points by fixed-point iteration.

    Chen et al., Medical Physics 2008;35:81-88: it converges where the displacement's Lipschitz
    constant is below 1.

    Raises
    ------
    HarmobenchError
        It does not converge: the map folds.
    """
    current = start
    for _ in range(ITERATIONS):
        following = points - displacement(current)
        change = float(np.abs(following - current).max())
        current = following
        if change < TOLERANCE:
            return current
    raise HarmobenchError(
        f"expected a deformation that can be inverted to {TOLERANCE:g} mm, found a change of "
        f"{change:g} mm after {ITERATIONS} steps: its displacement is too steep"
    )


def random_velocity(rng: np.random.Generator, sigma: float, rms: float) -> FloatArray:
    """Smooth field (3, x, y, z) on the lattice: `sigma` mm smooth, of root mean square `rms` mm."""
    return smooth_noise(rng, sigma, fields=3) * np.float32(rms / np.sqrt(3.0))


def random_displacement(rng: np.random.Generator, sigma: float, rms: float) -> Deformation:
    """Small smooth deformation: its displacement is drawn, so that its RMS is exact.

    Raises
    ------
    HarmobenchError
        It folds.
    """
    return refuse_folding(Deformation(random_velocity(rng, sigma, rms)))


def exponential(velocity: FloatArray, squarings: int = 5) -> Deformation:
    """Diffeomorphism of a stationary velocity field (3, x, y, z) on the lattice, mm.

    Scaling and squaring: Arsigny et al., MICCAI 2006, LNCS 4190:924-931. Its inverse is, but for
    the lattice's interpolation, the exponential of the negated velocity.

    Raises
    ------
    HarmobenchError
        The velocity is too large for the lattice: the result folds.
    """
    nodes = lattice_points()
    displacement = velocity / np.float32(2**squarings)
    for _ in range(squarings):
        displacement = displacement + sample(displacement, nodes + displacement)
    return refuse_folding(Deformation(displacement))


def refuse_folding(deformation: Deformation) -> Deformation:
    """Return a deformation whose Jacobian is positive at every node of the lattice.

    Raises
    ------
    HarmobenchError
        It is not.
    """
    lowest = float(deformation.jacobian().min())
    if not lowest > 0:
        raise HarmobenchError(
            f"expected a deformation that does not fold, found a Jacobian of {lowest:.3f}: "
            "its displacement is too large for its smoothness"
        )
    return deformation


def lattice_points() -> FloatArray:
    """World coordinates (3, x, y, z) of the lattice's nodes, mm."""
    index = np.indices(lattice_shape(), dtype=np.float32)
    return np.asarray(index * SPACING + np.reshape(LOW, (3, 1, 1, 1)), dtype=np.float32)


def random_rigid(rng: np.random.Generator, degrees: float, mm: float) -> NDArray[np.float64]:
    """Small rotation about the origin and translation: a 4 x 4 matrix.

    Parameters
    ----------
    rng
        Of this matrix alone.
    degrees, mm
        SD of the three angles and of the three shifts.
    """
    from scipy.spatial.transform import Rotation

    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", rng.normal(0, degrees, 3), degrees=True).as_matrix()
    out[:3, 3] = rng.normal(0, mm, 3)
    return out


def apply_matrix(matrix: NDArray[np.floating[Any]], points: Points) -> Points:
    """Map points (3, ...) by a 4 x 4 matrix."""
    flat = matrix[:3, :3] @ points.reshape(3, -1) + matrix[:3, 3:]
    return np.asarray(flat.reshape(points.shape))
