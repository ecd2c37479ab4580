"""Dice equals scipy's, and says what empty segmentations mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.spatial import distance

from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Scan, Segmentation
from harmobench.metrics.dice import Dice, dice

SHAPE = (3, 4, 5)
MASKS = arrays(np.bool_, SHAPE)


@given(MASKS, MASKS)
@settings(deadline=None, max_examples=50)
def test_equals_scipy_and_is_symmetric(a, b):
    if not (a.any() or b.any()):
        assert dice(a, b) is None
        return
    expected = 1 - distance.dice(a.ravel(), b.ravel())
    assert dice(a, b) == pytest.approx(expected, abs=1e-12)
    assert dice(a, b) == dice(b, a)


@given(MASKS.filter(lambda mask: mask.any()))
@settings(deadline=None, max_examples=30)
def test_a_mask_overlaps_itself_wholly_and_nothing_not_at_all(mask):
    assert dice(mask, mask) == 1.0
    assert dice(mask, np.zeros(SHAPE, dtype=bool)) == 0.0
    assert dice(mask, ~mask) == 0.0


def test_a_growing_shift_lowers_it():
    mask = np.zeros((30, 4), dtype=bool)
    mask[5:15] = True
    found = [dice(mask, np.roll(mask, shift, axis=0)) for shift in range(11)]
    assert found == sorted(found, reverse=True)
    assert found[3] == pytest.approx(0.7)


def make_scan(folder, scanner, **probabilities):
    grid = Grid.make(SHAPE, np.eye(4))
    paths = {}
    for tissue, probability in probabilities.items():
        paths[tissue] = folder / f"{scanner}-{tissue}.nii.gz"
        write_image(paths[tissue], np.float32(probability), grid)
    return Scan("01", scanner, folder, segmentation=Segmentation("hmrf", "template", paths))


def test_rows_for_every_pair_and_tissue(tmp_path):
    rng = np.random.default_rng(0)
    gm = {scanner: rng.random(SHAPE, dtype=np.float32) for scanner in "ABC"}
    nothing, full = np.zeros(SHAPE), np.ones(SHAPE)
    wm = {"A": nothing, "B": nothing, "C": full}
    scans = tuple(make_scan(tmp_path, s, gm=gm[s], wm=wm[s], csf=full) for s in "ABC")
    rows = list(Dice().score(scans, None, None))
    found = {(r.structure, r.scanner, r.reference_scanner): r for r in rows}
    assert len(found) == len(rows) == 6
    for a, b in (("A", "B"), ("A", "C"), ("B", "C")):
        x, y = (gm[s] >= 0.8 for s in (a, b))
        expected = 2 * (x & y).sum() / (x.sum() + y.sum())
        assert found["gm", a, b].value == pytest.approx(expected, abs=1e-12)
    assert (found["wm", "A", "B"].value, found["wm", "A", "B"].status) == (None, "undefined")
    assert (found["wm", "A", "C"].value, found["wm", "A", "C"].status) == (0.0, "ok")


def test_the_threshold_is_a_parameter(tmp_path):
    probability = np.full(SHAPE, 0.5)
    scans = tuple(
        make_scan(tmp_path, s, gm=probability, wm=probability, csf=probability) for s in "AB"
    )
    assert [r.status for r in Dice().score(scans, None, None)] == ["undefined"] * 2
    assert [r.value for r in Dice(threshold=0.5).score(scans, None, None)] == [1.0, 1.0]


def test_without_segmentation_it_is_not_measured(tmp_path):
    scans = (Scan("01", "A", tmp_path), Scan("01", "B", tmp_path))
    rows = list(Dice().score(scans, None, None))
    assert [(r.structure, r.status) for r in rows] == [
        ("gm", "not_measured"),
        ("wm", "not_measured"),
    ]
