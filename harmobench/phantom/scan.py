"""One scan of one subject: the native image, the maps to and from it, and RAW."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.phantom.anatomy import Anatomy, Tissues, tissues_at
from harmobench.phantom.deformation import (
    Deformation,
    Points,
    apply_matrix,
    random_displacement,
    random_rigid,
    sample,
    smooth_noise,
)
from harmobench.phantom.interpolation import trilinear
from harmobench.phantom.scanners import REFERENCE, Scanner, acquire
from harmobench.phantom.signal import Protocol, tissue_signal
from harmobench.phantom.template import grid_points

ROTATION, SHIFT = 2.0, 3.0  # SD of the head's position in a scanner, degrees and mm
RESIDUAL_SIGMA, RESIDUAL_RMS = 8.0, 0.4  # mm: what registration leaves over
RESIDUAL_BIAS = 0.15  # share of the log bias field that correction leaves in RAW
BIAS_SIGMA, BIAS_OWN = 45.0, 0.25  # mm; share of the field that changes from scan to scan
BIAS_SPACING = 12.0  # mm, lattice of the bias field
SCALE_SPREAD = 0.1  # SD of the logarithm of the intensity scale from scan to scan
MARGIN = 6.0  # mm around the brain in a native image
GRAIN = 256.0  # fields are stored in steps of 1/256 mm, which compress well
VARIATIONS = np.linspace(-0.4, 0.4, 81)  # of T1, between which the signal is interpolated


@dataclass(frozen=True, eq=False)
class Position:
    """How a native image lies to the template.

    A native point x goes to template point deformation(inverse of head (x)).

    Attributes
    ----------
    deformation
        The subject's, the same on all scanners.
    head
        How large the head is and where it lies in this scanner, a 4 x 4 matrix.
    residual
        The registration's error: what belongs at template point y, RAW shows at residual(y).
    guess
        The deformation's inverse, as good as the lattice can hold it: where inversion starts.
    """

    deformation: Deformation
    head: NDArray[np.float64]
    residual: Deformation
    guess: Deformation

    def to_template(self, points: Points) -> Points:
        """Template points of native points: the truth."""
        return self.deformation(apply_matrix(np.linalg.inv(self.head), points))

    def to_native(self, points: Points) -> Points:
        """Native points of template points: inverse of `to_template`."""
        return apply_matrix(self.head, self.deformation.inverse(points, self.guess(points)))

    def registered_to_native(self, points: Points) -> Points:
        """Native points whose intensities RAW shows at `points`."""
        return self.to_native(self.residual.inverse(points))


def draw_position(
    deformation: Deformation, guess: Deformation, size: float, rng: np.random.Generator
) -> Position:
    """Draw where a head of a given size lies and what its registration leaves over."""
    head = random_rigid(rng, ROTATION, SHIFT) @ np.diag([size, size, size, 1.0])
    residual = random_displacement(rng, RESIDUAL_SIGMA, RESIDUAL_RMS)
    return Position(deformation, head, residual, guess)


def native_grid(native_brain: Points, resolution: float) -> Grid:
    """Grid around the brain, its axes along the scanner's."""
    low = native_brain.reshape(3, -1).min(axis=1) - MARGIN
    high = native_brain.reshape(3, -1).max(axis=1) + MARGIN
    affine = np.diag([resolution, resolution, resolution, 1.0])
    affine[:3, 3] = np.round(low, 2)
    return Grid.make(np.ceil((high - low) / resolution).astype(int) + 1, affine)


def clean_signal(tissues: Tissues, protocol: Protocol) -> FloatArray:
    """Signal of a mixture of tissues: the sum of fractions times signals; 0 outside the shell."""

    def of(name: str) -> FloatArray:
        table = tissue_signal(name, protocol, VARIATIONS)
        return np.interp(tissues.variation, VARIATIONS, table).astype(np.float32)

    lesion = tissues.wm * tissues.lesion
    csf = np.float32(tissue_signal("csf", protocol))
    mixed = tissues.csf * csf + tissues.gm * of("gm") + (tissues.wm - lesion) * of("wm")
    return np.asarray((mixed + lesion * of("lesion")) * tissues.shell, dtype=np.float32)


def log_bias(
    scanner: Scanner, own: np.random.Generator, shared: np.random.Generator, points: Points
) -> FloatArray:
    """Logarithm of the bias field at native points: mostly the scanner's, partly the scan's."""
    pattern = np.sqrt(1 - BIAS_OWN) * smooth_noise(shared, BIAS_SIGMA, BIAS_SPACING)
    pattern += np.sqrt(BIAS_OWN) * smooth_noise(own, BIAS_SIGMA, BIAS_SPACING)
    return np.asarray(sample(pattern, points, BIAS_SPACING)[0] * np.float32(scanner.bias))


@dataclass(frozen=True, eq=False)
class NativeScan:
    """A native image and what is true of it.

    Attributes
    ----------
    grid
        The native grid.
    image
        What the scanner wrote.
    bias
        Logarithm of the bias field as it stands in the image.
    points
        Template points (3, x, y, z) of the native voxels.
    to_template, registered
        Displacements (x, y, z, 3), mm RAS: the true deformation, and the registration's.
    tissues
        Fractions at the native voxels.
    """

    grid: Grid
    image: FloatArray
    bias: FloatArray
    points: Points
    to_template: FloatArray
    registered: FloatArray
    tissues: Tissues

    def residual_rms(self) -> float:
        """Root mean square length of the registration's error in the brain, mm."""
        error = (self.registered - self.to_template)[self.tissues.brain]
        return float(np.sqrt(np.square(error, dtype=np.float64).sum(axis=-1).mean()))


def scan_native(
    anatomy: Anatomy,
    position: Position,
    scanner: Scanner,
    resolution: float,
    own: np.random.Generator,
    shared: np.random.Generator,
) -> NativeScan:
    """Put a subject into a scanner.

    Parameters
    ----------
    anatomy, position, scanner
        Who, how, where.
    resolution
        Native voxel size, mm.
    own, shared
        Random numbers of this scan, and of the scanner.
    """
    base = anatomy.base
    grid = native_grid(position.to_native(base.points[:, base.surface()]), resolution)
    native = grid_points(grid)
    points = position.to_template(native)
    tissues = tissues_at(anatomy, points)
    white = float(tissue_signal("wm", scanner.protocol))
    bias = log_bias(scanner, own, shared, native)
    written = acquire(
        clean_signal(tissues, scanner.protocol), bias, white, scanner, grid.voxel_sizes, own
    )
    written *= np.float32(np.exp(SCALE_SPREAD * own.normal()))
    return NativeScan(
        grid=grid,
        image=written,
        bias=bias * np.float32(scanner.gamma),
        points=points,
        to_template=displacement(points, native),
        registered=displacement(position.residual(points), native),
        tissues=tissues,
    )


def displacement(to: Points, start: Points) -> FloatArray:
    """Displacement field (x, y, z, 3), mm, in the steps in which it is stored."""
    field = np.rint(np.moveaxis(to - start, 0, -1) * GRAIN) / GRAIN
    return field.astype(np.float32)


def bring_to_template(
    scan: NativeScan, position: Position, grid: Grid, brain: BoolArray
) -> FloatArray:
    """RAW: bias-corrected but for a rest, through the registration, masked, divided by its mean.

    Parameters
    ----------
    scan, position
        The native image and how it lies.
    grid, brain
        The template's grid and brain mask.
    """
    corrected = scan.image * np.exp(-(1 - RESIDUAL_BIAS) * scan.bias)
    native = position.registered_to_native(grid_points(grid)[:, brain])
    index = apply_matrix(np.linalg.inv(scan.grid.affine), native)
    return mean_scaled(trilinear(corrected[None], index)[0], brain)


def mean_scaled(values: NDArray[np.floating], brain: BoolArray) -> FloatArray:
    """Put brain values back into an image, divided by their mean (paper, section 2.2)."""
    out = np.zeros(brain.shape, dtype=np.float32)
    out[brain] = values / np.mean(values, dtype=np.float64)
    return out


def reference_image(anatomy: Anatomy, grid: Grid, brain: BoolArray) -> FloatArray:
    """Scanner-free image in template space: reference contrast without blur, bias and noise."""
    tissues = tissues_at(anatomy, grid_points(grid)[:, brain])
    return mean_scaled(clean_signal(tissues, REFERENCE), brain)
