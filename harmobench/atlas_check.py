"""What an atlas folder holds, and what is doubtful about it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harmobench.atlas import Atlas, bring_atlas
from harmobench.cohort import TISSUES
from harmobench.errors import AtlasError, SettingsError
from harmobench.imaging.registration import shear_fault
from harmobench.imaging.volume import read_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BRAIN_ML = (700.0, 2200.0)  # children's to large men's
OUTSIDE = 0.05  # of a tissue or a region may lie outside the mask
COLOURS = ("#56b4e9", "#e69f00", "#009e73")  # of CSF, GM and WM: Okabe and Ito, 2008


@dataclass(frozen=True)
class AtlasCheck:
    """Sentences about an atlas: what it holds, and what is doubtful."""

    holds: tuple[str, ...]
    doubts: tuple[str, ...]


def check_atlas(own: Atlas, picture: Path | None = None) -> AtlasCheck:
    """Read everything of an atlas; draw it where asked.

    Raises
    ------
    AtlasError
        It cannot be used: images on other grids, not finite, empty, or a region without voxels.
    SettingsError
        The picture is no .png, or its folder is not there.
    """
    if picture is not None and (picture.suffix != ".png" or not picture.parent.is_dir()):
        raise SettingsError(
            f"--picture: expected a .png in a folder that is there, found {picture}"
        )
    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        atlas = bring_atlas(own, own.grid, Path(scratch))
        _refuse_missing(atlas, own)
        check = AtlasCheck(tuple(_holds(atlas)), tuple(_doubts(atlas)))
        if picture is not None:
            _draw(atlas).savefig(picture, dpi=120)
    return check


def _refuse_missing(atlas: Atlas, own: Atlas) -> None:
    there = np.unique(_regions(atlas)) if atlas.labels else ()
    missing = [
        f"{name} ({side} {label})"
        for name, labels in sorted(atlas.labels.items())
        for side, label in zip(("left", "right"), labels, strict=True)
        if label not in there
    ]
    if missing:
        where = own.regions.name if own.regions else "no image"
        raise AtlasError(
            f"expected voxels of each region named in atlas.toml, found none of "
            f"{', '.join(missing)} in {where}: correct its labels under [regions.labels]"
        )


def _regions(atlas: Atlas) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    if atlas.regions is None:
        raise AtlasError(f"atlas '{atlas.name}' has no regions")
    return read_labels(atlas.regions)


def _holds(atlas: Atlas) -> Iterator[str]:
    ml = atlas.grid.voxel_ml
    yield f"{atlas.name}: {atlas.space}"
    yield f"reference: {atlas.reference or 'none given'}"
    yield f"template: {atlas.grid}"
    yield f"brain: {np.count_nonzero(atlas.brain()) * ml:.0f} ml"
    volumes = (f"{t.upper()} {np.count_nonzero(atlas.tissue(t)) * ml:.0f} ml" for t in TISSUES)
    yield f"tissues: {', '.join(volumes)}"
    if not atlas.labels:
        yield "regions: none (no region measures can be made)"
        return
    labels = _regions(atlas)
    for name, sides in sorted(atlas.labels.items()):
        left, right = (np.count_nonzero(labels == side) * ml for side in sides)
        yield (
            f"region {name}: left {left:.2f} ml (label {sides[0]}), "
            f"right {right:.2f} ml (label {sides[1]})"
        )


def _doubts(atlas: Atlas) -> Iterator[str]:
    brain = atlas.brain()
    volume = np.count_nonzero(brain) * atlas.grid.voxel_ml
    if not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        yield (
            f"expected a brain of {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} ml, found {volume:.0f}: "
            "is the mask a brain's, and the voxel size right?"
        )
    fault = shear_fault(atlas.grid)
    if fault:
        yield f"{fault} (nothing can be registered to it)"
    voxels = atlas.template_voxels()
    csf, gm, wm = (float(np.median(voxels[atlas.tissue(name)])) for name in TISSUES)
    if not csf < gm < wm:
        yield (
            "expected CSF darker than grey matter, and that darker than white in a T1 template, "
            f"found medians of {csf:g}, {gm:g} and {wm:g}: are the codes under [tissues] right?"
        )
    for name in TISSUES:
        tissue = atlas.tissue(name)
        outside = 1 - np.count_nonzero(tissue & brain) / np.count_nonzero(tissue)
        if outside > OUTSIDE:
            yield f"{outside:.0%} of {name.upper()} lies outside the brain mask"
    yield from _doubtful_regions(atlas, brain)


def _doubtful_regions(
    atlas: Atlas, brain: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> Iterator[str]:
    if not atlas.labels:
        return
    labels = _regions(atlas)
    axis = atlas.grid.affine[0, :3]  # world x, which grows to the subject's right
    for name, sides in sorted(atlas.labels.items()):
        places = [np.stack(np.nonzero(labels == side)) for side in sides]
        left, right = (float(np.mean(axis @ place)) for place in places)
        if sides[0] != sides[1] and left >= right:
            yield (
                f"region {name}: expected label {sides[0]} on the left and {sides[1]} on the "
                "right, found them the other way round: swap them under [regions.labels]"
            )
        for other, those in sorted(atlas.labels.items()):
            if other > name and set(sides) & set(those):
                yield f"regions {name} and {other} have a label in common"
        region = np.isin(labels, sides)
        outside = 1 - np.count_nonzero(region & brain) / np.count_nonzero(region)
        if outside > OUTSIDE:
            yield f"region {name}: {outside:.0%} lies outside the brain mask"


def _draw(atlas: Atlas) -> Figure:
    """Draw the template with the edges of its tissues, and its regions filled."""
    from matplotlib.figure import Figure

    voxels, brain = atlas.template_voxels(), atlas.brain()
    regions = _regions(atlas) if atlas.labels else np.zeros(brain.shape, dtype=np.int32)
    filled = np.isin(regions, [label for sides in atlas.labels.values() for label in sides])
    middle = [int(np.median(index)) for index in np.nonzero(filled if filled.any() else brain)]
    figure = Figure(figsize=(10, 3.8), facecolor="black", layout="constrained")
    for axis, panel in enumerate(figure.subplots(1, 3)):
        cut = [np.asarray(each.take(middle[axis], axis=axis)).T for each in (voxels, filled)]
        panel.imshow(cut[0], cmap="gray", origin="lower")
        panel.imshow(np.where(cut[1], 1.0, np.nan), cmap="autumn", origin="lower", alpha=0.6)
        for name, colour in zip(TISSUES, COLOURS, strict=True):
            edge = atlas.tissue(name).take(middle[axis], axis=axis).T
            if edge.any():
                panel.contour(edge.astype(float), [0.5], colors=colour, linewidths=0.5)
        panel.set_axis_off()
    figure.suptitle(
        f"{atlas.name}: edges of CSF (blue), GM (orange), WM (green); regions filled",
        color="white",
        fontsize=9,
    )
    return figure
