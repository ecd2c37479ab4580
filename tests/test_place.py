"""The way back to native space is the scan's own, or the run is refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from harmobench.atlas import bring_atlas, builtin_atlas, read_atlas
from harmobench.cohort import Cohort, Scan
from harmobench.errors import ManifestError
from harmobench.facts import Facts
from harmobench.imaging.landmarks import contrast_to_noise
from harmobench.imaging.volume import Grid, write_image
from harmobench.imaging.warp import carry, likeness, write_field
from harmobench.manifest import read_cohort
from harmobench.place import place
from harmobench.wayback import ways_back

SHAPE = (24, 26, 22)
GRID = Grid.make(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))


def person(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a native image, RAW in the template's space, and the way back between them."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    native = np.zeros(SHAPE, np.float32)
    native[4:-4, 4:-4, 4:-4] = (5 + smooth / smooth.std()).clip(1)[4:-4, 4:-4, 4:-4]
    shift = rng.uniform(2, 4, 3) * rng.choice([-1, 1], 3)
    field = np.broadcast_to(shift, (*SHAPE, 3)).astype(np.float32)
    raw = carry(native, GRID, -field, GRID)
    return native, raw, field


def write_cohort(folder: Path, fields: dict[int, int], **values: str) -> Cohort:
    """Write two scans; `fields` says whose way back each has."""
    scans = []
    for seed in (1, 2):
        native, raw, _ = person(seed)
        write_image(folder / f"native{seed}.nii.gz", native, GRID)
        write_image(folder / f"raw{seed}.nii.gz", raw, GRID)
        write_field(folder / f"back{seed}.nii.gz", person(seed)[2], GRID)
    for seed, owner in fields.items():
        where = {
            "to_native": str(folder / f"back{owner}.nii.gz"),
            "native_image": str(folder / f"native{owner}.nii.gz"),
        }
        image = folder / f"raw{seed}.nii.gz"
        scans.append(Scan(f"p{seed}", "GE", image, values={**where, **values}))
    return Cohort(tuple(scans), str(folder / "matched.csv"))


def silent(done: int, total: int, what: str) -> None:
    """Show nothing."""


def test_own_ways_back_are_taken(tmp_path: Path) -> None:
    assert ways_back(write_cohort(tmp_path, {1: 1, 2: 2}), [], silent)


def test_those_of_another_scan_are_refused_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="2 faults") as refused:
        ways_back(write_cohort(tmp_path, {1: 2, 2: 1}), [], silent)
    assert "subject p1 on GE, column to_native: expected the way back" in str(refused.value)
    assert "is back2.nii.gz of another scan?" in str(refused.value)


def test_a_native_image_on_another_grid_is_refused(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, {1: 1, 2: 2})
    other = Grid.make(SHAPE, np.diag([2.0, 2.0, 2.5, 1.0]))
    write_image(tmp_path / "native2.nii.gz", person(2)[0], other)
    with pytest.raises(ManifestError, match=r"expected a field on the grid of native2\.nii\.gz"):
        ways_back(cohort, [], silent)


def test_a_file_that_is_no_field_is_refused(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, {1: 1, 2: 2})
    write_image(tmp_path / "back1.nii.gz", np.ones(SHAPE, np.float32), GRID)
    with pytest.raises(ManifestError, match="expected a displacement field of shape"):
        ways_back(cohort, [], silent)


def test_without_all_of_them_volumes_stay_in_template_space_and_it_is_said(tmp_path: Path) -> None:
    whole = write_cohort(tmp_path, {1: 1, 2: 2})
    bare = Scan("p3", "GE", tmp_path / "raw1.nii.gz")
    notes: list[str] = []
    assert not ways_back(Cohort((*whole.scans, bare)), notes, silent)
    assert "only 2 of 3 scans have a to_native, subject p3 on GE has none" in notes[0]
    assert not ways_back(Cohort((bare,)), notes, silent)
    assert len(notes) == 1


def test_likeness_is_that_of_every_voxel() -> None:
    native, raw, field = person(3)
    back = carry(raw, GRID, field, GRID)
    both = (back != 0) & (native != 0)  # RAW has an edge that was interpolated, as real ones do
    every = np.corrcoef(back[both], native[both])[0, 1]
    assert likeness(raw, GRID, field, GRID, native, step=1) == pytest.approx(every, abs=1e-6)
    assert likeness(raw, GRID, field, GRID, native, step=2) == pytest.approx(every, abs=0.1)
    assert likeness(raw, GRID, field, GRID, native * 0) == 0.0


@pytest.fixture(scope="module")
def own_atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builtin_atlas(tmp_path_factory.mktemp("atlas"), 6.0).template.parent


def masked(cohort_csv: Path, folder: Path) -> Cohort:
    """Return the cohort with a mask of its own for each scan."""
    scans = []
    for number, scan in enumerate(read_cohort(cohort_csv).scans):
        brain = scan.voxels() > 0
        brain[: 10 + number % 3] = False
        write_image(folder / f"{number}.nii.gz", brain, scan.grid)
        scans.append(replace(scan, mask=folder / f"{number}.nii.gz"))
    return Cohort(tuple(scans), str(cohort_csv))


def test_scans_that_are_known_are_placed_to_the_bit_without_reading_them(
    cohort_csv: Path, own_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)
    cohort = masked(cohort_csv, tmp_path)
    facts = Facts(tmp_path / "index.json")
    atlas, contrast = place(str(own_atlas), cohort, silent, facts)
    facts.save()
    brought = bring_atlas(read_atlas(own_atlas), cohort.scans[0].grid, tmp_path / "brought")
    for scanner in cohort.scanners:
        each = [
            contrast_to_noise(
                scan.voxels(),
                brought.tissue("gm") & scan.brain(),
                brought.tissue("wm") & scan.brain(),
            )
            for scan in cohort.scans
            if scan.scanner == scanner
        ]
        assert contrast[scanner] == float(np.mean(each))
    monkeypatch.setattr(Scan, "voxels", unreadable)
    monkeypatch.setattr("harmobench.place.bring_atlas", unreadable)
    again = place(str(own_atlas), cohort, silent, Facts(tmp_path / "index.json"))
    assert again == (atlas, contrast)
    with pytest.raises(AssertionError, match="read again"):
        place(str(own_atlas), cohort, silent, Facts())


def unreadable(*_: object) -> None:
    raise AssertionError("it was read again")


def test_a_way_back_that_is_known_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)
    cohort, facts = write_cohort(tmp_path, {1: 1, 2: 2}), Facts(tmp_path / "index.json")
    assert ways_back(cohort, [], silent, facts)
    facts.save()
    monkeypatch.setattr("harmobench.wayback.read_field", unreadable)
    assert ways_back(cohort, [], silent, Facts(tmp_path / "index.json"))
    write_image(tmp_path / "native1.nii.gz", person(2)[0], GRID)
    with pytest.raises(AssertionError, match="read again"):
        ways_back(cohort, [], silent, Facts(tmp_path / "index.json"))
