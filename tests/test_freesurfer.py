"""FreeSurfer's stats files: values read off by hand, and the ways in which files are broken."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmobench.errors import MeasurementError
from harmobench.interface import FinishedMorphometry, Source
from harmobench.tools import pattern
from harmobench.tools.freesurfer import FreeSurfer
from harmobench.tools.stats import read_stats

SHARED = Path(__file__).resolve().parents[2] / "shared"
STATS = SHARED / "data" / "fs_stats"
FILES = ("lh.aparc.stats", "rh.aparc.stats", "aseg.stats")
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
    source = FreeSurfer().find(str(stats.parents[1]), "ravel", "01", "GE")
    return {m.structure: (m.value, m.units) for m in FreeSurfer().measure(source)}


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
    tool: FinishedMorphometry = FreeSurfer()
    assert list(found) == list(tool.structures(()))
    assert {name: units for name, (_, units) in found.items()} == tool.structures(())
    assert tool.reference.doi


def test_finds_the_files_of_that_scan(subject):
    place = str(subject.parents[1])
    tool = FreeSurfer()
    expected = Source({name: subject / name for name in FILES})
    assert tool.find(place, "ravel", "01", "GE") == expected
    assert tool.find(f"{place}/{{method}}_{{subject}}_{{scanner}}", "ravel", "01", "GE") == expected
    assert tool.find(place, "raw", "01", "GE") is None
    assert tool.find(place, "ravel", "01", "Philips") is None
    (subject / "rh.aparc.stats").unlink()
    assert set(tool.find(place, "ravel", "01", "GE").files) == {"lh.aparc.stats", "aseg.stats"}
    for name in ("lh.aparc.stats", "aseg.stats"):
        (subject / name).unlink()
    assert tool.find(place, "ravel", "01", "GE").files == {}
    with pytest.raises(MeasurementError, match="subject folder of this scan, found none"):
        tool.measure(tool.find(place, "ravel", "01", "GE"))


def test_a_pattern_of_the_users_own(subject, tmp_path):
    subject.parent.rename(tmp_path / "sub-01_GE.ravel")
    (tmp_path / "sub-02_GE.ravel").mkdir()
    (tmp_path / "else_02_GE").mkdir()
    place = str(tmp_path / "sub-{subject}_{scanner}.{method}")
    assert FreeSurfer().find(place, "ravel", "01", "GE").files["aseg.stats"].is_file()
    assert FreeSurfer().unknown(place, [("ravel", "01", "GE")]) == ["sub-02_GE.ravel"]
    deep = tmp_path / "all" / "ravel"
    deep.mkdir(parents=True)
    (tmp_path / "sub-01_GE.ravel").rename(deep / "01_GE")
    place = str(tmp_path / "all" / "{method}" / "{subject}_{scanner}")
    assert FreeSurfer().find(place, "ravel", "01", "GE").files["aseg.stats"].is_file()
    assert FreeSurfer().unknown(place, []) == ["ravel/01_GE"]


def test_names_that_look_like_patterns(tmp_path):
    (tmp_path / "a*_{scanner}_[x]").mkdir()
    scan = ("a*", "{scanner}", "[x]")
    assert FreeSurfer().find(str(tmp_path), *scan) is not None
    assert FreeSurfer().unknown(str(tmp_path), [scan]) == []


def test_unknown_subjects_are_named_and_freesurfers_own_are_not(subject, tmp_path):
    own = ("fsaverage", "fsaverage_sym_x", "cvs_avg35_inMNI152", "lh.EC_average", ".a_b_c", "bert")
    for name in (*own, "raw_2_b", "raw_10_a", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "a_b_c.txt").write_text("")
    tool = FreeSurfer()
    assert tool.unknown(str(tmp_path), [("ravel", "01", "GE")]) == ["raw_10_a", "raw_2_b"]
    assert tool.unknown(str(tmp_path), []) == ["ravel_01_GE", "raw_10_a", "raw_2_b"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", None),
        ("{method}_{subject}_{scanner}", None),
        ("{method}/{subject}/{scanner}", None),
        ("none", "found none at"),
        ("none/{method}_{subject}_{scanner}", "found none at"),
        ("{subject}_{scanner}", r"found no \{method\}"),
        ("{method}_{subject}_{scanner}_{session}", r"found \{session\}"),
    ],
)
def test_a_place_is_checked(tmp_path, place, message):
    found = FreeSurfer().check_place(str(tmp_path / place))
    assert (found is None) == (message is None)
    assert message is None or re.search(message, found)


def test_a_users_own_biomarkers(subject):
    common = {"units": "ml", "combine": "mean"}
    own = (
        {"name": "wmh", "file": "aseg.stats", "row": "WM-hypointensities", "column": "Volume_mm3"},
        {"name": "gray", "file": "{hemi}.aparc.stats", "row": "entorhinal", "column": "GrayVol"},
    )
    tool = FreeSurfer(tuple(marker | common for marker in own))
    found = tool.measure(tool.find(str(subject.parents[1]), "ravel", "01", "GE"))
    assert [(m.structure, m.value, m.units) for m in found] == [
        ("wmh", pytest.approx(0.9952), "ml"),
        ("gray", pytest.approx(2.029), "ml"),
    ]


def test_names_with_spaces_and_accents(subject, tmp_path):
    subject.parent.rename(tmp_path / "ravel_Zo\u00eb 1_GE \u00e0 Lyon")
    source = FreeSurfer().find(str(tmp_path), "ravel", "Zo\u00eb 1", "GE \u00e0 Lyon")
    assert len(FreeSurfer().measure(source)) == 4


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
    source = FreeSurfer().find(str(subject.parents[1]), "ravel", "01", "GE")
    source.files["aseg.stats"].unlink()
    with pytest.raises(MeasurementError, match=r"aseg\.stats"):
        FreeSurfer().measure(source)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_file_cut_short_is_refused(subject, name, share):
    path = subject / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MeasurementError, match=re.escape(name)):
        measures(subject)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_within_its_last_number_is_refused(subject, name):
    path = subject / name
    path.write_bytes(path.read_bytes().rstrip()[:-1])
    with pytest.raises(MeasurementError, match=rf"line end at the end of {re.escape(name)}"):
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


NAMES = st.text(min_size=1, max_size=12)


@given(NAMES, NAMES, NAMES)
@settings(deadline=None, max_examples=50)
def test_every_scans_name_fits_the_pattern_and_holds_its_names(method, subject, scanner):
    for text in (pattern.DEFAULT, "sub-{subject}.{scanner}+{method}"):
        name = pattern.fill(text, method, subject, scanner)
        assert pattern.matches(text, name)
        assert all(part in name for part in (method, subject, scanner))
    assert (
        pattern.fill(pattern.DEFAULT, method, subject, scanner) == f"{method}_{subject}_{scanner}"
    )


@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True))
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_cut_gives_other_numbers(subject, name, share):
    path = subject / name
    before, whole = measures(subject), path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    try:
        with pytest.raises(MeasurementError, match=re.escape(name)):
            measures(subject)
    finally:
        path.write_bytes(whole)
    assert measures(subject) == before


# Read in the files by a person: left and right thickness of the entorhinal and inferior temporal
# cortex (mm), left and right volume of hippocampus and amygdala (mm^3).
BY_HAND = {
    "ds000114/sub-01": (3.070, 2.501, 2.711, 2.287, 2936.0, 3006.9, 1001.3, 1504.0),  # 5.3
    "ds000114/sub-02": (3.110, 2.720, 2.726, 2.681, 3456.7, 3436.0, 1106.4, 1087.3),  # 5.3
    "NfMRIx/sub-01": (3.175, 3.142, 2.792, 2.772, 4281.6, 4440.5, 1681.3, 1628.7),  # 6
    "freesurfer-stats/soichi": (3.053, 3.171, 2.242, 2.380, 4333.5, 4328.9, 1549.1, 1665.5),  # 7.0
}


def real(tmp_path, folder):
    (tmp_path / "raw_01_A").symlink_to(STATS / folder, target_is_directory=True)
    return FreeSurfer().find(str(tmp_path), "raw", "01", "A")


@needs_shared
@pytest.mark.parametrize("folder", BY_HAND)
def test_a_person_reads_the_same(folder, tmp_path):
    found = FreeSurfer().measure(real(tmp_path, folder))
    numbers = BY_HAND[folder]
    sums = [numbers[i] + numbers[i + 1] for i in range(0, 8, 2)]
    expected = [*sums[:2], *(volume / 1000 for volume in sums[2:])]
    assert [m.value for m in found] == pytest.approx(expected)


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
    source = real(tmp_path, "freesurfer-stats/fabian")
    with pytest.raises(MeasurementError, match=r"expected stats/aseg\.stats.*raw_01_A"):
        FreeSurfer().measure(source)
