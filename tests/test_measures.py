"""Which morphometry a run uses: what the user may type, and what is said of a place's contents."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from harmobench.cli import main
from harmobench.cohort import Cohort, Scan
from harmobench.errors import AtlasError, PluginError, SettingsError
from harmobench.interface import Needs
from harmobench.job import Options
from harmobench.measures import choose_morphometry, refuse_shared, strangers, with_structures
from harmobench.parts import Part

STATS = {
    "aseg.stats": "# ColHeaders Volume_mm3 StructName\n4000 Left-Hippocampus\n"
    "4100 Right-Hippocampus\n1500 Left-Amygdala\n1600 Right-Amygdala\n",
    "lh.aparc.stats": "# ColHeaders StructName ThickAvg\nentorhinal 3.1\ninferiortemporal 2.8\n",
    "rh.aparc.stats": "# ColHeaders StructName ThickAvg\nentorhinal 3.2\ninferiortemporal 2.7\n",
}
RAW = Part("raw", "x:Y", "x 1", "", needs=vars(Needs()))


def subject(folder: Path, name: str) -> None:
    stats = folder / name / "stats"
    stats.mkdir(parents=True)
    for file, text in STATS.items():
        (stats / file).write_text(text)


def cohort(*scans: tuple[str, str]) -> Cohort:
    return Cohort(tuple(Scan(s, c, Path(f"{s}{c}.nii.gz")) for s, c in scans))


def test_finished_subjects_are_scored_and_broken_ones_fail_alone(
    cohort_csv: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for person in ("01", "02", "03", "04"):
        for scanner in ("GE", "Philips"):
            subject(tmp_path / "fs", f"raw_{person}_{scanner}")
    rmtree(tmp_path / "fs" / "raw_04_Philips")
    cut = tmp_path / "fs" / "raw_03_GE" / "stats" / "aseg.stats"
    cut.write_text(cut.read_text()[:60])
    (tmp_path / "fs" / "raw_02_GE" / "stats" / "lh.aparc.stats").unlink()
    windows = tmp_path / "fs" / "raw_01_GE" / "stats" / "aseg.stats"
    windows.write_bytes(windows.read_bytes().replace(b"\n", b"\r\n"))
    subject(tmp_path / "fs", "raw_09_GE")
    words = ["run", "--cohort", str(cohort_csv), "--methods", "raw", "--metrics", "biomarker"]
    words += ["--measures", f"freesurfer={tmp_path / 'fs'}", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["harmobench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "1 results are of no scan and method of this run: raw_09_GE" in capfd.readouterr().out
    with (tmp_path / "run" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    by_scan = {(r["subject"], r["scanner"]): r for r in rows if r["structure"] == "hippocampus"}
    status = {scan: row["status"] for scan, row in by_scan.items()}
    assert status.pop(("03", "GE")) == "failed"
    assert status.pop(("02", "GE")) == "failed"
    assert status.pop(("04", "Philips")) == "not_measured"
    assert set(status.values()) == {"ok"}
    assert {row["value"] for row in by_scan.values() if row["status"] == "ok"} == {"8.1"}
    assert "cut short" in by_scan["03", "GE"]["reason"]
    assert "lh.aparc.stats" in by_scan["02", "GE"]["reason"]
    assert "no results of freesurfer" in by_scan["04", "Philips"]["reason"]
    assert {row["tool"] for row in rows} == {"freesurfer"}


def options(*measures: str, **more: Any) -> Options:
    return Options(Path("matched.csv"), Path("out"), measures=measures, **more)


def names(parts: list[Part]) -> list[str]:
    return [part.name for part in parts]


def test_the_default_is_what_needs_no_other_program() -> None:
    parts, places = choose_morphometry(options())
    assert names(parts) == ["atlas-roi"]
    assert places == {}


def test_none_is_none() -> None:
    assert choose_morphometry(options("none")) == ([], {})


def test_several_tools_and_their_places(tmp_path: Path) -> None:
    parts, places = choose_morphometry(options(f"freesurfer={tmp_path}", "atlas-roi"))
    assert names(parts) == ["freesurfer", "atlas-roi"]
    assert places == {"freesurfer": str(tmp_path)}


def test_biomarkers_become_a_parameter_of_the_tool(tmp_path: Path) -> None:
    toml = tmp_path / "b.toml"
    toml.write_text(
        '[[biomarker]]\nname = "precuneus"\nfile = "{hemi}.aparc.stats"\nrow = "precuneus"\n'
        'column = "ThickAvg"\nunits = "mm"\ncombine = "mean"\n'
    )
    parts, _ = choose_morphometry(options(f"freesurfer={tmp_path}", biomarkers=toml))
    found = with_structures(parts, {"name": "a", "regions": []}, options("x"), [])
    assert found[0].structures == {"precuneus": "mm"}
    assert found[0].identity != choose_morphometry(options(f"freesurfer={tmp_path}"))[0][0].identity


@pytest.mark.parametrize(
    ("measures", "error", "said"),
    [
        (("freesurfer",), SettingsError, "expected freesurfer=PLACE"),
        (("freesurfer=",), SettingsError, "expected freesurfer=PLACE"),
        (("freesurfer=nowhere",), SettingsError, "expected a folder of finished subjects"),
        (("freesurfer={method}/{subjct}",), SettingsError, r"found \{subjct\}"),
        (("atlas-roi=x",), SettingsError, "leave out '=x'"),
        (("atlas-roi", "atlas-roi"), SettingsError, "expected 'atlas-roi' once, found it twice"),
        (("fresurfer=x",), PluginError, "is 'freesurfer' meant"),
        (("none", "atlas-roi"), SettingsError, "none"),
    ],
)
def test_what_cannot_be_used_is_refused(measures, error, said: str) -> None:
    with pytest.raises(error, match=said):
        choose_morphometry(options(*measures))


def test_an_atlas_without_regions(tmp_path: Path) -> None:
    parts, _ = choose_morphometry(options())
    notes: list[str] = []
    assert with_structures(parts, {"name": "bare", "regions": []}, options(), notes) == ()
    assert "atlas 'bare' has none" in notes[0]
    with pytest.raises(AtlasError, match=r"add \[regions\] to its atlas.toml"):
        with_structures(parts, {"name": "bare", "regions": []}, options("atlas-roi"), notes)


def test_folders_of_scans_that_are_not_in_the_run_are_named(tmp_path: Path) -> None:
    for name in ("raw_01_GE", "raw_09_GE", "mispel_01_GE", "fsaverage"):
        subject(tmp_path, name)
    parts, places = choose_morphometry(options(f"freesurfer={tmp_path}"))
    (note,) = strangers(parts, places, [RAW], cohort(("01", "GE")))
    assert "2 results are of no scan and method of this run: mispel_01_GE, raw_09_GE" in note


def test_two_scans_with_one_folder_are_refused(tmp_path: Path) -> None:
    subject(tmp_path, "raw_01_GE_A")
    parts, places = choose_morphometry(options(f"freesurfer={tmp_path}"))
    both = cohort(("01_GE", "A"), ("01", "GE_A"))
    with pytest.raises(
        SettingsError, match=r"found the same for raw of subject 01_GE on A and raw"
    ):
        refuse_shared(parts, places, [RAW], both)
    refuse_shared(parts, places, [RAW], cohort(("01_GE", "A"), ("02", "A")))
