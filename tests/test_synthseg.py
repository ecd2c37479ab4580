"""SynthSeg's CSV of volumes, as its own code writes it, and the ways in which it breaks."""

import re

import pytest

from harmobench.errors import MeasurementError, SettingsError
from harmobench.interface import FinishedMorphometry, Source
from harmobench.tools.synthseg import SynthSeg

COLUMNS = {
    "total intracranial": ("1523456.7", "1523000.1"),
    "left cerebral white matter": ("215000.5", "215100.5"),
    "left hippocampus": ("4281.6", "4300.1"),
    "left amygdala": ("1681.3", "1700.2"),
    "right hippocampus": ("4440.5", "4450.7"),
    "right amygdala": ("1628.7", "1630.9"),
    "ctx-lh-entorhinal": ("2029.0", "2030.0"),
    "ctx-rh-entorhinal": ("2129.0", "2130.0"),
}
FIRST = {
    "hippocampus": (pytest.approx(8.7221), "ml"),
    "amygdala": (pytest.approx(3.3100), "ml"),
}
SCANS = [("raw", "01", "GE"), ("raw", "01", "Siemens")]


def text(rows=("raw_01_GE", "raw_01_Siemens"), first="subject", end="\r\n"):
    lines = [[first, *COLUMNS]]
    lines += [[row, *(v[i] for v in COLUMNS.values())] for i, row in enumerate(rows)]
    return "".join(",".join(line) + end for line in lines)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "volumes.csv"
    path.write_bytes(text().encode())
    return path


def measures(place, *scan, tool=None):
    tool = tool or SynthSeg()
    return {m.structure: (m.value, m.units) for m in tool.measure(tool.find(str(place), *scan))}


def test_reads_the_two_volumes(path):
    assert measures(path, "raw", "01", "GE") == FIRST
    assert measures(path, "raw", "01", "Siemens")["amygdala"] == (pytest.approx(3.3311), "ml")
    tool: FinishedMorphometry = SynthSeg()
    assert tool.structures(()) == {"hippocampus": "ml", "amygdala": "ml"}
    assert tool.find(str(path), *SCANS[0]) == Source({"volumes.csv": path}, "raw_01_GE")
    assert tool.find(str(path), "ravel", "01", "GE") is None
    assert tool.unknown(str(path), SCANS) == []
    assert tool.unknown(str(path), SCANS[1:]) == ["raw_01_GE"]


@pytest.mark.parametrize(
    "data",
    [
        text(end="\n").encode(),
        text(end="\r\r\n").encode(),  # Python's csv on Windows
        text(first="").encode(),
        text(rows=("raw_01_GE.mgz", "raw_01_Siemens.nii")).encode(),
        text(rows=("/input/raw_01_GE.nii.gz", "/input/raw_01_Siemens.nii.gz")).encode(),
        b"\xef\xbb\xbf" + text().encode(),
    ],
)
def test_other_ways_to_write_the_same(path, data):
    path.write_bytes(data)
    assert measures(path, "raw", "01", "GE") == FIRST
    assert SynthSeg().unknown(str(path), SCANS) == []


def test_a_file_for_each_method_and_rows_of_the_users_own(tmp_path):
    for method in ("raw", "ravel"):
        folder = tmp_path / "my étude" / method
        folder.mkdir(parents=True)
        (folder / "v.csv").write_text(text(("Zoë 1@GE_T1w", "2@GE_T1w")), encoding="utf-8")
    place = f"{tmp_path}/my étude/{{method}}/v.csv:{{subject}}@{{scanner}}_T1w"
    assert measures(place, "ravel", "Zoë 1", "GE") == FIRST
    assert SynthSeg().find(place, "mispel", "Zoë 1", "GE") is None
    assert SynthSeg().check_place(place) is None
    scans = [("raw", "Zoë 1", "GE"), ("raw", "2", "GE"), ("ravel", "2", "GE")]
    assert SynthSeg().unknown(place, scans) == ["ravel/v.csv:Zoë 1@GE_T1w"]


def test_cortical_volumes_when_asked(path):
    own = {"name": "entorhinal_volume", "file": "synthseg", "row": "ctx-{hemi}-entorhinal"}
    own |= {"column": "volume", "units": "ml"}
    tool = SynthSeg((own,))
    assert tool.structures(()) == {"entorhinal_volume": "ml"}
    found = measures(path, "raw", "01", "GE", tool=tool)
    assert found == {"entorhinal_volume": (pytest.approx(4.158), "ml")}


@pytest.mark.parametrize(
    "change",
    [{"file": "aseg.stats"}, {"column": "ThickAvg", "units": "mm"}, {"column": "Volume_mm3"}],
)
def test_what_synthseg_has_not_is_refused(change):
    own = {"name": "x", "file": "synthseg", "row": "csf", "column": "volume", "units": "ml"}
    with pytest.raises(SettingsError, match="biomarker x: expected file = 'synthseg'"):
        SynthSeg((own | change,)).structures(())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left amygdala", "left amygdalum", "column Left amygdala once in volumes.csv, found it 0"),
        ("raw_01_Siemens", "raw_01_GE", "row raw_01_GE once in volumes.csv, found it 2"),
        ("1681.3", "0.0", "found '0.0'"),
        ("1681.3", "inf", "found 'inf'"),
        ("1681.3,", "", "expected 9 cells in row 2 of volumes.csv, found 8"),
        ("subject", "name", "header begins with 'subject,'"),
    ],
)
def test_a_damaged_file_is_refused(path, old, new, message):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MeasurementError) as error:
        measures(path, "raw", "01", "GE")
    assert message in str(error.value)


@pytest.mark.parametrize("cut", [2, 3, 12, 40])
def test_a_file_cut_short_is_refused(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(MeasurementError, match=r"volumes\.csv.*cut short"):
        measures(path, "raw", "01", "GE")


def test_an_empty_file_is_refused_by_measure_alone(path):
    path.write_bytes(b"")
    assert SynthSeg().unknown(str(path), SCANS) == []
    with pytest.raises(MeasurementError, match="found an empty file"):
        measures(path, "raw", "01", "GE")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("volumes.csv", None),
        ("{method}/volumes.csv:{subject}-{scanner}", None),
        ("none.csv", "found none at"),
        ("none/{method}.csv:{subject}_{scanner}", "found none at"),
        ("volumes.csv:{subject}_{scanner}", r"found no \{method\}"),
        ("volumes.csv:{method}_{subject}_{scanner}_{run}", r"found \{run\}"),
    ],
)
def test_a_place_is_checked(path, place, message):
    found = SynthSeg().check_place(str(path.parent / place))
    assert (found is None) == (message is None)
    assert message is None or re.search(message, found)
