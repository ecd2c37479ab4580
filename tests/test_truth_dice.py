"""Dice to the truth equals scipy's, and says where there is no truth to hold it against."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Scan, Segmentation
from harmobench.metrics.truth_dice import TruthDice

SHAPE = (6, 5, 4)
GRID = Grid.make(SHAPE, np.diag([1.0, 2.0, 1.0, 1.0]))
TISSUES = ("csf", "gm", "wm")


def write_maps(folder, maps, grid=GRID):
    folder.mkdir(exist_ok=True)
    for tissue, steps in maps.items():
        write_image(folder / f"{tissue}.nii.gz", np.uint8(steps), grid, scale=1 / 250)
    return folder


def random_maps(seed):
    rng = np.random.default_rng(seed)
    return {tissue: rng.choice([0, 150, 199, 200, 250], SHAPE) for tissue in TISSUES}


def make_scan(segmented, true, space="native"):
    maps = {tissue: segmented / f"{tissue}.nii.gz" for tissue in TISSUES}
    values = {f"truth_{tissue}": str(true / f"{tissue}.nii.gz") for tissue in TISSUES}
    return Scan("01", "GE", segmented, None, values, segmentation=Segmentation("x", space, maps))


def score(segmented, true, threshold=0.8, space="native"):
    rows = list(TruthDice(threshold).score((make_scan(segmented, true, space),), None, None))
    assert [(row.structure, row.scanner) for row in rows] == [("gm", "GE"), ("wm", "GE")]
    return {row.structure: row for row in rows}


@given(st.integers(0, 10**6), st.sampled_from([0.6, 0.8, 1.0]))
@settings(deadline=None, max_examples=15)
def test_equals_scipy_and_is_symmetric(tmp_path_factory, seed, threshold):
    folder = tmp_path_factory.mktemp("maps")
    own, true = random_maps(seed), random_maps(seed + 1)
    a, b = write_maps(folder / "a", own), write_maps(folder / "b", true)
    found, turned = score(a, b, threshold), score(b, a, threshold)
    for tissue in ("gm", "wm"):
        x, y = (m[tissue].ravel() >= round(threshold * 250) for m in (own, true))
        assert found[tissue].value == pytest.approx(1 - distance.dice(x, y), abs=1e-12)
        assert found[tissue].value == turned[tissue].value


def test_the_truth_overlaps_itself_wholly(tmp_path):
    write_maps(tmp_path, random_maps(0))
    assert {row.value for row in score(tmp_path, tmp_path).values()} == {1.0}


def test_it_falls_as_the_segmentation_moves_away(tmp_path):
    block = np.zeros(SHAPE)
    block[:3] = 250
    true = write_maps(tmp_path / "true", dict.fromkeys(TISSUES, block))
    found = []
    for shift in range(4):
        moved = dict.fromkeys(TISSUES, np.roll(block, shift, axis=0))
        found.append(score(write_maps(tmp_path / str(shift), moved), true)["gm"].value)
    assert found == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_empty_masks_are_undefined_or_zero(tmp_path):
    nothing = write_maps(tmp_path / "nothing", dict.fromkeys(TISSUES, np.full(SHAPE, 199)))
    full = write_maps(tmp_path / "full", dict.fromkeys(TISSUES, np.full(SHAPE, 200)))
    both = score(nothing, nothing)["gm"]
    assert (both.value, both.status) == (None, "undefined")
    assert "empty" in both.reason
    for pair in ((nothing, full), (full, nothing)):
        one = score(*pair)["wm"]
        assert (one.value, one.status) == (0.0, "ok")


def test_template_space_and_other_grids_are_not_applicable(tmp_path):
    own = write_maps(tmp_path / "own", random_maps(0))
    other = write_maps(tmp_path / "other", random_maps(0), Grid.make(SHAPE, np.eye(4)))
    for rows, word in ((score(own, own, space="template"), "native"), (score(own, other), "grid")):
        assert {(row.value, row.status) for row in rows.values()} == {(None, "not_applicable")}
        assert all(word in row.reason for row in rows.values())


def test_without_segmentation_it_is_not_measured(tmp_path):
    rows = list(TruthDice().score((Scan("01", "GE", tmp_path),), None, None))
    assert [(row.value, row.status) for row in rows] == [(None, "not_measured")] * 2
