"""Volumes are voxel counts times voxel size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Scan, Segmentation
from harmobench.metrics.volume import Volume

SHAPE = (5, 4, 3)
SIZES = (2.0, 1.0, 1.5)  # mm: 3 cubic millimetres a voxel
VOXEL_ML = 0.003


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    steps = {tissue: rng.integers(0, 251, SHAPE) for tissue in ("csf", "gm", "wm")}
    steps["wm"][0, 0, :] = 200  # exactly the threshold: in
    steps["wm"][0, 1, :] = 199
    return {tissue: n.astype(np.uint8) for tissue, n in steps.items()}


@pytest.fixture(scope="module")
def scan(tmp_path_factory, maps):
    folder = tmp_path_factory.mktemp("maps")
    grid = Grid.make(SHAPE, np.diag([*SIZES, 1.0]))
    for tissue, steps in maps.items():
        write_image(folder / f"{tissue}.nii.gz", steps, grid, scale=1 / 250)
    paths = {tissue: folder / f"{tissue}.nii.gz" for tissue in maps}
    segmentation = Segmentation("hmrf", "native", paths)
    return Scan("01", "GE", folder / "gm.nii.gz", segmentation=segmentation)


def values(metric, scan):
    return {row.structure: row.value for row in metric.score((scan,), None, None)}


def test_voxels_of_at_least_eight_tenths_count(scan, maps):
    expected = {t: np.count_nonzero(maps[t] >= 200) * VOXEL_ML for t in ("gm", "wm", "csf")}
    assert values(Volume(), scan) == pytest.approx(expected, rel=1e-9)


def test_probabilities_can_be_summed(scan, maps):
    expected = {t: maps[t].sum() / 250 * VOXEL_ML for t in ("gm", "wm", "csf")}
    assert values(Volume(probability_sum=True), scan) == pytest.approx(expected, rel=1e-6)


@given(st.floats(0.05, 0.9), st.floats(0.01, 0.1))
@settings(deadline=None, max_examples=20)
def test_a_higher_threshold_never_gives_more(scan, threshold, step):
    low, high = values(Volume(threshold), scan), values(Volume(threshold + step), scan)
    assert all(high[tissue] <= low[tissue] for tissue in low)


def test_rows_name_scanner_and_units(scan):
    rows = list(Volume().score((scan, scan), None, None))
    assert [row.structure for row in rows] == ["gm", "wm", "csf"] * 2
    assert {(row.scanner, row.units, row.status) for row in rows} == {("GE", "ml", "ok")}


def test_without_segmentation_it_is_not_measured(scan):
    rows = list(Volume().score((Scan("01", "GE", scan.image),), None, None))
    assert [(row.value, row.status) for row in rows] == [(None, "not_measured")] * 3
