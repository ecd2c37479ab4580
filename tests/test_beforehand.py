"""What will be computed is said beforehand; adding to a run computes only what depends on it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harmobench.ahead.beforehand import (
    Earlier,
    beforehand,
    changes,
    done_again,
    listed,
    read_earlier,
)
from harmobench.atlas import builtin_atlas
from harmobench.job import Job, Options
from harmobench.plan import Plan, make_plan
from harmobench.resolve import resolve
from harmobench.store import Store, write_json
from harmobench.task import Task

METHODS = "raw,whitestripe,ravel"
METRICS = "ssim,auroc,identifiability,volume"
SUBJECTS, SCANNERS = 4, 2
SCANS = SUBJECTS * SCANNERS

Ask = Callable[..., Job]


@pytest.fixture(scope="module")
def ask(larger_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Return what resolves a run on some of the subjects and scanners."""

    folder = tmp_path_factory.mktemp("asked")
    builtin_atlas(folder / "atlas", 6.0)

    def asked(subjects: int = SUBJECTS, scanners: int = SCANNERS, **more: Any) -> Job:
        names = ("GE", "Philips", "SiemensP")[:scanners]
        rows = [
            row
            for row in _rows(larger_csv)
            if int(row["subject"]) <= subjects and row["scanner"] in names
        ]
        manifest = folder / f"{subjects}-{scanners}.csv"
        with manifest.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        options = Options(
            cohort=manifest, out=folder / "run", atlas=str(folder / "atlas"), controls="off"
        )
        given = {"methods": METHODS, "metrics": METRICS, "measures": ("none",)} | more
        return resolve(replace(options, **given), "", lambda *_: None)

    return asked


@pytest.fixture(scope="module")
def first(ask: Ask) -> tuple[Job, Plan]:
    job = ask()
    return job, make_plan(job)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{**row, "image": str(path.parent / row["image"])} for row in rows]


def new(before: Plan, after: Plan) -> Counter[tuple[str, str]]:
    """Tasks that a plan has and an earlier one has not, by kind and what it is of."""
    tasks = [task for key, task in after.tasks.items() if key not in before.tasks]
    return Counter((t.kind, str(t.args.get("metric") or t.args.get("method", ""))) for t in tasks)


def of(counts: Mapping[tuple[str, str], int], kind: str) -> dict[str, int]:
    return {name: n for (own, name), n in counts.items() if own == kind}


def test_a_subject_more_computes_its_own_and_what_looks_at_all(
    ask: Ask, first: tuple[Job, Plan]
) -> None:
    found = new(first[1], make_plan(ask(subjects=SUBJECTS + 1)))
    whole = SCANS + SCANNERS
    # RAVEL is fitted on all scans, and its images and all that reads them follow
    assert of(found, "image") == {"raw": SCANNERS, "whitestripe": SCANNERS, "ravel": whole}
    assert of(found, "segment") == {"raw": SCANNERS, "whitestripe": SCANNERS, "ravel": whole}
    assert of(found, "tissue") == {"": SCANNERS}
    assert of(found, "fit") == {"ravel": 1}
    assert of(found, "picture") == {"raw": SCANNERS, "whitestripe": SCANNERS, "ravel": whole}
    assert of(found, "mosaic") == {"raw": 1, "whitestripe": 1, "ravel": 1}
    assert of(found, "summary") == {"ssim": 2 * SCANNERS + whole}
    assert of(found, "merge") == {"ssim": 3}
    assert of(found, "score") == {
        "ssim": 3 * (SUBJECTS + 1),  # its scale is that of all scans of a method
        "identifiability": 3,  # its gallery is everyone
        "auroc": 1 + 1 + SUBJECTS + 1,
        "volume": 1 + 1 + SUBJECTS + 1,
    }
    assert of(found, "space") == {}


def test_a_scanner_more_computes_its_scans_and_the_subjects_scores(
    ask: Ask, first: tuple[Job, Plan]
) -> None:
    found = new(first[1], make_plan(ask(scanners=SCANNERS + 1)))
    whole = SCANS + SUBJECTS
    assert of(found, "image") == {"raw": SUBJECTS, "whitestripe": SUBJECTS, "ravel": whole}
    assert of(found, "segment") == {"raw": SUBJECTS, "whitestripe": SUBJECTS, "ravel": whole}
    assert of(found, "fit") == {"ravel": 1}
    assert of(found, "summary") == {"ssim": 2 * SUBJECTS + whole}
    assert of(found, "score") == {  # a score's task is of all scans of a subject
        "ssim": 3 * SUBJECTS,
        "auroc": 3 * SUBJECTS,
        "volume": 3 * SUBJECTS,
        "identifiability": 3,
    }


def test_a_method_more_computes_that_method_alone(ask: Ask, first: tuple[Job, Plan]) -> None:
    found = new(first[1], make_plan(ask(methods=METHODS + ",histogram")))
    assert of(found, "image") == {"histogram": SCANS}
    assert of(found, "fit") == {"histogram": 2}
    assert of(found, "segment") == {"histogram": SCANS}
    assert of(found, "picture") == {"histogram": SCANS}
    assert of(found, "summary") == {"ssim": SCANS}
    scores = of(found, "score")
    assert {name: scores[name] for name in ("ssim", "auroc", "volume")} == dict.fromkeys(
        ("ssim", "auroc", "volume"), SUBJECTS
    )
    # the first method with folds gives every method's identifiability the galleries of folds
    assert scores["identifiability"] == 4
    other = new(make_plan(ask(methods=METHODS + ",histogram")), make_plan(ask(methods=METHODS)))
    assert set(other) == {("score", "identifiability")}


def test_a_metric_more_computes_its_scores_alone(ask: Ask, first: tuple[Job, Plan]) -> None:
    found = new(first[1], make_plan(ask(metrics=METRICS + ",sharpness")))
    assert found == {("score", "sharpness"): 3 * SUBJECTS}


def test_what_is_done_again_is_counted_and_explained(
    tmp_path: Path, ask: Ask, first: tuple[Job, Plan]
) -> None:
    job, plan = first
    store = Store(tmp_path / "store")
    write_json(tmp_path / "run.json", job.to_json())
    for key in plan.tasks:
        store.path(key).mkdir(parents=True)
    earlier = read_earlier(tmp_path)
    assert earlier is not None
    assert set(earlier.plan.tasks) == set(plan.tasks)
    after = replace(job, kernel="other", seed=3)
    other = make_plan(after)
    first_line, why = beforehand(other, [], store, earlier, after)
    assert first_line.startswith(f"0 of {len(other.tasks)} tasks are finished already; to compute:")
    assert f"{SUBJECTS * 3} scores of ssim" in first_line
    assert why.startswith(f"{len(other.tasks)} tasks were finished under other settings")
    assert "another state of harmobench" in why
    assert "seed was 0 and is 3" in why
    more = ask(subjects=SUBJECTS + 1)
    longer = make_plan(more)
    there = [key for key in longer.tasks if store.has(key)]
    lines = beforehand(longer, there, store, earlier, more)
    assert "2 scans are added (05 on GE, 05 on Philips)" in lines[1]
    again = done_again(longer, there, store, plan)
    assert not {task.kind for task in again} & {"tissue", "space"}
    assert len(again) < len(longer.tasks) - len(there)  # what is new is not done again


def test_nothing_is_said_of_an_empty_folder_and_little_of_a_finished_one(
    tmp_path: Path, first: tuple[Job, Plan]
) -> None:
    job, plan = first
    assert read_earlier(tmp_path) is None
    assert beforehand(plan, [], Store(tmp_path / "store"), None, job) == []
    told = beforehand(plan, list(plan.tasks), Store(tmp_path / "store"), Earlier(job, plan), job)
    assert told == [
        f"{len(plan.tasks)} of {len(plan.tasks)} tasks are finished already: "
        "nothing is left to compute"
    ]
    (tmp_path / "run.json").write_text('{"version": 3}', encoding="utf-8")
    assert read_earlier(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": "0"}, "harmobench 0 made them"),
        ({"threads": 4}, "threads was 4 and is 1"),
        ({"device": "cuda"}, "device was cuda and is cpu"),
        ({"environment": {"numpy": "1.0"}}, "numpy was 1.0 and is"),
        ({"covariates": ("age",)}, "covariates were age and are none"),
        ({"group": None}, "the clinical groups were none and are group:high,low"),
        ({"folds": ({"01": 0, "02": 1, "03": 1, "04": 1},)}, "folds are others"),
    ],
)
def test_each_difference_is_named(
    first: tuple[Job, Plan], change: dict[str, Any], expected: str
) -> None:
    job = first[0]
    assert changes(job, job) == []
    assert any(expected in text for text in changes(replace(job, **change), job))


def test_changed_parameters_code_and_masks_are_named(first: tuple[Job, Plan]) -> None:
    job = first[0]
    methods = {part.name: part for part in job.methods}
    ravel = replace(methods["ravel"], parameters={**methods["ravel"].parameters, "k": 4})
    told = changes(replace(job, methods=(ravel,)), job)
    assert told == ["ravel: k was 4 and is 1"]
    told = changes(replace(job, methods=(replace(methods["raw"], digest="x"),)), job)
    assert told == ["raw's code has changed"]
    masked = [{**row, "mask": "m", "hashes": {**row["hashes"], "m": "h"}} for row in job.scans]
    told = changes(replace(job, scans=tuple(masked)), job)
    assert "masks are others, and so is the brain that all scans share" in told
    assert any("of other files" in text for text in told)


def test_a_long_list_is_cut() -> None:
    tasks = [Task(str(i), "score", {}, {"metric": f"m{i}"}) for i in range(20)]
    assert listed(tasks).endswith("and 12 others")
    assert listed([]) == ""
