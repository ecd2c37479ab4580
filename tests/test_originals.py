"""Files that change or vanish while a run is going on fail what reads them, and nothing else."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import builtin_atlas
from harmobench.cohort import no_progress
from harmobench.errors import HarmobenchError
from harmobench.imaging.nifti import read_header
from harmobench.imaging.volume import read_grid, read_voxels, write_image
from harmobench.imaging.warp import write_field
from harmobench.job import Job, Options
from harmobench.originals import Originals
from harmobench.plan import Plan, make_plan
from harmobench.resolve import resolve
from harmobench.store import Store, hash_file, write_json
from harmobench.task import Task
from harmobench.tasks import do
from harmobench.worker import reason_of
from tests.conftest import make_cohort, write_manifest

Harm = Callable[[Path], None]
SCAN = {"subject": "01", "scanner": "GE"}
CHANGED = (
    "expected the file that the run began with, found another content in {name}: it changed while "
    "the run was going on; give the same command again"
)
GONE = (
    "expected the file that the run began with, found that {name} is gone or cannot be read (No "
    "such file or directory): bring it back and give the same command again"
)


def change(path: Path) -> None:
    """Write other voxels, of another day, on the same grid."""
    if len(read_header(path).shape) == 5:
        grid = read_grid(path.parent / "native.nii.gz")
        write_field(path, np.ones((*grid.shape, 3), np.float32), grid)
    else:
        write_image(path, read_voxels(path) * np.float32(1.25), read_grid(path))


def vanish(path: Path) -> None:
    path.unlink()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a manifest of two subjects on two scanners that names files of every column."""
    folder = tmp_path_factory.mktemp("given")
    builtin_atlas(folder / "atlas", 8.0)
    manifest = make_cohort(folder, subjects=2, scanners=2, resolution=8.0)
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    for row in rows:
        image = folder / row["image"]
        name, grid, voxels = (
            f"{row['subject']}{row['scanner']}",
            read_grid(image),
            read_voxels(image),
        )
        write_image(folder / "native.nii.gz", voxels, grid)
        write_image(folder / f"mask{name}.nii.gz", voxels > 0, grid)
        write_image(folder / f"truth{name}.nii.gz", voxels * 2, grid)
        write_image(folder / f"made{name}.nii.gz", voxels * 3 + (voxels > 0), grid)
        labels = np.digitize(voxels, [0.001, 0.5, 1.0]).astype(np.uint8)
        write_image(folder / f"tissue{name}.nii.gz", labels, grid)
        write_field(folder / f"back{name}.nii.gz", np.zeros((*grid.shape, 3), np.float32), grid)
        row |= {"mask": f"mask{name}.nii.gz", "truth_image": f"truth{name}.nii.gz"}
        row |= {"tissue": f"tissue{name}.nii.gz", "to_native": f"back{name}.nii.gz"}
    return write_manifest(manifest, rows)


class Begun:
    """A run that was resolved and planned; its tasks are done here, each after what it needs."""

    def __init__(self, manifest: Path, out: Path) -> None:
        pattern = manifest.parent / "made{subject}{scanner}.nii.gz"
        options = Options(
            cohort=manifest,
            out=out,
            atlas=str(manifest.parent / "atlas"),
            methods="raw",
            metrics="truth_rmse",
            segmenters="none",
            precomputed=(f"made={pattern}",),
        )
        self.out = out
        self.job: Job = resolve(options, "harmobench run", no_progress)
        self.plan: Plan = make_plan(self.job)
        self.store = Store(out / "store")
        self.store.folder.mkdir(parents=True, exist_ok=True)
        write_json(out / "run.json", self.job.to_json())

    def task(self, kind: str, **args: object) -> Task:
        (found,) = [
            task
            for task in self.plan.of_kind(kind)
            if all(task.args.get(name) == value for name, value in args.items())
        ]
        return found

    def do(self, task: Task) -> None:
        for key in task.needs.values():
            if key in self.plan.tasks and not self.store.has(key):
                self.do(self.plan.tasks[key])
        with self.store.writing(task.key) as folder:
            do(self.job.run_id, self.out, task, folder)

    def reason(self, task: Task) -> str:
        with pytest.raises(HarmobenchError) as failed:
            self.do(task)
        assert not self.store.has(task.key), "nothing is kept of it"
        return reason_of(failed.value)


@pytest.fixture
def begun(given: Path, tmp_path: Path) -> Begun:
    shutil.copytree(given.parent, tmp_path / "cohort")
    return Begun(tmp_path / "cohort" / given.name, tmp_path / "out")


def tissue_of(begun: Begun) -> Task:
    return Task("a" * 40, "tissue", {"space": begun.task("space").key}, SCAN)


def regions_of(begun: Begun) -> Task:
    needs = {"space": begun.task("space").key}
    return Task("b" * 40, "regions", needs, {**SCAN, "space": "native"})


def score_of(begun: Begun) -> Task:
    return begun.task("score", method="raw", subject="01")


READ: dict[str, tuple[str, Callable[[Begun], Task]]] = {
    "image": ("images/sub-01_GE.nii.gz", lambda run: run.task("image", method="raw", **SCAN)),
    "mask": ("mask02GE.nii.gz", lambda run: run.task("space")),
    "truth": ("truth01GE.nii.gz", score_of),
    "tissue": ("tissue01GE.nii.gz", tissue_of),
    "to_native": ("back01GE.nii.gz", regions_of),
    "precomputed": ("made01GE.nii.gz", lambda run: run.task("image", method="made", **SCAN)),
}


@pytest.mark.parametrize("what", READ)
@pytest.mark.parametrize(("harm", "said"), [(change, CHANGED), (vanish, GONE)])
def test_what_reads_the_file_fails_and_says_why(
    begun: Begun, what: str, harm: Harm, said: str
) -> None:
    name, task_of = READ[what]
    path, task = begun.out.parent / "cohort" / name, task_of(begun)
    for key in task.needs.values():
        if key in begun.plan.tasks and not begun.store.has(key):
            begun.do(begun.plan.tasks[key])
    whole = path.read_bytes()
    harm(path)
    assert begun.reason(task) == said.format(name=path.name)
    path.write_bytes(whole)
    begun.do(task)


@pytest.mark.parametrize("harm", [change, vanish])
def test_other_scans_and_other_methods_are_not_affected(begun: Begun, harm: Harm) -> None:
    harm(begun.out.parent / "cohort" / "images" / "sub-01_GE.nii.gz")  # the cohort's first
    begun.reason(begun.task("image", method="raw", **SCAN))
    begun.do(begun.task("image", method="made", **SCAN))
    for task in begun.plan.of_kind("image"):
        if (task.args["subject"], task.args["scanner"]) != ("01", "GE"):
            begun.do(task)


def test_the_same_command_again_takes_the_new_content(begun: Begun) -> None:
    path = begun.out.parent / "cohort" / "images" / "sub-01_GE.nii.gz"
    task = begun.task("image", method="raw", **SCAN)
    change(path)
    begun.reason(task)
    again = Begun(begun.out.parent / "cohort" / "matched.csv", begun.out)
    made = again.task("image", method="raw", **SCAN)
    assert made.key != task.key
    again.do(made)
    stored = read_voxels(again.store.path(made.key) / "image.nii.gz")
    brain = read_voxels(again.store.path(made.needs["space"]) / "brain.nii.gz") > 0
    np.testing.assert_array_equal(stored[brain], read_voxels(path)[brain])


def test_a_plan_made_again_within_a_run_has_the_keys_that_it_had(begun: Begun) -> None:
    change(begun.out.parent / "cohort" / "made01GE.nii.gz")
    assert set(make_plan(begun.job).tasks) == set(begun.plan.tasks)
    assert set(make_plan(replace(begun.job)).tasks) != set(begun.plan.tasks)


def test_a_file_that_changes_while_it_is_read_is_found_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "file.nii"
    path.write_text("one")
    originals = Originals({str(path): hash_file(path)})
    assert originals.file(path) == path
    originals.check()
    path.write_text("another")
    with pytest.raises(HarmobenchError, match=r"another content in file\.nii"):
        originals.check()


def test_a_grid_in_the_job_is_that_of_the_image(begun: Begun) -> None:
    for scan in begun.job.cohort.scans:
        assert scan.grid == read_grid(scan.image)
