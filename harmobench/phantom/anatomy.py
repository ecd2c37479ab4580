"""One subject's anatomy: tissues made from ICBM152, with its own boundaries and its own disease.

Everything is held as maps on the template grid that are smooth (log-odds, signed distances) and
turned into fractions only where they are looked at, so that a tissue is as sharp on a native grid
as on the template's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harmobench.atlas import ELLIPSOIDS, icbm152
from harmobench.imaging.volume import BoolArray, FloatArray, Grid
from harmobench.phantom.deformation import Points, apply_matrix, sample, smooth_noise
from harmobench.phantom.interpolation import trilinear

GROUPS = ("low", "high")  # degree of small vessel disease, as in the paper, section 2.1
FINE = 2.0  # mm, lattice of the boundary noise
STEEPNESS = 2.5  # of the log-odds: sharpens the template's averaged maps
BOUNDARY = 0.9  # SD of the log-odds' noise
BOUNDARY_SIGMA = 1.5  # mm: about 3.5 mm full width
CSF_OFFSET = 0.55  # log-odds: ICBM152's averaging washes sulci out
EFFECT = 6.0  # log-odds that settle a voxel's tissue where disease decides it
EDGE = 0.8  # mm, width of the boundary that disease draws
VENTRICLE_BOX = ((-32.0, 32.0), (-52.0, 42.0), (-6.0, 32.0))  # mm, MNI
VENTRICLE_ZONE = 8.0  # mm from ICBM152's ventricles: where their volume is measured
MAPS = ("csf", "wm", "lesion", "variation", "edge", "ventricle")


@dataclass(frozen=True)
class Disease:
    """What distinguishes the groups; means and SD of `DISEASE` are the designed effects.

    Attributes
    ----------
    ventricle
        Outward shift of the ventricles' wall, mm.
    lesion
        Volume of white-matter lesions in template space, ml.
    hippocampus
        Inward shift of the hippocampus's surface, mm.
    """

    ventricle: float
    lesion: float
    hippocampus: float


# Mean of each group and common SD; lesions are log-normal (the SD is of the logarithm).
DISEASE = {
    "ventricle": ((0.4, 1.6), 0.5),
    "lesion": ((2.0, 12.0), 0.5),
    "hippocampus": ((0.3, 0.9), 0.25),
}


@dataclass(frozen=True)
class Subject:
    """A person; follows from the seed and the subject's number alone.

    Attributes
    ----------
    name, group, sex
        As in the manifest.
    age
        Years.
    disease
        See `Disease`.
    """

    name: str
    group: str
    age: float
    sex: str
    disease: Disease


def make_subject(number: int, rng: np.random.Generator) -> Subject:
    """Draw subject `number` (from 0); groups alternate, sexes alternate every second subject."""
    arm = number % 2
    z = rng.normal(size=4)
    age = float(np.clip(np.round(71.0 + 6.0 * z[0], 1), 51.0, 90.0))
    means = {name: (m[arm], sd) for name, (m, sd) in DISEASE.items()}
    disease = Disease(
        ventricle=means["ventricle"][0] + means["ventricle"][1] * z[1],
        lesion=means["lesion"][0] * float(np.exp(means["lesion"][1] * z[2])),
        hippocampus=max(0.0, means["hippocampus"][0] + means["hippocampus"][1] * z[3]),
    )
    return Subject(f"{number + 1:02d}", GROUPS[arm], age, "FM"[number // 2 % 2], disease)


@dataclass(frozen=True, eq=False)
class Base:
    """What all subjects share, on the template grid.

    Attributes
    ----------
    grid, brain
        The template's.
    surface
        Where the brain's outermost voxels are.
    points
        World coordinates (3, x, y, z), mm.
    csf, wm
        Log-odds of each against grey matter.
    edge, ventricle
        Signed distance from the brain mask's edge and the ventricles' wall, mm, negative inside.
    """

    grid: Grid
    brain: BoolArray
    surface: BoolArray
    points: FloatArray
    csf: FloatArray
    wm: FloatArray
    edge: FloatArray
    ventricle: FloatArray


@lru_cache(maxsize=1)
def template(resolution: float) -> Base:
    """ICBM152 at a voxel size, a whole number of mm, as the phantom uses it."""
    fractions, _, brain, grid = icbm152(int(resolution))
    logs = {name: np.log(f + 0.01) for name, f in fractions.items()}
    logs["csf"][~brain] = np.log(1.01)
    for name in ("gm", "wm"):
        logs[name][~brain] = np.log(0.01)
    index = np.indices(grid.shape, dtype=np.float32)
    points = apply_matrix(grid.affine, index).astype(np.float32)
    ventricles = (fractions["csf"] > 0.5) & _inside(points, VENTRICLE_BOX)
    return Base(
        grid=grid,
        brain=brain,
        surface=brain & ~ndimage.binary_erosion(brain),
        points=points,
        csf=(logs["csf"] - logs["gm"] + CSF_OFFSET).astype(np.float32),
        wm=(logs["wm"] - logs["gm"]).astype(np.float32),
        edge=_signed_distance(brain, grid),
        ventricle=_signed_distance(ventricles, grid),
    )


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


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A subject's maps on the template grid, stacked in the order of `MAPS`.

    csf and wm are log-odds against grey matter; lesion is the log-odds of lesion within white
    matter; variation the fraction by which T1 is longer; edge and ventricle signed distances, mm.
    """

    subject: Subject
    base: Base
    maps: FloatArray


@dataclass(frozen=True, eq=False)
class Tissues:
    """Fractions at some points, 0 to 1: csf + gm + wm = 1, `lesion` is a share of wm.

    `brain` marks the points inside the brain, `shell` goes from 1 there to 0 some mm outside it.
    `ventricle` marks where ventricles are measured.
    """

    csf: FloatArray
    gm: FloatArray
    wm: FloatArray
    lesion: FloatArray
    variation: FloatArray
    brain: BoolArray
    shell: FloatArray
    ventricle: BoolArray


def make_anatomy(subject: Subject, base: Base, rng: np.random.Generator) -> Anatomy:
    """Draw a subject's tissues and lesions on the template grid."""
    noise = sample(smooth_noise(rng, BOUNDARY_SIGMA, FINE, fields=2), base.points, FINE)
    csf = STEEPNESS * (base.csf + BOUNDARY * noise[0] + 0.02 * (subject.age - 71.0))
    wm = STEEPNESS * (base.wm + BOUNDARY * noise[1])
    csf = csf + EFFECT * _step(subject.disease.ventricle - base.ventricle)
    near = np.minimum(*(ellipsoid_distance(base.points, "hippocampus", s) for s in (-1, 1)))
    kept = _step(-subject.disease.hippocampus - near)
    lost = _step(-near) - kept
    csf = csf + EFFECT * (lost - kept)
    wm = wm - EFFECT * kept
    variation = _variation(base, rng)
    lesion = _lesions(subject, base, csf, wm, rng)
    maps = np.stack([csf, wm, lesion, variation, base.edge, base.ventricle])
    return Anatomy(subject, base, maps.astype(np.float32))


def _step(distance: Points) -> Points:
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-distance / EDGE, -40.0, 40.0))))


def _variation(base: Base, rng: np.random.Generator) -> NDArray[np.floating]:
    """T1 varies smoothly by some per cent, and deep grey matter has shorter T1 than cortex."""
    smooth = sample(smooth_noise(rng, 14.0), base.points)[0]
    centre = np.reshape((0.0, -12.0, 6.0), (3, 1, 1, 1))
    deep = np.exp(-((base.points - centre) ** 2).sum(axis=0) / (2 * 20.0**2))
    return np.asarray(0.03 * smooth + 0.02 * rng.normal() - 0.08 * deep)


def _lesions(
    subject: Subject, base: Base, csf: Points, wm: Points, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Log-odds of lesion: blobs in white matter, denser near the ventricles, of a given volume."""
    blobs = sample(smooth_noise(rng, 3.0, FINE), base.points, FINE)[0]
    distance = base.ventricle - subject.disease.ventricle
    field = blobs - np.abs(distance - 4.0) / 6.0
    white = base.brain & (wm > 1.0) & (wm > csf + 1.0)
    wanted = subject.disease.lesion / base.grid.voxel_ml
    share = min(wanted / max(int(np.count_nonzero(white)), 1), 0.5)
    return np.asarray((field - np.quantile(field[white], 1.0 - share)) / 0.15)


def tissues_at(anatomy: Anatomy, points: Points) -> Tissues:
    """Tissues at points of template space (3, ...), mm; maps are interpolated linearly."""
    index = apply_matrix(np.linalg.inv(anatomy.base.grid.affine), points)
    return tissues_of(trilinear(anatomy.maps, index))


def tissues_of(maps: FloatArray) -> Tissues:
    """Tissues from maps (6, ...) in the order of `MAPS`."""
    csf, wm, lesion, variation, edge, ventricle = maps
    top = np.maximum(np.maximum(csf, wm), 0.0)
    odds = {"csf": np.exp(csf - top), "gm": np.exp(-top), "wm": np.exp(wm - top)}
    whole = odds["csf"] + odds["gm"] + odds["wm"]
    brain = edge <= 0
    return Tissues(
        csf=odds["csf"] / whole,
        gm=odds["gm"] / whole,
        wm=odds["wm"] / whole,
        lesion=1.0 / (1.0 + np.exp(np.clip(-lesion, -40.0, 40.0))),
        variation=variation,
        brain=np.asarray(brain),
        shell=np.clip((9.0 - edge) / 3.0, 0.0, 1.0).astype(np.float32),
        ventricle=np.asarray(brain & (ventricle <= VENTRICLE_ZONE)),
    )
