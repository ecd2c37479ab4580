"""Links in a folder that is written into: whoever made the folder may have laid them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from harmobench.errors import SettingsError

# Folders that runs, reports, apply and preprocess write into, or begin their names.
WRITTEN = frozenset(
    "apply atlas figures harmonized logs models running segmentations store tables".split(" ")  # noqa: SIM905
)
STARTS = ("sub-", "tpl-", ".reports")
WHOLE = "atlas"  # its files are written under their own names
KEYS_DEPTH = 2  # store/ab: folders of keys below are written under another name and renamed


def refuse_links(folder: Path) -> None:
    """Refuse a folder below which a link takes the place of a folder that is written into.

    The folder itself may be a link.

    Raises
    ------
    SettingsError
        What would be written here would be written elsewhere.
    """
    for path in _links(folder):
        raise _refusal(path, folder)


def refuse_linked(targets: Iterable[Path], folder: Path) -> None:
    """Refuse files to write below a folder that a link there would lead elsewhere.

    Raises
    ------
    SettingsError
        A folder between the two is a link.
    """
    parents = {parent for target in targets for parent in target.parents if parent != folder}
    for path in sorted(parents):
        if path.is_relative_to(folder) and path.is_symlink():
            raise _refusal(path, folder)


def _refusal(path: Path, folder: Path) -> SettingsError:
    return SettingsError(
        f"expected folders of its own in {folder}, found a link at {path.relative_to(folder)}, to "
        f"{path.readlink()}, where files would be written over: remove the link; where a disk "
        f"is too small, move the whole of {folder} to another"
    )


def _links(folder: Path) -> Iterator[Path]:
    for top in sorted(folder.iterdir()) if folder.is_dir() else ():
        if top.name not in WRITTEN and not top.name.startswith(STARTS):
            continue
        if top.is_symlink():
            yield top
        for place, folders, files in os.walk(top):
            inside = Path(place)
            names = [*folders, *files] if top.name == WHOLE else folders
            yield from (inside / name for name in names if (inside / name).is_symlink())
            if top.name == "store" and len(inside.relative_to(folder).parts) >= KEYS_DEPTH:
                folders.clear()
