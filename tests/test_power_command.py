"""`harmobench power`: what it prints, writes and refuses, and where its spread comes from."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harmobench.cli import main
from harmobench.interface import Design, Group
from harmobench.metrics.statistics import power as planner
from harmobench.metrics.statistics.power_sources import of_run, phantom, spreads_of
from harmobench.metrics.statistics.power_table import MEASURED
from harmobench.metrics.statistics.power_table import SCANNERS as TABLED
from harmobench.results import SCORE_COLUMNS, table

Cli = Callable[..., tuple[int, str, str]]
SCANNERS = ("GE", "Philips", "Siemens")
PEOPLE = tuple(f"{k:02}" for k in range(8))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harmobench", "power", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


def scores_and_design(
    methods: tuple[str, ...] = ("raw", "a", "b", "c", "blur"),
) -> tuple[pd.DataFrame, Design]:
    """Volumes and SSIM of methods that scatter more and more; `same` is RAW again."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, object]] = []
    head = {"config": "default", "fold": -1, "repeat": 0, "space": "template", "status": "ok"}
    own = rng.normal(0, 30, len(PEOPLE))
    volumes: dict[str, Any] = {}
    for place, method in enumerate(methods):
        volumes[method] = own[:, None] + (place + 1) * rng.normal(0, 2, (len(PEOPLE), 3)) + 600
        if method == "same":
            volumes[method] = volumes["raw"]
    for place, method in enumerate(methods):
        for s, subject in enumerate(PEOPLE):
            cell = {**head, "method": method, "subject": subject}
            for k, scanner in enumerate(SCANNERS):
                volume = {"metric": "volume", "structure": "gm", "tool": "hmrf", "units": "ml"}
                value = float(volumes[method][s, k])
                rows.append({**cell, **volume, "scanner": scanner, "level": "scan", "value": value})
            for a, b in combinations(SCANNERS, 2):
                ssim = {"metric": "ssim", "structure": "brain", "level": "pair"}
                value = 0.9 + 0.01 * (place + 1) * rng.random() if method != "same" else 0.9
                where = {"scanner": a, "reference_scanner": b}
                rows.append({**cell, **ssim, **where, "value": value})
    design = Design(
        SCANNERS,
        PEOPLE,
        {m: {"raw": "baseline", "blur": "degradation"}.get(m, "contender") for m in methods},  # type: ignore[misc]
        Group("group", "high", "low"),
        {s: ("high", "low")[k % 2] for k, s in enumerate(PEOPLE)},
        metrics={"volume": "equal", "ssim": "higher"},
        declared=frozenset(methods),
    )
    return table(rows, SCORE_COLUMNS), design


@pytest.fixture
def a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    scores, design = scores_and_design()
    read = SimpleNamespace(scores=scores, design=design)
    monkeypatch.setattr("harmobench.finish.finished", lambda _: read)
    return tmp_path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# ------------------------------------------------------------------ where the spread comes from


def slow_bias_sd(scores: pd.DataFrame, method: str, scanners: tuple[str, ...]) -> float:
    """SD over subjects of the difference in mean absolute volume difference, by pandas."""
    own = scores[(scores["metric"] == "volume") & scores["scanner"].isin(scanners)]
    wide = own.pivot_table(index="subject", columns=["method", "scanner"], values="value")
    bias = {
        m: np.mean([(wide[m][a] - wide[m][b]).abs() for a, b in combinations(scanners, 2)], axis=0)
        for m in (method, "raw")
    }
    return float(np.std(bias[method] - bias["raw"], ddof=1))


def slow_change_sd(scores: pd.DataFrame, design: Design, method: str) -> float:
    """SD within groups of the mean over scanners of z(method) - z(RAW), by pandas."""
    own = scores[(scores["metric"] == "volume") & scores["method"].isin(("raw", method))]
    own = own.assign(group=own["subject"].map(design.groups))
    centred = own["value"] - own.groupby(["method", "scanner", "group"])["value"].transform("mean")
    degrees = len(PEOPLE) - 2
    squares = (centred**2).groupby([own["method"], own["scanner"]]).transform("sum")
    own = own.assign(z=own["value"] / np.sqrt(squares / degrees))
    means = own.groupby(["subject", "method"])["z"].mean().unstack()
    u = means[method] - means["raw"]
    groups = u.index.map(design.groups)
    return float(np.sqrt(((u - u.groupby(groups).transform("mean")) ** 2).sum() / degrees))


@pytest.mark.parametrize("scanners", [2, 3, 5])
def test_the_spread_of_bias_is_the_median_over_contenders(scanners: int) -> None:
    scores, design = scores_and_design()
    chosen = list(combinations(SCANNERS, min(scanners, 3)))
    expected = np.median(
        [
            np.sqrt(np.mean([slow_bias_sd(scores, m, c) ** 2 for c in chosen]))
            for m in ("a", "b", "c")
        ]
    )
    found = {s.kind: s for s in spreads_of(scores, design, scanners) if s.metric == "volume"}
    assert found["bias"].sd == pytest.approx(expected)
    assert (found["bias"].structure, found["bias"].tool, found["bias"].units) == (
        "gm",
        "hmrf",
        "ml",
    )


def test_the_spread_for_a_change_of_d_is_of_standardized_values() -> None:
    scores, design = scores_and_design()
    expected = np.median([slow_change_sd(scores, design, m) for m in ("a", "b", "c")])
    found = {s.kind: s.sd for s in spreads_of(scores, design, 3)}
    assert found["change of d"] == pytest.approx(expected)


def test_the_spread_of_ssim_is_over_subject_means() -> None:
    scores, design = scores_and_design()
    own = scores[scores["metric"] == "ssim"]
    means = own.groupby(["subject", "method"])["value"].mean().unstack()
    expected = np.median([(means[m] - means["raw"]).std() for m in ("a", "b", "c")])
    found = {s.metric: s.sd for s in spreads_of(scores, design, 3) if s.kind == "mean"}
    assert found == {"ssim": pytest.approx(expected)}


def test_a_method_that_changes_nothing_says_nothing_about_spread() -> None:
    scores, design = scores_and_design(("raw", "same", "b"))
    alone = scores[scores["method"] != "same"]
    bias = {s.kind: s.sd for s in spreads_of(scores, design, 3)}["bias"]
    assert bias == {s.kind: s.sd for s in spreads_of(alone, design, 3)}["bias"]


@pytest.mark.parametrize("methods", [("raw",), ("raw", "blur")], ids=["raw alone", "a control"])
def test_a_run_without_a_method_is_refused(
    methods: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    scores, design = scores_and_design(methods)
    read = SimpleNamespace(scores=scores, design=design)
    monkeypatch.setattr("harmobench.finish.finished", lambda _: read)
    status, _, err = cli("--subjects", "18", "--run", str(tmp_path))
    assert status == 2
    assert "expected a run in which a method other than RAW" in err


def test_more_scanners_than_a_source_has_are_said(a_run: Path) -> None:
    assert any("7 planned, the SDs are of 3" in text for text in of_run(a_run, 7).about)
    assert len(of_run(a_run, 3).about) == 1
    most = TABLED[-1]
    assert phantom(most + 1).spreads == phantom(most).spreads
    assert len(phantom(most + 1).about) == 1 + len(phantom(most).about)


def test_the_phantoms_table_is_whole() -> None:
    assert {"bias", "mean", "change of d"} == {key[0] for key in MEASURED}
    for key, sds in MEASURED.items():
        assert len(sds) == len(TABLED), key
        assert all(np.diff(sds) < 0), f"{key}: a mean over more scanners varies less"
        assert 0 < sds[-1] < 10, key
    for place, scanners in enumerate(TABLED):
        found = {
            (s.kind, s.metric, s.structure, s.tool, s.units): s.sd
            for s in phantom(scanners).spreads
        }
        assert found == {key: sds[place] for key, sds in MEASURED.items()}


# ------------------------------------------------------------------ what is printed and written


def test_the_phantom_is_planned_with_where_there_is_no_run(cli: Cli) -> None:
    status, out, err = cli("--subjects", "5:7", "--scanners", "4")
    assert (status, err) == (0, "")
    for text in ("bias", "ssim", "change of d", "d itself", "[ml]", "phantom", "sign-flip"):
        assert text in out
    first = out.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in first if line.split()[0].isdigit()] == ["5", "6", "7"]
    assert max(map(len, out.splitlines())) <= 100


def test_the_csv_has_the_planned_numbers(cli: Cli, a_run: Path) -> None:
    path = a_run / "plan.csv"
    status, out, _ = cli("--subjects", "12:13", "--scanners", "3", "--run", str(a_run), "--tests",
                         "3", "--out", str(path))  # fmt: skip
    assert status == 0
    assert str(path) in out
    rows = read_csv(path)
    assert {(row["of"], row["subjects"]) for row in rows} == {
        (of, n) for of in ("bias", "ssim", "change of d", "d itself") for n in ("12", "13")
    }
    for row in rows:
        n, smallest = int(row["subjects"]), float(row["smallest_difference"])
        if row["of"] in ("bias", "ssim"):
            expected = planner.smallest_difference(float(row["sd"]), n, 0.8, 0.05 / 3)
        elif row["of"] == "change of d":
            expected = planner.smallest_change(float(row["sd"]), n, 0.8, 0.05 / 3, 0.8) or 0.0
        else:
            expected = planner.smallest_group_effect(n, 0.8, 0.05 / 3) or 0.0
        assert smallest == pytest.approx(expected)
        assert row["units"] == ("ml" if row["of"] == "bias" else "")
        assert (row["scanners"], row["tests"], row["folds"]) == ("3", "3", "")


def test_folds_inflate_the_variance_and_bring_their_own_test(cli: Cli, a_run: Path) -> None:
    plain, folded = a_run / "plain.csv", a_run / "folded.csv"
    common = ("--subjects", "18", "--run", str(a_run), "--out")
    assert cli(*common, str(plain))[0] == 0
    status, out, _ = cli(*common, str(folded), "--folds", "6", "--within-fold", "0.3")
    assert status == 0
    assert "by folds" in out
    found = {
        (row["of"], row["test"]): float(row["smallest_difference"])
        for row in [*read_csv(plain), *read_csv(folded)]
        if row["folds"]
    }
    alone = {row["of"]: float(row["smallest_difference"]) for row in read_csv(plain)}
    for of in ("bias", "ssim"):
        assert found[of, "t over subjects"] == pytest.approx(alone[of] * np.sqrt(1.6))
        assert found[of, "t over folds"] > found[of, "t over subjects"]
    for of in ("change of d", "d itself"):
        assert found[of, "t over subjects"] == pytest.approx(alone[of])


def test_fewer_folds_where_there_are_too_few_subjects(cli: Cli, a_run: Path) -> None:
    path = a_run / "plan.csv"
    assert cli("--subjects", "3:9", "--run", str(a_run), "--folds", "6", "--out", str(path))[0] == 0
    folds = {row["subjects"]: row["folds"] for row in read_csv(path)}
    assert folds == {"3": "1", "4": "2", "5": "2", "6": "3", "7": "3", "8": "4", "9": "4"}
    empty = {
        row["subjects"]
        for row in read_csv(path)
        if row["test"] == "t over folds" and not row["smallest_difference"]
    }
    assert empty == {"3"}


@pytest.mark.parametrize(
    ("name", "start"), [("plan.png", b"\x89PNG"), ("plan.svg", b"<?xml")], ids=["png", "svg"]
)
def test_the_picture(cli: Cli, a_run: Path, name: str, start: bytes) -> None:
    path = a_run / name
    assert cli("--subjects", "6:18", "--run", str(a_run), "--folds", "3", "--picture", str(path))[
        0
    ] == 0  # fmt: skip
    assert path.read_bytes().startswith(start)


# ------------------------------------------------------------------ mistakes

MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "upside down": (("--subjects", "40:5"), "expected the smaller number first, found '40:5'"),
    "one subject": (("--subjects", "1"), "--subjects: expected at least 2, found 1"),
    "letters": (("--subjects", "many"), "expected a number or a range such as 5:40, found 'many'"),
    "half a range": (("--subjects", "5:"), "expected a number or a range such as 5:40"),
    "a huge cohort": (("--subjects", "5:1000000"), "expected at most 10000"),
    "one scanner": (("--subjects", "18", "--scanners", "1"), "--scanners: expected at least 2"),
    "no power": (("--subjects", "18", "--power", "1"), "--power: expected a number between"),
    "power under the level": (("--subjects", "18", "--power", "0.01"), "--power: expected"),
    "level": (("--subjects", "18", "--level", "0"), "--level: expected a number between 0 and 1"),
    "level nan": (("--subjects", "18", "--level", "nan"), "--level: expected a number between"),
    "one fold": (("--subjects", "18", "--folds", "1"), "--folds: expected at least 2, found 1"),
    "correlation": (
        ("--subjects", "18", "--folds", "6", "--within-fold", "1.5"),
        "--within-fold: expected a number from 0 to 1, found 1.5",
    ),
    "no test": (("--subjects", "18", "--tests", "0"), "--tests: expected at least 1, found 0"),
    "effect": (
        ("--subjects", "18", "--effect", "inf"),
        "--effect: expected a Cohen's d from -10 to 10, found inf",
    ),
    "csv": (("--subjects", "18", "--out", "plan.txt"), "--out: expected a file name that ends in"),
    "picture": (("--subjects", "18", "--picture", "plan.gif"), ".png or .svg, found 'plan.gif'"),
    "folder": (("--subjects", "18", "--out", "nowhere/plan.csv"), "found no nowhere"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_and_writes_nothing(
    mistake: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = MISTAKES[mistake]
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("harmobench: ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_is_refused(cli: Cli, tmp_path: Path) -> None:
    status, out, err = cli("--subjects", "18", "--run", str(tmp_path))
    assert (status, out) == (2, "")
    assert f"expected a run folder, found no run.json in {tmp_path}" in err


def test_subjects_without_a_scan_are_left_out_of_changes_of_d() -> None:
    scores, design = scores_and_design()
    absent = (scores["subject"] == PEOPLE[0]) & (scores["scanner"] == SCANNERS[2])
    absent |= (scores["subject"] == PEOPLE[0]) & (scores["reference_scanner"] == SCANNERS[2])
    without = {s.kind: s.sd for s in spreads_of(scores[scores["subject"] != PEOPLE[0]], design, 3)}
    found = {s.kind: s.sd for s in spreads_of(scores[~absent], design, 3)}
    assert found["change of d"] == pytest.approx(without["change of d"])
