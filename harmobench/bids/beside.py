"""Files that belong to an image: its brain mask, its native image, its way back there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harmobench.bids.find import Dataset
from harmobench.bids.names import IMAGES, Named, read_name
from harmobench.bids.reading import read_object
from harmobench.errors import HarmobenchError, SettingsError

BRAIN = "brain"
FIELDS = ("subject", "session", "scanner")


def mask_of(dataset: Dataset, image: Named, asked: str, scanner: str) -> tuple[Path | None, str]:
    """Find the brain mask of an image.

    Parameters
    ----------
    dataset, image, scanner
        Whose mask.
    asked
        "auto": `desc-brain_mask` in the same space beside the image, else that of the template;
        "none"; or a path with {subject}, {session} (labels) and {scanner}, relative to the dataset.

    Returns
    -------
    tuple
        The mask or None, and a fault or nothing.
    """
    if asked == "none":
        return None, ""
    if asked != "auto":
        path = dataset.root / _filled(asked, image, scanner)
        fault = f"{image.path.name}: found no mask at {path}: see --mask"
        return (path, "") if path.is_file() else (None, fault)
    for found in (list(_own_masks(image)), list(_template_masks(dataset.root, image))):
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            return None, f"{image.path.name}: expected one brain mask, found {names}: use --mask"
        if found:
            return found[0], ""
    return None, ""


def _filled(pattern: str, image: Named, scanner: str) -> str:
    try:
        return pattern.format(subject=image.get("sub"), session=image.get("ses"), scanner=scanner)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"--mask: expected auto, none or a path with {{{'}, {'.join(FIELDS)}}}, found "
            f"'{pattern}' ({error})"
        ) from error


def _own_masks(image: Named) -> Iterator[Path]:
    """Masks beside an image that are of the same space and of nothing that the image is not."""
    for named in _named_in(image.path.parent):
        if named.suffix != "mask" or named.get("desc") != BRAIN:
            continue
        rest = {k: v for k, v in named.entities.items() if k != "desc"}
        same = all(named.get(entity) == image.get(entity) for entity in ("space", "res"))
        if same and rest.items() <= image.entities.items():
            yield named.path


def _template_masks(root: Path, image: Named) -> Iterator[Path]:
    space = image.get("space")
    for named in _named_in(root / f"tpl-{space}") if space else ():
        if named.suffix == "mask" and named.get("desc") == BRAIN:
            yield named.path


def _named_in(folder: Path) -> Iterator[Named]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        named = read_name(path)
        if named is not None and named.extension in IMAGES and named.path.is_file():
            yield named


def beside(dataset: Dataset, image: Named) -> dict[str, Path]:
    """Native image and displacement field to it, of an image that `preprocess` wrote."""
    space = image.get("space")
    if not dataset.ours or not space:
        return {}
    stem = "_".join(f"{e}-{image.get(e)}" for e in ("sub", "ses") if image.get(e))
    field = image.path.with_name(f"{stem}_from-{space}_to-T1w_mode-image_xfm.nii.gz")
    native = _native(dataset, image)
    if not field.is_file() or native is None:
        return {}
    return {"native_image": native, "to_native": field}


def unmasked(dataset: Dataset, image: Named) -> str:
    """Refuse an image of a run whose air is not 0 where there is no mask: it would be brain."""
    outside = _sidecar(image).get("background") if dataset.ours else None
    if not outside:
        return ""
    return (
        f"{image.path.name}: expected a brain mask, found none, and {outside} outside the brain: "
        "name the masks with --mask"
    )


def _sidecar(image: Named) -> dict[str, Any]:
    path = image.path.with_name(image.path.name.removesuffix(image.extension) + ".json")
    try:
        return read_object(path)
    except HarmobenchError:
        return {}  # no sidecar, or none that can be read: then it says nothing


def _native(dataset: Dataset, image: Named) -> Path | None:
    """Follow the first of `Sources` where it still leads to a file."""
    sources = _sidecar(image).get("Sources")
    first = sources[0] if isinstance(sources, list) and sources else ""
    scheme, _, rest = str(first).partition(":")
    name, _, inside = rest.partition(":")
    links = dataset.description.get("DatasetLinks")
    place = links.get(name) if isinstance(links, dict) else None
    if scheme != "bids" or not isinstance(place, str):
        return None
    path = Path(os.path.normpath(dataset.root / unquote(place) / unquote(inside)))
    return path if path.is_file() else None
