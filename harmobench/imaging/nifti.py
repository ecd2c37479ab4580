"""NIfTI files read once from front to end, in memory that the file itself vouches for.

A header may claim anything. What it claims is held to the size of the file before memory is taken,
and a stream that goes on beyond the last voxel is left there. On the way every byte is hashed, and
the checksum at the end of a .gz is checked, for which most programs do not read far enough.
"""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmobench.errors import HarmobenchError
from harmobench.imaging.stream import BLOCK, Stream

ENDINGS = (".nii", ".nii.gz")
MOST_VOXELS = 2**29  # 812 along each edge: no scanner makes an image of a head with more
MOST_HEADER = 2**24  # bytes before the first voxel: extensions of a header stay far below it
SLACK = 2**20  # bytes that may follow the last voxel: some programs pad
MOST_DEFLATED = 1032  # bytes that one byte of a deflate stream can stand for
HEADERS = {348: "Nifti1Image", 540: "Nifti2Image"}  # by the bytes of the header


@dataclass(frozen=True)
class Header:
    """What a file says about its voxels, held to what the file can hold.

    Attributes
    ----------
    path
        The file.
    shape
        Voxels along each axis, 1 to 7 of them.
    affine
        The 4 x 4 voxel-to-world affine, mm.
    dtype
        Of the stored numbers, in their byte order.
    offset
        Bytes before the first voxel.
    slope, inter
        What the stored numbers are scaled by.
    """

    path: Path
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Content:
    """A file that was read to its end.

    Attributes
    ----------
    header
        Of the image.
    voxels
        Its scaled voxels, in the stored axis order.
    sha256
        Of the file as it lies on the disk.
    """

    header: Header
    voxels: NDArray[Any]
    sha256: str


def read_header(path: Path) -> Header:
    """Read what an image is, and nothing of its voxels.

    Raises
    ------
    HarmobenchError
        No file, not a NIfTI image, voxels that are not real numbers, or a header that claims what
        the file cannot hold.
    """
    _refuse_no_image(path)
    try:
        with path.open("rb") as raw:
            return _header(path, _first(path, Stream(raw, _packed(path))))
    except OSError as error:
        raise HarmobenchError(_no_image(path, error)) from error


def read_content(path: Path, dtype: Any) -> Content:
    """Read an image to the end of its file.

    Parameters
    ----------
    path
        Ends in .nii or .nii.gz.
    dtype
        Of the voxels that are returned.

    Raises
    ------
    HarmobenchError
        As `read_header`; or the file is damaged, cut short, or goes on beyond its last voxel.
    """
    _refuse_no_image(path)
    try:
        with path.open("rb") as raw:
            stream = Stream(raw, _packed(path))
            head = _first(path, stream)
            header = _header(path, head)
            stored = _stored(header, stream, len(head))
        return Content(header, _scaled(header, stored, dtype), stream.digest.hexdigest())
    except MemoryError as error:
        raise HarmobenchError(
            f"expected an image that fits in memory, found one that does not in {path}"
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise HarmobenchError(_damaged(path, error)) from error


def is_file(path: Path) -> bool:
    """Whether a file lies at a path, which may be longer than the system takes."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _refuse_no_image(path: Path) -> None:
    if not is_file(path):
        raise HarmobenchError(f"expected an image, found no file at {path}")
    if not path.name.lower().endswith(ENDINGS):  # of a pair (.hdr, .img) one half would be hashed
        raise HarmobenchError(
            f"expected a NIfTI image (.nii or .nii.gz), found another ending in {path}: convert "
            "it, for example with mri_convert"
        )


def _packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _no_image(path: Path, why: object) -> str:
    return f"expected a NIfTI image (.nii or .nii.gz), found something else in {path}: {why}"


def _damaged(path: Path, why: object) -> str:
    return f"expected readable voxels, found a damaged or truncated file in {path}: {why}"


def _first(path: Path, stream: Stream) -> bytearray:
    """Take the header's bytes, 348 of NIfTI-1 or 540 of NIfTI-2, and nothing behind them."""
    try:
        head = stream.take(min(HEADERS))
        claimed = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
        return head + stream.take(max(HEADERS) - len(head)) if max(HEADERS) in claimed else head
    except (OSError, EOFError, zlib.error) as error:
        raise HarmobenchError(_no_image(path, error)) from error


def _header(path: Path, head: bytearray) -> Header:
    import nibabel as nib

    try:
        kind = getattr(nib, HEADERS.get(len(head), "Nifti1Image")).header_class
        if not kind.may_contain_header(bytes(head)):
            raise ValueError("it does not begin with a NIfTI header")
        # Only the header itself: its extensions are not used, and their sizes are a claim, too.
        found = kind.from_fileobj(io.BytesIO(head))
        slope, inter = _scale(found, path)
        made = Header(
            path=path,
            shape=tuple(int(n) for n in found.get_data_shape()),
            affine=np.asarray(found.get_best_affine(), dtype=np.float64),
            dtype=found.get_data_dtype(),
            offset=int(found.get_data_offset()),
            slope=slope,
            inter=inter,
        )
    except HarmobenchError:
        raise
    except Exception as error:  # nibabel raises many kinds at a header that is none
        raise HarmobenchError(_no_image(path, error)) from error
    _refuse_claims(made, len(head))
    return made


def _scale(found: Any, path: Path) -> tuple[float, float]:
    """Slope and intercept: 1 and 0 where the slope is 0, as NIfTI has it."""
    slope, inter = (float(found[name]) for name in ("scl_slope", "scl_inter"))
    if slope == 0:
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise HarmobenchError(
            f"expected a finite scale of the voxels (scl_slope, scl_inter), found {slope:g} and "
            f"{inter:g} in {path}: write the image again"
        )
    return slope, inter


def _refuse_claims(header: Header, least: int) -> None:
    """Refuse a header that claims what its file cannot hold, or what no image of a brain has."""
    path = header.path
    if header.dtype.kind not in "iufb":
        raise HarmobenchError(
            f"expected voxels that are real numbers, found {header.dtype} in {path}: "
            "write it as a grey-scale image"
        )
    claimed = " x ".join(str(n) for n in header.shape)
    if not header.shape or min(header.shape) < 1 or math.prod(header.shape) > MOST_VOXELS:
        raise HarmobenchError(
            f"expected 1 to {MOST_VOXELS} voxels, found a header that claims "
            f"{claimed or 'none'} in {path}: it is damaged, or of no image of a brain"
        )
    if not least <= header.offset <= MOST_HEADER:
        raise HarmobenchError(
            f"expected voxels that begin between bytes {least} and {MOST_HEADER}, found a header "
            f"that claims byte {header.offset} (vox_offset) in {path}: it is damaged"
        )
    there = path.stat().st_size
    room = there * MOST_DEFLATED if _packed(path) else there
    if header.offset + header.size > room:
        needed = f"{claimed} voxels of {header.dtype.itemsize} bytes"
        raise HarmobenchError(_damaged(path, f"{there} bytes cannot hold {needed}"))


def _stored(header: Header, stream: Stream, taken: int) -> NDArray[Any]:
    """Read the stored numbers of an image, of whose file so much was taken, and its end."""
    stream.take(header.offset - taken)
    buffer = bytearray(header.size)
    found = stream.fill(buffer)
    if found < header.size:
        raise EOFError(f"{found} of {header.size} bytes of voxels are there")
    beyond = 0
    while beyond <= SLACK and (some := stream.some(BLOCK)):
        beyond += len(some)
    if beyond > SLACK:
        raise ValueError(f"it goes on for more than {SLACK} bytes beyond its last voxel")
    return np.frombuffer(buffer, header.dtype).reshape(header.shape, order="F")


def _scaled(header: Header, stored: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Make intensities of stored numbers, in the steps, and so to the bit, as nibabel does."""
    from nibabel.volumeutils import apply_read_scaling

    slope: Any = np.asanyarray(header.slope)
    inter: Any = np.asanyarray(header.inter)
    if np.can_cast(slope, dtype):
        slope = slope.astype(dtype)
    if np.can_cast(inter, dtype):
        inter = inter.astype(dtype)
    # what does not fit becomes inf or NaN, and is found as such
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = apply_read_scaling(stored, slope, inter)
        promoted = scaled.astype(np.promote_types(scaled.dtype, dtype), copy=False)
        made: NDArray[Any] = promoted.astype(dtype, copy=False)
    return made
