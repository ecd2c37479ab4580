"""Methods that a command line does: what a method.toml may say, and what its commands may do."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from conftest import make_cohort, write_manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmobench import registry
from harmobench.base import Method
from harmobench.cohort import Cohort, Scan
from harmobench.errors import MethodError, PluginError, SettingsError
from harmobench.imaging.volume import Grid, read_voxels, write_image
from harmobench.interface import Context, Group
from harmobench.manifest import read_cohort
from harmobench.outside import method_from, words
from harmobench.parts import Part, plugin_part
from harmobench.registry import Plugin, build
from harmobench.tools import program

EXAMPLES = Path(__file__).parents[1] / "examples"
TOML = """
name = "tool"
transform = "{python} -SE {package}/tool.py {mode} {input} {mask} {output}"
minutes = 0.5
[parameters]
mode = "copy"
[reference]
title = "A tool"
authors = "Nobody, N."
year = 2026
"""
TOOL = r"""
import gzip, os, shutil, signal, struct, sys, time
mode, source, mask, output = sys.argv[1:5]
raw = bytearray(gzip.open(source).read())
print("the real", "reason")
if mode == "hang":
    time.sleep(60)
if mode == "die":
    sys.exit(3)
if mode == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "nothing":
    sys.exit(0)
if mode == "environment":
    here = os.getcwd() == os.path.dirname(source)
    print(os.environ.get("OMP_NUM_THREADS"), os.environ.get("MARK"), here)
    sys.exit(4)
if mode == "affine":
    raw[280:284] = struct.pack("<f", 5.0)
    raw[252:256] = struct.pack("<2h", 0, 1)
if mode == "shape":
    raw[42:44] = struct.pack("<h", struct.unpack("<h", raw[42:44])[0] - 1)
if mode == "nan":
    raw[352:] = struct.pack("<f", float("nan")) * ((len(raw) - 352) // 4)
if mode == "nan outside":
    for i, inside in enumerate(gzip.open(mask).read()[352:]):
        if not inside:
            raw[352 + 4 * i:356 + 4 * i] = struct.pack("<f", float("nan"))
if mode == "complex":
    raw[70:74] = struct.pack("<2h", 32, 64)
with gzip.open(output, "wb") as stream:
    stream.write(b"no image" if mode == "text" else raw[:900] if mode == "cut" else raw)
"""
LEARNER = r"""
import csv, gzip, json, os, struct, sys
import numpy as np

def read(path, kind):
    with gzip.open(path) as stream:
        raw = stream.read()
    shape = struct.unpack("<3h", raw[42:48])
    return raw[:352], np.frombuffer(raw, kind, offset=352).reshape(shape, order="F")

def mean_of(row):
    brain = read(row["mask"], "u1")[1] > 0
    head, voxels = read(row["image"], "<f4")
    voxels = voxels.astype(np.float64)
    return head, voxels, voxels[brain].mean()

def rows_of(table):
    return list(csv.DictReader(open(table, encoding="utf-8", newline="")))

def fit(train, validation, model, seed, device):
    rows = rows_of(train)
    os.makedirs(model + "/deep")
    with open(model + "/deep/model.json", "w") as stream:
        json.dump({"mean": float(np.mean([mean_of(row)[2] for row in rows])), "seed": seed,
                   "columns": list(rows[0]), "validation": len(rows_of(validation))}, stream)

def transform(table, output, model):
    goal = json.load(open(model + "/deep/model.json"))["mean"]
    head, voxels, mean = mean_of(*rows_of(table))
    made = (voxels * (goal / mean)).astype(np.float32) + np.float32(7)
    with gzip.open(output, "wb") as stream:
        stream.write(head + made.tobytes(order="F"))

{"fit": fit, "transform": transform}[sys.argv[1]](*sys.argv[2:])
"""
LEARNS = """
name = "learner"
fit = "{python} {package}/learner.py fit {train_csv} {validation_csv} {model_dir} {seed} {device}"
transform = "{python} {package}/learner.py transform {scan_csv} {output} {model_dir}"
minutes = 1
[needs]
folds = true
covariates = true
[reference]
title = "A tool that learns"
authors = "Nobody, N."
year = 2026
"""
SAME = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from harmobench.base import Method
from harmobench.interface import Needs, Reference

@dataclass
class Same(Method):
    """The same as a Python class."""

    needs: ClassVar[Needs] = Needs(folds=True, covariates=True)
    reference: ClassVar[Reference] = Reference("The same", "Nobody, N.", 2026)

    def fit(self, train, validation, context):
        self.mean_ = float(np.mean([self.mean_of(scan) for scan in train.scans]))
        return self

    def mean_of(self, scan):
        return scan.voxels().astype(np.float64)[scan.brain()].mean()

    def transform(self, scan):
        made = scan.voxels().astype(np.float64) * (self.mean_ / self.mean_of(scan))
        made = made.astype(np.float32) + np.float32(7)
        return scan.with_voxels(np.where(scan.brain(), made, np.float32(0)))
'''
Make = Callable[..., type[Method]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes a method of a method.toml and the files beside it."""

    def put(toml: str = TOML, place: str = "package", **more: str) -> type[Method]:
        return method_from(str(package(tmp_path / place, toml, more) / "__init__.py"))

    return put


def package(folder: Path, toml: str, more: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"__init__.py": "", "method.toml": toml, "tool.py": TOOL, "learner.py": LEARNER}
    for name, text in (files | (more or {})).items():
        (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def cohort(cohort_csv: Path) -> Cohort:
    return read_cohort(cohort_csv)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """Return a small scan with its mask."""
    rng = np.random.default_rng(0)
    grid = Grid.make((8, 9, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    brain = np.zeros(grid.shape, dtype=bool)
    brain[2:6, 2:7, 2:8] = True
    voxels = rng.uniform(1, 2, grid.shape).astype(np.float32) * brain
    write_image(tmp_path / "scan.nii.gz", voxels, grid)
    write_image(tmp_path / "mask.nii.gz", brain, grid)
    return Scan("01", "GE", tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz")


def context(scratch: Path, **more: Any) -> Context:
    return Context(seed=11, atlas=None, scratch=scratch, **more)  # type: ignore[arg-type]


# --- words --------------------------------------------------------------------------------------

ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(st.lists(ANY, min_size=1, max_size=4), ANY, ANY)
def test_any_word_and_any_value_survive(given_words: list[str], first: str, second: str) -> None:
    template = [word.replace("{", "{{").replace("}", "}}") for word in given_words]
    held = words.split([*template, "{a}", "--b={b}{a}"])
    list(words.names(held))
    filled = words.fill(held, {"a": first, "b": second})
    assert filled == [*given_words, first, f"--b={second}{first}"]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ANY)
def test_they_survive_the_program_s_start(tmp_path: Path, value: str) -> None:
    code = "import sys; sys.stdout.buffer.write(ascii(sys.argv[1:]).encode())"
    command = words.fill(words.split(["{python}", "-SEc", code, "{value}"]),
                         {"python": sys.executable, "value": value})  # fmt: skip
    assert program.run(command, tmp_path, minutes=1) == ascii([value])


def test_a_text_is_split_before_it_is_filled() -> None:
    held = words.split("run '{a} b' \"c {a}\" --d={a}")
    assert words.fill(held, {"a": "x 'y\" z"}) == [
        "run",
        "x 'y\" z b",
        "c x 'y\" z",
        "--d=x 'y\" z",
    ]


@pytest.mark.parametrize(
    "value",
    ["-rf", "--output=x", "a/b", "../x", "a\\b", "a;b", "$(x)", "`x`", "a\nb", "'", "x" * 201],
)
def test_a_value_that_may_be_an_option_or_a_path_is_refused(value: str, make: Make) -> None:
    """A run folder's run.json holds parameters, and may be anyone's."""
    with pytest.raises(ValueError, match="mode: expected a word of letters"):
        make()(mode=value)
    assert make()(mode="T1 weighted, ä_b.c+d=e:f@g%h-i").mode.startswith("T1")


# --- what a method.toml may say -------------------------------------------------------------------


def tool(old: str, new: str) -> str:
    assert old in TOML
    return TOML.replace(old, new)


def learns(old: str, new: str) -> str:
    assert old in LEARNS
    return LEARNS.replace(old, new)


def before(line: str) -> str:
    return f"{line}\n{TOML}"


BAD = {
    "no TOML": ("name = ", "a fault:"),
    "unknown key": (f"trnsform = 1\n{TOML}", "found 'trnsform'; is 'transform' meant?"),
    "no transform": ('name = "x"\n[reference]\n', "expected the key transform, found none"),
    "transform of a number": (before("version = 3"), "version: expected a text or a list"),
    "open quote": (tool('m = "', "m = \"' "), "transform: expected words as a shell reads"),
    "empty": (before("version = ''"), "version: expected a command, found none"),
    "name": (tool('"tool"', '"../tool"'), "name: expected a name of letters"),
    "name of a number": (tool('"tool"', "3"), "name: expected a text, found 3"),
    "unknown placeholder": (tool("{input}", "{inptu}"), "found {inptu}; is '{?input}?' meant"),
    "placeholder of a fit": (
        tool("{input}", "{input} {model_dir}"),
        "transform: .*found {model_dir}",
    ),
    "open brace": (tool("{input}", "{input"), "expected {name}, or {{ and }} for braces"),
    "no output": (
        tool("{output}", ""),
        r"transform: expected {input} \(or {scan_csv}\) and {output}",
    ),
    "missing script": (tool("tool.py", "tol.py"), "transform: expected the file tol.py beside it"),
    "code of a name": (
        tool("{input}", "run('{subject}',{input})"),
        "{subject} as a word of its own",
    ),
    "program of a parameter": (tool("{python}", "{mode}"), "expected a program as the first word"),
    "minutes": (
        tool("minutes = 0.5", "minutes = 0"),
        "minutes: expected a number of minutes above 0",
    ),
    "images": (before("images = '.mgz'"), "images: expected .nii.gz or .nii, found '.mgz'"),
    "a table": (before("needs = 3"), r"expected a table \[needs\], found 3"),
    "year": (tool("2026", '"2026"'), r"\[reference\] year: expected int, found '2026'"),
    "no year": (tool("year = 2026", ""), r"\[reference\]: expected the key year"),
    "list parameter": (
        tool('mode = "copy"', "mode = [1]"),
        r"\[parameters\] mode: expected a text",
    ),
    "path parameter": (
        tool('mode = "copy"', 'mode = "/x"'),
        r"where things are stands in \[places\]",
    ),
    "taken parameter": (tool("mode", "seed"), r"expected another name than 'seed', which is taken"),
    "odd parameter": (tool("mode", "mo-de"), r"\[parameters\]: expected names of letters"),
    "unused parameter": (
        tool("[parameters]", "[parameters]\nnew = 1"),
        "expected {new} in a command",
    ),
    "twice": (
        TOML + '[places]\nmode = "x"\n',
        r"\[places\] mode: expected a name that no parameter has",
    ),
    "place": (TOML + "[places]\nx = 1\n", r"\[places\] x: expected a text, found 1"),
    "preset": (
        TOML + "[presets.fast]\nmode = 'x'\n",
        r"expected \[presets\] among quick, .*found 'fast'",
    ),
    "preset's value": (
        TOML + "[presets.quick]\nmode = 3\n",
        "expected a value like 'copy', found 3",
    ),
    "choice": (
        TOML + "[choices]\nmode = ['a']\n",
        r"\[choices\] mode: expected the default 'copy' among them",
    ),
    "needs": (TOML + "[needs]\nfold = true\n", r"found 'fold'; is 'folds' meant\?"),
    "needs a fit": (
        TOML + "[needs]\nfolds = true\n",
        "folds: expected it of a method with fit, found no fit",
    ),
    "needs' type": (
        TOML + "[needs]\ngroup = 'yes'\n",
        "group: expected true or false, found 'yes'",
    ),
    "role": (TOML + "[needs]\nrole = 'winner'\n", "role: expected contender or .*found 'winner'"),
    "folds unsaid": (learns("folds = true\n", ""), "expected folds = true .*of a method with fit"),
    "no model": (learns("{output} {model_dir}", "{output}"), "transform: expected {model_dir}"),
    "nothing learned": (learns("{train_csv}", "x"), "fit: expected {train_csv} and {model_dir}"),
    "no target": (learns("{output}", "{output} {target}"), "transform: .*found {target}"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_refused_in_one_sentence_with_its_name(fault: str, make: Make) -> None:
    toml, reason = BAD[fault]
    with pytest.raises(PluginError, match=rf"method\.toml: .*{reason}") as caught:
        make(toml)
    assert "\n" not in str(caught.value)


def test_what_the_documentation_shows_can_be_read(make: Make) -> None:
    page = (EXAMPLES.parent / "docs" / "outside.md").read_text(encoding="utf-8")
    shown = [t for t in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "transform =" in t]
    assert len(shown) == 4
    for number, toml in enumerate(shown):
        scripts = dict.fromkeys(re.findall(r"{package}/([\w.]+)", toml), "")
        make(toml, f"shown_{number}", **scripts)().check()


def test_a_module_that_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "method.toml").write_text(TOML)
    with pytest.raises(PluginError, match=r"expected it in a package, found no __init__\.py"):
        method_from(str(tmp_path / "alone.py"))


def test_the_class_is_that_of_any_plugin(make: Make) -> None:
    one, two = make(), make(LEARNS, "learns")
    assert one.fit is Method.fit, "without a fit it is fitted on no scan"
    assert two.fit is not Method.fit
    assert two.needs.folds
    assert two.needs.covariates
    assert one.reference.title == "A tool"
    assert vars(one()) == {"mode": "copy", "minutes": 0.5}
    assert one.__doc__ == "A tool"
    with pytest.raises(SettingsError, match="tool cannot use these parameters: minutes: expected"):
        one(minutes=-1.0).check()


# --- what a command may do ------------------------------------------------------------------------


def test_what_it_writes_comes_back_0_outside_the_brain(make: Make, scan: Scan) -> None:
    method = make()()
    loud = scan.with_voxels(scan.voxels() + 5)
    made = method.transform(loud).voxels()
    assert made.dtype == np.float32
    assert np.array_equal(made, np.where(scan.brain(), loud.voxels(), 0))
    outside = make()(mode="nan outside").transform(scan).voxels()
    assert np.array_equal(outside, scan.voxels()), "what is not looked at may be anything"


FAULTS = {
    "die": "python.* to end with status 0, found 3; it said last: the real reason",
    "killed": "found that it was killed .*SIGKILL",
    "nothing": r"to {output} \(output.nii.gz\), found none; it said last: the real reason",
    "affine": r"keep the grid of {input} \(8 x 9 x 10 voxels of 2 x 2 x 2 mm\), found another",
    "shape": "found another shape or affine .7 x 9 x 10 voxels",
    "nan": "expected transform to write finite voxels in the brain, found 120 NaN or inf",
    "complex": "expected an image from transform: ",
    "text": "expected an image from transform: ",
    "cut": "expected an image from transform: ",
}  # fmt: skip


@pytest.mark.parametrize("mode", FAULTS)
def test_a_fault_says_the_rule(mode: str, make: Make, scan: Scan) -> None:
    with pytest.raises(MethodError, match=FAULTS[mode]):
        make()(mode=mode).transform(scan)


def test_one_that_hangs_is_ended(make: Make, scan: Scan) -> None:
    start = time.monotonic()
    with pytest.raises(MethodError, match=r"to end within 0\.01 minutes, found it still at work"):
        make()(mode="hang", minutes=0.01).transform(scan)
    assert time.monotonic() - start < 20


def test_it_runs_in_a_folder_of_its_own_with_its_threads_alone(
    make: Make, scan: Scan, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("HARMOBENCH_TOOL_PREFIX", "env 'MARK=a b {{x}}'")
    with pytest.raises(MethodError, match=r"1 a b {x} True"):
        make()(mode="environment").transform(scan)
    assert "the real reason" in capfd.readouterr().err, "a run keeps it in its log"


def test_paths_with_any_characters_survive(
    make: Make, scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "a b'c\"$(d);{e}ü"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    toml = TOML.replace("{output}", "{output} {subject} --scanner={scanner} {scan_csv}")
    method = make(toml, "p q'r\"s")()
    named = Scan('O\'Neil "x"; rm', "GE {input}", scan.image, scan.mask)
    assert np.array_equal(method.transform(named).voxels(), scan.voxels())
    with pytest.raises(MethodError, match="a subject that a program cannot take for an option"):
        method.transform(Scan("-rf", "GE", scan.image, scan.mask))
    assert not list(odd.iterdir()), "nothing is left"


def test_images_may_be_unpacked_for_programs_that_read_no_gz(make: Make, scan: Scan) -> None:
    copy = """
    import shutil, sys
    source, mask, output = sys.argv[1:]
    assert [path[-4:] for path in sys.argv[1:]] == [".nii"] * 3
    shutil.copy(source, output)
    """
    toml = TOML.replace("[parameters]\n", "").replace('mode = "copy"\n', "")
    toml = toml.replace("minutes", "images = '.nii'\nminutes")
    toml = toml.replace("-SE {package}/tool.py {mode}", "{package}/copy.py")
    method = make(toml, **{"copy.py": copy})()
    assert np.array_equal(method.transform(scan).voxels(), scan.voxels())


# --- where things are on a machine ----------------------------------------------------------------


def test_a_prefix_and_places_come_from_the_machine_and_never_from_a_run(
    make: Make, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = TOML.replace("{python}", "{interpreter}") + '[places]\ninterpreter = "no-such-program"\n'
    cls = make(toml)
    assert "interpreter" not in vars(cls()), "it is no parameter, so that no run.json can name it"
    with pytest.raises(TypeError):
        cls(interpreter="x")
    with pytest.raises(TypeError):
        cls(prefix="x")
    missing = cls().unsuited(Cohort(()))
    assert missing is not None
    assert "expected the program no-such-program, found none: install it, or set" in missing
    assert "HARMOBENCH_TOOL_INTERPRETER or HARMOBENCH_TOOL_PREFIX" in missing
    monkeypatch.setenv("HARMOBENCH_TOOL_INTERPRETER", "")
    assert "HARMOBENCH_TOOL_INTERPRETER to say where it is" in str(cls().available())
    monkeypatch.setenv("HARMOBENCH_TOOL_INTERPRETER", sys.executable)
    assert cls().available() is None
    assert np.array_equal(cls().transform(scan).voxels(), scan.voxels())


def test_a_prefix_that_cannot_be_used_is_refused_early(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, reason in (("'", "No closing quotation"), ("x {input}", "found {input}")):
        monkeypatch.setenv("HARMOBENCH_TOOL_PREFIX", text)
        with pytest.raises(SettingsError, match=f"variable HARMOBENCH_TOOL_PREFIX: .*{reason}"):
            make()().check()
    monkeypatch.setenv("HARMOBENCH_TOOL_PREFIX", "no-such-engine exec -B {dir} image.sif")
    assert "no-such-engine of its prefix" in str(make()().available())


def test_the_version_is_what_a_command_says_first(make: Make) -> None:
    toml = TOML.replace(
        "minutes", 'version = ["{python}", "-c", "print(\'\\\\n tool 3 \\\\nmore\')"]\nminutes'
    )
    assert make(toml)().version() == "tool 3"  # type: ignore[attr-defined]
    assert make(TOML, "other")().version() == ""  # type: ignore[attr-defined]


# --- what is learned ------------------------------------------------------------------------------


def test_fit_gets_tables_and_its_files_are_the_model(
    make: Make, cohort: Cohort, tmp_path: Path
) -> None:
    cls = make(LEARNS)
    train, validation = cohort.select(["01", "02"]), cohort.select(["03"])
    before = {scan.image: scan.image.read_bytes() for scan in cohort.scans}
    log = tmp_path / "log.txt"
    given = context(tmp_path, covariates=("age",), group=Group("group", "high", "low"), log=log)
    method = cls().fit(train, validation, given)
    method.save(tmp_path / "model")
    kept = json.loads((tmp_path / "model" / "files" / "deep" / "model.json").read_text())
    assert kept["columns"] == ["subject", "scanner", "image", "mask", "age", "group"]
    assert kept["validation"] == 2
    assert kept["seed"] == "11"
    assert "learner.py fit" in log.read_text()
    assert {scan.image: scan.image.read_bytes() for scan in cohort.scans} == before
    again = cls.load(tmp_path / "model")
    scan = cohort.scans[-1]
    here, there = method.transform(scan).voxels(), again.transform(scan).voxels()
    assert here.tobytes() == there.tobytes()
    assert here[~scan.brain()].max() == 0, "the command wrote 7 there"
    method.save(tmp_path / "model")
    assert cls.load(tmp_path / "model").transform(scan).voxels().tobytes() == here.tobytes()


def test_a_prefix_sees_the_folders_that_a_container_must(
    make: Make, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap = """
    import os, sys
    shown = sys.argv[1:4]
    command = sys.argv[4:]
    assert len(set(shown)) == 3, "an engine refuses to show one folder twice"
    assert all(map(os.path.isdir, shown))
    table = next(word for word in command if word.endswith((".csv")))
    files = [w for w in open(table).read().replace(chr(10), ",").split(",") if w.startswith("/")]
    paths = [word for word in command[1:] if word.startswith("/")] + files
    assert len(files) > 1
    assert all(path.startswith(tuple(folder + "/" for folder in shown)) for path in paths), paths
    os.execv(command[0], command)
    """
    method = make(LEARNS, **{"wrap.py": wrap})()
    prefix = "'{python}' '{package}/wrap.py' {dir} {data} {package}"
    monkeypatch.setenv("HARMOBENCH_LEARNER_PREFIX", prefix)
    method.fit(cohort, None, context(tmp_path)).transform(cohort.scans[0])


def test_scans_in_memory_are_written_for_fit(make: Make, cohort: Cohort, tmp_path: Path) -> None:
    one = make(LEARNS)().fit(cohort, None, context(tmp_path))
    scans = tuple(scan.with_voxels(scan.voxels()) for scan in cohort.scans)
    two = make(LEARNS)().fit(Cohort(scans), None, context(tmp_path))
    assert one.model_files == two.model_files  # type: ignore[attr-defined]


def test_a_missing_covariate_is_refused(make: Make, cohort: Cohort, tmp_path: Path) -> None:
    bare = Scan("09", "GE", cohort.scans[0].image)
    with pytest.raises(MethodError, match="in column 'age' for subject 09 on GE, found none"):
        make(LEARNS)().fit(Cohort((bare,)), None, context(tmp_path, covariates=("age",)))


def test_a_fit_that_writes_nothing_or_writes_into_its_images_is_refused(
    make: Make, cohort: Cohort, tmp_path: Path
) -> None:
    nothing = make(LEARNS, "nothing", **{"learner.py": "print('done')"})
    with pytest.raises(
        MethodError, match=r"write its model into {model_dir}, found nothing.*: done"
    ):
        nothing().fit(cohort, None, context(tmp_path))
    touch = """
    import csv, os, sys
    row = next(csv.DictReader(open(sys.argv[2])))
    os.utime(row["image"])
    open(sys.argv[4] + "/x", "w").close()
    """
    own = Cohort((Scan("01", "GE", tmp_path / "own.nii.gz"),))
    shutil.copyfile(cohort.scans[0].image, tmp_path / "own.nii.gz")
    with pytest.raises(MethodError, match=r"leave its training images .*own\.nii\.gz changed"):
        make(LEARNS, "touch", **{"learner.py": touch})().fit(own, None, context(tmp_path))


def test_a_model_folder_that_became_a_link_is_refused(
    make: Make, cohort: Cohort, tmp_path: Path
) -> None:
    swap = """
    import os, shutil, sys

    shutil.rmtree(sys.argv[4])
    os.symlink("/etc/default", sys.argv[4])
    """
    with pytest.raises(MethodError, match="found a link: model"):
        make(LEARNS, "swap", **{"learner.py": swap})().fit(cohort, None, context(tmp_path))


def test_a_model_of_links_or_without_files_is_refused(
    make: Make, cohort: Cohort, tmp_path: Path
) -> None:
    cls = make(LEARNS)
    cls().fit(cohort, None, context(tmp_path)).save(tmp_path / "model")
    link = tmp_path / "model" / "files" / "link"
    link.symlink_to("/etc/passwd")
    with pytest.raises(MethodError, match="found a link or a device: link"):
        cls.load(tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "files")
    with pytest.raises(MethodError, match="expected a fitted learner with the files of its model"):
        cls.load(tmp_path / "model")
    (tmp_path / "model" / "files").symlink_to(tmp_path)
    with pytest.raises(MethodError, match="found a link: files"):
        cls.load(tmp_path / "model")
    with pytest.raises(MethodError, match="expected a fitted learner"):
        cls().transform(cohort.scans[0])
    with pytest.raises(MethodError, match="expected a fitted learner"):
        cls().save(tmp_path / "other")


def test_what_a_model_claims_of_itself_is_looked_at(
    make: Make, cohort: Cohort, tmp_path: Path
) -> None:
    cls = make(LEARNS)
    cls().fit(cohort, None, context(tmp_path)).save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    data = json.loads(path.read_text())
    for name, value in (("seed_", "--evil"), ("threads_", None), ("target_", 3), ("columns_", [3])):
        changed = {**data, "learned": {**data["learned"], name: value}}
        path.write_text(json.dumps(changed))
        with pytest.raises(MethodError, match="expected a fitted learner"):
            cls.load(tmp_path / "model")


# --- as a plugin ----------------------------------------------------------------------------------


def install(site: Path, name: str, files: dict[str, str], point: str) -> None:
    """Lay a package and what an installer writes beside it into a folder."""
    for file, text in files.items():
        path = site / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[harmobench.methods]\n{point}\n")


INIT = "from harmobench.outside import method_from\n\nTool = method_from(__file__)\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on the path in which packages lie as if installed."""
    folder = tmp_path / "site"
    tool = {"__init__.py": INIT, "method.toml": TOML, "tool.py": TOOL}
    install(folder, "acme_tool", tool, "tool = acme_tool:Tool")
    learner = {"__init__.py": INIT, "method.toml": LEARNS, "learner.py": LEARNER}
    install(folder, "acme_learner", learner, "learner = acme_learner:Tool")
    install(folder, "acme_same", {"__init__.py": SAME}, "same = acme_same:Same")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    for name in ("acme_tool", "acme_learner", "acme_same"):
        sys.modules.pop(name, None)


TOOL_PLUGIN = Plugin("tool", "methods", "acme_tool:Tool", "acme_tool 1.0")


def test_its_parameters_are_set_and_checked_as_those_of_any(site: Path) -> None:
    assert build(TOOL_PLUGIN, {"mode": "die", "minutes": 3}).minutes == 3.0
    for parameters, reason in (
        ({"mod": "x"}, r"no parameter 'mod'; is 'mode' meant\?"),
        ({"mode": 3}, "'tool.mode': expected str"),
        ({"mode": "--x"}, "'tool' refused its parameters: mode: expected a word"),
        ({"prefix": "touch x"}, "'tool' has no parameter 'prefix'"),
    ):
        with pytest.raises(SettingsError, match=reason):
            build(TOOL_PLUGIN, parameters)
    part = plugin_part(TOOL_PLUGIN, {}, "default")
    assert part.individual
    assert part.needs["folds"] is False


def test_the_program_s_version_is_in_the_keys_and_time_limits_are_not(site: Path) -> None:
    toml = "version = ['{python}', '-c', 'print(3)']\n" + TOML
    (site / "acme_tool" / "method.toml").write_text(toml)
    part, other = (plugin_part(TOOL_PLUGIN, more, "default") for more in ({}, {"minutes": 9}))
    assert part.version == "3"
    assert part.identity == other.identity
    assert part.identity != plugin_part(TOOL_PLUGIN, {"mode": "nan"}, "default").identity


def test_a_command_line_of_a_run_folder_is_never_run(site: Path, tmp_path: Path) -> None:
    sign = tmp_path / "started"
    for more in ({"prefix": f"touch {sign}"}, {"transform": f"touch {sign}"}, {"mode": f"{sign}"}):
        part = Part("tool", "acme_tool:Tool", "acme_tool 1.0", "", parameters=more)
        with pytest.raises(SettingsError):
            part.build()
    with pytest.raises(PluginError, match="expected an installed plugin"):
        Part("tool", "harmobench.outside.method:Outside", "x", "").build()
    assert not sign.exists()


def digest_of(site: Path, name: str) -> str:
    """Digest of an installed method, computed anew: a process computes it once."""
    registry._source_digest.cache_clear()
    return registry.find("methods", name).digest()


def test_every_file_of_the_package_counts(site: Path) -> None:
    folder = site / "acme_tool"
    seen = [digest_of(site, "tool")]
    (folder / "method.toml").write_text(TOML + "\n# a remark\n")
    seen.append(digest_of(site, "tool"))
    (folder / "weights").mkdir()
    (folder / "weights" / "net.h5").write_bytes(b"\0" * 10)
    seen.append(digest_of(site, "tool"))
    (folder / "weights" / "net.h5").write_bytes(b"\0" * 9 + b"\1")
    seen.append(digest_of(site, "tool"))
    assert len(set(seen)) == len(seen)
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "x.bin").touch()
    (folder / ".DS_Store").touch()
    (folder / ".idea").mkdir()
    (folder / ".idea" / "x").touch()
    (folder / "old.pyc").touch()
    assert digest_of(site, "tool") == seen[-1]


def _run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harmobench.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_a_run_gives_the_bytes_of_the_same_method_in_python(site: Path, tmp_path: Path) -> None:
    import pandas as pd

    manifest = make_cohort(tmp_path / "co hort")
    out = tmp_path / "run of 'it'"
    options = ["--metrics", "auroc", "--preset", "quick", "--workers", "1", "--controls", "off"]
    done = _run(
        site, "run", "--cohort", str(manifest), "--out", str(out), "--quiet", *options,
        "--methods", "learner,same,tool", "--covariates", "age", "--set", "tool.mode=die",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    scores = pd.read_parquet(out / "scores.parquet")
    assert set(scores[scores["method"] == "learner"]["status"]) == {"ok"}
    reasons = set(scores[scores["method"] == "tool"]["reason"])
    ending = "to end with status 0, found 3; it said last: the real reason"
    assert reasons
    assert all(reason.endswith(ending) for reason in reasons)
    images = {
        method: [path.read_bytes() for path in sorted((out / "harmonized" / method).rglob("*.gz"))]
        for method in ("learner", "same")
    }
    assert len(images["learner"]) == 8
    assert images["learner"] == images["same"]
    models = (out / "models" / "learner").rglob("files/deep/model.json")
    assert len({json.loads(path.read_text())["mean"] for path in models}) > 1, "one a fold"
    logs = [path.read_text() for path in (out / "logs").glob("*.log")]
    assert any("tool.py die" in text for text in logs), "its command stands in the log"
    # The same command line takes its final model to a scan outside the run.
    source, fields = (
        manifest.parent / "images" / "sub-01_GE.nii.gz",
        ("subject", "scanner", "image"),
    )
    row = dict(zip(fields, ("new", "GE", str(source)), strict=True))
    new = write_manifest(tmp_path / "new.csv", [{**row, "age": "70"}])
    done = _run(site, "apply", str(out), "learner", str(new), str(tmp_path / "new"))
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((out / "models/learner/all/files/deep/model.json").read_text())
    scan = Scan("new", "GE", source)
    inside = scan.voxels()[scan.brain()].astype(np.float64)
    made = read_voxels(next((tmp_path / "new").rglob("*.nii.gz")))[scan.brain()]
    assert made == pytest.approx(inside * (kept["mean"] / inside.mean()) + 7, abs=1e-4)


# --- the examples ---------------------------------------------------------------------------------


def example(name: str, module: str, attribute: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES / name))
    importlib.invalidate_caches()
    return getattr(importlib.import_module(module), attribute)


def z_score(scan: Scan) -> tuple[Any, float, float]:
    """Brain voxels, their mean and standard deviation, in double precision."""
    inside = scan.voxels()[scan.brain()].astype(np.float64)
    return inside, float(inside.mean()), float(inside.std())


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed")
def test_the_example_in_r_is_a_z_score(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = example("zscore-r", "harmobench_zscore_r", "ZScoreR", monkeypatch)
    assert cls().available() is None
    assert cls().version().startswith("R")
    train = cohort.select(["01", "02"])
    cls().fit(train, None, context(tmp_path)).save(tmp_path / "model")
    method = cls.load(tmp_path / "model")
    mean, deviation = np.mean([z_score(scan)[1:] for scan in train.scans], axis=0)
    for scan in cohort.scans[-2:]:
        inside, own, spread = z_score(scan)
        made = method.transform(scan).voxels()
        expected = (inside - own) / spread * deviation + mean
        assert made[scan.brain()] == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed")
@pytest.mark.parametrize("kind", ["|u1", "|i1", "<i2", ">u2", ">i4", "<u4", "<f4", ">f8"])
def test_the_example_in_r_reads_what_nifti_holds(kind: str, tmp_path: Path) -> None:
    """Its reader and writer, without harmobench: every kind of number, both byte orders, scaled."""
    rng = np.random.default_rng(3)
    least = {"<u4": 2**31 - 20, ">i4": -(2**31)}.get(kind, 20)  # 2^31 in bits is NA to R
    stored = (least + rng.integers(0, 100, (5, 6, 7))).astype(kind)
    stored[0, 0, 0], stored[1, 0, 0] = least, least + 20
    header = nib.nifti1.Nifti1Header(endianness=">" if kind.startswith(">") else "<")
    header.set_data_dtype(stored.dtype)
    affine = np.array([[0, -2, 0, 9], [1.5, 0, 0, -8], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    image = nib.nifti1.Nifti1Image(stored, affine, header)
    image.header.set_slope_inter(0.5, 3)
    paths = [tmp_path / name for name in ("in.nii", "mask.nii.gz", "out.nii.gz")]
    nib.save(image, paths[0])
    brain = stored > least + 20
    nib.save(nib.nifti1.Nifti1Image(brain.astype(np.uint8), affine), paths[1])
    (tmp_path / "level.txt").write_text("10\n2\n")
    script = EXAMPLES / "zscore-r" / "harmobench_zscore_r" / "zscore.R"
    command = ["Rscript", "--vanilla", str(script), "transform", *map(str, paths), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    made = nib.load(paths[2])
    voxels = np.asarray(nib.load(paths[0]).dataobj, dtype=np.float64)
    assert voxels[0, 0, 0] == least * 0.5 + 3
    expected = (voxels - voxels[brain].mean()) / voxels[brain].std() * 2 + 10
    assert made.get_data_dtype() == np.dtype(header.endianness + "f4")
    assert np.allclose(made.affine, affine)
    assert np.asarray(made.dataobj) == pytest.approx(expected, abs=1e-5)


VARIABLE = "HARMOBENCH_INTENSITY_NORMALIZATION_PROGRAM"
NORMALIZE = os.environ.get(VARIABLE) or shutil.which(
    "intensity-normalize", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
)


@pytest.mark.skipif(NORMALIZE is None, reason="intensity-normalize is not installed")
def test_the_example_of_intensity_normalization_is_a_z_score(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NORMALIZE is not None
    monkeypatch.setenv(VARIABLE, NORMALIZE)
    name = "intensity-normalization"
    cls = example(name, "harmobench_intensity_normalization", "IntensityNormalization", monkeypatch)
    assert cls().version().startswith("intensity-normalization ")
    scan = cohort.scans[0]
    inside, mean, spread = z_score(scan)
    made = cls().transform(scan).voxels()
    assert made[scan.brain()] == pytest.approx((inside - mean) / spread, abs=1e-5)
    assert (made[~scan.brain()] == 0).all()
    with pytest.raises(ValueError, match="method: expected one of zscore, kde, whitestripe"):
        cls(method="fcm")


def test_the_examples_can_be_installed(tmp_path: Path) -> None:
    """Their wheels hold all that method.toml names, and harmobench lists them."""
    for folder in sorted(EXAMPLES.iterdir()):
        source = shutil.copytree(folder, tmp_path / "source" / folder.name)
        options = [
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(tmp_path / "site"),
        ]
        command = [sys.executable, "-m", "pip", "install", *options, str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    done = _run(tmp_path / "site", "list", "methods")
    assert done.returncode == 0, done.stderr
    for words_ in (
        "zscore-r           Z-scores within",
        "intensity-normalization One image at a time",
    ):
        assert words_ in done.stdout
