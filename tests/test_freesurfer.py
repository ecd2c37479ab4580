"""FreeSurfer's stats files: values read off by hand, and the ways in which files are broken."""

import re
from pathlib import Path

import pytest

from harmobench.errors import MeasurementError
from harmobench.interface import Morphometry
from harmobench.tools.freesurfer import BIOMARKERS, FILES, FreeSurfer, read_stats

SHARED = Path(__file__).resolve().parents[2] / "shared"
STATS = SHARED / "data" / "fs_stats"
needs_shared = pytest.mark.skipif(not STATS.is_dir(), reason="no ../shared/data/fs_stats")

ASEG = """# Title Segmentation Statistics
#
# generating_program mri_segstats
# user     Ren\u00e9
# Measure BrainSeg, BrainSegVol, Brain Segmentation Volume, 1232725.000000, mm^3
# TableCol  4 ColHeader Volume_mm3
# NRows 5
# NTableCols 6
# ColHeaders  Index SegId NVoxels Volume_mm3 StructName normMean
  1  17      4458     4281.6  Left-Hippocampus                  69.3997
  2  18      1753     1681.3  Left-Amygdala                     68.5374
  3  53      4624     4440.5  Right-Hippocampus                 69.4474
  4  54      1684     1628.7  Right-Amygdala                    67.5671
  5  77       990      995.2  WM-hypointensities                67.0000
"""
APARC = """# Table of FreeSurfer cortical parcellation anatomical statistics
#
# hemi {hemi}
# Measure Cortex, NumVert, Number of Vertices, 124093, unitless
# NTableCols 5
# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg
bankssts                                 1429    965   2420  2.651
entorhinal                                673    463   2029  {entorhinal}
inferiortemporal                         6436   4299  15641  {inferior}
"""


@pytest.fixture
def subject(tmp_path):
    """A finished subject folder as FreeSurfer leaves it, cut down to few regions."""
    stats = tmp_path / "ravel_01_GE" / "stats"
    stats.mkdir(parents=True)
    (stats / "aseg.stats").write_text(ASEG, encoding="latin-1")
    for hemi, entorhinal, inferior in (("lh", 3.151, 2.863), ("rh", 3.175, 2.792)):
        text = APARC.format(hemi=hemi, entorhinal=entorhinal, inferior=inferior)
        (stats / f"{hemi}.aparc.stats").write_text(text)
    return stats


def measures(stats):
    sources = FreeSurfer().sources(stats.parents[1], "ravel", "01", "GE")
    return {m.structure: (m.value, m.units) for m in FreeSurfer().measure(sources)}


def edit(path, old, new):
    text = path.read_text(encoding="latin-1")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="latin-1")


def test_sums_the_hemispheres(subject):
    found = measures(subject)
    assert found["entorhinal"] == (pytest.approx(6.326), "mm")
    assert found["inferior_temporal"] == (pytest.approx(5.655), "mm")
    assert found["hippocampus"] == (pytest.approx(8.7221), "ml")
    assert found["amygdala"] == (pytest.approx(3.3100), "ml")
    assert list(found) == [marker.structure for marker in BIOMARKERS]
    tool: Morphometry = FreeSurfer()
    assert tool.reference.doi


def test_sources_are_the_files_of_that_scan(subject):
    folder = subject.parents[1]
    tool = FreeSurfer()
    assert tool.sources(folder, "ravel", "01", "GE") == tuple(subject / name for name in FILES)
    assert tool.sources(folder, "raw", "01", "GE") == ()
    assert tool.sources(folder, "ravel", "01", "Philips") == ()
    (subject / "rh.aparc.stats").unlink()
    assert len(tool.sources(folder, "ravel", "01", "GE")) == 2


def test_names_with_spaces_and_accents(subject, tmp_path):
    subject.parent.rename(tmp_path / "ravel_Zo\u00eb 1_GE \u00e0 Lyon")
    sources = FreeSurfer().sources(tmp_path, "ravel", "Zo\u00eb 1", "GE \u00e0 Lyon")
    assert len(FreeSurfer().measure(sources)) == 4


def test_columns_are_found_by_name_and_rows_in_any_order(subject):
    path = subject / "lh.aparc.stats"
    before = measures(subject)
    edit(path, "NumVert SurfArea GrayVol ThickAvg\n", "ThickAvg SurfArea GrayVol NumVert\n")
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("#"):
            name, vertices, area, volume, thickness = line.split()
            lines[i] = " ".join([name, thickness, area, volume, vertices])
    head, rows = lines[:6], lines[6:]
    path.write_text("\n".join([*head, *rows[::-1]]) + "\n")
    assert measures(subject) == before


def test_windows_line_ends(subject):
    before = measures(subject)
    for name in FILES:
        path = subject / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert measures(subject) == before


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(subject, name):
    (subject / name).unlink()
    with pytest.raises(MeasurementError, match=rf"stats/{name}.*ravel_01_GE"):
        measures(subject)


def test_a_file_that_went_away_is_named(subject):
    sources = FreeSurfer().sources(subject.parents[1], "ravel", "01", "GE")
    sources[0].unlink()
    with pytest.raises(MeasurementError, match=r"aseg\.stats"):
        FreeSurfer().measure(sources)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_file_cut_short_is_refused(subject, name, share):
    path = subject / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MeasurementError, match=re.escape(name)):
        measures(subject)


def test_aseg_cut_between_two_lines_is_refused(subject):
    edit(subject / "aseg.stats", ASEG.splitlines(keepends=True)[-1], "")
    with pytest.raises(MeasurementError, match=r"expected 5 regions in aseg\.stats.*found 4"):
        measures(subject)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("lh.aparc.stats", "entorhinal ", "entorinal ", "region entorhinal in lh"),
        ("aseg.stats", "Left-Amygdala", "Left-Amygdalum", "region Left-Amygdala in aseg"),
        ("rh.aparc.stats", "3.175", "nan", "found 'nan'"),
        ("rh.aparc.stats", "3.175", "thick", "found 'thick'"),
        ("rh.aparc.stats", "3.175", "0.000", "found '0.000'"),
        ("aseg.stats", "4440.5", "-4440.5", "found '-4440.5'"),
        ("aseg.stats", "4440.5", "4440,5", "found '4440,5'"),
        ("lh.aparc.stats", "GrayVol ThickAvg", "GrayVol Thick", "column ThickAvg"),
        ("lh.aparc.stats", "# ColHeaders", "# Headers", "ColHeaders"),
        ("lh.aparc.stats", "bankssts", "entorhinal", "entorhinal once"),
        ("lh.aparc.stats", "2029 ", "", "found 4"),
    ],
)
def test_a_damaged_file_is_refused(subject, name, old, new, message):
    edit(subject / name, old, new)
    with pytest.raises(MeasurementError, match=re.escape(message)) as error:
        measures(subject)
    assert name in str(error.value)
    assert str(subject) not in str(error.value)


def test_something_else_under_the_name_is_refused(subject):
    (subject / "aseg.stats").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(MeasurementError, match="ColHeaders"):
        measures(subject)


def read_off(path, structure, field):
    """The field-th word of the line that names a structure, read without looking at columns."""
    text = path.read_text()
    (line,) = re.findall(rf"^(?!#).*(?<!\S){structure}(?!\S).*$", text, flags=re.MULTILINE)
    return float(line.split()[field])


@needs_shared
@pytest.mark.parametrize(
    "folder",
    [
        "ds000114/sub-01",  # FreeSurfer 5.3
        "ds000114/sub-02",
        "NfMRIx/sub-01",  # 6
        "freesurfer-stats/soichi",  # 7.0
    ],
)
def test_real_subjects_of_all_versions(folder, tmp_path):
    (tmp_path / "raw_01_A").symlink_to(STATS / folder, target_is_directory=True)
    sources = FreeSurfer().sources(tmp_path, "raw", "01", "A")
    found = {m.structure: m.value for m in FreeSurfer().measure(sources)}
    stats = STATS / folder / "stats"
    for structure, row in (("hippocampus", "Hippocampus"), ("amygdala", "Amygdala")):
        sides = [read_off(stats / "aseg.stats", f"{side}-{row}", 3) for side in ("Left", "Right")]
        assert found[structure] == pytest.approx(sum(sides) / 1000)
    for structure, row in (("entorhinal", "entorhinal"), ("inferior_temporal", "inferiortemporal")):
        sides = [read_off(stats / f"{side}.aparc.stats", row, 4) for side in ("lh", "rh")]
        assert found[structure] == pytest.approx(sum(sides))


@needs_shared
def test_a_person_reads_the_same(tmp_path):
    (tmp_path / "raw_01_A").symlink_to(STATS / "NfMRIx" / "sub-01", target_is_directory=True)
    found = FreeSurfer().measure(FreeSurfer().sources(tmp_path, "raw", "01", "A"))
    by_hand = [3.151 + 3.166, 2.863 + 2.701, 4.2816 + 4.4405, 1.6813 + 1.6287]
    assert [m.value for m in found] == pytest.approx(by_hand)


@needs_shared
def test_every_field_of_every_real_file():
    paths = [p for p in sorted(STATS.glob("*/*/stats/*.stats")) if p.name != "brainvol.stats"]
    assert len(paths) > 10
    for path in paths:
        table = read_stats(path)
        rows = re.findall(r"^[ \w].*\S", path.read_text(), flags=re.MULTILINE)
        assert [" ".join(row.values()) for row in table.values()] == [
            " ".join(line.split()) for line in rows
        ]


@needs_shared
def test_a_subject_without_aseg_fails_clearly(tmp_path):
    (tmp_path / "raw_fabian_A").symlink_to(
        STATS / "freesurfer-stats" / "fabian", target_is_directory=True
    )
    sources = FreeSurfer().sources(tmp_path, "raw", "fabian", "A")
    with pytest.raises(MeasurementError, match=r"expected stats/aseg\.stats.*raw_fabian_A"):
        FreeSurfer().measure(sources)
