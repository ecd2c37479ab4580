"""Headers that lie are refused before memory is taken; honest files are read to the bit."""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.errors import HarmobenchError
from harmobench.imaging.nifti import MOST_HEADER, SLACK, read_content, read_header
from harmobench.imaging.stream import Stream
from harmobench.imaging.volume import read_grid, read_labels, read_voxels

SHAPE = (5, 6, 7)
KINDS = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
MEGABYTE = 2**20


def nifti(
    shape: tuple[int, ...] = SHAPE,
    kind: str = "f4",
    *,
    order: str = "<",
    scale: tuple[float, float] = (1, 0),
    two: bool = False,
    **fields: Any,
) -> bytes:
    """Write a header by hand, with whatever it claims, and voxels 0 to 99 of SHAPE."""
    header = (nib.Nifti2Header if two else nib.Nifti1Header)(endianness=order)
    header.set_data_dtype(kind)
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["magic"] = header.single_magic
    header["vox_offset"] = 544 if two else 352
    header["scl_slope"], header["scl_inter"] = scale
    header.set_sform(np.diag([2.0, 2.0, 3.0, 1.0]), 1)
    for name, value in fields.items():
        header[name] = value
    voxels = np.random.default_rng(0).integers(0, 100, SHAPE).astype(kind)
    stored = voxels.astype(voxels.dtype.newbyteorder(order)).tobytes("F")
    return bytes(header.binaryblock) + b"\0\0\0\0" + stored


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.sampled_from("<>"),
    st.sampled_from([(1, 0), (0, 0), (0.004, 0), (0.3, -5.5), (1e30, 1e20)]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
def test_voxels_are_to_the_bit_those_that_nibabel_reads(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    order: str,
    scale: tuple[float, float],
    two: bool,
    packed: bool,
    dtype: Any,
) -> None:
    content = nifti(kind=kind, order=order, scale=scale, two=two)
    path = tmp_path_factory.mktemp("same") / ("t1.nii.gz" if packed else "t1.nii")
    path.write_bytes(gzip.compress(content) if packed else content)
    image, own = nib.load(path), read_content(path, dtype)
    theirs = np.asarray(image.dataobj, dtype=dtype)
    assert own.voxels.dtype == theirs.dtype
    assert own.voxels.tobytes("A") == theirs.tobytes("A")
    assert own.voxels.flags.f_contiguous
    np.testing.assert_array_equal(own.header.affine, image.affine)
    assert own.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_gz_of_several_members_with_padding_is_one_file(tmp_path: Path) -> None:
    content, path = nifti(), tmp_path / "t1.nii.gz"
    path.write_bytes(gzip.compress(content))
    whole = read_voxels(path)
    parts = (gzip.compress(content[i : i + 400]) for i in range(0, len(content), 400))
    path.write_bytes(b"\0\0".join(parts) + b"\0" * 100)
    np.testing.assert_array_equal(read_voxels(path), whole)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(HarmobenchError, match="damaged or truncated file"):
        read_voxels(path)


def test_a_wrong_byte_behind_the_voxels_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "t1.nii.gz"
    content = bytearray(gzip.compress(nifti()))
    content[-6] ^= 1
    path.write_bytes(bytes(content))
    assert read_grid(path).shape == SHAPE
    with pytest.raises(HarmobenchError, match=r"damaged or truncated file in .*t1\.nii\.gz"):
        read_voxels(path)


def test_padding_behind_the_voxels_is_taken(tmp_path: Path) -> None:
    for name, write in (("t1.nii", bytes), ("t1.nii.gz", gzip.compress)):
        (tmp_path / name).write_bytes(write(nifti() + b"\0" * SLACK))
        assert read_voxels(tmp_path / name).shape == SHAPE


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "30,000 along each edge": ({"shape": (30000,) * 3}, r"found a header that claims 30000 x"),
    "negative": ({"shape": (5, -6, 7)}, r"expected 1 to \d+ voxels"),
    "overflow": ({"shape": (32767,) * 7}, r"expected 1 to \d+ voxels"),
    "overflow of 64 bits": ({"two": True, "shape": (2**62, 4, 4)}, r"expected 1 to \d+ voxels"),
    "none": ({"shape": (5, 0, 7)}, r"expected 1 to \d+ voxels"),
    "more than there is": ({"shape": (200, 200, 200)}, r"damaged or truncated .* cannot hold"),
    "begins beyond the file": ({"vox_offset": 2.0**23}, r"damaged or truncated .* cannot hold"),
    "begins far away": ({"vox_offset": 1e30}, r"vox_offset"),
    "begins before the file": ({"vox_offset": -16}, r"vox_offset|vox offset"),
    "begins in the header": ({"vox_offset": 16}, r"vox_offset|vox offset"),
    "begins nowhere": ({"vox_offset": np.nan}, r"expected a NIfTI image"),
    "slope inf": ({"scale": (np.inf, 0)}, r"expected a finite scale"),
    "slope nan": ({"scale": (np.nan, 0)}, r"expected a finite scale"),
    "intercept inf": ({"scale": (1, -np.inf)}, r"expected a finite scale"),
    "complex": ({"kind": "c8"}, r"expected voxels that are real numbers"),
    "of no kind": ({"datatype": 999}, r"expected a NIfTI image"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_lies_is_refused_in_little_memory(
    tmp_path: Path, lie: str, packed: bool
) -> None:
    fields, said = LIES[lie]
    path = tmp_path / ("t1.nii.gz" if packed else "t1.nii")
    content = nifti(**fields)
    path.write_bytes(gzip.compress(content) if packed else content)
    for read in (read_grid, read_voxels, read_labels):
        error, peak = refused(read, path)
        assert peak < 4 * MEGABYTE
        assert str(path) in str(error)
        assert re.search(said, str(error)), error


def refused(read: Callable[[Path], object], path: Path) -> tuple[HarmobenchError, int]:
    """Return the error that reading ends in, and the most memory that it took."""
    tracemalloc.start()
    try:
        read(path)
    except HarmobenchError as error:
        return error, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    pytest.fail(f"{path} was read")


def bomb(path: Path, megabytes: int, head: bytes) -> Path:
    """Write a small file that unpacks to so much."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as stream:
        stream.write(packer.compress(head))
        for _ in range(megabytes):
            stream.write(packer.compress(b"\0" * MEGABYTE))
        stream.write(packer.flush())
    return path


def test_a_stream_that_goes_on_beyond_its_voxels_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bomb(tmp_path / "t1.nii.gz", 100, nifti())
    unpacked = 0
    some = Stream.some

    def counted(self: Any, most: int) -> bytes:
        nonlocal unpacked
        found = some(self, most)
        unpacked += len(found)
        return found

    monkeypatch.setattr(Stream, "some", counted)
    error, peak = refused(read_voxels, path)
    assert "goes on for more than" in str(error)
    assert peak < 8 * MEGABYTE
    assert unpacked <= len(nifti()) + 2 * SLACK


def test_a_stream_without_a_header_is_left_at_once(tmp_path: Path) -> None:
    path = bomb(tmp_path / "t1.nii.gz", 100, b"")
    error, peak = refused(read_voxels, path)
    assert "expected a NIfTI image" in str(error)
    assert peak < 4 * MEGABYTE


def test_a_gz_too_small_for_its_voxels_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "t1.nii.gz"
    path.write_bytes(gzip.compress(nifti((800, 800, 800))))
    error, peak = refused(read_grid, path)
    assert "bytes cannot hold 800 x 800 x 800 voxels of 4 bytes" in str(error)
    assert peak < 2 * MEGABYTE


def test_a_header_s_extensions_are_not_read(tmp_path: Path) -> None:
    """An extension may claim two gigabytes; it is stepped over, and what it claims with it."""
    content = bytearray(nifti(vox_offset=1024.0))
    claim = (1).to_bytes(4, "little") + (2**31 - 16).to_bytes(4, "little")
    path = tmp_path / "t1.nii"
    path.write_bytes(bytes(content[:348]) + claim + b"\0" * (1024 - 356) + bytes(content[352:]))
    assert read_voxels(path).shape == SHAPE
    path.write_bytes(bytes(nifti(vox_offset=MOST_HEADER + 16.0)))
    with pytest.raises(HarmobenchError, match="vox_offset"):
        read_header(path)


def test_a_process_with_little_memory_refuses_them_all(tmp_path: Path) -> None:
    """As the system counts it: arrays and all, within 200 MB of what an idle process has."""
    bomb(tmp_path / "bomb.nii.gz", 300, nifti())
    bomb(tmp_path / "claims.nii.gz", 1, nifti((512, 512, 100)))
    (tmp_path / "huge.nii").write_bytes(nifti((30000,) * 3))
    (tmp_path / "long.nii.gz").write_bytes(gzip.compress(nifti((800, 800, 800))))
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import nibabel\n"
        "from harmobench.errors import HarmobenchError\n"
        "from harmobench.imaging.volume import read_voxels\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000,) * 2)\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        read_voxels(path)\n"
        "    except HarmobenchError as error:\n"
        "        print(path.name, 'memory' in str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    names = ("bomb.nii.gz", "claims.nii.gz", "huge.nii", "long.nii.gz")
    assert done.stdout.splitlines() == [f"{name} False" for name in names]


@pytest.mark.parametrize("name", ["t1.img", "t1.hdr", "t1.mgz", "t1.mnc", "t1.nii.bz2", "t1"])
def test_what_is_no_nii_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(nifti())
    with pytest.raises(HarmobenchError, match=r"another ending in .*: convert it"):
        read_voxels(tmp_path / name)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 351), st.binary(min_size=1, max_size=8))
def test_a_header_with_any_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, where: int, bytes_: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "t1.nii"
    content = bytearray(nifti())
    content[where : where + len(bytes_)] = bytes_
    path.write_bytes(bytes(content))
    try:
        read_voxels(path)
    except HarmobenchError as error:
        assert str(path) in str(error)  # noqa: PT017
