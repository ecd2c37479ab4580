"""FSL FAST as a segmenter, on an executable that behaves like it and goes wrong as it does."""

import errno
import time

import fake_programs as fake
import numpy as np
import pytest

from harmobench.errors import MeasurementError, SettingsError
from harmobench.imaging.volume import write_image
from harmobench.interface import Segmenter
from harmobench.tools import fsl
from harmobench.tools.fsl import FAST


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No FSL but the one that a test puts there."""
    monkeypatch.delenv("FSLDIR", raising=False)
    monkeypatch.delenv("FSLOUTPUTTYPE", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")


@pytest.fixture
def fsldir(tmp_path):
    folder = tmp_path / "fsl"
    fake.fast(folder / "share" / "fsl" / "bin" / "fast")
    (folder / "etc").mkdir()
    (folder / "etc" / "fslversion").write_text("6.0.3:b862cdd5\n")
    return folder


@pytest.fixture
def context(tmp_path):
    return fake.context_of(tmp_path)


def test_is_a_segmenter():
    tool: Segmenter = FAST()
    assert tool.reference.key == "zhang2001hmrf"


@pytest.mark.parametrize("posterior", [False, True])
def test_finds_the_tissues_in_their_order_and_leaves_nothing(tmp_path, context, fsldir, posterior):
    scan = fake.scan_of(tmp_path)
    maps = FAST(fsldir=str(fsldir), posterior=posterior).segment(scan, context)
    assert list(maps) == ["csf", "gm", "wm"]
    assert fake.errs(maps) < 0.02
    for tissue in maps.values():
        assert tissue.dtype == np.float32
        assert (tissue[~scan.brain()] == 0).all()
        assert tissue.max() == np.float32(0.9 if posterior else 1)
    assert list(context.scratch.iterdir()) == []
    log = context.log.read_text()
    assert f"FSLDIR is {fsldir}" in log
    assert ("-p" in log.split()) == posterior


def test_places_where_fsl_is_looked_for(tmp_path, monkeypatch, fsldir):
    assert FAST(fsldir=str(fsldir)).available() is None
    assert "FSLDIR is not set" in FAST().available()
    monkeypatch.setenv("FSLDIR", str(fsldir))
    assert FAST().available() is None
    assert FAST().version() == "FSL FAST 6.0.3:b862cdd5"
    missing = FAST(fsldir=str(tmp_path / "elsewhere")).available()
    assert str(tmp_path / "elsewhere") in missing
    assert "fsl-fast.fsldir=DIR" in missing
    assert 'fsl-fast.prefix="apptainer exec -B {dir} fsl.sif"' in missing


def test_a_named_folder_without_fast_is_not_replaced_by_path(tmp_path):
    fake.fast(tmp_path / "path" / "fast")
    assert FAST().available() is None
    assert FAST(fsldir=str(tmp_path)).available() is not None


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("Part of FSL (ID: 6.0.7.4)", "FSL FAST 6.0.7.4"),
        ("Part of FSL (build 509)", "FSL FAST 509"),
        ('Part of FSL (ID: "")', "FSL FAST, version unknown"),
        ("A program of another kind", "FSL FAST, version unknown"),
    ],
)
def test_version_from_what_fast_prints(tmp_path, banner, version):
    fake.fast(tmp_path / "path" / "fast", banner=banner.replace('"', '\\"'))
    assert FAST().version() == version


def test_version_beside_the_program_on_path(tmp_path, fsldir, monkeypatch):
    monkeypatch.setenv("PATH", f"{fsldir / 'share' / 'fsl' / 'bin'}:/usr/bin:/bin")
    assert FAST().version() == "FSL FAST 6.0.3:b862cdd5"
    monkeypatch.setenv("FSLDIR", "/nowhere")  # what runs counts, not what is named
    assert FAST().version() == "FSL FAST 6.0.3:b862cdd5"


def test_behind_a_container(tmp_path, context):
    fake.fast(tmp_path / "inside" / "fast", banner="Part of FSL (ID: 6.0.5)")
    fake.apptainer(tmp_path / "path" / "apptainer", tmp_path / "inside")
    tool = FAST(prefix="apptainer exec -B {dir} tool.sif")
    assert tool.available() is None
    assert tool.version() == "FSL FAST 6.0.5"
    maps = tool.segment(fake.scan_of(tmp_path), context)  # .nii: it does not get FSLOUTPUTTYPE
    assert fake.errs(maps) < 0.02
    assert f"bound {context.scratch}" in context.log.read_text()
    within = FAST(prefix=tool.prefix, fsldir=str(tmp_path / "fsl6"))
    fake.fast(tmp_path / "fsl6" / "bin" / "fast")
    assert fake.errs(within.segment(fake.scan_of(tmp_path), context)) < 0.02


def test_a_container_that_is_not_there(tmp_path, context):
    missing = FAST(prefix="apptainer exec -B {dir} tool.sif").available()
    assert "behind the prefix" in missing
    fake.apptainer(tmp_path / "path" / "apptainer", tmp_path / "inside")
    tool = FAST(prefix="apptainer exec -B {dir} other.sif")
    assert tool.version() == "FSL FAST, version unknown"
    with pytest.raises(MeasurementError, match=r"status 0, found 255.*could not open image"):
        tool.segment(fake.scan_of(tmp_path), context)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("truncated", "expected a whole map of wm from FSL FAST, found a damaged or truncated"),
        ("shape", r"found \(19, 22, 18\) voxels where the image has \(20, 22, 18\)"),
        ("nan", "map of wm from FSL FAST, found voxels that are NaN"),
        ("255", "values from 0 to 255, which are no probabilities"),
        ("empty", r"found an empty tissue class \(wm\)"),
        ("nothing", r"map of csf \(out_pve_0.nii\), found none; it said last: .*the real reason"),
        ("fail", "expected fast to end with status 0, found 1; it said last: .*the real reason"),
        ("full", "No space left on device"),
        ("killed", r"it was killed \(SIGKILL; out of memory\?\)"),
    ],
)
def test_what_goes_wrong_in_fast(tmp_path, context, mode, message):
    fake.fast(tmp_path / "path" / "fast", mode)
    with pytest.raises(MeasurementError, match=message) as caught:
        FAST().segment(fake.scan_of(tmp_path), context)
    assert str(tmp_path) not in str(caught.value)
    assert list(context.scratch.iterdir()) == []
    assert "-t 1 -n 3 -N" in context.log.read_text()


def test_time_limit(tmp_path, context):
    fake.fast(tmp_path / "path" / "fast", "slow")
    start = time.monotonic()
    with pytest.raises(MeasurementError, match=r"within 0.01 minutes, found it still at work"):
        FAST(minutes=0.01).segment(fake.scan_of(tmp_path), context)
    assert time.monotonic() - start < 8


def test_disk_full_while_the_image_is_written(tmp_path, context, monkeypatch):
    fake.fast(tmp_path / "path" / "fast")
    scan = fake.scan_of(tmp_path)

    def full(path, *_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(fsl, "write_image", full)
    with pytest.raises(MeasurementError, match=r"found: No space left on device; .*TMPDIR"):
        FAST().segment(scan, context)
    assert list(context.scratch.iterdir()) == []


def test_no_fast_when_the_task_runs(tmp_path, context):
    with pytest.raises(MeasurementError, match="needs FSL's program fast, which was not found"):
        FAST().segment(fake.scan_of(tmp_path), context)


@pytest.mark.parametrize("name", ["with space", 'Anne\'s "scans"', "Ren\u00e9 \u8133"])
def test_any_scratch_folder(tmp_path, fsldir, name):
    scan = fake.scan_of(tmp_path)
    context = fake.context_of(tmp_path / name)
    assert fake.errs(FAST(fsldir=str(fsldir)).segment(scan, context)) < 0.02


def test_values_a_little_off_are_clipped_and_the_background_is_zero(tmp_path):
    brain = np.zeros((4, 4, 4), bool)
    brain[1:3, 1:3, 1:3] = True
    voxels = np.full((4, 4, 4), 1.0009, np.float32)
    voxels[1, 1, 1] = -0.0009
    grid = fake.Grid.make(voxels.shape, np.eye(4))
    write_image(tmp_path / "out_pve_0.nii.gz", voxels, grid)
    maps = fsl.exchange.read_maps({"csf": tmp_path / "out_pve_0"}, brain, "FSL FAST")
    assert set(np.unique(maps["csf"])) == {0, 1}
    assert (maps["csf"] > 0).sum() == brain.sum() - 1


def test_a_map_whose_checksum_does_not_fit(tmp_path):
    brain = np.ones((40, 40, 40), bool)  # so large that nibabel stops before the end
    path = tmp_path / "out_pve_0.nii.gz"
    write_image(path, brain.astype(np.float32), fake.Grid.make(brain.shape, np.eye(4)))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # the first byte of the checksum, behind the last voxel
    path.write_bytes(data)
    with pytest.raises(MeasurementError, match=r"found a damaged or truncated out_pve_0.nii.gz"):
        fsl.exchange.read_maps({"csf": tmp_path / "out_pve_0"}, brain, "FSL FAST")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": 0}, "minutes: expected a number above 0, found 0"),
        ({"posterior": "yes"}, "posterior: expected true or false"),
        ({"prefix": "apptainer 'exec"}, "fsl-fast.prefix"),
    ],
)
def test_parameters_that_cannot_be_used(tmp_path, context, settings, message):
    tool = FAST(**settings)
    with pytest.raises(SettingsError, match=message):
        tool.available()
    with pytest.raises(SettingsError, match=message):
        tool.segment(fake.scan_of(tmp_path), context)
