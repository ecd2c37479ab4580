"""Masks that images share, against counting, R's, and erosion by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.methods.ravel.region import erode, intersect

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)
def test_intersection_is_that_of_r() -> None:
    with np.load(SHARED / "reference" / "ravel_R.npz") as ref:
        masks, expected = ref["csf6"] > 0, ref["mask_intersect_1"] > 0
    np.testing.assert_array_equal(intersect(masks, 1.0), expected)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), prob=st.floats(0.05, 1.0), n=st.integers(1, 8))
def test_intersection_counts(seed: int, prob: float, n: int) -> None:
    masks = np.random.default_rng(seed).random((n, 3, 3, 3)) < 0.6
    expected = masks.sum(axis=0) >= max(np.floor(prob * n + 1e-9), 1)
    np.testing.assert_array_equal(intersect(iter(masks), prob), expected)


def test_erosion_stops_before_too_few_remain() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[1:8, 1:8, 1:8] = True  # 343, then 125, 27, 1
    assert [int(erode(mask, s, 20)[0].sum()) for s in range(5)] == [343, 125, 27, 27, 27]
    assert erode(mask, 4, 20)[1] == 2
    kept, steps = erode(mask, 1, 200)
    np.testing.assert_array_equal(kept, mask)
    assert steps == 0
