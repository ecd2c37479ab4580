"""Grey matter in the atlas's regions: sums that can be made by hand, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.atlas import Atlas
from harmobench.cohort import Scan, Segmentation
from harmobench.errors import MeasurementError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Morphometry
from harmobench.tools.atlas_roi import AtlasROI

SHAPE = (6, 5, 4)
GRID = Grid.make(SHAPE, np.diag([2.0, 2.0, 2.5, 1.0]))  # 0.01 ml a voxel
STEPS = 250


def context(folder: Path, labels: dict[str, tuple[int, int]]) -> Context:
    no = folder / "none.nii.gz"
    atlas = Atlas("tiny", "nowhere", "", no, no, no, {}, no, labels)
    return Context(seed=0, atlas=atlas, scratch=folder)


def scan(folder: Path, gm: np.ndarray, regions: np.ndarray) -> Scan:
    stored = np.floor(gm * STEPS).astype(np.uint8)
    write_image(folder / "gm.nii.gz", stored, GRID, scale=1 / STEPS)
    write_image(folder / "regions.nii.gz", regions.astype(np.int32), GRID)
    maps = dict.fromkeys(("csf", "gm", "wm"), folder / "gm.nii.gz")
    return Scan(
        "01",
        "GE",
        folder / "gm.nii.gz",
        inputs={"regions": folder / "regions.nii.gz"},
        segmentation=Segmentation("hmrf", "native", maps),
    )


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_is_the_sum_of_probabilities_in_both_sides(tmp_path_factory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("roi")
    rng = np.random.default_rng(seed)
    gm = rng.integers(0, STEPS + 1, SHAPE) / STEPS
    regions = rng.integers(0, 6, SHAPE)
    labels = {"b": (1, 2), "a": (3, 5)}
    found = list(AtlasROI().measure(scan(folder, gm, regions), context(folder, labels)))
    assert [(m.structure, m.units) for m in found] == [("a_gm", "ml"), ("b_gm", "ml")]
    for measure, sides in zip(found, ((3, 5), (1, 2)), strict=True):
        expected = sum(gm[i] for i in np.ndindex(SHAPE) if regions[i] in sides) * 0.01
        assert measure.value == pytest.approx(expected, rel=1e-5)


def test_a_region_that_is_not_in_the_image_is_refused(tmp_path: Path) -> None:
    given = scan(tmp_path, np.ones(SHAPE), np.ones(SHAPE))
    with pytest.raises(MeasurementError, match=r"the region lost of atlas 'tiny'.*none of its vox"):
        list(AtlasROI().measure(given, context(tmp_path, {"lost": (8, 9)})))


def test_no_segmentation_is_refused(tmp_path: Path) -> None:
    given = replace(scan(tmp_path, np.ones(SHAPE), np.ones(SHAPE)), segmentation=None)
    with pytest.raises(MeasurementError, match="expected a segmentation"):
        list(AtlasROI().measure(given, context(tmp_path, {"a": (1, 1)})))


def test_is_a_morphometry_that_names_its_structures() -> None:
    tool: Morphometry = AtlasROI()
    assert tool.available() is None
    assert tool.structures(["b", "a"]) == {"a_gm": "ml", "b_gm": "ml"}
    assert tool.structures([]) == {}
    assert tool.version().startswith("harmobench ")
