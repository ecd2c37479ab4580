"""ANTs Atropos: the contract, repeatability, bright outliers and what it refuses."""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import Atlas
from harmobench.errors import MeasurementError
from harmobench.imaging.canonical import canonical
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Scan, Segmenter
from harmobench.tools import atropos
from harmobench.tools.atropos import Atropos

NOWHERE = Path("nowhere")
ATLAS = Atlas("none", "none", "", NOWHERE, NOWHERE, NOWHERE, {}, None, {})
pytestmark = pytest.mark.skipif(
    Atropos().available() is not None, reason="antspyx is not installed"
)


@pytest.fixture
def context(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Context(seed=0, atlas=ATLAS, scratch=scratch)


def shells(noise=5.0):
    """A head of shells (CSF, GM, WM, a ventricle) and its labels."""
    shape = (30, 34, 28)
    centre = (np.array(shape) - 1)[:, None, None, None] / 2
    radius = np.sqrt((((np.indices(shape) - centre) / (centre - 3)) ** 2).sum(axis=0))
    truth = np.select([radius < 0.3, radius < 0.7, radius < 0.9, radius < 1.0], [1, 3, 2, 1], 0)
    rng = np.random.default_rng(3)
    image = np.array([0.0, 30, 70, 105])[truth] + rng.normal(0, noise, shape) * (truth > 0)
    return image.astype(np.float32), truth


def scan_of(folder, voxels, brain, name="t1"):
    grid = Grid.make(voxels.shape, np.diag([-3.0, 3, 3, 1]))
    write_image(folder / f"{name}.nii.gz", voxels, grid)
    write_image(folder / f"{name}_mask.nii.gz", brain, grid)
    return Scan("01", "a", folder / f"{name}.nii.gz", folder / f"{name}_mask.nii.gz")


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_finds_the_tissues_twice_the_same_and_leaves_nothing(tmp_path, context):
    image, truth = shells()
    scan = scan_of(tmp_path, canonical(image, truth > 0), truth > 0)
    before = tempfile.tempdir
    maps = Atropos().segment(scan, context)
    again = Atropos().segment(scan, context)
    assert tempfile.tempdir == before
    assert not list(context.scratch.iterdir())
    assert list(maps) == ["csf", "gm", "wm"]
    for code, (name, tissue) in enumerate(maps.items(), start=1):
        assert tissue.dtype == np.float32
        assert not tissue[truth == 0].any()
        assert tissue.tobytes() == again[name].tobytes()
        assert dice(tissue >= 0.5, truth == code) > 0.95
    np.testing.assert_allclose(sum(maps.values())[truth > 0], 1, atol=1e-5)
    segmenter: Segmenter = Atropos()
    assert segmenter.version().startswith("antspyx ")


def test_bright_vessels_do_not_become_a_tissue(tmp_path, context):
    image, truth = shells()
    inside = np.argwhere(truth > 0)
    few = np.random.default_rng(0).choice(len(inside), len(inside) // 400, replace=False)
    image[tuple(inside[few].T)] = 400
    scan = scan_of(tmp_path, canonical(image, truth > 0), truth > 0)
    maps = Atropos().segment(scan, context)
    assert dice(maps["wm"] >= 0.5, truth == 3) > 0.95
    assert dice(maps["gm"] >= 0.5, truth == 2) > 0.9


def test_orders_the_maps_by_intensity_whatever_their_order():
    voxels = np.array([[[10.0, 10, 50, 50, 90, 90]]], dtype=np.float32)
    inside = np.ones(voxels.shape, dtype=bool)
    box = (slice(0, 1), slice(0, 1), slice(1, 7))
    maps = [(voxels == value).astype(np.float32) for value in (90, 10, 50)]
    out = atropos._fill(maps, voxels, inside, box, (1, 1, 8))
    assert out["csf"].ravel().tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert out["gm"].ravel().tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert out["wm"].ravel().tolist() == [0, 0, 0, 0, 0, 1, 1, 0]
    with pytest.raises(MeasurementError, match="three tissues"):
        atropos._fill(maps[:2], voxels, inside, box, (1, 1, 8))
    with pytest.raises(MeasurementError, match="empty one"):
        atropos._fill([*maps[:2], maps[0] * 0], voxels, inside, box, (1, 1, 8))


def test_refuses_what_has_no_three_tissues(tmp_path, context):
    image, truth = shells()
    flat = scan_of(tmp_path, (truth > 0).astype(np.float32), truth > 0, "flat")
    with pytest.raises(MeasurementError, match="constant"):
        Atropos().segment(flat, context)
    two = scan_of(tmp_path, np.minimum(truth, 2).astype(np.float32), truth > 0, "two")
    with pytest.raises(MeasurementError, match="fewer than three"):
        Atropos().segment(two, context)
    empty = scan_of(tmp_path, image, truth < 0, "empty")
    with pytest.raises(MeasurementError, match="empty mask"):
        Atropos().segment(empty, context)


def test_a_failure_of_the_program_becomes_an_error(tmp_path, context, monkeypatch):
    import ants

    def broken(**_):
        raise Exception("Atropos exited with non-zero status 1")

    monkeypatch.setattr(ants, "atropos", broken)
    image, truth = shells()
    scan = scan_of(tmp_path, canonical(image, truth > 0), truth > 0)
    with pytest.raises(MeasurementError, match="gave no result"):
        Atropos().segment(scan, context)
    assert not list(context.scratch.iterdir())


def test_says_what_to_install(monkeypatch):
    assert Atropos().available() is None
    monkeypatch.setattr(atropos, "find_spec", lambda name: None)
    assert "pip install antspyx" in Atropos().available()
    assert importlib.util.find_spec("ants") is not None
