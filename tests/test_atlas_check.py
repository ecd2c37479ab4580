"""What `harmobench atlas check` says of sound atlases and of doubtful ones."""

from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import read_atlas
from harmobench.atlas_check import check_atlas
from harmobench.errors import AtlasError, SettingsError
from harmobench.imaging.volume import Grid, write_image

SHARED = Path(__file__).resolve().parents[2] / "shared"
EVE = SHARED / "data" / "eve"
SIDE = 24
LAS = Grid.make((SIDE,) * 3, np.array([[-5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1.0]]))


def images() -> dict[str, np.ndarray]:
    """Draw a round brain of about 900 ml with three tissues and a block on each side."""
    x, y, z = np.meshgrid(*[np.arange(SIDE) - SIDE / 2 + 0.5] * 3, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    brain = radius < 12
    tissues = np.select([radius < 6, radius < 10, brain], [3, 2, 1], 0)
    regions = np.zeros((SIDE,) * 3, np.int32)
    regions[14:18, 10:14, 10:14] = 7  # world x falls with the index: this is the left
    regions[6:10, 10:14, 10:14] = 8
    t1 = np.choose(tissues, [0, 200, 600, 900]).astype(np.float32)
    return {"t1": t1, "mask": brain, "tissues": tissues.astype(np.uint8), "regions": regions}


def overlapping() -> np.ndarray:
    regions = images()["regions"]
    regions[6:8] += regions[6:8] // 8  # half of the right side is 9
    return regions


def write_atlas(
    folder: Path, labels: str = "block = [7, 8]", codes: str = "1 2 3", **other
) -> Path:
    folder.mkdir(exist_ok=True)
    for name, voxels in {**images(), **other}.items():
        write_image(folder / f"{name}.nii.gz", voxels, LAS)
    csf, gm, wm = codes.split()
    (folder / "atlas.toml").write_text(
        'name = "ball"\nspace = "a ball"\ntemplate = "t1.nii.gz"\nmask = "mask.nii.gz"\n'
        f'[tissues]\nimage = "tissues.nii.gz"\ncsf = {csf}\ngm = {gm}\nwm = {wm}\n'
        f'[regions]\nimage = "regions.nii.gz"\n[regions.labels]\n{labels}\n'
    )
    return folder


def test_a_sound_atlas_has_no_doubts_and_says_what_it_holds(tmp_path: Path) -> None:
    found = check_atlas(read_atlas(write_atlas(tmp_path)), tmp_path / "ball.png")
    assert found.doubts == ()
    ml = 4 * 4 * 4 * 0.125
    assert f"region block: left {ml:.2f} ml (label 7), right {ml:.2f} ml (label 8)" in found.holds
    brain = np.count_nonzero(images()["mask"]) * 0.125
    assert f"brain: {brain:.0f} ml" in found.holds
    assert (tmp_path / "ball.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("labels", "codes", "other", "said"),
    [
        ("block = [8, 7]", "1 2 3", {}, "found them the other way round"),
        ("block = [7, 8]", "1 3 2", {}, "expected CSF darker than grey matter"),
        ("block = [7, 8]", "2 1 3", {}, "expected CSF darker than grey matter"),
        ("block = [7, 8]\nother = [8, 9]", "1 2 3", {"regions": overlapping()}, "in common"),
        ("block = [7, 8]", "1 2 3", {"mask": images()["tissues"] == 3}, "lies outside the brain"),
        ("block = [7, 8]", "1 2 3", {"mask": images()["tissues"] == 3}, "found 114"),
    ],
)
def test_what_is_doubtful_is_said(
    labels: str, codes: str, other: dict, said: str, tmp_path: Path
) -> None:
    found = check_atlas(read_atlas(write_atlas(tmp_path, labels, codes, **other)))
    assert any(said in text for text in found.doubts), found.doubts


def test_a_region_without_voxels_is_refused(tmp_path: Path) -> None:
    atlas = read_atlas(write_atlas(tmp_path, "block = [7, 8]\nlost = [7, 99]"))
    with pytest.raises(AtlasError, match=r"lost \(right 99\) in regions.nii.gz: correct"):
        check_atlas(atlas)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"mask": images()["mask"] * 0.4}, "found an empty one"),
        ({"regions": images()["regions"] + 0.3}, "expected whole labels"),
        ({"t1": images()["t1"] * 0}, "found the one value 0"),
    ],
)
def test_what_nobody_can_use_is_refused(other: dict, said: str, tmp_path: Path) -> None:
    other = {name: np.asarray(voxels, np.float32) for name, voxels in other.items()}
    with pytest.raises(AtlasError, match=said):
        check_atlas(read_atlas(write_atlas(tmp_path, **other)))


def test_labels_stored_a_little_off_are_taken_for_what_they_are(tmp_path: Path) -> None:
    exact = check_atlas(read_atlas(write_atlas(tmp_path / "a")))
    off = {name: (images()[name] * 0.9999).astype(np.float32) for name in ("mask", "regions")}
    assert check_atlas(read_atlas(write_atlas(tmp_path / "b", **off))) == exact


def test_a_picture_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    atlas = read_atlas(write_atlas(tmp_path))
    for picture in (tmp_path / "x.xyz", tmp_path / "no" / "x.png", tmp_path / "atlas.toml"):
        with pytest.raises(SettingsError, match=r"--picture: expected a \.png"):
            check_atlas(atlas, picture)


def test_an_atlas_without_regions_says_so(tmp_path: Path) -> None:
    folder = write_atlas(tmp_path)
    text = (folder / "atlas.toml").read_text().partition("[regions]")[0]
    (folder / "atlas.toml").write_text(text)
    found = check_atlas(read_atlas(folder), tmp_path / "ball.png")
    assert any("no region measures" in line for line in found.holds)


@pytest.mark.skipif(not EVE.is_dir(), reason="no ../shared/data/eve")
def test_the_eve_atlas_is_sound() -> None:
    found = check_atlas(read_atlas(EVE))
    assert found.doubts == ()
    assert any(line.startswith("region hippocampus: left 5.07 ml") for line in found.holds)
