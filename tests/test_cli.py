"""What a person sees: help, versions, lists, and one clear message for each mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from harmobench.cli import main
from harmobench.imaging.volume import Grid, read_voxels, write_image

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


@pytest.fixture
def broken(cohort_csv: Path, tmp_path: Path) -> Path:
    """Return a copy of the cohort that a test may break."""
    import shutil

    return shutil.copytree(cohort_csv.parent, tmp_path / "cohort") / "matched.csv"


def change(manifest: Path, old: str, new: str) -> None:
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))


def rewrite(manifest: Path, make: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the voxels of the first image."""
    path = manifest.parent / "images" / "sub-01_GE.nii.gz"
    image = nib.load(path)
    voxels = make(read_voxels(path))
    nib.save(nib.Nifti1Image(voxels.astype(np.float32), image.affine), path)


def nan(voxels: np.ndarray) -> np.ndarray:
    voxels[10, 10, 10] = np.nan
    return voxels


def one_scanner(manifest: Path) -> None:
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "Philips" not in line))


def text_for_image(manifest: Path) -> None:
    (manifest.parent / "images/sub-01_GE.nii.gz").write_text("hello")


def odd_tissue(manifest: Path) -> None:
    """Name labels of which one is 257."""
    image = nib.load(manifest.parent / "images/sub-01_GE.nii.gz")
    labels = np.ones(image.shape, np.int16)
    labels[0, 0, 0] = 257
    nib.save(nib.Nifti1Image(labels, image.affine), manifest.parent / "tissue.nii.gz")
    lines = manifest.read_text().splitlines()
    rows = [f"{line},tissue.nii.gz" for line in lines[1:]]
    manifest.write_text("\n".join([f"{lines[0]},tissue", *rows]) + "\n")


# What the user did; what the message must say, with the row where there is one.
MISTAKES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "missing image": (
        lambda m: (m.parent / "images/sub-01_GE.nii.gz").unlink(),
        ["row 2, column image", "found no file", "sub-01_GE.nii.gz"],
    ),
    "no image at all": (
        text_for_image,
        ["row 2, column image", "expected a NIfTI image"],
    ),
    "NaN": (lambda m: rewrite(m, nan), ["row 2, column image", "found 1 NaN or inf"]),
    "empty image": (lambda m: rewrite(m, np.zeros_like), ["row 2", "found only zeros"]),
    "constant image": (
        lambda m: rewrite(m, lambda v: (v > 0).astype(np.float32)),
        ["row 2", "expected an image with contrast, found the one value 1"],
    ),
    "4-D image": (
        lambda m: rewrite(m, lambda v: np.stack([v, v], axis=-1)),
        ["row 2", "expected a 3-D image, found 4-D"],
    ),
    "another shape": (
        lambda m: rewrite(m, lambda v: v[:-1]),
        ["row 2", "expected the grid of most scans", "found another shape"],
    ),
    "duplicate row": (
        lambda m: change(m, "\n02,GE", "\n01,GE"),
        ["row 4", "subject 01 on scanner GE already stands in row 2"],
    ),
    "labels that are none": (
        odd_tissue,
        ["row 2, column tissue: expected labels 1 CSF, 2 GM, 3 WM and 0, found 257"],
    ),
    "no scanner column": (
        lambda m: change(m, "scanner", "scaner"),
        ["row 1: expected a column 'scanner'", "is 'scaner' meant?"],
    ),
    "one scanner": (
        one_scanner,
        ["column scanner: expected at least 2 scanners, found 1 (GE)"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("command", ["check", "run"])
def test_mistake_in_a_cohort(name: str, command: str, broken: Path, cli: Cli) -> None:
    spoil, said = MISTAKES[name]
    spoil(broken)
    out = broken.parent.parent / "out"
    if command == "check":
        status, _, err = cli("cohort", "check", str(broken), "--quiet")
    else:
        status, _, err = cli("run", "--cohort", str(broken), "--out", str(out), "--quiet")
    assert status == 2
    for text in said:
        assert text in err, err
    assert "Traceback" not in err
    assert err.startswith("harmobench: ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--methods", "mispell"], "is 'mispel' meant?"),
        (["--methods", "raw,ravel", "--set", "ravel.kk=2"], "'ravel' has no parameter 'kk'"),
        (["--metrics", "sim"], "is 'ssim' meant?"),
        (["--group", "grup:high,low"], "is 'group' meant?"),
        (["--group", "group:high,lo"], "expected high or lo in column 'group', found 'low'"),
        (["--covariates", "agee"], "is 'age' meant?"),
        (["--target", "Siemens"], "expected one of the scanners GE, Philips"),
        (["--preset", "fast"], "--preset: expected quick, default, paper, found 'fast'"),
        (["--folds", "3"], "expected at least 6 matched subjects for 3 folds"),
        (["--atlas", "nowhere"], "expected an atlas folder with an atlas.toml"),
        (["--measures", "freesurfer=nowhere"], "expected a folder of finished subjects"),
        (["--measures", "freesurfer"], "expected freesurfer=PLACE"),
        (["--measures", "freesurfr=x"], "is 'freesurfer' meant?"),
        (["--measures", "atlas-roi=x"], "atlas-roi measures by itself"),
        (["--biomarkers", "b.toml"], "--biomarkers: expected a tool that takes them"),
        (["--precomputed", "mine=x.nii"], "expected NAME=PATTERN with {subject} and {scanner}"),
        (["--scheduler", "tcp://127.0.0.1:1", "--methods", "raw"], "--scheduler: expected a run"),
    ],
)
def test_mistake_in_an_option(
    options: list[str], said: str, cohort_csv: Path, tmp_path: Path, cli: Cli
) -> None:
    out = tmp_path / "out"
    status, _, err = cli("run", "--cohort", str(cohort_csv), "--out", str(out), "--quiet", *options)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


def test_option_that_does_not_exist(cli: Cli) -> None:
    status, _, err = cli("run", "--metods", "all")
    assert status == 2
    assert "--metods" in err


def test_no_manifest_named(cli: Cli) -> None:
    status, _, err = cli("run")
    assert status == 2
    assert "--cohort: expected a manifest such as matched.csv" in err


def test_cohort_in_another_space_is_refused(tmp_path: Path, cohort_csv: Path, cli: Cli) -> None:
    rows = cohort_csv.read_text()
    for path in sorted((cohort_csv.parent / "images").iterdir()):
        image = nib.load(path)
        moved = image.affine.copy()
        moved[:3, 3] += 60  # mm
        grid = Grid.make(image.shape, moved)
        write_image(tmp_path / "images" / path.name, read_voxels(path), grid)
    (tmp_path / "matched.csv").write_text(rows)
    out = tmp_path / "out"
    manifest = str(tmp_path / "matched.csv")
    status, _, err = cli("run", "--cohort", manifest, "--out", str(out), "--quiet")
    assert status == 2
    assert "atlas 'builtin'" in err
    assert not out.exists()


def test_version_names_what_results_hang_on(cli: Cli) -> None:
    status, out, _ = cli("--version")
    assert status == 0
    for name in ("harmobench 0.1.0", "numpy", "torch", "python"):
        assert name in out


def test_list_shows_every_plugin_that_ships(cli: Cli) -> None:
    status, out, _ = cli("list")
    assert status == 0
    for name in ("raw", "whitestripe", "ravel-cv", "calamiti", "mispel", "ssim", "hmrf", "html"):
        assert f"  {name} " in out
    assert "broken" not in out


def test_list_of_an_unknown_kind(cli: Cli) -> None:
    status, _, err = cli("list", "metods")
    assert status == 2
    assert "expected one of methods, metrics" in err


def test_report_of_no_run(tmp_path: Path, cli: Cli) -> None:
    status, _, err = cli("report", str(tmp_path))
    assert status == 2
    assert "found no run.json" in err


def test_other_people_s_folder_is_left_alone(tmp_path: Path, cohort_csv: Path, cli: Cli) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("all of it")
    status, _, err = cli("run", "--cohort", str(cohort_csv), "--out", str(out), "--quiet")
    assert status == 2
    assert "found other files" in err
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['harmobench', '--help']\n"
        "from harmobench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'scipy', 'matplotlib', 'distributed', 'nibabel', 'ants'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_unmatched_subject_is_kept_and_named(broken: Path, cli: Cli) -> None:
    lines = broken.read_text().splitlines(keepends=True)
    broken.write_text("".join(line for line in lines if not line.startswith("04,Philips")))
    status, out, _ = cli("cohort", "check", str(broken), "--quiet")
    assert status == 0
    assert "seen on one scanner only, left out of pairs: 04" in out
    assert "incomplete" in out
