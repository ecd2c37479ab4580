"""Which subjects stand out, and which are chosen to be looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_run
from hypothesis import given
from hypothesis import strategies as st

from harmobench.interface import Finished
from harmobench.reports.images.outliers import Outlier, beyond, chosen, groups, outliers

SUBJECTS = tuple(f"{i:02d}" for i in range(1, 13))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder: Path = tmp_path_factory.mktemp("run")
    found: Finished = synthetic_run.finished(
        folder,
        ("raw", "ravel", "mispel"),
        ("A", "B", "C"),
        SUBJECTS,
        controls=("oracle", "blur"),
        pictures=False,
        repeats=2,
    )
    return found


def with_value(run: Finished, value: float, **where: object) -> Finished:
    scores = run.scores.copy()
    hit = np.logical_and.reduce([scores[name] == wanted for name, wanted in where.items()])
    assert hit.any()
    scores.loc[hit, "value"] = value
    return replace(run, scores=scores)


SCAN = {"metric": "volume", "structure": "gm", "scanner": "B", "subject": "05", "method": "ravel"}


def test_a_planted_outlier_is_the_farthest_and_says_where_it_is(run: Finished) -> None:
    first = outliers(with_value(run, 9000.0, **SCAN))[0]
    assert (first.subject, first.method, first.tool) == ("05", "ravel", "hmrf")
    assert first.place in {("A", "B"), ("B", "C")}
    assert first.value > 8000
    assert first.said.startswith("volume difference, GM, HMRF, ")
    assert first.said.endswith(" ml")


def test_it_is_chosen_first_when_it_has_the_most(run: Finished) -> None:
    broken = run
    for method in ("raw", "ravel", "mispel"):
        for tissue in ("gm", "wm", "csf"):
            place = SCAN | {"method": method, "structure": tissue}
            broken = with_value(broken, 9000.0, **place)
    first, _, last = chosen(broken)
    assert first.subject == "05"
    assert "outliers, the farthest: volume difference" in first.why
    assert last.why.startswith("nearest to the median")
    assert chosen(broken) == chosen(broken)


def test_volumes_count_by_their_differences_alone(run: Finished) -> None:
    large = run.scores.copy()
    own = (large["metric"] == "volume") & (large["subject"] == "05")
    large.loc[own, "value"] += 5000  # on all scanners alike
    found = outliers(replace(run, scores=large))

    def volumes(every: list[Outlier]) -> set[tuple[str, str]]:
        return {(x.subject, x.said) for x in every if x.metric == "volume"}

    assert volumes(found) == volumes(outliers(run))
    assert all(len(x.place) == 2 for x in found if x.metric in ("volume", "biomarker"))


def test_controls_failed_rows_and_later_repeats_have_none(run: Finished) -> None:
    assert {x.method for x in outliers(run)} <= {"raw", "ravel", "mispel"}
    assert outliers(with_value(run, 9000.0, **SCAN | {"method": "blur"})) == outliers(run)
    late = SCAN | {"method": "mispel", "repeat": 1}
    assert outliers(with_value(run, 9000.0, **late)) == outliers(run)
    broken = with_value(run, 9000.0, **SCAN)
    hit = broken.scores["value"] == 9000.0
    broken.scores.loc[hit, "status"] = "failed"
    assert not any(x.value > 8000 for x in outliers(broken))


def test_groups_hold_one_value_a_subject(run: Finished) -> None:
    for group, values in groups(run).items():
        subjects = [subject for subject, _ in values]
        assert len(subjects) == len(set(subjects)), group
        assert group.metric not in {"identifiability", "individuality"}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_small_cohorts_are_shown_as_they_are(tmp_path: Path, count: int) -> None:
    small = synthetic_run.finished(
        tmp_path, ("raw", "ravel"), ("A", "B"), SUBJECTS[:count], pictures=False, biomarkers=False
    )
    assert outliers(small) == []
    found = [each.subject for each in chosen(small)]
    assert len(found) == len(set(found)) == min(count, 3)
    assert set(found) <= set(SUBJECTS)
    assert len(chosen(small, 1)) == 1
    assert chosen(small, 0) == []


def test_order_of_the_rows_changes_nothing(run: Finished) -> None:
    turned = replace(run, scores=run.scores.iloc[::-1].reset_index(drop=True))
    assert chosen(turned) == chosen(run)
    assert outliers(turned) == outliers(run)


def test_what_has_no_score_is_never_typical(run: Finished) -> None:
    gone = replace(run, scores=run.scores[run.scores["subject"] != "03"])
    assert "03" not in [x.subject for x in chosen(gone)]


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=30)


@given(VALUES, st.floats(0.1, 10), st.floats(-100, 100))
def test_units_do_not_decide_who_is_an_outlier(
    values: list[float], scale: float, shift: float
) -> None:
    values = [round(x, 2) for x in values]  # so that no spread is of rounding's size
    own = [(str(i), x) for i, x in enumerate(values)]
    low, high = np.percentile(values, [25, 75])
    edge = {s for s, _, far in beyond(own) if abs(far - 1.5) < 1e-3}
    other = {s for s, _, _ in beyond((s, scale * x + shift) for s, x in own)}
    if high - low > 1e-6 * (abs(low) + abs(high) + 1 / scale * abs(shift) + 1):
        assert {s for s, _, _ in beyond(own)} - edge <= other


@given(VALUES)
def test_less_than_half_of_the_subjects_stand_out(values: list[float]) -> None:
    found = beyond((str(i), x) for i, x in enumerate(values))
    assert len(found) <= len(values) / 2
    low, high = np.percentile(values, [25, 75])
    for _, value, far in found:
        assert value < low - 1.5 * (high - low) or value > high + 1.5 * (high - low)
        assert far > 1.5


def test_one_value_has_no_fences() -> None:
    same = [(str(i), 0.1 + 0.2) for i in range(8)]
    assert beyond([*same, ("x", 0.3)]) == []
    assert beyond([(s, x * (1 + 1e-15 * i)) for i, (s, x) in enumerate(same)]) == []
