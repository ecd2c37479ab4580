"""BIDS out: what preprocessing and runs publish validates, and reads back as the same cohort."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bids_sets import describe, image, raw, write

from harmobench.atlas import icbm152
from harmobench.bids import app, levels
from harmobench.bids.cohort import Ask, from_bids
from harmobench.bids.manifest import manifest_text
from harmobench.cohort import no_progress
from harmobench.imaging.volume import Grid, read_voxels, write_image
from harmobench.store import read_json
from harmobench.verify import verify

Cli = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[1]
VALIDATOR = shutil.which("bids-validator-deno")
validates = pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
needs_checkout = pytest.mark.skipif(
    not (ROOT / "containers").is_dir(), reason="containers/ stands in the checkout alone"
)
OPTIONS = ["--n-cpus", "1", "--skip-bids-validation"]


def errors(folder: Path) -> Counter[str]:
    """Errors that the validator finds, by code and an example."""
    done = subprocess.run(
        [str(VALIDATOR), "--format", "json", str(folder)], capture_output=True, text=True
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    return Counter(f"{i['code']} {i['location']}" for i in issues if i["severity"] == "error")


def native(seed: int) -> tuple[np.ndarray, Grid]:
    """Draw a person's native image at 6 mm: in another place and brightness than the template's."""
    tissues, _, brain, grid = icbm152(6.0)
    rng = np.random.default_rng(seed)
    voxels = sum(v * tissues[t] for v, t in ((200, "csf"), (600, "gm"), (900, "wm")))
    voxels = np.clip(voxels + rng.normal(0, 15, grid.shape), 1, None) * brain
    moved = grid.affine.copy()
    moved[:3, 3] += (4, -3, 5)
    return voxels.astype(np.int16), Grid.make(grid.shape, moved)


def write_atlas(folder: Path) -> Path:
    """Write the built-in atlas at 6 mm as a folder of its own."""
    tissues, template, brain, grid = icbm152(6.0)
    labels = np.where(brain, 1 + np.stack([tissues[t] for t in ("csf", "gm", "wm")]).argmax(0), 0)
    images = {"t1": template * brain, "mask": brain, "tissues": labels.astype(np.uint8)}
    folder.mkdir()
    for name, voxels in images.items():
        write_image(folder / f"{name}.nii.gz", voxels, grid)
    write(
        folder / "atlas.toml",
        'name = "tiny atlas"\nspace = "ICBM152"\ntemplate = "t1.nii.gz"\nmask = "mask.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n',
    )
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["harmobench-bids", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a raw BIDS dataset of two people on two scanners that sidecars name."""
    folder = describe(tmp_path_factory.mktemp("bids") / "my data", Authors=["A", "B"])
    write(folder / "README.md", "Two people on two scanners. " * 20)
    write(
        folder / "participants.tsv", "participant_id\tage\tgroup\nsub-a\t60\tlow\nsub-b\tn/a\thi\n"
    )
    for s, label in enumerate("ab"):
        for k, maker in enumerate(("GE", "Philips")):
            name = f"sub-{label}_ses-{k + 1}_T1w.nii.gz"
            sidecar = {"Manufacturer": maker, "ManufacturersModelName": "One X"}
            path = image(folder, name, sidecar)
            path.unlink()
            write_image(path, *native(10 * s + k))
    return folder


@pytest.fixture(scope="module")
def made(dataset: Path) -> Path:
    """Return OUT_DIR after both levels, a subject by itself each; do not change it."""
    out = dataset.parent / "out"
    atlas = write_atlas(dataset.parent / "atlas")
    with pytest.MonkeyPatch.context() as patch:
        common = [dataset, out, *OPTIONS, "--atlas", atlas, "--quiet"]
        for label in ("a", "sub-b"):
            words = [*common, "--participant-label", label, "--quality", "quick"]
            assert call(patch, *words[:2], "participant", *words[2:]) == 0
        words = [*common, "--methods", "raw,whitestripe"]
        more = ["--", "--metrics", "volume", "--measures", "none"]
        assert call(patch, *words[:2], "group", *words[2:], *more) == 0
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def files_of(folder: Path, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Give rows with the whole path of each file."""
    names = ("image", "mask", "native_image", "to_native")
    return [
        {k: os.path.realpath(folder / v) if k in names else v for k, v in row.items()}
        for row in rows
    ]


def test_both_levels_end_in_a_report(made: Path) -> None:
    assert (made / "run" / "report.html").is_file()
    rows = rows_of(made / "matched.csv")
    assert [(r["subject"], r["scanner"], r["age"], r["group"]) for r in rows] == [
        ("a", "GE One X", "60", "low"), ("a", "Philips One X", "60", "low"),
        ("b", "GE One X", "", "hi"), ("b", "Philips One X", "", "hi"),
    ]  # fmt: skip
    assert all((made / row["native_image"]).is_file() for row in rows)
    assert (made / "sub-a.html").is_file()


@validates
@pytest.mark.parametrize(
    "place",
    [
        "", "work/sub-a/RAW", "run/harmonized", "run/harmonized/raw", "run/harmonized/whitestripe",
        "run/segmentations/hmrf/raw", "run/segmentations/hmrf/whitestripe",
    ],
)  # fmt: skip
def test_what_is_published_has_no_errors(made: Path, place: str) -> None:
    assert errors(made / place) == Counter()


def test_what_preprocess_published_is_the_same_cohort(made: Path) -> None:
    folder = made / "work" / "sub-a" / "RAW"
    found = from_bids(Ask(folder), matched=False)
    write(made.parent / "again.csv", manifest_text(found, made.parent / "again.csv"))
    again = files_of(made.parent, rows_of(made.parent / "again.csv"))
    assert again == files_of(folder, rows_of(folder / "matched.csv"))


@pytest.mark.parametrize("method", ["raw", "whitestripe"])
def test_what_a_run_published_is_the_same_cohort(made: Path, method: str) -> None:
    folder = made / "run" / "harmonized" / method
    found = from_bids(Ask(folder))
    before = {(r["subject"], r["scanner"]): r for r in rows_of(made / "matched.csv")}
    assert {(row.subject, row.scanner) for row in found.rows} == set(before)
    for row in found.rows:
        known = before[row.subject, row.scanner]
        assert row.values == {"age": known["age"], "group": known["group"]}
        assert np.array_equal(read_voxels(row.files["mask"]), read_voxels(made / known["mask"]))
        assert row.named.get("space") == "tinyatlas"


def test_a_run_with_its_datasets_verifies(made: Path) -> None:
    assert verify(made / "run", no_progress).differences == []


def test_a_mask_is_written_once_and_is_no_link_to_the_user_s(made: Path) -> None:
    own, other = (
        made / "run/harmonized" / m / "tpl-tinyatlas/tpl-tinyatlas_desc-brain_mask.nii.gz"
        for m in ("raw", "whitestripe")
    )
    assert own.samefile(other)
    assert not own.samefile(made / rows_of(made / "matched.csv")[0]["mask"])


def test_sidecars_name_their_sources(made: Path, dataset: Path) -> None:
    links = read_json(made / "dataset_description.json")["DatasetLinks"]
    assert links == {"raw": "../my%20data"}
    sidecar = read_json(next((made / "sub-a").glob("ses-*/anat/*_T1w.json")))
    assert sidecar["Sources"][0].startswith("bids:raw:sub-a/ses-")
    folder = made / "run" / "harmonized" / "whitestripe"
    sidecar = read_json(next(folder.glob("sub-a/*/anat/*_desc-whitestripe_T1w.json")))
    assert sidecar["SkullStripped"] is True
    assert sidecar["method"] == "whitestripe"
    assert sidecar["Sources"][0].startswith("bids:raw:sub-a/ses-")
    assert read_json(folder / "dataset_description.json")["DatasetLinks"] == {"raw": "../../.."}


def test_another_quality_is_refused_before_anything_is_done(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [made.parent / "my data", made, "participant", *OPTIONS]
    for more in ([], ["--quality", "paper"], ["--", "--quality=paper"]):
        assert call(monkeypatch, *words, *more) == 2
        assert "expected Quality as of the subjects in" in capsys.readouterr().err


def test_other_options_do_not_mix_into_the_dataset(made: Path) -> None:
    given = levels.Call(made.parent / "my data", made, made / "work")
    raw_folder = shutil.copytree(made / "work/sub-a/RAW", made.parent / "other")
    described = read_json(raw_folder / "dataset_description.json") | {"Quality": "paper"}
    (raw_folder / "dataset_description.json").write_text(json.dumps(described))
    with pytest.raises(levels.SettingsError, match="expected Quality as of the subjects in"):
        levels._publish(given, "a", raw_folder)


# what the call refuses


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["{data}", "{data}", "group"], "OUT_DIR: expected another folder than BIDS_DIR"),
        (["{data}", "{new}", "group"], "OUT_DIR: expected what the level participant made"),
        (["{data}", "{full}", "participant"], "OUT_DIR: expected a new or empty folder"),
        (["{full}", "{new}", "participant"], "BIDS_DIR: expected a BIDS dataset, found no"),
        (["{data}", "{new}", "participant", "--participant-label", "09"], "found none"),
        (["{data}", "{new}", "participant", "--scanner-from", "x"], "--scanner-from: expected"),
        (["{data}", "{new}", "subject"], "invalid choice: 'subject'"),
        (["{data}", "{new}", "group", "--mem", "much"], "expected gigabytes such as 16"),
        (["{data}", "{new}", "group", "--n-cpus", "0"], "expected a whole number, at least 1"),
        (["{data}", "{new}", "group", "--n-cpus", "abc"], "at least 1, found abc"),
        (["{data}", "{new}", "group", "--session-label", "1"], "found at group"),
        (
            ["{data}", "{new}", "group", "--n-cpus", "3", "--", "--folds", "3"],
            "OUT_DIR: expected what the level",
        ),
        (["{data}", "{new}", "group", "--", "--folds"], "after --: harmobench run: Option"),
        (["{data}", "{new}", "group", "--", "--cohort=x"], "does not set itself, found --cohort"),
        (
            ["{data}", "{new}", "group", "--n-cpus", "1", "--", "--workers", "2"],
            "does not set itself, found --workers: leave it out",
        ),
        (
            ["{data}", "{new}", "participant", "--atlas", "a", "--", "--atlas", "b"],
            "does not set itself, found --atlas",
        ),
        (["{data}", "{new}", "participant", "--", "--out", "zz"], "not set itself, found --out"),
        (["{data}", "{new}", "participant", "--", "m.csv"], "after --: harmobench preprocess: Got"),
        (["{data}", "{new}", "participant", "--", "--mispelt"], "No such option: --mispelt"),
    ],
)
def test_calls_that_are_refused_write_nothing(
    words: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"data": raw(tmp_path / "data"), "new": tmp_path / "new", "full": tmp_path / "full"}
    write(places["full"] / "mine.txt", "mine")
    given = [word.format(**places) for word in words]
    end = given.index("--") if "--" in given else len(given)
    assert call(monkeypatch, *given[:end], *OPTIONS[2:], *given[end:]) == 2
    assert text in capsys.readouterr().err
    assert not places["new"].exists()
    assert [p.name for p in places["full"].iterdir()] == ["mine.txt"]


def test_help_after_the_two_dashes_is_that_of_the_command_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [raw(tmp_path / "d"), tmp_path / "out", "participant", "--", "--help"]
    assert call(monkeypatch, *words) == 0
    assert "--skull" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_call_without_options_preprocesses_every_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(levels, "_harmobench", lambda *words: seen.append(words) or levels.FAILED)
    monkeypatch.setattr(levels, "_publish", lambda *_: None)
    monkeypatch.setattr(levels, "VALIDATOR", "no-such-program")
    out = tmp_path / "out"
    assert call(monkeypatch, raw(tmp_path / "d"), out, "participant") == levels.FAILED
    places = [out / "work" / f"sub-{label}" for label in ("01", "02")]
    assert seen == [
        ("preprocess", str(place / "scans.csv"), "--out", str(place / "RAW")) for place in places
    ]


def test_a_dataset_that_does_not_validate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"issues": {"issues": [{"code": "EMPTY_FILE", "location": "/x", "severity": "error"}]}}
    program = write(
        tmp_path / "bin" / "bids-validator-deno", f"#!/bin/sh\necho '{json.dumps(found)}'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert call(monkeypatch, raw(tmp_path / "d"), tmp_path / "out", "participant") == 2
    err = capsys.readouterr().err
    assert "found 1 errors" in err
    assert "EMPTY_FILE: /x" in err
    assert "--skip-bids-validation" in err


def test_version_and_what_follows_the_two_dashes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--version") == 0
    assert re.match(r"harmobench \d+\.\d+", capsys.readouterr().out)
    words = ["in", "out", "group", "--mem", "8GB", "--n_cpus", "4", "--participant_label", "1", "2"]
    own, more = app.split([*words, "--", "--folds", "3"])
    given = app.parser().parse_args(own)
    assert given.participant_label == ["1", "2"]
    assert [*app._options(given), *more] == [
        "--workers", "4", "--memory", "2.000GB", "--folds", "3",
    ]  # fmt: skip


# containers


@needs_checkout
def test_the_apptainer_definition_has_every_section() -> None:
    text = (ROOT / "containers" / "apptainer.def").read_text()
    assert text.startswith("Bootstrap: docker\nFrom: python:3.11")
    sections = re.findall(r"^%(\w+)", text, re.MULTILINE)
    assert sections == ["files", "post", "environment", "labels", "runscript", "test", "help"]
    assert 'exec harmobench-bids "$@"' in text
    for name in re.findall(r"^    (\S+) /src/", text, re.MULTILINE):
        assert (ROOT / name).exists(), name


@needs_checkout
def test_both_containers_are_made_alike() -> None:
    docker = (ROOT / "containers" / "Dockerfile").read_text()
    apptainer = (ROOT / "containers" / "apptainer.def").read_text()
    base = set(re.findall(r"(?:FROM|From:) (python:\S+)", docker + apptainer))
    assert len(base) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base.pop())
    for text in (docker, apptainer):
        assert "-c constraints.txt" in text
        assert "--no-cache-dir" in text
        assert "--extra-index-url https://download.pytorch.org/whl/cpu" in text
    assert "\nUSER 1000\n" in docker
    assert docker.index("\nUSER") < docker.index("\nENTRYPOINT")
    copied = re.findall(r"^COPY ([^-].*) \./?\S*$", docker, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
