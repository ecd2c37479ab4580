"""FastSurfer's stats files: the two kinds of run, and the files that are not taken for others."""

import pytest

from harmobench.errors import MeasurementError
from harmobench.interface import FinishedMorphometry
from harmobench.tools.fastsurfer import FastSurfer

SEGMENTED = """# Title Segmentation Statistics
# NRows 4
# ColHeaders Index SegId NVoxels Volume_mm3 StructName normMean normStdDev normMin normMax normRange
1 17 4458 4281.6 Left-Hippocampus 69.39 8.67 25.0 106.0 81.0
2 18 1753 1681.3 Left-Amygdala 68.53 7.49 24.0 91.0 67.0
3 53 4624 4440.5 Right-Hippocampus 69.44 8.53 30.0 102.0 72.0
4 54 1684 1628.7 Right-Amygdala 67.56 6.87 35.0 91.0 56.0
"""
CORTEX = """# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg
entorhinal 673 463 2029 {entorhinal}
inferiortemporal 6436 4299 15641 {inferior}
"""
MAPPED = "{hemi}.aparc.DKTatlas.mapped.stats"
VOLUMES = tuple(
    {
        "name": name,
        "file": "aseg+DKT.stats",
        "row": f"{{side}}-{name.capitalize()}",
        "column": "Volume_mm3",
        "units": "ml",
    }
    for name in ("hippocampus", "amygdala")
)


@pytest.fixture
def stats(tmp_path):
    folder = tmp_path / "raw_01_GE" / "stats"
    folder.mkdir(parents=True)
    (folder / "aseg+DKT.stats").write_text(SEGMENTED)
    for hemi, entorhinal, inferior in (("lh", 3.151, 2.863), ("rh", 3.175, 2.792)):
        text = CORTEX.format(entorhinal=entorhinal, inferior=inferior)
        (folder / MAPPED.format(hemi=hemi)).write_text(text)
    return folder


def measures(stats, tool=None):
    tool = tool or FastSurfer()
    source = tool.find(str(stats.parents[1]), "raw", "01", "GE")
    return {m.structure: (m.value, m.units) for m in tool.measure(source)}


EXPECTED = {
    "entorhinal": (pytest.approx(6.326), "mm"),
    "inferior_temporal": (pytest.approx(5.655), "mm"),
    "hippocampus": (pytest.approx(8.7221), "ml"),
    "amygdala": (pytest.approx(3.3100), "ml"),
}


def test_reads_both_pipelines(stats):
    assert measures(stats) == EXPECTED
    tool: FinishedMorphometry = FastSurfer()
    assert {name: units for name, (_, units) in EXPECTED.items()} == tool.structures(())
    place = str(stats.parents[1])
    assert tool.find(place, "raw", "02", "GE") is None
    assert tool.unknown(place, []) == ["raw_01_GE"]
    assert tool.unknown(place, [("raw", "01", "GE")]) == []
    assert FastSurfer().check_place(place) is None
    assert "found none at" in FastSurfer().check_place(f"{place}/none")


def test_the_segmentations_own_table_comes_first(stats):
    (stats / "aseg.stats").write_text(SEGMENTED.replace("4281.6", "9999.9"))
    assert measures(stats) == EXPECTED


def test_an_older_run_has_its_volumes_in_aseg(stats):
    (stats / "aseg+DKT.stats").rename(stats / "aseg.stats")
    assert measures(stats) == EXPECTED


@pytest.mark.parametrize("other", ["{hemi}.aparc.stats", "{hemi}.aparc.DKTatlas.stats"])
def test_freesurfers_own_parcellation_is_no_replacement(stats, other):
    for hemi in ("lh", "rh"):
        (stats / MAPPED.format(hemi=hemi)).rename(stats / other.format(hemi=hemi))
    with pytest.raises(MeasurementError, match=r"lh\.aparc\.DKTatlas\.mapped\.stats"):
        measures(stats)


def test_a_segmentation_alone_says_so_and_gives_volumes_when_asked(stats):
    for hemi in ("lh", "rh"):
        (stats / MAPPED.format(hemi=hemi)).unlink()
    with pytest.raises(MeasurementError, match=r"found aseg\+DKT\.stats: the surface pipeline was"):
        measures(stats)
    found = measures(stats, FastSurfer(VOLUMES))
    assert found == {name: EXPECTED[name] for name in ("hippocampus", "amygdala")}


def test_one_missing_file_is_named(stats):
    (stats / MAPPED.format(hemi="rh")).unlink()
    with pytest.raises(MeasurementError, match=r"stats/rh\.aparc.*raw_01_GE.*let FastSurfer"):
        measures(stats)
    for path in stats.iterdir():
        path.unlink()
    with pytest.raises(MeasurementError, match="found none: let FastSurfer finish"):
        measures(stats)


def test_a_table_cut_short_is_refused(stats):
    path = stats / "aseg+DKT.stats"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(MeasurementError, match=r"expected 4 regions in aseg\+DKT\.stats.*found 3"):
        measures(stats)
