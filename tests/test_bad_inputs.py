"""A corpus of bad inputs: each gets one clear message and a status, and nothing is written.

An entry says how the input is made, and what the message must say of it: what was expected, what
was found, where. Everything runs through the command line, in this process.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import compared_runs as made
import nibabel as nib
import numpy as np
import pytest

from harmobench.base import Method
from harmobench.cli import main
from harmobench.errors import HarmobenchError, MethodError
from harmobench.imaging.volume import Grid, read_voxels, write_image
from harmobench.interface import Source
from harmobench.registry import KINDS, find, plugins
from harmobench.store import read_json, write_json

SECONDS = 30  # for one input: a hang is a fault
LONGEST = 20_000  # characters of a message: nobody reads more
FIRST = "sub-01_GE.nii.gz"
DEEP = 100_000


@contextmanager
def deadline() -> Iterator[None]:
    """Fail where something hangs, on a pipe say."""

    def stop(*_: object) -> None:
        pytest.fail(f"it took more than {SECONDS} s")  # no Exception: nothing may catch it

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, object]:
    """What lies in a folder, but for locks: of each file its size and time, of links the target."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *(file for file in files if file != ".lock")):
            path = Path(place) / name
            if path.is_symlink():
                found[str(path)] = path.readlink()
            else:
                status = path.stat()
                found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
                if path.is_dir():
                    found[str(path)] = "folder"
    return found


@dataclass
class Place:
    """A folder with whatever an entry needs, made when it is asked for."""

    root: Path
    shared: Path

    @cached_property
    def manifest(self) -> Path:
        """A sound cohort of 4 subjects on 2 scanners."""
        return shutil.copytree(self.shared.parent, self.root / "cohort") / "matched.csv"

    @property
    def image(self) -> Path:
        """The image in row 2 of the manifest."""
        return self.manifest.parent / "images" / FIRST

    def change(self, old: str, new: str, encoding: str = "utf-8") -> None:
        """Change the manifest's text, in one place."""
        text = self.manifest.read_text(encoding="utf-8")
        assert old in text
        self.manifest.write_bytes(text.replace(old, new, 1).encode(encoding))

    def voxels(self, make: Callable[[Any], Any], **more: Any) -> None:
        """Write the first image again."""
        image = nib.load(self.image)
        affine = more.pop("affine", image.affine)
        nib.save(nib.Nifti1Image(make(read_voxels(self.image)), affine, **more), self.image)

    def header(self, offset: int, code: str, *values: float) -> None:
        """Write numbers into the first image's header."""
        content = bytearray(gzip.decompress(self.image.read_bytes()))
        struct.pack_into(f"<{code}", content, offset, *values)
        self.image.write_bytes(gzip.compress(bytes(content), 1))

    def instead(self, content: bytes) -> None:
        """Write other bytes in place of the first image."""
        self.image.write_bytes(content)

    def pipe(self) -> None:
        """Put a pipe in the place of the first image: to read it would wait for ever."""
        self.image.unlink()
        os.mkfifo(self.image)

    def linked(self, target: str) -> None:
        """Put a link in the place of the first image."""
        self.image.unlink()
        self.image.symlink_to(target)

    def column(self, name: str, value: str) -> None:
        """Add a column to the manifest, with one value in every row."""
        lines = self.manifest.read_text(encoding="utf-8").splitlines()
        rows = [f"{lines[0]},{name}", *(f"{line},{value}" for line in lines[1:])]
        self.manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")

    def file(self, name: str, content: str | bytes) -> Path:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def atlas(self, old: str = "", new: str = "") -> Path:
        """A small atlas, its atlas.toml changed in one place."""
        folder = self.root / "atlas"
        grid = Grid.make((20, 20, 20), np.diag([9.0, 9, 9, 1]))
        x = np.indices(grid.shape)[0]
        for name, voxels in (
            ("t1", (1.0 + x).astype(np.float32)),
            ("mask", (x > 1).astype(np.uint8)),
            ("tissues", (x > 1) * (x % 3 + 1).astype(np.uint8)),
            ("regions", (x > 17).astype(np.uint8) + (x > 18)),
        ):
            write_image(folder / f"{name}.nii.gz", voxels.astype(voxels.dtype), grid)
        assert old in ATLAS
        self.file("atlas/atlas.toml", ATLAS.replace(old, new, 1) if old else ATLAS)
        return folder


ATLAS = """name = "tiny"
space = "nowhere"
template = "t1.nii.gz"
mask = "mask.nii.gz"
[tissues]
image = "tissues.nii.gz"
csf = 1
gm = 2
wm = 3
[regions]
image = "regions.nii.gz"
[regions.labels]
pole = [1, 2]
"""


@pytest.fixture
def place(cohort_csv: Path, tmp_path: Path) -> Place:
    return Place(tmp_path, cohort_csv)


@pytest.fixture
def refused(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., str]:
    """Return what calls a command, holds its refusal to the rules, and returns the message."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.chdir(place.root)

    def call(*arguments: object, status: int = 2) -> str:
        monkeypatch.setattr(sys, "argv", ["harmobench", *map(str, arguments)])
        before = tree(place.root)
        with deadline(), pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        text = out if status == 1 else err
        assert (stopped.value.code or 0) == status, err or out
        assert "Traceback" not in out + err
        assert status == 1 or text.startswith(("harmobench: ", "Usage: ")), text[:500]
        assert len(text) < LONGEST
        assert [c for c in set(text) if not (c.isprintable() or c == "\n")] == []
        assert tree(place.root) == before, "something was written"
        return text

    return call


Refused = Callable[..., str]
Make = Callable[[Place], object]

MANIFESTS: dict[str, tuple[Make, str]] = {
    "a folder": (
        lambda p: (p.manifest.unlink(), p.manifest.mkdir()),
        "expected a manifest (.csv or .tsv), found no file at",
    ),
    "a dangling link": (
        lambda p: (p.manifest.unlink(), p.manifest.symlink_to("gone.csv")),
        "expected a manifest (.csv or .tsv), found no file at",
    ),
    "a pipe": (
        lambda p: (p.manifest.unlink(), os.mkfifo(p.manifest)),
        "expected a manifest (.csv or .tsv), found no file at",
    ),
    "empty": (lambda p: p.manifest.write_bytes(b""), "found an empty file"),
    "of blank lines": (lambda p: p.manifest.write_bytes(b"\n , \n\n"), "found an empty file"),
    "a header alone": (
        lambda p: p.manifest.write_text("subject,scanner,image\n"),
        "expected one row a scan, found a header only",
    ),
    "in UTF-16": (lambda p: p.change("GE", "GE", "utf-16"), "expected text in UTF-8"),
    "with NUL": (lambda p: p.change("02,GE", "02\0,GE"), "found a NUL character in line 4"),
    "an image": (lambda p: p.manifest.write_bytes(p.image.read_bytes()), "expected text in UTF-8"),
    "with a field of a million characters": (
        lambda p: p.change("02,GE", f"{'2' * 10**6},GE"),
        "expected a table, found a fault in line 4",
    ),
    "with a path of ten thousand characters": (
        lambda p: p.change(f"images/{FIRST}", "x/" * 5000),
        "row 2, column image",
    ),
    "with a quote that never ends": (
        lambda p: p.change("\n02,GE", '\n"02,GE'),
        "put quotes around",
    ),
    "with semicolons": (
        lambda p: p.manifest.write_text(p.manifest.read_text().replace(",", ";")),
        "row 1: expected columns separated by commas (.csv) or tabs (.tsv)",
    ),
    "with a column twice": (
        lambda p: p.change("group,age", "group,group"),
        "row 1: column 'group' stands 2 times",
    ),
    "with a column without name": (
        lambda p: p.change("group,age", ",age"),
        "row 1: a column has no name",
    ),
    "with a comma too many": (
        lambda p: p.change("high,60", "high,60,61"),
        "row 2: expected 5 columns as in the header, found 6",
    ),
    "with escape codes in a name": (
        lambda p: (p.change("01,GE", "\x1b[2J01,GE"), p.image.unlink()),
        "row 2, column subject: expected text on one line, found a control",
    ),
    "with a subject that is a path, and no image": (
        lambda p: (p.change("01,GE", "../../x,GE"), p.image.unlink()),
        "row 2, column image",
    ),
    "with a missing subject": (
        lambda p: p.change("\n02,GE", "\n,GE"),
        "row 4, column subject: expected a value, found none",
    ),
    "with one image in two rows": (
        lambda p: p.change("images/sub-02_GE", "images/../images/sub-01_GE"),
        "row 4, column image: images/../images/sub-01_GE.nii.gz already stands in row 2",
    ),
    "with a mask that is a pipe": (
        lambda p: (os.mkfifo(p.manifest.parent / "pipe.nii"), p.column("mask", "pipe.nii")),
        "row 2, column mask: found no file at",
    ),
    "with an image over the web": (
        lambda p: p.change(f"images/{FIRST}", "http://127.0.0.1/x.nii.gz"),
        "row 2, column image: expected an image, found no file at",
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(name: str, place: Place, refused: Refused) -> None:
    make, said = MANIFESTS[name]
    make(place)
    assert said in refused("cohort", "check", place.manifest, "--quiet")


def bomb(place: Place) -> None:
    """Hide 100 MB of zeros behind the image's voxels."""
    content = gzip.decompress(place.image.read_bytes())
    with gzip.open(place.image, "wb", 1) as stream:
        stream.write(content)
        for _ in range(6):
            stream.write(bytes(1 << 24))


IMAGES: dict[str, tuple[Make, str]] = {
    "of no bytes": (lambda p: p.instead(b""), "expected a NIfTI image"),
    "of other bytes": (lambda p: p.instead(b"\xff\0PAR1" * 999), "expected a NIfTI image"),
    "of a packed text": (lambda p: p.instead(gzip.compress(b"hello" * 99)), "expected a NIfTI"),
    "cut short": (
        lambda p: p.instead(p.image.read_bytes()[:-5000]),
        "expected readable voxels, found a damaged or truncated file",
    ),
    "cut short in its header": (
        lambda p: p.instead(p.image.read_bytes()[:60]),
        "row 2, column image: expected",
    ),
    "with one byte flipped": (
        lambda p: p.instead(p.image.read_bytes()[:-6] + b"\0\1" + p.image.read_bytes()[-4:]),
        "found a damaged or truncated file",
    ),
    "a folder": (
        lambda p: (p.image.unlink(), p.image.mkdir()),
        "expected an image, found no file at",
    ),
    "a dangling link": (lambda p: p.linked("gone.nii.gz"), "expected an image, found no file at"),
    "a link to itself": (lambda p: p.linked(FIRST), "row 2, column image"),
    "a pipe": (Place.pipe, "expected an image, found no file at"),
    "a device without end": (lambda p: p.linked("/dev/zero"), "expected an image, found no file"),
    "with a header of 30000^3 voxels": (
        lambda p: p.header(40, "4h", 3, 30000, 30000, 30000),
        "30000",
    ),
    "with a header of negative voxels": (
        lambda p: p.header(40, "4h", 3, -4, 30, 30),
        "row 2, column image: expected",
    ),
    "with a header of no voxels": (
        lambda p: p.header(40, "4h", 3, 0, 30, 30),
        "row 2, column image: expected",
    ),
    "with a header of other voxels than there are": (
        lambda p: p.header(42, "3h", 300, 300, 300),
        "row 2, column image: expected",
    ),
    "with voxels of a type that is none": (
        lambda p: p.header(70, "2h", 9999, 16),
        "row 2, column image: expected",
    ),
    "with voxels that begin beyond its end": (
        lambda p: p.header(108, "f", 1e9),
        "row 2, column image: expected",
    ),
    "with voxels that begin nowhere": (
        lambda p: p.header(108, "f", float("nan")),
        "row 2, column image: expected",
    ),
    "with voxels that begin in its header": (
        lambda p: p.header(108, "f", 4.0),
        "row 2, column image: expected",
    ),
    "with a slope of infinity": (
        lambda p: p.header(112, "2f", float("inf"), 0.0),
        "row 2, column image: expected",
    ),
    "with extensions that never end": (
        lambda p: p.header(348, "4B2i", 1, 0, 0, 0, 2**31 - 16, 4),
        "row 2, column image: expected",
    ),
    "with 100 MB behind its voxels": (bomb, "row 2, column image: expected"),
    "with NaN": (
        lambda p: p.voxels(lambda v: np.where(v > 1.2, np.nan, v).astype(np.float32)),
        "NaN or inf voxels",
    ),
    "of four dimensions": (
        lambda p: p.voxels(lambda v: np.stack([v, v], axis=-1)),
        "expected a 3-D image, found 4-D",
    ),
    "of two dimensions": (lambda p: p.voxels(lambda v: v[:, :, 9]), "expected a 3-D image"),
    "of complex voxels": (
        lambda p: p.voxels(lambda v: v.astype(np.complex64)),
        "expected voxels that are real numbers, found complex64",
    ),
    "of colours": (
        lambda p: p.voxels(lambda v: np.zeros(v.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "expected voxels that are real numbers",
    ),
    "of zeros": (lambda p: p.voxels(np.zeros_like), "found only zeros"),
    "without contrast": (
        lambda p: p.voxels(lambda v: (v > 0).astype(np.float32)),
        "expected an image with contrast, found the one value 1",
    ),
    "with a flat affine": (
        lambda p: p.header(312, "4f", 0, 0, 0, 0),
        "expected an affine that gives each voxel its place",
    ),
    "with an affine of NaN": (
        lambda p: (p.header(254, "H", 1), p.header(280, "4f", *[float("nan")] * 4)),
        "row 2, column image: expected",
    ),
    "in another place": (
        lambda p: p.voxels(np.asarray, affine=np.diag([6.0, 6, 6, 1])),
        "expected the grid of most scans",
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image(name: str, place: Place, refused: Refused) -> None:
    make, said = IMAGES[name]
    make(place)
    text = refused("cohort", "check", place.manifest, "--quiet")
    assert said in text
    assert "row 2, column image" in text
    assert FIRST in text


ATLASES: dict[str, tuple[Callable[[Place], Path], str]] = {
    "that is none": (lambda p: p.root, "expected an atlas folder with an atlas.toml, found none"),
    "whose atlas.toml is a pipe": (
        lambda p: (os.mkfifo(p.root / "atlas.toml"), p.root)[1],
        "expected an atlas folder with an atlas.toml, found none",
    ),
    "in UTF-16": (
        lambda p: p.file("a/atlas.toml", ATLAS.encode("utf-16")).parent,
        "expected TOML in",
    ),
    "that nests without end": (
        lambda p: p.file("a/atlas.toml", "x = " + "[" * DEEP).parent,
        "expected TOML in",
    ),
    "with a number of a million digits": (
        lambda p: p.atlas("csf = 1", "csf = " + "9" * 10**6),
        "atlas.toml",
    ),
    "with a code beyond all labels": (
        lambda p: p.atlas("csf = 1", "csf = 99999999999999999999"),
        "expected voxels of csf (code 99999999999999999999) in",
    ),
    "with a tissue twice": (lambda p: p.atlas("gm = 2", "gm = 1"), "expected three codes, found"),
    "with a date for a code": (
        lambda p: p.atlas("gm = 2", "gm = 2020-02-02"),
        "tissues.gm: expected a whole number above 0",
    ),
    "with an image that is a folder": (
        lambda p: p.atlas('"t1.nii.gz"', '"."'),
        "names '.', found no such file",
    ),
    "with an image outside it that is none": (
        lambda p: (p.file("secret.nii.gz", "x"), p.atlas('"t1', '"../secret'))[1],
        "expected a NIfTI image",
    ),
    "with a device for an image": (
        lambda p: p.atlas('"t1.nii.gz"', '"/dev/zero"'),
        "/dev/zero",
    ),
    "with one label for a region": (
        lambda p: p.atlas("[1, 2]", "[1]"),
        "regions.labels.pole: expected [left, right] labels, found [1]",
    ),
    "with escape codes for a key": (
        lambda p: p.atlas("pole", '"\\u001b[2J"'),
        "expected a region's name, found '\\x1b[2J'",
    ),
}


@pytest.mark.parametrize("name", ATLASES)
def test_atlas(name: str, place: Place, refused: Refused) -> None:
    make, said = ATLASES[name]
    assert said in refused("atlas", "check", make(place))


def _config(text: str | bytes) -> Callable[[Place], list[object]]:
    return lambda p: ["--config", p.file("run.toml", text)]


# Options of `run`, beside --cohort and --out.
SETTINGS: dict[str, tuple[Callable[[Place], list[object]], str]] = {
    "--set without a dot": (lambda p: ["--set", "ravel=2"], "expected NAME.PARAMETER=VALUE"),
    "--set with code": (
        lambda p: ["--methods", "ravel", "--set", "ravel.k=__import__('os').mkdir('pwned')"],
        "parameter 'ravel.k': expected int (such as 1), found str",
    ),
    "--set of what is no parameter": (
        lambda p: ["--methods", "ravel", "--set", "ravel.__class__=x"],
        "'ravel' has no parameter '__class__'",
    ),
    "--set of a plugin that is none": (
        lambda p: ["--methods", "raw", "--set", "os.system=ls"],
        "'os' is no method, metric, segmenter or statistic of this run",
    ),
    "--set of infinity": (
        lambda p: ["--methods", "ravel", "--set", "ravel.prob=Infinity"],
        "parameter 'ravel.",
    ),
    "--set of JSON that nests without end": (
        lambda p: ["--methods", "ravel", "--set", "ravel.k=" + "[" * DEEP],
        "ravel.k",
    ),
    "--set of a number of a million digits": (
        lambda p: ["--methods", "ravel", "--set", "ravel.k=" + "9" * 10**6],
        "ravel.k",
    ),
    "--methods of commas": (lambda p: ["--methods", ",,"], "expected names with commas"),
    "--methods with a path": (
        lambda p: ["--methods", "../../x"],
        "expected one of the installed methods",
    ),
    "--metrics with escape codes": (
        lambda p: ["--metrics", "\x1b[2Jssim"],
        "expected one of the installed metrics",
    ),
    "--preset unknown": (lambda p: ["--preset", "best"], "--preset: expected quick, default"),
    "--controls unknown": (lambda p: ["--controls", "yes"], "--controls: expected auto, on, off"),
    "--device unknown": (lambda p: ["--device", "tpu"], "--device: expected auto, cpu, cuda"),
    "--repeats of none": (lambda p: ["--repeats", "0"], "--repeats: expected at least 1, found 0"),
    "--workers below none": (lambda p: ["--workers", "-1"], "--workers: expected at least 1"),
    "--seed below 0": (lambda p: ["--seed", "-5"], "--seed: expected at least 0, found -5"),
    "--folds of a text": (lambda p: ["--folds", "many"], "Invalid value for '--folds'"),
    "--margin without a number": (
        lambda p: ["--margin", "ssim=small"],
        "--margin: expected METRIC=DIFFERENCE with a positive number",
    ),
    "--margin of NaN": (
        lambda p: ["--margin", "ssim=nan"],
        "--margin: expected METRIC=DIFFERENCE with a positive number",
    ),
    "--margin of an unknown metric": (
        lambda p: ["--margin", "sim=1"],
        "--margin: expected a metric of this run",
    ),
    "--measures of two tools of one name": (
        lambda p: ["--measures", "atlas-roi", "--measures", "atlas-roi"],
        "--measures: expected 'atlas-roi' once, found it twice",
    ),
    "--measures of a place with other braces": (
        lambda p: ["--measures", f"freesurfer={p.root}/{{method}}/{{0.__class__}}"],
        "expected {method}, {subject} and {scanner}, found {0.__class__}",
    ),
    "--measures of a file": (
        lambda p: ["--measures", f"freesurfer={p.file('x', 'y')}"],
        "expected a folder of finished subjects",
    ),
    "--measures of a table that is a pipe": (
        lambda p: (os.mkfifo(p.root / "t.csv"), ["--measures", f"synthseg={p.root / 't.csv'}"])[1],
        "expected SynthSeg's CSV file, found none",
    ),
    "--biomarkers that are none": (
        lambda p: ["--measures", f"freesurfer={p.root}", "--biomarkers", p.root / "none.toml"],
        "expected TOML of biomarkers, found no file that can be read",
    ),
    "--biomarkers that nest without end": (
        lambda p: [
            "--measures",
            f"freesurfer={p.root}",
            "--biomarkers",
            p.file("b.toml", "x = " + "[" * DEEP),
        ],
        "expected TOML of biomarkers, found brackets within brackets",
    ),
    "--biomarkers of a file elsewhere": (
        lambda p: [
            "--measures",
            f"freesurfer={p.root}",
            "--biomarkers",
            p.file(
                "b.toml",
                '[[biomarker]]\nname="a"\nfile="../../x"\nrow="r"\ncolumn="ThickAvg"\nunits="mm"\n',
            ),
        ],
        "file: expected a file's name without folder, found '../../x'",
    ),
    "--biomarkers with a name that is a path": (
        lambda p: [
            "--measures",
            f"freesurfer={p.root}",
            "--biomarkers",
            p.file(
                "b.toml",
                '[[biomarker]]\nname="../x"\nfile="a.stats"\nrow="r"\n'
                'column="ThickAvg"\nunits="mm"\n',
            ),
        ],
        "name: expected letters, digits, _ and -, found '../x'",
    ),
    "--out that is a file": (
        lambda p: ["--out", p.file("taken", "x")],
        "--out: expected a folder, found a file at",
    ),
    "--out with other files": (
        lambda p: ["--out", p.file("thesis/chapter.txt", "x").parent],
        "found other files",
    ),
    "--out below a file": (
        lambda p: ["--out", p.file("taken", "x") / "deep" / "run"],
        "expected a place where a folder can be made",
    ),
    "--out of a name too long": (lambda p: ["--out", "x" * 999], "the system refused"),
    "--out with NUL": (lambda p: ["--out", "a\0b"], "embedded null byte"),
    "--cohort with NUL": (lambda p: ["--cohort", "a\0b"], "embedded null byte"),
    "config that is none": (
        lambda p: ["--config", p.root / "none.toml"],
        "--config: expected a TOML file, found none at",
    ),
    "config that is a pipe": (
        lambda p: (os.mkfifo(p.root / "c.toml"), ["--config", p.root / "c.toml"])[1],
        "--config: expected a TOML file, found none at",
    ),
    "config in UTF-16": (_config("seed = 1".encode("utf-16")), "--config: expected TOML in"),
    "config that nests without end": (_config("set = " + "[" * DEEP), "--config: expected TOML in"),
    "config with deep keys": (_config(".".join("a" * DEEP) + " = 1"), "found a fault: a key of"),
    "config with a number of a million digits": (_config("seed = " + "9" * 10**6), "found a fault"),
    "config with a huge number": (
        _config("seed = " + "9" * 4000),
        "--seed: expected at most 9223372036854775807",
    ),
    "config with an unknown option": (
        _config("sed = 1"),
        "has an unknown option 'sed'; is 'seed' meant?",
    ),
    "config with a text for a number": (
        _config('seed = "1"'),
        "option 'seed': expected int, found '1'",
    ),
    "config with a number for a text": (_config("methods = 3"), "expected str, found 3"),
    "config with numbers for names": (_config("methods = [[1], {a = 2}]"), "method"),
    "config with a text for a table": (
        _config('[set]\nravel = "k"'),
        "expected a table [set.ravel] of parameters, found 'k'",
    ),
    "config with a date for a parameter": (
        _config("[set.ravel]\nk = 2020-02-02"),
        "--config",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_setting(name: str, place: Place, refused: Refused) -> None:
    make, said = SETTINGS[name]
    options = make(place)
    own = [] if "--out" in options else ["--out", place.root / "out"]
    own += [] if "--cohort" in options else ["--cohort", place.manifest]
    text = refused("run", *own, *options, "--quiet")
    assert said in " ".join(text.split())


# What needs the cohort to be read: --precomputed and names in it.
PRECOMPUTED: dict[str, tuple[str, str]] = {
    "a name that is a path": ("../x={subject}{scanner}.nii", "expected a name of letters, digits"),
    "a name of dots": ("..={subject}{scanner}.nii", "expected a name of letters, digits"),
    "a name that begins with a dash": ("-x={subject}{scanner}.nii", "expected a name of letters"),
    "a long name": (f"{'x' * 99}={{subject}}{{scanner}}.nii", "expected a name of letters, digits"),
    "a method's name": ("ravel={subject}{scanner}.nii", "'ravel' is already a method"),
    "no scanner in it": (
        "mine={subject}.nii",
        "expected NAME=PATTERN with {subject} and {scanner}",
    ),
    "images that are none": (
        "mine=/nowhere/{subject}{scanner}.nii",
        "expected an image for each scan, found none at 8 of 8 places",
    ),
}


@pytest.mark.parametrize("name", PRECOMPUTED)
def test_precomputed(name: str, place: Place) -> None:
    from harmobench.choose import precomputed
    from harmobench.manifest import read_cohort

    text, said = PRECOMPUTED[name]
    with pytest.raises(HarmobenchError) as caught:
        precomputed([text], read_cohort(place.shared), [])
    assert said in str(caught.value)


@dataclass
class Toy(Method):
    """A method with all that a model can hold."""

    k: int = 1


def _model(folder: Path) -> Path:
    model: Any = Toy(2)
    model.factors_ = np.ones((2, 3), np.float32)
    model.weights_ = {"a": np.ones(2)}
    model.level_ = 0.5
    model.save(folder)
    return folder


def _json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return what changes model.json."""

    def make(folder: Path) -> None:
        data = read_json(folder / "model.json")
        change(data)
        (folder / "model.json").write_text(json.dumps(data), encoding="utf-8")

    return make


def _arrays(head: object, size: int | None = None, data: bytes = bytes(8)) -> Callable[..., object]:
    """Return what writes a safetensors file with this header, of which it says this length."""
    text = json.dumps(head).encode()
    content = struct.pack("<Q", len(text) if size is None else size) + text + data
    return lambda folder: (folder / "arrays.safetensors").write_bytes(content)


def _array(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda f: (f / "model.json").unlink(), "expected a saved model, found no model.json"),
    "empty": (lambda f: (f / "model.json").write_text(""), "found a damaged file"),
    "a pickle": (
        lambda f: (f / "model.json").write_bytes(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93."),
        "found a damaged file",
    ),
    "a list": (lambda f: (f / "model.json").write_text("[]"), "expected the tables parameters"),
    "JSON that nests without end": (
        lambda f: (f / "model.json").write_text("[" * DEEP),
        "found a damaged file",
    ),
    "a number of a million digits": (
        lambda f: (f / "model.json").write_text('{"parameters": {"k": ' + "9" * 10**6 + "}}"),
        "found a damaged file",
    ),
    "without what was learned": (
        _json(lambda d: d.pop("learned")),
        "expected the tables parameters and learned",
    ),
    "of another class": (
        _json(lambda d: d["parameters"].update(latent=4, lambda2=1)),
        "expected the parameters of Toy in",
    ),
    "that changes its class": (
        _json(lambda d: d["learned"].update(__class__="os")),
        "which end in _, found '__class__'",
    ),
    "that changes a method": (
        _json(lambda d: d["learned"].update(transform="x")),
        "which end in _, found 'transform'",
    ),
    "with an array for a method": (
        _arrays({"transform": _array()}),
        "which end in _, found 'transform'",
    ),
    "with arrays below what is none": (
        _arrays({"__dict__/x": _array()}),
        "which end in _, found '__dict__'",
    ),
    "with an array below a number": (
        _arrays({"level_/x": _array()}),
        "found an array beside another",
    ),
    "whose arrays are none": (
        lambda f: (f / "arrays.safetensors").write_bytes(b""),
        "expected a model's arrays in",
    ),
    "whose arrays are a folder": (
        lambda f: ((f / "arrays.safetensors").unlink(), (f / "arrays.safetensors").mkdir()),
        "expected a model's arrays, found no file at",
    ),
    "whose arrays are a pipe": (
        lambda f: ((f / "arrays.safetensors").unlink(), os.mkfifo(f / "arrays.safetensors")),
        "expected a model's arrays, found no file at",
    ),
    "whose arrays are npz with objects": (
        lambda f: (
            np.savez(f / "x.npz", x=np.array([print], dtype=object)),
            (f / "x.npz").rename(f / "arrays.safetensors"),
        ),
        "expected a model's arrays in",
    ),
    "with a header longer than the file": (
        _arrays({"factors_": _array()}, 2**62),
        "expected a model's arrays in",
    ),
    "with a header that is no table": (_arrays([1, 2]), "expected a model's arrays in"),
    "with an array larger than the file": (
        _arrays({"factors_": _array(shape=(2**40,), offsets=(0, 2**42))}),
        "expected a model's arrays in",
    ),
    "with an array of another size than its shape": (
        _arrays({"factors_": _array(shape=(5,))}),
        "expected a model's arrays in",
    ),
    "with two arrays in one place": (
        _arrays({"a_": _array(), "b_": _array()}, data=bytes(8)),
        "expected a model's arrays in",
    ),
    "with an array of objects": (
        _arrays({"factors_": _array(dtype="O")}),
        "expected a model's arrays in",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_model(name: str, tmp_path: Path) -> None:
    make, said = MODELS[name]
    folder = _model(tmp_path / "model")
    assert Toy.load(folder).k == 2
    make(folder)
    before = tree(tmp_path)
    with deadline(), pytest.raises(MethodError) as caught:
        Toy.load(folder)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value) or "beside" in said
    assert tree(tmp_path) == before


FINE = """
from dataclasses import dataclass
from harmobench.base import Method
@dataclass
class Own(Method):
    pass
"""

# Entry points (kind, name, target), the module `acme`, what is typed, and what is said.
PLUGINS: dict[str, tuple[tuple[str, str, str], str, list[str], str]] = {
    "that cannot be imported": (
        ("methods", "own", "acme:Own"),
        "import not_installed_here",
        ["--methods", "own"],
        "is broken: ModuleNotFoundError: No module named 'not_installed_here'",
    ),
    "that leaves Python": (
        ("methods", "own", "acme:Own"),
        "raise SystemExit(0)",
        ["--methods", "own"],
        "is broken: SystemExit: 0",
    ),
    "that is interrupted": (
        ("methods", "own", "acme:Own"),
        "raise ImportError('\\x1b[2J')",
        ["--methods", "own"],
        "is broken: ImportError: \\x1b[2J",
    ),
    "that is no class": (
        ("methods", "own", "acme:Own"),
        "Own = 3",
        ["--methods", "own"],
        "expected a class",
    ),
    "that is a module": (
        ("methods", "own", "acme"),
        FINE,
        ["--methods", "own"],
        "is broken: AttributeError",
    ),
    "that is no method": (
        ("methods", "own", "acme:Own"),
        "class Own: pass",
        ["--methods", "own"],
        "expected what harmobench.interface says of methods, found no fit, transform, save, load",
    ),
    "that is a method and no metric": (
        ("metrics", "own", "acme:Own"),
        FINE,
        ["--methods", "raw", "--metrics", "own"],
        "expected what harmobench.interface says of metrics, found no level, reads, better",
    ),
    "that is no segmenter": (
        ("segmenters", "own", "acme:Own"),
        FINE,
        ["--methods", "raw", "--segmenters", "own"],
        "expected what harmobench.interface says of segmenters, found no available, version",
    ),
    "with needs that are none": (
        ("methods", "own", "acme:Own"),
        FINE.replace("pass", "needs = 3"),
        ["--methods", "own"],
        "expected a class attribute `needs = Needs(...)`, found 3",
    ),
    "with a name that ships": (
        ("methods", "raw", "acme:Own"),
        FINE,
        ["--methods", "raw"],
        "two packages bring a plugin named 'raw' for harmobench.methods",
    ),
    "with a name that leaves the run": (
        ("methods", "../../x", "acme:Own"),
        FINE,
        ["--methods", "../../x"],
        "is broken: expected a name of letters, digits and _ . -",
    ),
    "with a name that is a path": (
        ("methods", "/tmp/x", "acme:Own"),
        FINE,
        ["--methods", "/tmp/x"],
        "is broken: expected a name of letters, digits and _ . -",
    ),
    "with a hidden name": (
        ("methods", ".own", "acme:Own"),
        FINE,
        ["--methods", ".own"],
        "is broken: expected a name of letters, digits and _ . -",
    ),
    "with a long name": (
        ("methods", "x" * 65, "acme:Own"),
        FINE,
        ["--methods", "x" * 65],
        "is broken: expected a name of letters, digits and _ . - (at most 64",
    ),
    "with a preset that is none": (
        ("methods", "own", "acme:Own"),
        FINE.replace("pass", "presets = {'default': {'no': 1}}"),
        ["--methods", "own"],
        "'own' has no parameter 'no'",
    ),
    "whose parameters are no data": (
        ("methods", "own", "acme:Own"),
        FINE.replace("pass", "part: object = print"),
        ["--methods", "own"],
        "expected parameters that JSON can hold",
    ),
}


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what installs a distribution with one entry point and its module, `acme`."""
    site = tmp_path_factory.mktemp("site")

    def put(point: tuple[str, str, str], source: str) -> None:
        kind, name, target = point
        info = site / "acme-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[harmobench.{kind}]\n{name} = {target}\n")
        (site / "acme.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()

    yield put
    sys.modules.pop("acme", None)


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin(name: str, place: Place, refused: Refused, install: Any) -> None:
    point, source, options, said = PLUGINS[name]
    install(point, source)
    text = refused("run", "--cohort", place.manifest, "--out", "out", *options, "--quiet")
    assert said in text
    assert "acme" in text or "'own'" in text


def test_a_plugin_of_a_bad_name_is_listed_as_broken(
    install: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(("methods", "../../x", "acme:Own"), FINE)
    monkeypatch.setattr(sys, "argv", ["harmobench", "list", "methods"])
    with pytest.raises(SystemExit):
        main()
    out = capsys.readouterr().out
    assert "broken: plugin '../../x' (acme:Own, from acme 1.0) is broken: expected a name" in out
    assert "  whitestripe " in out


ASEG = (
    "# ColHeaders  Index Volume_mm3 StructName\n# NRows 4\n1 3800.5 Left-Hippocampus\n"
    "2 1500.0 Left-Amygdala\n3 3900.5 Right-Hippocampus\n4 1600.0 Right-Amygdala\n"
)
APARC = "# ColHeaders StructName ThickAvg\nentorhinal 3.2\ninferiortemporal 2.8\n"
SYNTHSEG = (
    "subject,left hippocampus,right hippocampus,left amygdala,right amygdala\n"
    "raw_01_GE,3800,3900,1500,1600\n"
)

# Finished results: the tool, the text that is changed to what, and what is said of it.
RESULTS: dict[str, tuple[str, str, str, str]] = {
    "stats without a header": ("freesurfer", "# ColHeaders", "#", "'# ColHeaders ... StructName"),
    "stats with a row twice": (
        "freesurfer", "Left-Amygdala", "Left-Hippocampus", "expected Left-Hippocampus once",
    ),
    "stats with a word for a number": (
        "freesurfer", "3800.5", "large", "expected a number above 0 as Volume_mm3",
    ),
    "stats with a number below 0": ("freesurfer", "3800.5", "-3", "expected a number above 0"),
    "stats with infinity": ("freesurfer", "3800.5", "inf", "expected a number above 0"),
    "stats with another length of a row": ("freesurfer", "1500.0 ", "", "expected 3 fields in"),
    "stats cut short": ("freesurfer", "4 1600.0 Right-Amygdala\n", "", "expected 4 regions in"),
    "stats without a last line end": (
        "freesurfer", "Right-Amygdala\n", "Right-Amygdala", "expected a line end at the end",
    ),
    "stats without the region": ("freesurfer", "Left-Amygdala", "Left-Mandel", "Left-Amygdala"),
    "stats without the column": ("freesurfer", "Volume_mm3", "Size", "expected the column"),
    "stats with a megabyte in a field": ("freesurfer", "3800.5", "9" * 10**6, "above 0"),
    "a table without a header": ("synthseg", "subject,", "name,", "whose header begins with"),
    "a table of nothing": ("synthseg", SYNTHSEG, "", "expected a header in"),
    "a table with a column twice": (
        "synthseg", "right amygdala", "left amygdala", "expected the column Left amygdala once",
    ),
    "a table with a short row": ("synthseg", ",1600", "", "expected 5 cells in row 2"),
    "a table with a long row": ("synthseg", ",1600", ",1600,1", "expected 5 cells in row 2"),
    "a table with an empty cell": ("synthseg", "1500", "", "expected a number above 0"),
    "a table with code in a cell": ("synthseg", "1500", "=cmd()", "found '=cmd()'"),
    "a table with a million digits": ("synthseg", "1500", "9" * 100_000, "a number above 0"),
    "a table with a field too long": ("synthseg", "1500", "9" * 10**6, "found no readable one"),
    "a table with a row twice": (
        "synthseg", "raw_01_GE", "raw_01_GE,1,1,1,1\nraw_01_GE", "expected the row raw_01_GE once",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_finished_result(name: str, tmp_path: Path) -> None:
    tool, old, new, said = RESULTS[name]
    files = {"aseg.stats": ASEG, "lh.aparc.stats": APARC, "rh.aparc.stats": APARC}
    files = files if tool == "freesurfer" else {"volumes.csv": SYNTHSEG}
    paths = {}
    for file, text in files.items():
        assert old in "".join(files.values())
        paths[file] = tmp_path / file
        paths[file].write_text(text.replace(old, new, 1) if old in text else text)
    before = tree(tmp_path)
    with deadline(), pytest.raises(HarmobenchError) as caught:
        list(find("morphometry", tool).load()().measure(Source(paths, "raw_01_GE")))
    assert said in str(caught.value)
    assert any(file in str(caught.value) for file in files)
    assert tree(tmp_path) == before


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of random numbers, with its list of checksums."""
    from harmobench import checksums
    from harmobench.cohort import no_progress

    folder: Path = made.write_run(tmp_path_factory.mktemp("whole") / "run", metrics=("ssim",))
    checksums.write(folder, [], no_progress)
    return folder


def _settings(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return what changes run.json, and the list of checksums as whoever deceives would."""
    from harmobench import checksums
    from harmobench.cohort import no_progress

    def make(run: Path) -> None:
        data = read_json(run / "run.json")
        change(data)
        write_json(run / "run.json", data)
        checksums.write(run, [], no_progress)

    return make


def _replaced(name: str, put: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return what puts something else in the place of a file."""

    def make(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        put(run / name)

    return make


LOOKS = ("report", "cite", "verify", "compare")

# A run folder: how it is damaged, the command, its status, and what it says.
RUNS: dict[str, tuple[Callable[[Path], object], str, int, str]] = {
    "report: no run.json": (
        _replaced("run.json", lambda p: None), "report", 2, "found no run.json in",
    ),
    "verify: no run at all": (shutil.rmtree, "verify", 2, "expected a run folder, found none at"),
    "report: run.json that nests without end": (
        _replaced("run.json", lambda p: p.write_text("[" * DEEP)), "report", 2, "run.json",
    ),
    "verify: run.json that nests without end": (
        _replaced("run.json", lambda p: p.write_text("[" * DEEP)), "verify", 1, "changed: run.json",
    ),
    "report: run.json that is a pipe": (
        _replaced("run.json", os.mkfifo), "report", 2, "found no run.json in",
    ),
    "verify: run.json that is a pipe": (
        _replaced("run.json", os.mkfifo), "verify", 1, "unreadable: run.json: no regular file",
    ),
    "report: scores that are a pipe": (
        _replaced("scores.parquet", os.mkfifo), "report", 2, "found no scores.parquet",
    ),
    "report: scores that are a device": (
        _replaced("scores.parquet", lambda p: p.symlink_to("/dev/zero")), "report", 2,
        "found no scores.parquet",
    ),
    "cite: scores of other bytes": (
        _replaced("scores.parquet", lambda p: p.write_bytes(b"PAR1" * 99)), "cite", 2,
        "scores.parquet",
    ),
    "report: a list of checksums that is a pipe": (
        lambda run: (
            _replaced("checksums.sha256", os.mkfifo)(run),
            (run / "scores.parquet").write_bytes(b"x"),
        ),
        "report", 2, "run",
    ),
    "report: a method whose name is a path": (
        _settings(lambda d: d["methods"][1].update(name="../../../x")), "report", 2,
        "name of a plugin: expected a name of letters, digits",
    ),
    "verify: a method whose name is a path": (
        _settings(lambda d: d["methods"][1].update(name="../../../x")), "verify", 1,
        "name of a plugin: expected a name of letters, digits",
    ),
    "report: a metric that is another class": (
        _settings(lambda d: d["metrics"][0].update(target="os:mkdir", parameters={"path": "x"})),
        "report", 2, "expected an installed plugin for 'ssim', found os:mkdir",
    ),
    "report: a metric that is a command": (
        _settings(lambda d: d["metrics"][0].update(target="harmobench.reports.citing.cite:cite")),
        "report", 2, "expected an installed plugin for 'ssim'",
    ),
    "report: a report that is another class": (
        _settings(lambda d: d["reports"][0].update(target="os:mkdir", parameters={"path": "x"})),
        "report", 2, "expected an installed plugin for",
    ),
    "compare: a statistic that is another class": (
        _settings(lambda d: d["statistics"][0].update(target="os:mkdir")), "compare", 2,
        "are not one benchmark",
    ),
    "report: a picture outside the store": (
        lambda run: write_json(
            run / "shown.json",
            {"mosaics": [{"method": "raw", "subject": "01", "scanner": "GE", "key": "../..",
                          "file": "x"}]},
        ),
        "report", 2, "expected a task and its file in",
    ),
    "report: training curves that are a pipe": (
        lambda run: (
            (run / "store/ab/abc").mkdir(parents=True), os.mkfifo(run / "store/ab/abc/fit.json"),
            write_json(run / "shown.json", {"fits": [{"method": "raw", "fold": 0, "key": "abc"}]}),
        ),
        "report", 2, "fit.json",
    ),
    "report: tables that lead elsewhere": (
        lambda run: (run / "tables").symlink_to(run.parent, target_is_directory=True), "report", 2,
        "found a link at tables",
    ),
    "report: figures that lead elsewhere": (
        lambda run: (
            (run / "figures").mkdir(),
            (run / "figures/mosaics").symlink_to(run.parent, target_is_directory=True),
        ),
        "report", 2, "found a link at figures/mosaics",
    ),
    "report: a store that leads elsewhere": (
        lambda run: (
            (run / "store").mkdir(exist_ok=True),
            (run / "store/ab").symlink_to(run.parent, target_is_directory=True),
        ),
        "report", 2, "found a link at store/ab",
    ),
    "report: a lock that leads elsewhere": (
        lambda run: (run / ".lock").symlink_to(run / "scores.csv"), "report", 2,
        "expected a run folder that can be written",
    ),
    "report: a lock that is a pipe": (
        lambda run: os.mkfifo(run / ".lock"), "report", 2,
        "expected a run folder that can be written",
    ),
    "verify: a list that names files outside": (
        lambda run: (run / "checksums.sha256").write_text(
            "# x\n" + "0" * 64 + "  ../../../etc/passwd\n"
        ),
        "verify", 1, "expected a hash, two blanks and a file",
    ),
    "compare: a run with itself": (lambda run: None, "compare itself", 2, "expected different"),
    "apply: a method that is a path": (lambda run: None, "apply ../../x", 2, "found '../../x'"),
    "apply: RAW": (lambda run: None, "apply raw", 2, "which leaves images as they are"),
    "apply: a scanner that the run has not": (
        lambda run: None, "apply mispel", 2,
        "--scanner: expected one of the run's scanners, GE, Philips, found 'Nobody's'",
    ),
    "apply: models that lead elsewhere": (
        lambda run: (run / "models").symlink_to(run.parent, target_is_directory=True),
        "apply mispel", 2, "found a link at models",
    ),
    "apply: a method of another class": (
        _settings(lambda d: d["methods"][2].update(target="os:mkdir")), "apply mispel", 2,
        "expected",
    ),
}  # fmt: skip


def _arguments(command: str, run: Path, whole: Path, place: Place) -> list[object]:
    what, _, more = command.partition(" ")
    if what == "compare":
        return ["compare", run, run if more else whole, "--out", place.root / "out"]
    if what == "apply":
        out = place.root / "made.nii.gz"
        return ["apply", run, more, place.image, out, "--scanner", "Nobody's", "--quiet"]
    return [what, run, *(["--quiet"] if what != "cite" else [])]


@pytest.mark.parametrize("name", RUNS)
def test_run_folder(name: str, place: Place, whole: Path, refused: Refused) -> None:
    make, command, status, said = RUNS[name]
    run = shutil.copytree(whole, place.root / "run")
    arguments = _arguments(command, run, whole, place)
    make(run)
    assert said in refused(*arguments, status=status)


def test_what_lies_under_a_name_to_come_is_not_written_through(tmp_path: Path) -> None:
    """Whoever makes a run folder may lay links under the names that files are written under."""
    from harmobench.results import table, write_table
    from harmobench.store import link, write_text

    secret, stored = tmp_path / "secret", tmp_path / "stored"
    secret.write_text("mine")
    stored.write_text("new")
    for name in ("a.json", "b.json", "c.parquet", "c.csv"):
        (tmp_path / f".{name}.partial").symlink_to(secret)
    write_text(tmp_path / "a.json", "new")
    link(stored, tmp_path / "b.json")
    write_table(table([], ("method",)), tmp_path / "c")
    assert secret.read_text() == "mine"
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text() == "new"


def test_the_corpus_is_large() -> None:
    groups = (MANIFESTS, IMAGES, ATLASES, SETTINGS, PRECOMPUTED, MODELS, PLUGINS, RESULTS, RUNS)
    assert sum(map(len, groups)) >= 180
    assert set(KINDS) >= {point[0] for point, *_ in PLUGINS.values()}
    assert "raw" in plugins("methods")
