"""What the guard metrics share: an image's own units, a shared brain, flat voxels.

Images are taken flat, first axis fastest, as NIfTI files have them: that costs no copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import MeasurementError, SettingsError
from harmobench.imaging.landmarks import TissueScale, eroded
from harmobench.imaging.volume import BoolArray, FloatArray
from harmobench.interface import Atlas, Row, Scan

Indices = NDArray[np.intp]


class UndefinedError(MeasurementError):
    """A score that has no value; the text is the reason of its row."""


@dataclass(frozen=True)
class Tissues:
    """Eroded grey and white matter of the atlas within a brain, as flat indices.

    Attributes
    ----------
    grey, white
        Voxels (n,) of each; see `flat_where`.
    """

    grey: Indices
    white: Indices

    @classmethod
    def of(cls, atlas: Atlas, brain: BoolArray, erosion: int, least: int) -> Tissues:
        """Erode the labels by `erosion` voxels; by fewer where fewer than `least` would remain."""
        grey, white = (
            flat_where(eroded(atlas.tissue(name) & brain, erosion, least)) for name in ("gm", "wm")
        )
        return cls(grey, white)

    def scale(self, voxels: FloatArray, what: str = "") -> TissueScale:
        """Where grey and white matter lie in a flat image.

        Raises
        ------
        UndefinedError
            White matter is not brighter than grey matter (then the text starts with
            "contrast_lost:", and names `what` was looked at), or one of the two has no voxel.
        """
        if not self.grey.size or not self.white.size:
            raise UndefinedError("the brain mask has no voxel of the atlas's grey or white matter")
        scale = TissueScale(*(float(np.median(voxels[at])) for at in (self.grey, self.white)))
        if not scale.distance > 0:
            raise UndefinedError(
                f"contrast_lost: {what or 'the scan'} has a median of {scale.white:g} in white "
                f"and of {scale.grey:g} in grey matter"
            )
        return scale


def in_units(scan: Scan, tissues: Tissues, where: Indices, what: str = "") -> FloatArray:
    """Intensities (n,) of a scan at `where`, grey matter's median being 0 and white matter's 1.

    Raises
    ------
    UndefinedError
        As `Tissues.scale`.
    """
    voxels = flat(scan.voxels())
    return tissues.scale(voxels, what).apply(voxels[where])


def scan_rows(
    structure: str, scans: Iterable[Scan], value: Callable[[Scan], float]
) -> Iterator[Row]:
    """Yield each scan's row: its value, or "undefined" with the reason that `value` raised."""
    for scan in scans:
        yield _scan_row(structure, scan, value)


def _scan_row(structure: str, scan: Scan, value: Callable[[Scan], float]) -> Row:
    try:
        return Row(structure, value(scan), scanner=scan.scanner)
    except UndefinedError as error:
        return Row(structure, None, scanner=scan.scanner, status="undefined", reason=str(error))


def shared_brain(scans: Sequence[Scan]) -> BoolArray:
    """Voxels in the brains of all scans, each mask read once."""
    masks = {scan.mask or f"{scan}": scan for scan in scans}
    first, *rest = masks.values()
    brain = first.brain()
    for scan in rest:
        brain = brain & scan.brain()
    return brain


def by_subject(scans: Iterable[Scan]) -> dict[str, list[Scan]]:
    """Sort scans to their subjects, both in their order."""
    found: dict[str, list[Scan]] = {}
    for scan in scans:
        found.setdefault(scan.subject, []).append(scan)
    return found


def flat(voxels: NDArray[Any]) -> NDArray[Any]:
    """Voxels as a row, first axis fastest."""
    return voxels.ravel(order="F")


def flat_where(mask: BoolArray) -> Indices:
    """Find a mask's voxels in `flat` images of its shape."""
    return np.flatnonzero(flat(mask))


def neighbours(
    voxels: FloatArray, where: Indices, shape: Sequence[int], reach: int = 1
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Voxels `reach` before and after those at `where` along each axis; all lie in the image.

    Parameters
    ----------
    voxels
        A flat image.
    where
        Flat indices (n,), at least `reach` voxels from every edge of the image.
    shape
        Of the image.
    reach
        Voxels.
    """
    step = reach
    for length in shape:
        yield voxels[where - step], voxels[where + step]
        step *= length


def check_at_least(metric: str, **least: tuple[float, float]) -> None:
    """Refuse parameters below their smallest value, given as name = (found, smallest).

    Raises
    ------
    SettingsError
        Naming the first such parameter.
    """
    for name, (found, smallest) in least.items():
        if not found >= smallest:
            raise SettingsError(
                f"expected {metric}.{name} to be at least {smallest:g}, found {found:g}"
            )
