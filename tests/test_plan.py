"""Plans: pure data, keys that hang on just what they should, and nothing trained on its test."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench import parts
from harmobench.base import Stateless
from harmobench.cohort import Cohort, Scan, place_of
from harmobench.folds import assign, split
from harmobench.imaging.volume import Grid, write_image
from harmobench.interface import Context, Needs, Reference, Row, State
from harmobench.job import Job, job_from
from harmobench.parts import Part
from harmobench.plan import Plan, make_plan, plan_final, seed_of
from harmobench.task import Task

SUBJECTS = ("01", "02", "03", "04", "05", "06")
SCANNERS = ("A", "B", "C")
FOLDS = {"01": 0, "02": 0, "03": 1, "04": 1, "05": 2, "06": 2}


@dataclass
class Sizes(Stateless):
    """A metric of segmentations, in native space where it can be had."""

    level: ClassVar[str] = "scan"
    reads: ClassVar[str] = "segmentation"
    space: ClassVar[str] = "native"
    better: ClassVar[str] = "equal"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    units: ClassVar[str] = "ml"
    structures: ClassVar[tuple[str, ...]] = ("gm",)
    reference: ClassVar[Reference] = Reference("Sizes", "N. N.", 2024)

    def score(self, scans: tuple[Scan, ...], state: State, context: Context) -> Iterable[Row]:
        """Never called: a plan computes nothing."""
        raise RuntimeError("a plan computed something")


@dataclass
class Thickness(Sizes):
    """A metric of measures."""

    reads: ClassVar[str] = "measures"


@dataclass
class Whole(Sizes):
    """A metric of all scans at once."""

    level: ClassVar[str] = "cohort"
    reads: ClassVar[str] = "image"


def part(name: str, place: str = "", individual: bool = False, **needs: Any) -> Part:
    given = {**asdict(Needs(**needs)), "inputs": list(needs.get("inputs", ()))}
    return Part(name, place or f"nowhere:{name}", "x 1", f"digest of {name}", {}, needs=given,
                individual=individual)  # fmt: skip


RAW = part("raw", individual=True, role="baseline")
STRIPE = part("whitestripe", individual=True)
POOLED = part("pooled", inputs=("whitestripe", "tissue"), covariates=True, group=True)
NET = part("net", folds=True, matched=True, gpu=True, target=True, inputs=("whitestripe",))
METHODS = (RAW, STRIPE, POOLED, NET)
SSIM = part("ssim", "harmobench.metrics.ssim:SSIM")
AUROC = part("auroc", "harmobench.metrics.auroc:AUROC")
SIZES = part("sizes", f"{__name__}:Sizes")
WHOLE = part("whole", f"{__name__}:Whole")
THICKNESS = part("thickness", f"{__name__}:Thickness")
HMRF = part("hmrf")


@pytest.fixture(autouse=True, scope="module")
def strangers() -> Iterator[None]:
    """Let classes of this file be built, though nobody installed them as plugins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_refuse_foreign", lambda part: None)
        yield


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the one file of all scans: a plan reads its grid, and hashes from the job alone."""
    path = tmp_path_factory.mktemp("plan") / "t1.nii.gz"
    write_image(path, np.ones((3, 3, 3), np.float32), Grid.make((3, 3, 3), np.eye(4)))
    return path


def rows_of(image: Path, seen: Mapping[str, Iterable[str]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "subject": subject,
            "scanner": scanner,
            "image": str(image),
            "mask": "",
            "values": {"age": f"6{i}", "group": "low" if i % 2 else "high", "note": "x"},
            "hashes": {str(image): f"content of {subject} {scanner}"},
        }
        for i, (subject, scanners) in enumerate(seen.items())
        for scanner in scanners
    )


def job_of(image: Path, **changes: Any) -> Job:
    whole = {
        "version": "0",
        "command": "harmobench run",
        "scans": rows_of(image, dict.fromkeys(SUBJECTS, SCANNERS)),
        "source": "matched.csv",
        "atlas": {"source": "builtin", "digest": "atlas"},
        "methods": METHODS,
        "metrics": (SSIM, AUROC, SIZES, WHOLE),
        "segmenters": (HMRF,),
        "morphometry": (),
        "statistics": (),
        "reports": (),
        "folds": (FOLDS,),
        "seed": 0,
        "preset": "default",
        "device": "cpu",
        "target": "A",
        "group": {"column": "group", "first": "high", "second": "low"},
        "covariates": ("age",),
        "places": {},
        "native": False,
        "environment": {"numpy": "2"},
        "kernel": "kernel",
    }
    return Job(**{**whole, **changes})


def slots(plan: Plan) -> dict[str, str]:
    """Key of each task by what it is for; seeds, order and contents are no part of that."""
    found = {}
    aside = ("seed", "order", "content", "contents")
    for key, task in plan.tasks.items():
        args = {name: value for name, value in task.args.items() if name not in aside}
        found[f"{task.kind} {json.dumps(args, sort_keys=True)}"] = key
    assert len(found) == len(plan.tasks), "each thing is done once"
    return found


def changed(before: Plan, after: Plan) -> set[str]:
    """Keys of `before` that another job would not find in the store."""
    old, new = slots(before), slots(after)
    assert set(old) == set(new), "the same things are to be done"
    return {key for slot, key in old.items() if new[slot] != key}


def downstream(plan: Plan, roots: set[str]) -> set[str]:
    """Those tasks and all that need them, directly or not."""
    found = set(roots)
    for key, task in plan.tasks.items():
        if found & set(task.needs.values()):
            found.add(key)
    return found


def ancestors(plan: Plan, key: str) -> set[str]:
    found: set[str] = set()
    waiting = [key]
    while waiting:
        for need in plan.tasks[waiting.pop()].needs.values():
            if need not in found:
                found.add(need)
                waiting.append(need)
    return found


def keys(plan: Plan, kind: str, **args: Any) -> set[str]:
    return {t.key for t in plan.of_kind(kind) if all(t.args.get(k) == v for k, v in args.items())}


def with_part(job: Job, name: str, **changes: Any) -> Job:
    methods = tuple(replace(p, **changes) if p.name == name else p for p in job.methods)
    return replace(job, methods=methods)


# --- what a plan is -------------------------------------------------------------------------------


def test_the_same_job_gives_the_same_plan_in_any_process(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    assert make_plan(job) == plan
    read = job_from(json.loads(json.dumps(job.to_json())))
    assert make_plan(read) == plan, "as a worker reads it"
    assert list(make_plan(read).tasks) == list(plan.tasks), "in the same order"
    json.dumps([asdict(task) for task in plan.tasks.values()])


def test_no_task_comes_before_what_it_needs(image: Path) -> None:
    plan = make_plan(job_of(image))
    seen: set[str] = set()
    for key, task in plan.tasks.items():
        assert key == task.key
        assert set(task.needs.values()) <= seen, task.label
        seen.add(key)


def test_everything_that_was_asked_for_is_planned_once(image: Path) -> None:
    plan = make_plan(job_of(image))
    scans, subjects = len(SUBJECTS) * len(SCANNERS), len(SUBJECTS)
    assert {kind: len(plan.of_kind(kind)) for kind in ("space", "image", "fit", "tissue")} == {
        "space": 1,
        "image": len(METHODS) * scans,
        "fit": 1 + 3,
        "tissue": scans,
    }
    assert len(plan.of_kind("segment")) == len(METHODS) * scans, "RAVEL's tissue is RAW's own"
    assert len(plan.of_kind("summary")) == len(METHODS) * scans
    assert len(plan.of_kind("merge")) == len(METHODS)
    assert len(plan.of_kind("score")) == len(METHODS) * (3 * subjects + 1)
    assert len(plan.of_kind("picture")) == len(METHODS) * scans
    assert plan.gaps == []
    assert set(plan.images) == {
        (method.name, 0, s, c) for method in METHODS for s in SUBJECTS for c in SCANNERS
    }
    assert {t.args["method"] for t in plan.tasks.values() if t.heavy} == {"net"}


def test_labels_are_for_people(image: Path) -> None:
    plan = make_plan(job_of(image))
    (key,) = keys(plan, "image", method="net", subject="03", scanner="B")
    assert plan.tasks[key].label == "image net 03 B 1"
    assert Task("k", "space", {}, {}).label == "space"


def test_a_native_metric_is_native_only_where_every_scan_has_its_way_back(image: Path) -> None:
    job = job_of(image)
    assert {t.args["space"] for t in make_plan(job).of_kind("segment")} == {"template"}
    way = str(image.with_name("field.nii.gz"))
    rows = tuple(
        {
            **row,
            "values": {**row["values"], "to_native": way},
            "hashes": {**row["hashes"], way: "f"},
        }
        for row in job.scans
    )
    plan = make_plan(replace(job, scans=rows, native=True))
    spaces = [t.args["space"] for t in plan.of_kind("segment")]
    assert spaces.count("native") == len(METHODS) * len(rows)
    assert spaces.count("template") == len(rows), "tissue labels lie in template space"
    turned = [dict(row) for row in rows]
    turned[0]["hashes"] = {**rows[0]["hashes"], way: "another field"}
    after = make_plan(replace(job, scans=tuple(turned), native=True))
    roots = keys(plan, "segment", subject="01", scanner="A", space="native")
    assert changed(plan, after) == downstream(plan, roots)


# --- what keys hang on ----------------------------------------------------------------------------


def test_a_parameter_changes_what_comes_after_it_and_nothing_else(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    for name, kind in (("whitestripe", "image"), ("pooled", "fit"), ("net", "fit")):
        after = make_plan(with_part(job, name, parameters={"width": 0.1}))
        expected = downstream(plan, keys(plan, kind, method=name))
        assert changed(plan, after) == expected, name
        assert not expected & keys(plan, "image", method="raw")
        if name == "whitestripe":
            assert keys(plan, "fit") <= expected, "it is an input of both"
    for change in ({"digest": "mended"}, {"target": "nowhere:Other"}):
        after = make_plan(with_part(job, "net", **change))
        assert changed(plan, after) == downstream(plan, keys(plan, "fit", method="net"))


def test_what_only_people_read_changes_nothing(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    told = replace(job, command="again", notes=("read this",), source="moved.csv", version="9")
    assert changed(plan, make_plan(told)) == set()
    shown = with_part(job, "net", distribution="x 2", config="width=0.1", reference={"title": "T"})
    assert changed(plan, make_plan(shown)) == set()


def test_a_cohort_that_moved_is_found_again(image: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.nii.gz"
    moved.write_bytes(image.read_bytes())
    job = job_of(image)
    rows = json.loads(json.dumps(job.scans).replace(str(image), str(moved)))
    again = replace(job, scans=tuple(rows))
    assert changed(make_plan(job), make_plan(again)) == set()
    assert again.cohort_hash == job.cohort_hash
    assert again.run_id == job.run_id


@pytest.mark.parametrize("at", [0, 7])
def test_another_image_changes_what_comes_after_it(image: Path, at: int) -> None:
    job = job_of(image)
    plan = make_plan(job)
    rows = [dict(row) for row in job.scans]
    rows[at]["hashes"] = {str(image): "made again"}
    after = make_plan(replace(job, scans=tuple(rows)))
    where = {name: rows[at][name] for name in ("subject", "scanner")}
    expected = downstream(plan, keys(plan, "image", method="raw", **where))
    assert changed(plan, after) == expected
    fold = FOLDS[where["subject"]]
    assert not keys(plan, "fit", method="net", fold=fold) & expected, "it is tested there"
    assert keys(plan, "fit", method="net", fold=(fold + 1) % 3) <= expected


def test_another_mask_or_atlas_changes_everything(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    rows = [dict(row) for row in job.scans]
    rows[3] |= {"mask": "m", "hashes": {**rows[3]["hashes"], "m": "a mask"}}
    assert changed(plan, make_plan(replace(job, scans=tuple(rows)))) == set(plan.tasks)
    atlas = {"source": "builtin", "digest": "another"}
    assert changed(plan, make_plan(replace(job, atlas=atlas))) == set(plan.tasks)


@pytest.mark.parametrize("change", [{"kernel": "mended"}, {"environment": {"numpy": "3"}}])
def test_code_and_libraries_change_everything(image: Path, change: dict[str, Any]) -> None:
    job = job_of(image)
    plan = make_plan(job)
    assert changed(plan, make_plan(replace(job, **change))) == set(plan.tasks)


def test_a_seed_changes_training_alone(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    after = make_plan(replace(job, seed=1))
    assert changed(plan, after) == downstream(plan, keys(plan, "fit"))
    seeds = [task.args["seed"] for task in plan.of_kind("fit")]
    assert len(set(seeds)) == len(seeds)
    assert all(seed == int(seed) and 0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
    ("change", "method"),
    [
        ({"device": "cuda"}, "net"),
        ({"target": "B"}, "net"),
        ({"covariates": ()}, "pooled"),
        ({"group": {"column": "group", "first": "low", "second": "high"}}, "pooled"),
    ],
)
def test_what_one_method_needs_changes_that_method(
    image: Path, change: dict[str, Any], method: str
) -> None:
    job = replace(job_of(image), metrics=(SSIM, AUROC, SIZES))
    plan = make_plan(job)
    fits = keys(plan, "fit", method=method)
    images = keys(plan, "image", method=method)
    assert fits
    assert changed(plan, make_plan(replace(job, **change))) == downstream(plan, fits | images)


def test_a_covariate_s_value_changes_the_method_that_reads_it(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    for column, expected in (("age", keys(plan, "fit", method="pooled")), ("note", set())):
        rows = [{**row, "values": {**row["values"]}} for row in job.scans]
        rows[0]["values"][column] = "99"
        after = make_plan(replace(job, scans=tuple(rows)))
        assert changed(plan, after) == downstream(plan, expected)


def test_threads_change_all_because_every_task_is_told_them(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    assert changed(plan, make_plan(replace(job, threads=2))) == set(plan.tasks)


def test_tissue_of_the_manifest_goes_before_the_segmenter(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    rows = [{**row, "values": {**row["values"], "tissue": "t"}} for row in job.scans]
    for i, row in enumerate(rows):
        row["hashes"] = {**row["hashes"], "t": f"labels {i}"}
    named = make_plan(replace(job, scans=tuple(rows)))
    for task in named.of_kind("tissue"):
        assert "segmentation" not in task.needs
    assert {key for t in plan.of_kind("tissue") for key in t.needs.values()} & keys(plan, "segment")
    rows[4]["hashes"] = {**rows[4]["hashes"], "t": "drawn again"}
    after = make_plan(replace(job, scans=tuple(rows)))
    where = {name: rows[4][name] for name in ("subject", "scanner")}
    assert changed(named, after) == downstream(named, keys(named, "tissue", **where))


def test_images_made_elsewhere_hang_on_their_content(image: Path, tmp_path: Path) -> None:
    files = {}
    for subject in SUBJECTS:
        for scanner in SCANNERS:
            path = tmp_path / f"{subject}{scanner}.nii.gz"
            path.write_text(f"{subject} {scanner}")
            files[place_of(subject, scanner)] = str(path)
    made = replace(part("haca3", individual=True), images=files)
    job = replace(job_of(image), methods=(RAW, made))
    plan = make_plan(job)
    assert {task.args["method"] for task in plan.of_kind("image")} == {"raw", "haca3"}
    Path(files[place_of("02", "C")]).write_text("made again")
    roots = keys(plan, "image", method="haca3", subject="02", scanner="C")
    assert not changed(plan, make_plan(job)), "a run's keys stay while it is going on"
    assert changed(plan, make_plan(replace(job))) == downstream(plan, roots)


# --- folds and repeats ----------------------------------------------------------------------------


@cache
def some_image() -> Path:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="harmobench-test-"))
    path = folder / "t1.nii.gz"
    write_image(path, np.ones((3, 3, 3), np.float32), Grid.make((3, 3, 3), np.eye(4)))
    return path


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    count = draw(st.integers(2, 4))
    matched = draw(st.integers(2 * count, 2 * count + 3))
    seen: dict[str, tuple[str, ...]] = {}
    for i in range(matched + draw(st.integers(0, 2))):
        least = 2 if i < matched else 1
        size = draw(st.integers(least, 3)) if i < matched else 1
        seen[f"{i:02d}"] = tuple(sorted(draw(st.permutations(SCANNERS))[:size]))
    cohort = Cohort(tuple(Scan(s, c, Path("n")) for s, on in seen.items() for c in on))
    return seen, assign(cohort, count, draw(st.integers(0, 50)))


@settings(deadline=None, max_examples=20)
@given(cohorts())
def test_no_image_needs_a_fit_that_saw_its_subject(
    drawn: tuple[dict[str, tuple[str, ...]], dict[str, int]],
) -> None:
    seen, folds = drawn
    image = some_image()
    job = replace(
        job_of(image), scans=rows_of(image, seen), folds=(folds,), metrics=(SSIM,), methods=METHODS
    )
    plan = make_plan(job)
    cohort = job.cohort
    for (method, _, subject, scanner), key in plan.images.items():
        task = plan.tasks[key]
        if method != "net":
            continue
        fit = plan.tasks[task.needs["fit"]]
        looked_at = {plan.tasks[k].args.get("subject") for k in ancestors(plan, fit.key)} - {None}
        assert subject not in looked_at, "trained on its own test subject"
        assert not looked_at & set(cohort.unmatched)
        parts = split(cohort, folds, folds[subject])
        assert looked_at == set(parts.training + parts.validation)
        assert fit.args["training"] == list(parts.training)
        assert fit.args["validation"] == list(parts.validation)
        assert fit.args["fold"] == task.args["fold"] == folds[subject]
        needed = {role.partition(":")[0] for role in task.needs}
        assert needed == {"space", "raw", "fit", "input"}
        own = {(plan.tasks[k].args.get("subject"), plan.tasks[k].args.get("scanner"))
               for role, k in task.needs.items() if role not in ("fit", "space")}  # fmt: skip
        assert own == {(subject, scanner)}, "transform sees one scan"


def with_pieces(job: Job, widths: Sequence[int]) -> Job:
    whole = {"widths": list(widths), "width": 0}
    changed = [{"widths": [], "width": width} for width in widths]
    return with_part(job, "net", parameters=whole, pieces=changed)


def test_pieces_are_tasks_of_their_own_that_need_nothing_of_each_other(image: Path) -> None:
    plan = make_plan(with_pieces(job_of(image), (4, 6, 8)))
    folds = len(set(FOLDS.values()))
    assert len(plan.of_kind("piece")) == 3 * folds
    for task in plan.of_kind("piece"):
        kinds = {plan.tasks[key].kind for key in task.needs.values()}
        assert not kinds & {"piece", "fit"}
        assert task.heavy
    for fit in keys(plan, "fit", method="net"):
        needs = plan.tasks[fit].needs
        fold = plan.tasks[fit].args["fold"]
        for number in range(3):
            piece = plan.tasks[needs[f"piece:{number}"]]
            assert (piece.args["piece"], piece.args["fold"]) == (number, fold)


def test_a_larger_grid_finds_the_pieces_that_are_there(image: Path) -> None:
    small, large = (make_plan(with_pieces(job_of(image), w)) for w in ((4, 6), (4, 6, 8)))
    there = keys(small, "piece")
    assert there < keys(large, "piece")
    assert not keys(small, "fit", method="net") & keys(large, "fit", method="net")


def test_a_failed_piece_fails_its_fold_alone(image: Path) -> None:
    job = with_pieces(job_of(image), (4, 6))
    piece = min(keys(make_plan(job), "piece", fold=0))
    again = make_plan(job, {piece: "diverged"})
    assert {t.args["fold"] for t in again.of_kind("fit") if t.args["method"] == "net"} == {
        fold for fold in FOLDS.values() if fold != 0
    }
    assert {gap.reason for gap in again.gaps if gap.args["method"] == "net"} == {"diverged"}


def test_the_final_fit_sees_all_matched_subjects_and_nothing_else(image: Path) -> None:
    seen = dict.fromkeys(SUBJECTS, SCANNERS) | {"lone": SCANNERS[:1]}
    job = replace(job_of(image), scans=rows_of(image, seen), folds=({**FOLDS, "lone": 0},))
    plan, key = plan_final(job, "net")
    assert key is not None
    task = plan.tasks[key]
    assert (task.kind, task.args["fold"], task.args["validation"]) == ("fit", -1, [])
    assert task.args["training"] == list(SUBJECTS)
    assert set(plan.tasks) == ancestors(plan, key) | {key}
    assert not keys(plan, "fit") & keys(make_plan(job), "fit")


def test_a_final_fit_that_a_run_made_is_found_again(image: Path) -> None:
    _, key = plan_final(job_of(image), "pooled")
    assert {key} == keys(make_plan(job_of(image)), "fit", method="pooled")
    nothing, none = plan_final(job_of(image), "whitestripe")
    assert none is None
    assert {task.kind for task in nothing.tasks.values()} == {"space"}


def test_a_method_without_folds_is_fitted_once_on_all(image: Path) -> None:
    plan = make_plan(job_of(image))
    (key,) = keys(plan, "fit", method="pooled")
    assert plan.tasks[key].args["training"] == list(SUBJECTS)
    assert plan.tasks[key].args["fold"] == -1
    assert {plan.tasks[k].needs.get("fit") for k in keys(plan, "image", method="pooled")} == {key}
    for name in ("raw", "whitestripe"):
        assert not any("fit" in plan.tasks[k].needs for k in keys(plan, "image", method=name))


def test_only_what_is_trained_is_repeated(image: Path) -> None:
    turned = {**FOLDS, "01": FOLDS["03"], "03": FOLDS["01"]}
    job = replace(job_of(image), folds=(FOLDS, turned), metrics=(SSIM, AUROC))
    once, twice = make_plan(replace(job, folds=(FOLDS,))), make_plan(job)
    assert set(once.tasks) <= set(twice.tasks), "the first repeat is not computed again"
    added = [twice.tasks[key] for key in set(twice.tasks) - set(once.tasks)]
    assert {task.args["method"] for task in added} == {"net"}
    assert {task.args["repeat"] for task in added} == {1}
    assert {task.kind for task in added} == {"fit", "image", "summary", "merge", "score"}
    assert {repeat for method, repeat, *_ in twice.images if method != "net"} == {0}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9), st.sampled_from(["net", "ten"]), st.integers(0, 5), st.integers(-1, 5))
def test_every_fit_has_its_own_seed_and_keeps_it(
    seed: int, method: str, repeat: int, fold: int
) -> None:
    own = seed_of(seed, method, repeat, fold)
    assert own == seed_of(seed, method, repeat, fold)
    assert 0 <= own < 2**32
    others = {
        seed_of(seed + 1, method, repeat, fold),
        seed_of(seed, "x", repeat, fold),
        seed_of(seed, method, repeat + 1, fold),
        seed_of(seed, method, repeat, fold + 1),
    }
    assert own not in others
    assert len(others) == 4


# --- failures -------------------------------------------------------------------------------------


def covered(plan: Plan, job: Job) -> dict[tuple[Any, ...], tuple[str, ...]]:
    """Scans that are scored or named as a gap, for each method, metric and tool."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for task in plan.of_kind("score"):
        head = tuple(task.args[name] for name in ("method", "metric", "tool"))
        found.setdefault(head, []).extend("|".join(scan) for scan in task.args["order"])
    for gap in plan.gaps:
        head = tuple(gap.args[name] for name in ("method", "metric", "tool"))
        found.setdefault(head, []).append(f"{gap.args['subject']}|{gap.args['scanner']}")
    return {head: tuple(sorted(scans)) for head, scans in found.items()}


def test_a_failed_image_leaves_all_that_does_not_need_it(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    failed = keys(before, "image", method="net", subject="03", scanner="B")
    after = make_plan(job, dict.fromkeys(failed, "no contrast"))
    lost = downstream(before, failed)
    assert set(before.tasks) - lost <= set(after.tasks)
    assert not lost & set(after.tasks)
    assert {gap.reason for gap in after.gaps} == {"no contrast"}
    assert {gap.status for gap in after.gaps} == {"failed"}
    where = {(g.args["method"], g.args["subject"], g.args["scanner"]) for g in after.gaps}
    assert where == {("net", "03", "B")}
    assert {gap.args["metric"] for gap in after.gaps} == {"ssim", "auroc", "sizes", "whole"}
    assert covered(after, job) == covered(before, job), "each scan is scored or a gap, once"
    (merge,) = keys(after, "merge", method="net")
    assert len(after.tasks[merge].needs) == len(SUBJECTS) * len(SCANNERS) - 1 + 1
    (pair,) = keys(after, "score", method="net", metric="ssim", subject="03")
    assert after.tasks[pair].args["order"] == [["03", "A"], ["03", "C"]]


def test_a_failed_raw_image_takes_along_what_was_trained_on_it(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    failed = keys(before, "image", method="raw", subject="01", scanner="A")
    after = make_plan(job, dict.fromkeys(failed, "unreadable"))
    assert not downstream(before, failed) & set(after.tasks)
    gaps = {}
    for gap in after.gaps:
        scan = (gap.args["subject"], gap.args["scanner"])
        gaps.setdefault((gap.args["method"], gap.args["metric"]), set()).add(scan)
    everything = {(s, c) for s in SUBJECTS for c in SCANNERS}
    assert gaps["raw", "auroc"] == gaps["whitestripe", "auroc"] == {("01", "A")}
    assert gaps["pooled", "auroc"] == everything, "it is fitted on all scans"
    held_out = {(s, c) for s, c in everything if FOLDS[s] == FOLDS["01"]} - {("01", "A")}
    assert gaps["net", "auroc"] == everything - held_out
    assert covered(after, job) == covered(before, job)


def test_a_failed_fit_fails_its_fold_alone(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    failed = keys(before, "fit", method="net", fold=2)
    after = make_plan(job, dict.fromkeys(failed, "diverged"))
    assert {gap.args["subject"] for gap in after.gaps} == {"05", "06"}
    assert {gap.args["method"] for gap in after.gaps} == {"net"}
    assert covered(after, job) == covered(before, job)


def test_a_failed_score_fails_its_subject_alone(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    failed = keys(before, "score", method="raw", metric="ssim", subject="02")
    after = make_plan(job, dict.fromkeys(failed, "no voxels"))
    assert set(after.tasks) == set(before.tasks) - failed
    assert {(g.args["metric"], g.args["subject"]) for g in after.gaps} == {("ssim", "02")}
    assert len(after.gaps) == len(SCANNERS)


def test_a_failed_picture_costs_no_score(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    failed = keys(before, "picture", method="raw", subject="02", scanner="A")
    after = make_plan(job, dict.fromkeys(failed, "no slice"))
    mosaics = keys(before, "mosaic", method="raw")
    assert set(before.tasks) - set(after.tasks) == failed | mosaics
    assert after.gaps == []


def test_mosaics_are_of_the_pictures_that_can_be_had(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    every = [[s, c] for s in SUBJECTS for c in SCANNERS]
    assert [t.args["order"] for t in before.of_kind("mosaic")] == [every] * len(METHODS)
    failed = keys(before, "picture", method="raw", subject="02", scanner="A")
    after = make_plan(job, dict.fromkeys(failed, "no slice"))
    (key,) = keys(after, "mosaic", method="raw")
    assert after.tasks[key].args["order"] == [scan for scan in every if scan != ["02", "A"]]
    lost = keys(before, "picture", method="raw")
    assert not keys(make_plan(job, dict.fromkeys(lost, "no slice")), "mosaic", method="raw")


def test_without_a_space_everything_is_a_gap(image: Path) -> None:
    job = job_of(image)
    before = make_plan(job)
    after = make_plan(job, dict.fromkeys(keys(before, "space"), "no atlas"))
    assert after.tasks == {}
    assert covered(after, job) == covered(before, job)


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_whatever_fails_the_rest_is_done_and_every_scan_accounted_for(data: st.DataObject) -> None:
    job = replace(job_of(some_image()), metrics=(SSIM, SIZES))
    before = make_plan(job)
    failed = set(data.draw(st.lists(st.sampled_from(list(before.tasks)), min_size=1, max_size=4)))
    after = make_plan(job, {key: f"failed {key}" for key in failed})
    assert set(before.tasks) - downstream(before, failed) <= set(after.tasks)
    seen: set[str] = set()
    for key, task in after.tasks.items():
        assert key not in failed
        assert set(task.needs.values()) <= seen
        seen.add(key)
    assert {gap.reason.removeprefix("failed ") for gap in after.gaps} <= failed
    before_scans, after_scans = covered(before, job), covered(after, job)
    for head, scans in before_scans.items():
        pairs = head[1] == "ssim"
        missing = set(scans) - set(after_scans[head])
        assert len(set(after_scans[head])) == len(after_scans[head])
        alone = {where.partition("|")[0] for where in missing}
        assert not missing or (pairs and all(_others_failed(after, head, s) for s in alone))
    assert make_plan(job, {key: f"failed {key}" for key in sorted(failed)}) == after


def _others_failed(plan: Plan, head: tuple[Any, ...], subject: str) -> bool:
    """A scan without a partner is scored nowhere: its partners' gaps say why."""
    gaps = [g for g in plan.gaps if (g.args["method"], g.args["metric"], g.args["tool"]) == head]
    return len([g for g in gaps if g.args["subject"] == subject]) >= len(SCANNERS) - 1


def test_what_cannot_be_measured_is_a_gap_that_says_what_to_do(image: Path) -> None:
    job = replace(job_of(image), metrics=(SIZES, THICKNESS, AUROC), segmenters=())
    plan = make_plan(job)
    gaps = {}
    for gap in plan.gaps:
        assert gap.status == "not_measured"
        gaps.setdefault(gap.args["metric"], []).append(gap.reason)
    scans = len(METHODS) * len(SUBJECTS) * len(SCANNERS)
    assert {metric: len(reasons) for metric, reasons in gaps.items()} == {
        "sizes": scans,
        "thickness": scans,
    }
    assert "--segmenters" in gaps["sizes"][0]
    assert "--measures" in gaps["thickness"][0]
    assert {task.args["metric"] for task in plan.of_kind("score")} == {"auroc"}


# --- controls, truth and galleries ----------------------------------------------------------------


@dataclass
class Error(Sizes):
    """A metric that reads a file of truth."""

    reads: ClassVar[str] = "image"
    truth: ClassVar[tuple[str, ...]] = ("truth_gm",)


@pytest.mark.parametrize(("sees", "count"), [("scan", 0), ("subject", 3), ("cohort", 18)])
def test_a_control_gets_raw_of_what_it_declared_to_see(image: Path, sees: str, count: int) -> None:
    control = part("cheat", individual=True, role="degenerate", sees=sees)
    plan = make_plan(job_of(image, methods=(RAW, control)))
    for key in keys(plan, "image", method="cheat"):
        task = plan.tasks[key]
        lister = plan.tasks[task.needs["everyone"]] if sees == "cohort" else task
        role = "raw:" if sees == "cohort" else "other:"
        others = [each.removeprefix(role) for each in lister.needs if each.startswith(role)]
        assert len(others) == count
        seen = [tuple(json.loads(place)) for place in others]
        if sees == "subject":
            assert seen == [(task.args["subject"], scanner) for scanner in SCANNERS]
        for place in others:
            assert lister.needs[f"{role}{place}"] == plan.images["raw", 0, *json.loads(place)]


def test_needs_of_controls_that_see_everyone_grow_with_the_cohort_not_its_square(
    image: Path,
) -> None:
    control = part("cheat", individual=True, role="degenerate", sees="cohort")
    job = job_of(image, methods=(RAW, control))
    most = {}
    for copies in (1, 2):
        rows = tuple(
            {**row, "subject": f"{row['subject']}-{copy}"}
            for copy in range(copies)
            for row in job.scans
        )
        folds = {row["subject"]: 0 for row in rows}
        plan = make_plan(replace(job, scans=rows, folds=(folds,)))
        most[copies] = sum(len(task.needs) for task in plan.tasks.values())
    assert most[2] <= 2 * most[1]


def test_the_quick_preset_spares_what_a_control_says_and_says_so(image: Path) -> None:
    control = part("cheat", individual=True, role="degenerate", quick_reads=("image",))
    job = job_of(image, methods=(RAW, control), preset="quick")
    plan = make_plan(job)
    assert not keys(plan, "segment", method="cheat")
    assert keys(plan, "segment", method="raw")
    gaps = [gap for gap in plan.gaps if gap.args["method"] == "cheat"]
    assert {(gap.args["metric"], gap.status) for gap in gaps} == {("sizes", "not_measured")}
    assert {gap.reason for gap in gaps} == {
        "the quick preset reads no segmentation of this control"
    }
    assert keys(make_plan(replace(job, preset="default")), "segment", method="cheat")


def test_another_file_of_truth_changes_the_scores_that_read_it(image: Path) -> None:
    rows = tuple(
        {**row, "values": {**row["values"], "truth_gm": "t"}, "hashes": {**row["hashes"], "t": "1"}}
        for row in rows_of(image, dict.fromkeys(SUBJECTS, SCANNERS))
    )
    job = job_of(image, scans=rows, metrics=(SSIM, part("error", f"{__name__}:Error")))
    other = {**rows[0], "hashes": {**rows[0]["hashes"], "t": "2"}}
    before, after = make_plan(job), make_plan(replace(job, scans=(other, *rows[1:])))
    found = changed(before, after)
    expected = keys(before, "score", metric="error", subject="01")
    assert found == expected
    assert len(expected) == len(METHODS)


def test_folds_change_what_is_scored_over_a_whole_cohort(image: Path) -> None:
    job = job_of(image, methods=(RAW,))
    before = make_plan(job)
    after = make_plan(replace(job, folds=({**FOLDS, "01": 2},)))
    assert changed(before, after) == keys(before, "score", metric="whole")


def test_runs_of_earlier_versions_declared_all_their_methods(image: Path) -> None:
    data = json.loads(json.dumps(job_of(image).to_json()))
    for name in ("declared", "margins"):
        del data[name]
    job = job_from(data)
    assert job.declared == tuple(part.name for part in METHODS)
    assert job.margins == {}


def test_the_order_in_which_a_control_sees_scans_is_in_its_keys(image: Path) -> None:
    controls = [
        part(f"cheat-{sees}", individual=True, role="degenerate", sees=sees)
        for sees in ("subject", "cohort")
    ]
    job = job_of(image, methods=(RAW, *controls))
    other = replace(job, scans=tuple(reversed(job.scans)))
    plan, turned = make_plan(job), make_plan(other)
    assert keys(plan, "image", method="raw") == keys(turned, "image", method="raw")
    for control in controls:
        own = keys(plan, "image", method=control.name)
        assert not own & keys(turned, "image", method=control.name)


def test_scanners_that_a_task_is_told_follow_from_its_own_scans(image: Path) -> None:
    job = job_of(image)
    plan = make_plan(job)
    fewer = tuple(row for row in job.scans if row["scanner"] != SCANNERS[-1])
    left = make_plan(replace(job, scans=fewer))
    # what was made of the scans that are left stays: it was never told of the scanner that went
    for kind in ("image", "segment", "summary"):
        own = {k for k in keys(plan, kind, method="raw") if k in left.tasks}
        assert len(own) == len(keys(left, kind, method="raw"))
