"""Options: what was typed over what a file says."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from harmobench.errors import SettingsError
from harmobench.job import Options
from harmobench.options import read_options

FULL = """
cohort = "data/matched.csv"
out = "results"
methods = ["raw", "whitestripe"]
metrics = "ssim"
segmenters = ["hmrf"]
covariates = ["age", "sex"]
seed = 7
repeats = 2
folds = 4
workers = 3
preset = "quick"
group = "group:low,high"
measures = ["freesurfer=fs/{subject}", "atlas-roi"]
biomarkers = "b.toml"
precomputed = ["haca3=out/{subject}_{scanner}.nii.gz"]

[set.ravel]
k = 2
[set.ssim]
map = "none"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_command_line_alone() -> None:
    options = read_options({"cohort": Path("d/my cohort.tsv"), "seed": 3, "set": ["a.b=1"]}, None)
    assert options == Options(
        Path("d/my cohort.tsv"), Path("my cohort-harmobench"), seed=3, set=("a.b=1",)
    )


def test_a_file_alone_says_all(tmp_path: Path) -> None:
    options = read_options({}, write(tmp_path, FULL))
    assert options == Options(
        cohort=tmp_path / "data" / "matched.csv",
        out=tmp_path / "results",
        methods="raw,whitestripe",
        metrics="ssim",
        segmenters="hmrf",
        covariates="age,sex",
        seed=7,
        repeats=2,
        folds=4,
        workers=3,
        preset="quick",
        group="group:low,high",
        measures=(f"freesurfer={tmp_path}/fs/{{subject}}", "atlas-roi"),
        biomarkers=tmp_path / "b.toml",
        precomputed=(f"haca3={tmp_path}/out/{{subject}}_{{scanner}}.nii.gz",),
        set=("ravel.k=2", 'ssim.map="none"'),
    )


def test_what_was_typed_goes_over_the_file_and_lists_grow(tmp_path: Path) -> None:
    given = {
        "cohort": Path("other.csv"),
        "methods": "all",
        "seed": 0,
        "set": ["ravel.k=3"],
        "precomputed": ["iguane=x/{subject}{scanner}.nii"],
    }
    options = read_options(given, write(tmp_path, FULL))
    assert options.cohort == Path("other.csv"), "typed paths are relative to where it was typed"
    assert options.out == tmp_path / "results"
    assert options.methods == "all"
    assert options.seed == 0, "0 was typed too"
    assert options.folds == 4
    assert options.set == ("ravel.k=2", 'ssim.map="none"', "ravel.k=3"), "the last one counts"
    assert [text.partition("=")[0] for text in options.precomputed] == ["haca3", "iguane"]


def test_parameters_of_a_table_are_read_as_they_were_written(tmp_path: Path) -> None:
    from harmobench.choose import parse_sets

    text = (
        'cohort = "m.csv"\n[set.own]\na = "1"\nb = 1\nc = 1.0\nd = true\ne = ["x", "y"]\nf = "é"\n'
    )
    sets = parse_sets(read_options({}, write(tmp_path, text)).set)
    assert sets == {"own": {"a": "1", "b": 1, "c": 1.0, "d": True, "e": ["x", "y"], "f": "é"}}
    assert [type(v).__name__ for v in sets["own"].values()] == [
        "str", "int", "float", "bool", "list", "str",
    ]  # fmt: skip


def test_a_run_needs_a_manifest(tmp_path: Path) -> None:
    for given, config in (({}, None), ({"seed": 1}, write(tmp_path, "seed = 2"))):
        with pytest.raises(SettingsError, match="--cohort: expected a manifest such as"):
            read_options(given, config)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--config: expected a TOML file, found none at"):
        read_options({}, tmp_path / "none.toml")
    with pytest.raises(
        SettingsError, match=r"--config: expected TOML in .*found a fault: .*line 2"
    ):
        read_options({}, write(tmp_path, "seed = 1\nmethods = raw\n"))
    (tmp_path / "run.toml").write_bytes(b'out = "\xff\xfe"\n')
    with pytest.raises(SettingsError, match="--config: expected TOML in"):
        read_options({}, tmp_path / "run.toml")


def test_an_unknown_option_proposes_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"unknown option 'method'; is 'methods' meant\?"):
        read_options({}, write(tmp_path, 'cohort = "m.csv"\nmethod = "raw"\n'))
    with pytest.raises(SettingsError, match=r"unknown option 'xyzzy'$"):
        read_options({}, write(tmp_path, "xyzzy = 1\n"))


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ('seed = "7"', "seed", "int"),
        ("seed = 1.5", "seed", "int"),
        ("folds = true", "folds", "int"),
        ("workers = [2]", "workers", "int"),
        ("repeats = 2.0", "repeats", "int"),
        ("methods = 3", "methods", "str"),
        ("preset = 1", "preset", "str"),
        ("group = false", "group", "str"),
        ("cohort = 3", "cohort", "str"),
        ("target = 2024-01-01", "target", "str"),
        ("biomarkers = 1", "biomarkers", "str"),
    ],
)
def test_a_value_of_another_type_is_refused(
    tmp_path: Path, text: str, name: str, kind: str
) -> None:
    with pytest.raises(SettingsError, match=rf"option '{name}': expected {kind}, found"):
        read_options({"cohort": Path("m.csv")}, write(tmp_path, text))


def test_every_option_of_the_command_line_is_one_of_these() -> None:
    """`harmobench run` passes what was typed by name."""
    import inspect

    from harmobench.cli import run

    typed = set(inspect.signature(run).parameters) - {"config", "dry_run", "quiet"}
    assert typed == {field.name for field in fields(Options)}
