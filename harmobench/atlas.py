"""Atlases: a template, its brain mask, tissue labels and region labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harmobench.errors import AtlasError
from harmobench.imaging.nifti import is_file
from harmobench.imaging.volume import (
    BoolArray,
    FloatArray,
    Grid,
    LabelArray,
    read_grid,
    read_labels,
    read_voxels,
    without_spikes,
    write_image,
)
from harmobench.tomls import read_toml

BUILTIN = "builtin"
WHOLE = 0.01  # a stored label may miss a whole number by so much


@dataclass(frozen=True)
class Atlas:
    """A template space. A folder with an `atlas.toml`; see `read_atlas`.

    Attributes
    ----------
    name, space, reference
        What it is called, the space it lies in, and whom to cite.
    template, mask, tissues
        T1 brain, brain mask and tissue label image.
    codes
        Label of each of csf, gm, wm in `tissues`.
    regions
        Region label image, or None.
    labels
        Name of each region to its (left, right) labels.
    """

    name: str
    space: str
    reference: str
    template: Path
    mask: Path
    tissues: Path
    codes: Mapping[str, int]
    regions: Path | None
    labels: Mapping[str, tuple[int, int]]

    @property
    def grid(self) -> Grid:
        """Grid of the template."""
        return read_grid(self.template)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the atlas is made of."""
        files = [self.template, self.mask, self.tissues]
        return tuple(files if self.regions is None else [*files, self.regions])

    def brain(self) -> BoolArray:
        """Brain mask; shared between calls and read-only."""
        return _labels_equal(self.mask, None)

    def tissue(self, name: str) -> BoolArray:
        """Voxels of "csf", "gm" or "wm"; shared between calls and read-only."""
        return _labels_equal(self.tissues, (self.codes[name],))

    def region(self, name: str) -> BoolArray:
        """Voxels of a named region, both sides; shared between calls and read-only."""
        if self.regions is None or name not in self.labels:
            known = ", ".join(sorted(self.labels)) or "none"
            raise AtlasError(
                f"expected a region of atlas '{self.name}', found '{name}'; it has: {known}"
            )
        return _labels_equal(self.regions, self.labels[name])

    def template_voxels(self) -> FloatArray:
        """T1 intensities of the template."""
        return read_voxels(self.template)


@lru_cache(maxsize=12)
def _labels_equal(path: Path, codes: tuple[int, ...] | None) -> BoolArray:
    labels = read_labels(path)
    mask: BoolArray = labels > 0 if codes is None else np.isin(labels, codes)
    mask.flags.writeable = False
    return mask


def read_atlas(folder: Path) -> Atlas:
    """Read an atlas from its folder.

    `atlas.toml` has the keys name, space, template, mask, optionally reference; a table `tissues`
    with image, csf, gm, wm; optionally a table `regions` with image, and under `regions.labels`
    a pair [left, right] of labels for each region (twice the same for one in the middle). Files are
    relative to the folder.

    Raises
    ------
    AtlasError
        Missing files or keys, named.
    """
    path = folder / "atlas.toml"
    if not path.is_file():
        raise AtlasError(
            f"expected an atlas folder with an atlas.toml, found none at {path}: "
            f"name such a folder, or '{BUILTIN}'"
        )
    try:
        data = read_toml(path)
    except ValueError as error:
        raise AtlasError(f"expected TOML in {path}, found {error}") from error
    atlas = _atlas(_Keys(data, path))
    for file in atlas.files:
        if not is_file(file):
            named = file.relative_to(folder) if file.is_relative_to(folder) else file
            raise AtlasError(f"{path} names '{named}', found no such file")
    return atlas


def _atlas(keys: _Keys) -> Atlas:
    regions = keys.table("regions") if "regions" in keys.data else None
    tissues = keys.table("tissues")
    codes = {name: tissues.label(name, tissues.data.get(name)) for name in ("csf", "gm", "wm")}
    if len(set(codes.values())) < len(codes):
        raise AtlasError(f"{keys.path}, [tissues]: expected three codes, found {codes}")
    return Atlas(
        name=keys.text("name"),
        space=keys.text("space"),
        reference=keys.text("reference") if keys.data.get("reference") else "",
        template=keys.file("template"),
        mask=keys.file("mask"),
        tissues=tissues.file("image"),
        codes=codes,
        regions=regions.file("image") if regions else None,
        labels=_region_labels(regions.table("labels")) if regions else {},
    )


def _region_labels(keys: _Keys) -> dict[str, tuple[int, int]]:
    labels = {}
    for name, sides in keys.data.items():
        if not (name.strip() and name.isprintable()):
            raise AtlasError(f"{keys.path}, {keys.where}: expected a region's name, found {name!r}")
        if not isinstance(sides, list) or len(sides) != 2:
            raise AtlasError(
                f"{keys.path}, {keys.where}{name}: expected [left, right] labels, found {sides!r}"
            )
        left, right = (keys.label(name, side) for side in sides)
        labels[name] = (left, right)
    return labels


@dataclass(frozen=True)
class _Keys:
    """A table of an atlas.toml, read strictly."""

    data: Mapping[str, Any]
    path: Path
    where: str = ""

    def table(self, name: str) -> _Keys:
        found = self._known(name)
        if not isinstance(found, dict):
            raise self._fault(name, "a table", found)
        return _Keys(found, self.path, f"{self.where}{name}.")

    def text(self, name: str) -> str:
        found = self._known(name)
        if not isinstance(found, str) or not found.strip():
            raise self._fault(name, "a text", found)
        return found

    def file(self, name: str) -> Path:
        return self.path.parent / self.text(name)

    def label(self, name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self._fault(name, "a whole number above 0", value)
        return value

    def _known(self, name: str) -> object:
        if name not in self.data:
            raise AtlasError(
                f"{self.path}: expected the key {self.where}{name}, found "
                f"{', '.join(self.data) or 'none'}"
            )
        return self.data[name]

    def _fault(self, name: str, expected: str, found: object) -> AtlasError:
        shown = "nothing" if found is None else repr(found)
        return AtlasError(f"{self.path}, {self.where}{name}: expected {expected}, found {shown}")


def bring_atlas(atlas: Atlas, grid: Grid, folder: Path) -> Atlas:
    """Resample an atlas to a cohort's grid and write it to a folder.

    The template is interpolated linearly, masks and labels by nearest neighbour; points outside
    the atlas become 0. Tissue labels come out as 1 CSF, 2 GM, 3 WM whatever the atlas's codes.

    Raises
    ------
    AtlasError
        Nothing of the atlas's brain, or none of a tissue, lies on the grid.
    """
    files = {"template": atlas.template, "mask": atlas.mask, "tissues": atlas.tissues}
    if atlas.regions is not None:
        files["regions"] = atlas.regions
    for name, path in files.items():
        label = name != "template"
        voxels = _resample(name, path, atlas, grid)
        if name == "tissues":
            voxels = _recode(voxels, atlas.codes)
        _refuse_empty(name, voxels, atlas, grid)
        write_image(folder / f"{name}.nii.gz", voxels.astype(np.int32) if label else voxels, grid)
    (folder / "atlas.toml").write_text(_toml(atlas), encoding="utf-8")
    return read_atlas(folder)


def _resample(name: str, path: Path, atlas: Atlas, grid: Grid) -> FloatArray:
    import nibabel as nib
    from nibabel.processing import resample_from_to

    own = atlas.grid
    voxels = read_voxels(path)
    found = read_grid(path)
    if not found.matches(own):
        raise AtlasError(
            f"expected the template's grid ({own}), found another shape or affine ({found}) in "
            f"{path}: an atlas's images lie on one grid"
        )
    if not np.isfinite(voxels).all():
        raise AtlasError(f"expected finite voxels, found NaN or inf in {path}")
    if name != "template":
        voxels = _labels(name, voxels, path, atlas)
    elif voxels.min() == voxels.max():
        raise AtlasError(f"expected a T1 image, found the one value {voxels.min():g} in {path}")
    if own.matches(grid):
        return voxels
    image = nib.nifti1.Nifti1Image(voxels, own.affine)
    order = 1 if name == "template" else 0
    out = resample_from_to(image, (grid.shape, grid.affine), order=order, cval=0.0)
    return np.asarray(out.dataobj, dtype=np.float32)


def _labels(name: str, voxels: FloatArray, path: Path, atlas: Atlas) -> FloatArray:
    """Whole labels of an atlas's image: 1 in the brain, codes of tissues, labels of regions."""
    if name == "mask":
        brain = (voxels >= 0.5).astype(np.float32)
        if not brain.any():
            raise AtlasError(f"expected a brain mask (1 inside), found an empty one in {path}")
        return brain
    whole = np.rint(voxels)
    odd = np.abs(voxels - whole) > WHOLE
    if odd.any():
        raise AtlasError(
            f"expected whole labels in {path}, found {float(voxels[odd][0]):g}: labels are made "
            "without interpolation"
        )
    for tissue, code in atlas.codes.items() if name == "tissues" else ():
        if not (whole == code).any():
            raise AtlasError(f"expected voxels of {tissue} (code {code}) in {path}, found none")
    return whole


def _recode(labels: FloatArray, codes: Mapping[str, int]) -> FloatArray:
    out = np.zeros_like(labels)
    for code, name in enumerate(("csf", "gm", "wm"), start=1):
        out[np.rint(labels) == codes[name]] = code
    return out


def _refuse_empty(name: str, voxels: FloatArray, atlas: Atlas, grid: Grid) -> None:
    empty = not voxels.any() or (name == "tissues" and len(np.unique(voxels)) < 4)
    if empty:
        raise AtlasError(
            f"the {name} of atlas '{atlas.name}' ({atlas.space}) does not reach the cohort's grid "
            f"({grid}): the cohort is not in that space; name its own atlas with --atlas DIR"
        )


def _toml(atlas: Atlas) -> str:
    lines = [f"{key} = {_quoted(value)}" for key, value in _head(atlas)]
    lines += ["", "[tissues]", 'image = "tissues.nii.gz"', "csf = 1", "gm = 2", "wm = 3"]
    if atlas.regions is not None:
        lines += ["", "[regions]", 'image = "regions.nii.gz"', "", "[regions.labels]"]
        lines += [f"{_quoted(name)} = [{a}, {b}]" for name, (a, b) in sorted(atlas.labels.items())]
    return "\n".join(lines) + "\n"


def _head(atlas: Atlas) -> list[tuple[str, str]]:
    return [
        ("name", atlas.name),
        ("space", atlas.space),
        ("reference", atlas.reference),
        ("template", "template.nii.gz"),
        ("mask", "mask.nii.gz"),
    ]


def _quoted(text: str) -> str:
    import json

    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("\x7f", "\\u007f")  # else a JSON string is a TOML basic string


# Centres (mm, MNI) and semi-axes (mm) of ellipsoids about where each structure lies in ICBM152;
# they name a place and are no segmentation.
ELLIPSOIDS = {
    "hippocampus": ((27.0, -22.0, -15.0), (7.0, 16.0, 7.0)),
    "amygdala": ((24.0, -4.0, -19.0), (7.0, 6.0, 6.0)),
    "entorhinal": ((24.0, -10.0, -32.0), (7.0, 10.0, 5.0)),
    "inferior_temporal": ((54.0, -30.0, -22.0), (8.0, 26.0, 8.0)),
}


def builtin_atlas(folder: Path, resolution: float = 1.0) -> Atlas:
    """Write nilearn's bundled ICBM152 (2009a, symmetric) as an atlas folder and read it.

    T1, GM and WM come with nilearn; CSF is the mask without GM and WM; a voxel's label is its
    largest tissue. Regions are ellipsoids in MNI space (`ELLIPSOIDS`), named so in `space`.

    Parameters
    ----------
    folder
        Where the files go.
    resolution
        Voxel size, mm.
    """
    tissues, template, brain, grid = icbm152(resolution)
    labels = np.zeros(grid.shape, dtype=np.int32)
    stack = np.stack([tissues["csf"], tissues["gm"], tissues["wm"]])
    labels[brain] = 1 + stack[:, brain].argmax(axis=0)
    write_image(folder / "template.nii.gz", template * brain, grid)
    write_image(folder / "mask.nii.gz", brain, grid)
    write_image(folder / "tissues.nii.gz", labels.astype(np.uint8), grid)
    write_image(folder / "regions.nii.gz", _ellipsoids(grid).astype(np.uint8), grid)
    atlas = Atlas(
        name=BUILTIN,
        space="MNI152 (ICBM 2009a symmetric), regions drawn as ellipsoids",
        reference="Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033",
        template=folder / "template.nii.gz",
        mask=folder / "mask.nii.gz",
        tissues=folder / "tissues.nii.gz",
        codes={"csf": 1, "gm": 2, "wm": 3},
        regions=folder / "regions.nii.gz",
        labels={name: (2 * i + 1, 2 * i + 2) for i, name in enumerate(ELLIPSOIDS)},
    )
    (folder / "atlas.toml").write_text(_toml(atlas), encoding="utf-8")
    return read_atlas(folder)


def icbm152(resolution: float) -> tuple[dict[str, FloatArray], FloatArray, BoolArray, Grid]:
    """ICBM152 from nilearn: tissue fractions (sum 1 in the brain), T1, brain mask and grid."""
    t1, grey, white, mask = _icbm152_images(resolution)
    maps = [np.asarray(image.dataobj, dtype=np.float32) for image in (grey, white)]
    brain: BoolArray = np.asarray(mask.dataobj) > 0
    gm, wm = (np.clip(m, 0, 1) * brain for m in maps)
    over = np.maximum(gm + wm, 1)
    gm, wm = gm / over, wm / over
    csf = np.clip(1 - gm - wm, 0, 1) * brain
    grid = Grid.make(t1.shape, t1.affine)
    return {"csf": csf, "gm": gm, "wm": wm}, np.asarray(t1.dataobj, np.float32), brain, grid


def _icbm152_images(resolution: float) -> list[Any]:
    from nilearn import datasets, image

    loads = (
        datasets.load_mni152_template,
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
        datasets.load_mni152_brain_mask,
    )
    if float(resolution).is_integer():
        return [load(resolution=int(resolution)) for load in loads]
    own = [load(resolution=1) for load in loads]  # nilearn takes whole millimetres only
    return [
        image.resample_img(
            img,
            target_affine=np.eye(3) * resolution,
            interpolation="nearest" if i == 3 else "continuous",
            copy_header=True,
            force_resample=True,
        )
        for i, img in enumerate(own)
    ]


def _ellipsoids(grid: Grid) -> LabelArray:
    out = np.zeros(grid.shape, dtype=np.int32)
    for x in range(grid.shape[0]):  # coordinates of all voxels at once are twelve images
        _draw_ellipsoids(out[x], x, grid)
    return out


def _draw_ellipsoids(out: LabelArray, x: int, grid: Grid) -> None:
    index = np.indices((1, *out.shape)).reshape(3, -1) + np.array([[x], [0], [0]])
    world = (grid.affine[:3, :3] @ index + grid.affine[:3, 3:]).reshape(3, *out.shape)
    for i, (centre, axes) in enumerate(ELLIPSOIDS.values()):
        for side, sign in enumerate((-1.0, 1.0)):
            middle = np.array(centre) * [sign, 1, 1]
            distance = ((world - middle[:, None, None]) / np.reshape(axes, (3, 1, 1))) ** 2
            out[(distance.sum(axis=0) <= 1) & (out == 0)] = 2 * i + 1 + side


def check_space(voxels: FloatArray, brain: BoolArray, atlas: Atlas) -> tuple[float, float]:
    """Overlap (Dice) of a scan's brain with the atlas's, and correlation with its template.

    The correlation is Pearson's over the voxels in both brains, 0 where they share none.
    """
    own = atlas.brain()
    both = brain & own
    dice = 2.0 * np.count_nonzero(both) / (np.count_nonzero(brain) + np.count_nonzero(own))
    if np.count_nonzero(both) < 2:
        return float(dice), 0.0
    r = np.corrcoef(without_spikes(voxels[both]), atlas.template_voxels()[both])[0, 1]
    return float(dice), float(r) if np.isfinite(r) else 0.0


def refuse_other_space(scan: str, dice: float, correlation: float, atlas: Atlas) -> None:
    """Raise unless a scan lies in the atlas's space: scoring on wrong labels must be impossible.

    Raises
    ------
    AtlasError
        Brain overlap below .80 or correlation with the template below .35.
    """
    if dice >= 0.80 and correlation >= 0.35:
        return
    raise AtlasError(
        f"{scan} does not lie in the space of atlas '{atlas.name}' ({atlas.space}): expected a "
        f"brain overlap (Dice) of at least 0.80 and a correlation with the template of at least "
        f"0.35, found {dice:.2f} and {correlation:.2f}. Register the cohort to this atlas, or "
        "name the atlas it was registered to with --atlas DIR"
    )
