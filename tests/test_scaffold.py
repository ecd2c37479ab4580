"""`harmobench new` writes packages that install, pass their own tests, and keep every rule."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harmobench.errors import HarmobenchError, PluginError, SettingsError
from harmobench.scaffold.command import next_commands
from harmobench.scaffold.package import Package, write_package
from harmobench.testing import verdicts

PACKAGES = {
    "method": Package("method", "my-zscore"),
    "trained": Package("method", "scaled", trained=True),
    "metric": Package("metric", "mad"),
    "segmenter": Package("segmenter", "k.means"),
}
MOST_LINES = 50  # of a module, the trained method's the longest


def _python(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_new_method_installs_and_passes_its_own_tests(tmp_path: Path) -> None:
    package, site = PACKAGES["method"], tmp_path / "site"
    write_package(package, tmp_path / "new")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    installed = _python("-m", "pip", "install", *options, "./new", folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    done = _own_tests(package, tmp_path, site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def _own_tests(
    package: Package, folder: Path, site: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run a package's tests away from its source, so that what is installed is tested."""
    name = f"test_{package.module}.py"
    (folder / name).write_bytes((folder / "new" / name).read_bytes())
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options, name)
    return _python("-m", "pytest", *options, folder=folder, PYTHONPATH=str(site))


@pytest.mark.parametrize("what", ["trained", "metric", "segmenter"])
def test_the_others_pass_too(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed they are found by name; here by their class, and the cohort is made once."""
    package = PACKAGES[what]
    write_package(package, tmp_path / "new")
    done = _own_tests(package, tmp_path, tmp_path / "new", "-k", "not keeps_the_rules")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed, 1 deselected" in done.stdout
    monkeypatch.syspath_prepend(tmp_path / "new")
    found = verdicts(f"{package.module}:{package.cls}", f"{package.kind}s")
    assert {v.status for v in found.values()} <= {"passed", "not applicable"}, found


@pytest.mark.parametrize("what", PACKAGES)
def test_what_is_written_is_short_and_sound(what: str, tmp_path: Path) -> None:
    package = PACKAGES[what]
    texts = {path.name: path.read_text() for path in write_package(package, tmp_path / "new")}
    module = texts[f"{package.module}.py"]
    assert package.cls in {n.name for n in ast.parse(module).body if isinstance(n, ast.ClassDef)}
    code = [line for line in module.splitlines() if line.strip()]
    assert len(code) <= MOST_LINES
    assert all("$" not in text for text in texts.values())
    settings = tomllib.loads(texts["pyproject.toml"])["project"]
    points = settings["entry-points"][f"harmobench.{package.kind}s"]
    assert points == {package.name: f"{package.module}:{package.cls}"}
    assert f"harmobench check {package.name}" in texts["README.md"]


def test_the_simplest_method_has_about_twenty_lines() -> None:
    module = Package("method", "my-zscore").texts()["harmobench_my_zscore.py"]
    assert len([line for line in module.splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize(
    ("kind", "name", "trained", "text"),
    [
        ("metrik", "x", False, "is 'metric' meant?"),
        ("method", "3d", False, "let it start with a letter"),
        ("method", "../x", False, "expected a name of letters"),
        ("method", "ravel", False, "'ravel', which harmobench"),
        ("metric", "ravel", False, "for harmobench.methods: choose another"),
        ("method", "RAVEL", False, "like 'ravel', which harmobench"),
        ("method", "ravel_.CV", False, "like 'ravel-cv', which harmobench"),
        ("metric", "None", False, "expected one that means nothing else in options, found 'None'"),
        ("method", "all", False, "choose another"),
        ("metric", "mad", True, "--trained: expected a method, found a metric"),
    ],
)
def test_what_makes_no_package_is_refused(kind: str, name: str, trained: bool, text: str) -> None:
    with pytest.raises((PluginError, SettingsError)) as caught:
        Package(kind, name, trained)
    assert text in str(caught.value)


def test_what_is_installed_under_another_spelling_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "harmobench_a_b.py").write_text("")
    for name in ("a.b", "A-b", "a--b"):
        with pytest.raises(PluginError, match="whose module harmobench_a_b is there already"):
            Package("method", name)
    made = tmp_path / "harmobench_a_b-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: Harmobench.a_b\nVersion: 1.0\n")
    with pytest.raises(PluginError, match=r"whose package harmobench-a-b is installed \(1.0\)"):
        Package("method", "a_b")


def test_names_of_classes_hide_nothing() -> None:
    assert Package("method", "scan").cls == "ScanMethod"
    assert Package("metric", "none-").cls == "NoneMetric"
    assert Package("method", "iqr_v2").cls == "IqrV2"
    assert Package("method", "UPPER").module == "harmobench_upper"


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(HarmobenchError, match="expected a new folder"):
        write_package(PACKAGES["metric"], tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(HarmobenchError, match="expected a place to write to"):
        write_package(PACKAGES["metric"], tmp_path / "file" / "new")
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    done = _python("-m", "harmobench.cli", "new", "metric", "mad", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "written: harmobench-mad/harmobench_mad.py" in done.stdout
    assert "pip install -e ./harmobench-mad" in done.stdout
    again = _python("-m", "harmobench.cli", "new", "metric", "mad", folder=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "expected a new folder" in again.stderr


def test_commands_can_be_pasted() -> None:
    for folder, first in (
        (Path("harmobench-x"), "pip install -e ./harmobench-x"),
        (Path("/a/b"), "pip install -e /a/b"),
        (Path("a b"), "pip install -e './a b'"),
    ):
        assert next_commands(folder, "x", "")[0] == first
