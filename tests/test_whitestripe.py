"""White Stripe against R's, and what must hold for any image."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.cohort import Scan
from harmobench.errors import MethodError
from harmobench.imaging.volume import Grid, write_image
from harmobench.methods.whitestripe import (
    WhiteStripe,
    find_mode,
    histogram,
    round_breaks,
    smooth,
    white_stripe,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_reference = pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)


@cache
def reference() -> dict[str, np.ndarray]:
    with np.load(SHARED / "reference" / "whitestripe_R.npz") as data:
        return dict(data)


def brain_image(seed: int = 0, side: int = 32, integer: bool = False) -> np.ndarray:
    """CSF, grey and white matter with a background of 0; white matter the brightest."""
    rng = np.random.default_rng(seed)
    out = np.zeros((side, side, side), dtype=np.float32)
    inner = out[4:-4, 4:-4, 4:-4]
    tissue = rng.choice(3, p=[0.15, 0.4, 0.45], size=inner.shape)
    values = np.array([300, 650, 1000])[tissue] + rng.normal(0, 30, inner.shape)
    inner[...] = np.rint(values) if integer else values
    return out


def scan_of(folder: Path, voxels: np.ndarray, mask: np.ndarray | None = None) -> Scan:
    grid = Grid.make(voxels.shape, np.eye(4))
    write_image(folder / "t1.nii.gz", voxels, grid)
    if mask is not None:
        write_image(folder / "mask.nii.gz", mask, grid)
    path = folder / "mask.nii.gz" if mask is not None else None
    return Scan("01", "A", folder / "t1.nii.gz", path)


def in_memory(voxels: np.ndarray) -> Scan:
    return Scan("01", "A", Path("unread.nii.gz"), memory=voxels)


# --- against R WhiteStripe 2.5.0 ---------------------------------------------------------------


@needs_reference
def test_histogram_is_that_of_r() -> None:
    ref = reference()
    values = np.sort(ref["img"][ref["img"] > 0])
    breaks = round_breaks(float(values[0]), float(values[-1]))
    mids, counts = histogram(values, breaks)
    assert breaks.size - 1 == ref["hist_nbins"]
    assert (breaks[0], breaks[-1]) == (ref["hist_first_break"], ref["hist_last_break"])
    np.testing.assert_array_equal(counts, ref["hist_counts"])
    kept = counts >= counts.max() / 5
    np.testing.assert_array_equal(mids[kept], ref["smooth_x"])


@needs_reference
def test_smooth_is_close_to_that_of_r() -> None:
    ref = reference()
    breaks = np.linspace(
        ref["hist_first_break"], ref["hist_last_break"], int(ref["hist_nbins"]) + 1
    )
    x = (breaks[1:] + breaks[:-1]) / 2
    y = ref["hist_counts"][np.isin(x, ref["smooth_x"])]
    fit, slope = smooth(ref["smooth_x"], y)
    inner = slice(10, -10)  # at the very ends R's ill-conditioned basis shows
    assert np.abs(fit - ref["smooth_fit"])[inner].max() < 0.01 * y.max()
    assert np.corrcoef(slope[inner], ref["smooth_dy"][inner])[0, 1] > 0.999


@needs_reference
def test_mode_stripe_and_image_are_those_of_r(tmp_path: Path) -> None:
    ref = reference()
    ordered = np.sort(ref["img"][ref["img"] > 0])
    stripe = white_stripe(ordered, float(ref["img"].mean(dtype=np.float64)))
    assert stripe.mode == ref["img_mode"]
    np.testing.assert_allclose((stripe.low, stripe.high), ref["whitestripe"], rtol=1e-12)
    inside = (ref["img"] > stripe.low) & (ref["img"] < stripe.high)
    np.testing.assert_array_equal(inside, ref["stripe"] > 0)
    assert stripe.count == ref["n_stripe"]
    assert stripe.mean == pytest.approx(float(ref["mu_stripe_mean"]), rel=1e-12)
    assert stripe.sd == pytest.approx(float(ref["sd_stripe"]), rel=1e-12)
    out = WhiteStripe().transform(scan_of(tmp_path, ref["img"], ref["mask"])).voxels()
    np.testing.assert_allclose(out, ref["norm"], rtol=0, atol=1e-5)


# --- the parts against independent implementations -----------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "bins", "expected"),
    [  # outputs of R: pretty(c(low, high), bins)
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 10, 5, [0, 2, 4, 6, 8, 10]),
        (1, 20, 2, [0, 10, 20]),
        (1, 20, 10, np.arange(0, 21, 2)),
        (1, 10, 21, np.arange(1, 10.1, 0.5)),
        (0, 97, 4, [0, 20, 40, 60, 80, 100]),
    ],
)
def test_round_breaks_are_those_of_pretty(
    low: float, high: float, bins: int, expected: list[float]
) -> None:
    np.testing.assert_allclose(round_breaks(low, high, bins), expected, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(
    low=st.floats(-1e4, 1e4),
    span=st.floats(1e-3, 1e5),
    bins=st.integers(2, 3000),
)
def test_round_breaks_cover_the_range_in_round_steps(low: float, span: float, bins: int) -> None:
    breaks = round_breaks(low, low + span, bins)
    step = (breaks[-1] - breaks[0]) / (breaks.size - 1)
    assert breaks[0] <= low + 1e-6 * step
    assert breaks[-1] >= low + span - 1e-6 * step
    leading = step / 10 ** np.floor(np.log10(step) + 1e-6)
    assert min(abs(leading - digit) for digit in (1, 2, 5)) < 1e-4
    assert 0.5 <= (breaks.size - 1) / bins <= 2.5 + 2 / bins


def test_histogram_is_closed_on_the_right_and_includes_the_lowest() -> None:
    values = np.array([1, 1, 2, 2, 2, 3, 4], dtype=np.float32)
    mids, counts = histogram(values, np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(counts, [5, 1, 1])
    np.testing.assert_array_equal(mids, [1.5, 2.5, 3.5])


def test_smooth_agrees_with_dense_reml() -> None:
    """The diagonalized criterion against the likelihood of the full n x n covariance."""
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(0, 10, 60))
    y = np.sin(x) * 20 + rng.normal(0, 2, 60)
    fit, slope = smooth(x, y)

    t = (x - x[0]) / (x[-1] - x[0])
    fixed = np.vander(t, 5, increasing=True)
    knots = np.quantile(t, np.linspace(0, 1, 32)[1:-1])
    free = np.clip(t[:, None] - knots, 0, None) ** 4

    def solve(penalty: float) -> tuple[float, np.ndarray]:
        v = np.eye(60) + free @ free.T / penalty
        vi = np.linalg.inv(v)
        beta = np.linalg.solve(fixed.T @ vi @ fixed, fixed.T @ vi @ y)
        rest = y - fixed @ beta
        criterion = (
            55 * np.log(rest @ vi @ rest)
            + np.linalg.slogdet(v)[1]
            + np.linalg.slogdet(fixed.T @ vi @ fixed)[1]
        )
        return float(criterion), fixed @ beta + free @ free.T / penalty @ vi @ rest

    criteria = [solve(p)[0] for p in np.geomspace(1e-9, 1e3, 400)]
    best = solve(np.geomspace(1e-9, 1e3, 400)[int(np.argmin(criteria))])[1]
    np.testing.assert_allclose(fit, best, atol=0.05)
    np.testing.assert_allclose(
        slope[5:-5], np.gradient(fit, x)[5:-5], atol=0.1 * np.abs(slope).max()
    )


@settings(deadline=None, max_examples=30)
@given(
    coefficients=st.lists(st.floats(-5, 5), min_size=5, max_size=5),
    n=st.integers(1, 80),
)
def test_smooth_keeps_a_quartic(coefficients: list[float], n: int) -> None:
    x = np.linspace(-1, 1, n)
    y = np.polynomial.polynomial.polyval(x, coefficients)
    fit, slope = smooth(x, y)
    np.testing.assert_allclose(fit, y, atol=1e-5)
    if n > 5:
        expected = np.polynomial.polynomial.polyval(
            x, np.polynomial.polynomial.polyder(coefficients)
        )
        np.testing.assert_allclose(slope, expected, atol=1e-3)


def test_each_peak_is_the_one_named() -> None:
    x = np.arange(0.0, 300.0)
    heights, centres = (400, 900, 600), (60, 150, 240)
    y = sum(h * np.exp(-0.5 * ((x - c) / 15) ** 2) for h, c in zip(heights, centres, strict=True))
    for peak, centre in (("first", 60), ("largest", 150), ("last", 240)):
        assert find_mode(x, y, peak) == pytest.approx(centre, abs=2)


def test_a_histogram_without_a_peak_gives_its_highest_bin() -> None:
    x = np.arange(0.0, 50.0)
    assert find_mode(x, 100 + x, "last") == 49
    assert find_mode(x, 200 - x, "last") == 0


# --- the method ---------------------------------------------------------------------------------


def test_stripe_has_mean_0_and_sd_1_and_background_one_value(tmp_path: Path) -> None:
    voxels = brain_image()
    mask = np.zeros(voxels.shape, dtype=bool)
    mask[4:-4, 4:-4, 4:-4] = True
    voxels[0, 0, 0] = 5000  # outside the mask: must change nothing
    out = WhiteStripe().transform(scan_of(tmp_path, voxels, mask)).voxels()
    ordered = np.sort(voxels[mask])
    stripe = white_stripe(ordered, 0.0)
    inside = mask & (voxels > stripe.low) & (voxels < stripe.high)
    assert stripe.mode == pytest.approx(1000, abs=15)
    assert out[inside].mean() == pytest.approx(0, abs=1e-5)
    assert out[inside].std(ddof=1) == pytest.approx(1, abs=1e-5)
    assert np.unique(out[~mask]).size == 1
    assert out[~mask][0] == pytest.approx(-stripe.mean / stripe.sd, rel=1e-6)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    exponent=st.integers(0, 3),
    shift=st.sampled_from([0, 1000, 5000]),
)
def test_powers_of_ten_and_whole_shifts_change_nothing(
    seed: int, exponent: int, shift: int
) -> None:
    """The breaks are multiples of 1, 2 or 5 x 10^n: maps between those keep every bin."""
    voxels = brain_image(seed, side=24, integer=True)
    brain = voxels > 0
    changed = np.where(brain, (voxels.astype(np.float64) + shift) * 10.0**exponent, 0)
    a = WhiteStripe().transform(in_memory(voxels)).voxels()[brain]
    b = WhiteStripe().transform(in_memory(changed.astype(np.float32))).voxels()[brain]
    np.testing.assert_allclose(a, b, atol=2e-3)


@settings(deadline=None, max_examples=20)
@given(factor=st.floats(0.01, 100), seed=st.integers(0, 100))
def test_any_scaling_moves_the_mode_by_few_bins(factor: float, seed: int) -> None:
    voxels = brain_image(seed)
    values = np.sort(voxels[voxels > 0])
    a = white_stripe(values, 0.0)
    b = white_stripe((values * np.float32(factor)).astype(np.float32), 0.0)
    assert b.mode / factor == pytest.approx(a.mode, abs=30)  # one SD of the white matter


def test_order_of_voxels_does_not_matter() -> None:
    voxels = brain_image(5)
    flipped = WhiteStripe().transform(in_memory(voxels[::-1].copy())).voxels()
    np.testing.assert_array_equal(
        WhiteStripe().transform(in_memory(voxels)).voxels()[::-1], flipped
    )


def test_t2_takes_the_tallest_peak_and_md_the_first() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.normal(400, 20, 6000), rng.normal(700, 20, 9000), rng.normal(1000, 20, 5000)]
    )
    voxels = np.zeros((30, 30, 30), dtype=np.float32)
    voxels.reshape(-1)[: values.size] = values
    zero = {}
    for modality in ("T1", "FA", "T2", "MD"):
        out = WhiteStripe(modality=modality).transform(in_memory(voxels)).voxels()
        zero[modality] = float(np.interp(0, np.sort(out.reshape(-1)), np.sort(voxels.reshape(-1))))
    assert zero["T1"] == zero["FA"] == pytest.approx(1000, abs=15)
    assert zero["T2"] == pytest.approx(700, abs=15)
    assert zero["MD"] == pytest.approx(400, abs=15)


def test_a_voxel_of_1e9_is_found_and_changes_nothing() -> None:
    voxels = brain_image(2)
    plain = WhiteStripe().transform(in_memory(voxels)).voxels()
    broken = voxels.copy()
    broken[16, 16, 16] = 1e9
    with pytest.warns(UserWarning, match="1 voxels are brighter than 3 times"):
        out = WhiteStripe().transform(in_memory(broken)).voxels()
    same = np.ones(voxels.shape, dtype=bool)
    same[16, 16, 16] = False
    np.testing.assert_allclose(out[same], plain[same], rtol=0.01, atol=0.5)  # one count fewer


def test_without_cap_it_does_as_r_and_keeps_every_voxel() -> None:
    broken = brain_image(2)
    broken[16, 16, 16] = 1e9  # all of the brain in one bin: its middle is no mode
    out = WhiteStripe(cap=0.0).transform(in_memory(broken)).voxels()
    white = (broken > 900) & (broken < 1100)
    assert out[white].mean() < -1
    assert abs(WhiteStripe().transform(in_memory(brain_image(2))).voxels()[white].mean()) < 1


def test_few_grey_levels_work() -> None:
    voxels = np.rint(brain_image(1) / 5).astype(np.float32)  # 8 bit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = WhiteStripe().transform(in_memory(voxels)).voxels()
    assert np.abs(out[voxels == 200]).max() < 2


def test_a_stripe_of_one_level_warns_and_takes_the_mean() -> None:
    voxels = np.zeros((12, 12, 12), dtype=np.float32)
    voxels[2:-2, 2:-2, 2:-2] = 2
    voxels[2:-2, 2:-2, 2:5] = 1
    voxels[2:-2, 2:-2, 5] = 3
    with pytest.warns(UserWarning, match="above the image's mean"):
        out = WhiteStripe().transform(in_memory(voxels)).voxels()
    chosen = out[voxels > voxels.mean()]
    assert chosen.mean() == pytest.approx(0, abs=1e-5)
    assert chosen.std(ddof=1) == pytest.approx(1, abs=1e-5)


def test_negative_voxels_stay_out_of_the_stripe() -> None:
    voxels = brain_image(4)
    expected = WhiteStripe().transform(in_memory(voxels)).voxels()
    changed = voxels.copy()
    changed[0] = -50
    out = WhiteStripe().transform(in_memory(changed)).voxels()
    np.testing.assert_array_equal(out[1:], expected[1:])
    assert (out[0] < out[1:].min()).all()


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.full((4, 4, 4), 7, dtype=np.float32), "the one value 7"),
        (np.full((4, 4, 4), -7, dtype=np.float32), "no positive voxel"),
        (np.zeros((4, 4, 4), dtype=np.float32), "no positive voxel"),
        (np.where(np.arange(64).reshape(4, 4, 4) > 9, np.nan, 1.0).astype(np.float32), "NaN"),
    ],
)
def test_images_without_contrast_are_refused_by_name(voxels: np.ndarray, message: str) -> None:
    with pytest.raises(MethodError, match=message) as caught:
        WhiteStripe().transform(in_memory(voxels))
    assert "subject 01 on A" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WhiteStripe(modality="T3"), "T1, FA, MD, T2"),
        (WhiteStripe(width=0.0), "width"),
        (WhiteStripe(width=0.7), "width"),
        (WhiteStripe(cap=-1.0), "cap"),
    ],
)
def test_wrong_parameters_are_named(method: WhiteStripe, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        method.transform(in_memory(brain_image()))


def test_a_saved_model_gives_the_same_image(tmp_path: Path) -> None:
    scan = in_memory(brain_image(9))
    method = WhiteStripe(modality="T2", width=0.1)
    method.save(tmp_path / "model")
    loaded = WhiteStripe.load(tmp_path / "model")
    assert loaded == method
    np.testing.assert_array_equal(loaded.transform(scan).voxels(), method.transform(scan).voxels())
