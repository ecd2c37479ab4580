"""RAVEL as a method: on R's images, on a small cohort, and what users get wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import Atlas, read_atlas
from harmobench.cohort import Cohort, Scan
from harmobench.errors import MethodError, SettingsError
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Group
from harmobench.methods.ravel import Ravel, RavelCV, rows

SHARED = Path(__file__).resolve().parents[2] / "shared"
SIDE = 14
GRID = Grid.make((SIDE, SIDE, SIDE), np.eye(4))


def plain(v: np.ndarray, control: np.ndarray, k: int, covariates: np.ndarray) -> np.ndarray:
    """The published formula, all at once, by a full SVD; v is voxels x images."""
    z = np.linalg.svd(v[control], full_matrices=False)[2][:k].T
    gamma = np.linalg.lstsq(np.hstack([z, covariates]), v.T, rcond=None)[0][:k]
    return v - (z @ gamma).T + v.mean(axis=1, keepdims=True)


@dataclass(frozen=True)
class Made:
    cohort: Cohort
    context: Context
    images: np.ndarray  # White-Striped
    brain: np.ndarray
    csf: np.ndarray


def make(folder: Path, n: int = 6, seed: int = 0) -> Made:
    """Two scanners; CSF in a ball, the scan's own strength times a common effect, and noise."""
    rng = np.random.default_rng(seed)
    i = np.indices(GRID.shape) - (SIDE - 1) / 2
    radius = np.sqrt((i**2).sum(axis=0))
    brain, csf = radius < 6.5, radius < 3.5
    effect = np.where(csf, -8.0, rng.normal(-1, 1, GRID.shape))
    strength = rng.uniform(0.7, 1.3, n)
    images = strength[:, None, None, None] * effect + rng.normal(0, 0.1, (n, *GRID.shape))
    images = np.where(brain, images, -20).astype(np.float32)
    write_image(folder / "mask.nii.gz", brain, GRID)
    tissue = np.where(csf, 1, np.where(brain, 2, 0)).astype(np.uint8)
    write_image(folder / "tissue.nii.gz", tissue, GRID)
    scans = []
    for j, image in enumerate(images):
        path = folder / f"ws{j}.nii.gz"
        write_image(path, image, GRID)
        scans.append(
            Scan(
                subject=f"{j // 2}",
                scanner="AB"[j % 2],
                image=path,
                mask=folder / "mask.nii.gz",
                values={"group": "hi" if j // 2 == 1 else "lo", "age": str(60 + 3 * (j // 2) ** 2)},
                inputs={"whitestripe": path, "tissue": folder / "tissue.nii.gz"},
            )
        )
    atlas = make_atlas(folder / "atlas", brain, tissue)
    context = Context(seed=0, atlas=atlas, scratch=folder, scanners=("A", "B"))
    return Made(Cohort(tuple(scans)), context, images, brain, csf)


def make_atlas(folder: Path, brain: np.ndarray, tissue: np.ndarray, grid: Grid = GRID) -> Atlas:
    write_image(folder / "template.nii.gz", tissue.astype(np.float32), grid)
    write_image(folder / "mask.nii.gz", brain, grid)
    tissue = tissue.copy()
    tissue[:, :, -1] = 3
    write_image(folder / "tissues.nii.gz", tissue, grid)
    (folder / "atlas.toml").write_text(
        'name = "ball"\nspace = "ball"\ntemplate = "template.nii.gz"\nmask = "mask.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n',
        encoding="utf-8",
    )
    return read_atlas(folder)


def transformed(method: Ravel, cohort: Cohort) -> np.ndarray:
    return np.stack([method.transform(scan).voxels() for scan in cohort.scans])


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path)


# --- against R RAVEL 1.3.6 ------------------------------------------------------------------------


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="outputs of the R program are not here (../shared/reference)"
)
@pytest.mark.parametrize(("name", "k"), [("nows_k1", 1), ("nows_k2_mod", 2)])
def test_fit_and_transform_give_what_r_gives(tmp_path: Path, name: str, k: int) -> None:
    with np.load(SHARED / "reference" / "ravel_R.npz") as ref:
        images, expected, groups = ref["imgs"], ref[name], ref["mod"][:, 1]
        brain, control = ref["brain"] > 0, ref["control"] > 0
    grid = Grid.make(brain.shape, np.eye(4))
    tissue = np.where(control, 1, np.where(brain, 2, 0)).astype(np.uint8)
    write_image(tmp_path / "tissue.nii", tissue, grid)
    write_image(tmp_path / "brain.nii", brain, grid)
    scans = []
    for i, image in enumerate(images):
        path = tmp_path / f"image{i}.nii"
        write_image(path, image, grid)
        inputs = {"whitestripe": path, "tissue": tmp_path / "tissue.nii"}
        values = {"group": str(int(groups[i]))}
        scans.append(Scan(str(i), "A", path, tmp_path / "brain.nii", values, inputs))
    atlas = make_atlas(tmp_path / "atlas", brain, tissue, grid)
    group = Group("group", "1", "0") if name.endswith("mod") else None
    context = Context(seed=0, atlas=atlas, scratch=tmp_path, group=group)
    method = Ravel(k=k, erode=0).fit(Cohort(tuple(scans)), None, context)
    np.testing.assert_array_equal(method.control_, control)
    out = transformed(method, Cohort(tuple(scans)))
    assert np.abs(out - expected).max() < 1e-5 * np.abs(expected).max()
    assert not out[:, ~brain].any()


# --- on a small cohort ----------------------------------------------------------------------------


def test_in_sample_it_is_the_plain_formula(made: Made) -> None:
    method = Ravel(k=2).fit(made.cohort, None, made.context)
    out = transformed(method, made.cohort)
    from scipy.ndimage import binary_erosion

    control = binary_erosion(made.csf)
    assert method.eroded_ == 1
    np.testing.assert_array_equal(method.control_, control)
    v = made.images[:, made.brain].T.astype(np.float64)
    expected = plain(v, control[made.brain], 2, np.zeros((6, 0))).T
    np.testing.assert_allclose(out[:, made.brain], expected, rtol=1e-4, atol=1e-5)
    assert not out[:, ~made.brain].any()
    assert out.dtype == np.float32


def test_it_brings_scans_together(made: Made) -> None:
    out = transformed(Ravel().fit(made.cohort, None, made.context), made.cohort)
    before = made.images[:, made.brain].std(axis=0).mean()
    assert out[:, made.brain].std(axis=0).mean() < 0.5 * before


def test_group_and_covariates_are_protected_by_ravel_and_group_is_unseen_by_ravel_cv(
    made: Made,
) -> None:
    group = Group("group", "hi", "lo")
    context = replace(made.context, group=group, covariates=("age", "group"))
    v = made.images[:, made.brain].T.astype(np.float64)
    codes, ages = ([f(s) for s in made.cohort.scans] for f in (group.code, _age))
    for method, columns in ((Ravel(), [codes, ages]), (RavelCV(), [ages])):
        out = transformed(method.fit(made.cohort, None, context), made.cohort)
        expected = plain(v, method.control_[made.brain], 1, np.array(columns).T).T
        np.testing.assert_allclose(out[:, made.brain], expected, rtol=1e-4, atol=1e-4)
    assert Ravel.needs.group
    assert not Ravel.needs.folds
    assert RavelCV.needs.folds
    assert not RavelCV.needs.group


def _age(scan: Scan) -> float:
    return float(scan.values["age"])


def test_ravel_cv_does_not_change_with_the_labels(made: Made) -> None:
    context = replace(made.context, group=Group("group", "hi", "lo"))
    other = Cohort(tuple(replace(s, values={**s.values, "group": "lo"}) for s in made.cohort.scans))
    a = transformed(RavelCV().fit(made.cohort, None, context), made.cohort)
    b = transformed(RavelCV().fit(other, None, context), made.cohort)
    np.testing.assert_array_equal(a, b)


def test_a_scan_outside_the_fit_is_projected(made: Made) -> None:
    train = made.cohort.select(["0", "1"])
    held = made.cohort.of("2")[0]
    method = RavelCV().fit(train, None, made.context)
    out = method.transform(held).voxels()[made.brain]
    v = made.images[:4, made.brain].astype(np.float64)
    control = method.control_[made.brain]
    u, s, right = np.linalg.svd(v[:, control].T, full_matrices=False)
    new = made.images[4][made.brain].astype(np.float64)
    z = new[control] @ u[:, 0] / s[0]
    gamma = np.linalg.lstsq(right[:1].T, v, rcond=None)[0][0]
    np.testing.assert_allclose(out, new - z * gamma + v.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert np.abs(out - v.mean(axis=0)).mean() < np.abs(new - v.mean(axis=0)).mean()


def test_same_scans_same_bytes_and_a_saved_model_too(made: Made, tmp_path: Path) -> None:
    method = Ravel(k=2).fit(made.cohort, None, made.context)
    again = Ravel(k=2).fit(made.cohort, None, made.context)
    method.save(tmp_path / "model")
    loaded = Ravel.load(tmp_path / "model")
    out = transformed(method, made.cohort)
    np.testing.assert_array_equal(transformed(again, made.cohort), out)
    np.testing.assert_array_equal(transformed(loaded, made.cohort), out)
    assert loaded.k == 2


def test_progress_is_told(made: Made) -> None:
    told: list[tuple[int, int, str]] = []
    context = replace(made.context, progress=lambda *what: told.append(what))
    Ravel().fit(made.cohort, None, context)
    assert all(1 <= done <= total for done, total, _ in told)
    for what in ("control region", "reading", "regression"):
        steps = [(done, total) for done, total, text in told if text == f"RAVEL: {what}"]
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]


def test_a_small_control_region_says_what_to_change(made: Made) -> None:
    with pytest.raises(
        MethodError, match=r"at least 400 voxels .* found \d+: lower the parameter prob"
    ):
        Ravel(min_voxels=400).fit(made.cohort, None, made.context)


def test_scans_without_common_csf_are_refused_until_prob_is_lowered(
    made: Made, tmp_path: Path
) -> None:
    write_image(tmp_path / "none.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    first, *rest = made.cohort.scans
    inputs = {**first.inputs, "tissue": tmp_path / "none.nii.gz"}
    cohort = Cohort((replace(first, inputs=inputs), *rest))
    with pytest.raises(MethodError, match="found 0"):
        Ravel().fit(cohort, None, made.context)
    Ravel(prob=0.8).fit(cohort, None, made.context)


def test_no_erosion_where_too_few_would_remain(made: Made) -> None:
    method = Ravel(min_voxels=150).fit(made.cohort, None, made.context)
    assert method.eroded_ == 0
    np.testing.assert_array_equal(method.control_, made.csf)


def test_each_scan_is_read_once_and_the_scratch_is_empty_afterwards(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    voxels = Scan.input

    def counted(scan: Scan, name: str) -> np.ndarray:
        read.append(f"{scan}: {name}")
        return voxels(scan, name)

    monkeypatch.setattr(Scan, "input", counted)
    before = sorted(made.context.scratch.iterdir())
    Ravel().fit(made.cohort, None, made.context)
    assert read == [f"{scan}: whitestripe" for scan in made.cohort.scans]
    assert sorted(made.context.scratch.iterdir()) == before


def test_a_full_disk_is_said(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows.shutil, "disk_usage", lambda path: FullDisk())
    with pytest.raises(MethodError, match="set TMPDIR to a folder on a larger disk"):
        Ravel().fit(made.cohort, None, made.context)


class FullDisk:
    free = 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("k", value) for value in (0, -1, 1.5, "2", True, None)),
        *(("prob", value) for value in (0, 7, -0.5, np.nan, "most")),
        *(("erode", value) for value in (-1, 0.5, "1")),
        *(("min_voxels", value) for value in (0, "50")),
        *(("cap", value) for value in (-1, 0.5, np.inf, "3")),
    ],
)
@pytest.mark.parametrize("cls", [Ravel, RavelCV])
def test_wrong_parameters_are_named_before_and_at_work(
    made: Made, cls: type[Ravel], name: str, value: object
) -> None:
    method = cls(**{name: value})
    message = rf"RAVEL cannot .*: {name}: expected .*, found {re.escape(repr(value))}"
    with pytest.raises(SettingsError, match=message):
        method.check(("A", "B"))
    with pytest.raises(SettingsError, match=message):
        method.fit(made.cohort, None, made.context)


def test_right_parameters_pass() -> None:
    Ravel().check()
    RavelCV(k=3, prob=1, erode=0, min_voxels=1, cap=0).check()


# --- scans that are broken, few or new ------------------------------------------------------------


def changed(made: Made, path: Path, index: int, image: np.ndarray) -> Cohort:
    """The cohort with another White-Striped image in one place."""
    write_image(path, image, GRID)
    scans = list(made.cohort.scans)
    scans[index] = replace(scans[index], inputs={**scans[index].inputs, "whitestripe": path})
    return Cohort(tuple(scans))


def test_a_control_voxel_of_1e9_spoils_no_other_voxel(made: Made, tmp_path: Path) -> None:
    broken = made.images[2].copy()
    broken[7, 7, 7] = 1e9
    cohort = changed(made, tmp_path / "broken.nii.gz", 2, broken)
    expected = transformed(Ravel().fit(made.cohort, None, made.context), made.cohort)
    with pytest.warns(UserWarning, match=r"subject 1 on A: 1 voxels .* 3 times"):
        method = Ravel().fit(cohort, None, made.context)
    with pytest.warns(UserWarning, match=r"subject 1 on A: 1 voxels"):
        out = transformed(method, cohort)
    others = made.brain.copy()
    others[7, 7, 7] = False
    np.testing.assert_allclose(out[:, others], expected[:, others], atol=0.2)
    as_r = transformed(Ravel(cap=0).fit(cohort, None, made.context), cohort)
    assert np.abs(as_r[:, others] - expected[:, others]).max() > 2  # the factor is that one voxel


def test_a_new_scan_with_a_voxel_of_1e9_is_harmonized(made: Made, tmp_path: Path) -> None:
    broken = made.images[4].copy()
    broken[7, 7, 7] = 1e9
    held = changed(made, tmp_path / "broken.nii.gz", 4, broken).scans[4]
    method = RavelCV().fit(made.cohort.select(["0", "1"]), None, made.context)
    expected = method.transform(made.cohort.scans[4]).voxels()
    with pytest.warns(UserWarning, match="subject 2 on A: 1 voxels"):
        out = method.transform(held).voxels()
    expected[7, 7, 7] = out[7, 7, 7]
    np.testing.assert_allclose(out, expected, atol=0.6)  # it weighs as three control voxels do


def test_images_of_few_levels_work(made: Made, tmp_path: Path) -> None:
    """8 bit: steps of a quarter of the white matter's SD."""
    cohort = made.cohort
    for i, image in enumerate(made.images):
        coarse = changed(made, tmp_path / f"coarse{i}.nii.gz", i, np.rint(image * 4) / 4)
        cohort = Cohort((*cohort.scans[:i], coarse.scans[i], *cohort.scans[i + 1 :]))
    fine = transformed(Ravel().fit(made.cohort, None, made.context), made.cohort)
    out = transformed(Ravel().fit(cohort, None, made.context), cohort)
    np.testing.assert_allclose(out, fine, atol=0.5)


def test_constant_images_are_harmonized_to_their_mean(made: Made, tmp_path: Path) -> None:
    cohort = made.cohort
    for i in range(6):
        flat = np.where(made.brain, np.float32(i + 1), np.float32(0))
        one = changed(made, tmp_path / f"flat{i}.nii.gz", i, flat)
        cohort = Cohort((*cohort.scans[:i], one.scans[i], *cohort.scans[i + 1 :]))
    out = transformed(Ravel().fit(cohort, None, made.context), cohort)
    np.testing.assert_allclose(out[:, made.brain], 3.5, rtol=1e-5)
    with pytest.raises(MethodError, match=r"k = 2 independent images .* found 1 among 6"):
        Ravel(k=2).fit(cohort, None, made.context)


def test_a_control_region_of_zeros_is_refused(made: Made, tmp_path: Path) -> None:
    cohort = made.cohort
    for i, image in enumerate(made.images):
        one = changed(made, tmp_path / f"cut{i}.nii.gz", i, np.where(made.csf, 0, image))
        cohort = Cohort((*cohort.scans[:i], one.scans[i], *cohort.scans[i + 1 :]))
    with pytest.raises(MethodError, match=r"other than 0 in the control region, .* all 6 scans"):
        Ravel().fit(cohort, None, made.context)


def test_one_scan_without_csf_intensities_is_left_as_it_is(made: Made, tmp_path: Path) -> None:
    """Its factor is 0: nothing is taken out of it, and the mean image is added."""
    cut = np.where(made.csf, 0, made.images[5]).astype(np.float32)
    cohort = changed(made, tmp_path / "cut.nii.gz", 5, cut)
    method = Ravel().fit(cohort, None, made.context)
    out = method.transform(cohort.scans[5]).voxels()
    np.testing.assert_allclose(
        out[made.brain], cut[made.brain] + method.mean_, rtol=1e-5, atol=1e-5
    )


def test_voxels_that_are_no_numbers_are_refused_by_name(made: Made, tmp_path: Path) -> None:
    broken = made.images[3].copy()
    broken[7, 7, 7] = np.nan
    cohort = changed(made, tmp_path / "nan.nii.gz", 3, broken)
    with pytest.raises(MethodError, match="subject 1 on B: expected finite intensities"):
        Ravel().fit(cohort, None, made.context)
    method = Ravel().fit(made.cohort, None, made.context)
    with pytest.raises(MethodError, match="subject 1 on B: expected finite intensities"):
        method.transform(cohort.scans[3])


def test_collinear_covariates_are_refused_by_name(made: Made) -> None:
    scans = tuple(
        replace(s, values={**s.values, "months": str(12 * float(s.values["age"]))})
        for s in made.cohort.scans
    )
    context = replace(made.context, covariates=("age", "months"))
    with pytest.raises(MethodError, match=r"'months' can be made of the columns before .*6 scans"):
        Ravel().fit(Cohort(scans), None, context)


@pytest.mark.parametrize("bad", ["nan", "inf", "", "old", "1,5"])
def test_a_covariate_that_is_no_number_is_refused_by_scan_and_column(made: Made, bad: str) -> None:
    first, second, *rest = made.cohort.scans
    second = replace(second, values={**second.values, "age": bad})
    context = replace(made.context, covariates=("age",))
    message = rf"a number in column 'age' for subject 0 on B, found '{bad}'"
    with pytest.raises(MethodError, match=message):
        Ravel().fit(Cohort((first, second, *rest)), None, context)


def test_a_single_training_subject_works(made: Made) -> None:
    """Two scans, one factor; its age, the same in both, is an intercept and left out."""
    one = made.cohort.select(["0"])
    context = replace(made.context, covariates=("age",))
    method = RavelCV().fit(one, None, context)
    v = made.images[:2, made.brain].T.astype(np.float64)
    expected = plain(v, method.control_[made.brain], 1, np.zeros((2, 0))).T
    out = transformed(method, one)[:, made.brain]
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    other = method.transform(made.cohort.scans[5]).voxels()
    assert np.isfinite(other).all()
    with pytest.raises(MethodError, match=r"k = 3 independent images .* found 2 among 2"):
        RavelCV(k=3).fit(one, None, context)


def test_a_single_training_scan_stays_as_it_is(made: Made) -> None:
    scan = made.cohort.scans[0]
    out = RavelCV().fit(Cohort((scan,)), None, made.context).transform(scan).voxels()
    np.testing.assert_allclose(out[made.brain], made.images[0][made.brain], rtol=1e-5, atol=1e-5)


def test_a_scanner_that_was_not_trained_on_is_harmonized_by_its_own_csf(made: Made) -> None:
    """RAVEL knows no scanners: a scan's factors come from its control voxels alone."""
    train = Cohort(tuple(s for s in made.cohort.scans if s.scanner == "A"))
    method = RavelCV().fit(train, None, made.context)
    mean = made.images[::2, made.brain].mean(axis=0)
    for i, scan in enumerate(made.cohort.scans):
        if scan.scanner == "B":
            out = method.transform(scan).voxels()[made.brain]
            before = np.abs(made.images[i][made.brain] - mean).mean()
            assert np.abs(out - mean).mean() < before
            renamed = method.transform(replace(scan, scanner="C")).voxels()[made.brain]
            np.testing.assert_array_equal(renamed, out)


def test_what_else_users_get_wrong(made: Made, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="without fit"):
        Ravel().transform(made.cohort.scans[0])
    with pytest.raises(MethodError, match="column 'nothing'"):
        Ravel().fit(made.cohort, None, replace(made.context, covariates=("nothing",)))
    group = Group("group", "hi", "other")
    with pytest.raises(MethodError, match="expected 'hi' or 'other' in column 'group'"):
        Ravel().fit(made.cohort, None, replace(made.context, group=group))
    bare = Cohort(tuple(replace(s, inputs={}) for s in made.cohort.scans))
    with pytest.raises(MethodError, match="shared input 'tissue'"):
        Ravel().fit(bare, None, made.context)
    method = Ravel().fit(made.cohort, None, made.context)
    small = np.ones((4, 4, 4), dtype=np.float32)
    write_image(tmp_path / "small.nii.gz", small, Grid.make((4, 4, 4), np.eye(4)))
    other = Scan("9", "A", tmp_path / "small.nii.gz")
    with pytest.raises(MethodError, match="expected the grid that RAVEL was fitted on"):
        method.transform(other)
