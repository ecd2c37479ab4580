"""White Stripe as a method: on R's image, on broken images, and what must hold for any image."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.cohort import Scan
from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import Grid, write_image
from harmobench.methods.whitestripe import WhiteStripe
from harmobench.methods.whitestripe.stripe import white_stripe

SHARED = Path(__file__).resolve().parents[2] / "shared"


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


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)
def test_the_image_is_that_of_r(tmp_path: Path) -> None:
    with np.load(SHARED / "reference" / "whitestripe_R.npz") as ref:
        scan = scan_of(tmp_path, ref["img"], ref["mask"])
        expected = ref["norm"]
    out = WhiteStripe().transform(scan).voxels()
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)


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
    ("name", "value"),
    [
        *(("modality", value) for value in ("T3", "", 1, ["T1"])),
        *(("width", value) for value in (0.0, -1, 0.7, np.nan, "0.05", True, None)),
        *(("cap", value) for value in (-1.0, 0.5, 1, np.inf, "3")),
    ],
)
def test_wrong_parameters_are_named_before_and_at_work(name: str, value: object) -> None:
    method = WhiteStripe(**{name: value})
    message = rf"White Stripe cannot .*: {name}: expected .*, found {re.escape(repr(value))}"
    with pytest.raises(SettingsError, match=message):
        method.check()
    with pytest.raises(SettingsError, match=message):
        method.transform(in_memory(brain_image()))


def test_all_wrong_parameters_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"modality: .*; width: .*; cap: "):
        WhiteStripe(modality="T3", width=-1, cap=-1).check()
    for modality in ("T1", "T2", "FA", "MD"):
        WhiteStripe(modality=modality, width=0.5, cap=0).check()


def test_a_saved_model_gives_the_same_image(tmp_path: Path) -> None:
    scan = in_memory(brain_image(9))
    method = WhiteStripe(modality="T2", width=0.1)
    method.save(tmp_path / "model")
    loaded = WhiteStripe.load(tmp_path / "model")
    assert loaded == method
    np.testing.assert_array_equal(loaded.transform(scan).voxels(), method.transform(scan).voxels())
