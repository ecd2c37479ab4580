"""Peak memory and time of scoring one method of a whole cohort, metric by metric.

Each metric that reads images scores all scans of a synthetic cohort in a process of its own, as a
worker does: subject by subject, or the cohort at once. Printed is the peak of resident memory
above that after the same metric scored a cohort of 4 mm (imports and small buffers are no images),
in units of one subject's images: `--scanners` float32 images on the grid. The method is RAW itself,
read twice: what scoring costs does not depend on what the images show.

    python benchmarks/scoring_memory.py --subjects 18 --scanners 4 --resolution 1
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from harmobench.atlas import builtin_atlas, icbm152, read_atlas
from harmobench.imaging.volume import write_image
from harmobench.interface import Context, Scan
from harmobench.registry import build, find, plugins

ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
WARM_UP = 4.0  # mm
WANTED = 2.0


def make(folder: Path, subjects: int, scanners: int, resolution: float) -> None:
    """Write an atlas, and scans of smooth anatomies with the scanner's contrast and noise."""
    atlas = builtin_atlas(folder / "atlas", resolution)
    tissues, _, brain, grid = icbm152(resolution)
    for s in range(subjects):
        rng = np.random.default_rng(s)
        own = rng.standard_normal(grid.shape, dtype=np.float32)
        own = ndimage.gaussian_filter(own, 6 / resolution)
        own *= np.float32(0.1 / own[brain].std())
        for k in range(scanners):
            voxels = 0.3 * tissues["csf"] + (0.9 - 0.03 * k) * tissues["gm"] + 1.2 * tissues["wm"]
            voxels += own + np.float32(0.03) * rng.standard_normal(grid.shape, dtype=np.float32)
            write_image(folder / name_of(s, k), (voxels * brain).astype(np.float32), atlas.grid)


def name_of(subject: int, scanner: int) -> str:
    return f"s{subject}_{scanner}.nii.gz"


def read(folder: Path, subjects: int, scanners: int) -> list[Scan]:
    atlas = folder / "atlas"
    truth = {f"truth_{t}": str(atlas / "tissues.nii.gz") for t in ("csf", "gm", "wm")}
    truth["truth_image"] = str(atlas / "template.nii.gz")
    return [
        Scan(f"{s}", f"{k}", folder / name_of(s, k), mask=atlas / "mask.nii.gz", values=truth)
        for s in range(subjects)
        for k in range(scanners)
    ]


def score(metric: Any, folder: Path, scans: Sequence[Scan]) -> int:
    """Score as a run does; return the number of rows."""
    subjects = list(dict.fromkeys(scan.subject for scan in scans))
    context = Context(
        seed=0,
        atlas=read_atlas(folder / "atlas"),
        scratch=folder,
        raws={(scan.subject, scan.scanner): scan for scan in scans},
        folds={subject: i * 6 // len(subjects) for i, subject in enumerate(subjects)},
    )
    states = [state for scan in scans if (state := metric.prepare(scan, context)) is not None]
    state = metric.merge(states, context) if states else None
    groups: Iterator[tuple[Scan, ...]] = iter([tuple(scans)])
    if metric.level != "cohort":
        groups = (tuple(s for s in scans if s.subject == subject) for subject in subjects)
    rows = [row for group in groups for row in metric.score(group, state, context)]
    broken = [row for row in rows if row.status in ("failed", "undefined")]
    if broken:
        raise SystemExit(f"expected a value for every scan, found {broken[0]}")
    return len(rows)


def memory(which: str) -> float:
    """Resident memory of this process, MiB, as Linux has it: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def child(name: str, folder: Path, subjects: int, scanners: int) -> None:
    metric = build(find("metrics", name), {}, "")
    score(metric, folder / "small", read(folder / "small", 6, scanners))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest starts anew
    before, start = memory("VmRSS"), (time.perf_counter(), time.process_time())
    rows = score(metric, folder / "large", read(folder / "large", subjects, scanners))
    clock, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    print(
        json.dumps(
            {"rows": rows, "clock": clock, "processor": processor, "mib": memory("VmHWM") - before}
        )
    )


def measured(name: str, folder: Path, given: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    command += ["--subjects", str(given.subjects), "--scanners", str(given.scanners)]
    found = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_CORE}
    )
    result: dict[str, float] = json.loads(found.stdout)
    return result


def image_metrics() -> list[str]:
    """Metrics that read images, of those that can be imported."""
    return [name for name, each in plugins("metrics").items() if each.load().reads == "image"]


def compare(folder: Path, given: argparse.Namespace) -> None:
    if not (folder / "large").is_dir():
        make(folder / "small", 6, given.scanners, WARM_UP)
        make(folder / "large", given.subjects, given.scanners, given.resolution)
    shape = read_atlas(folder / "large" / "atlas").grid.shape
    own = given.scanners * 4 * float(np.prod(shape)) / 2**20
    print(f"{given.subjects} subjects x {given.scanners} scanners, grid {shape}")
    print(f"one subject's images: {own:.0f} MiB; wanted: at most {WANTED:g} times that")
    for name in given.metrics or image_metrics():
        found = measured(name, folder, given)
        print(
            f"{name:18} {found['mib'] / own:5.2f} times ({found['mib']:4.0f} MiB) "
            f"{found['clock']:7.1f} s ({found['processor']:.1f} of processor) "
            f"{found['rows']:4d} rows",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=18)
    parser.add_argument("--scanners", type=int, default=4)
    parser.add_argument("--resolution", type=float, default=1.0, help="mm")
    parser.add_argument("--metrics", nargs="+", help="all that read images, where not given")
    parser.add_argument("--folder", type=Path, help="keep the cohort here, or use that of before")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder, given.subjects, given.scanners)
    elif given.folder:
        compare(given.folder, given)
    else:
        with tempfile.TemporaryDirectory() as name:
            compare(Path(name), given)


if __name__ == "__main__":
    main()
