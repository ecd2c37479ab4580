"""Images on disk as the rows of one file, read in blocks of voxels."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harmobench.errors import MethodError
from harmobench.imaging.volume import FloatArray

BYTES = 4  # of a float32


@dataclass(frozen=True)
class RowFile:
    """Images (n, voxels), float32, one after the other in a file.

    Indexed like an array, by two slices. Only what is asked for is read, and no page of the file
    counts as the process's memory, as those of a memory map would.

    Attributes
    ----------
    path
        The file: n x voxels numbers and nothing else, in this machine's byte order.
    shape
        Images, voxels.
    """

    path: Path
    shape: tuple[int, int]

    @classmethod
    def write(cls, path: Path, images: Iterable[FloatArray], shape: tuple[int, int]) -> RowFile:
        """Write images (voxels,), each as it comes.

        Raises
        ------
        MethodError
            Not enough room on the disk.
        ValueError
            Other images than `shape` says.
        """
        needed, free = shape[0] * shape[1] * BYTES, shutil.disk_usage(path.parent).free
        if needed > free:
            raise MethodError(_no_room(needed, free))
        count = 0
        try:
            with path.open("wb") as stream:
                for image in images:
                    if image.shape != shape[1:]:
                        raise ValueError(f"expected {shape[1]} voxels, found {image.shape}")
                    count += stream.write(np.ascontiguousarray(image, dtype=np.float32).data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise MethodError(_no_room(needed, free)) from error
        if count != needed:
            raise ValueError(f"expected {needed} bytes, wrote {count}")
        return cls(path, shape)

    def __getitem__(self, where: tuple[slice, slice]) -> FloatArray:
        """Read a block (rows, columns); columns stand side by side."""
        rows, columns = (range(*w.indices(n)) for w, n in zip(where, self.shape, strict=True))
        if columns.step != 1:
            raise ValueError(f"expected columns side by side, found steps of {columns.step}")
        out = np.empty((len(rows), len(columns)), dtype=np.float32)
        with self.path.open("rb", buffering=0) as stream:
            for row, into in zip(rows, out, strict=True):
                stream.seek((row * self.shape[1] + columns.start) * BYTES)
                if stream.readinto(into.data) != into.nbytes:
                    raise MethodError(f"expected {self.shape} numbers, found the file cut short")
        return out


def _no_room(needed: int, free: int) -> str:
    return (
        f"expected {needed / 1e9:.2g} GB of free disk for temporary files, found {free / 1e9:.2g} "
        "GB: set TMPDIR to a folder on a larger disk, or give fewer scans"
    )
