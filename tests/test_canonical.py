"""The canonical image: any positive affine map of the input gives the same, background is 0."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.errors import MeasurementError
from harmobench.imaging.canonical import canonical


def brain_and_image(seed):
    rng = np.random.default_rng(seed)
    brain = rng.random((12, 11, 10)) < 0.6
    image = rng.gamma(4, 25, brain.shape).astype(np.float32)
    return image, brain


def test_robust_range_goes_to_10_and_110():
    image, brain = brain_and_image(0)
    out = canonical(image, brain)
    low, high = np.percentile(out[brain].astype(float), (0.5, 99.5))
    assert out.dtype == np.float32
    assert low == pytest.approx(10, abs=1e-3)
    assert high == pytest.approx(110, abs=1e-3)


def test_is_the_affine_map_between_the_tails():
    image, brain = brain_and_image(1)
    low, high = np.percentile(image[brain].astype(float), (0.5, 99.5))
    middle = brain & (image > low) & (image < high)
    expected = 10 + 100 * (image.astype(float) - low) / (high - low)
    np.testing.assert_allclose(canonical(image, brain)[middle], expected[middle], atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_ignores_scale_and_shift(seed, scale, shift):
    image, brain = brain_and_image(seed)
    other = image.astype(np.float64) * scale + shift * scale
    np.testing.assert_allclose(
        canonical(image, brain), canonical(other.astype(np.float32), brain), atol=0.05
    )


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), outside=st.floats(-1e6, 1e6), bright=st.floats(1e3, 1e6))
def test_background_is_zero_and_outliers_are_bounded(seed, outside, bright):
    image, brain = brain_and_image(seed)
    image[~brain] = np.float32(outside)
    inside = np.argwhere(brain)
    image[tuple(inside[0])], image[tuple(inside[1])] = bright, -bright
    out = canonical(image, brain)
    assert (out[~brain] == 0).all()
    assert out[brain].min() == 1
    assert out[brain].max() == 210


def test_keeps_the_order_of_intensities():
    image, brain = brain_and_image(2)
    order = np.argsort(image[brain])
    assert (np.diff(canonical(image, brain)[brain][order]) >= 0).all()


def test_few_different_voxels_use_the_whole_range():
    brain = np.ones((20, 20, 20), dtype=bool)
    image = np.zeros(brain.shape, dtype=np.float32)
    image[0, 0, 0] = 5
    out = canonical(image, brain)
    assert out[0, 0, 0] == 110
    assert out[1, 1, 1] == 10


def test_leaves_its_input_alone():
    image, brain = brain_and_image(3)
    before = image.copy()
    canonical(image, brain)
    assert image.tobytes() == before.tobytes()


def test_refuses_constant_and_empty():
    image, brain = brain_and_image(4)
    with pytest.raises(MeasurementError, match="constant"):
        canonical(np.ones_like(image), brain)
    with pytest.raises(MeasurementError, match="empty mask"):
        canonical(image, np.zeros_like(brain))
