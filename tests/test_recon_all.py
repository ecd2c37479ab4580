"""recon-all by a stand-in that behaves as the real one does: stages, copies, and failures."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from harmobench.errors import MeasurementError, SettingsError
from harmobench.imaging.volume import Grid, read_grid, read_voxels, write_image
from harmobench.interface import Context, Morphometry, Scan
from harmobench.tools.freesurfer import FreeSurfer
from harmobench.tools.recon_all import ReconAll

STAND_IN = """#!{python}
import os, re, shutil, sys, time
from pathlib import Path

words = sys.argv[1:]
if words == ["-version"]:
    print("freesurfer-linux-stand-in-7.4.1")
    sys.exit(0)

def after(flag):
    return words[words.index(flag) + 1] if flag in words else None

assert not re.search(r"\\s", after("-sd")), "csh takes paths with spaces apart"
Path(os.environ["TRACE"]).open("a").write(" ".join(words) + "\\n")
subject = Path(after("-sd")) / after("-s")
mri, scripts, stats = subject / "mri", subject / "scripts", subject / "stats"
mode = os.environ.get("MODE", "")

def fail(message):
    (scripts / "recon-all.error").write_text(message)
    log(message)
    sys.exit(1)

def log(message):
    print(message, flush=True)
    (scripts / "recon-all.log").open("a").write(message + "\\n")

def need(name):
    if not (mri / name).is_file():
        fail("ERROR: cannot find mri/" + name)
    return (mri / name).read_bytes()

if "-i" in words:
    if subject.exists():
        print("ERROR: You are trying to re-run an existing subject with (possibly) new input data")
        sys.exit(1)
    for folder in (mri, scripts, stats):
        folder.mkdir(parents=True)
elif not subject.exists():
    print("ERROR: cannot find subject", subject)
    sys.exit(1)
log("INFO: FREESURFER_HOME " + os.environ.get("FREESURFER_HOME", "none"))
log("INFO: set up " + os.environ.get("STAND_IN_SET_UP", "no"))
for directive in [word for word in words if word.startswith("-")]:
    if directive == mode.partition("=")[0]:
        what = mode.partition("=")[2]
        if what == "fail":
            fail("ERROR: mris_fix_topology exited with errors")
        if what == "silent":
            (scripts / "recon-all.error").write_text("ERROR")
            sys.exit(0)
        if what == "kill":
            os.kill(os.getpid(), 9)
        if what == "sleep":
            time.sleep(60)
        if what == "nothing":
            sys.exit(0)
    if directive == "-motioncor":
        (mri / "orig.mgz").write_bytes(b"orig of " + Path(after("-i")).read_bytes()[:2])
    elif directive == "-talairach":
        need("orig.mgz")
    elif directive == "-normalization":
        (mri / "T1.mgz").write_bytes(b"T1 of " + need("nu.mgz"))
    elif directive == "-autorecon2":
        if need("brainmask.mgz") != need("T1.mgz") or need("nu.mgz") != need("orig.mgz"):
            fail("ERROR: other images than expected")
        need("brainmask.auto.mgz")
        (mri / "aseg.mgz").write_bytes(b"")
    elif directive == "-autorecon3":
        need("aseg.mgz")
        for file in Path(os.environ["STATS"]).iterdir():
            shutil.copy(file, stats)
log("recon-all finished without error")
"""
ASEG = """# NRows 4
# ColHeaders  Index SegId NVoxels Volume_mm3 StructName
1 17 4458 4281.6 Left-Hippocampus
2 18 1753 1681.3 Left-Amygdala
3 53 4624 4440.5 Right-Hippocampus
4 54 1684 1628.7 Right-Amygdala
"""
CORTEX = """# ColHeaders StructName NumVert ThickAvg
entorhinal 673 {}
inferiortemporal 6436 {}
"""
GRID = Grid.make((8, 9, 10), np.diag([1.5, 1.0, 1.2, 1.0]))


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("FREESURFER_HOME", "FS_LICENSE", "MODE", "STAND_IN_SET_UP"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """FreeSurfer's folder, with the stand-in, a licence and what the stand-in writes at the end."""
    home = tmp_path / "free surfer é"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "recon-all"
    program.write_text(STAND_IN.replace("{python}", sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (home / "license.txt").write_text("name\n")
    (home / "SetUpFreeSurfer.sh").write_text("export STAND_IN_SET_UP=yes\n")
    made = tmp_path / "made"
    made.mkdir()
    (made / "aseg.stats").write_text(ASEG)
    (made / "lh.aparc.stats").write_text(CORTEX.format(3.151, 2.863))
    (made / "rh.aparc.stats").write_text(CORTEX.format(3.175, 2.792))
    monkeypatch.setenv("STATS", str(made))
    monkeypatch.setenv("TRACE", str(tmp_path / "trace"))
    return home


@pytest.fixture(params=["scratch", "scratch é with spaces"])
def context(request, tmp_path):
    scratch = tmp_path / request.param
    scratch.mkdir()
    return Context(seed=0, atlas=None, scratch=scratch, threads=3, log=tmp_path / "log.txt")


@pytest.fixture
def scan(tmp_path):
    voxels = np.arange(720, dtype=np.float32).reshape(8, 9, 10) % 100
    write_image(tmp_path / "scan.nii.gz", voxels, GRID)
    return Scan("Zoë 1", "GE à Lyon", tmp_path / "scan.nii.gz")


def test_stages_and_copies_in_order(home, context, scan, tmp_path):
    steps = []
    tool: Morphometry = ReconAll(home=str(home))
    assert tool.available() is None
    context = Context(**{**vars(context), "progress": lambda *step: steps.append(step)})
    found = {m.structure: (m.value, m.units) for m in tool.measure(scan, context)}
    assert found == {
        "entorhinal": (pytest.approx(6.326), "mm"),
        "inferior_temporal": (pytest.approx(5.655), "mm"),
        "hippocampus": (pytest.approx(8.7221), "ml"),
        "amygdala": (pytest.approx(3.3100), "ml"),
    }
    assert {name: units for name, (_, units) in found.items()} == tool.structures(())
    lines = (tmp_path / "trace").read_text().splitlines()
    directives = [
        [word for word in line.split() if word.startswith("-") and len(word) > 3] for line in lines
    ]
    assert directives == [
        ["-motioncor", "-talairach", "-openmp"],
        ["-normalization", "-openmp"],
        ["-autorecon2", "-autorecon3", "-openmp"],
    ]
    assert all(line.endswith("-openmp 3") for line in lines)
    assert [step[:2] for step in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert list(context.scratch.iterdir()) == []


def test_same_measures_as_the_import_of_that_folder(home, context, scan, tmp_path):
    (tmp_path / "fs" / "raw_1_A").mkdir(parents=True)
    (tmp_path / "fs" / "raw_1_A" / "stats").symlink_to(os.environ["STATS"])
    imported = FreeSurfer().find(str(tmp_path / "fs"), "raw", "1", "A")
    made = ReconAll(home=str(home)).measure(scan, context)
    assert list(made) == list(FreeSurfer().measure(imported))


def test_the_image_goes_in_as_it_is(home, context, scan, tmp_path):
    copy = tmp_path / "copy.nii.gz"
    program = home / "bin" / "recon-all"
    spy = f'if "-i" in words: shutil.copy(after("-i"), {str(copy)!r})\nif "-i" in words:'
    text = program.read_text()
    assert text.count('if "-i" in words:') == 1
    program.write_text(text.replace('if "-i" in words:', spy))
    list(ReconAll(home=str(home)).measure(scan, context))
    np.testing.assert_array_equal(read_voxels(copy), scan.voxels())
    assert read_grid(copy).matches(GRID)


def test_the_log_keeps_what_was_printed_and_the_stats(home, context, scan):
    list(ReconAll(home=str(home)).measure(scan, context))
    text = context.log.read_text()
    assert text.count("recon-all finished without error") == 6  # printed, and in its own log
    assert f"INFO: FREESURFER_HOME {home}" in text
    assert "INFO: set up yes" in text
    assert "# end of scripts/recon-all.log" in text
    assert ASEG in text
    assert "# stats/rh.aparc.stats" in text


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("-talairach=fail", "status 0, found 1.*mris_fix_topology exited with errors"),
        ("-normalization=fail", "expected recon-all to end with status 0, found 1"),
        ("-autorecon2=kill", "recon-all .*killed .SIGKILL"),
        ("-autorecon3=silent", r"without scripts/recon-all\.error, found it"),
        ("-motioncor=nothing", r"expected mri/orig\.mgz from recon-all, found none"),
        ("-normalization=nothing", r"expected mri/T1\.mgz from recon-all, found none"),
        ("-autorecon3=nothing", r"expected stats/lh\.aparc\.stats.*found none: recon-all ended"),
    ],
)
def test_a_stage_that_fails(home, context, scan, mode, message, monkeypatch):
    monkeypatch.setenv("MODE", mode)
    with pytest.raises(MeasurementError, match=message):
        ReconAll(home=str(home)).measure(scan, context)
    assert "# end of scripts/recon-all.log" in context.log.read_text()
    assert list(context.scratch.iterdir()) == []


def test_stats_cut_short_are_no_success(home, context, scan, tmp_path):
    (tmp_path / "made" / "aseg.stats").write_text(ASEG[:-20])
    with pytest.raises(MeasurementError, match=r"aseg\.stats"):
        ReconAll(home=str(home)).measure(scan, context)


def test_the_minutes_are_those_of_all_stages(home, context, scan, monkeypatch):
    monkeypatch.setenv("MODE", "-autorecon2=sleep")
    with pytest.raises(MeasurementError, match=r"recon-all to end within .* minutes"):
        ReconAll(home=str(home), minutes=0.05).measure(scan, context)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), "long", True])
def test_minutes_are_checked(minutes):
    with pytest.raises(SettingsError, match="minutes: expected a number above 0"):
        ReconAll(minutes=minutes).structures(())


def test_home_may_come_from_the_environment(home, context, scan, monkeypatch):
    monkeypatch.setenv("FREESURFER_HOME", str(home))
    assert ReconAll().available() is None
    assert len(list(ReconAll().measure(scan, context))) == 4


def test_home_may_be_where_the_program_on_path_lies(home, context, scan, monkeypatch):
    monkeypatch.setenv("PATH", str(home / "bin"), prepend=os.pathsep)
    assert ReconAll().available() is None
    assert len(list(ReconAll().measure(scan, context))) == 4
    assert f"INFO: FREESURFER_HOME {home}" in context.log.read_text()


def test_an_absent_program_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not on PATH nor in $FREESURFER_HOME/bin" in ReconAll().available()
    assert "install FreeSurfer" in ReconAll(home=str(tmp_path)).available()
    assert "needs apptainer" in ReconAll(prefix="apptainer exec -B {dir} fs.sif").available()
    with pytest.raises(SettingsError, match=r"recon-all\.prefix"):
        ReconAll(prefix="apptainer 'exec").available()


def test_an_absent_licence_is_told(home, tmp_path, monkeypatch):
    (home / "license.txt").rename(tmp_path / "mine.txt")
    tool = ReconAll(home=str(home))
    assert f"found none at $FS_LICENSE nor at {home}/license.txt" in tool.available()
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "other.txt"))
    assert "licence" in tool.available()
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "mine.txt"))
    assert tool.available() is None


def test_version(home):
    assert ReconAll(home=str(home)).version() == "freesurfer-linux-stand-in-7.4.1"
    (home / "build-stamp.txt").write_text("freesurfer-linux-stable-pub-v6.0.0-2beb96c\n")
    assert ReconAll(home=str(home)).version() == "freesurfer-linux-stable-pub-v6.0.0-2beb96c"


def test_in_a_container(home, context, scan, tmp_path):
    engine = tmp_path / "engine"
    engine.write_text(
        "#!/bin/sh\n"
        f'echo "bound $1" >> {tmp_path}/engine.trace\nshift\n'
        'case "$1" in recon-all) shift ;; *) exit 9 ;; esac\n'
        f'FREESURFER_HOME=inside exec "{home}/bin/recon-all" "$@"\n'
    )
    engine.chmod(0o700)
    (home / "license.txt").unlink()
    tool = ReconAll(prefix=f"{engine} {{dir}}")
    assert tool.available() is None
    assert tool.version() == "freesurfer-linux-stand-in-7.4.1"
    assert len(list(tool.measure(scan, context))) == 4
    assert "INFO: FREESURFER_HOME inside" in context.log.read_text()
    bound = (tmp_path / "engine.trace").read_text().splitlines()
    sent = (tmp_path / "trace").read_text().splitlines()
    assert {Path(line.split()[1]) for line in bound[1:]} == {
        Path(line.split("-sd ")[1].split()[0]) for line in sent
    }
