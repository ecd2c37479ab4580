"""New scans through a method of a run: same bytes as the run's, one training, one clear refusal."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harmobench.apply import Request, model, request
from harmobench.atlas import icbm152
from harmobench.cli import main
from harmobench.cluster import connect
from harmobench.cluster.sites import Local
from harmobench.cohort import Scan
from harmobench.imaging.volume import Grid, read_grid, read_voxels, write_image
from harmobench.job import Options
from harmobench.methods.mispel.plugin import Mispel
from harmobench.methods.ravel import RavelCV
from harmobench.methods.whitestripe import WhiteStripe
from harmobench.plan import make_plan
from harmobench.resolve import resolve
from harmobench.runner import run_tasks
from harmobench.store import Store, read_json, write_json
from harmobench.tasks import do

Cli = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-m", "harmobench.cli", "apply"]
CONTRASTS = {"GE": (0.25, 0.85, 1.15), "Philips": (0.2, 0.8, 1.3), "SiemensP": (0.3, 0.9, 1.2)}
# 05 was seen on one scanner only: known to the run, but to no method that needs matched subjects
GE = ("--scanner", "GE")
SEEN = [(f"0{s}", scanner) for s in range(1, 5) for scanner in ("GE", "Philips")]
SEEN.append(("05", "SiemensP"))
MATCHED = SEEN[:-1]
TINY = ("mispel.steps=2", "mispel.steps2=2", "mispel.warm_steps=1", "mispel.slices2=8")


tissue_maps = cache(icbm152)


def head(subject: int, scanner: str) -> tuple[np.ndarray, Grid]:
    """Return a brain at 6 mm of mean 1, each subject's its own, on a scanner's contrast."""
    tissues, _, brain, grid = tissue_maps(6.0)
    contrast = zip(CONTRASTS[scanner], ("csf", "gm", "wm"), strict=True)
    mixed = sum(value * tissues[name] for value, name in contrast)
    own = np.random.default_rng(subject).normal(0, 0.06, size=grid.shape)
    noise = np.random.default_rng([subject, len(scanner)]).normal(0, 0.02, size=grid.shape)
    voxels = np.clip(mixed + own + noise, 0.01, None) * brain
    return (voxels / voxels[brain].mean()).astype(np.float32), grid


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_atlas(folder: Path) -> None:
    tissues, t1, brain, grid = tissue_maps(6.0)
    stacked = np.stack([tissues[name] for name in ("csf", "gm", "wm")])
    labels = ((stacked.argmax(axis=0) + 1) * brain).astype(np.uint8)
    write_image(folder / "t1.nii.gz", t1 * brain, grid)
    write_image(folder / "brain.nii.gz", brain, grid)
    write_image(folder / "tissues.nii.gz", labels, grid)
    write_image(folder / "sure.nii.gz", labels * (stacked.max(axis=0) >= 0.8), grid)
    (folder / "atlas.toml").write_text(
        'name = "own"\nspace = "MNI"\ntemplate = "t1.nii.gz"\nmask = "brain.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n'
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    with connect(Local(2), Path(), print) as client:
        yield client


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_atlas(folder / "atlas")
    rows = []
    for subject, scanner in SEEN:
        name = f"images/sub-{subject}_{scanner}.nii.gz"
        write_image(folder / name, *head(int(subject), scanner))
        rows.append({"subject": subject, "scanner": scanner, "image": name})
        rows[-1]["tissue"] = "atlas/sure.nii.gz"  # of those who are new, it is segmented
    return write_rows(folder / "matched.csv", rows)


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory, workers: Any) -> SimpleNamespace:
    """Return a run that has harmonized with RAVEL and White Stripe; do not change it."""
    folder = tmp_path_factory.mktemp("run") / "run"
    methods = "whitestripe,ravel,ravel-cv,mispel"
    atlas = str(cohort.parent / "atlas")
    options = Options(cohort, folder, methods, atlas, "quick", "none", device="cpu", set=TINY)
    job = resolve(options, "harmobench run", lambda done, total, what: None)
    plan = make_plan(job)
    write_json(folder / "run.json", job.to_json())
    done = {k for k, task in plan.tasks.items() if task.args.get("method") in ("ravel", "raw")}
    done |= {plan.images["whitestripe", 0, *scan] for scan in SEEN}
    for key, task in reversed(plan.tasks.items()):
        done |= set(task.needs.values()) if key in done else set()
    kinds = ("space", "image", "segment", "tissue", "fit")
    tasks = {k: task for k, task in plan.tasks.items() if k in done and task.kind in kinds}
    assert not run_tasks(
        folder, partial(do, job.run_id), tasks, workers, lambda task, outcome: None
    )
    store = Store(folder / "store")
    brain = store.path(plan.of_kind("space")[0].key) / "brain.nii.gz"
    shutil.copytree(folder, folder.with_name("untouched"))
    images = {k: store.path(key) / "image.nii.gz" for k, key in plan.images.items()}
    return SimpleNamespace(folder=folder, brain=brain, images=images)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workers: Any) -> Cli:
    """Return the command, on workers that are there already."""

    @contextmanager
    def there(*_: object) -> Iterator[Any]:
        yield workers

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(model, "connect", there)
        monkeypatch.setattr(sys, "argv", ["harmobench", "apply", *map(str, arguments), "--quiet"])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an image of somebody outside the cohort, on the GE scanner."""
    path = tmp_path_factory.mktemp("new") / "new.nii.gz"
    write_image(path, *head(9, "GE"))
    return path


@pytest.fixture
def copy(run: SimpleNamespace, tmp_path: Path) -> Path:
    """Return a copy of the run as it was, that a test may change."""
    return shutil.copytree(run.folder.with_name("untouched"), tmp_path / "copy")


def striped(image: Path, brain: Path, folder: Path) -> Path:
    """White-Stripe an image, as a program of its own would."""
    voxels = read_voxels(image) * (read_voxels(brain) > 0)
    made = WhiteStripe().transform(Scan("x", "GE", image, brain).with_voxels(voxels)).memory
    write_image(folder / "striped.nii.gz", made, read_grid(image))
    return folder / "striped.nii.gz"


@pytest.mark.parametrize(("method", "kind"), [("ravel-cv", RavelCV), ("mispel", Mispel)])
def test_image_is_what_the_published_model_makes(
    method: str, kind: Any, run: SimpleNamespace, new: Path, tmp_path: Path, cli: Cli
) -> None:
    out = tmp_path / "out.nii.gz"
    status, text, err = cli(run.folder, method, new, out, *GE)
    assert status == 0, err
    model = run.folder / "models" / method / "all"
    assert f"model: {model}, of 4 subjects, " in text
    assert f"harmonized: {out}" in text
    scan = Scan(
        "new", "GE", new, run.brain, inputs={"whitestripe": striped(new, run.brain, tmp_path)}
    )
    np.testing.assert_array_equal(read_voxels(out), kind.load(model).transform(scan).memory)
    assert read_grid(out) == read_grid(new)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("method", ["ravel", "whitestripe"])
def test_scan_of_the_cohort_comes_out_as_in_the_run(
    method: str, run: SimpleNamespace, cohort: Path, tmp_path: Path, cli: Cli
) -> None:
    out = tmp_path / "out.nii.gz"
    image = cohort.parent / "images" / "sub-02_Philips.nii.gz"
    status, text, err = cli(run.folder, method, image, out, "--scanner", "Philips")
    assert status == 0, err
    assert out.read_bytes() == run.images[method, 0, "02", "Philips"].read_bytes()
    # RAVEL of the run is fitted on all scans: nothing is left to train
    found = f"{run.folder / 'models' / 'ravel' / 'all'}, of 5 subjects, found finished"
    assert text.startswith(f"model: {found}" if method == "ravel" else "harmonized: ")


def test_second_call_trains_nothing_and_needs_no_cohort(
    run: SimpleNamespace, cohort: Path, new: Path, tmp_path: Path, cli: Cli
) -> None:
    first, second = tmp_path / "first.nii.gz", tmp_path / "second.nii"
    assert cli(run.folder, "mispel", new, first, *GE)[0] == 0
    model = run.folder / "models" / "mispel" / "all"
    files = {path: path.stat().st_ino for path in sorted(model.iterdir())}
    assert {path.name for path in files} == {"model.json", "arrays.safetensors"}
    away = (cohort.parent / "images").rename(cohort.parent / "away")
    try:
        status, text, err = cli(run.folder, "mispel", new, second, *GE)
    finally:
        away.rename(cohort.parent / "images")
    assert status == 0, err
    assert "found finished" in text
    assert {path: path.stat().st_ino for path in sorted(model.iterdir())} == files
    np.testing.assert_array_equal(read_voxels(second), read_voxels(first))


def test_final_model_is_fitted_on_every_matched_subject(
    run: SimpleNamespace, cohort: Path, new: Path, tmp_path: Path, cli: Cli
) -> None:
    assert cli(run.folder, "ravel-cv", new, tmp_path / "a.nii.gz", *GE)[0] == 0
    model = RavelCV.load(run.folder / "models" / "ravel-cv" / "all")
    brain = read_voxels(run.brain) > 0
    images = [cohort.parent / "images" / f"sub-{s}_{c}.nii.gz" for s, c in MATCHED]
    made = [read_voxels(striped(image, run.brain, tmp_path))[brain] for image in images]
    np.testing.assert_allclose(model.mean_, np.mean(made, axis=0), atol=1e-5)


def test_model_of_other_versions_is_not_used(
    run: SimpleNamespace, cohort: Path, new: Path, tmp_path: Path, cli: Cli, monkeypatch: Any
) -> None:
    arguments = (run.folder, "ravel", new, tmp_path / "out.nii.gz", *GE)
    assert cli(*arguments)[0] == 0
    monkeypatch.setattr(request, "environment", lambda: {"numpy": "another"})
    away = (cohort.parent / "images").rename(cohort.parent / "away")
    try:
        status, _, err = cli(*arguments, "--overwrite")
    finally:
        away.rename(cohort.parent / "images")
    assert status == 2  # it would have to be trained again, on images that are gone
    assert f"{cohort.parent / 'images' / 'sub-01_GE.nii.gz'} is missing" in err
    assert "and 4 more: bring the files back, or run again" in err


def test_gpu_that_is_not_here_is_done_without(
    copy: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(copy / "run.json", read_json(copy / "run.json") | {"device": "cuda"})
    said: list[str] = []
    jobs = {
        method: request.final_job(Request(copy, method, new, new)) for method in ("ravel", "mispel")
    }
    assert {method: job.device for method, job in jobs.items()} == {
        "ravel": "cpu",
        "mispel": "cuda",
    }
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    here = model.for_site(jobs["mispel"], Local(), SimpleNamespace(say=said.append))
    assert here.device == "cpu"
    assert said == ["the run trained on a GPU and there is none here: training on the CPU"]


# --- many images ----------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path, new: Path) -> Path:
    """Return a manifest of two images that can be harmonized, and one that MISPEL cannot."""
    write_image(tmp_path / "b.nii.gz", *head(10, "Philips"))
    write_image(tmp_path / "c.nii.gz", *head(11, "SiemensP"))
    rows = [
        {"subject": "new 1", "scanner": "GE", "image": str(new), "site": "A"},
        {"subject": "new-1", "scanner": "Philips", "image": "b.nii.gz", "site": "B"},
        {"subject": "3", "scanner": "SiemensP", "image": "c.nii.gz", "site": ""},
    ]
    return write_rows(tmp_path / "new.csv", rows)


def test_manifest_goes_on_after_an_image_that_fails(
    run: SimpleNamespace, many: Path, new: Path, tmp_path: Path, cli: Cli
) -> None:
    out, one = tmp_path / "out", tmp_path / "one.nii.gz"
    status, text, err = cli(run.folder, "mispel", many, out)
    assert status == 1, err
    assert f"2 images harmonized, 1 failed: see {out / 'manifest.csv'}" in text
    rows = read_rows(out / "manifest.csv")
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert "MISPEL has learned the scanners GE, Philips" in rows[2]["reason"]
    assert "failed: image mispel 3 SiemensP: MISPEL has learned" in err
    assert rows[2]["image"] == ""
    assert len({row["image"] for row in rows}) == 3
    assert all(row["image"].endswith("_desc-mispel_T1w.nii.gz") for row in rows[:2])
    assert "/ses-GE/anat/sub-new1" in rows[0]["image"]
    assert cli(run.folder, "mispel", new, one, *GE)[0] == 0
    assert (out / rows[0]["image"]).read_bytes() == one.read_bytes()
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == sorted(["manifest.csv", rows[0]["image"], rows[1]["image"]])


def test_images_that_are_there_are_kept_unless_told(
    run: SimpleNamespace, new: Path, tmp_path: Path, cli: Cli
) -> None:
    rows = [{"subject": "9", "scanner": "GE", "image": str(new)}]
    many, out = write_rows(tmp_path / "new.csv", rows), tmp_path / "out"
    assert cli(run.folder, "whitestripe", many, out)[0] == 0
    image = next(out.rglob("*.nii.gz"))
    before = image.stat().st_ino
    status, _, err = cli(run.folder, "whitestripe", many, out)
    assert status == 2
    assert f"found {image}, {out / 'manifest.csv'} there already" in err
    assert image.stat().st_ino == before
    assert cli(run.folder, "whitestripe", many, out, "--overwrite")[0] == 0
    assert image.stat().st_ino != before
    status, _, err = cli(run.folder, "whitestripe", out / "manifest.csv", out, "--overwrite")
    assert status == 2
    assert "would be written over" in err


def test_every_fault_of_a_manifest_at_once(
    run: SimpleNamespace, new: Path, tmp_path: Path, cli: Cli
) -> None:
    voxels, grid = head(9, "GE")
    write_image(tmp_path / "loud.nii.gz", voxels * 400, grid)
    write_image(tmp_path / "cut.nii.gz", voxels[:-1], grid)
    rows = [("1", "GEE", str(new)), ("2", "GE", "loud.nii.gz"), ("3", "GE", "cut.nii.gz")]
    rows += [("4", "GE", "none.nii.gz"), ("5", "GE", "new.csv")]
    names = ("subject", "scanner", "image")
    many = write_rows(tmp_path / "new.csv", [dict(zip(names, r, strict=True)) for r in rows])
    status, _, err = cli(run.folder, "whitestripe", many, tmp_path / "out")
    assert status == 2
    assert "5 faults found" in err
    for said in (
        "row 2, column scanner: expected one of the run's scanners, GE, Philips, SiemensP, found "
        "'GEE'; is 'GE' meant?",
        "row 3, column image: expected a mean intensity within the brain of ",
        "row 4, column image: expected the grid of the run",
        "row 5, column image: expected an image, found no file",
        "row 6, column image: expected a NIfTI image",
    ):
        assert said in err
    assert not (tmp_path / "out").exists()


# --- what is refused ------------------------------------------------------------------------------


def moved(voxels: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """Shift a brain by 60 mm within its grid."""
    return np.roll(voxels, 10, axis=1), grid


def coarser(voxels: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    return voxels, Grid.make(grid.shape, grid.affine * [[1.1], [1], [1], [1]])


def with_nan(voxels: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    voxels[8, 8, 8] = np.nan
    return voxels, grid


Change = Callable[[np.ndarray, Grid], tuple[np.ndarray, Grid]]
IMAGES: dict[str, tuple[Change, list[str]]] = {
    "another grid": (coarser, ["expected the grid of the run", "x 6 x 6 mm), found another"]),
    "another space": (moved, ["in the space of the run's atlas", "overlap (Dice) of 0."]),
    "NaN": (with_nan, ["found 1 NaN or inf"]),
    "constant": (lambda v, g: ((v > 0).astype(np.float32), g), ["an image with contrast"]),
    "not normalized": (lambda v, g: (v * 37, g), ["found 37 in", "divide it by its mean"]),
    "too dark": (lambda v, g: (v / 37, g), ["found 0.02703 in", "divide it by its mean"]),
    "negative": (lambda v, g: (v - (v > 0) * 0.5, g), ["expected intensities of at least 0"]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_that_is_not_like_the_cohort_s(
    name: str, run: SimpleNamespace, tmp_path: Path, cli: Cli
) -> None:
    change, said = IMAGES[name]
    write_image(tmp_path / "in.nii.gz", *change(*head(9, "GE")))
    out = tmp_path / "out.nii.gz"
    status, _, err = cli(run.folder, "whitestripe", tmp_path / "in.nii.gz", out, *GE)
    assert status == 2
    for text in (*said, str(tmp_path / "in.nii.gz")):
        assert text in err
    assert not out.exists()


OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown method": (("{run}", "mispell", "{new}", "{out}", *GE), "is 'mispel' meant?"),
    "not in the run": (("{run}", "calamiti", "{new}", "{out}", *GE), "add it to the run first"),
    "raw": (
        ("{run}", "raw", "{new}", "{out}", *GE),
        "found 'raw', which leaves images as they are",
    ),
    "unknown scanner": (
        ("{run}", "mispel", "{new}", "{out}", "--scanner", "Phillips"),
        "--scanner: expected one of the run's scanners, GE, Philips, SiemensP, found 'Phillips'; "
        "is 'Philips' meant?",
    ),
    "no scanner": (("{run}", "mispel", "{new}", "{out}"), "Philips, SiemensP, found none"),
    "scanner of a manifest": (
        ("{run}", "mispel", "{many}", "{out}", *GE),
        "--scanner: a manifest says it for each scan, in its column scanner",
    ),
    "no run": (("{many}", "mispel", "{new}", "{out}", *GE), "found no run.json"),
    "no image": (("{run}", "mispel", "none.nii", "{out}", *GE), "found no file at none.nii"),
    "no NIfTI": (("{run}", "mispel", "{text}", "{out}", *GE), "expected a NIfTI image"),
    "no folder of a manifest": (
        ("{run}", "mispel", "{many}", "{out}"),
        "expected a folder for the images of a manifest, found ",
    ),
    "its own image": (("{run}", "mispel", "{new}", "{new}", *GE), "is the image to harmonize"),
    "there already": (("{run}", "mispel", "{new}", "{text}", *GE), "give --overwrite"),
    "odd name": (("{run}", "mispel", "{new}", "{out}.mgz", *GE), "an image to write, .nii or"),
    "no folder": (("{run}", "mispel", "{new}", "{out}/a.nii", *GE), "a folder to write a.nii into"),
    "no mask": (("{run}", "mispel", "{new}", "{out}", *GE, "--mask", "m.nii"), "--mask: expected"),
    "no workers": (("{run}", "mispel", "{new}", "{out}", *GE, "--workers", "0"), "at least 1"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_mistake_in_an_option(
    name: str, run: SimpleNamespace, new: Path, many: Path, tmp_path: Path, cli: Cli
) -> None:
    arguments, said = OPTIONS[name]
    (tmp_path / "text.nii.gz").write_text("hello")
    places = {"run": run.folder, "new": new, "many": many, "out": tmp_path / "out.nii.gz"}
    places["text"] = tmp_path / "text.nii.gz"
    status, _, err = cli(*(text.format(**places) for text in arguments))
    assert status == 2
    assert err.startswith("harmobench: ")
    assert said in err
    assert not (tmp_path / "out.nii.gz").exists()


def change_method(folder: Path, method: str, **changed: Any) -> None:
    job = read_json(folder / "run.json")
    part = next(part for part in job["methods"] if part["name"] == method)
    for name, value in changed.items():
        part[name] = part[name] | value
    write_json(folder / "run.json", job)


def test_images_made_elsewhere_cannot_be_made_here(
    copy: Path, new: Path, tmp_path: Path, cli: Cli
) -> None:
    change_method(copy, "ravel", images={json.dumps(["01", "GE"]): "x.nii.gz"})
    status, _, err = cli(copy, "ravel", new, tmp_path / "out.nii.gz", *GE)
    assert status == 2
    assert "whose images were made elsewhere (--precomputed)" in err


def test_mask_is_heeded(run: SimpleNamespace, new: Path, tmp_path: Path, cli: Cli) -> None:
    brain, grid = np.asarray(read_voxels(run.brain) > 0), read_grid(run.brain)
    half, most = brain.copy(), brain.copy()
    half[: brain.shape[0] // 2] = False
    most[:, :, : int(np.nonzero(brain)[2].min()) + 2] = False
    write_image(tmp_path / "half.nii.gz", half, grid)
    write_image(tmp_path / "most.nii.gz", most, grid)
    out = tmp_path / "out.nii.gz"
    arguments = (run.folder, "whitestripe", new, out, *GE, "--mask")
    status, _, err = cli(*arguments, tmp_path / "half.nii.gz")
    assert status == 2
    assert "--mask: expected at least 80% of the run's brain in it, found 49%" in err
    assert not out.exists()
    status, _, err = cli(*arguments, tmp_path / "most.nii.gz")
    assert status == 0, err
    voxels = read_voxels(out)
    assert np.count_nonzero(brain & ~most) > 0
    assert len(np.unique(voxels[~most])) == 1
    assert len(np.unique(voxels[most])) > 1000


def test_cohort_that_changed_is_not_trained_on(
    copy: Path, cohort: Path, new: Path, tmp_path: Path, cli: Cli
) -> None:
    job = read_json(copy / "run.json")
    first, second = (cohort.parent / "images" / f"sub-0{s}_GE.nii.gz" for s in (1, 2))
    text = json.dumps(job).replace(str(first), str(tmp_path / "gone.nii.gz"))
    job = json.loads(text.replace(str(second), str(new)))
    job["atlas"]["digest"] = "0" * 40
    write_json(copy / "run.json", job)
    status, _, err = cli(copy, "ravel-cv", new, tmp_path / "out.nii.gz", *GE)
    assert status == 2
    assert f"{tmp_path / 'gone.nii.gz'} is missing, {new} has changed, the atlas " in err


def test_training_that_fails_is_one_message(
    copy: Path, new: Path, tmp_path: Path, cli: Cli
) -> None:
    change_method(copy, "ravel-cv", parameters={"min_voxels": 10**6})
    out = tmp_path / "out.nii.gz"
    status, text, err = cli(copy, "ravel-cv", new, out, *GE)
    assert (status, text) == (2, "")
    assert err.startswith("harmobench: the final model cannot be made: fit ravel-cv: expected a")
    assert err.count("control region") == 1
    assert not out.exists()
    assert not (copy / "models" / "ravel-cv").exists()
    assert list((copy / "apply" / "ravel-cv" / "logs").glob("*.log"))


def test_image_that_fails_is_one_message(run: SimpleNamespace, tmp_path: Path, cli: Cli) -> None:
    write_image(tmp_path / "in.nii.gz", *head(11, "SiemensP"))
    out = tmp_path / "out.nii.gz"
    status, text, err = cli(
        run.folder, "mispel", tmp_path / "in.nii.gz", out, "--scanner", "SiemensP"
    )
    assert (status, text) == (2, "")
    assert err.startswith(f"harmobench: cannot harmonize {tmp_path / 'in.nii.gz'}: image mispel")
    assert err.count("MISPEL has learned the scanners") == 1
    assert not out.exists()


def test_run_that_is_at_work_is_left_alone(copy: Path, new: Path, tmp_path: Path, cli: Cli) -> None:
    from harmobench.folder import locked

    with locked(copy):
        status, _, err = cli(copy, "ravel-cv", new, tmp_path / "out.nii.gz", *GE)
    assert status == 2
    assert "another run is at work" in err


# --- as a process of its own ----------------------------------------------------------------------


def test_help_says_what_is_typed(cli: Cli) -> None:
    status, text, _ = cli("--help")
    assert status == 0
    for word in ("RUN", "METHOD", "IN", "OUT", "--scanner", "--mask", "--overwrite", "manifest"):
        assert word in text


def test_command_on_its_own(run: SimpleNamespace, cohort: Path, tmp_path: Path) -> None:
    image = cohort.parent / "images" / "sub-01_GE.nii.gz"
    out = tmp_path / "out.nii.gz"
    done = subprocess.run(
        [*COMMAND, str(run.folder), "whitestripe", str(image), str(out), *GE],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "harmonizing" in done.stdout
    assert out.read_bytes() == run.images["whitestripe", 0, "01", "GE"].read_bytes()


def fits_in(run: Path) -> list[Path]:
    found = sorted((run / "store").glob("??/*/fit.json"))
    return [path for path in found if not path.parent.name.startswith(".")]


def test_interrupted_training_leaves_nothing_half_written(
    copy: Path, new: Path, tmp_path: Path
) -> None:
    change_method(copy, "mispel", parameters={"steps": 10**6})
    out = tmp_path / "out.nii.gz"
    process = subprocess.Popen(
        [*COMMAND, str(copy), "mispel", str(new), str(out), *GE, "--workers", "1", "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # tests that run in the background ignore Ctrl-C, and their children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not list((copy / "apply").glob("mispel/running/*")):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        time.sleep(2)
        assert process.poll() is None  # the training goes on to its end
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "stopping: 1 task at work will be finished first; Ctrl-C again stops at once" in err
    assert "interrupted: what is finished is kept; give the same command again" in err
    assert not out.exists()
    assert not (copy / "models").exists()
    assert fits_in(copy / "apply" / "mispel") == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy"]
