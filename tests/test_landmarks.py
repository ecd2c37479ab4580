"""Tissue medians and contrast-to-noise, by hand and under affine maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.imaging.landmarks import contrast_to_noise, tissue_medians

GM = np.array([True, True, True, False, False, False, False])
WM = np.array([False, False, False, True, True, True, False])
IMAGE = np.float32([1, 2, 6, 11, 12, 16, 500])


def test_medians_by_hand():
    assert tissue_medians(IMAGE, GM, WM) == (2.0, 12.0)


def test_contrast_to_noise_by_hand():
    # means 3 and 13, both variances (4 + 1 + 9) / 3
    assert contrast_to_noise(IMAGE, GM, WM) == pytest.approx(10 / np.sqrt(14 / 3), rel=1e-12)


@given(st.floats(0.01, 50), st.floats(-100, 100), st.sampled_from([-1.0, 1.0]))
@settings(deadline=None, max_examples=50)
def test_contrast_to_noise_ignores_affine_maps(scale, shift, sign):
    mapped = (sign * scale * IMAGE + shift).astype(np.float32)
    found = contrast_to_noise(mapped, GM, WM)
    assert found == pytest.approx(contrast_to_noise(IMAGE, GM, WM), rel=2e-3)


def test_contrast_to_noise_without_noise():
    flat = np.zeros(7, dtype=np.float32)
    assert contrast_to_noise(flat, GM, WM) == 0.0
    assert contrast_to_noise(flat + WM.astype(np.float32), GM, WM) == float("inf")


def test_more_noise_means_less():
    rng = np.random.default_rng(0)
    clean = np.repeat(np.float32([50, 100]), 500)
    gm, wm = clean == 50, clean == 100
    noise = rng.normal(size=1000).astype(np.float32)
    found = [contrast_to_noise(clean + s * noise, gm, wm) for s in (1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
