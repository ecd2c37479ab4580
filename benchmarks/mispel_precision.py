"""Whether MISPEL may train in bfloat16: paired SSIM of subjects that it never saw, against float32.

The same command runs three times on one cohort: in bfloat16, in float32, and in bfloat16 with
another seed (of the weights and the order of slices; the folds stay those of the first). The
precision may change the mean SSIM by at most 0.002, and by how much a seed changes it is printed
beside. Make a cohort with `harmobench simulate OUT` first.

    python benchmarks/mispel_precision.py OUT/matched.csv
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

TOLERANCE = 0.002


def with_folds(manifest: Path, folder: Path) -> Path:
    """Write the manifest again with its folds in a column, so that a seed does not move them."""
    table = pd.read_csv(manifest, dtype=str)
    for name in ("image", "mask"):
        if name in table:
            table[name] = [str((manifest.parent / text).absolute()) for text in table[name]]
    subjects = list(dict.fromkeys(table["subject"]))
    table["fold"] = [str(subjects.index(subject) % 3) for subject in table["subject"]]
    path = folder / "matched.csv"
    table[[n for n in ("subject", "scanner", "image", "mask", "fold") if n in table]].to_csv(
        path, index=False
    )
    return path


def measure(
    manifest: Path, out: Path, precision: str, seed: int, preset: str
) -> tuple[float, float]:
    """Run MISPEL; return the mean paired SSIM of test subjects and the seconds of training."""
    command = [sys.executable, "-m", "harmobench.cli", "run", "--cohort", str(manifest), "--quiet"]
    command += ["--methods", "mispel", "--metrics", "ssim", "--preset", preset, "--out", str(out)]
    command += ["--set", f"mispel.precision={precision}", "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    scores = pd.read_parquet(out / "scores.parquet")
    own = scores[(scores["method"] == "mispel") & (scores["metric"] == "ssim")]
    costs = pd.read_csv(out / "costs.csv")
    return float(own["value"].mean()), float(costs.loc[costs["task"] == "fit", "seconds"].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--preset", default="quick")
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        manifest = with_folds(given.cohort, Path(scratch))
        for name, precision, seed in (
            ("bfloat16", "bfloat16", 0),
            ("float32", "float32", 0),
            ("bfloat16, another seed", "bfloat16", 1),
        ):
            found[name] = measure(manifest, Path(scratch) / name, precision, seed, given.preset)
            print(f"{name:<24} SSIM {found[name][0]:.5f}   training {found[name][1]:.0f} s")
    gain = found["bfloat16"][0] - found["float32"][0]
    print(f"bfloat16 minus float32   {gain:+.5f}   (wanted: within {TOLERANCE})")
    print(
        f"one seed minus another   {found['bfloat16'][0] - found['bfloat16, another seed'][0]:+.5f}"
    )
    print(f"training time            {found['float32'][1] / found['bfloat16'][1]:.2f} times less")


if __name__ == "__main__":
    main()
