"""The mergeable histogram's percentiles are numpy's to its bin width."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harmobench.imaging.sketch import Sketch, exact_percentiles

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)
VALUES = arrays(np.float32, st.integers(1, 60), elements=FINITE)
WIDTH = 2.0**-13  # of a bin, relative to the value
PERCENTS = st.sampled_from([0.0, 0.1, 25.0, 50.0, 99.9, 100.0])


def order_statistic(values, percent):
    return float(np.sort(values)[int(percent / 100.0 * (values.size - 1))])


@given(VALUES, PERCENTS)
@settings(deadline=None, max_examples=50)
def test_percentile_lies_in_the_bin_of_the_order_statistic(values, percent):
    expected = order_statistic(values, percent)
    found = Sketch.of(values).percentile(percent)
    assert found == pytest.approx(expected, rel=WIDTH, abs=1e-37)


@pytest.mark.parametrize("percent", [0.1, 1.0, 50.0, 99.0, 99.9])
def test_percentile_of_many_values_is_numpys(percent):
    values = np.random.default_rng(0).normal(10, 30, 50_000).astype(np.float32)
    expected = np.percentile(values, percent, method="lower")
    assert Sketch.of(values).percentile(percent) == pytest.approx(expected, rel=WIDTH)


@given(VALUES, VALUES)
@settings(deadline=None, max_examples=50)
def test_merged_sketches_are_the_sketch_of_all_values(a, b):
    merged = Sketch.merged([Sketch.of(a), Sketch.of(b)])
    other_way = Sketch.merged(iter([Sketch.of(b), Sketch.of(a)]))
    together = Sketch.of(np.concatenate([a, b]))
    for sketch in (merged, other_way):
        np.testing.assert_array_equal(sketch.bins, together.bins)
        np.testing.assert_array_equal(sketch.counts, together.counts)


@given(st.lists(VALUES, max_size=4), st.lists(st.floats(0, 100), min_size=1, max_size=3))
@settings(deadline=None, max_examples=100)
def test_exact_percentiles_are_numpys_of_all_values_together(parts, percents):
    found = exact_percentiles(lambda: iter(parts), percents)
    if not parts:
        assert found == []
        return
    with np.errstate(over="ignore", invalid="ignore"):  # of values at float32's end
        expected = np.percentile(np.concatenate(parts), percents)
    np.testing.assert_array_equal(found, expected.astype(np.float64))


def test_exact_percentiles_of_many_values_are_numpys():
    rng = np.random.default_rng(3)
    parts = [rng.normal(k, 30, (60, 50)).astype(np.float32) for k in range(20)]
    percents = (0, 1.0, 33.3, 50, 99.5, 100)
    expected = np.percentile(np.concatenate([part.reshape(-1) for part in parts]), percents)
    assert exact_percentiles(lambda: parts, percents) == list(expected)


@given(VALUES)
@settings(deadline=None, max_examples=50)
def test_percentiles_rise_and_counts_add_up(values):
    sketch = Sketch.of(values)
    found = [sketch.percentile(p) for p in (0.0, 10.0, 50.0, 90.0, 100.0)]
    assert found == sorted(found)
    assert sketch.total == values.size
    assert np.all(np.diff(sketch.bins.astype(np.int64)) > 0)


def test_shape_does_not_matter():
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    flat, cube = Sketch.of(values.reshape(-1)), Sketch.of(values)
    np.testing.assert_array_equal(flat.bins, cube.bins)
    np.testing.assert_array_equal(flat.counts, cube.counts)
