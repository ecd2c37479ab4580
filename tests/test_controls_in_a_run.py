"""Whole runs on a phantom, and on real anatomy with phantom scanners: what is wrong is found.

Every control is caught by the guard that is there for it, and a planted bias by the agreement of
volumes. The real images are averaged to 3 mm, so that the runs stay short.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harmobench.phantom.simulate import simulate, simulate_from
from harmobench.results import AGGREGATE_COLUMNS, COMPARISON_COLUMNS, SCORE_COLUMNS, read_table

SPEC = importlib.util.spec_from_file_location("planting", Path(__file__).with_name("planting.py"))
planting: Any = importlib.util.module_from_spec(SPEC)  # type: ignore[arg-type]
SPEC.loader.exec_module(planting)  # type: ignore[union-attr]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
METRICS = "ssim,auroc,sharpness,noise,identifiability,individuality"
KEPT = 0.05
PLANTED = 0.05


def run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harmobench.cli", "run", *arguments, "--quiet"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["phantom", "oasis_eve"])
def cohort(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the options that name a cohort, with three scanners, and its atlas."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "phantom":
        return ["--cohort", str(simulate(folder / "c", 5, 3, 4.0, 0, workers=2))]
    real = SHARED / "oasis_eve" / "matched.csv"
    if not real.is_file():
        pytest.skip("the real scans (../shared/data/oasis_eve) are not here")
    manifest = simulate_from(planting.coarser(real, folder / "coarse", 3), folder / "c", 3, 0)
    return ["--cohort", str(manifest), "--atlas", str(SHARED / "eve")]


@pytest.fixture(scope="module")
def folder(cohort: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of RAW and all controls."""
    out = tmp_path_factory.mktemp("controls") / "run"
    given = ["--methods", "raw", "--controls", "on", "--metrics", METRICS]
    run(*cohort, *given, "--set", f"shrink.keep={KEPT}", "--out", str(out))
    return out


@pytest.fixture(scope="module")
def guard(folder: Path) -> Callable[..., pd.Series]:
    """Return what finds the row in which a control is judged on a metric."""
    rows = read_table(folder / "comparisons", COMPARISON_COLUMNS)
    rows = rows[rows["test"] == "guard"]

    def find(method: str, metric: str, structure: str) -> pd.Series:
        own = (rows["method"] == method) & (rows["metric"] == metric)
        (found,) = rows[own & (rows["structure"] == structure)].to_dict("records")
        return pd.Series(found)

    return find


@pytest.fixture(scope="module")
def individuality(folder: Path) -> pd.DataFrame:
    rows = read_table(folder / "aggregates", AGGREGATE_COLUMNS)
    rows = rows[(rows["metric"] == "individuality") & (rows["aggregate"] == "individuality")]
    return rows.set_index("method")


def mean(folder: Path, metric: str, structure: str) -> pd.Series:
    scores = read_table(folder / "scores", SCORE_COLUMNS)
    own = scores[(scores["metric"] == metric) & (scores["structure"] == structure)]
    return own[own["status"] == "ok"].groupby("method")["value"].mean()


def test_agreement_is_blind_to_what_the_guards_see(folder: Path) -> None:
    """The point of controls: SSIM ranks methods that know nobody above RAW."""
    ssim = mean(folder, "ssim", "brain")
    assert ssim["oracle"] >= ssim.max() - 1e-6
    assert ssim["template"] > 0.9999
    assert ssim["shrink"] > 0.999
    assert ssim["blur"] > ssim["raw"]
    assert ssim["blur-noise"] > ssim["raw"]
    assert ssim["shuffle"] == pytest.approx(ssim["raw"], abs=1e-6)
    assert ssim["mismatch"] < ssim["raw"]


def test_template_is_caught_by_identifiability(
    folder: Path, guard: Callable[..., pd.Series]
) -> None:
    row = guard("template", "identifiability", "all")
    assert row["reason"] == "caught"
    assert row["high"] < 0
    found, chance = (mean(folder, "identifiability", s) for s in ("all", "all_chance"))
    assert found["template"] == pytest.approx(chance["template"], abs=1e-9)
    assert found["raw"] == 1.0


def test_mismatch_is_at_or_below_chance(folder: Path, guard: Callable[..., pd.Series]) -> None:
    assert guard("mismatch", "identifiability", "all")["reason"] == "caught"
    assert guard("mismatch", "ssim", "brain")["reason"] == "caught"
    found, chance = (mean(folder, "identifiability", s) for s in ("all", "all_chance"))
    assert found["mismatch"] <= chance["mismatch"]


def test_shrink_escapes_identifiability_and_is_caught_by_individuality(
    folder: Path, individuality: pd.DataFrame
) -> None:
    assert mean(folder, "identifiability", "all")["shrink"] == 1.0
    row = individuality.loc["shrink"]
    assert row["value"] == pytest.approx(KEPT, abs=0.02)
    assert row["low"] < row["value"] < row["high"] < 0.2
    assert individuality.loc["raw", "value"] == pytest.approx(1.0)
    assert individuality.loc["template", "value"] == pytest.approx(0.0, abs=1e-6)


def test_invert_is_caught_by_lost_contrast(folder: Path) -> None:
    scores = read_table(folder / "scores", SCORE_COLUMNS)
    own = scores[scores["method"] == "invert"]
    for metric in ("sharpness", "noise", "individuality"):
        rows = own[own["metric"] == metric]
        assert len(rows)
        assert set(rows["status"]) == {"undefined"}
        assert rows["reason"].str.startswith("contrast_lost").all()
    assert mean(folder, "auroc", "gm-wm")["invert"] < 0.5


@pytest.mark.parametrize("control", ["blur", "blur-noise"])
def test_blur_is_rewarded_by_ssim_and_caught_by_sharpness(
    control: str, folder: Path, guard: Callable[..., pd.Series]
) -> None:
    mark = {"blur": "rewards blur", "blur-noise": "rewards blur and noise"}[control]
    rewarded = guard(control, "ssim", "brain")
    assert rewarded["reason"] == mark
    assert rewarded["low"] > 0
    caught = guard(control, "sharpness", "brain")
    assert caught["reason"] == "caught"
    assert caught["high"] < 0
    assert mean(folder, "sharpness", "brain")[control] < 0.95


def test_noise_does_not_pass_for_sharpness(folder: Path, guard: Callable[..., pd.Series]) -> None:
    row = guard("blur-noise", "noise", "wm")
    assert row["reason"] == "caught"
    assert row["low"] > 0, "more noise than RAW has"
    assert mean(folder, "noise", "wm")["blur-noise"] > 1.5


def test_a_planted_bias_is_found(cohort: list[str], tmp_path: Path) -> None:
    """Five per cent more in one scanner: found for its pairs, in their direction, and no other."""
    manifest = Path(cohort[1])
    tables = {}
    for name, share in (("before", 0.0), ("after", PLANTED)):
        planted = planting.plant_bias(manifest, tmp_path / name, "SiemensP", share)
        given = ["--methods", "raw", "--metrics", "volume", "--measures", "none"]
        options = [
            "--cohort",
            str(planted),
            *cohort[2:],
            *given,
            "--out",
            str(tmp_path / f"{name}.r"),
        ]
        run(*options)
        rows = read_table(tmp_path / f"{name}.r" / "aggregates", AGGREGATE_COLUMNS)
        tables[name] = rows[(rows["metric"] == "volume") & (rows["mode"] == "rigorous")]
    for tissue in ("gm", "wm"):
        before, after = (_bias(tables[n], tissue, "Philips", "SiemensP") for n in tables)
        size = _bias(tables["after"], tissue, "", "", "mean")["value"]
        planted = before["value"] - after["value"]
        assert planted == pytest.approx(PLANTED * size, rel=0.1)
        assert after["high"] < 0, "SiemensP measures more than Philips"
        same = [_bias(tables[n], tissue, "GE", "Philips")["value"] for n in tables]
        assert same[0] == pytest.approx(same[1])
        scanner = [_bias(tables[n], tissue, "", "", "component_scanner")["value"] for n in tables]
        assert scanner[1] != pytest.approx(scanner[0], rel=0.01)


def _bias(
    rows: pd.DataFrame, tissue: str, a: str, b: str, aggregate: str = "bland_altman_bias"
) -> pd.Series:
    own = (rows["structure"] == tissue) & (rows["aggregate"] == aggregate)
    where = (rows["scanner"] == a) & (rows["reference_scanner"] == b)
    (found,) = rows[own & where].to_dict("records")
    return pd.Series(found)
