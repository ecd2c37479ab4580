"""Atlases: the built-in one, folders of one's own, and cohorts that lie elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.atlas import (
    ELLIPSOIDS,
    Atlas,
    bring_atlas,
    builtin_atlas,
    check_space,
    icbm152,
    read_atlas,
    refuse_other_space,
)
from harmobench.errors import AtlasError
from harmobench.imaging.volume import Grid, read_grid, read_labels, read_voxels, write_image
from harmobench.manifest import read_cohort

SHARED = Path(__file__).resolve().parents[2] / "shared"
SMALL = Grid.make((4, 4, 4), np.eye(4))


@pytest.fixture(scope="module")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return builtin_atlas(tmp_path_factory.mktemp("builtin"), 6.0)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return the folder of an atlas with codes of its own, written by hand."""
    labels = np.zeros(SMALL.shape, np.uint8)
    labels[0], labels[1], labels[2] = 24, 3, 41
    regions = np.zeros(SMALL.shape, np.uint16)
    regions[1, :2], regions[1, 2:] = 17, 53
    t1 = np.random.default_rng(0).uniform(1, 2, SMALL.shape).astype(np.float32) * (labels > 0)
    folder = tmp_path / "own"
    write_image(folder / "t1.nii.gz", t1, SMALL)
    write_image(folder / "brain.nii.gz", labels > 0, SMALL)
    write_image(folder / "labels.nii.gz", labels, SMALL)
    write_image(folder / "aseg.nii.gz", regions, SMALL)
    (folder / "atlas.toml").write_text(
        """
name = "own"
space = "Wonderland"
template = "t1.nii.gz"
mask = "brain.nii.gz"

[tissues]
image = "labels.nii.gz"
csf = 24
gm = 3
wm = 41

[regions]
image = "aseg.nii.gz"

[regions.labels]
hippocampus = [17, 53]
"left only, sort of" = [17, 17]
"""
    )
    return folder


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "atlas.toml").read_text()
    assert old in text
    (folder / "atlas.toml").write_text(text.replace(old, new))


# --- the built-in atlas ---------------------------------------------------------------------------


def test_tissues_of_the_builtin_atlas_fill_the_brain_and_nothing_else(builtin: Atlas) -> None:
    brain = builtin.brain()
    masks = [builtin.tissue(name) for name in ("csf", "gm", "wm")]
    np.testing.assert_array_equal(np.sum(masks, axis=0), brain)
    assert all(mask.sum() > 0.05 * brain.sum() for mask in masks)
    template = builtin.template_voxels()
    assert not template[~brain].any()
    means = [template[mask].mean() for mask in masks]
    assert means == sorted(means), "on T1, CSF is dark and WM bright"
    assert 1500 < brain.sum() * builtin.grid.voxel_ml < 2200, "an adult's brain, ml"


def test_fractions_of_icbm152_sum_to_one_in_the_brain() -> None:
    tissues, template, brain, grid = icbm152(6.0)
    total = sum(tissues.values())
    np.testing.assert_allclose(total[brain], 1, atol=1e-6)
    assert not total[~brain].any()
    assert all(part.min() > -1e-6 for part in tissues.values())
    assert template.shape == brain.shape == grid.shape
    np.testing.assert_allclose(grid.voxel_sizes, 6)


def test_builtin_regions_lie_on_their_side_and_place(builtin: Atlas) -> None:
    labels = read_labels(builtin.regions)
    assert list(builtin.labels) == sorted(ELLIPSOIDS) or set(builtin.labels) == set(ELLIPSOIDS)
    for name, (left, right) in builtin.labels.items():
        for code, sign in ((left, -1), (right, 1)):
            index = np.argwhere(labels == code)
            assert len(index) > 0, name
            middle = nib.affines.apply_affine(builtin.grid.affine, index).mean(axis=0)
            centre = np.array(ELLIPSOIDS[name][0]) * [sign, 1, 1]
            assert np.abs(middle - centre).max() < 6, "within a voxel"
        both = np.isin(labels, [left, right])
        np.testing.assert_array_equal(builtin.region(name), both)
    assert (builtin.region("hippocampus") & builtin.brain()).sum() > 0


def test_the_builtin_atlas_is_a_folder_as_any(builtin: Atlas) -> None:
    again = read_atlas(builtin.template.parent)
    assert again == builtin
    assert len(builtin.files) == 4
    assert "doi:" in builtin.reference
    with pytest.raises(ValueError, match="read-only"):
        builtin.brain()[0] = True


def test_an_unknown_region_names_those_there_are(builtin: Atlas, own: Path) -> None:
    with pytest.raises(AtlasError, match=r"found 'hippocampi'; it has: amygdala, ento"):
        builtin.region("hippocampi")
    change(own, "[regions]", "[ignored]")
    change(own, "[regions.labels]", "[ignored.labels]")
    bare = read_atlas(own)
    assert len(bare.files) == 3
    with pytest.raises(AtlasError, match=r"of atlas 'own', found 'hippocampus'; it has: none"):
        bare.region("hippocampus")


# --- a folder of one's own ------------------------------------------------------------------------


def test_an_atlas_of_one_s_own_is_read(own: Path) -> None:
    atlas = read_atlas(own)
    assert (atlas.name, atlas.space, atlas.reference) == ("own", "Wonderland", "")
    assert atlas.codes == {"csf": 24, "gm": 3, "wm": 41}
    assert atlas.labels["hippocampus"] == (17, 53)
    for i, name in enumerate(("csf", "gm", "wm")):
        expected = np.zeros(SMALL.shape, bool)
        expected[i] = True
        np.testing.assert_array_equal(atlas.tissue(name), expected)
    assert atlas.region("hippocampus").sum() == 16
    assert atlas.region("left only, sort of").sum() == 8


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('name = "own"', "", "expected the key name"),
        ('space = "Wonderland"', "", "expected the key space"),
        ('template = "t1.nii.gz"', "", "expected the key template"),
        ('mask = "brain.nii.gz"', "", "expected the key mask"),
        ('image = "labels.nii.gz"', "", "expected the key tissues.image"),
        ("gm = 3", "", "tissues.gm: expected a whole number above 0, found nothing"),
        ("gm = 3", 'gm = "grey"', "tissues.gm: expected a whole number above 0, found 'grey'"),
        ("[tissues]", "[tissue]", "expected the key tissues"),
        ("hippocampus = [17, 53]", "hippocampus = 17", "regions.labels.hippocampus: expected"),
        (
            "hippocampus = [17, 53]",
            "hippocampus = [1, 2, 3]",
            "hippocampus: expected .left, right. labels",
        ),
        ("[17, 53]", "[17.5, 53]", "hippocampus: expected a whole number above 0, found 17.5"),
        ("[17, 53]", "[0, 53]", "hippocampus: expected a whole number above 0, found 0"),
        ('mask = "brain.nii.gz"', "mask = 3", "mask: expected a text, found 3"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_named(own: Path, old: str, new: str, found: str) -> None:
    change(own, old, new)
    with pytest.raises(AtlasError, match=rf"atlas\.toml.*{found}"):
        read_atlas(own)


@pytest.mark.parametrize("file", ["t1", "brain", "labels", "aseg"])
def test_a_file_that_is_missing_is_named(own: Path, file: str) -> None:
    (own / f"{file}.nii.gz").unlink()
    with pytest.raises(AtlasError, match=rf"names '{file}\.nii\.gz', found no such file"):
        read_atlas(own)


def test_no_folder_no_toml_and_no_text_are_refused(tmp_path: Path, own: Path) -> None:
    with pytest.raises(AtlasError, match=r"expected an atlas folder with an atlas\.toml.*builtin"):
        read_atlas(tmp_path / "none")
    change(own, 'name = "own"', "name = own")
    with pytest.raises(AtlasError, match=r"expected TOML in .*found a fault"):
        read_atlas(own)
    (own / "atlas.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(AtlasError, match=r"expected TOML in .*found a fault"):
        read_atlas(own)


@pytest.mark.skipif(not (SHARED / "data" / "eve").is_dir(), reason="needs shared/data/eve")
def test_the_eve_atlas_is_read_as_its_folder_says() -> None:
    atlas = read_atlas(SHARED / "data" / "eve")
    assert atlas.space
    assert {read_grid(file).shape for file in atlas.files} == {atlas.grid.shape}


# --- on a cohort's grid ---------------------------------------------------------------------------


def test_on_its_own_grid_nothing_changes_but_the_codes(own: Path, tmp_path: Path) -> None:
    atlas = read_atlas(own)
    brought = bring_atlas(atlas, SMALL, tmp_path / "brought")
    np.testing.assert_array_equal(brought.template_voxels(), atlas.template_voxels())
    np.testing.assert_array_equal(brought.brain(), atlas.brain())
    assert brought.codes == {"csf": 1, "gm": 2, "wm": 3}
    for name in ("csf", "gm", "wm"):
        np.testing.assert_array_equal(brought.tissue(name), atlas.tissue(name))
    assert set(np.unique(read_labels(brought.tissues))) == {0, 1, 2, 3}
    assert brought.labels == atlas.labels
    np.testing.assert_array_equal(brought.region("hippocampus"), atlas.region("hippocampus"))
    assert (brought.name, brought.space) == ("own", "Wonderland")
    assert all(file.parent == tmp_path / "brought" for file in brought.files)


def test_names_with_quotes_come_back(own: Path, tmp_path: Path) -> None:
    change(own, 'space = "Wonderland"', "space = 'a \"b\" \\ é\u2028'")
    atlas = read_atlas(own)
    assert bring_atlas(atlas, SMALL, tmp_path / "brought").space == 'a "b" \\ é\u2028'


def test_a_window_of_the_same_voxels_is_cut_out_exactly(builtin: Atlas, tmp_path: Path) -> None:
    """A grid that begins two voxels on, is mirrored, and ends outside: whole voxels, no blur."""
    own = builtin.grid
    affine = own.affine @ np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = nib.affines.apply_affine(own.affine, (own.shape[0] - 1, 2, 2))
    grid = Grid.make((own.shape[0], own.shape[1] - 4, own.shape[2] + 3), affine)
    brought = bring_atlas(builtin, grid, tmp_path / "brought")

    def window(voxels: np.ndarray) -> np.ndarray:
        out = np.zeros(grid.shape, voxels.dtype)
        part = voxels[::-1, 2:-2, 2:]
        out[:, :, : part.shape[2]] = part
        return out

    assert brought.grid.matches(grid)
    np.testing.assert_array_equal(brought.brain(), window(builtin.brain()))
    for name in ("csf", "gm", "wm"):
        np.testing.assert_array_equal(brought.tissue(name), window(builtin.tissue(name)))
    np.testing.assert_allclose(
        brought.template_voxels(), window(builtin.template_voxels()), atol=1e-4
    )


def test_another_resolution_keeps_place_and_volume(builtin: Atlas, tmp_path: Path) -> None:
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = (-96, -132, -78)
    grid = Grid.make((49, 58, 48), affine)
    brought = bring_atlas(builtin, grid, tmp_path / "brought")
    assert set(np.unique(read_voxels(brought.tissues))) == {0, 1, 2, 3}, "no label in between"
    for name in ("csf", "gm", "wm"):
        before = builtin.tissue(name).sum() * builtin.grid.voxel_ml
        after = brought.tissue(name).sum() * grid.voxel_ml
        assert after == pytest.approx(before, rel=0.05)
    centres = [
        nib.affines.apply_affine(a.grid.affine, np.argwhere(a.brain())).mean(axis=0)
        for a in (builtin, brought)
    ]
    np.testing.assert_allclose(*centres, atol=1)


@pytest.mark.parametrize(
    ("move", "shape"), [((500, 0, 0), (20, 20, 20)), ((0, 0, 90), (20, 20, 5))]
)
def test_a_grid_that_the_atlas_does_not_reach_is_refused(
    builtin: Atlas, tmp_path: Path, move: tuple[float, ...], shape: tuple[int, int, int]
) -> None:
    affine = np.diag([6.0, 6, 6, 1])
    affine[:3, 3] = move
    with pytest.raises(AtlasError, match=r"of atlas 'builtin' .*does not reach the cohort's grid"):
        bring_atlas(builtin, Grid.make(shape, affine), tmp_path / "brought")


def test_an_atlas_without_one_tissue_is_refused(own: Path, tmp_path: Path) -> None:
    change(own, "wm = 41", "wm = 42")
    with pytest.raises(AtlasError, match=r"expected voxels of wm \(code 42\)"):
        bring_atlas(read_atlas(own), SMALL, tmp_path / "brought")


def test_an_atlas_of_files_that_do_not_fit_each_other_is_refused(own: Path, tmp_path: Path) -> None:
    write_image(own / "labels.nii.gz", np.ones((4, 4, 5), np.uint8), SMALL)
    with pytest.raises(AtlasError, match=r"found another shape or affine \(4 x 4 x 5 .*labels"):
        bring_atlas(read_atlas(own), SMALL, tmp_path / "brought")


def test_labels_that_lie_elsewhere_are_refused(own: Path, tmp_path: Path) -> None:
    moved = SMALL.affine.copy()
    moved[0, 3] = 40  # mm
    labels = read_labels(own / "labels.nii.gz").astype(np.uint8)
    write_image(own / "labels.nii.gz", labels, Grid.make(SMALL.shape, moved))
    with pytest.raises(AtlasError, match=r"found another shape or affine .*labels"):
        bring_atlas(read_atlas(own), SMALL, tmp_path / "brought")


def test_codes_are_whole_numbers(own: Path) -> None:
    toml = own / "atlas.toml"
    toml.write_text(toml.read_text().replace("csf = 24", "csf = 24.7"))
    with pytest.raises(AtlasError, match=r"tissues\.csf: expected a whole.*found 24\.7"):
        read_atlas(own)


# --- cohorts that lie elsewhere -------------------------------------------------------------------


def test_the_template_lies_in_its_own_space(builtin: Atlas) -> None:
    dice, r = check_space(builtin.template_voxels(), builtin.brain(), builtin)
    assert (dice, r) == (1.0, pytest.approx(1.0))
    refuse_other_space("the template", dice, r, builtin)


def test_a_cohort_in_the_atlas_s_space_is_taken(builtin: Atlas, cohort_csv: Path) -> None:
    for scan in read_cohort(cohort_csv).scans:
        refuse_other_space(str(scan), *check_space(scan.voxels(), scan.brain(), builtin), builtin)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda image: image[:, ::-1],
        lambda image: image[:, :, ::-1],
        lambda image: np.roll(image, 6, axis=1),
        lambda image: np.roll(image, 5, axis=2),
        lambda image: np.random.default_rng(0).permuted(image.ravel()).reshape(image.shape),
        lambda image: np.where(image != 0, image.max() + 1 - image, 0),
    ],
    ids=["front to back", "upside down", "forward", "up", "shuffled", "T2-like"],
)
def test_a_scan_that_lies_elsewhere_is_refused(
    builtin: Atlas, wrong: Callable[[np.ndarray], np.ndarray]
) -> None:
    image = wrong(builtin.template_voxels())
    dice, r = check_space(image, image != 0, builtin)
    with pytest.raises(AtlasError, match=r"01 on A does not lie in the space.*--atlas DIR"):
        refuse_other_space("subject 01 on A", dice, r, builtin)


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.floats(-1, 1))
def test_the_bounds_are_those_that_are_named(own_dice: float, r: float) -> None:
    atlas = Atlas("a", "s", "", Path(), Path(), Path(), {}, None, {})
    if own_dice >= 0.8 and r >= 0.35:
        refuse_other_space("x", own_dice, r, atlas)
    else:
        with pytest.raises(AtlasError, match=r"at least 0\.80 .* at least 0\.35, found"):
            refuse_other_space("x", own_dice, r, atlas)


def test_overlap_and_correlation_are_the_textbook_s(builtin: Atlas) -> None:
    rng = np.random.default_rng(1)
    brain = builtin.brain() & (rng.random(builtin.grid.shape) < 0.7)
    image = builtin.template_voxels() + rng.normal(0, 20, builtin.grid.shape).astype(np.float32)
    dice, r = check_space(image, brain, builtin)
    own = builtin.brain()
    assert dice == pytest.approx(2 * (brain & own).sum() / (brain.sum() + own.sum()))
    x, y = image[brain & own], builtin.template_voxels()[brain & own]
    centred = ((x - x.mean()) * (y - y.mean())).mean() / (x.std() * y.std())
    assert r == pytest.approx(centred, rel=1e-4)
    assert check_space(image, ~own, builtin) == (0.0, 0.0)
