"""SPM12 as a segmenter, on executables that behave like its runners and go wrong as they do."""

import errno
import re
import time

import fake_programs as fake
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.errors import MeasurementError, SettingsError
from harmobench.imaging.volume import Grid
from harmobench.interface import Segmenter
from harmobench.tools import spm, spm_batch
from harmobench.tools.spm import SPM12

RUNNERS = ("standalone", "matlab", "octave")


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No SPM12 but the one that a test puts there."""
    for name in ("SPM12_HOME", "MCR_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")


@pytest.fixture
def context(tmp_path):
    return fake.context_of(tmp_path)


def install(folder, runner, mode=""):
    """Put a runner there and return the settings that find it."""
    home = fake.spm_home(folder / "spm12")
    if runner == "standalone":
        fake.standalone(home / "run_spm12.sh", mode)
        (folder / "mcr").mkdir(exist_ok=True)
        return {"home": str(home), "mcr": str(folder / "mcr"), "runner": runner}
    getattr(fake, runner)(folder / "path" / runner, mode)
    return {"home": str(home), "runner": runner}


def test_is_a_segmenter():
    tool: Segmenter = SPM12()
    assert tool.reference.doi == "10.1016/j.neuroimage.2005.02.018"


@pytest.mark.parametrize("runner", RUNNERS)
def test_finds_the_tissues_in_their_order_and_leaves_nothing(tmp_path, context, runner):
    scan = fake.scan_of(tmp_path)
    tool = SPM12(**install(tmp_path, runner))
    assert tool.available() is None
    assert tool.version() == f"SPM12, version 7771 ({runner})"
    maps = tool.segment(scan, context)
    assert sorted(maps) == ["csf", "gm", "wm"]
    assert fake.errs(maps) < 0.02
    for tissue in maps.values():
        assert tissue.dtype == np.float32
        assert (tissue[~scan.brain()] == 0).all()
    assert list(context.scratch.iterdir()) == []
    log = context.log.read_text()
    assert "bias 10 Inf" in log
    centre = [float(x) for x in re.search("centre (.*)", log)[1].split()]
    assert centre == pytest.approx(spm_batch.MNI_CENTRE, abs=0.01)
    assert ("threads True" in log) == (runner == "matlab")


def test_bias_correction_as_asked(tmp_path, context):
    tool = SPM12(**install(tmp_path, "octave"), biasreg=0.001, biasfwhm=60)
    tool.segment(fake.scan_of(tmp_path), context)
    assert "bias 0.001 60" in context.log.read_text()


def test_auto_takes_the_first_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SPM12_HOME", str(tmp_path / "spm12"))
    missing = SPM12().available()
    for words in ("no run_spm12.sh in", "no matlab on PATH", "no octave on PATH", "spm12.home=DIR"):
        assert words in missing
    install(tmp_path, "octave")
    assert SPM12().version() == "SPM12, version 7771 (octave)"
    install(tmp_path, "matlab")
    assert SPM12().version() == "SPM12, version 7771 (matlab)"
    install(tmp_path, "standalone")
    assert SPM12().version() == "SPM12, version 7771 (matlab)"  # without a runtime
    monkeypatch.setenv("MCR_HOME", str(tmp_path / "mcr"))
    assert SPM12().version() == "SPM12, version 7771 (standalone)"


@pytest.mark.parametrize("absent", ["tpm/TPM.nii", "spm.m"])
def test_a_folder_that_is_not_whole(tmp_path, absent):
    settings = install(tmp_path, "octave")
    (tmp_path / "spm12" / absent).unlink()
    assert f"no {absent} in {tmp_path / 'spm12'}" in SPM12(**settings).available()


def test_octave_without_a_folder_and_standalone_without_its_runtime(tmp_path):
    install(tmp_path, "octave")
    assert "no folder of SPM12" in SPM12(runner="octave").available()
    settings = install(tmp_path, "standalone") | {"mcr": ""}
    assert "no MATLAB runtime" in SPM12(**settings).available()
    settings["mcr"] = str(tmp_path / "none")
    assert "there is no folder" in SPM12(**settings).available()


def test_version_of_a_packed_standalone_and_of_an_unknown_one(tmp_path):
    settings = install(tmp_path, "standalone")
    (tmp_path / "spm12" / "Contents.m").unlink()
    assert SPM12(**settings).version() == "SPM12, version 7771 (standalone)"
    settings = install(tmp_path, "octave")
    fake.spm_home(tmp_path / "spm12", "nothing of use\n")
    assert SPM12(**settings).version() == "SPM12, version unknown (octave)"
    fake.spm_home(tmp_path / "spm12", "% Version 25.01.02 (SPM25) 31-Jan-2025\n")
    assert SPM12(**settings).version() == "SPM25, version 25.01.02 (octave)"


@pytest.mark.parametrize("runner", RUNNERS)
def test_behind_a_container(tmp_path, context, runner):
    settings = install(tmp_path, runner)
    (tmp_path / "path").rename(tmp_path / "inside") if runner != "standalone" else None
    fake.apptainer(tmp_path / "path" / "apptainer", tmp_path / "inside")
    tool = SPM12(**settings, prefix="apptainer exec -B {dir} tool.sif")
    assert tool.available() is None
    assert tool.version() == f"SPM12, version 7771 ({runner})"
    assert fake.errs(tool.segment(fake.scan_of(tmp_path), context)) < 0.02
    assert f"bound {context.scratch}" in context.log.read_text()


def test_a_container_that_is_not_there():
    missing = SPM12(prefix="apptainer exec tool.sif", runner="octave").available()
    assert "begins with no program on PATH" in missing
    with pytest.raises(SettingsError, match="where there is a prefix, found 'auto': name the one"):
        SPM12(prefix="apptainer exec tool.sif").available()


def test_octave_that_raises_when_it_exits(tmp_path, context):
    tool = SPM12(**install(tmp_path, "octave", "raise_at_exit"))
    assert fake.errs(tool.segment(fake.scan_of(tmp_path), context)) < 0.02
    assert "terminate called" in context.log.read_text()


@pytest.mark.parametrize(
    ("runner", "mode", "message"),
    [
        ("octave", "truncated", "expected a whole map of csf from SPM12, found a damaged"),
        ("octave", "shape", r"found \(19, 22, 18\) voxels where the image has \(20, 22, 18\)"),
        ("octave", "nan", "map of csf from SPM12, found voxels that are NaN"),
        ("matlab", "255", "values from 0 to 255, which are no probabilities"),
        ("matlab", "empty", r"found an empty tissue class \(csf\)"),
        ("octave", "nothing", r"map of csf \(c3t1.nii\), found none; it said last: .*real reason"),
        ("standalone", "nothing", "found none; it said last: .*the real reason"),
        ("matlab", "fail", "matlab to end with status 0, found 1; it said last: .*real reason"),
        ("standalone", "full", "No space left on device"),
        ("octave", "killed", r"octave .* was killed \(SIGKILL; out of memory\?\)"),
    ],
)
def test_what_goes_wrong_in_spm(tmp_path, context, runner, mode, message):
    tool = SPM12(**install(tmp_path, runner, mode))
    with pytest.raises(MeasurementError, match=message) as caught:
        tool.segment(fake.scan_of(tmp_path), context)
    assert str(tmp_path) not in str(caught.value)
    assert list(context.scratch.iterdir()) == []


def test_time_limit(tmp_path, context):
    tool = SPM12(**install(tmp_path, "octave", "slow"), minutes=0.01)
    start = time.monotonic()
    with pytest.raises(MeasurementError, match=r"within 0.01 minutes, found it still at work"):
        tool.segment(fake.scan_of(tmp_path), context)
    assert time.monotonic() - start < 8


def test_disk_full_while_the_image_is_written(tmp_path, context, monkeypatch):
    tool, scan = SPM12(**install(tmp_path, "octave")), fake.scan_of(tmp_path)

    def full(path, *_):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(spm, "write_image", full)
    with pytest.raises(MeasurementError, match=r"found: No space left on device; .*TMPDIR"):
        tool.segment(scan, context)


def test_no_spm_when_the_task_runs(tmp_path, context):
    with pytest.raises(MeasurementError, match="SPM12 was not found"):
        SPM12().segment(fake.scan_of(tmp_path), context)


@pytest.mark.parametrize("runner", RUNNERS)
def test_any_folder(tmp_path, runner):
    odd = tmp_path / 'Anne\'s "old" scans, Ren\u00e9 \u8133'
    odd.mkdir()
    context, scan = fake.context_of(odd), fake.scan_of(odd)
    settings = install(odd, runner)
    if runner != "standalone":
        (odd / "path").rename(tmp_path / "path")
    assert fake.errs(SPM12(**settings).segment(scan, context)) < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runner": "python"}, "runner: expected auto or standalone or matlab or octave"),
        ({"minutes": -1}, "minutes: expected a number above 0, found -1"),
        ({"biasreg": 3}, "biasreg: expected one of 0, 1e-05"),
        ({"biasfwhm": 65}, "biasfwhm: expected 0"),
        ({"prefix": "apptainer 'exec"}, "spm12.prefix"),
    ],
)
def test_parameters_that_cannot_be_used(tmp_path, context, settings, message):
    with pytest.raises(SettingsError, match=message):
        SPM12(**settings).available()
    with pytest.raises(SettingsError, match=message):
        SPM12(**settings).segment(fake.scan_of(tmp_path), context)


def test_an_empty_brain():
    grid = Grid.make((3, 3, 3), np.eye(4))
    with pytest.raises(MeasurementError, match="empty mask"):
        spm_batch.centred(grid, np.zeros((3, 3, 3), bool))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.tuples(*[st.floats(0.5, 6)] * 3),
)
def test_the_brain_goes_to_mni_s_centre_whatever_the_header(seed, origin, sizes):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation * np.array(sizes), origin
    brain = rng.random((5, 6, 7)) < 0.3
    brain[2, 2, 2] = True
    found = spm_batch.centred(Grid.make(brain.shape, affine), brain)
    world = np.argwhere(brain) @ found.affine[:3, :3].T + found.affine[:3, 3]
    np.testing.assert_allclose(world.mean(axis=0), spm_batch.MNI_CENTRE, atol=1e-9)
    np.testing.assert_array_equal(found.affine[:3, :3], affine[:3, :3])


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_matlab_reads_back_the_text_that_was_quoted(text):
    written = spm_batch.quoted(text)
    assert re.fullmatch("'(?:[^']|'')*'", written, re.DOTALL)
    assert written[1:-1].replace("''", "'") == text
