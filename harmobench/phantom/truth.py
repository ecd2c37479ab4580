"""True volumes of a scan, and the true effect of the group on them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmobench.atlas import ELLIPSOIDS
from harmobench.imaging.volume import FloatArray
from harmobench.phantom.anatomy import Tissues
from harmobench.phantom.deformation import Points
from harmobench.phantom.template import ellipsoid_distance

THRESHOLD = 0.8  # paper, section 2.5
STEPS = 250  # fractions are stored in steps of 1/250
# Labels of the regions: the built-in atlas's, then the lateral ventricles and the lesions.
LABELS = {
    f"{side}_{name}": 2 * i + 1 + k
    for i, name in enumerate(ELLIPSOIDS)
    for k, side in enumerate(("left", "right"))
}
LABELS |= {"ventricles": 2 * len(ELLIPSOIDS) + 1, "lesions": 2 * len(ELLIPSOIDS) + 2}


@dataclass(frozen=True)
class Truth:
    """One true number.

    Attributes
    ----------
    subject, scanner
        Whose; empty for all subjects, or for the mean over scanners.
    structure
        csf, gm, wm, brain, or a region, both sides together.
    quantity
        "volume_sum" (fractions added up), "volume_p80" (voxels whose fraction is at least .8),
        "volume_label" (voxels of the label), or "cohens_d_of_" one of them, between the groups.
    value
        The number; empty text where there is none.
    units
        "ml", or empty.
    """

    subject: str
    scanner: str
    structure: str
    quantity: str
    value: float | str
    units: str


def quantize(fraction: FloatArray) -> NDArray[np.uint8]:
    """Fractions 0 to 1 as they are stored, in steps of 1/250."""
    return np.rint(fraction * STEPS).astype(np.uint8)


def stored_fractions(tissues: Tissues) -> dict[str, NDArray[np.uint8]]:
    """Brain's csf, gm and wm as they are stored; lesions belong to wm."""
    return {
        name: quantize(getattr(tissues, name)) * tissues.brain.astype(np.uint8)
        for name in ("csf", "gm", "wm")
    }


def ellipsoid_labels(points: Points) -> NDArray[np.uint8]:
    """Label of the ellipsoid that each point (3, ...) of template space lies in, else 0."""
    out = np.zeros(points.shape[1:], dtype=np.uint8)
    for name in ELLIPSOIDS:
        for side, word in ((-1, "left"), (1, "right")):
            inside = ellipsoid_distance(points, name, side) <= 0
            out[inside & (out == 0)] = LABELS[f"{word}_{name}"]
    return out


def region_labels(tissues: Tissues, ellipsoids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label of each point: see `LABELS`.

    Grey-matter regions are the voxels, mostly grey matter, within the built-in atlas's ellipsoids
    carried by the subject's deformation.
    """
    out = np.where(tissues.brain & (tissues.gm >= 0.5), ellipsoids, 0).astype(np.uint8)
    out[tissues.ventricle & (tissues.csf >= 0.5)] = LABELS["ventricles"]
    out[tissues.brain & (tissues.wm * tissues.lesion >= 0.5)] = LABELS["lesions"]
    return out


@dataclass(frozen=True, eq=False)
class TrueScan:
    """What is true of one scan's voxels; `fractions` and `labels` as they are stored."""

    fractions: dict[str, NDArray[np.uint8]]
    labels: NDArray[np.uint8]
    volumes: list[Truth]


def true_scan(
    tissues: Tissues, points: Points, voxel_ml: float, subject: str, scanner: str
) -> TrueScan:
    """Work out fractions, labels and volumes of one scan.

    Parameters
    ----------
    tissues, points
        Of the native voxels: what they hold, and their points in template space (3, ...), mm.
    voxel_ml
        Volume of a native voxel.
    subject, scanner
        Whose.
    """
    fractions = stored_fractions(tissues)
    ellipsoids = ellipsoid_labels(points)
    labels = region_labels(tissues, ellipsoids)
    counts = _tissue_counts(fractions, tissues) | _region_counts(
        fractions["gm"], ellipsoids, labels
    )
    counts |= _disease_counts(fractions["csf"], tissues, labels)
    rows = [
        Truth(subject, scanner, structure, quantity, float(voxels) * voxel_ml, "ml")
        for (structure, quantity), voxels in counts.items()
    ]
    return TrueScan(fractions, labels, rows)


Counts = dict[tuple[str, str], int | float]  # voxels of a structure and quantity


def _tissue_counts(fractions: dict[str, NDArray[np.uint8]], tissues: Tissues) -> Counts:
    out: Counts = {("brain", "volume_sum"): _count(tissues.brain)}
    for name, steps in fractions.items():
        out[name, "volume_sum"] = _added(steps)
        out[name, "volume_p80"] = _count(steps >= THRESHOLD * STEPS)
    return out


def _region_counts(
    grey: NDArray[np.uint8], ellipsoids: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> Counts:
    out: Counts = {}
    for name in ELLIPSOIDS:
        both = [LABELS[f"left_{name}"], LABELS[f"right_{name}"]]
        out[name, "volume_sum"] = _added(grey[np.isin(ellipsoids, both)])
        out[name, "volume_label"] = _count(np.isin(labels, both))
    return out


def _disease_counts(csf: NDArray[np.uint8], tissues: Tissues, labels: NDArray[np.uint8]) -> Counts:
    lesion = np.where(tissues.brain, tissues.wm * tissues.lesion, 0)
    return {
        ("ventricles", "volume_sum"): _added(csf[tissues.ventricle]),
        ("ventricles", "volume_label"): _count(labels == LABELS["ventricles"]),
        ("lesions", "volume_sum"): float(lesion.sum(dtype=np.float64)),
        ("lesions", "volume_label"): _count(labels == LABELS["lesions"]),
    }


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _added(steps: NDArray[np.uint8]) -> float:
    return int(steps.sum(dtype=np.int64)) / STEPS


def scanner_means(rows: Iterable[Truth]) -> list[Truth]:
    """Mean over scanners of every subject's volumes, with an empty scanner."""
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows:
        key = (row.subject, row.structure, row.quantity, row.units)
        values.setdefault(key, []).append(float(row.value))
    return [Truth(s, "", what, q, float(np.mean(v)), u) for (s, what, q, u), v in values.items()]


def cohens_d(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Cohen's d with the pooled SD (paper, section 2.5); None where it is undefined."""
    n, m = len(first), len(second)
    if n < 2 or m < 2:
        return None
    pooled = ((n - 1) * np.var(first, ddof=1) + (m - 1) * np.var(second, ddof=1)) / (n + m - 2)
    return float((np.mean(first) - np.mean(second)) / np.sqrt(pooled)) if pooled > 0 else None


def effects(rows: Iterable[Truth], groups: dict[str, str], order: tuple[str, str]) -> list[Truth]:
    """Cohen's d of every volume between the groups, for each scanner and for the scanners' mean.

    Parameters
    ----------
    rows
        Volumes.
    groups
        Group of each subject.
    order
        d is the mean of the first minus that of the second.
    """
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        arms = values.setdefault((row.scanner, row.structure, row.quantity), {})
        arms.setdefault(groups[row.subject], []).append(float(row.value))
    out = []
    for (scanner, structure, quantity), arms in values.items():
        d = cohens_d(arms.get(order[0], []), arms.get(order[1], []))
        name = f"cohens_d_of_{quantity}"
        out.append(Truth("", scanner, structure, name, "" if d is None else d, ""))
    return out


def write_truth(path: Path, rows: Iterable[Truth]) -> None:
    """Write truth.csv, one number a row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f.name for f in fields(Truth)])
        for row in rows:
            value = row.value if isinstance(row.value, str) else f"{row.value:.6f}"
            writer.writerow([*astuple(row)[:4], value, row.units])
