"""Whole runs: equal bytes with other workers, resuming after a kill, going on after failures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from harmobench.cli import main
from harmobench.errors import MeasurementError, StoppedError
from harmobench.job import job_from, read_job
from harmobench.originals import Originals
from harmobench.results import SCORE_COLUMNS, read_table
from harmobench.samecode import refuse_other_code
from harmobench.store import Store, read_json, write_json
from harmobench.task import Task
from harmobench.tasks import KINDS
from harmobench.work import Work

COMMAND = [sys.executable, "-m", "harmobench.cli"]
COMMON = ["--methods", "raw,whitestripe,ravel-cv", "--metrics", "ssim,auroc,volume,dice", "--quiet"]


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    sys.argv = ["harmobench", *arguments]
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0), "".join(capsys.readouterr())


@pytest.fixture(scope="module")
def finished(cohort_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    command = [sys.executable, "-m", "harmobench.cli", "run", "--cohort", str(cohort_csv)]
    done = subprocess.run(
        [*command, "--out", str(out), *COMMON, "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_method_has_every_score(finished: Path) -> None:
    scores = read_table(finished / "scores", SCORE_COLUMNS)
    assert set(scores["method"]) == {"raw", "whitestripe", "ravel-cv"}
    counts = scores[scores["status"] == "ok"].groupby(["method", "metric"]).size()
    # 4 subjects: one pair each; two scans each for AUROC and 3 tissues; GM and WM for Dice
    for method in ("raw", "whitestripe", "ravel-cv"):
        expected = {"ssim": 4, "auroc": 8, "volume": 24, "dice": 8}
        assert counts[method].to_dict() == expected
    assert (scores["status"] == "ok").all()


def test_folder_has_what_was_promised(finished: Path) -> None:
    for name in ("run.json", "cohort.csv", "costs.csv", "failures.csv", "report.html"):
        assert (finished / name).is_file(), name
    for stem in ("scores", "aggregates", "comparisons"):
        assert (finished / f"{stem}.parquet").is_file()
        assert (finished / f"{stem}.csv").is_file()
    image = finished / "harmonized/ravel-cv/sub-01/ses-GE/anat/sub-01_ses-GE_desc-ravelcv"
    assert len(list(image.parent.glob("*_T1w.nii.gz"))) == 1
    assert (finished / "models/ravel-cv/fold-0/model.json").is_file()
    assert list((finished / "segmentations/hmrf/raw/sub-01").rglob("*label-GM_probseg.nii.gz"))
    mosaic = finished / "figures/mosaics/ravel-cv/sub-01_ses-GE.webp"
    assert mosaic.read_bytes()[8:12] == b"WEBP"
    assert mosaic.stat().st_nlink > 1


def test_harmonized_images_keep_grid_and_mask(finished: Path, cohort_csv: Path) -> None:
    raw = nib.load(cohort_csv.parent / "images" / "sub-01_GE.nii.gz")
    for path in sorted((finished / "harmonized").rglob("*ses-GE*_T1w.nii.gz")):
        image = nib.load(path)
        assert image.shape == raw.shape
        assert np.allclose(image.affine, raw.affine)
        assert image.get_data_dtype() == np.float32
        outside = np.asarray(image.dataobj)[np.asarray(raw.dataobj) == 0]
        assert len(np.unique(outside)) == 1


def test_two_workers_give_the_same_bytes(
    finished: Path, cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "two"
    status, text = _run(
        capsys, "run", "--cohort", str(cohort_csv), "--out", str(out), *COMMON, "--workers", "2"
    )
    assert status == 0, text
    for name in ("scores.parquet", "aggregates.parquet", "comparisons.parquet", "scores.csv"):
        assert (out / name).read_bytes() == (finished / name).read_bytes(), name


def test_killed_run_resumes_and_repeats_nothing(
    finished: Path, cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "killed"
    options = ["run", "--cohort", str(cohort_csv), "--out", str(out), *COMMON, "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harmobench.cli", *options],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while len(_stored(out)) < 20 and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    before = _stored(out)
    assert len(before) >= 20
    assert not (out / "scores.parquet").exists()
    status, text = _run(capsys, *options)
    assert status == 0, text
    after = _stored(out)
    assert {name: after[name] for name in before} == before  # not one was written again
    assert f"{len(after) - len(before)} tasks computed, {len(before)} found finished" in text
    assert (out / "scores.parquet").read_bytes() == (finished / "scores.parquet").read_bytes()


def _stored(out: Path) -> dict[str, int]:
    found = (out / "store").glob("??/*") if (out / "store").is_dir() else ()
    return {p.name: p.stat().st_ino for p in found if not p.name.startswith(".")}


def test_finished_run_is_not_repeated(
    finished: Path, cohort_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "scores.parquet").read_bytes()
    status, text = _run(capsys, "run", "--cohort", str(cohort_csv), "--out", str(finished), *COMMON)
    assert status == 0, text
    assert text.startswith("0 tasks computed")
    assert (finished / "scores.parquet").read_bytes() == before


def test_report_can_be_written_again_without_the_images(
    finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    page = (copy / "report.html").read_text(encoding="utf-8")
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "harmonized")
    status, text = _run(capsys, "report", str(copy), "--quiet")
    assert status == 0, text
    assert (copy / "report.html").read_text(encoding="utf-8") == page


def _plugin(folder: Path, name: str, body: str) -> Path:
    """Write a package with one method that does `body` in transform, as pip would install it."""
    info = folder / f"harmobench_{name}-0.1.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: harmobench-{name}\nVersion: 0.1\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(
        f"[harmobench.methods]\n{name} = harmobench_{name}:Own\n"
    )
    (folder / f"harmobench_{name}.py").write_text(
        "import os\n"
        "from dataclasses import dataclass\n"
        "from harmobench.base import Method\n"
        "from harmobench.interface import Reference\n"
        "@dataclass\n"
        "class Own(Method):\n"
        "    reference = Reference('Own', 'Nobody', 2026)\n"
        "    def transform(self, scan):\n"
        "        if (scan.subject, scan.scanner) == ('02', 'GE'):\n"
        f"            {body}\n"
        "        return scan.with_voxels(scan.voxels())\n"
    )
    return folder


def _with_plugin(
    plugin: Path, cohort_csv: Path, out: Path, methods: str
) -> subprocess.CompletedProcess[str]:
    options = ["--methods", methods, "--metrics", "ssim,auroc", "--quiet", "--workers", "1"]
    return subprocess.run(
        [*COMMAND, "run", "--cohort", str(cohort_csv), "--out", str(out), *options],
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_method_that_kills_its_worker_takes_no_other_task_along(
    finished: Path, cohort_csv: Path, tmp_path: Path
) -> None:
    plugin = _plugin(tmp_path / "plugin", "dies", "os.kill(os.getpid(), 9)")
    out = tmp_path / "run"
    done = _with_plugin(plugin, cohort_csv, out, "raw,dies")
    assert done.returncode == 1, done.stdout + done.stderr
    failures = pd.read_csv(out / "failures.csv", dtype=str)
    assert failures[["task", "method", "subject", "scanner"]].values.tolist() == [
        ["image", "dies", "02", "GE"]
    ]
    assert "its worker died 2 times while doing this" in failures["reason"][0]
    scores = read_table(out / "scores", SCORE_COLUMNS)
    raw = scores[scores["method"] == "raw"].reset_index(drop=True)
    before = read_table(finished / "scores", SCORE_COLUMNS)
    own = before[(before["method"] == "raw") & before["metric"].isin(["ssim", "auroc"])]
    pd.testing.assert_frame_equal(raw, own.reset_index(drop=True))
    assert (scores["status"] == "failed").sum() == 2  # its AUROC, and the pair's SSIM


def test_method_that_fails_on_one_scan_becomes_rows(cohort_csv: Path, tmp_path: Path) -> None:
    body = "raise ValueError('no luck with /secret/place/file.nii at 0x7f00')"
    plugin = _plugin(tmp_path / "plugin", "breaks", body)
    out = tmp_path / "run"
    done = _with_plugin(plugin, cohort_csv, out, "raw,breaks")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 scores failed" in done.stdout
    scores = read_table(out / "scores", SCORE_COLUMNS)
    failed = scores[scores["status"] == "failed"]
    assert list(failed["metric"]) == ["auroc", "ssim"]
    assert set(failed["subject"]) == {"02"}
    assert failed["value"].isna().all()
    assert all("no luck with file.nii at 0x..." in reason for reason in failed["reason"])
    assert len(scores[(scores["method"] == "breaks") & (scores["status"] == "ok")]) == 3 + 7
    failures = pd.read_csv(out / "failures.csv")
    assert list(failures["subject"]) == [2]
    assert "02" in (out / "report.html").read_text(encoding="utf-8")


SMALL_GRID = [
    *("--methods", "mispel", "--preset", "quick", "--metrics", "ssim", "--quiet"),
    *("--set", "mispel.lambda2s=[0.1,0.5]", "--set", "mispel.lambda4s=[1,4]"),
    *("--set", "mispel.warm_steps=0", "--set", "mispel.steps=2", "--set", "mispel.steps2=4"),
]


def test_candidates_are_tasks_and_their_order_does_not_matter(
    cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = []
    for workers in ("1", "2"):
        out = tmp_path / workers
        command = ["run", "--cohort", str(cohort_csv), "--out", str(out), *SMALL_GRID]
        status, text = _run(capsys, *command, "--workers", workers)
        assert status == 0, text
        costs = pd.read_csv(out / "costs.csv")
        assert list(costs.loc[costs["task"] == "piece", "fold"]) == [0, 1]
        assert (out / "figures" / "training-mispel.png").is_file()
        models.append((out / "models" / "mispel" / "fold-0" / "arrays.safetensors").read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("setting", ["mispel.batch=0", "mispel.target=GEE", "mispel.steps=-1"])
def test_parameters_that_cannot_be_used_are_refused_before_anything_is_written(
    setting: str, cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "refused"
    command = ["run", "--cohort", str(cohort_csv), "--out", str(out), *SMALL_GRID]
    status, text = _run(capsys, *command, "--set", setting)
    assert status == 2
    name = setting.partition("=")[0].partition(".")[2]
    assert f"MISPEL cannot use these parameters: {name}: expected" in text
    assert not out.exists()


def _with_other_image(
    cohort_csv: Path, folder: Path, row: int, change: Callable[[np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """Write folder/matched.csv: the cohort with one image changed; return its rows."""
    table = pd.read_csv(cohort_csv, dtype=str)
    table["image"] = [str(cohort_csv.parent / text) for text in table["image"]]
    image = nib.load(table["image"][row])
    voxels = change(np.asarray(image.dataobj).astype(np.float32))
    nib.save(nib.Nifti1Image(voxels, image.affine), folder / "changed.nii.gz")
    table.loc[row, "image"] = str(folder / "changed.nii.gz")
    table.to_csv(folder / "matched.csv", index=False)
    return table


def test_warnings_reach_the_terminal_and_a_table(
    cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def brighten(voxels: np.ndarray) -> np.ndarray:
        voxels[tuple(np.argwhere(voxels > 0)[0])] = 1e9
        return voxels

    table = _with_other_image(cohort_csv, tmp_path, 0, brighten)
    out = tmp_path / "run"
    options = ["--methods", "whitestripe", "--metrics", "ssim", "--segmenters", "none", "--quiet"]
    status, text = _run(
        capsys, "run", "--cohort", str(tmp_path / "matched.csv"), "--out", str(out), *options
    )
    assert status == 0, text
    assert "warning: image whitestripe" in text
    (row,) = pd.read_csv(out / "warnings.csv", dtype=str).to_dict("records")
    assert (row["method"], row["subject"]) == ("whitestripe", table["subject"][0])
    assert "bright" in row["warning"]


def test_images_on_another_scale_are_refused(
    cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = _with_other_image(cohort_csv, tmp_path, 1, lambda voxels: voxels * 1000)
    out = tmp_path / "run"
    status, text = _run(capsys, "run", "--cohort", str(tmp_path / "matched.csv"), "--out", str(out))
    assert status == 2
    assert "expected intensities on one scale" in text
    assert f"subject {table['subject'][1]} on {table['scanner'][1]} has a mean of" in text
    assert not out.exists()


def test_files_of_earlier_settings_go_and_others_stay(
    finished: Path, cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(finished, tmp_path / "copy")
    (out / "tables" / "my-notes.txt").write_text("mine")
    options = ["--methods", "raw", "--metrics", "ssim", "--quiet", "--workers", "1"]
    status, text = _run(capsys, "run", "--cohort", str(cohort_csv), "--out", str(out), *options)
    assert status == 0, text
    assert sorted(path.name for path in (out / "harmonized").iterdir()) == [
        ".bidsignore",
        "README.md",
        "dataset_description.json",
        "raw",
    ]
    assert not (out / "segmentations").exists()
    assert not (out / "models").exists()
    assert list((finished / "figures").glob("*auroc*"))
    assert not list((out / "figures").glob("*auroc*"))
    assert (out / "tables" / "my-notes.txt").read_text() == "mine"
    assert not (out / ".before").exists()


def test_run_json_that_was_edited_is_refused_by_workers(finished: Path, tmp_path: Path) -> None:
    settings = read_json(finished / "run.json")
    write_json(tmp_path / "run.json", settings)
    assert read_job(tmp_path, settings["run_id"]).seed == 0
    write_json(tmp_path / "run.json", settings | {"seed": 99})
    with pytest.raises(StoppedError, match=r"expected the run\.json that the run began with"):
        read_job(tmp_path, settings["run_id"])


def test_run_json_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="the run folder is gone"):
        read_job(tmp_path, "0")


def test_atlas_that_changed_is_refused(finished: Path, tmp_path: Path) -> None:
    job = job_from(read_json(finished / "run.json"))
    other = replace(job, atlas={**job.atlas, "digest": "0" * 40})
    originals, task = Originals(job.contents), Task("0" * 40, "space", {}, {})
    work = Work(other, Store(tmp_path / "store"), task, tmp_path / "task", originals)
    with pytest.raises(MeasurementError, match="expected the atlas that the run began with"):
        KINDS["space"](work)


def test_workers_of_other_code_are_refused(finished: Path) -> None:
    job = job_from(read_json(finished / "run.json"))
    refuse_other_code(job)
    library = replace(job, environment={**job.environment, "numpy": "0.1"})
    with pytest.raises(StoppedError, match=r"numpy \S+ for 0\.1: give workers the same"):
        refuse_other_code(library)
    with pytest.raises(StoppedError, match=r"harmobench \S+ in another state than that of"):
        refuse_other_code(replace(job, kernel="0"))
    methods = tuple(replace(part, digest="0") for part in job.methods)
    with pytest.raises(StoppedError, match="another raw, another whitestripe"):
        refuse_other_code(replace(job, methods=methods))


def test_run_folder_that_is_moved_stops_the_run(cohort_csv: Path, tmp_path: Path) -> None:
    out, moved = tmp_path / "run", tmp_path / "moved"
    options = ["--cohort", str(cohort_csv), "--out", str(out), *COMMON, "--workers", "1"]
    process = subprocess.Popen(
        [*COMMAND, "run", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 300
    while len(_stored(out)) < 5 and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before its folder could be moved"
        time.sleep(0.05)
    out.rename(moved)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 3, text
    assert "the run folder is gone" in text
    assert not list(out.glob("*.parquet"))
