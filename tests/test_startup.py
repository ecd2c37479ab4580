"""What a start of the command line imports, what `--version` says, and what a shell completes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from harmobench import versions
from harmobench.cli import main
from harmobench.completing import methods_of_run, names_of, run_folders, words

HEAVY = {
    "ants", "bokeh", "dask", "distributed", "IPython", "matplotlib", "nibabel", "nilearn", "pandas",
    "pingouin", "pyarrow", "scipy", "skimage", "sklearn", "statsmodels", "torch",
}  # fmt: skip
# Runs a command in a fresh process and prints what it imported on its last line.
RECORD = """
import sys
from harmobench.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sys.modules)
"""
# A command of another package that leaves a mark where it is imported.
HEAVY_COMMAND = """
import os, pathlib
pathlib.Path(os.environ["MARK"]).touch()
def slow() -> None:
    "Take long to import."
    print("called")
"""


def _python(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, **more},
    )


def imported(*arguments: str) -> set[str]:
    """Top-level modules that a command imported."""
    modules = _python(RECORD, *arguments).stdout.splitlines()[-1].split()
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["list"]])
def test_no_heavy_library_is_imported(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert "harmobench" in found
    assert not found & HEAVY
    if arguments != ["list"]:  # there plugins' classes are imported, to read what they are
        assert "numpy" not in found


def test_the_package_alone_imports_next_to_nothing() -> None:
    code = "import sys\nbefore = set(sys.modules)\nimport harmobench\n"
    code += "dir(harmobench)\nprint(*(set(sys.modules) - before))"
    new = _python(code).stdout.split()
    assert [name for name in new if name.partition(".")[0] == "harmobench"] == ["harmobench"]
    assert not {name.partition(".")[0] for name in new} & (HEAVY | {"numpy", "typer"})


@pytest.fixture
def slow_command(tmp_path: Path) -> dict[str, str]:
    """Install a command in a folder; return the environment that finds it, and its mark."""
    site = tmp_path / "site"
    about = site / "slow-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[harmobench.commands]\nslow = slow_command:slow\n")
    (site / "slow_command.py").write_text(HEAVY_COMMAND)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "MARK": str(tmp_path / "mark")}


def test_another_packages_command_is_imported_when_it_is_called(
    slow_command: dict[str, str],
) -> None:
    mark = Path(slow_command["MARK"])
    _python(RECORD, "list", "reports", **slow_command)
    _python(RECORD, "run", "--help", **slow_command)
    assert "plugins: slow 1.0 (commands)" in _python(RECORD, "--version", **slow_command).stdout
    assert not mark.exists()
    assert "called" in _python(RECORD, "slow", **slow_command).stdout
    assert mark.exists()
    assert "Take long to import." in _python(RECORD, "--help", **slow_command).stdout


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["harmobench", *arguments])
        with pytest.raises(SystemExit):
            main()
        out, err = capsys.readouterr()
        return out + err

    return call


def test_a_mistyped_command_of_a_plugin_is_proposed(cli: Callable[..., str]) -> None:
    assert "'power'" in cli("powr")
    assert "harmobench power [OPTIONS]" in cli("power", "-h")


def test_version_says_what_gpu_could_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda name: torch)
    driver = tmp_path / "driver"
    assert versions.gpu(driver) == "none, torch was built without CUDA"
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libtorch_cuda.so").touch()
    assert "no NVIDIA driver is loaded" in versions.gpu(driver)
    driver.touch()
    assert versions.gpu(driver) == "torch was built with CUDA, and an NVIDIA driver is loaded"


def test_what_version_says_of_the_gpu_is_what_torch_says() -> None:
    torch = pytest.importorskip("torch")
    built = torch.version.cuda is not None
    assert ("built with CUDA" in versions.gpu()) == built


def test_names_with_commas_are_completed_one_by_one() -> None:
    complete = names_of("methods")
    assert {"raw", "mispel", "all"} <= set(complete(""))
    assert set(complete("ravel,mis")) == {"ravel,mispel", "ravel,mismatch"}
    assert "raw,raw" not in complete("raw,ra")
    assert "raw,all" not in complete("raw,")
    assert words("on", "off")("of") == ["off"]


def test_folders_of_runs_and_their_methods_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("run_a", "run_b"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        (tmp_path / "deep" / name / "run.json").write_text(
            '{"methods": [{"name": "raw"}, {"name": "ravel"}]}'
        )
    (tmp_path / "deep" / "rubbish").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_folders("") == []
    assert run_folders("deep/r") == ["deep/run_a", "deep/run_b"]
    assert run_folders("./deep/run_b") == ["./deep/run_b"]
    assert run_folders(f"{tmp_path}/deep/") == [f"{tmp_path}/deep/run_{x}" for x in "ab"]
    assert run_folders("nowhere/") == []
    monkeypatch.chdir(tmp_path / "deep")
    assert run_folders("") == ["run_a", "run_b"]
    typed = SimpleNamespace(params={"folder": "run_a"})
    assert methods_of_run(typed, "rav") == ["ravel"]
    assert methods_of_run(SimpleNamespace(params={"folder": "rubbish"}), "") == []


def test_names_of_a_strangers_run_that_are_no_methods_are_not_proposed(tmp_path: Path) -> None:
    names = ["raw", "$(touch x)", "a\nb", "../x", 3, None, ["raw"]]
    methods = [{"name": name} for name in names]
    (tmp_path / "run.json").write_text(json.dumps({"methods": methods}))
    assert methods_of_run(SimpleNamespace(params={"folder": tmp_path}), "") == ["raw"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_names(tmp_path: Path) -> None:
    """The script that `--show-completion` prints, in a shell that sources it."""
    program = tmp_path / "bin" / "harmobench"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom harmobench.cli import main\nmain()\n")
    program.chmod(0o755)
    script = """
eval "$(harmobench --show-completion)"
complete -p harmobench > /dev/null || exit 3
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _harmobench_completion harmobench; \
echo "${COMPREPLY[*]}" | tr '\\n' ' '; echo; }
try harmobench pow
try harmobench run --met
try harmobench run --methods raw,whi
cd "$0"
try harmobench verify fi
try harmobench cite fi
"""
    (tmp_path / "finished").mkdir()
    (tmp_path / "finished" / "run.json").touch()
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script, str(tmp_path)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, third, *folders = done.stdout.splitlines()[-5:]
    assert first.strip() == "power"
    assert set(second.split()) == {"--methods", "--metrics"}
    assert third.strip() == "raw,whitestripe"
    assert [line.strip() for line in folders] == ["finished", "finished"]
