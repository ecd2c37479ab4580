"""Executables that behave like FSL's fast, SPM12's three runners and a container's apptainer.

They take the arguments that the real ones take, refuse others, write what those write, and can be
told to go wrong in the ways in which those do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from harmobench.atlas import Atlas
from harmobench.imaging.canonical import canonical
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Scan

# Ways to go wrong; "" goes right.
MAP_FAULTS = ("truncated", "shape", "nan", "255", "empty")

COMMON = """#!{python} -SE
import gzip, os, re, signal, struct, sys, time
MODE = {mode!r}
sys.path.append({site!r})

def load(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as stream:
        raw = stream.read()
    import numpy as np
    shape = struct.unpack("<8h", raw[40:56])[1:4]
    assert struct.unpack("<h", raw[70:72])[0] == 16, "float32"
    return bytearray(raw[:352]), np.frombuffer(raw, "<f4", offset=352).reshape(shape, order="F")

def split(voxels):
    import numpy as np
    edges = [0.5, 40, 82, 1e9]
    return [((voxels >= a) & (voxels < b)).astype("f4") for a, b in zip(edges, edges[1:])]

def before():
    if MODE == "slow":
        print("working on it", flush=True)
        time.sleep(120)
    if MODE == "full":
        print("write error: No space left on device")
        sys.exit(1)
    if MODE == "fail":
        print("image exception: the real reason")
        sys.exit(1)
    if MODE == "nothing":
        print("nothing was done: the real reason")
        sys.exit(0)

def save(path, header, voxels, last):
    import numpy as np
    header = bytearray(header)
    if last and MODE == "shape":
        voxels = voxels[:-1]
        header[42:44] = struct.pack("<h", voxels.shape[0])
    if last and MODE == "nan":
        voxels = voxels.copy()
        voxels[3, 3, 3] = np.nan
    if last and MODE == "255":
        voxels = voxels * 255
    if last and MODE == "empty":
        voxels = voxels * 0.4
    data = bytes(header) + voxels.astype("<f4").tobytes(order="F")
    if path.endswith(".gz"):
        data = gzip.compress(data, 1)
    if last and MODE == "truncated":
        data = data[: len(data) // 2]
    with open(path, "wb") as stream:
        stream.write(data)
    if MODE == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""

FAST = """
USAGE = "\\n{banner}\\nFAST\\n\\nUsage: \\nfast [options] file(s)\\n"
args, options = sys.argv[1:], {{}}
while args and args[0].startswith("-"):
    flag = args.pop(0)
    if flag in ("-N", "-p"):
        options[flag] = True
    elif flag in ("-t", "-n", "-o") and args:
        options[flag] = args.pop(0)
    else:
        print(flag + ": unknown option" + USAGE)
        sys.exit(1)
if len(args) != 1:
    print(USAGE)
    sys.exit(1)
before()
if not os.path.exists(args[0]):
    print("Image Exception : #63 :: No image files match: " + args[0])
    sys.exit(134)
assert options["-t"] == "1" and options["-n"] == "3" and options["-N"]
print("FSLDIR is", os.environ.get("FSLDIR"))
suffix = ".nii.gz" if os.environ.get("FSLOUTPUTTYPE") == "NIFTI_GZ" else ".nii"
header, voxels = load(args[0])
for k, tissue in enumerate(split(voxels)):
    hard = tissue * 0.9 if "-p" in options else tissue
    if "-p" in options:
        save(options["-o"] + "_prob_%d" % k + suffix, header, hard, k == 2)
    save(options["-o"] + "_pve_%d" % k + suffix, header, tissue, k == 2)
"""

SPM = """
def segment(text, home):
    before()
    assert len(re.findall(r"tissue\\(\\d\\)\\.native = \\[1 0\\]", text)) == 3, text
    assert re.findall(r"ngaus = (\\d)", text) == list("112342"), text
    assert re.findall(r"'TPM.nii'\\) ',(\\d)'", text) == list("123456"), text
    if home is not None:
        assert os.path.isfile(os.path.join(home, "tpm", "TPM.nii")), home
    image = re.search(r"vols = \\{'((?:[^']|'')*),1'\\}", text)[1].replace("''", "'")
    if not image.endswith(".nii"):
        raise SystemExit(1)
    header, voxels = load(image)
    import numpy as np
    affine = np.array(struct.unpack("<12f", header[280:328])).reshape(3, 4)
    middle = [index.mean() for index in np.nonzero(voxels)]
    print("centre", *np.round(affine[:, :3] @ middle + affine[:, 3], 3))
    print("bias", re.search("biasreg = (.*);", text)[1], re.search("biasfwhm = (.*);", text)[1])
    csf, gm, wm = split(voxels)
    folder, name = os.path.split(image)
    for k, tissue in enumerate((gm, wm, csf), start=1):
        save(os.path.join(folder, "c%d%s" % (k, name)), header, tissue, k == 3)
    if MODE == "raise_at_exit":
        print("terminate called after throwing an instance of 'octave::execution_exception'")

def script(path):
    text = open(path, encoding="utf-8").read()
    home = re.search(r"addpath\\('((?:[^']|'')*)'\\);", text)
    assert "spm_jobman('run', matlabbatch)" in text and text.startswith("try")
    segment(text, home and home[1].replace("''", "'"))
"""

OCTAVE = """
if sys.argv[1:3] != ["--no-gui", "-q"] or len(sys.argv) != 4:
    sys.exit("octave: unrecognized option")
script(sys.argv[3])
"""

MATLAB = """
flags, name = sys.argv[1:-2], sys.argv[-1]
if sys.argv[-2] != "-r" or not {"-nodisplay", "-nosplash", "-nodesktop"} <= set(flags):
    sys.exit("matlab: wrong options")
print("threads", "-singleCompThread" in flags)
if not name.isidentifier() or not os.path.isfile(name + ".m"):
    print("Unrecognized function or variable")  # and its prompt meets the end of input
    sys.exit(0)
script(name + ".m")
"""

STANDALONE = """
print("Setting up environment variables")
if len(sys.argv) < 3 or not os.path.isdir(sys.argv[1]):
    sys.exit("Usage: run_spm12.sh <deployedMCRroot> args")
print("SPM12, version 7771 (standalone)")
print("MATLAB, version 9.7.0.1190202 (R2019b)")
if sys.argv[2] == "--version":
    sys.exit(0)
assert sys.argv[2] == "batch" and "spm_jobman" not in open(sys.argv[3]).read()
assert os.path.isdir(os.environ["MCR_CACHE_ROOT"])
segment(open(sys.argv[3], encoding="utf-8").read(), None)
"""

APPTAINER = """#!/bin/sh
if [ "$1" != exec ] || [ "$2" != -B ]; then echo "unknown command" >&2; exit 255; fi
if [ ! -d "$3" ]; then echo "FATAL: mount source $3 doesn't exist" >&2; exit 255; fi
if [ "$4" != tool.sif ]; then echo "FATAL: could not open image $4" >&2; exit 255; fi
echo "bound $3"
shift 4
unset FSLOUTPUTTYPE FSLDIR
PATH="{inside}:$PATH" exec "$@"
"""


def put(path: Path, text: str) -> Path:
    """Write an executable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def _common(mode: str) -> str:
    site = str(Path(np.__file__).parents[1])
    found = COMMON.replace("{python}", sys.executable).replace("{mode!r}", repr(mode))
    return found.replace("{site!r}", repr(site))


def fast(path: Path, mode: str = "", banner: str = "Part of FSL (ID: 6.0.3:b862cdd5)") -> Path:
    """FSL's fast."""
    return put(path, _common(mode) + FAST.format(banner=banner))


def octave(path: Path, mode: str = "") -> Path:
    """Octave with SPM12."""
    return put(path, _common(mode) + SPM + OCTAVE)


def matlab(path: Path, mode: str = "") -> Path:
    """MATLAB with SPM12."""
    return put(path, _common(mode) + SPM + MATLAB)


def standalone(path: Path, mode: str = "") -> Path:
    """SPM12 compiled: run_spm12.sh."""
    return put(path, _common(mode) + SPM + STANDALONE)


def apptainer(path: Path, inside: Path) -> Path:
    """Container whose PATH begins with the folder `inside`, and which hides our variables."""
    return put(path, APPTAINER.replace("{inside}", str(inside)))


def spm_home(folder: Path, contents: str = "% Version 7771 (SPM12) 13-Jan-20\n") -> Path:
    """SPM12's folder, as far as it is looked at."""
    put(folder / "spm.m", "function spm\n")
    put(folder / "tpm" / "TPM.nii", "maps")
    put(folder / "Contents.m", f"% Statistical Parametric Mapping\n{contents}")
    return folder


def shells():
    """A head of shells (CSF, GM, WM, a ventricle) and its labels (1 CSF, 2 GM, 3 WM)."""
    shape = (20, 22, 18)
    centre = (np.array(shape) - 1)[:, None, None, None] / 2
    radius = np.sqrt((((np.indices(shape) - centre) / (centre - 2)) ** 2).sum(axis=0))
    truth = np.select([radius < 0.35, radius < 0.7, radius < 0.9, radius < 1.0], [1, 3, 2, 1], 0)
    noise = np.random.default_rng(3).normal(0, 3, shape)
    image = (np.array([0.0, 30, 70, 105])[truth] + noise) * (truth > 0)
    return image.astype(np.float32), truth


def scan_of(folder: Path) -> Scan:
    """Write the head as a segmenter gets it, with its origin in a corner, as the Eve atlas has."""
    image, truth = shells()
    grid = Grid.make(image.shape, np.diag([-6.0, 6, 6, 1]))
    write_image(folder / "t1.nii.gz", canonical(image, truth > 0), grid)
    write_image(folder / "mask.nii.gz", truth > 0, grid)
    return Scan("01", "a", folder / "t1.nii.gz", folder / "mask.nii.gz")


def context_of(folder: Path) -> Context:
    """Context of a task that keeps a log."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    nowhere = Path("nowhere")
    atlas = Atlas("none", "none", "", nowhere, nowhere, nowhere, {}, None, {})
    return Context(seed=0, atlas=atlas, scratch=scratch, log=folder / "log.txt")


def errs(maps) -> float:
    """Share of the brain's voxels whose likeliest tissue is not the head's own."""
    truth = shells()[1]
    labels = np.stack([maps[name] for name in ("csf", "gm", "wm")]).argmax(axis=0) + 1
    return float((labels != truth)[truth > 0].mean())
