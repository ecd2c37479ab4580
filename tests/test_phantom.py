"""The travelling-subjects phantom: what it writes, and that its truth is true."""

from __future__ import annotations

import csv
import hashlib
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import builtin_atlas, check_space
from harmobench.cohort import Cohort, Scan
from harmobench.errors import SettingsError
from harmobench.imaging.volume import read_grid, read_labels, read_voxels
from harmobench.imaging.warp import carry, read_field
from harmobench.manifest import read_cohort
from harmobench.phantom.simulate import simulate, simulate_from
from harmobench.phantom.truth import LABELS

SHARED = Path(__file__).resolve().parents[2] / "shared"
SUBJECTS, SCANNERS, RESOLUTION, SEED = 4, 4, 4.0, 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "cohort"
    simulate(out, SUBJECTS, SCANNERS, RESOLUTION, SEED)
    return out


@pytest.fixture(scope="module")
def cohort(folder: Path) -> Cohort:
    return read_cohort(folder / "matched.csv")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def volumes(folder: Path, structure: str, quantity: str) -> dict[tuple[str, str], float]:
    return {
        (row["subject"], row["scanner"]): float(row["value"])
        for row in truth(folder)
        if row["structure"] == structure and row["quantity"] == quantity
    }


def file(scan: Scan, column: str) -> Path:
    return Path(scan.values[column])


def test_cohort_is_what_was_asked_for(folder: Path, cohort: Cohort) -> None:
    assert cohort.subjects == ("01", "02", "03", "04")
    assert cohort.scanners == ("GE", "Philips", "SiemensP", "SiemensT")
    assert cohort.complete
    assert [s.values["group"] for s in cohort.scans[::SCANNERS]] == ["low", "high"] * 2
    for scan in cohort.scans:
        voxels, brain = scan.voxels(), scan.brain()
        assert not voxels[~brain].any()
        assert voxels[brain].mean() == pytest.approx(1.0, abs=1e-4)
        assert voxels[brain].min() > 0
        assert 50 <= scan.covariate("age") <= 91


def test_images_are_float32_and_native_grids_differ(cohort: Cohort) -> None:
    import nibabel as nib

    for scan in cohort.scans:
        for path in (scan.image, file(scan, "native_image"), file(scan, "truth_image")):
            assert nib.nifti1.load(path).get_data_dtype() == np.float32
        assert not read_grid(file(scan, "native_image")).matches(scan.grid)


def test_two_calls_give_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    simulate(one, 2, 2, 8.0, SEED)
    simulate(two, 2, 2, 8.0, SEED, workers=2)
    assert digests(one) == digests(two)
    assert len(digests(one)) == 38  # 8 for a scan, 1 for a subject, the mask and three tables


def test_subjects_and_scans_stand_alone(folder: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    simulate(fewer, 2, 2, RESOLUTION, SEED)
    both = digests(folder)
    tables = {"matched.csv", "truth.csv", "truth.json"}
    images = {name: digest for name, digest in digests(fewer).items() if name not in tables}
    assert len(images) > 30
    assert images.items() <= both.items()


def test_another_seed_gives_other_people(folder: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "other", 2, 2, RESOLUTION, SEED + 1)
    mine, other = digests(folder), digests(tmp_path / "other")
    shared = {name for name in mine if mine[name] == other.get(name)}
    assert shared == {"mask.nii.gz"}


def test_cohort_lies_in_the_builtin_atlas(cohort: Cohort, tmp_path: Path) -> None:
    atlas = builtin_atlas(tmp_path, 4)
    for scan in cohort.scans:
        dice, correlation = check_space(scan.voxels(), scan.brain(), atlas)
        assert dice == 1.0
        assert correlation > 0.6


def test_to_native_undoes_the_registration(cohort: Cohort) -> None:
    """RAW carried back by to_native is the native image, but for bias, scale and interpolation."""
    for scan in cohort.scans[::5]:
        field, grid = read_field(file(scan, "to_native"))
        back = carry(scan.voxels(), scan.grid, field, grid)
        inside = carry(scan.brain(), scan.grid, field, grid) > 0.999
        native = read_voxels(file(scan, "native_image"))
        assert np.corrcoef(np.log(back[inside]), np.log(native[inside]))[0, 1] > 0.85
        moved = field + np.array([RESOLUTION, 0, 0], dtype=np.float32)
        worse = carry(scan.voxels(), scan.grid, moved, grid)
        assert (
            np.corrcoef(worse[inside], native[inside])[0, 1]
            < np.corrcoef(back[inside], native[inside])[0, 1] - 0.03
        )


def test_residual_warp_has_the_declared_size(folder: Path, cohort: Cohort) -> None:
    declared = json.loads((folder / "truth.json").read_text())["residual_warp"]
    assert 0.3 <= declared["rms_mm"] <= 0.5
    for scan in cohort.scans:
        registered, grid = read_field(file(scan, "to_native"))
        true, same = read_field(file(scan, "truth_to_native"))
        assert grid == same
        fractions = [read_voxels(file(scan, f"truth_{t}")) for t in ("csf", "gm", "wm")]
        brain = np.sum(fractions, axis=0) > 0
        rms = np.sqrt(((registered - true)[brain] ** 2).sum(axis=-1).mean())
        assert rms == pytest.approx(
            declared["rms_in_brain_mm"][scan.subject][scan.scanner], abs=1e-3
        )
        assert rms == pytest.approx(declared["rms_mm"], rel=0.3)


def test_truth_volumes_are_those_of_the_images(folder: Path, cohort: Cohort) -> None:
    for tissue in ("csf", "gm", "wm"):
        summed, over = (volumes(folder, tissue, q) for q in ("volume_sum", "volume_p80"))
        for scan in cohort.scans:
            path = file(scan, f"truth_{tissue}")
            fraction, ml = read_voxels(path), read_grid(path).voxel_ml
            key = (scan.subject, scan.scanner)
            assert summed[key] == pytest.approx(fraction.sum(dtype=np.float64) * ml, rel=1e-5)
            assert over[key] == pytest.approx(np.count_nonzero(fraction >= 0.8 - 1e-6) * ml)


def test_truth_fractions_fill_the_brain(folder: Path, cohort: Cohort) -> None:
    brain = volumes(folder, "brain", "volume_sum")
    for scan in cohort.scans:
        total = np.sum([read_voxels(file(scan, f"truth_{t}")) for t in ("csf", "gm", "wm")], axis=0)
        inside = total > 0
        assert np.abs(total[inside] - 1).max() <= 0.0121  # three roundings to 1/250
        ml = read_grid(file(scan, "truth_gm")).voxel_ml
        assert np.count_nonzero(inside) * ml == pytest.approx(brain[scan.subject, scan.scanner])


def test_truth_volumes_agree_with_the_deformation(folder: Path, cohort: Cohort) -> None:
    """The template's mask, carried by the exact deformation, has the true brain's volume."""
    brain = volumes(folder, "brain", "volume_sum")
    for scan in cohort.scans[::3]:
        field, grid = read_field(file(scan, "truth_to_native"))
        carried = carry(scan.brain(), scan.grid, field, grid, "nearest").sum() * grid.voxel_ml
        assert carried == pytest.approx(brain[scan.subject, scan.scanner], rel=0.02)


def test_volumes_are_human_and_the_same_on_every_scanner(folder: Path, cohort: Cohort) -> None:
    for tissue, low, high in (("csf", 150, 350), ("gm", 550, 900), ("wm", 400, 700)):
        found = volumes(folder, tissue, "volume_sum")
        for subject in cohort.subjects:
            own = [found[subject, scanner] for scanner in cohort.scanners]
            assert low < np.mean(own) < high
            assert np.ptp(own) < 0.03 * np.mean(own)
            assert found[subject, ""] == pytest.approx(np.mean(own), abs=1e-5)


def test_labels_are_the_named_regions(folder: Path, cohort: Cohort) -> None:
    declared = json.loads((folder / "truth.json").read_text())["labels"]
    assert declared == LABELS
    found = volumes(folder, "hippocampus", "volume_label")
    both = [LABELS["left_hippocampus"], LABELS["right_hippocampus"]]
    for scan in cohort.scans:
        labels = read_labels(file(scan, "truth_labels"))
        assert set(np.unique(labels)) <= {0, *LABELS.values()}
        ml = read_grid(file(scan, "truth_labels")).voxel_ml
        assert np.isin(labels, both).sum() * ml == pytest.approx(
            found[scan.subject, scan.scanner], abs=1e-5
        )


def test_effect_is_that_of_the_volumes(folder: Path) -> None:
    groups = {"01": "low", "02": "high", "03": "low", "04": "high"}
    for structure in ("ventricles", "lesions", "hippocampus"):
        found = volumes(folder, structure, "volume_sum")
        arms = {
            g: [v for (s, k), v in found.items() if s and not k and groups[s] == g]
            for g in ("low", "high")
        }
        pooled = np.sqrt((np.var(arms["low"], ddof=1) + np.var(arms["high"], ddof=1)) / 2)
        expected = (np.mean(arms["low"]) - np.mean(arms["high"])) / pooled
        d = volumes(folder, structure, "cohens_d_of_volume_sum")["", ""]
        assert d == pytest.approx(expected, abs=1e-3)


def similarity(cohort: Cohort) -> dict[frozenset[str], float]:
    """Mean SSIM of each pair, as metrics are measured: scikit-image is the reference."""
    from skimage.metrics import structural_similarity

    brain = cohort.scans[0].brain()
    voxels = {(s.subject, s.scanner): s.voxels() for s in cohort.scans}
    low, high = np.percentile(np.concatenate([v[brain] for v in voxels.values()]), [0.1, 99.9])
    scaled = {k: np.where(brain, (v - low) / (high - low), 0) for k, v in voxels.items()}
    out = {}
    for a, b in combinations(cohort.scanners, 2):
        scores = [
            structural_similarity(  # type: ignore[no-untyped-call]
                scaled[s, a], scaled[s, b], data_range=1.0, full=True
            )[1]
            for s in cohort.subjects
        ]
        out[frozenset((a, b))] = float(np.mean([score[brain].mean() for score in scores]))
    return out


def test_ge_is_the_most_different_and_the_siemens_alike(cohort: Cohort) -> None:
    found = similarity(cohort)
    ge = [v for pair, v in found.items() if "GE" in pair]
    rest = [v for pair, v in found.items() if "GE" not in pair]
    assert max(ge) < min(rest) - 0.02
    siemens = found[frozenset(("SiemensP", "SiemensT"))]
    assert siemens == max(found.values())
    assert min(ge) > 0.75
    assert 0.94 < siemens < 0.99


def test_scanner_free_image_is_nearest_to_the_scanner_of_its_contrast(cohort: Cohort) -> None:
    brain = cohort.scans[0].brain()
    for subject in cohort.subjects:
        error = {}
        for scan in cohort.of(subject):
            free = read_voxels(file(scan, "truth_image"))
            error[scan.scanner] = np.abs(scan.voxels() - free)[brain].mean()
        assert max(error, key=error.__getitem__) == "GE"
        assert min(error, key=error.__getitem__).startswith("Siemens")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"subjects": 1}, "subjects"),
        ({"scanners": 1}, "scanners"),
        ({"scanners": 8}, "scanners"),
        ({"resolution": 0.5}, "resolution"),
        ({"resolution": 9.0}, "resolution"),
        ({"resolution": 2.5}, "resolution"),
        ({"seed": -1}, "seed"),
        ({"workers": 0}, "worker"),
    ],
)
def test_bad_settings_write_nothing(change: dict[str, float], word: str, tmp_path: Path) -> None:
    settings = {"subjects": 2, "scanners": 2, "resolution": 4.0, "seed": 0, "workers": 1}
    with pytest.raises(SettingsError, match=word):
        simulate(tmp_path / "out", **(settings | change))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SettingsError, match="empty folder"):
        simulate(tmp_path, 2, 2, 4.0, 0)
    with pytest.raises(SettingsError, match="found a file"):
        simulate(tmp_path / "mine.txt", 2, 2, 4.0, 0)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_progress_counts_scans(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate(
        tmp_path / "c", 2, 2, 8.0, 0, progress=lambda done, total, _: seen.append((done, total))
    )
    assert seen == [(2, 4), (4, 4)]


def test_scanners_on_given_images(folder: Path, tmp_path: Path) -> None:
    made = simulate_from(folder / "matched.csv", tmp_path / "a", 3, 5)
    simulate_from(folder / "matched.csv", tmp_path / "b", 3, 5)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    cohort = read_cohort(made)
    assert cohort.subjects == ("01", "02", "03", "04")
    assert cohort.scanners == ("GE", "Philips", "SiemensP")
    found = similarity(cohort)
    assert max(found, key=found.__getitem__) == frozenset(("Philips", "SiemensP"))
    source = read_cohort(folder / "matched.csv")
    for scan in cohort.scans:
        brain = scan.brain()
        first = source.of(scan.subject)[0]
        assert scan.values["group"] == first.values["group"]
        np.testing.assert_allclose(
            read_voxels(file(scan, "truth_image")), first.voxels(), atol=1e-4
        )
        assert scan.voxels()[brain].mean() == pytest.approx(1.0, abs=1e-4)
        assert not scan.voxels()[~brain].any()


def test_scanners_on_given_images_refuse_bad_settings(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="scanners"):
        simulate_from(folder / "matched.csv", tmp_path / "a", 1, 0)
    with pytest.raises(SettingsError, match="empty folder"):
        simulate_from(folder / "matched.csv", folder, 2, 0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="real images lie outside the repository")
def test_scanners_on_real_images(tmp_path: Path) -> None:
    """The first two people of the real cohort, thinned to every third voxel to be quick."""
    import nibabel as nib

    rows = []
    source = read_cohort(SHARED / "data" / "oasis_eve" / "matched.csv")
    for scan in [s for s in source.scans if s.subject in ("01", "02")]:
        image = nib.nifti1.Nifti1Image(scan.voxels()[::3, ::3, ::3], scan.grid.affine)
        name = f"{scan.subject}{scan.scanner}.nii.gz"
        nib.save(image, tmp_path / name)
        rows.append(f"{scan.subject},{scan.scanner},{name}")
    (tmp_path / "real.csv").write_text("subject,scanner,image\n" + "\n".join(rows) + "\n")
    made = read_cohort(simulate_from(tmp_path / "real.csv", tmp_path / "out", 4, 0))
    found = similarity(made)
    ge = [v for pair, v in found.items() if "GE" in pair]
    assert max(ge) < min(v for pair, v in found.items() if "GE" not in pair)
    assert max(found, key=found.__getitem__) == frozenset(("SiemensP", "SiemensT"))
