"""Tables of asegstats2table and aparcstats2table: cells found, and the ways in which they break."""

import re

import pytest

from harmobench.errors import MeasurementError, SettingsError
from harmobench.interface import FinishedMorphometry, Source
from harmobench.tools.freesurfer_tables import FreeSurferTables

ASEG = {
    "Left-Lateral-Ventricle": (8000.0, 8100.0),
    "Left-Hippocampus": (4281.6, 4300.1),
    "Left-Amygdala": (1681.3, 1700.2),
    "Right-Hippocampus": (4440.5, 4450.7),
    "Right-Amygdala": (1628.7, 1630.9),
    "EstimatedTotalIntraCranialVol": (1523456.7, 1523000.1),
}
LEFT = {"lh_entorhinal_thickness": (3.151, 3.2), "lh_inferiortemporal_thickness": (2.863, 2.9)}
RIGHT = {"rh_entorhinal_thickness": (3.175, 3.3), "rh_inferiortemporal_thickness": (2.792, 2.8)}
ROWS = ("raw_01_GE", "raw_01_Siemens")
TABLES = {
    "vol.txt": ("Measure:volume", ASEG),
    "left.txt": ("lh.aparc.thickness", LEFT),
    "right.txt": ("rh.aparc.thickness", RIGHT),
}
SCANS = [("raw", "01", "GE"), ("raw", "01", "Siemens")]


def write(folder, rows=ROWS, delimiter="\t", tables=TABLES):
    folder.mkdir(exist_ok=True)
    for name, (first, columns) in tables.items():
        lines = [[first, *columns]]
        lines += [[row, *(f"{v[i]}" for v in columns.values())] for i, row in enumerate(rows)]
        text = "\n".join(delimiter.join(line) for line in lines) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "tables")


def measures(place, *scan):
    tool = FreeSurferTables()
    return {m.structure: (m.value, m.units) for m in tool.measure(tool.find(str(place), *scan))}


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


FIRST = {
    "entorhinal": (pytest.approx(6.326), "mm"),
    "inferior_temporal": (pytest.approx(5.655), "mm"),
    "hippocampus": (pytest.approx(8.7221), "ml"),
    "amygdala": (pytest.approx(3.3100), "ml"),
}


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", " "])
def test_finds_cells_whatever_parts_them(tmp_path, delimiter):
    place = write(tmp_path / "tables", delimiter=delimiter)
    assert measures(place, "raw", "01", "GE") == FIRST
    second = measures(place, "raw", "01", "Siemens")
    assert second["hippocampus"] == (pytest.approx(8.7508), "ml")
    tool: FinishedMorphometry = FreeSurferTables()
    assert list(tool.structures(())) == list(FIRST)


def test_source_names_tables_and_row(folder):
    (folder / "readme.txt").write_text("about these tables\n")
    (folder / "other.txt").write_text("lh.aparc.area\tlh_entorhinal_area\nraw_01_GE\t463\n")
    found = FreeSurferTables().find(str(folder), "raw", "01", "GE")
    assert found == Source({name: folder / name for name in sorted(TABLES)}, "raw_01_GE")
    assert FreeSurferTables().find(str(folder), "ravel", "01", "GE") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"raw_01_GE\t", b"raw_01_GE/\t"),
        lambda data: data.replace(b"raw_01_GE\t", b"/data/fs/raw_01_GE\t"),
        lambda data: data + b"\n",
    ],
)
def test_other_ways_to_write_the_same(folder, change):
    for path in folder.iterdir():
        path.write_bytes(change(path.read_bytes()))
    assert measures(folder, "raw", "01", "GE") == FIRST
    assert FreeSurferTables().unknown(str(folder), SCANS) == []


def test_rows_of_the_users_own(tmp_path):
    rows = ("Zoë 1@GE à Lyon.raw", "Zoë 2@GE à Lyon.raw")
    place = write(tmp_path / "my tables", rows)
    text = f"{place}:{{subject}}@{{scanner}}.{{method}}"
    assert measures(text, "raw", "Zoë 1", "GE à Lyon") == FIRST
    scan = ("raw", "Zoë 1", "GE à Lyon")
    assert FreeSurferTables().unknown(text, [scan]) == ["Zoë 2@GE à Lyon.raw"]
    assert FreeSurferTables().check_place(text) is None


def test_a_folder_for_each_method(tmp_path):
    for method in ("raw", "ravel"):
        write(tmp_path / method, ("01_GE", "02_GE"))
    place = f"{tmp_path}/{{method}}:{{subject}}_{{scanner}}"
    assert measures(place, "ravel", "01", "GE") == FIRST
    scans = [("raw", "01", "GE"), ("ravel", "02", "GE"), ("raw", "02", "GE")]
    assert FreeSurferTables().unknown(place, scans) == ["ravel:01_GE"]
    assert FreeSurferTables().find(place, "mispel", "01", "GE") is None


def test_a_table_for_each_method_in_one_folder(folder):
    more = {f"ravel-{name}": table for name, table in TABLES.items()}
    write(folder, ("ravel_01_GE", "ravel_02_GE"), tables=more)
    assert measures(folder, "raw", "01", "GE") == FIRST
    assert measures(folder, "ravel", "01", "GE") == FIRST


def test_the_row_in_two_alike_tables_is_refused(folder):
    write(folder, tables={"again.txt": TABLES["vol.txt"]})
    with pytest.raises(MeasurementError, match=r"Measure:volume.*found again\.txt, vol\.txt"):
        measures(folder, "raw", "01", "GE")


def test_another_table_of_volumes_is_no_rival(folder):
    write(folder, tables={"wm.txt": ("Measure:volume", {"wm-lh-bankssts": (2420.0, 2421.0)})})
    assert measures(folder, "raw", "01", "GE") == FIRST


def test_unknown_rows_are_named(folder):
    assert FreeSurferTables().unknown(str(folder), SCANS[:1]) == ["raw_01_Siemens"]
    edit(folder / "vol.txt", "raw_01_GE", "fsaverage")
    assert FreeSurferTables().unknown(str(folder), SCANS) == []


@pytest.mark.parametrize("name", TABLES)
def test_a_row_or_table_that_is_missing_fails(folder, name):
    edit(folder / name, "raw_01_GE", "raw_02_GE")
    with pytest.raises(MeasurementError, match=re.escape(TABLES[name][0]) + ".*found none"):
        measures(folder, "raw", "01", "GE")
    (folder / name).unlink()
    with pytest.raises(MeasurementError, match=re.escape(TABLES[name][0]) + ".*found none"):
        measures(folder, "raw", "01", "GE")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "vol.txt",
            "Left-Amygdala",
            "Amygdala",
            "column Left-Amygdala once in vol.txt, found it 0",
        ),
        ("vol.txt", "Left-Lateral-Ventricle", "Left-Amygdala", "once in vol.txt, found it 2"),
        ("vol.txt", "raw_01_Siemens", "raw_01_GE", "row raw_01_GE once in vol.txt, found it 2"),
        ("vol.txt", "4281.6", "NaN", "Left-Hippocampus of raw_01_GE in vol.txt, found 'NaN'"),
        ("left.txt", "3.151", "", "found ''"),
        ("left.txt", "3.151", "0", "found '0'"),
        ("left.txt", "3.151\t", "", "expected 3 cells in row 2 of left.txt, found 2"),
    ],
)
def test_a_damaged_table_is_refused(folder, name, old, new, message):
    edit(folder / name, old, new)
    with pytest.raises(MeasurementError) as error:
        measures(folder, "raw", "01", "GE")
    assert message in str(error.value)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("cut", [1, 2, 9])
def test_a_table_cut_short_is_refused(folder, name, cut):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(MeasurementError, match=f"{name}.*cut short"):
        measures(folder, "raw", "01", "GE")


def test_turned_tables_are_refused(folder):
    for path in folder.iterdir():
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        path.write_text("\n".join("\t".join(cells) for cells in zip(*lines, strict=True)) + "\n")
    with pytest.raises(MeasurementError, match="without --transpose"):
        measures(folder, "raw", "01", "GE")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", None),
        (":{method}-{subject}-{scanner}", None),
        ("/none", "found none at"),
        (":{subject}-{scanner}", r"found no \{method\}"),
        (":{method}-{subject}-{scanner}-{visit}", r"found \{visit\}"),
    ],
)
def test_a_place_is_checked(folder, place, message):
    found = FreeSurferTables().check_place(f"{folder}{place}")
    assert (found is None) == (message is None)
    assert message is None or re.search(message, found)


def test_biomarkers_map_to_columns(folder):
    own = {"name": "gray", "file": "{hemi}.aparc.DKTatlas.stats", "row": "insula"}
    own |= {"column": "GrayVol", "units": "ml"}
    for hemi in ("lh", "rh"):
        table = (f"{hemi}.aparc.DKTatlas.volume", {f"{hemi}_insula_volume": (7000.0, 8000.0)})
        write(folder, tables={f"{hemi}-gray.txt": table})
    tool = FreeSurferTables((own,))
    (found,) = tool.measure(tool.find(str(folder), "raw", "01", "GE"))
    assert (found.structure, found.value, found.units) == ("gray", pytest.approx(14.0), "ml")
    assert tool.structures(()) == {"gray": "ml"}
    with pytest.raises(SettingsError, match=r"biomarker gray: expected a file such as aseg\.stats"):
        FreeSurferTables((own | {"column": "volume"},)).structures(())
