"""What `harmobench tools` says: each tool once, what was found, and where."""

from pathlib import Path

import pytest

from harmobench.errors import SettingsError
from harmobench.programs import MEASURING, READING, SEGMENTERS, look_for_all
from harmobench.registry import plugins


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FSLDIR", "SPM12_HOME", "MCR_HOME", "FREESURFER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def lines(*sets: str, config: Path | None = None) -> dict[str, tuple[str, str]]:
    found = look_for_all(sets, config)
    return {name: (status, text) for rows in found.values() for name, status, text in rows}


def test_every_tool_stands_in_the_list_once() -> None:
    found = look_for_all((), None)
    assert {name for name, _, _ in found[SEGMENTERS]} == set(plugins("segmenters"))
    rest = [name for heading in (MEASURING, READING) for name, _, _ in found[heading]]
    assert sorted(rest) == sorted(plugins("morphometry"))


def test_what_is_there_is_ready_and_what_is_not_says_what_to_do() -> None:
    found = lines()
    assert found["hmrf"][0] == "ready"
    assert found["atropos"][1].startswith("antspyx ")
    assert found["fsl-fast"][0] == "missing"
    assert "fsl-fast.fsldir=DIR" in found["fsl-fast"][1]
    assert found["recon-all"][0] == "missing"
    assert found["freesurfer"][0] == "reads"


def test_a_program_is_found_where_the_settings_say(tmp_path: Path) -> None:
    fast = tmp_path / "bin" / "fast"
    fast.parent.mkdir()
    fast.write_text("#!/bin/sh\n")
    fast.chmod(0o755)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "fslversion").write_text("6.0.7\n")
    config = tmp_path / "run.toml"
    config.write_text(f'[set.fsl-fast]\nfsldir = "{tmp_path}"\n')
    for found in (lines(f"fsl-fast.fsldir={tmp_path}"), lines(config=config)):
        assert found["fsl-fast"] == ("ready", f"FSL FAST 6.0.7, {fast}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spm12.runner=python", "found 'python'"),
        ("fsl-fast.fsldirr=x", "is 'fsldir' meant"),
        ("fsl-fst.fsldir=x", "is 'fsl-fast' meant"),
        ('recon-all.flags=a "b', "recon-all.flags"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        lines(text)


def test_a_wrong_form_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"NAME\.PARAMETER=VALUE"):
        look_for_all(("fsldir",), None)
