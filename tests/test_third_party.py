"""A third party's method in its own package is found after `pip install`, and is in the tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "third_party"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "zscore")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    command = [sys.executable, "-m", "pip", "install", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


def _harmobench(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harmobench.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_it_is_listed(site: Path) -> None:
    done = _harmobench(site, "list", "methods")
    assert done.returncode == 0, done.stderr
    assert "zscore" in done.stdout
    assert "harmobench-zscore 0.1" in done.stdout


def test_all_methods_include_it(site: Path, cohort_csv: Path, tmp_path: Path) -> None:
    import pandas as pd

    out = tmp_path / "run"
    options = ["--cohort", str(cohort_csv), "--out", str(out), "--metrics", "ssim,auroc"]
    # The networks' shortest training: what is tested is that "all" finds the plugin.
    short = ["--set", "mispel.steps=2", "--set", "mispel.steps2=2", "--set", "calamiti.steps=2"]
    done = _harmobench(
        site, "run", *options, "--methods", "all", "--preset", "quick", *short, "--quiet"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    scores = pd.read_parquet(out / "scores.parquet")
    ours = scores[scores["method"] == "zscore"]
    assert set(ours["metric"]) == {"ssim", "auroc"}
    assert (ours["status"] == "ok").all()
    raw = scores[(scores["method"] == "raw") & (scores["metric"] == "auroc")]
    zscore = ours[ours["metric"] == "auroc"]
    assert zscore["value"].to_numpy() == pytest.approx(raw["value"].to_numpy(), abs=1e-6)
    assert "zscore" in (out / "report.html").read_text(encoding="utf-8")
