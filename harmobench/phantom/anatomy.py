"""One subject's anatomy: tissues made from ICBM152, with its own boundaries and its own disease.

Everything is held as smooth maps (log-odds, signed distances) and turned into fractions only where
they are looked at, so that a tissue is as sharp on a native grid as on the template's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.phantom.deformation import Points, apply_matrix, sample, smooth_noise
from harmobench.phantom.interpolation import trilinear
from harmobench.phantom.subject import Subject
from harmobench.phantom.template import FINE, Base, ellipsoid_distance

STEEPNESS = 2.5  # of the log-odds: sharpens the template's averaged maps
BOUNDARY = 0.9  # SD of the log-odds' noise
BOUNDARY_SIGMA = 1.5  # mm: about 3.5 mm full width
ATROPHY = 0.02  # log-odds of CSF a year
SURE = 6.0  # log-odds of a tissue that disease settles
EDGE = 0.6  # mm, width of the boundary that disease draws
LESION_EDGE = 0.15  # of the lesions' field: how sharp they are
VENTRICLE_ZONE = 8.0  # mm from ICBM152's ventricles: where their volume is measured
MAPS = ("csf", "wm", "lesion", "variation", "edge", "ventricle")


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A subject's smooth maps on the grid of `Base`, stacked in the order of `MAPS`.

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
    """Draw a subject's tissue boundaries, ventricles, lesions and T1."""
    noise = sample(smooth_noise(rng, BOUNDARY_SIGMA, FINE, fields=2), base.points, FINE)
    csf = STEEPNESS * (base.csf + BOUNDARY * noise[0] + ATROPHY * (subject.age - 71.0))
    wm = STEEPNESS * (base.wm + BOUNDARY * noise[1])
    wall = (subject.disease.ventricle - base.ventricle) / EDGE
    csf = np.maximum(csf, np.maximum(wm, 0.0) + wall)  # far from the ventricles, wall is very low
    variation = _variation(base, rng)
    lesion = _lesions(subject, base, csf, wm, rng)
    maps = np.stack([csf, wm, lesion, variation, base.edge, base.ventricle])
    return Anatomy(subject, base, maps.astype(np.float32))


def _logistic(odds: Points) -> Points:
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-odds, -40.0, 40.0))))


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
    margin = wm - np.maximum(csf, 0.0) - 1.0
    white = base.brain & (margin > 0)
    share = 1.0 / (1.0 + np.exp(-wm[white]) + np.exp(csf[white] - wm[white]))
    wanted = min(subject.disease.lesion / base.grid.voxel_ml, 0.5 * float(share.sum()))
    inside, limit = field[white], margin[white]

    def excess(level: float) -> float:
        odds = np.minimum((inside - level) / LESION_EDGE, limit)
        return float((share * _logistic(odds)).sum()) - wanted

    level = brentq(excess, inside.min() - 5.0, inside.max() + 5.0, xtol=1e-4)
    return np.asarray(np.minimum((field - level) / LESION_EDGE, margin))


def tissues_at(anatomy: Anatomy, points: Points) -> Tissues:
    """Tissues at points of template space (3, ...), mm; maps are interpolated linearly."""
    index = apply_matrix(np.linalg.inv(anatomy.base.grid.affine), points)
    csf, wm, lesion, variation, edge, ventricle = trilinear(anatomy.maps, index)
    _draw_hippocampus(csf, wm, points, anatomy.subject.disease.hippocampus)
    top = np.maximum(np.maximum(csf, wm), 0.0)
    odds = {"csf": np.exp(csf - top), "gm": np.exp(-top), "wm": np.exp(wm - top)}
    whole = odds["csf"] + odds["gm"] + odds["wm"]
    brain = edge <= 0
    return Tissues(
        csf=odds["csf"] / whole,
        gm=odds["gm"] / whole,
        wm=odds["wm"] / whole,
        lesion=_logistic(lesion),
        variation=variation,
        brain=np.asarray(brain),
        shell=np.clip((9.0 - edge) / 3.0, 0.0, 1.0).astype(np.float32),
        ventricle=np.asarray(brain & (ventricle <= VENTRICLE_ZONE)),
    )


def _draw_hippocampus(csf: FloatArray, wm: FloatArray, points: Points, shrunk: float) -> None:
    """Make the ellipsoids grey, and CSF where they shrank by some mm, in place.

    It is drawn here and not into the maps, whose voxels are larger than what is lost.
    """
    for side in (-1, 1):
        near = ellipsoid_distance(points, "hippocampus", side)
        inside = near <= 0
        csf[inside] = np.clip((near[inside] + shrunk) / EDGE, -SURE, SURE)
        wm[inside] = -SURE
