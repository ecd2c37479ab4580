"""Which scores are compared: one unit a subject, one common set, and who leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench.interface import Design
from harmobench.metrics.statistics.blocks import Block
from harmobench.metrics.statistics.cases import (
    Case,
    better_of,
    cases,
    contenders,
    subject_values,
)
from harmobench.results import SCORE_COLUMNS, table

SCANNERS = ("A", "B", "C")
SUBJECTS = tuple(f"{i:02d}" for i in range(1, 12))
METHODS = {
    "raw": "baseline",
    "one": "contender",
    "two": "contender",
    "plain": "baseline",
    "other": "contender",
    "blur": "degradation",
}
BETTER = {"ssim": "higher", "auroc": "higher", "volume": "equal", "sharpness": "one"}
DESIGN = Design(
    SCANNERS,
    SUBJECTS,
    METHODS,  # type: ignore[arg-type]
    metrics=BETTER,  # type: ignore[arg-type]
    declared=frozenset(METHODS) - {"other"},
    trained=frozenset({"two"}),
)


def rows(
    metric: str, value: Mapping[str, float], repeat: int = 0, **more: Any
) -> list[dict[str, object]]:
    """Scores of every subject and scanner (or pair): the method's value plus the subject's."""
    pairs = metric == "ssim"
    places = list(combinations(SCANNERS, 2)) if pairs else [(s, "") for s in SCANNERS]
    return [
        {
            "method": method,
            "config": "default",
            "repeat": repeat,
            "metric": metric,
            "structure": "brain",
            "level": "pair" if pairs else "scan",
            "subject": subject,
            "scanner": a,
            "reference_scanner": b,
            "value": mean + int(subject) / 10 + SCANNERS.index(a),
            "status": "ok",
            **more,
        }
        for method, mean in value.items()
        for subject in SUBJECTS
        for a, b in places
    ]


def frame(*parts: list[dict[str, object]]) -> pd.DataFrame:
    return table([row for part in parts for row in part], SCORE_COLUMNS)


def only(scores: pd.DataFrame, design: Design = DESIGN) -> Case:
    (case,) = cases(scores, design)
    return case


def without(
    part: list[dict[str, object]], method: str, subjects: tuple[str, ...], scanner: str = "A"
) -> list[dict[str, object]]:
    """Return scores of which these failed."""
    bad = {"value": None, "status": "failed", "reason": "broken"}
    return [
        row | bad
        if (row["method"], row["scanner"]) == (method, scanner) and row["subject"] in subjects
        else row
        for row in part
    ]


def test_contenders_are_declared_and_neither_raw_nor_controls() -> None:
    assert contenders(DESIGN) == ("one", "two", "plain")


def test_a_subject_counts_once() -> None:
    case = only(frame(rows("ssim", {"raw": 1.0, "one": 3.0})))
    # pairs AB, AC start with 0, BC with 1: their mean is a third
    assert case.values["one"]["01"] == pytest.approx(3.0 + 0.1 + 1 / 3)
    subjects, differences = case.paired("one", "raw")
    assert subjects == SUBJECTS
    assert differences == pytest.approx([2.0] * len(SUBJECTS))
    assert case.sign == 1.0


def test_measures_are_compared_by_their_differences_over_scanners() -> None:
    case = only(frame(rows("volume", {"raw": 500.0, "one": 900.0})))
    # |0-1|, |0-2|, |1-2|
    assert list(case.values["one"].values()) == pytest.approx([4 / 3] * len(SUBJECTS))
    assert case.sign == -1.0


def test_what_should_be_one_is_compared_by_its_distance() -> None:
    block = Block({}, values={("A", ""): {"01": 0.9}, ("B", ""): {"01": 1.3}})
    assert subject_values(block, "one") == {"01": pytest.approx(0.2)}
    assert subject_values(block, "zero") == {"01": pytest.approx(1.1)}


def test_auroc_gives_its_spread_over_scanners_as_well() -> None:
    found = {
        case.labels["metric"]: case for case in cases(frame(rows("auroc", {"raw": 0.5})), DESIGN)
    }
    assert set(found) == {"auroc", "auroc_spread"}
    spreads = found["auroc_spread"].values["raw"]  # of 0, 1 and 2
    assert list(spreads.values()) == pytest.approx([1.0] * len(SUBJECTS))
    assert found["auroc_spread"].better == better_of("auroc_spread", DESIGN) == "lower"


def test_one_failed_scan_costs_everybody_that_subject() -> None:
    part = rows("ssim", {"raw": 0.0, "one": 1.0, "two": 2.0, "blur": 3.0})
    case = only(frame(without(part, "one", ("03",))))
    assert case.common == tuple(s for s in SUBJECTS if s != "03")
    assert not case.left
    assert case.paired("two", "raw")[0] == case.common
    assert "03" not in case.values["one"], "a mean over the pairs that are left is another number"


def test_who_fails_on_more_than_a_tenth_leaves_and_costs_nobody_anything() -> None:
    part = rows("ssim", {"raw": 0.0, "one": 1.0, "two": 2.0})
    case = only(frame(without(part, "one", ("03", "04"))))
    assert case.left == {"one": "no complete scores of 2 of 11 subjects"}
    assert case.common == SUBJECTS


@pytest.mark.parametrize("method", ["blur", "other"])
def test_controls_and_undeclared_plugins_never_take_subjects_away(method: str) -> None:
    part = rows("ssim", {"raw": 0.0, "one": 1.0, method: 2.0})
    case = only(frame(without(part, method, SUBJECTS[:5])))
    assert case.common == SUBJECTS
    assert case.paired(method, "raw")[0] == SUBJECTS[5:]


def test_a_subject_that_raw_has_not_is_nobodys() -> None:
    part = rows("ssim", {"raw": 0.0, "one": 1.0})
    case = only(frame(without(without(part, "raw", ("02",)), "raw", ("02",), "B")))
    assert "02" not in case.common


def test_where_raw_has_no_score_nobody_has() -> None:
    """The pairs with scanner A failed on RAW: the others are compared on B and C alone."""
    part = without(rows("ssim", {"raw": 0.0, "one": 1.0}), "raw", ("02",))
    case = only(frame(part))
    subjects, differences = case.paired("one", "raw")
    assert subjects == SUBJECTS
    assert differences == pytest.approx([1.0] * len(SUBJECTS))


def test_a_subject_seen_on_fewer_scanners_is_compared_on_those() -> None:
    part = [
        r
        for r in rows("volume", {"raw": 0.0, "one": 1.0})
        if r["subject"] != "01" or r["scanner"] != "C"
    ]
    case = only(frame(part))
    assert case.common == SUBJECTS
    assert case.values["raw"]["01"] == pytest.approx(1.0)  # A and B alone


def test_nothing_to_compare_with_is_no_case() -> None:
    assert list(cases(frame(rows("ssim", {"one": 1.0})), DESIGN)) == []
    assert list(cases(frame(), DESIGN)) == []


def test_scores_beside_a_score_are_no_case() -> None:
    part = rows("ssim", {"raw": 0.0}, structure="all_chance")
    assert list(cases(frame(part), DESIGN)) == []


def test_later_repeats_are_compared_with_what_was_scored_once() -> None:
    first = rows("ssim", {"raw": 0.0, "one": 1.0, "two": 2.0})
    second = rows("ssim", {"two": 5.0}, repeat=1)
    found = {case.labels["repeat"]: case for case in cases(frame(first, second), DESIGN)}
    assert found[0].fresh == {"raw", "one", "two"}
    assert found[1].fresh == {"two"}
    assert found[1].paired("two", "raw")[1] == pytest.approx([5.0] * len(SUBJECTS))
    assert found[1].paired("two", "one")[1] == pytest.approx([4.0] * len(SUBJECTS))


@given(st.data())
def test_the_common_set_is_what_raw_and_all_who_stay_have(data: st.DataObject) -> None:
    part = rows("ssim", {"raw": 0.0, "one": 1.0, "two": 2.0, "blur": 3.0})
    for method in ("raw", "one", "two", "blur"):
        gone = data.draw(st.sets(st.sampled_from(SUBJECTS), max_size=4))
        part = without(part, method, tuple(gone))
    case = only(frame(part))
    for subject in case.common:
        for method in {"raw", "one", "two"} - set(case.left):
            assert subject in case.values[method]
    whole = set(case.values["raw"])
    for method in ("one", "two"):
        missing = len(whole - set(case.values[method]))
        assert (missing > 0.1 * len(whole)) == (method in case.left)
    staying = [set(case.values[m]) for m in ("one", "two") if m not in case.left]
    assert set(case.common) == whole.intersection(*staying)
    assert np.isfinite([v for row in case.values.values() for v in row.values()]).all()


def test_who_lacks_a_scan_lacks_its_spread_too() -> None:
    """An SD over two scanners is another number than one over three."""
    part = without(rows("auroc", {"raw": 0.5, "one": 0.6}), "one", ("03", "04"))
    found = {case.labels["metric"]: case for case in cases(frame(part), DESIGN)}
    for case in found.values():
        assert case.left == {"one": "no complete scores of 2 of 11 subjects"}
        assert "03" not in case.values["one"]


def test_galleries_of_one_repeats_folds_are_compared_with_no_others() -> None:
    def scored(repeat: int, value: dict[str, float]) -> list[dict[str, object]]:
        where = {"structure": "fold", "level": "cohort"}
        return rows("identifiability", value, repeat, **where)

    both = frame(scored(0, {"raw": 1.0, "two": 0.9}), scored(1, {"two": 0.8}))
    (case,) = cases(both, DESIGN)
    assert case.labels["repeat"] == 0
