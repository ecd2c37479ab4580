"""What a saved model is made of: to load a pickle is to run whatever code is in it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

LARGEST = 1 << 28  # bytes of a packed file that are looked at
HDF5 = b"\x89HDF\r\n\x1a\n"
PACKED: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"x", zlib.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ", lzma.decompress),
)


def model_faults(folder: Path) -> Iterator[str]:
    """Say of each file of a saved model that may run code, or cannot be looked into, why."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            yield f"{path.relative_to(folder)} is a link"
        elif path.is_file():
            fault = content_fault(path.read_bytes())
            if fault:
                yield f"{path.relative_to(folder)} is {fault}"


def content_fault(data: bytes) -> str:
    """Say what is wrong with a file's content; "" where it is harmless.

    >>> import pickle
    >>> content_fault(pickle.dumps({"mean": 1.0})), content_fault(b'{"mean": 1.0}')
    ('a pickle', '')
    """
    if is_pickle(data):
        return "a pickle"
    if data.startswith(b"PK"):
        return _zip_fault(data)
    if data.startswith(b"\x93NUMPY"):
        return _npy_fault(data)
    if _is_text(data) or _is_safetensors(data) or data.startswith(HDF5) or _is_nifti(data):
        return ""
    unpacked = _unpacked(data)
    if unpacked is not None:
        inner = content_fault(unpacked)
        return f"{inner}, compressed" if inner else ""
    return "of a kind that cannot be looked into"


def is_pickle(data: bytes) -> bool:
    """Whether data is a pickle of any protocol, joblib's with arrays in between too."""
    if data[:1] == b"\x80" and len(data) > 2 and data[1] <= 5 and data[2:3] not in (b"\x00", b""):
        return True
    try:
        return sum(1 for _ in pickletools.genops(io.BytesIO(data[:LARGEST]))) > 2
    except Exception:  # it reads anything, and fails in many ways
        return False


def _zip_fault(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                fault = content_fault(archive.read(name))
                # torch.save: data.pkl beside plain bytes of tensors
                if fault and (name.endswith((".pkl", ".npy")) or "pickle" in fault):
                    return f"an archive with {fault} in it ({name})"
    except (zipfile.BadZipFile, RuntimeError, OSError) as error:
        return f"a broken archive ({error})"
    return ""


def _npy_fault(data: bytes) -> str:
    try:
        np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        return f"an array with a pickle of objects in it ({str(error)[:80]})"
    return ""


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _is_safetensors(data: bytes) -> bool:
    """Whether all of the data is what the header says: a pickle may follow one that says less."""
    if data[8:9] != b"{":
        return False
    from safetensors import SafetensorError, deserialize

    try:
        deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError:
        return False
    return True


def _is_nifti(data: bytes) -> bool:
    return data[344:348] in (b"n+1\0", b"ni1\0") or data[4:8] == b"n+2\0"


def _unpacked(data: bytes) -> bytes | None:
    for start, unpack in PACKED:
        if data.startswith(start):
            try:
                return unpack(data)[:LARGEST]
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return None
    return None
