"""A cohort from a BIDS dataset: what is read, what is refused, and that nothing is guessed."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bids_sets import PEOPLE, describe, image, made_by, raw, write
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.bids.cohort import Ask, from_bids
from harmobench.bids.describe import sources_of, write_people
from harmobench.bids.manifest import manifest_text
from harmobench.bids.names import read_name, write_name
from harmobench.bids.reading import read_table
from harmobench.cli import main
from harmobench.cohort import Scan, bids_labels
from harmobench.errors import HarmobenchError, ManifestError, SettingsError
from harmobench.manifest import EMPTY

Cli = Callable[..., tuple[int, str, str]]
NAMES = (
    st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=9)
    .map(str.strip)
    .filter(lambda text: text and text not in EMPTY)
)
MACHINES = st.sampled_from(["GE 3T", "ge 3t", "Philips", "Å-x", "1"])
LABELS = st.text("abzAZ019", min_size=1, max_size=6)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", "cohort", "from-bids", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def scanners(folder: Path, **asked: object) -> dict[str, str]:
    """Scanner of each image's name, as from-bids tells it."""
    found = from_bids(Ask(folder, **asked), matched=False)
    return {row.named.path.name: row.scanner for row in found.rows}


def faults(folder: Path, **asked: object) -> str:
    with pytest.raises(ManifestError) as refused:
        from_bids(Ask(folder, **asked))
    return str(refused.value)


# names


@given(st.dictionaries(LABELS, LABELS, max_size=5), LABELS)
def test_a_name_that_is_put_together_is_taken_apart_again(
    entities: dict[str, str], suffix: str
) -> None:
    named = read_name(Path("/x") / write_name(entities, suffix, ".nii.gz"))
    assert named is not None
    assert (named.entities, named.suffix, named.extension) == (entities, suffix, ".nii.gz")


@given(st.text(max_size=40))
def test_any_name_is_taken_apart_or_left(text: str) -> None:
    named = read_name(Path(text.replace("/", "").replace("\0", "") or "x"))
    assert named is None or write_name(named.entities, named.suffix, named.extension)


@pytest.mark.parametrize(
    "name", ["a b_T1w.nii", "sub-1_sub-2_T1w.nii", "sub_T1w.nii", ".nii", "é_T1w.nii"]
)
def test_names_that_do_not_keep_to_bids(name: str) -> None:
    assert read_name(Path(name)) is None


# what is read


def test_a_raw_dataset_becomes_a_manifest(tmp_path: Path, cli: Cli) -> None:
    folder = raw(tmp_path / "my data é")
    out = tmp_path / "out" / "matched.csv"
    status, text, err = cli(folder, "--out", out)
    assert (status, err) == (0, "")
    assert "4 images of 2 subjects on 2 scanners, in a BIDS raw dataset" in text
    assert "scanner: from the sessions' labels" in text
    assert text.splitlines()[2].split() == ["subject", "GE", "Philips"]
    assert f"next: harmobench preprocess {out} --out RAW" in text
    rows = rows_of(out)
    assert [(r["subject"], r["scanner"], r["age"], r["sex"], r["group"]) for r in rows] == [
        ("01", "GE", "60", "F", "low"), ("01", "Philips", "60", "F", "low"),
        ("02", "GE", "", "M", "high"), ("02", "Philips", "", "M", "high"),
    ]  # fmt: skip
    assert rows[0]["image"] == "../my data é/sub-01/ses-GE/anat/sub-01_ses-GE_T1w.nii.gz"
    assert (out.parent / rows[0]["image"]).is_file()


def test_sessions_tsv_names_the_scanner_and_has_covariates_of_the_visit(tmp_path: Path) -> None:
    folder = describe(tmp_path)
    write(folder / "participants.tsv", "participant_id\tage\nsub-01\t60\nsub-02\t70\n")
    for s, order in (("01", ("GE 3T", "Philips")), ("02", ("Philips", "GE 3T"))):
        lines = ["session_id\tscanner\tage"]
        for visit, scanner in enumerate(order, start=1):
            image(folder, f"sub-{s}_ses-{visit}_T1w.nii.gz")
            lines.append(f"ses-{visit}\t{scanner}\t{'n/a' if visit == 1 else '61.5'}")
        write(folder / f"sub-{s}" / f"sub-{s}_sessions.tsv", "\n".join(lines) + "\n")
    found = from_bids(Ask(folder))
    assert [(r.subject, r.scanner, r.named.get("ses"), r.values["age"]) for r in found.rows] == [
        ("01", "GE 3T", "1", "60"), ("01", "Philips", "2", "61.5"),
        ("02", "GE 3T", "2", "61.5"), ("02", "Philips", "1", "70"),
    ]  # fmt: skip


def test_another_column_can_be_the_scanner(tmp_path: Path, cli: Cli) -> None:
    folder = raw(tmp_path / "d")
    for s in ("01", "02"):
        table = "session_id\tsite\nses-GE\tA\nses-Philips\tB\n"
        write(folder / f"sub-{s}" / f"sub-{s}_sessions.tsv", table)
    assert set(scanners(folder, scanner_from="sessions-tsv:site").values()) == {"A", "B"}
    status, _, _ = cli(folder, "--out", tmp_path / "m.csv", "--session-column", "site")
    assert status == 0
    assert {row["scanner"] for row in rows_of(tmp_path / "m.csv")} == {"A", "B"}
    status, _, err = cli(folder, "--session-column", "site", "--scanner-from", "sidecar")
    assert status == 2
    assert "give one of the two" in err


def test_sidecars_name_the_scanner_by_the_inheritance_principle(tmp_path: Path) -> None:
    folder = describe(tmp_path)
    write(folder / "T1w.json", json.dumps(made_by("SIEMENS", "Prisma")))
    write(folder / "ses-2_T1w.json", json.dumps(made_by("GE", "MR750", 7)))
    for s in ("01", "02"):
        image(folder, f"sub-{s}_ses-1_T1w.nii.gz", {"DeviceSerialNumber": "42"})
        image(folder, f"sub-{s}_ses-2_T1w.nii.gz")
        image(folder, f"sub-{s}_ses-3_T1w.nii.gz")
    write(folder / "sub-01" / "sub-01_ses-3_T1w.json", json.dumps(made_by("Philips", "Achieva")))
    write(
        folder / "sub-02" / "ses-3" / "sub-02_T1w.json", json.dumps(made_by("Philips", "Achieva"))
    )
    assert scanners(folder) == {
        f"sub-{s}_ses-{v}_T1w.nii.gz": name
        for s in ("01", "02")
        for v, name in (("1", "SIEMENS Prisma 42"), ("2", "GE MR750 7"), ("3", "Philips Achieva"))
    }


def test_a_session_that_is_a_visit_is_never_taken_for_a_scanner(tmp_path: Path) -> None:
    folder = describe(tmp_path)
    for name in ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-02_ses-baseline"):
        image(folder, f"{name}_T1w.nii.gz")
    text = faults(folder)
    assert text.count("the scanner could not be told") == 4
    assert (
        "expected Manufacturer and ManufacturersModelName in its JSON sidecars, found none" in text
    )
    assert set(scanners(folder, scanner_from="session").values()) == {"1", "2", "baseline"}


def test_sessions_that_the_sidecars_contradict_are_called_doubtful(tmp_path: Path) -> None:
    folder = describe(tmp_path)
    for s, model in (("01", "A"), ("02", "B")):
        image(folder, f"sub-{s}_ses-GE_T1w.nii.gz", made_by("GE", model))
        image(folder, f"sub-{s}_ses-Philips_T1w.nii.gz", made_by("Philips"))
    (note,) = (n for n in from_bids(Ask(folder)).notes if "doubtful" in n)
    assert "ses-GE has images of 2 scanners by their sidecars (GE A, GE B)" in note


def test_derivatives_like_fmriprep_s(tmp_path: Path) -> None:
    folder = raw(tmp_path)
    own = describe(folder / "derivatives" / "fmriprep", DatasetType="derivative")
    for s in ("01", "02"):
        for scanner in ("GE", "Philips"):
            stem = f"sub-{s}_ses-{scanner}"
            for kind in ("desc-preproc", "space-MNI_desc-preproc"):
                image(own, f"{stem}_{kind}_T1w.nii.gz", {"SkullStripped": False})
                image(own, f"{stem}_{kind.replace('preproc', 'brain')}_mask.nii.gz")
    assert "choose with --space none, say" in faults(folder, derivatives="fmriprep")
    ask = Ask(folder, derivatives="fmriprep", wanted={"space": ["MNI"], "desc": ["preproc"]})
    found = from_bids(ask)
    assert [row.files["mask"].name for row in found.rows[:1]] == [
        "sub-01_ses-GE_space-MNI_desc-brain_mask.nii.gz"
    ]
    assert found.rows[0].values == {"age": "60", "sex": "F", "group": "low"}  # of the raw dataset
    assert len(found.left) == 4
    native = from_bids(Ask(own, wanted={"space": ["none"]}))
    assert native.rows[0].files["mask"].name == "sub-01_ses-GE_desc-brain_mask.nii.gz"


def test_the_raw_dataset_beside_tells_a_derivative_s_scanner(tmp_path: Path) -> None:
    folder = describe(tmp_path)
    own = describe(folder / "derivatives" / "x", DatasetType="derivative")
    for s in ("01", "02"):
        for visit, maker in (("1", "GE"), ("2", "Philips")):
            image(folder, f"sub-{s}_ses-{visit}_T1w.nii.gz", made_by(maker))
            image(own, f"sub-{s}_ses-{visit}_desc-preproc_T1w.nii.gz", {"SkullStripped": True})
    assert set(scanners(own).values()) == {"GE M", "Philips M"}


def test_masks_by_a_pattern(tmp_path: Path) -> None:
    folder = raw(tmp_path)
    for s in ("01", "02"):
        for scanner in ("GE", "Philips"):
            write(folder / "masks" / f"{s} {scanner}.nii.gz")
    found = from_bids(Ask(folder, mask="masks/{subject} {session}.nii.gz"))
    assert [row.files["mask"].name for row in found.rows][:2] == [
        "01 GE.nii.gz",
        "01 Philips.nii.gz",
    ]
    (folder / "masks" / "02 GE.nii.gz").unlink()
    assert "found no mask at" in faults(folder, mask="masks/{subject} {scanner}.nii.gz")
    with pytest.raises(
        SettingsError, match=r"--mask: expected auto, none or a path with \{subject\}"
    ):
        from_bids(Ask(folder, mask="{age}"))
    assert all("mask" not in row.files for row in from_bids(Ask(folder, mask="none")).rows)


# what is refused


def test_two_runs_are_refused_with_how_to_choose(tmp_path: Path, cli: Cli) -> None:
    folder = raw(tmp_path / "d")
    for s in ("01", "02"):
        (folder / f"sub-{s}/ses-GE/anat/sub-{s}_ses-GE_T1w.nii.gz").unlink()
        for run in ("01", "02"):
            image(folder, f"sub-{s}_ses-GE_run-{run}_T1w.nii.gz")
    image(folder, "sub-02_ses-Philips_acq-fast_T1w.nii.gz")
    status, out, err = cli(folder, "--out", tmp_path / "m.csv")
    assert (status, out) == (2, "")
    assert err.startswith(f"harmobench: {folder}: 3 faults found")
    assert err.count("choose with --run 01, say") == 2
    assert "choose with --acq none or --acq" not in err
    assert "sub-02_ses-Philips_acq-fast_T1w.nii.gz" in err
    assert not (tmp_path / "m.csv").exists()
    words = (folder, "--out", tmp_path / "m.csv", "--run", "1", "--run", "none", "--acq", "none")
    status, out, _ = cli(*words)
    assert status == 0
    assert "left out: sub-01_ses-GE_run-02_T1w.nii.gz: run-02" in out
    assert "left out: sub-02_ses-Philips_acq-fast_T1w.nii.gz: acq-fast" in out


def test_two_sessions_on_one_scanner_are_refused(tmp_path: Path) -> None:
    folder = raw(tmp_path)
    for s in ("01", "02"):
        for session, maker in (("GE", "GE"), ("Philips", "GE"), ("again", "Philips")):
            image(folder, f"sub-{s}_ses-{session}_T1w.nii.gz", made_by(maker))
    text = faults(folder, scanner_from="sidecar")
    assert "subject 01 on scanner GE M: expected one image, found 2" in text
    assert "--session GE or another --scanner-from" in text


def test_serial_numbers_in_some_sidecars_only_are_refused(tmp_path: Path) -> None:
    folder = raw(tmp_path)
    for s, serial in (("01", "5"), ("02", "")):
        image(folder, f"sub-{s}_ses-GE_T1w.nii.gz", made_by("GE", "M", serial))
        image(folder, f"sub-{s}_ses-Philips_T1w.nii.gz", made_by("Philips", "M x"))
    text = faults(folder, scanner_from="sidecar")
    assert "found GE M with DeviceSerialNumber in some sidecars and without in others" in text
    assert text.count("\n") == 1


def test_every_broken_file_is_named_at_once(tmp_path: Path) -> None:
    folder = raw(tmp_path, subjects=3)
    write(folder / "participants.tsv", "participant_id\tname\nsub-01\tZo\xeb\n".encode("latin-1"))
    write(folder / "sub-01" / "sub-01_sessions.tsv", "session_id\tscanner\nses-GE\n")
    write(folder / "sub-02" / "sub-02_sessions.tsv", "session\tscanner\n1\tGE\n")
    twice = "session_id\tscanner\nses-GE\tGE\nses-GE\tGE\n"
    write(folder / "sub-03" / "sub-03_sessions.tsv", twice)
    text = faults(folder)
    assert "expected text in UTF-8, found other bytes in" in text
    assert "sub-01_sessions.tsv, row 2: expected 2 columns as in the header, found 1" in text
    assert "expected a column 'session_id' in" in text
    assert "sub-03_sessions.tsv, row 3: ses-GE stands twice" in text


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("participant_id\tage\tage", "row 1: column age stands twice"),
        ("participant_id\tage\t ", "row 1: expected a name for column 3, found none"),
        ("participant_id\tage\tparticipant_id", "row 1: column participant_id stands twice"),
    ],
)
def test_columns_of_which_one_cannot_say_which_is_meant(
    tmp_path: Path, header: str, fault: str
) -> None:
    folder = raw(tmp_path, people=f"{header}\nsub-01\t1\t2\n")
    assert f"participants.tsv, {fault}" in faults(folder)


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b'{"a": NaN', b"", b"[" * 100_000])
def test_broken_sidecars_are_named(tmp_path: Path, content: bytes) -> None:
    folder = raw(tmp_path)
    write(folder / "T1w.json", content)
    text = faults(folder, scanner_from="sidecar")
    assert f"expected a JSON object in {folder / 'T1w.json'}, found" in text
    assert text.count("\n") == 1  # one file, one fault
    assert len(from_bids(Ask(folder)).rows) == 4  # nobody asked for it


def test_a_sidecar_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    folder = raw(tmp_path)
    with (folder / "T1w.json").open("wb") as stream:
        stream.truncate(10**12)  # a hole: no disk is needed
    assert "found more than 10 MB" in faults(folder, scanner_from="sidecar")


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="found no folder"):
        from_bids(Ask(tmp_path / "gone"))
    with pytest.raises(SettingsError, match="expected a BIDS dataset with folders sub-LABEL"):
        from_bids(Ask(tmp_path))
    describe(tmp_path / "mispel")
    with pytest.raises(SettingsError, match="it has the datasets mispel, name one of them"):
        from_bids(Ask(tmp_path))
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    with pytest.raises(HarmobenchError, match=r"expected T1w images in .* found none"):
        from_bids(Ask(tmp_path))


def test_links_in_a_circle_end_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    folder = raw(tmp_path)
    (folder / "sub-09").symlink_to("sub-09")
    (folder / "sub-01" / "ses-up").symlink_to("..")
    (folder / "sub-02" / "anat").symlink_to("anat")
    gone = folder / "sub-02/ses-GE/anat/sub-02_ses-GE_run-1_T1w.nii.gz"
    gone.symlink_to("../.git/annex/x")
    text = faults(folder)
    assert "found a link to nothing: get the file first (datalad get, git annex get)" in text
    assert text.count("\n") == 1


def test_odd_names_are_left_out_with_the_reason(tmp_path: Path, cli: Cli) -> None:
    folder = raw(tmp_path / "d")
    for name in ("my scan_T1w.nii.gz", "sub-03_ses-GE_T1w.nii.gz", "sub-01_ses-X_T1w.nii.gz"):
        write(folder / "sub-01/ses-GE/anat" / name)
    write(folder / "sub-0 4/anat/sub-04_T1w.nii.gz")
    write(folder / "sub-01/ses-G E/anat/sub-01_T1w.nii.gz")
    status, out, _ = cli(folder, "--out", tmp_path / "m.csv")
    assert status == 0
    assert "left out: my scan_T1w.nii.gz: expected a name such as sub-01_ses-GE_T1w.nii.gz" in out
    assert "left out: sub-03_ses-GE_T1w.nii.gz: it lies in sub-01, and its name says sub-03" in out
    assert "left out: sub-01_ses-X_T1w.nii.gz: it lies in ses-GE, and its name says ses-X" in out
    assert "left out: sub-0 4: expected a folder sub-LABEL" in out
    assert "left out: sub-01/ses-G E: expected a folder ses-LABEL" in out


def test_people_that_are_in_no_table_are_told(tmp_path: Path) -> None:
    folder = raw(tmp_path, subjects=3)
    assert from_bids(Ask(folder)).notes == (
        "not in participants.tsv, left without covariates: sub-03",
    )
    (folder / "participants.tsv").unlink()
    found = from_bids(Ask(folder))
    assert found.notes[0].startswith("found no participants.tsv")
    assert found.rows[0].values == {}


def test_an_image_of_a_run_whose_air_is_not_0_needs_a_mask(tmp_path: Path) -> None:
    ours = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "harmobench"}]}
    folder = describe(tmp_path, **ours)
    for s in ("01", "02"):
        for scanner, air in (("GE", 0.0), ("Philips", -7.5)):
            image(folder, f"sub-{s}_ses-{scanner}_space-X_T1w.nii.gz", {"background": air})
    text = faults(folder)
    assert text.count("expected a brain mask, found none, and -7.5 outside the brain") == 2
    write(folder / "tpl-X" / "tpl-X_desc-brain_mask.nii.gz")
    assert all("mask" in row.files for row in from_bids(Ask(folder)).rows)


def test_a_column_that_means_something_else_is_no_covariate(tmp_path: Path) -> None:
    people = PEOPLE.replace("sex", "mask").replace("group", "truth_x")
    found = from_bids(Ask(raw(tmp_path, people=people)))
    assert list(found.rows[0].values) == ["age"]
    assert [note.split("'")[1] for note in found.notes] == ["mask", "truth_x"]


def test_a_cohort_that_is_not_matched_is_refused(tmp_path: Path) -> None:
    folder = describe(tmp_path)
    image(folder, "sub-01_ses-GE_T1w.nii.gz")
    image(folder, "sub-02_ses-Philips_T1w.nii.gz")
    assert "expected people seen on at least 2 scanners, found none" in faults(folder)
    assert "expected at least 2 scanners, found 1 (GE)" in faults(folder, subjects=("01",))


def test_a_manifest_that_is_there_is_not_written_over(tmp_path: Path, cli: Cli) -> None:
    folder = raw(tmp_path / "d")
    out = write(tmp_path / "m.csv", "mine")
    status, _, err = cli(folder, "--out", out)
    assert status == 2
    assert "add --overwrite" in err
    assert out.read_text() == "mine"
    assert cli(folder, "--out", out, "--overwrite")[0] == 0
    assert cli(folder, "--out", out)[0] == 0  # the same again
    assert cli(folder, "--out", tmp_path / "m.tsv")[0] == 2
    assert cli(folder, "--scanner-from", "moon")[0] == 2


# what is written


@settings(max_examples=25, deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.lists(MACHINES, min_size=1, unique=True),
)
def test_names_and_values_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, subjects: list[str], machines: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("people")
    scans = [
        Scan(s, m, Path("x"), values={"age": str(60 + i), "coil": f"c{j}", "truth_x": "f"})
        for i, s in enumerate(subjects)
        for j, m in enumerate(machines)
    ]
    labels, visits = bids_labels(subjects), bids_labels(machines)
    describe(folder, DatasetType="derivative", GeneratedBy=[{"Name": "harmobench"}])
    write_people(folder, scans, labels, visits)
    for scan in scans:
        image(folder, f"sub-{labels[scan.subject]}_ses-{visits[scan.scanner]}_T1w.nii.gz")
    found = from_bids(Ask(folder), matched=False)
    assert {(r.subject, r.scanner): dict(r.values) for r in found.rows} == {
        (s.subject, s.scanner): {"age": s.values["age"], "coil": s.values["coil"]} for s in scans
    }
    assert manifest_text(found, folder / "m.csv").count("\n") == len(scans) + 1


def test_what_bids_defines_is_described_only_where_it_is_something_else(tmp_path: Path) -> None:
    for name, age, sex in (("a", "60", "F"), ("b", "old", "1")):
        scan = Scan("01", "GE", Path("x"), values={"age": age, "sex": sex})
        write_people(tmp_path / name, [scan], {"01": "01"}, {"GE": "GE"})
    meant = json.loads((tmp_path / "a" / "participants.json").read_text())
    other = json.loads((tmp_path / "b" / "participants.json").read_text())
    assert set(meant) == {"subject"}
    assert set(other) == {"subject", "age", "sex"}
    assert (
        read_table(tmp_path / "b" / "participants.tsv", "participant_id")["sub-01"]["age"] == "old"
    )


def test_sources_are_bids_uris_without_paths_of_the_machine(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw data")
    inside = folder / "sub-01/ses-GE/anat/sub-01_ses-GE_T1w.nii.gz"
    loose = write(tmp_path / "scans" / "a b.nii.gz")
    out = describe(tmp_path / "out")
    own = write(out / "x.nii")
    found, links = sources_of([inside, loose, own], out, tmp_path)
    assert found[inside] == "bids:raw:sub-01/ses-GE/anat/sub-01_ses-GE_T1w.nii.gz"
    assert found[loose] == "bids:raw2:scans/a%20b.nii.gz"
    assert found[own] == "bids::x.nii"
    assert links == {"raw": "../raw%20data", "raw2": ".."}
