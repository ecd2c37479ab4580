"""biomarkers.toml: what is read, and what is refused."""

import json

import pytest

from harmobench.errors import SettingsError
from harmobench.tools.biomarkers import FREESURFER, biomarkers_of, read_biomarkers, units_of

ONE = {
    "name": "entorhinal",
    "file": "{hemi}.aparc.stats",
    "row": "entorhinal",
    "column": "ThickAvg",
    "units": "mm",
    "combine": "sum",
}


def write(path, *entries):
    lines = []
    for entry in entries:
        lines += [
            "[[biomarker]]",
            *(f"{key} = {json.dumps(value)}" for key, value in entry.items()),
        ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_reads_plain_data_that_a_key_can_have(tmp_path):
    volume = ONE | {"name": "cc", "file": "aseg.stats", "row": "CC_Central"}
    volume |= {"column": "Volume_mm3", "units": "ml", "combine": "mean"}
    found = read_biomarkers(write(tmp_path / "b.toml", ONE, volume))
    assert found == (ONE, volume)
    assert json.loads(json.dumps(found)) == [ONE, volume]
    assert units_of(found) == {"entorhinal": "mm", "cc": "ml"}


def test_combine_is_the_papers_sum_where_nothing_is_said(tmp_path):
    short = {key: value for key, value in ONE.items() if key != "combine"}
    assert read_biomarkers(write(tmp_path / "b.toml", short)) == (ONE,)


def test_the_papers_four():
    assert units_of(FREESURFER) == {
        "entorhinal": "mm",
        "inferior_temporal": "mm",
        "hippocampus": "ml",
        "amygdala": "ml",
    }
    places = {marker.structure: marker.places for marker in biomarkers_of(FREESURFER)}
    assert places["inferior_temporal"] == (
        ("lh.aparc.stats", "inferiortemporal"),
        ("rh.aparc.stats", "inferiortemporal"),
    )
    assert places["amygdala"] == (("aseg.stats", "Left-Amygdala"), ("aseg.stats", "Right-Amygdala"))


@pytest.mark.parametrize(
    ("change", "values", "expected"),
    [
        ({}, (3.0, 2.0), 5.0),
        ({"combine": "mean"}, (3.0, 2.0), 2.5),
        ({"column": "GrayVol", "units": "ml"}, (3000.0, 2000.0), 5.0),
        ({"column": "GrayVol", "units": "ml", "combine": "mean"}, (3000.0, 2000.0), 2.5),
    ],
)
def test_hemispheres_are_combined_and_scaled(change, values, expected):
    (marker,) = biomarkers_of([ONE | change])
    assert marker.value(values) == pytest.approx(expected)


def test_without_hemisphere_it_is_one_value():
    (marker,) = biomarkers_of([ONE | {"file": "aseg.stats", "row": "CC_Central"}])
    assert marker.places == (("aseg.stats", "CC_Central"),)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (ONE | {"unit": "mm"}, "found 'unit'; is 'units' meant?"),
        ({k: v for k, v in ONE.items() if k != "row"}, "expected a key 'row', found none"),
        (ONE | {"row": 3}, "row: expected a text that is not empty, found 3"),
        (ONE | {"row": " "}, "row: expected a text that is not empty"),
        (ONE | {"combine": "max"}, "combine: expected sum or mean, found 'max'"),
        (ONE | {"units": "cm"}, "units: expected mm of ThickAvg, found 'cm'"),
        (ONE | {"column": "Volume_mm3"}, "units: expected ml of Volume_mm3, found 'mm'"),
        (ONE | {"column": "SurfArea"}, "column: expected ThickAvg or"),
        (ONE | {"file": "{side.aparc.stats"}, "no braces but {hemi} and {side}, found {side."),
        (ONE | {"row": "{subject}"}, "found {subject}"),
        (ONE | {"file": "../x.stats"}, "without folder, found '../x.stats'"),
        (ONE | {"name": "left hippocampus"}, "name: expected letters"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, entry, message):
    path = write(tmp_path / "mine.toml", entry)
    with pytest.raises(SettingsError) as error:
        read_biomarkers(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "biomarker 1" in str(error.value)
    with pytest.raises(SettingsError):
        biomarkers_of([entry])


def test_all_faults_come_at_once(tmp_path):
    path = write(tmp_path / "b.toml", ONE | {"units": "cm"}, ONE | {"row": 3}, ONE)
    with pytest.raises(SettingsError) as error:
        read_biomarkers(path)
    for part in ("biomarker 1: units", "biomarker 2: row", "'entorhinal' once"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one"),
        ("biomarker = 3", "found biomarker = 3"),
        ("biomarker = [3]", "found biomarker = [3]"),
        ("[[biomarkers]]\nname = 'x'", "found biomarkers"),
        ("[[biomarker]\n", "expected TOML"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "b.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as error:
        read_biomarkers(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00"])
def test_no_readable_file_is_refused(tmp_path, data):
    path = tmp_path / "b.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"b\.toml: expected"):
        read_biomarkers(path)
