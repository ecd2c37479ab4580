"""Volume errors are differences of plain counts, and the phantom's own table of true volumes."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.imaging.volume import Grid, read_grid, write_image
from harmobench.interface import Scan, Segmentation
from harmobench.manifest import read_cohort
from harmobench.metrics.volume import Volume
from harmobench.metrics.volume_error import VolumeError
from harmobench.phantom.simulate import simulate

SHAPE = (5, 4, 3)
TISSUES = ("gm", "wm", "csf")
GRID = Grid.make(SHAPE, np.diag([2.0, 1.0, 1.5, 1.0]))  # 3 cubic millimetres a voxel
VOXEL_ML = 0.003


def write_steps(folder, seed, grid=GRID):
    """Write csf, gm and wm in steps of 1/250, some exactly at .8."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    found = {}
    for tissue in TISSUES:
        steps = rng.choice([0, 100, 199, 200, 250], size=grid.shape).astype(np.uint8)
        write_image(folder / f"{tissue}.nii.gz", steps, grid, scale=1 / 250)
        found[tissue] = steps.astype(int)
    return found


def make_scan(segmented, true, space="native"):
    maps = {tissue: segmented / f"{tissue}.nii.gz" for tissue in TISSUES}
    values = {f"truth_{tissue}": str(true / f"{tissue}.nii.gz") for tissue in TISSUES}
    segmentation = Segmentation("hmrf", space, maps)
    return Scan("01", "GE", maps["gm"], values=values, segmentation=segmentation)


def values(metric, scan):
    rows = list(metric.score((scan,), None, None))
    assert {(row.scanner, row.units, row.status) for row in rows} == {("GE", "ml", "ok")}
    return {row.structure: row.value for row in rows}


@given(st.integers(0, 10**6), st.sampled_from([0.4, 0.8, 0.9]))
@settings(deadline=None, max_examples=15)
def test_errors_are_counts_minus_the_truth(tmp_path_factory, seed, threshold):
    folder = tmp_path_factory.mktemp("maps")
    own, true = write_steps(folder / "own", seed), write_steps(folder / "true", seed + 1)
    found = values(VolumeError(threshold), make_scan(folder / "own", folder / "true"))
    expected = {}
    for tissue in TISSUES:
        count = (own[tissue] >= round(threshold * 250)).sum()
        expected[tissue] = (count - true[tissue].sum() / 250) * VOXEL_ML
        expected[f"{tissue}_p80"] = (count - (true[tissue] >= 200).sum()) * VOXEL_ML
        expected[f"{tissue}_true"] = true[tissue].sum() / 250 * VOXEL_ML
    assert found == pytest.approx(expected, abs=1e-8)
    assert set(found) - {f"{tissue}_true" for tissue in TISSUES} == set(VolumeError.structures)


def test_the_truth_itself_has_only_the_thresholds_own_bias(tmp_path):
    true = write_steps(tmp_path, 0)
    found = values(VolumeError(), make_scan(tmp_path, tmp_path))
    for tissue in TISSUES:
        steps = true[tissue]
        assert found[f"{tissue}_p80"] == 0.0
        bias = (np.count_nonzero(steps >= 200) - steps.sum() / 250) * VOXEL_ML
        assert found[tissue] == pytest.approx(bias, abs=1e-8)


def test_volume_minus_its_error_is_the_truth(tmp_path):
    write_steps(tmp_path / "own", 1)
    true = write_steps(tmp_path / "true", 2)
    scan = make_scan(tmp_path / "own", tmp_path / "true")
    errors, volumes = values(VolumeError(), scan), values(Volume(), scan)
    for tissue in TISSUES:
        assert volumes[tissue] - errors[tissue] == pytest.approx(true[tissue].sum() / 250 * 0.003)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    return read_cohort(simulate(out, 2, 2, 8.0, 0)), out / "truth.csv"


def test_on_the_phantom_the_truth_is_that_of_its_own_table(phantom):
    cohort, table = phantom
    with table.open(encoding="utf-8") as file:
        listed = {
            (row["subject"], row["scanner"], row["structure"], row["quantity"]): row["value"]
            for row in csv.DictReader(file)
        }
    for scan in cohort.scans:
        # every voxel segmented as every tissue: the error is the grid's volume minus the truth
        grid = read_grid(Path(scan.values["truth_gm"]))
        full = table.parent / f"full_{scan.subject}_{scan.scanner}.nii.gz"
        write_image(full, np.ones(grid.shape, dtype=bool), grid)
        segmentation = Segmentation("all", "native", dict.fromkeys(TISSUES, full))
        rows = VolumeError().score((replace(scan, segmentation=segmentation),), None, None)
        found = {row.structure: np.prod(grid.shape) * grid.voxel_ml - row.value for row in rows}
        for tissue in TISSUES:
            key = (scan.subject, scan.scanner, tissue)
            for name, quantity in ((tissue, "volume_sum"), (f"{tissue}_p80", "volume_p80")):
                assert found[name] == pytest.approx(float(listed[*key, quantity]), abs=1e-3)


def test_template_space_is_not_applicable(tmp_path):
    write_steps(tmp_path, 0)
    rows = list(VolumeError().score((make_scan(tmp_path, tmp_path, "template"),), None, None))
    assert [row.structure for row in rows] == ["gm", "gm_p80", "wm", "wm_p80", "csf", "csf_p80"]
    assert {(row.value, row.status) for row in rows} == {(None, "not_applicable")}
    assert all("native space" in row.reason and "to_native" in row.reason for row in rows)


def test_another_grid_is_not_applicable(tmp_path):
    write_steps(tmp_path / "own", 0)
    moved = GRID.affine
    moved[0, 3] += 1
    write_steps(tmp_path / "moved", 0, Grid.make(SHAPE, moved))
    write_steps(tmp_path / "larger", 0, Grid.make((6, 4, 3), GRID.affine))
    for other in ("moved", "larger"):
        scan = make_scan(tmp_path / "own", tmp_path / other)
        rows = list(VolumeError().score((scan,), None, None))
        assert {(row.value, row.status) for row in rows} == {(None, "not_applicable")}
        assert all("another grid" in row.reason for row in rows)


def test_without_segmentation_it_is_not_measured(tmp_path):
    rows = list(VolumeError().score((Scan("01", "GE", tmp_path),), None, None))
    assert {(row.value, row.status) for row in rows} == {(None, "not_measured")}
    assert len(rows) == 6
