"""Fuzz what reads files of anyone's: manifests, images, finished measures, models, TOML.

    python benchmarks/fuzz.py --minutes 10

Valid files are mutated where their structure is: bytes, header fields, cells, tokens. A finding is
an exception that is no HarmobenchError, an input that takes longer than --seconds, or one that
takes more memory than --megabytes. Each target runs in processes of its own, one at a time, which
are killed where they hang; inputs that were found are saved with what happened, and equal --seed
give equal inputs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import logging
import os
import re
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from harmobench.base import Method
from harmobench.errors import HarmobenchError

Files = dict[str, bytes]
NASTY = (
    "", " ", "nan", "inf", "-inf", "-1", "0", "1e999", "1e-320", "9" * 400, "0x10", "1_0", "true",
    "null", "[]", "{}", "..", "../../x", "/dev/zero", "/", ".", "~", "\x00", "\x1b[2J", "\u202e",
    "\ud7ff", "\U0001f9e0", "'", '"', '"""', "\\", ",", ";", "\t", "\r", "\n", "#", "=", "{method}",
    "{0.__class__}", "%s", "a" * 5000, "[" * 3000, "{" * 3000, "\ufeff", "\u2028", "\u00a0", "_",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 3, 7, 8, 127, 255, 256, 32767, -32768, 65535, 2**31 - 1, -(2**31))
FLOATS = (0.0, -1.0, 1.0, 352.0, 1e9, 1e38, -1e38, 1e-40, float("nan"), float("inf"))
# Offset and format of each field of a NIfTI-1 header that readers look at.
NIFTI = (
    *((40 + 2 * i, "h") for i in range(8)), (0, "i"), (70, "h"), (72, "h"),
    *((76 + 4 * i, "f") for i in range(8)), (108, "f"), (112, "f"), (116, "f"), (123, "b"),
    (252, "h"), (254, "h"), *((256 + 4 * i, "f") for i in range(18)), (344, "i"), (348, "i"),
    (352, "i"), (356, "i"),
)  # fmt: skip

MANIFEST = (
    "subject,scanner,image,mask,group,age,fold\n"
    "01,GE,a.nii.gz,mask.nii,p,60,0\n01,Philips,b.nii,mask.nii,p,60,0\n"
    "02,GE,c.nii,mask.nii,c,61,1\n02,Philips,d.nii.gz,mask.nii,c,61,1\n"
)
ASEG = (
    "# Title Segmentation Statistics\n# Measure BrainSeg, BrainSegVol, Brain, 12.0, mm^3\n"
    "# NRows 4\n# ColHeaders  Index SegId NVoxels Volume_mm3 StructName normMean\n"
    "  1  17  3800  3800.5  Left-Hippocampus  70.1\n  2  18  1500  1500.0  Left-Amygdala  71.2\n"
    "  3  53  3900  3900.5  Right-Hippocampus  70.1\n  4  54  1600  1600.0  Right-Amygdala  71.2\n"
)
APARC = (
    "# Table of FreeSurfer cortical parcellation anatomical statistics\n"
    "# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg ThickStd\n"
    "entorhinal 500 380 1700 3.2 0.7\ninferiortemporal 5000 3400 11000 2.8 0.6\n"
)
TABLES = {
    "aseg.txt": "Measure:volume\tLeft-Hippocampus\tRight-Hippocampus\tLeft-Amygdala\t"
    "Right-Amygdala\nraw_01_GE\t3800\t3900\t1500\t1600\nraw_02_GE\t3700\t3800\t1400\t1500\n",
    "lh.txt": "lh.aparc.thickness\tlh_entorhinal_thickness\tlh_inferiortemporal_thickness\n"
    "raw_01_GE\t3.2\t2.8\nraw_02_GE\t3.1\t2.7\n",
    "rh.txt": "rh.aparc.thickness\trh_entorhinal_thickness\trh_inferiortemporal_thickness\n"
    "raw_01_GE\t3.2\t2.8\nraw_02_GE\t3.1\t2.7\n",
}
SYNTHSEG = (
    "subject,left hippocampus,right hippocampus,left amygdala,right amygdala\n"
    "raw_01_GE.nii.gz,3800,3900,1500,1600\nraw_02_GE.nii.gz,3700,3800,1400,1500\n"
)
CONFIG = (
    'methods = ["raw", "ravel"]\nseed = 3\nfolds = 2\nmargin = ["ssim=0.01"]\ncohort = "m.csv"\n'
    'precomputed = ["mine=x/{subject}_{scanner}.nii"]\n[set.ravel]\nk = 2\nprob = 0.5\n'
)
BIOMARKERS = (
    '[[biomarker]]\nname = "hippocampus"\nfile = "aseg.stats"\nrow = "{side}-Hippocampus"\n'
    'column = "Volume_mm3"\nunits = "ml"\ncombine = "sum"\n'
)
ATLAS = (
    'name = "tiny"\nspace = "nowhere"\ntemplate = "t1.nii"\nmask = "mask.nii"\n[tissues]\n'
    'image = "tissues.nii"\ncsf = 1\ngm = 2\nwm = 3\n[regions]\nimage = "tissues.nii"\n'
    "[regions.labels]\npole = [1, 2]\n"
)


@dataclass
class Toy(Method):
    """A method with all that can be saved."""

    k: int = 1
    names: tuple[str, ...] = ("a",)
    prob: float = 0.5


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes
    ----------
    start
        Makes valid files, by name.
    mutate
        Changes some of the files.
    read
        Reads what lies in a folder; HarmobenchError is what it may raise.
    """

    start: Callable[[], Files]
    mutate: Callable[[Files, Random], Files]
    read: Callable[[Path], object]


def nifti(voxels: Any, slope: float | None = None) -> bytes:
    """Bytes of a small image."""
    import nibabel as nib

    image = nib.nifti1.Nifti1Image(voxels, np.diag([4.0, 4, 4, 1]))
    if slope is not None:
        image.header.set_slope_inter(slope, 1.0)
    return bytes(image.to_bytes())


def mutated_bytes(data: bytes, random: Random) -> bytes:
    """Flip, insert, delete, repeat or cut."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        at = random.randrange(len(changed) + 1)
        kind = random.randrange(6)
        size = random.choice((1, 1, 2, 4, 64, 1024))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[at:at] = random.randbytes(size)
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size]
        elif kind == 4:
            changed[at : at + 1] = random.choice(NASTY).encode("utf-8", "surrogatepass")
        elif random.randrange(4) == 0:
            del changed[at:]
    return bytes(changed)


def mutated_cells(data: bytes, random: Random, delimiter: str) -> bytes:
    """Change, swap, drop or repeat cells, rows and columns."""
    text = data.decode("utf-8")
    rows = [line.split(delimiter) for line in text.split("\n")]
    for _ in range(random.choice((1, 1, 2, 4))):
        row = random.choice(rows)
        at = random.randrange(len(row))
        kind = random.randrange(8)
        if kind == 0:
            row[at] = random.choice(NASTY)
        elif kind == 1:
            other = random.choice(rows)
            spot = random.randrange(len(other))
            row[at], other[spot] = other[spot], row[at]
        elif kind == 2:
            row[at : at + 1] = []
            row += [""] * (not row)
        elif kind == 3:
            row.insert(at, row[at])
        elif kind == 4:
            rows.insert(random.randrange(len(rows) + 1), list(row))
        elif kind == 5 and len(rows) > 1:
            rows.remove(row)
        elif kind == 6:
            random.shuffle(row)
        else:
            row[at] += random.choice(NASTY)
    return "\n".join(delimiter.join(row) for row in rows).encode("utf-8", "surrogatepass")


def mutated_tokens(data: bytes, random: Random) -> bytes:
    """Change, swap or repeat words, numbers and marks of JSON or TOML."""
    tokens = re.split(r"(\s+|[\[\]{}=,:\"'])", data.decode("utf-8"))
    for _ in range(random.choice((1, 1, 2, 4))):
        at, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        kind = random.randrange(4)
        if kind == 0:
            tokens[at] = random.choice(NASTY)
        elif kind == 1:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif kind == 2:
            tokens[at:at] = tokens[other : other + random.randrange(1, 12)]
        else:
            tokens[at] = ""
    return "".join(tokens).encode("utf-8", "surrogatepass")


def mutated_header(data: bytes, random: Random) -> bytes:
    """Change fields of a NIfTI header."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        offset, code = random.choice(NIFTI)
        size = struct.calcsize(code)
        if offset + size > len(changed):
            continue
        if code == "f":
            struct.pack_into("<f", changed, offset, random.choice(FLOATS))
        else:
            bits = 8 * size
            value = random.choice(NUMBERS) % (1 << bits)
            changed[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(changed)


def mutated_image(data: bytes, random: Random) -> bytes:
    """Change the header or bytes of an image, packed or not, before or after packing."""
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    changed = random.choice((mutated_header, mutated_header, mutated_bytes))(plain, random)
    if plain is data:
        return changed
    packed = gzip.compress(changed, 1, mtime=0)
    return mutated_bytes(packed, random) if random.randrange(4) == 0 else packed


def mutated_arrays(data: bytes, random: Random) -> bytes:
    """Change the header of a safetensors file, whose length then lies or not, or its bytes."""
    if random.randrange(3) == 0:
        return mutated_bytes(data, random)
    (size,) = struct.unpack_from("<Q", data)
    head = mutated_tokens(data[8 : 8 + size], random)
    told = random.choice((len(head), len(head), len(head), size, 2**63, 2**32, 0))
    return struct.pack("<Q", told) + head + data[8 + size :]


def one_of(files: Files, random: Random) -> tuple[str, bytes]:
    """Draw a file."""
    name = random.choice(sorted(files))
    return name, files[name]


def mutate_manifest(files: Files, random: Random) -> Files:
    """Change the manifest; sometimes an image beside it."""
    data = files["m.csv"]
    changed = (
        mutated_cells(data, random, ",") if random.randrange(3) else mutated_bytes(data, random)
    )
    return {**files, "m.csv": changed}


def mutate_image(files: Files, random: Random) -> Files:
    """Change one image."""
    name, data = one_of(files, random)
    return {**files, name: mutated_image(data, random)}


def mutate_tables(files: Files, random: Random) -> Files:
    """Change one table."""
    name, data = one_of(files, random)
    delimiter = {"txt": "\t", "csv": ","}.get(name.rpartition(".")[2], " ")
    if random.randrange(3) == 0:
        return {**files, name: mutated_bytes(data, random)}
    return {**files, name: mutated_cells(data, random, delimiter)}


def mutate_model(files: Files, random: Random) -> Files:
    """Change the text or the arrays of a model."""
    name, data = one_of(files, random)
    if name.endswith(".json"):
        how = mutated_tokens if random.randrange(3) else mutated_bytes
        return {**files, name: how(data, random)}
    return {**files, name: mutated_arrays(data, random)}


def mutate_toml(files: Files, random: Random) -> Files:
    """Change one TOML file."""
    name = random.choice(sorted(name for name in files if name.endswith(".toml")))
    how = mutated_tokens if random.randrange(4) else mutated_bytes
    return {**files, name: how(files[name], random)}


def start_manifest() -> Files:
    """Four small images, a mask and their manifest."""
    x = np.indices((6, 6, 6))[0].astype(np.float32)
    files = {f"{name}.nii": nifti(x + i) for i, name in enumerate("abcd")}
    for name in "ad":
        files[f"{name}.nii.gz"] = gzip.compress(files.pop(f"{name}.nii"), mtime=0)
    return {**files, "mask.nii": nifti((x > 0).astype(np.uint8)), "m.csv": MANIFEST.encode()}


def start_images() -> Files:
    """Images of several types, packed and not."""
    x = np.indices((6, 7, 8))[0]
    files = {
        "float.nii": nifti(x.astype(np.float32)),
        "scaled.nii": nifti(x.astype(np.int16), 0.1),
        "double.nii": nifti(x.astype(np.float64)),
    }
    packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in files.items()}
    return files | packed


def start_tables() -> Files:
    """One subject's stats files, and tables of two subjects."""
    texts = {"aseg.stats": ASEG, "lh.aparc.stats": APARC, "rh.aparc.stats": APARC}
    texts |= {"synthseg.csv": SYNTHSEG, **TABLES}
    return {name: text.encode() for name, text in texts.items()}


def start_model() -> Files:
    """Save a model."""
    model: Any = Toy()
    model.factors_ = np.arange(12.0).reshape(3, 4)
    model.weights_ = {"a.b": np.ones((2, 3), np.float32), "c": np.arange(5)}
    model.history_ = [{"step": 1, "loss": 0.5}]
    model.level_ = 2.5
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def start_toml() -> Files:
    """Write a config, biomarkers, and an atlas with its images."""
    x = np.indices((6, 6, 6))[0]
    images = {"t1": x.astype(np.float32), "mask": x > 0, "tissues": x % 4}
    files = {f"{name}.nii": nifti(voxels.astype(np.float32)) for name, voxels in images.items()}
    texts = {"run.toml": CONFIG, "biomarkers.toml": BIOMARKERS, "atlas.toml": ATLAS}
    return files | {name: text.encode() for name, text in texts.items()}


def _every(*reads: Callable[[], object]) -> None:
    """Do all, each of which may be refused; raise the first refusal at the end."""
    refusals = []
    for read in reads:
        try:
            read()
        except HarmobenchError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def read_manifest(folder: Path) -> None:
    """Read a cohort."""
    from harmobench.manifest import doubtful_columns, read_cohort

    cohort = read_cohort(folder / "m.csv")
    doubtful_columns(cohort)


def read_images(folder: Path) -> None:
    """Read every image."""
    from harmobench.imaging.volume import read_grid, read_labels, read_voxels

    paths = sorted(folder.iterdir())
    _every(*(lambda p=p, r=r: r(p) for p in paths for r in (read_grid, read_voxels, read_labels)))


def read_tables(folder: Path) -> None:
    """Read stats files and tables as each tool does."""
    from harmobench.interface import Source
    from harmobench.tools.freesurfer import FreeSurfer
    from harmobench.tools.freesurfer_tables import FreeSurferTables
    from harmobench.tools.synthseg import SynthSeg

    names = ("aseg.stats", "lh.aparc.stats", "rh.aparc.stats")
    stats = Source({name: folder / name for name in names})

    def found(tool: Any, place: Path) -> None:
        source = tool.find(str(place), "raw", "01", "GE")
        tool.unknown(str(place), [("raw", "01", "GE")])
        if source is not None:
            list(tool.measure(source))

    _every(
        lambda: list(FreeSurfer().measure(stats)),
        lambda: found(FreeSurferTables(), folder),
        lambda: found(SynthSeg(), folder / "synthseg.csv"),
    )


def read_model(folder: Path) -> None:
    """Load a model."""
    Toy.load(folder)


def read_tomls(folder: Path) -> None:
    """Read a config to options and parameters, biomarkers, and an atlas."""
    from harmobench.atlas import read_atlas
    from harmobench.atlas_check import check_atlas
    from harmobench.choose import parse_margins, parse_sets
    from harmobench.options import read_options
    from harmobench.parts import installed
    from harmobench.registry import build, find
    from harmobench.tools.biomarkers import biomarkers_of, read_biomarkers

    def config() -> None:
        options = read_options({}, folder / "run.toml")
        parse_margins(options.margin, [installed("metrics", "ssim", "quick")])
        for name, parameters in parse_sets(options.set).items():
            build(find("methods", name), parameters)

    _every(
        config,
        lambda: biomarkers_of(read_biomarkers(folder / "biomarkers.toml")),
        lambda: check_atlas(read_atlas(folder)),
    )


TARGETS: dict[str, Target] = {
    "manifest": Target(start_manifest, mutate_manifest, read_manifest),
    "image": Target(start_images, mutate_image, read_images),
    "tables": Target(start_tables, mutate_tables, read_tables),
    "model": Target(start_model, mutate_model, read_model),
    "toml": Target(start_toml, mutate_toml, read_tomls),
}


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder, and only where they differ from what lies there."""
    for name, data in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)


def attempt(target: Target, files: Files, folder: Path) -> str:
    """Read files: "" where they were read, or the refusal's kind; other errors are raised."""
    write(files, folder)
    try:
        target.read(folder)
    except HarmobenchError as error:
        return type(error).__name__
    return ""


def work(name: str, first: int, seed: int, limits: tuple[float, int], folder: Path) -> None:
    """Try inputs until this process is killed, and tell what came of each on standard output."""
    target = TARGETS[name]
    start = target.start()
    attempt(target, start, folder)  # what it imports is no input's fault
    seconds, megabytes = limits
    _limit_memory(megabytes)
    warnings.simplefilter("error", RuntimeWarning)  # nobody can act on those of arithmetic
    logging.disable()  # nibabel's remarks on headers
    number = first
    while True:
        files = target.mutate(dict(start), Random(f"{seed}-{name}-{number}"))
        print(json.dumps({"begin": number}), flush=True)
        before = time.process_time()
        try:
            found = {"refused": bool(attempt(target, files, folder))}
        except BaseException as error:  # whatever it is, it is what is looked for
            found = {"error": traceback.format_exc(), "where": _where(error)}
        taken = time.process_time() - before
        if taken > seconds:
            found = {"error": f"took {taken:.1f} s", "where": "slow"}
        print(json.dumps(found), flush=True)
        number += 1


def _limit_memory(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "harmobench" in f.filename or "tools" in f.filename] or frames
    return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"


@dataclass
class Tally:
    """What came of a target's inputs."""

    inputs: int = 0
    refused: int = 0
    findings: Counter[str] = field(default_factory=Counter)


def fuzz(name: str, minutes: float, arguments: argparse.Namespace, saved: Path) -> Tally:
    """Fuzz one target for so long."""
    tally, end = Tally(), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            _one_process(name, end, arguments, saved, tally, Path(scratch))
    return tally


def _one_process(
    name: str,
    end: float,
    arguments: argparse.Namespace,
    saved: Path,
    tally: Tally,
    scratch: Path,
) -> None:
    """Watch one process until the time is up, or it hangs or dies; keep what it found."""
    folder = scratch / "input"
    folder.mkdir()
    command = [sys.executable, __file__, "--work", name, "--first", str(tally.inputs)]
    command += ["--seed", str(arguments.seed), "--seconds", str(arguments.seconds)]
    command += ["--megabytes", str(arguments.megabytes), "--folder", str(folder)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(scratch / "cache")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        while time.monotonic() < end:
            line = _line(process, 12 * arguments.seconds)
            told = json.loads(line) if line.strip() else {"error": "", "where": "hang or death"}
            if "begin" in told:
                continue
            tally.inputs += 1
            tally.refused += bool(told.get("refused"))
            if "error" in told:
                tally.findings[told["where"]] += 1
                _save(folder, saved / name, told, tally.findings[told["where"]])
            if not line.strip():
                return
    finally:
        process.kill()
        process.wait()


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    stream = process.stdout
    if stream is None or not select.select([stream], [], [], seconds)[0]:
        return b""
    return stream.readline()


def _save(folder: Path, saved: Path, told: Mapping[str, Any], count: int) -> None:
    if count > 3:
        return
    place = saved / f"{re.sub('[^A-Za-z0-9]+', '-', told['where'])}-{count}"
    shutil.copytree(folder, place, dirs_exist_ok=True)
    (place / "what-happened.txt").write_text(told["error"] or "it hung, or died\n")


def table(tallies: Mapping[str, Tally]) -> str:
    """One line a target."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(["target", "inputs", "refused", "read", "findings"])
    for name, tally in tallies.items():
        read = tally.inputs - tally.refused - tally.findings.total()
        writer.writerow([name, tally.inputs, tally.refused, read, tally.findings.total()])
        for where, count in tally.findings.most_common():
            writer.writerow(["", "", "", "", f"{count} x {where}"])
    return out.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="all where none")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU time of one input")
    parser.add_argument("--megabytes", type=int, default=512, help="memory of one input")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        limits = (given.seconds, given.megabytes)
        work(given.work, given.first, given.seed, limits, given.folder)
    names = given.targets or list(TARGETS)
    tallies = {}
    for name in names:
        tallies[name] = fuzz(name, given.minutes / len(names), given, given.folder)
        print(table({name: tallies[name]}), flush=True)
    print(table(tallies))
    found = sum(tally.findings.total() for tally in tallies.values())
    print(f"{found} findings" + (f", saved in {given.folder}" if found else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
