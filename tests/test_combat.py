"""ComBat: its arithmetic against formulas of its papers, and what a run makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import make_cohort
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench import parts
from harmobench.base import MeasureMethod
from harmobench.benchmark import run
from harmobench.errors import MethodError, PluginError, SettingsError
from harmobench.interface import Needs, Reference
from harmobench.job import Options
from harmobench.methods.combat import Combat
from harmobench.registry import Plugin

SCANNERS = ("GE", "Philips", "SiemensT")
STRUCTURES = ("csf", "gm", "wm")


class Silent:
    """A watcher that shows nothing."""

    def step(self, done: int, total: int, what: str) -> None: ...
    def say(self, text: str) -> None: ...
    def must(self, text: str) -> None: ...
    def start(self, plan: Any, finished: Any, folder: Path) -> None: ...
    def task(self, task: Any, outcome: Any) -> None: ...


def table_of(values: np.ndarray, ages: np.ndarray | None = None) -> pd.DataFrame:
    """Measures (subjects, scanners, structures) as a method gets them."""
    rows = [
        [f"{s:02d}", SCANNERS[k], STRUCTURES[j], "ml", values[s, k, j]]
        + ([] if ages is None else [ages[s]])
        for s in range(values.shape[0])
        for k in range(values.shape[1])
        for j in range(values.shape[2])
    ]
    columns = ["subject", "scanner", "structure", "units", "value"]
    return pd.DataFrame(rows, columns=columns + ([] if ages is None else ["age"]))


def measures(seed: int, subjects: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Measures with an effect of age, of each subject and of each scanner; and the ages."""
    rng = np.random.default_rng(seed)
    ages = rng.uniform(50, 80, subjects)
    own = rng.normal(0, 20, (subjects, 1, 3)) - (ages - 65)[:, None, None] * np.array([-1, 2, 1])
    shift = rng.normal(0, 30, (1, 3, 3))
    scale = rng.uniform(0.5, 2, (1, 3, 1))
    return 500 + own + shift + scale * rng.normal(0, 5, (subjects, 3, 3)), ages


def by_hand(values: np.ndarray, ages: np.ndarray | None, eb: bool) -> np.ndarray:
    """ComBat as its papers write it: Johnson 2007, section 3, Fortin 2018, equations 1 to 3."""
    n, k, p = values.shape
    y = values.reshape(n * k, p)
    batch = np.tile(np.eye(k), (n, 1))
    x = batch if ages is None else np.column_stack([batch, np.repeat(ages, k)])
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    grand = beta[:k].mean(axis=0)  # as many scans on each scanner
    covariate = x[:, k:] @ beta[k:]
    sd = np.sqrt(((y - x @ beta) ** 2).mean(axis=0))
    z = (y - grand - covariate) / sd
    out = np.empty_like(z)
    for i in range(k):
        own = z[batch[:, i] == 1]
        gamma, delta = own.mean(axis=0), own.var(axis=0, ddof=1)
        if eb:
            gamma, delta = _posterior(own, gamma, delta)
        out[batch[:, i] == 1] = (own - gamma) / np.sqrt(delta)
    return (out * sd + grand + covariate).reshape(n, k, p)


def _posterior(
    z: np.ndarray, gamma: np.ndarray, delta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Johnson 2007, equations of gamma* and delta*, iterated to their fixed point."""
    n = len(z)
    mean, tau2 = gamma.mean(), gamma.var(ddof=1)
    m, s2 = delta.mean(), delta.var(ddof=1)
    shape, rate = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    g, d = gamma, delta
    for _ in range(10_000):
        g_new = (n * tau2 * gamma + d * mean) / (n * tau2 + d)
        d_new = (rate + ((z - g_new) ** 2).sum(axis=0) / 2) / (n / 2 + shape - 1)
        done = max(np.abs((g_new - g) / g).max(), np.abs((d_new - d) / d).max()) < 1e-12
        g, d = g_new, d_new
        if done:
            break
    return g, d


def harmonized(method: Combat, table: pd.DataFrame, like: np.ndarray) -> np.ndarray:
    out = method.transform(table)
    assert list(out["structure"]) == list(table["structure"])
    return out["value"].to_numpy().reshape(like.shape)


@pytest.mark.parametrize("with_age", [False, True])
@pytest.mark.parametrize(("eb", "error"), [(False, 1e-5), (True, 1e-2)])
def test_it_is_what_the_papers_write(with_age: bool, eb: bool, error: float) -> None:
    # it inverts the normal equations, and stops iterating at a change of 1e-4
    values, ages = measures(1)
    age = ages if with_age else None
    table = table_of(values, age)
    found = harmonized(Combat(eb).fit(table, None), table, values)
    expected = by_hand(values, age, eb)
    assert np.abs(found - expected).max() < error
    assert np.abs(found - values).max() > 10  # there was something to remove


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_a_scan_alone_gives_what_it_gives_among_others(seed: int, with_age: bool, eb: bool) -> None:
    values, ages = measures(seed)
    table = table_of(values, ages if with_age else None)
    method = Combat(eb).fit(table, None)
    together = method.transform(table)
    for _, rows in table.groupby(["subject", "scanner"]):
        alone = method.transform(rows)
        np.testing.assert_allclose(alone["value"], together.loc[rows.index, "value"], rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_scanners_means_agree_on_the_training_scans(seed: int) -> None:
    values, _ = measures(seed)
    table = table_of(values)
    means = harmonized(Combat(eb=False).fit(table, None), table, values).mean(axis=0)
    np.testing.assert_allclose(means, np.broadcast_to(means[0], means.shape), rtol=1e-9)


def test_a_covariate_may_have_the_name_of_a_column_of_neuroharmonize() -> None:
    values, ages = measures(2)
    table = table_of(values, ages)
    named = table.rename(columns={"age": "SITE"})
    found = Combat().fit(named, None).transform(named)["value"]
    assert found.equals(Combat().fit(table, None).transform(table)["value"])


def test_a_saved_model_gives_the_same(tmp_path: Path) -> None:
    values, ages = measures(2)
    table = table_of(values, ages)
    method = Combat().fit(table, None)
    method.save(tmp_path)
    again = Combat.load(tmp_path).transform(table)
    assert again.equals(method.transform(table))
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_one_structure_alone_is_fitted_without_drawing_together() -> None:
    values, _ = measures(3)
    table = table_of(values)
    one = table[table["structure"] == "gm"]
    found = Combat(eb=True).fit(one, None).transform(one)["value"].to_numpy()
    np.testing.assert_allclose(found, by_hand(values[..., [1]], None, False).ravel(), rtol=1e-9)


def test_an_unknown_scanner_is_refused() -> None:
    table = table_of(measures(4)[0])
    method = Combat().fit(table[table["scanner"] != "GE"], None)
    with pytest.raises(MethodError, match=r"scanner of the training \(Philips, SiemensT\).*GE"):
        method.transform(table[table["scanner"] == "GE"])


def test_a_missing_structure_is_refused() -> None:
    table = table_of(measures(4)[0])
    method = Combat().fit(table, None)
    with pytest.raises(MethodError, match="expected measures of csf, gm, wm, found csf, gm"):
        method.transform(table[table["structure"] != "wm"])


def test_scans_without_a_structure_train_nothing() -> None:
    values, _ = measures(5)
    table = table_of(values)
    holed = table.drop(index=[0])  # csf of the first subject on GE
    whole = table[(table["subject"] != "00") | (table["scanner"] != "GE")]
    got, expected = Combat().fit(holed, None), Combat().fit(whole, None)
    for name, array in expected.model_.items():
        assert np.array_equal(got.model_[name], array), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t["subject"] == "00"], "at least 2 training scans.*GE, Philips, SiemensT"),
        (lambda t: t.iloc[:0], "at least 2 training scans.*all"),
        (lambda t: t.assign(age=1.0), "covariates that do not follow.*covariates age"),
        (lambda t: t.assign(value=7.0), "expected measures that vary"),
        (
            lambda t: t[t["subject"] < "02"].assign(age=t["subject"].astype(float)),
            "at least 3 training people for the covariates age, found 2",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(change: Any, message: str) -> None:
    table = table_of(measures(6)[0])
    with (
        pytest.raises(MethodError, match=message),
        np.errstate(all="ignore"),
    ):
        Combat().fit(change(table), None)


# --- in a run -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("combat")
    out = folder / "run"
    options = Options(
        cohort=make_cohort(folder, subjects=7, scanners=2, resolution=8.0),
        out=out,
        methods="raw,combat",
        metrics="volume,biomarker,ssim,dice",
        covariates="age",
        workers=1,
        folds=3,
        preset="quick",
    )
    assert run(options, "test", Silent()).failed == 0
    return out


def test_measures_are_changed_and_the_rest_is_not_applicable(ran: Path) -> None:
    scores = pd.read_parquet(ran / "scores.parquet")
    own = scores[scores["method"] == "combat"]
    raw = scores[scores["method"] == "raw"]
    assert set(own.loc[own["metric"].isin(["ssim", "dice"]), "status"]) == {"not_applicable"}
    changed = own[own["metric"].isin(["volume", "biomarker"])]
    assert set(changed["status"]) == {"ok"}
    keys = ["metric", "tool", "structure", "subject", "scanner"]
    both = changed.merge(raw, on=keys, suffixes=("", "_raw"))
    assert len(both) == len(changed) > 0
    assert (both["value"] != both["value_raw"]).all()
    assert set(changed["fold"]) == {0, 1, 2}


def test_each_subject_was_left_out_of_the_fit_that_changed_it(ran: Path) -> None:
    job = json.loads((ran / "run.json").read_text())
    folds: Mapping[str, int] = job["folds"][0]
    scores = pd.read_parquet(ran / "scores.parquet")
    raw = scores[(scores["method"] == "raw") & (scores["metric"] == "volume")]
    own = scores[(scores["method"] == "combat") & (scores["metric"] == "volume")]
    columns = ["subject", "scanner", "structure", "units", "value"]
    for fold in set(folds.values()):
        test = [s for s in folds if folds[s] == fold]
        age = {s: 60.0 + int(s) - 1 for s in folds}
        table = raw[columns].assign(age=raw["subject"].map(age))
        held = table[table["subject"].isin(test)]
        method = Combat().fit(table[~table["subject"].isin(test)], None)
        expected = method.transform(held).set_index(["subject", "scanner", "structure"])["value"]
        found = own[own["subject"].isin(test)].set_index(["subject", "scanner", "structure"])
        np.testing.assert_allclose(found["value"], expected.loc[found.index], rtol=1e-9)


def test_it_stands_in_the_tables_and_the_page_shows_no_images_of_it(ran: Path) -> None:
    assert "ComBat" in (ran / "tables" / "HB-T2.md").read_text()
    assert "not applicable" in (ran / "tables" / "HB-T1.md").read_text()
    assert 'class="no-image"' not in (ran / "report.html").read_text()
    assert (ran / "models" / "combat" / "fold-0" / "volume_hmrf" / "model.json").is_file()
    assert not (ran / "harmonized" / "combat").exists()


def test_a_changed_age_makes_it_again_and_nothing_else(ran: Path) -> None:
    from harmobench.job import job_from
    from harmobench.plan import make_plan

    data = json.loads((ran / "run.json").read_text())
    before = make_plan(job_from(data))
    data["scans"][0]["values"]["age"] = "99"
    after = make_plan(job_from(data))
    gone = {before.tasks[key].kind for key in set(before.tasks) - set(after.tasks)}
    assert gone == {"calibrate", "rescore"}


def test_it_says_that_it_has_no_images_to_apply(ran: Path, tmp_path: Path) -> None:
    from harmobench.apply import Request, apply
    from harmobench.cluster.where import Where

    image = next((ran / "harmonized").rglob("*.nii.gz"))
    request = Request(ran, "combat", image, tmp_path / "x.nii.gz", "GE", None, Where(1), False)
    with pytest.raises(SettingsError, match="'combat', which changes measures and no image"):
        apply(request, Silent())


def test_a_covariate_with_the_name_of_a_column_of_the_table_is_refused(
    cohort_csv: Path, tmp_path: Path
) -> None:
    rows = (
        cohort_csv.read_text()
        .replace("group,age", "group,units")
        .replace("images/", f"{cohort_csv.parent}/images/")
    )
    (tmp_path / "matched.csv").write_text(rows)
    options = Options(
        cohort=tmp_path / "matched.csv",
        out=tmp_path / "run",
        methods="raw,combat",
        covariates="units",
        workers=1,
    )
    with pytest.raises(SettingsError, match=r"another name than 'units'.*combat works on"):
        run(options, "test", Silent())
    assert not (tmp_path / "run").exists()


def test_a_value_outside_its_range_loses_its_own_row_alone() -> None:
    from harmobench.measure_tasks import _row

    row = {"structure": "gm", "value": 3.0, "units": "ml", "scanner": "GE", "status": "ok"}
    good = _row(row, {"gm": 2.5}, (0.0, 10.0), "combat")
    bad = _row(row, {"gm": -2.5}, (0.0, 10.0), "combat")
    assert (good.value, good.status) == (2.5, "ok")
    assert (bad.value, bad.status) == (None, "undefined")
    assert bad.reason == "combat gave -2.5 for gm, outside its range 0 to 10"


@dataclass
class Half(MeasureMethod):
    """A measure-level method of a third party."""

    reference: ClassVar[Reference] = Reference("Half", "N. N.", 2026)

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(value=table["value"] / 2)


@dataclass
class Greedy(Half):
    """One that asks for what it cannot have."""

    needs: ClassVar[Needs] = Needs(inputs=("tissue",), gpu=True)


def test_a_method_of_measures_that_needs_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Plugin("greedy", "measure_methods", f"{__name__}:Greedy", "test 1")
    monkeypatch.setattr(Plugin, "load", lambda self: Greedy)
    monkeypatch.setattr(Plugin, "digest", lambda self: "0")
    with pytest.raises(PluginError, match=r"'greedy'.*matched, folds, .*found inputs, gpu"):
        parts.plugin_part(here, {}, "default")


def test_a_third_partys_method_is_fitted_on_nothing_where_it_learns_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Plugin("half", "measure_methods", f"{__name__}:Half", "test 1")
    monkeypatch.setattr(Plugin, "load", lambda self: Half)
    monkeypatch.setattr(Plugin, "digest", lambda self: "0")
    part = parts.plugin_part(here, {}, "default")
    assert (part.changes, part.individual) == ("measures", True)


def test_one_name_for_a_method_of_images_and_one_of_measures_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = {"x": Plugin("x", "methods", "a:A", "one 1")}
    monkeypatch.setattr(parts, "plugins", lambda kind: dict(both))
    with pytest.raises(PluginError, match="two methods are named 'x'"):
        parts.method_plugins()
