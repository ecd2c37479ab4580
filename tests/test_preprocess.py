"""From native scans to RAW: what comes out, what stands out, what goes on, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harmobench.atlas import Atlas, icbm152, read_atlas
from harmobench.cli import main
from harmobench.cohort import Scan
from harmobench.imaging.volume import Grid, read_grid, read_voxels, write_image
from harmobench.imaging.warp import carry, read_field
from harmobench.preprocess.publish import outliers
from harmobench.preprocess.request import Request, read_scans, shows_skull
from harmobench.preprocess.steps import Measured, finish, jacobian
from harmobench.store import read_json

Rows = list[dict[str, str]]
FAR = np.array([[-1, 0, 0, 210], [0, 1, 0, -90], [0, 0, 1, 60], [0, 0, 0, 1.0]])


def read_manifest(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_manifest(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def native(seed: int, resolution: float = 6.0) -> tuple[np.ndarray, Grid]:
    """Draw a person's native image: another shape, place and brightness than the template's."""
    tissues, _, brain, grid = icbm152(resolution)
    rng = np.random.default_rng(seed)
    voxels = sum(v * tissues[t] for v, t in ((200, "csf"), (600, "gm"), (900, "wm")))
    voxels = np.clip(voxels + rng.normal(0, 15, grid.shape), 1, None) * brain
    stretch = np.diag([1.06, 0.95, 1.03, 1.0])
    return np.pad(voxels, 2).astype(np.int16), Grid.make(
        tuple(n + 4 for n in grid.shape), FAR @ stretch @ grid.affine
    )


def write_scans(folder: Path, count: int = 2) -> Path:
    rows = []
    for s in range(count):
        for k, scanner in enumerate(("GE", "Philips")):
            path = folder / f"p{s} {scanner}.nii.gz"
            write_image(path, *native(10 * s + k))
            row = {"subject": f"p{s}", "scanner": scanner, "image": path.name, "age": str(60 + s)}
            rows.append(row)
    return write_manifest(folder / "scans.csv", rows)


def write_atlas(folder: Path) -> Path:
    """Write the built-in atlas at 6 mm as a folder of its own."""
    tissues, template, brain, grid = icbm152(6.0)
    labels = np.where(brain, 1 + np.stack([tissues[t] for t in ("csf", "gm", "wm")]).argmax(0), 0)
    regions = np.zeros(grid.shape, np.int32)
    regions[8:12, 10:16, 8:12], regions[20:24, 10:16, 8:12] = 1, 2
    for name, voxels in (
        ("t1", template * brain),
        ("mask", brain),
        ("tissues", labels.astype(np.uint8)),
        ("regions", regions),
    ):
        write_image(folder / f"{name}.nii.gz", voxels, grid)
    (folder / "atlas.toml").write_text(
        'name = "tiny"\nspace = "ICBM152 at 6 mm"\ntemplate = "t1.nii.gz"\nmask = "mask.nii.gz"\n'
        '[tissues]\nimage = "tissues.nii.gz"\ncsf = 1\ngm = 2\nwm = 3\n'
        '[regions]\nimage = "regions.nii.gz"\n[regions.labels]\nblock = [1, 2]\n'
    )
    return folder


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_atlas(tmp_path_factory.mktemp("atlas"))


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, atlas: Path) -> Path:
    """Return a folder of preprocessed scans; do not change it."""
    folder = tmp_path_factory.mktemp("native")
    out = folder / "RAW é"
    command = [sys.executable, "-m", "harmobench.cli", "preprocess", str(write_scans(folder))]
    done = subprocess.run(
        [*command, "--atlas", str(atlas), "--out", str(out), "--quality", "quick"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "4 scans preprocessed" in done.stdout
    return out


def test_raw_is_what_a_run_wants(made: Path, atlas: Path) -> None:
    grid = read_atlas(atlas).grid
    brain = read_voxels(atlas / "mask.nii.gz") > 0
    rows = read_manifest(made / "matched.csv")
    assert [(r["subject"], r["scanner"], r["age"]) for r in rows] == [
        ("p0", "GE", "60"), ("p0", "Philips", "60"), ("p1", "GE", "61"), ("p1", "Philips", "61"),
    ]  # fmt: skip
    for row in rows:
        voxels = read_voxels(made / row["image"])
        assert read_grid(made / row["image"]).matches(grid)
        assert voxels[brain].mean() == pytest.approx(1, abs=1e-4)
        assert not voxels[~brain].any()
        assert read_grid(made / row["mask"]).matches(grid)
        assert Path(row["native_image"]).is_file()


def test_the_way_back_leads_to_the_native_image(made: Path, atlas: Path) -> None:
    for row in read_manifest(made / "matched.csv"):
        field, grid = read_field(made / row["to_native"])
        own = Path(row["native_image"])
        assert grid.matches(read_grid(own))
        back = carry(read_voxels(made / row["image"]), read_atlas(atlas).grid, field, grid)
        image = read_voxels(own)
        both = (back > 0) & (image > 0)
        assert both.sum() > 0.9 * (image > 0).sum()
        assert np.corrcoef(back[both], image[both])[0, 1] > 0.7  # coarse voxels, twice interpolated


def test_derivatives_are_named_as_bids_has_them(made: Path) -> None:
    anat = made / "sub-p0" / "ses-GE" / "anat"
    assert sorted(p.name for p in anat.iterdir()) == [
        "sub-p0_ses-GE_from-T1w_to-tiny_mode-image_xfm.nii.gz",
        "sub-p0_ses-GE_from-tiny_to-T1w_mode-image_xfm.nii.gz",
        "sub-p0_ses-GE_space-tiny_desc-preproc_T1w.json",
        "sub-p0_ses-GE_space-tiny_desc-preproc_T1w.nii.gz",
    ]
    assert (made / "tpl-tiny" / "tpl-tiny_desc-brain_mask.nii.gz").is_file()
    described = json.loads((made / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"


def test_the_page_shows_every_scan_and_loads_nothing(made: Path) -> None:
    page = (made / "quality.html").read_text()
    assert page.count("<figure>") == 4
    assert "http://" not in page
    assert "https://" not in page
    rows = read_manifest(made / "quality.csv")
    assert len(rows) == 4
    assert all(float(row["correlation"]) > 0.8 and float(row["folded"]) == 0 for row in rows)


def test_it_can_be_run_and_regions_are_measured_in_native_space(
    made: Path, atlas: Path, tmp_path: Path, cli
) -> None:
    status, _, err = cli(
        "run", "--cohort", made / "matched.csv", "--atlas", atlas, "--out", tmp_path / "run",
        "--methods", "raw,whitestripe", "--metrics", "volume,biomarker", "--quiet",
    )  # fmt: skip
    assert (status, err) == (0, "")
    rows = read_manifest(tmp_path / "run" / "scores.csv")
    regions = [row for row in rows if row["metric"] == "biomarker"]
    assert {(r["tool"], r["space"], r["structure"], r["units"], r["status"]) for r in regions} == {
        ("atlas-roi", "native", "block_gm", "ml", "ok")
    }
    assert len(regions) == 2 * 4


def test_a_second_call_repeats_nothing_and_a_removed_scan_goes(
    made: Path, atlas: Path, tmp_path: Path, cli
) -> None:
    out = tmp_path / "RAW"
    shutil.copytree(made, out)
    before = {p: p.stat().st_mtime_ns for p in out.glob("store/*/*/image.nii.gz")}
    folder = made.parent
    rows = read_manifest(folder / "scans.csv")[:3]
    fewer = write_manifest(folder / "fewer.csv", rows)
    status, out_text, _ = cli(
        "preprocess", fewer, "--atlas", atlas, "--out", out, "--quality", "quick"
    )
    assert status == 0
    assert "3 scans preprocessed" in out_text
    assert {p: p.stat().st_mtime_ns for p in out.glob("store/*/*/image.nii.gz")} == before
    assert not (out / "sub-p1" / "ses-Philips").exists()
    assert len(read_manifest(out / "matched.csv")) == 3


def test_a_killed_call_goes_on_and_comes_to_the_same_bytes(
    made: Path, atlas: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "harmobench.cli", "preprocess", str(made.parent / "scans.csv"),
        "--atlas", str(atlas), "--out", str(tmp_path / "RAW"), "--quality", "quick",
        "--workers", "1", "--quiet",
    ]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("RAW/store/*/[0-9a-f]*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("RAW/store/*/[0-9a-f]*/image.nii.gz")}
    assert subprocess.run(command).returncode == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    for name in ("matched.csv", "quality.csv"):
        assert (tmp_path / "RAW" / name).read_bytes() == (made / name).read_bytes()
    for path in made.glob("sub-*/*/anat/*.nii.gz"):
        assert (tmp_path / "RAW" / path.relative_to(made)).read_bytes() == path.read_bytes()


def test_a_scan_that_is_no_brain_fails_alone(atlas: Path, tmp_path: Path, cli) -> None:
    manifest = write_scans(tmp_path, 1)
    noise = np.random.default_rng(0).integers(1, 900, (20, 20, 20)).astype(np.int16)
    noise[:, :10] = 0
    write_image(tmp_path / "noise.nii.gz", noise, Grid.make((20, 20, 20), np.diag([8, 8, 8, 1.0])))
    rows = read_manifest(manifest)
    rows.append(rows[0] | {"subject": "noise", "image": "noise.nii.gz"})
    status, out, err = cli(
        "preprocess", write_manifest(manifest, rows), "--atlas", atlas, "--out", tmp_path / "RAW",
        "--quality", "quick", "--skull", "off",
    )  # fmt: skip
    assert status == 1, err
    assert "2 scans preprocessed" in out
    assert "1 scans failed" in out
    failures = read_manifest(tmp_path / "RAW" / "failures.csv")
    assert [row["scan"] for row in failures] == ["noise GE"]
    assert len(read_manifest(tmp_path / "RAW" / "matched.csv")) == 2
    assert "1 failed" in (tmp_path / "RAW" / "quality.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quality", "best"], "--quality: expected paper, quick, found 'best'"),
        (["--skull", "yes"], "--skull: expected auto, on, off, found 'yes'"),
        (["--workers", "0"], "--workers: expected at least 1, found 0"),
        (["--atlas", "nowhere"], "expected an atlas folder with an atlas.toml"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler: expected a running Dask scheduler"),
    ],
)
def test_options_are_refused_before_anything_is_written(
    options: list[str], said: str, atlas: Path, tmp_path: Path, cli
) -> None:
    words = ["preprocess", write_scans(tmp_path, 1), "--out", tmp_path / "RAW", "--atlas", atlas]
    status, _, err = cli(*words, *options)
    assert status == 2
    assert said in err
    assert not (tmp_path / "RAW").exists()


def _four_d(path: Path) -> None:
    import nibabel as nib

    nib.save(nib.nifti1.Nifti1Image(np.ones((4, 4, 4, 2), np.float32), np.eye(4)), path)


def _sheared(path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.3
    write_image(path, np.arange(64, dtype=np.int16).reshape(4, 4, 4), Grid.make((4, 4, 4), affine))


def _constant(path: Path) -> None:
    write_image(path, np.ones((4, 4, 4), np.int16), Grid.make((4, 4, 4), np.eye(4)))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "found no file at"),
        (lambda path: path.write_bytes(b"x"), "expected a NIfTI image"),
        (_four_d, "expected a 3-D image, found 4-D"),
        (_sheared, "axes at right angles"),
        (_constant, "found the one value 1"),
    ],
)
def test_every_fault_of_the_images_is_said_at_once(
    spoil, said: str, atlas: Path, tmp_path: Path, cli
) -> None:
    manifest = write_scans(tmp_path, 1)
    spoil(tmp_path / "p0 GE.nii.gz")
    spoil(tmp_path / "p0 Philips.nii.gz")
    status, _, err = cli("preprocess", manifest, "--atlas", atlas, "--out", tmp_path / "RAW")
    assert status == 2
    assert "2 faults found" in err
    assert err.count(said) == 2
    assert "row 2, column image" in err
    assert not (tmp_path / "RAW").exists()


def test_a_folder_of_other_files_is_refused(atlas: Path, tmp_path: Path, cli) -> None:
    manifest = write_scans(tmp_path, 1)
    status, _, err = cli("preprocess", manifest, "--atlas", atlas, "--out", tmp_path)
    assert status == 2
    assert "expected a new or empty folder or one of an earlier run" in err


def head_of(voxels: np.ndarray, size: float) -> np.ndarray:
    """Put a brain of 6 mm voxels into a bright shell."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(voxels == 0) * size
    return np.where((distance > 8) & (distance < 22), 700, voxels) + (distance >= 22)


def test_skulls_are_seen(tmp_path: Path) -> None:
    voxels, grid = native(1)
    for name, image, skull in (
        ("brain", voxels, False),
        ("head", head_of(np.pad(voxels, 4), 6.0), True),
        ("air", voxels + 3, True),
    ):
        path = tmp_path / f"{name}.nii.gz"
        write_image(path, image.astype(np.int16), Grid.make(image.shape, grid.affine))
        assert shows_skull(Scan("a", "b", path)) is skull, name


def test_an_image_with_skull_is_not_taken_for_a_stripped_one(
    atlas: Path, tmp_path: Path, cli
) -> None:
    manifest = write_scans(tmp_path, 1)
    for row in read_manifest(manifest):
        path = tmp_path / row["image"]
        image = head_of(np.pad(read_voxels(path), 4), 6.0).astype(np.int16)
        write_image(path, image, Grid.make(image.shape, read_grid(path).affine))
    words = ["preprocess", manifest, "--atlas", atlas, "--out", tmp_path / "OFF"]
    status, _, err = cli(*words, "--skull", "off")
    assert status == 2
    assert err.count("expected a skull-stripped image (--skull off)") == 2
    assert not (tmp_path / "OFF").exists()
    for skull in ("auto", "on"):
        request = Request(manifest, str(atlas), tmp_path / "OFF", skull=skull)
        found = read_scans(request, read_atlas(atlas), lambda done, total, what: None)
        assert [native.skull for native in found] == [True, True]


def good(**changes: object) -> Measured:
    whole = {
        "correlation": 0.9, "overlap": 0.98, "round_trip": 0.97, "folded": 0.0, "stretch": 0.2,
        "bias": 1.1, "search": False, "skull": False,
    }  # fmt: skip
    return Measured(**{**whole, **changes})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"correlation": 0.7}, "correlation with the template 0.7 (median 0.9)"),
        ({"overlap": 0.9}, "overlap with the atlas's brain"),
        ({"round_trip": 0.8}, "there and back"),
        ({"stretch": 0.5}, "stretching"),
        ({"bias": 2.0}, "correction by N4"),
        ({"folded": 0.01}, "folding"),
        ({"search": True}, "first start went astray"),
    ],
)
def test_what_is_far_on_the_bad_side_stands_out(change: dict[str, object], said: str) -> None:
    flags = outliers([good(), good(), good(**change), good()])
    assert [bool(each) for each in flags] == [False, False, True, False]
    assert said in flags[2][0]


def test_what_is_far_on_the_good_side_does_not() -> None:
    better = good(correlation=0.99, overlap=1.0, round_trip=1.0, stretch=0.0, bias=1.0)
    assert not any(outliers([good(), good(), better, good()]))
    assert not any(outliers([good(overlap=None, skull=True)] * 3))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_jacobian_is_the_change_of_volume(step: int) -> None:
    grid = Grid.make((8, 9, 10), np.diag([-2.0, 3.0, 1.5, 1.0]))
    world = np.indices(grid.shape).transpose(1, 2, 3, 0) @ grid.affine[:3, :3].T
    field = (world @ np.diag([0.1, -0.2, 0.3])).astype(np.float32)
    found = jacobian(field, grid, step)
    assert found.shape == tuple(len(range(1, n - 1, step)) for n in grid.shape)
    assert np.allclose(found, 1.1 * 0.8 * 1.3, atol=1e-4)
    assert (jacobian((world @ np.diag([-2.5, 0, 0])).astype(np.float32), grid) < 0).all()


def test_jacobian_is_that_of_numpy_gradient() -> None:
    rng = np.random.default_rng(0)
    grid = Grid.make((9, 8, 7), np.diag([2.0, 2.0, 2.0, 1.0]))
    field = rng.normal(0, 0.3, (*grid.shape, 3)).astype(np.float32)
    slopes = np.stack(np.gradient(field, 2.0, axis=(0, 1, 2)), axis=-1) + np.eye(3)
    assert np.allclose(jacobian(field, grid, 1), np.linalg.det(slopes)[1:-1, 1:-1, 1:-1], atol=1e-4)


def test_raw_has_mean_one_in_the_brain_and_nothing_outside(atlas: Path) -> None:
    own: Atlas = read_atlas(atlas)
    moved = own.template_voxels() * 40 + 5
    raw, correction = finish(moved, own)
    assert raw[own.brain()].mean() == pytest.approx(1, abs=1e-5)
    assert not raw[~own.brain()].any()
    assert (correction > 0).all()


def test_sidecars_say_what_was_done(made: Path) -> None:
    sidecar = next(made.glob("sub-p0/ses-GE/anat/*.json"))
    data = read_json(sidecar)
    assert data["Quality"]["Name"] == "quick"
    assert data["InputShowedSkull"] is False
