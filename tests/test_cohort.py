"""The manifest: read strictly, every fault at once, each with where it is and what to do."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harmobench.cohort import Cohort, Scan, Segmentation, bids_labels
from harmobench.errors import HarmobenchError, ManifestError, MethodError
from harmobench.imaging.volume import Grid, write_image
from harmobench.manifest import read_cohort

GRID = Grid.make((6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
HEADER = "subject,scanner,image"
ROWS = ("01,A,01_A.nii.gz", "01,B,01_B.nii.gz", "02,A,02_A.nii.gz", "02,B,02_B.nii.gz")


def brain(seed: int = 0) -> NDArray[np.float32]:
    """Positive voxels with a rim of zeros."""
    voxels = np.random.default_rng(seed).uniform(1, 9, size=GRID.shape).astype(np.float32)
    voxels[0] = 0
    return voxels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the four images that ROWS name."""
    for seed, row in enumerate(ROWS):
        write_image(tmp_path / row.split(",")[2], brain(seed), GRID)
    return tmp_path


def manifest(folder: Path, *rows: str, header: str = HEADER, name: str = "matched.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *(rows or ROWS)]) + "\n", encoding="utf-8")
    return path


def faults_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        read_cohort(path)
    return caught.value.faults


def the_fault(path: Path) -> str:
    (fault,) = faults_of(path)
    return fault


# --- what is read ---------------------------------------------------------------------------------


def test_a_good_manifest_is_read_as_text_in_its_order(folder: Path) -> None:
    rows = [f"{row},{60 + i},low" for i, row in enumerate(ROWS)]
    cohort = read_cohort(manifest(folder, *rows, header=f"{HEADER},age,group"))
    assert cohort.subjects == ("01", "02"), "01 stays 01"
    assert cohort.scanners == ("A", "B")
    assert cohort.pairs == (("A", "B"),)
    assert cohort.complete
    assert [dict(scan.values) for scan in cohort.scans] == [
        {"age": str(60 + i), "group": "low"} for i in range(4)
    ]
    np.testing.assert_array_equal(cohort.scans[2].voxels(), brain(2))
    assert cohort.scans[0].grid == GRID
    assert cohort.source == str(folder / "matched.csv")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("plain.csv", lambda text: text),
        ("tabs.tsv", lambda text: text.replace(",", "\t")),
        ("TABS.TSV", lambda text: text.replace(",", "\t")),
        ("windows.csv", lambda text: text.replace("\n", "\r\n")),
        ("bom.csv", lambda text: "\ufeff" + text),
        ("excel.csv", lambda text: "\ufeff" + text.replace("\n", "\r\n")),
        ("blank lines.csv", lambda text: "\n" + text.replace("\n", "\n\n,,\n") + "\n\n"),
        ("no last line end.csv", lambda text: text.rstrip("\n")),
        ("spaces.csv", lambda text: text.replace(",", " ,  ")),
        ("quoted.csv", lambda text: re.sub(r"([^,\n]+)", r'"\1"', text)),
    ],
)
def test_every_program_s_way_of_writing_a_table_is_read(
    folder: Path, name: str, change: Callable[[str], str]
) -> None:
    text = "\n".join([HEADER, *ROWS]) + "\n"
    (folder / name).write_text(change(text), encoding="utf-8", newline="")
    cohort = read_cohort(folder / name)
    assert [(s.subject, s.scanner, s.image.name) for s in cohort.scans] == [
        tuple(row.split(",")) for row in ROWS
    ]


def test_an_absolute_path_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    rows = [f"{s},{c},{folder / image}" for s, c, image in (row.split(",") for row in ROWS)]
    assert len(read_cohort(manifest(away, *rows))) == 4


@pytest.mark.parametrize("empty", ["", "n/a", "NA", "NaN", "nan"])
def test_every_word_for_nothing_is_nothing(folder: Path, empty: str) -> None:
    rows = [f"{ROWS[0]},{empty},{empty}", *(f"{row},,60" for row in ROWS[1:])]
    cohort = read_cohort(manifest(folder, *rows, header=f"{HEADER},mask,age"))
    assert cohort.scans[0].mask is None
    assert cohort.scans[0].values["age"] == ""


def test_masks_and_other_files_lie_beside_the_manifest(folder: Path) -> None:
    write_image(folder / "m" / "mask.nii.gz", brain() > 5, GRID)
    write_image(folder / "t.nii.gz", brain() > 5, GRID)
    rows = [f"{row},m/mask.nii.gz,t.nii.gz" for row in ROWS]
    cohort = read_cohort(manifest(folder, *rows, header=f"{HEADER},mask,truth_gm"))
    scan = cohort.scans[0]
    assert scan.mask == folder / "m" / "mask.nii.gz"
    assert scan.values["truth_gm"] == str(folder / "t.nii.gz")
    np.testing.assert_array_equal(scan.brain(), brain() > 5)
    with pytest.raises(ValueError, match="read-only"):
        scan.brain()[0] = True


def test_subjects_on_one_scanner_are_kept_and_named(folder: Path) -> None:
    cohort = read_cohort(manifest(folder, *ROWS[:3]))
    assert cohort.subjects == ("01", "02")
    assert cohort.matched == ("01",)
    assert cohort.unmatched == ("02",)
    assert not cohort.complete


def test_progress_counts_every_image(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_cohort(manifest(folder), lambda done, total, what: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- faults of the table --------------------------------------------------------------------------


def test_no_manifest_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarmobenchError, match=r"expected a manifest.*found no file"):
        read_cohort(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"subject,scanner,image\n\xe9\xff,A,x\n")
    with pytest.raises(HarmobenchError, match=r"expected text in UTF-8.*bytes\.csv"):
        read_cohort(tmp_path / "bytes.csv")


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", " , ,\n"])
def test_an_empty_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(HarmobenchError, match=r"expected a header.*empty file"):
        read_cohort(tmp_path / "m.csv")


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(HEADER)
    assert the_fault(tmp_path / "m.csv") == "expected one row a scan, found a header only"


def test_a_column_that_is_missing_is_named_with_the_one_that_was_meant(folder: Path) -> None:
    faults = faults_of(manifest(folder, header="subjects,scanner,picture"))
    assert len(faults) == 2
    assert "row 1: expected a column 'subject'" in faults[0]
    assert "is 'subjects' meant?" in faults[0]
    assert "row 1: expected a column 'image', found subjects, scanner, picture" in faults[1]


def test_columns_that_stand_twice_or_have_no_name_are_refused(folder: Path) -> None:
    rows = [f"{row},1,2,3" for row in ROWS]
    faults = faults_of(manifest(folder, *rows, header=f"{HEADER},age,age,"))
    assert faults == (
        "row 1: column 'age' stands 2 times: keep one",
        "row 1: a column has no name: give it one",
    )


@pytest.mark.parametrize(("row", "count"), [("01,B", 2), ("01,B,01_B.nii.gz,extra", 4)])
def test_a_ragged_row_is_named(folder: Path, row: str, count: int) -> None:
    faults = faults_of(manifest(folder, ROWS[0], row, *ROWS[2:]))
    assert f"row 3: expected 3 columns as in the header, found {count}: put quotes" in faults[0]


def test_a_cell_that_must_not_be_empty_is_named(folder: Path) -> None:
    rows = [",A,01_A.nii.gz", "01,n/a,01_B.nii.gz", "02,A,", *ROWS[3:], "02,A,02_A.nii.gz"]
    faults = faults_of(manifest(folder, *rows))
    assert faults[:3] == tuple(
        f"row {row}, column {column}: expected a value, found none"
        for row, column in ((2, "subject"), (3, "scanner"), (4, "image"))
    )


def test_a_scan_that_stands_twice_names_both_rows(folder: Path) -> None:
    fault = the_fault(manifest(folder, *ROWS, ROWS[1]))
    assert fault.startswith("row 6: subject 01 on scanner B already stands in row 3: keep one")


def test_rows_are_counted_as_an_editor_counts_them(folder: Path) -> None:
    fault = the_fault(manifest(folder, ROWS[0], "", "", *ROWS[1:], ROWS[0]))
    assert fault.startswith("row 8: subject 01 on scanner A already stands in row 2")


def test_one_scanner_is_no_matched_cohort(folder: Path) -> None:
    fault = the_fault(manifest(folder, ROWS[0], ROWS[2]))
    assert fault.startswith("column scanner: expected at least 2 scanners, found 1 (A)")


def test_one_subject_is_no_cohort(folder: Path) -> None:
    fault = the_fault(manifest(folder, *ROWS[:2]))
    assert fault == "column subject: expected at least 2 subjects, found 1 (01)"


def test_a_cohort_without_a_match_is_refused(folder: Path) -> None:
    fault = the_fault(manifest(folder, ROWS[0], ROWS[3]))
    assert "expected subjects seen on at least 2 scanners, found none" in fault
    assert "write the same subject name in each of a person's rows" in fault


# --- faults of the files --------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["mask", "tissue", "to_native", "native_image", "truth_brain"])
def test_every_file_that_is_missing_is_named(folder: Path, column: str) -> None:
    rows = [ROWS[0] + ",gone.nii.gz", *(row + "," for row in ROWS[1:])]
    faults = faults_of(manifest(folder, *rows, header=f"{HEADER},{column}"))
    assert faults[0].startswith(f"row 2, column {column}: found no file at {folder}/gone.nii.gz")
    assert "relative to the manifest" in faults[0]


def test_an_image_that_is_missing_is_named(folder: Path) -> None:
    (folder / "02_A.nii.gz").unlink()
    fault = the_fault(manifest(folder))
    assert fault.startswith("row 4, column image: expected an image, found no file at")


def put(
    folder: Path, voxels: NDArray[np.float32], affine: NDArray[np.float64] | None = None
) -> None:
    """Write another image in the place of subject 02's on scanner A, row 4."""
    nib.save(
        nib.Nifti1Image(voxels, GRID.affine if affine is None else affine), folder / "02_A.nii.gz"
    )


def test_voxels_that_are_no_numbers_are_counted(folder: Path) -> None:
    voxels = brain()
    voxels[2, 2, :3] = np.nan, np.inf, -np.inf
    put(folder, voxels)
    fault = the_fault(manifest(folder))
    assert "row 4, column image: expected finite intensities, found 3 NaN or inf" in fault
    assert "set them to 0 outside the brain" in fault


def test_an_empty_image_is_refused(folder: Path) -> None:
    put(folder, np.zeros(GRID.shape, np.float32))
    assert "row 4, column image: expected a brain, found only zeros" in the_fault(manifest(folder))


def test_a_constant_brain_is_refused(folder: Path) -> None:
    put(folder, np.where(brain() > 0, np.float32(7), np.float32(0)))
    assert "found the one value 7 in the whole brain" in the_fault(manifest(folder))


def test_a_brain_that_is_constant_within_its_mask_is_refused(folder: Path) -> None:
    voxels = brain()
    voxels[2:4, 2:4] = 5
    put(folder, voxels)
    mask = np.zeros(GRID.shape, bool)
    mask[2:4, 2:4] = True
    write_image(folder / "mask.nii.gz", mask, GRID)
    rows = [*(row + "," for row in ROWS[:2]), ROWS[2] + ",mask.nii.gz", ROWS[3] + ","]
    fault = the_fault(manifest(folder, *rows, header=f"{HEADER},mask"))
    assert "row 4, column image: expected an image with contrast, found the one value 5" in fault


def test_a_four_dimensional_image_is_refused(folder: Path) -> None:
    put(folder, np.stack([brain(), brain(1)], axis=-1))
    fault = the_fault(manifest(folder))
    assert "row 4, column image: expected a 3-D image, found 4-D (6 x 5 x 4 x 2)" in fault
    assert "split it into volumes" in fault


def test_another_shape_is_refused(folder: Path) -> None:
    put(folder, np.random.default_rng(0).uniform(1, 2, size=(7, 5, 4)).astype(np.float32))
    fault = the_fault(manifest(folder))
    assert "row 4, column image: expected the grid of most scans (6 x 5 x 4 voxels" in fault
    assert "found another shape (7 x 5 x 4 voxels of 2 x 2 x 2 mm)" in fault
    assert "register every scan" in fault


def test_another_affine_is_refused_and_header_rounding_is_not(folder: Path) -> None:
    affine = GRID.affine.copy()
    affine[0, 3] += 4e-4
    put(folder, brain(), affine)
    assert len(read_cohort(manifest(folder))) == 4
    affine[0, 3] += 2
    put(folder, brain(), affine)
    assert "found another affine" in the_fault(manifest(folder))


def test_text_that_is_called_an_image_is_refused(folder: Path) -> None:
    (folder / "02_A.nii.gz").write_text("no image")
    fault = the_fault(manifest(folder))
    assert "row 4, column image: expected a NIfTI image (.nii or .nii.gz), found something" in fault


@pytest.mark.parametrize("kept", [0.2, 0.9])
def test_a_download_that_broke_off_is_refused(folder: Path, kept: float) -> None:
    path = folder / "02_A.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    fault = the_fault(manifest(folder))
    assert re.match(r"row 4, column image: expected .*(damaged|something else)", fault)


def test_a_mask_of_another_shape_is_refused(folder: Path) -> None:
    write_image(folder / "m.nii.gz", np.ones((6, 5, 5), bool), GRID)
    rows = [ROWS[0] + ",m.nii.gz", *(row + "," for row in ROWS[1:])]
    fault = the_fault(manifest(folder, *rows, header=f"{HEADER},mask"))
    assert "row 2, column mask: expected the image's grid (6 x 5 x 4 voxels" in fault


def test_an_empty_mask_is_refused(folder: Path) -> None:
    write_image(folder / "m.nii.gz", np.zeros(GRID.shape, bool), GRID)
    rows = [ROWS[0] + ",m.nii.gz", *(row + "," for row in ROWS[1:])]
    fault = the_fault(manifest(folder, *rows, header=f"{HEADER},mask"))
    assert "expected a brain mask, found an empty one in" in fault


def test_all_faults_are_named_at_once(folder: Path) -> None:
    nan = brain()
    nan[3, 3, 3] = np.nan
    write_image(folder / "nan.nii.gz", nan, GRID)
    write_image(folder / "small.nii.gz", brain()[:, :, :3], GRID)
    rows = [
        f"{ROWS[0]},gone_mask.nii.gz",
        f"{ROWS[1]},",
        "02,A,nan.nii.gz,",
        "02,B,gone.nii.gz,",
        "02,A,02_A.nii.gz,",
        "03,A,small.nii.gz,",
        "03,,02_B.nii.gz,",
        "03,B",
        "04,A,02_A.nii.gz,",
        "04,B,02_B.nii.gz,",
    ]
    path = manifest(folder, *rows, header=f"{HEADER},mask")
    with pytest.raises(ManifestError) as caught:
        read_cohort(path)
    text = str(caught.value)
    for row, words in (
        (9, "expected 4 columns"),
        (2, "column mask: found no file"),
        (6, "already stands in row 4"),
        (8, "column scanner: expected a value"),
        (4, "1 NaN or inf"),
        (5, "found no file"),
        (7, "found another shape"),
    ):
        assert re.search(rf"row {row}[:,][^\n]*{words}", text), (row, words, text)
    assert text.startswith(f"{path}: {len(caught.value.faults)} faults found\n  - ")


def test_faults_travel_between_processes() -> None:
    error = ManifestError(["row 2: a", "row 3: b"], Path("m.csv"))
    back = pickle.loads(pickle.dumps(error))
    assert isinstance(back, ManifestError)
    assert (back.faults, back.source, str(back)) == (error.faults, error.source, str(error))
    assert str(ManifestError(["row 2: a"])) == "manifest: 1 fault found\n  - row 2: a"


# --- scans and cohorts ----------------------------------------------------------------------------

SEEN = st.dictionaries(
    st.sampled_from("abcdef"),
    st.sets(st.sampled_from("XYZW"), min_size=1),
    min_size=1,
)


@settings(deadline=None, max_examples=50)
@given(SEEN, st.randoms(use_true_random=False))
def test_a_cohort_knows_who_was_seen_where(seen: dict[str, set[str]], random: object) -> None:
    rows = [(subject, scanner) for subject, on in seen.items() for scanner in sorted(on)]
    random.shuffle(rows)  # type: ignore[attr-defined]
    cohort = Cohort(tuple(Scan(*row, Path("none")) for row in rows))
    scanners = set().union(*seen.values())
    assert (set(cohort.subjects), set(cohort.scanners)) == (set(seen), scanners)
    assert cohort.subjects[0] == rows[0][0], "in order of appearance"
    assert len(cohort.pairs) == len(scanners) * (len(scanners) - 1) // 2
    assert set(cohort.matched) == {s for s, on in seen.items() if len(on) > 1}
    assert sorted(cohort.matched + cohort.unmatched) == sorted(seen)
    assert cohort.complete == all(on == scanners for on in seen.values())
    for subject, on in seen.items():
        assert [s.scanner for s in cohort.of(subject)] == [c for c in cohort.scanners if c in on]
        for scanner in scanners:
            assert (cohort.scan(subject, scanner) is not None) == (scanner in on)
    some = [s for s in seen if s < "d"]
    assert cohort.select(some).scans == tuple(s for s in cohort.scans if s.subject in some)


def test_a_scan_s_voxels_are_its_own(folder: Path) -> None:
    scan = Scan("01", "A", folder / "01_A.nii.gz")
    voxels = scan.voxels()
    voxels[:] = 3
    np.testing.assert_array_equal(scan.voxels(), brain(0))
    made = scan.with_voxels(voxels)
    made.voxels()[:] = 4
    assert (made.voxels() == 3).all()
    assert (made.subject, made.scanner, made.grid) == ("01", "A", GRID)
    np.testing.assert_array_equal(scan.brain(), brain(0) != 0)
    assert str(scan) == "subject 01 on A"


def test_a_covariate_must_be_a_number() -> None:
    scan = Scan("01", "A", Path("none"), values={"age": "61.5", "sex": "F", "bmi": "", "x": "inf"})
    assert scan.covariate("age") == 61.5
    for name in ("sex", "bmi", "x", "unheard of"):
        with pytest.raises(MethodError, match=rf"number in column '{name}' for subject 01 on A"):
            scan.covariate(name)


def test_an_input_must_have_been_asked_for(folder: Path) -> None:
    scan = Scan("01", "A", Path("none"), inputs={"tissue": folder / "01_A.nii.gz"})
    np.testing.assert_array_equal(scan.input("tissue"), brain(0))
    np.testing.assert_array_equal(scan.input_labels("tissue"), np.rint(brain(0)))
    with pytest.raises(MethodError, match=r"shared input 'whitestripe'.*found tissue.*Needs"):
        scan.input("whitestripe")


def test_a_probability_of_point_eight_is_within(tmp_path: Path) -> None:
    """Maps are stored in steps of 1/250: .8 is step 200 and must pass the paper's threshold."""
    steps = np.array([199, 200, 201, 250, 0, 100, 249, 150], np.uint8).reshape(2, 2, 2)
    write_image(tmp_path / "gm.nii.gz", steps, Grid.make((2, 2, 2), 2 * np.eye(4)), scale=1 / 250)
    maps = Segmentation("hmrf", "template", {"gm": tmp_path / "gm.nii.gz"})
    np.testing.assert_array_equal(maps.mask("gm"), steps >= 200)
    np.testing.assert_array_equal(maps.mask("gm", 0.6), steps >= 150)
    assert maps.voxel_ml == pytest.approx(0.008)


# --- names in paths -------------------------------------------------------------------------------

NAMES = st.lists(
    st.text(min_size=1, max_size=6) | st.sampled_from(["01", "GE", "ge", "G-E", "G E", "é"])
)


@settings(deadline=None, max_examples=50)
@given(NAMES)
def test_labels_are_bids_and_unlike_for_unlike_names(names: list[str]) -> None:
    labels = bids_labels(names)
    assert set(labels) == set(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", label) for label in labels.values())
    folded = [label.lower() for label in labels.values()]
    assert len(set(folded)) == len(folded), "on file systems blind to case too"
    assert bids_labels([*names, *names]) == labels


@settings(deadline=None, max_examples=50)
@given(st.lists(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), unique=True))
def test_names_that_are_labels_already_stay(names: list[str]) -> None:
    assert bids_labels(names) == {name: name for name in names}


def test_a_name_that_changes_gets_its_own_hash() -> None:
    labels = bids_labels(["sub 1", "GE", "ge"])
    digest = hashlib.sha256(b"sub 1").hexdigest()[:6]
    assert labels["sub 1"] == f"sub1{digest}"
    assert labels["GE"].startswith("GE")
    assert labels["GE"] != "GE", "it would collide with ge"
