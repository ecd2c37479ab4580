"""Files that go to a command of a method and come back: images, tables of scans, a model."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from harmobench.errors import HarmobenchError, MethodError
from harmobench.imaging.volume import BoolArray, FloatArray, read_grid, read_voxels, write_image
from harmobench.interface import Cohort, Scan
from harmobench.store import stamp

OWN = ("subject", "scanner", "image", "mask")  # columns of every table of scans


def copy_image(scan: Scan, path: Path) -> None:
    """Write a scan's image under another name: the command may do with it what it likes."""
    if scan.memory is None and scan.image.name.endswith(path.suffix):
        shutil.copyfile(scan.image, path)
    else:
        write_image(path, scan.voxels(), scan.grid)


def copy_input(path: Path, target: Path) -> None:
    """Write a shared input of a scan, such as its tissue labels, under another name."""
    if path.name.endswith(target.suffix):
        shutil.copyfile(path, target)
    else:
        write_image(target, read_voxels(path), read_grid(path))


def write_table(path: Path, rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> None:
    """Write a table of scans as CSV (UTF-8, lines end in LF); one without rows has its head."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def row(scan: Scan, image: Path, mask: Path, columns: Iterable[str]) -> dict[str, str]:
    """Return a scan's row: its files, and the columns of the manifest that the method sees.

    Raises
    ------
    MethodError
        A column without a value.
    """
    found = dict(zip(OWN, (scan.subject, scan.scanner, str(image), str(mask)), strict=True))
    for name in columns:
        value = scan.values.get(name, "")
        if not value.strip():
            raise MethodError(
                f"expected a value in column '{name}' for {scan}, found none: give every scan one, "
                "or leave the column out"
            )
        found[name] = value
    return found


class Training:
    """Files of training scans: those of the run where they lie, others written beside.

    Parameters
    ----------
    folder
        Where masks and what must be written go.
    ending
        Of the images.
    """

    def __init__(self, folder: Path, ending: str) -> None:
        self.folder = folder
        self.ending = ending
        self.stamps: dict[Path, tuple[int, ...]] = {}
        self.masks: dict[Path, Path] = {}
        self.count = 0

    def rows(
        self, cohort: Cohort, inputs: Sequence[str], columns: Sequence[str]
    ) -> list[dict[str, str]]:
        """Return a row for each scan of a cohort."""
        return [self._row(scan, inputs, columns) for scan in cohort.scans]

    def _row(self, scan: Scan, inputs: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
        image = self._image(scan)
        found = row(scan, image, self._mask(scan), columns)
        for name in inputs:
            path = scan.inputs[name]
            found[name] = str(self._file(path, partial(copy_input, path)))
        return found

    def _image(self, scan: Scan) -> Path:
        def write(path: Path) -> None:
            write_image(path, scan.voxels(), scan.grid)

        if scan.memory is not None:
            return self._written(write)
        return self._file(scan.image, write)

    def _file(self, path: Path, write: Callable[[Path], None]) -> Path:
        """Return the run's own file where its ending is right; it must stay as it is."""
        if not path.name.endswith(self.ending):
            return self._written(write)
        self.stamps[path] = stamp(path)
        return path.absolute()

    def _written(self, write: Callable[[Path], None]) -> Path:
        self.count += 1
        path = self.folder / f"image-{self.count}{self.ending}"
        write(path)
        return path

    def _mask(self, scan: Scan) -> Path:
        own = scan.mask or scan.image
        if own not in self.masks or scan.mask is None:
            path = self.folder / f"mask-{len(self.masks) + 1}-{self.count}{self.ending}"
            write_image(path, scan.brain(), scan.grid)
            self.masks[own] = path
        return self.masks[own]

    @property
    def place(self) -> Path | None:
        """The folder that holds all images of the run that are used; None where none is."""
        folders = [str(path.absolute().parent) for path in self.stamps]
        return Path(os.path.commonpath(folders)) if folders else None

    def refuse_changed(self) -> None:
        """Refuse a fit that wrote into the run's own images.

        Raises
        ------
        MethodError
            The run's store is not what its keys say any more.
        """
        for path, before in self.stamps.items():
            if not path.is_file() or stamp(path) != before:
                raise MethodError(
                    f"expected fit to leave its training images as they are, found {path} changed: "
                    "mend the program, delete the run folder and run again"
                )


def read_image(path: Path, scan: Scan, brain: BoolArray, said: str) -> FloatArray:
    """Voxels (x, y, z), float32, that a command wrote for a scan; 0 outside the brain.

    Parameters
    ----------
    said
        The end of a message: what the command said last.

    Raises
    ------
    MethodError
        No image, a damaged one, another grid, or NaN in the brain.
    """
    if path.is_symlink() or not path.is_file():
        raise MethodError(
            f"expected transform to write an image to {{output}} ({path.name}), found none{said}"
        )
    try:
        voxels, grid = read_voxels(path), read_grid(path)
    except HarmobenchError as error:
        raise MethodError(f"expected an image from transform: {error}{said}") from error
    if not grid.matches(scan.grid):
        raise MethodError(
            f"expected transform to keep the grid of {{input}} ({scan.grid}), found another shape "
            f"or affine ({grid}): write with the affine of {{input}}"
        )
    broken = int(np.count_nonzero(~np.isfinite(voxels[brain])))
    if broken:
        raise MethodError(
            f"expected transform to write finite voxels in the brain, found {broken} NaN or inf"
        )
    return np.where(brain, voxels, np.float32(0))


def read_model(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, by their names in it; what they hold is the method's.

    Raises
    ------
    MethodError
        A link, or something else than a file or a folder.
    """
    if folder.is_symlink():
        raise MethodError(f"expected files of its own in the model, found a link: {folder.name}")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise MethodError(
                f"expected files of its own in the model, found a link or a device: "
                f"{path.relative_to(folder)}"
            )
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def write_model(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder that does not exist."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
