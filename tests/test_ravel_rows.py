"""Images as rows of a file: what is written is read, whatever block; and no room is said."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.errors import MethodError
from harmobench.methods.ravel import rows
from harmobench.methods.ravel.rows import RowFile


@settings(deadline=None, max_examples=50)
@given(data=st.data(), n=st.integers(1, 6), voxels=st.integers(1, 40), seed=st.integers(0, 1000))
def test_any_block_is_that_of_the_array(
    data: st.DataObject, n: int, voxels: int, seed: int
) -> None:
    images = np.random.default_rng(seed).normal(size=(n, voxels)).astype(np.float32)
    ends = st.one_of(st.none(), st.integers(-2 * voxels, 2 * voxels))
    row = slice(data.draw(ends), data.draw(ends), data.draw(st.sampled_from([None, 1, 2, -1])))
    column = slice(data.draw(ends), data.draw(ends))
    with tempfile.TemporaryDirectory() as folder:
        file = RowFile.write(Path(folder) / "rows", iter(images), (n, voxels))
        np.testing.assert_array_equal(file[row, column], images[row, column])
        assert file.path.stat().st_size == 4 * images.size


def test_any_layout_and_number_type_is_written_as_float32(tmp_path: Path) -> None:
    image = np.arange(20.0)[::2]
    file = RowFile.write(tmp_path / "rows", [image], (1, 10))
    np.testing.assert_array_equal(file[:, :], image[None].astype(np.float32))


def test_columns_apart_are_not_read(tmp_path: Path) -> None:
    file = RowFile.write(tmp_path / "rows", [np.zeros(4, np.float32)], (1, 4))
    with pytest.raises(ValueError, match="side by side"):
        file[:, ::2]


@pytest.mark.parametrize(("count", "voxels"), [(2, 4), (4, 4), (3, 5)])
def test_other_images_than_announced_are_refused(tmp_path: Path, count: int, voxels: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        RowFile.write(tmp_path / "rows", [np.zeros(voxels, np.float32)] * count, (3, 4))


def test_a_file_cut_short_is_said(tmp_path: Path) -> None:
    file = RowFile.write(tmp_path / "rows", [np.zeros(4, np.float32)] * 2, (2, 4))
    file.path.write_bytes(file.path.read_bytes()[:-4])
    with pytest.raises(MethodError, match="cut short"):
        file[:, :]


def test_a_full_disk_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    read: list[int] = []
    images = (read.append(i) or np.zeros(1_500_000, np.float32) for i in range(1000))
    with pytest.raises(MethodError, match=r"expected 6 GB of free disk .* found 1 GB: set TMPDIR"):
        RowFile.write(tmp_path / "rows", images, (1000, 1_500_000))
    assert not read
    assert not list(tmp_path.iterdir())


def test_a_disk_that_others_fill_meanwhile_is_said_too(tmp_path: Path) -> None:
    def images() -> object:
        yield np.zeros(4, np.float32)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MethodError, match="of free disk for temporary files"):
        RowFile.write(tmp_path / "rows", images(), (2, 4))  # type: ignore[arg-type]


def test_other_trouble_with_a_file_is_not_called_a_full_disk(tmp_path: Path) -> None:
    def images() -> object:
        yield np.zeros(4, np.float32)
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        RowFile.write(tmp_path / "rows", images(), (2, 4))  # type: ignore[arg-type]
