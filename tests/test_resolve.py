"""Everything that can be refused is refused before anything is written, and says what to do."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harmobench.atlas import builtin_atlas
from harmobench.benchmark import run
from harmobench.choose import names_of, parse_sets
from harmobench.cohort import no_progress, place_of
from harmobench.errors import AtlasError, HarmobenchError, ManifestError, PluginError, SettingsError
from harmobench.imaging.volume import read_grid, read_voxels, write_image
from harmobench.imaging.warp import write_field
from harmobench.job import Job, Options
from harmobench.live.show import Quiet
from harmobench.manifest import read_cohort
from harmobench.resolve import resolve
from harmobench.store import hash_file

TRAINED = """
from dataclasses import dataclass
from typing import ClassVar
from harmobench.base import Method
from harmobench.interface import Needs, Reference

@dataclass
class Trained(Method):
    rounds: int = 9
    presets: ClassVar = {"quick": {"rounds": 1}}
    needs: ClassVar = Needs(folds=True, matched=True, gpu=True, target=True)
    reference: ClassVar = Reference("Trained", "N. N.", 2024)

@dataclass
class Cheat(Method):
    needs: ClassVar = Needs(sees="cohort")

@dataclass
class Ceiling(Method):
    needs: ClassVar = Needs(role="ceiling")

@dataclass
class Picky(Method):
    needs: ClassVar = Needs(role="degenerate")

    def unsuited(self, cohort):
        return f"expected more than {len(cohort.subjects)} subjects, found no more"

@dataclass
class Bare(Method):
    needs: ClassVar = "everything"

@dataclass
class Absent:
    reference: ClassVar = Reference("Absent", "N. N.", 2024)

    def available(self):
        return "install the absent program"

    def version(self):
        return "0"

    def segment(self, scan, context):
        return {}
"""
POINTS = """
[harmobench.methods]
own-trained = own_trained:Trained
own-ceiling = own_trained:Ceiling
own-cheat = own_trained:Cheat
own-picky = own_trained:Picky
own-bare = own_trained:Bare
own-broken = own_trained_of_old:Trained
[harmobench.segmenters]
own-absent = own_trained:Absent
"""
Ask = Callable[..., Job]


@pytest.fixture(scope="module", autouse=True)
def plugins_of_a_third_party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    site = tmp_path_factory.mktemp("site")
    info = site / "own_trained-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-trained\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (site / "own_trained.py").write_text(TRAINED)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        yield
    sys.modules.pop("own_trained", None)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built-in atlas's folder at the cohort's resolution: quicker to bring there."""
    return builtin_atlas(tmp_path_factory.mktemp("atlas"), 6.0).template.parent


@pytest.fixture
def options(cohort_csv: Path, atlas: Path, tmp_path: Path) -> Options:
    return Options(
        cohort=cohort_csv,
        out=tmp_path / "out",
        atlas=str(atlas),
        methods="raw,whitestripe",
        metrics="ssim,auroc",
        segmenters="none",
    )


@pytest.fixture
def ask(options: Options) -> Ask:
    def asked(**changes: Any) -> Job:
        return resolve(replace(options, **changes), "harmobench run", no_progress)

    return asked


@pytest.fixture
def rows(cohort_csv: Path) -> list[dict[str, str]]:
    """Return the cohort's rows with absolute paths, to be changed and written elsewhere."""
    with cohort_csv.open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    return [{**row, "image": str(cohort_csv.parent / row["image"])} for row in found]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def everything(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hash_file(path) if path.is_file() else ""
        for path in folder.rglob("*")
    }


# --- what comes out -------------------------------------------------------------------------------


def test_a_job_says_all_and_writes_nothing(
    ask: Ask, cohort_csv: Path, tmp_path: Path, atlas: Path
) -> None:
    before = everything(cohort_csv.parent), everything(atlas)
    job = ask()
    assert (everything(cohort_csv.parent), everything(atlas)) == before
    assert list(tmp_path.iterdir()) == []
    assert [part.name for part in job.methods] == ["raw", "whitestripe"]
    assert [part.name for part in job.metrics] == ["ssim", "auroc"]
    assert job.segmenters == ()
    assert [part.name for part in job.morphometry] == ["atlas-roi"]
    assert job.places == {}
    assert job.group == {"column": "group", "first": "high", "second": "low"}
    assert any("high minus low" in note for note in job.notes)
    assert (job.target, job.device, job.native) == (None, "cpu", False)
    assert job.atlas["source"] == str(atlas)
    assert len(job.scans) == 8
    for row, scan in zip(job.scans, read_cohort(cohort_csv).scans, strict=True):
        assert Path(row["image"]).is_absolute()
        assert row["hashes"] == {row["image"]: hash_file(scan.image)}
        assert row["values"] == dict(scan.values)


def test_raw_is_added_and_comes_first(ask: Ask) -> None:
    job = ask(methods="whitestripe")
    assert [part.name for part in job.methods] == ["raw", "whitestripe"]
    assert any(note.startswith("raw was added") for note in job.notes)
    job = ask(methods="own-ceiling, own-trained ,whitestripe,raw,raw")
    names = [part.name for part in job.methods]
    assert names == ["raw", "whitestripe", "own-trained", "own-ceiling"], "controls last"
    assert not any(note.startswith("raw was added") for note in job.notes)
    job = ask(methods="own-ceiling,raw", controls="off")
    assert [part.name for part in job.methods] == ["raw"]


def test_controls_come_with_all_methods_or_where_they_are_asked_for(
    ask: Ask, options: Options
) -> None:
    from harmobench.choose import choose_methods

    def roles(**changes: Any) -> dict[str, str]:
        parts = choose_methods(replace(options, **changes), [])
        return {p.name: p.needs["role"] for p in parts if p.target.startswith("harmobench.")}

    own = {"oracle", "template", "shrink", "shuffle", "mismatch", "invert", "blur", "blur-noise"}
    assert own <= set(roles(methods="all"))
    assert not own & set(roles(methods="raw,whitestripe"))
    assert own | {"raw"} == set(roles(methods="raw", controls="on"))
    assert not own & set(roles(methods="all", controls="off"))
    assert roles(methods="all", controls="off")["histogram"] == "baseline"
    assert next(iter(roles(methods="raw", controls="on"))) == "raw"


def test_what_a_cohort_does_not_suit_is_left_out_of_all_and_said(ask: Ask) -> None:
    job = ask(methods="all")
    assert "own-picky" not in {part.name for part in job.methods}
    assert any("own-picky left out: expected more than 4" in note for note in job.notes)


def test_named_methods_and_our_own_are_declared(ask: Ask) -> None:
    assert ask(methods="own-ceiling,raw").declared == ("raw", "own-ceiling")
    assert "own-trained" not in ask(methods="all").declared
    assert {"raw", "whitestripe"} <= set(ask(methods="all").declared)


def test_metrics_of_truth_are_part_of_a_run_where_there_is_truth(ask: Ask) -> None:
    names = {part.name for part in ask(metrics="all").metrics}
    assert "ssim" in names
    assert not {"truth_rmse", "truth_dice", "volume_error"} & names


def test_margins_are_kept(ask: Ask) -> None:
    assert ask(margin=("ssim=0.01", "auroc = .5")).margins == {"ssim": 0.01, "auroc": 0.5}


def test_all_leaves_out_what_is_broken_and_says_so(options: Options) -> None:
    from harmobench.choose import choose_methods, choose_others

    notes: list[str] = []
    methods = choose_methods(replace(options, methods="all"), notes)
    names = {part.name for part in methods}
    assert {"raw", "whitestripe", "own-trained", "own-ceiling"} <= names
    assert not {"own-broken", "own-bare", "own-cheat"} & names
    for name in ("own-broken", "own-bare", "own-cheat"):
        assert any(note.startswith("method left out") and name in note for note in notes)
    notes.clear()
    segmenters = choose_others(replace(options, segmenters="all"), notes)["segmenters"]
    assert "own-absent" not in {part.name for part in segmenters}
    assert any("install the absent program" in note for note in notes)


def test_the_target_is_the_scanner_with_most_contrast(ask: Ask) -> None:
    """Philips has the widest gap of GM and WM at equal noise (the cohort's own contrasts)."""
    assert ask(methods="raw,own-trained").target == "Philips"
    assert ask(methods="raw,own-trained", target="GE").target == "GE"


def test_folds_are_made_where_a_method_trains(ask: Ask) -> None:
    assert ask().folds == (dict.fromkeys(["01", "02", "03", "04"], 0),)
    job = ask(methods="raw,own-trained", repeats=2)
    assert len(job.folds) == 2
    for folds in job.folds:
        assert sorted(folds.values()) == [0, 0, 1, 1]
        high = [folds[s] for s in ("01", "03")]
        assert sorted(high) == [0, 1], "balanced by group"


def test_presets_and_parameters_reach_the_method(ask: Ask) -> None:
    def rounds(**changes: Any) -> tuple[Any, str]:
        part = ask(methods="raw,own-trained", **changes).part("methods", "own-trained")
        return part.parameters["rounds"], part.config

    assert rounds() == (9, "default")
    assert rounds(preset="quick") == (1, "default")
    given = ("own-trained.rounds=5", "ssim.map=none")
    assert rounds(preset="quick", set=given) == (5, "rounds=5")
    assert ask(set=given[1:]).metrics[0].parameters["map"] == "none"


def test_the_manifest_s_own_folds_go_first(ask: Ask, rows: Any, tmp_path: Path) -> None:
    for row in rows:
        row["fold"] = "b" if row["subject"] in ("01", "02") else "a"
    path = write(tmp_path / "m" / "m.csv", rows)
    job = ask(cohort=path, methods="raw,own-trained", repeats=2)
    assert job.folds == ({"01": 1, "02": 1, "03": 0, "04": 0},) * 2


def test_subjects_on_one_scanner_are_noted(ask: Ask, rows: Any, tmp_path: Path) -> None:
    job = ask(cohort=write(tmp_path / "m.csv", rows[:-1]))
    assert any("04" in note and "one scanner only" in note for note in job.notes)


def test_groups_and_covariates_are_those_that_were_named(ask: Ask) -> None:
    job = ask(group="group: low , high", covariates=" age ,")
    assert job.group == {"column": "group", "first": "low", "second": "high"}
    assert job.covariates == ("age",)
    assert not any("minus" in note for note in job.notes)


def test_images_made_elsewhere_join_as_a_method(ask: Ask, cohort_csv: Path) -> None:
    pattern = f"{cohort_csv.parent}/images/sub-{{subject}}_{{scanner}}.nii.gz"
    job = ask(precomputed=(f"haca3={pattern}",))
    part = job.part("methods", "haca3")
    assert part.distribution == "training unknown"
    assert len(part.images) == 8
    assert part.images[place_of("01", "GE")].endswith("sub-01_GE.nii.gz")


def test_values_of_set_are_json_else_text() -> None:
    given = ["a.b=2", "a.c=2.5", "a.d=true", "a.e=[1,2]", "a.f=T2", 'a.g="2"', "b.h=a=b", "a.b=3"]
    assert parse_sets(given) == {
        "a": {"b": 3, "c": 2.5, "d": True, "e": [1, 2], "f": "T2", "g": "2"},
        "b": {"h": "a=b"},
    }
    assert names_of("none", "metrics") == []
    assert names_of("b, a,,b", "metrics") == ["b", "a"]
    assert "ssim" in names_of("all", "metrics")


# --- what is refused ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], type[HarmobenchError], str]] = {
    "unknown method": ({"methods": "raw,whitestrip"}, PluginError, r"'whitestrip'; is 'whites"),
    "unknown metric": ({"metrics": "sim"}, PluginError, r"installed metrics .*'sim'; is 'ssim'"),
    "unknown segmenter": ({"segmenters": "hmfr"}, PluginError, r"'hmfr'; is 'hmrf' meant"),
    "no method": ({"methods": " , "}, SettingsError, r"--methods: expected names with commas"),
    "broken method": ({"methods": "raw,own-broken"}, PluginError, r"own_trained_of_old.*is broken"),
    "method without needs": ({"methods": "own-bare"}, PluginError, r"needs = Needs\(\.\.\.\)"),
    "method that looks too far": ({"methods": "own-cheat"}, PluginError, r"sees='cohort'"),
    "segmenter that is absent": (
        {"segmenters": "own-absent"}, SettingsError, r"'own-absent' cannot run here: install the",
    ),
    "unknown parameter": (
        {"set": ("whitestripe.wdth=1",)}, SettingsError, r"no parameter 'wdth'; is 'width' meant",
    ),
    "parameter of another type": (
        {"set": ("whitestripe.width=wide",)}, SettingsError, r"whitestripe\.width': expected float",
    ),
    "unknown parameter of a metric": ({"set": ("ssim.mop=1",)}, SettingsError, r"parameter 'mop'"),
    "set of nothing": (
        {"set": ("whitestrip.width=1",)}, SettingsError, r"--set: 'whitestrip' .*is 'whitestripe'",
    ),
    "set of a method that does not run": (
        {"set": ("own-trained.rounds=1",)}, SettingsError, r"--set: 'own-trained' is no method",
    ),
    "set of a method that is not asked for": (
        {"set": ("ravel.k=2",), "methods": "raw", "controls": "on"}, SettingsError,
        r"--set: 'ravel' is no method",
    ),
    "set without a value": ({"set": ("ravel.k",)}, SettingsError, r"NAME\.PARAMETER=VALUE"),
    "set without a parameter": ({"set": ("ravel=2",)}, SettingsError, r"NAME\.PARAMETER=VALUE"),
    "preset": ({"preset": "fast"}, SettingsError, r"--preset: expected quick, default, paper"),
    "device": ({"device": "gpu"}, SettingsError, r"--device: expected auto, cpu, cuda, found"),
    "controls": ({"controls": "yes"}, SettingsError, r"--controls: expected auto, on, off, foun"),
    "unsuited": ({"methods": "own-picky"}, SettingsError, r"'own-picky': expected more than 4 sub"),
    "truth": ({"metrics": "truth_rmse"}, SettingsError, r"found none for subject 01 on GE and 7"),
    "margin form": ({"margin": ("ssim",)}, SettingsError, r"METRIC=DIFFERENCE.*found 'ssim'"),
    "margin of none": ({"margin": ("ssim=0",)}, SettingsError, r"a positive number.*'ssim=0'"),
    "margin of text": ({"margin": ("ssim=x",)}, SettingsError, r"a positive number.*'ssim=x'"),
    "margin metric": ({"margin": ("sim=1",)}, SettingsError, r"\(auroc, ssim\), found 'sim'; is '"),
    "repeats": ({"repeats": 0}, SettingsError, r"--repeats: expected at least 1, found 0"),
    "workers": ({"workers": -1}, SettingsError, r"--workers: expected at least 1, found -1"),
    "seed": ({"seed": -1}, SettingsError, r"--seed: expected at least 0, found -1"),
    "measures": ({"measures": ("freesurfer=/none",)}, SettingsError, r"expected a folder of fin"),
    "measures twice": ({"measures": ("atlas-roi", "atlas-roi")}, SettingsError, r"found it twice"),
    "program": ({"measures": ("recon-all",)}, SettingsError, r"recon-all cannot run here: recon"),
    "target": ({"target": "ge"}, SettingsError, r"--target: .*GE, Philips, found 'ge'"),
    "group form": ({"group": "group"}, SettingsError, r"--group: expected COLUMN:first,second"),
    "group of one": ({"group": "group:low"}, SettingsError, r"--group: expected COLUMN:first,sec"),
    "group twice": ({"group": "group:low,low"}, SettingsError, r"COLUMN:first,second"),
    "group of three": ({"group": "group:a,b,c"}, SettingsError, r"COLUMN:first,second"),
    "group column": ({"group": "grop:low,high"}, SettingsError, r"'grop'; is 'group' meant"),
    "group value": (
        {"group": "group:low,hi"}, SettingsError, r"low or hi in column 'group', found 'high' ",
    ),
    "covariate column": ({"covariates": "aeg"}, SettingsError, r"--covariates: .*'aeg'; is 'age'"),
    "covariate of text": ({"covariates": "age,group"}, SettingsError, r"number in column 'group'"),
    "folds": ({"methods": "own-trained", "folds": 1}, SettingsError, r"--folds: expected at least"),
    "too few subjects": (
        {"methods": "own-trained", "folds": 3}, SettingsError, r"at least 6 matched .*found 4",
    ),
    "atlas": ({"atlas": "/none"}, AtlasError, r"expected an atlas folder with an atlas\.toml"),
    "manifest": ({"cohort": Path("none.csv")}, HarmobenchError, r"expected a manifest"),
    "precomputed form": ({"precomputed": ("haca3",)}, SettingsError, r"expected NAME=PATTERN"),
    "precomputed pattern": (
        {"precomputed": ("haca3=out/{subject}.nii",)}, SettingsError, r"\{subject\} and \{scan",
    ),
    "precomputed name": (
        {"precomputed": ("raw=o/{subject}{scanner}.nii",)}, SettingsError, r"'raw' is already",
    ),
    "precomputed name of a control": (
        {"precomputed": ("template=o/{subject}{scanner}.nii",)}, SettingsError, r"'template' is al",
    ),
    "precomputed images": (
        {"precomputed": ("haca3=/none/{subject}{scanner}.nii",)}, SettingsError,
        r"none at 8 of 8 places, such as /none/01GE\.nii",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_with_its_reason_and_nothing_is_written(
    what: str, options: Options, cohort_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, error, text = REFUSED[what]
    monkeypatch.chdir(tmp_path)
    before = everything(cohort_csv.parent)
    with pytest.raises(error, match=text):
        run(replace(options, **changes), "harmobench run", Quiet())
    assert everything(tmp_path) == {}
    assert everything(cohort_csv.parent) == before


def test_cuda_is_refused_where_there_is_none(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"--device cuda: expected a CUDA device, found none"):
        ask(methods="raw,own-trained", device="cuda")
    assert ask(methods="raw,own-trained").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert ask(methods="raw,own-trained").device == "cuda"
    assert ask(methods="raw,own-trained", device="cpu").device == "cpu"
    assert ask(device="auto").device == "cpu", "no method here wants one"


def test_faults_of_the_manifest_come_all_at_once(ask: Ask, rows: Any, tmp_path: Path) -> None:
    rows[1]["image"] = "gone.nii.gz"
    rows[2]["subject"] = ""
    with pytest.raises(ManifestError) as caught:
        ask(cohort=write(tmp_path / "m.csv", rows))
    assert len(caught.value.faults) == 2


def test_one_subject_of_two_groups_is_refused(ask: Ask, rows: Any, tmp_path: Path) -> None:
    rows[1]["group"] = "low"
    path = write(tmp_path / "m.csv", rows)
    with pytest.raises(SettingsError, match=r"one value of 'group' for subject 01, found two"):
        ask(cohort=path, group="group:high,low")


def test_a_fold_without_training_is_refused(ask: Ask, rows: Any, tmp_path: Path) -> None:
    for row in rows:
        row["fold"] = {"01": "1", "02": "2"}.get(row["subject"], "3")
    path = write(tmp_path / "m.csv", rows)
    with pytest.raises(SettingsError, match=r"fold 1: expected at least 2 training.*found 1"):
        ask(cohort=path, methods="raw,own-trained")
    assert ask(cohort=path).folds == (dict.fromkeys(["01", "02", "03", "04"], 0),)


def test_a_scan_in_another_space_is_refused(ask: Ask, rows: Any, tmp_path: Path) -> None:
    image = Path(rows[5]["image"])
    write_image(tmp_path / "turned.nii.gz", read_voxels(image)[:, ::-1], read_grid(image))
    rows[5]["image"] = str(tmp_path / "turned.nii.gz")
    with pytest.raises(AtlasError, match=r"subject 03 on Philips does not lie in the space"):
        ask(cohort=write(tmp_path / "m.csv", rows))


def test_one_bad_mask_among_good_ones_is_refused(ask: Ask, rows: Any, tmp_path: Path) -> None:
    image = Path(rows[0]["image"])
    brain = read_voxels(image) > 0
    for i, row in enumerate(rows):
        mask = brain.copy()
        if i == 3:  # overlaps the atlas well enough on its own
            mask[:, : brain.shape[1] // 3] = False
        path = tmp_path / f"mask{i}.nii.gz"
        write_image(path, mask, read_grid(image))
        row["mask"] = str(path)
    with pytest.raises(AtlasError, match=r"share are only .*80%.*subject 02 on Philips: .*mask3"):
        ask(cohort=write(tmp_path / "m.csv", rows))


def test_images_made_elsewhere_lie_on_the_cohort_s_grid(
    ask: Ask, rows: Any, tmp_path: Path
) -> None:
    for row in rows:
        image = Path(row["image"])
        voxels = read_voxels(image)
        path = tmp_path / f"{row['subject']}_{row['scanner']}.nii.gz"
        write_image(path, voxels[1:] if row is rows[-1] else voxels, read_grid(image))
    with pytest.raises(SettingsError, match=r"expected the cohort's grid .*04_Philips\.nii\.gz"):
        ask(precomputed=(f"haca3={tmp_path}/{{subject}}_{{scanner}}.nii.gz",))


def test_every_way_back_is_read_first(ask: Ask, rows: Any, tmp_path: Path) -> None:
    grid = read_grid(Path(rows[0]["image"]))
    write_field(tmp_path / "good.nii.gz", np.zeros((*grid.shape, 3), np.float32), grid)
    for row in rows:
        row["to_native"] = str(tmp_path / "good.nii.gz")
    assert ask(cohort=write(tmp_path / "m.csv", rows)).native
    rows[2]["to_native"] = rows[2]["image"]
    with pytest.raises(HarmobenchError, match=r"expected a displacement field"):
        ask(cohort=write(tmp_path / "m.csv", rows))
    rows[2]["to_native"] = ""
    assert not ask(cohort=write(tmp_path / "m.csv", rows)).native, "native needs all of them"


def test_a_folder_of_others_files_is_not_written_to(options: Options, tmp_path: Path) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    before = everything(tmp_path)
    with pytest.raises(SettingsError, match=r"--out: expected a new or empty folder"):
        run(replace(options, out=out), "harmobench run", Quiet())
    with pytest.raises(SettingsError, match=r"--out: expected a folder, found a file at"):
        run(replace(options, out=out / "thesis.tex"), "harmobench run", Quiet())
    assert everything(tmp_path) == before


def test_two_runs_never_share_a_folder(options: Options) -> None:
    import fcntl

    options.out.mkdir()
    (options.out / "run.json").write_text("{}")
    with (options.out / ".lock").open("a+") as lock:
        lock.write("process 7 on there\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SettingsError, match=r"another run is at work in .*process 7 on there"):
            run(options, "harmobench run", Quiet())
    assert (options.out / "run.json").read_text() == "{}"
