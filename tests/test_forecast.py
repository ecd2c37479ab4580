"""`run --dry-run`: what it estimates follows from what was measured, and it writes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench.ahead.forecast import Forecast, Line, forecast, measured
from harmobench.ahead.outlook import sized, sums, table
from harmobench.atlas import builtin_atlas
from harmobench.cli import main
from harmobench.plan import Plan
from harmobench.store import Store, write_json
from harmobench.task import Task

MILLION = 1_000_000


def plan_of(*tasks: Task) -> Plan:
    return Plan({task.key: task for task in tasks})


def score(key: str, metric: str = "ssim", needs: int = 2) -> Task:
    roles = {f"read:{i}": f"x{i}" for i in range(needs)}
    return Task(key, "score", roles, {"method": "raw", "metric": metric})


def finish(store: Store, task: Task, seconds: float, size: int = 0) -> None:
    """Put a finished task into a store, of so many bytes beside its costs."""
    folder = store.path(task.key)
    write_json(folder / "cost.json", {"seconds": seconds, "peak_mb": 1.0})
    (folder / "result").write_bytes(b"x" * (size - (folder / "cost.json").stat().st_size))


def test_time_and_disk_are_those_of_tasks_of_the_same_sort(tmp_path: Path) -> None:
    store = Store(tmp_path)
    done, left = [score("a"), score("b")], [score("c"), score("d", needs=4)]
    finish(store, done[0], 3.0, 1000)
    finish(store, done[1], 5.0, 3000)
    found = forecast(plan_of(*done, *left), ["a", "b"], store, done, 0.0, MILLION)
    (line,) = found.lines
    assert (line.tasks, line.left, line.measured) == (4, 2, True)
    assert line.seconds == pytest.approx(4 + 8)  # one that looks at twice as many lasts as long
    assert line.size == pytest.approx(2000 + 4000)
    assert table(found)[1].split() == ["scoring", "ssim", "4", "2", "12", "s", "6.0", "kB"]
    told = sums(found, 2, gpu=False)
    assert told[0].startswith("estimate: about 12 s of work, about 6 s on 2 workers; about 6.0 kB")
    assert "done in this folder" in told[1]
    assert len(told) == 2


def test_a_model_of_more_scans_takes_longer_and_is_as_large(tmp_path: Path) -> None:
    store = Store(tmp_path)
    done = Task("a", "fit", {f"train:{i}": f"x{i}" for i in range(2)}, {"method": "ravel"})
    more = Task("b", "fit", {f"train:{i}": f"x{i}" for i in range(6)}, {"method": "ravel"})
    finish(store, done, 2.0, 5000)
    (line,) = forecast(plan_of(done, more), ["a"], store, [done], 0.0, MILLION).lines
    assert (line.seconds, line.size) == (pytest.approx(6.0), pytest.approx(5000))


def test_what_was_never_done_is_guessed_or_unknown_and_said_so(tmp_path: Path) -> None:
    fit = Task("f", "fit", {"train:1": "i"}, {"method": "net"}, heavy=True)
    image = Task("i", "image", {"space": "s"}, {"method": "raw"})
    other = Task("j", "image", {"fit": "f"}, {"method": "net"})
    found = forecast(plan_of(image, fit, other), [], Store(tmp_path), [], 5e6, 2 * MILLION)
    by = {line.group: line for line in found.lines}
    assert by["image", "raw"].size == 5e6
    assert by["image", "raw"].seconds == pytest.approx(0.5)
    assert by["fit", "net"].seconds is None
    assert by["image", "net"].seconds is None  # a network's images are like no other's
    told = sums(found, 1, gpu=False)
    assert told[0].startswith("estimate: at least")
    assert any(text.startswith("~ is a guess") for text in told)
    assert told[-1].endswith("no such task was done here yet: harmonizing net; training net")
    assert "shared by the workers that there will be" in sums(found, None, gpu=False)[0]
    rows = table(found)
    assert any(row.split()[:2] == ["training", "net"] and "unknown" in row for row in rows)


def test_other_metrics_stand_in_for_one_that_was_never_done(tmp_path: Path) -> None:
    store, done = Store(tmp_path), score("a")
    finish(store, done, 6.0, 1000)
    new = score("n", metric="own")
    found = forecast(plan_of(done, new), ["a"], store, [done], 0.0, MILLION)
    line = next(line for line in found.lines if line.group == ("score", "own"))
    assert line.seconds == pytest.approx(6.0)
    assert not line.measured


def test_training_waits_for_the_one_gpu() -> None:
    found = Forecast([Line(("fit", "net"), 4, 4, 400.0, 0.0)], heavy=400.0)
    assert "about 7 min on 4 workers" in sums(found, 4, gpu=True)[0]
    assert "about 2 min on 4 workers" in sums(found, 4, gpu=False)[0]
    nothing = Forecast([Line(("fit", "net"), 4, 0)])
    assert sums(nothing, 4, gpu=True)[0].startswith("nothing is left to compute")


def test_few_of_many_finished_tasks_are_read(tmp_path: Path) -> None:
    store, tasks = Store(tmp_path), [score(f"{i:04d}") for i in range(1000)]
    for i, task in enumerate(tasks):
        if i % 50 == 0:  # only these are read: others would raise
            finish(store, task, float(i // 50), 1000)
    each = measured(tasks, store)["score", "ssim"]
    assert each.seconds == pytest.approx(9.5 / 2)


@given(st.floats(0, 1e16))
def test_sizes_are_short(count: float) -> None:
    number, unit = sized(count).split()
    assert len(number) <= 5
    assert unit in ("bytes", "kB", "MB", "GB", "TB")


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    cohort_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builtin_atlas(tmp_path / "atlas", 6.0)
    before = {path: path.stat().st_mtime_ns for path in cohort_csv.parent.rglob("*")}
    out = tmp_path / "run"
    sys.argv = ["harmobench", "run", "--cohort", str(cohort_csv), "--out", str(out), "--dry-run"]
    sys.argv += ["--atlas", str(tmp_path / "atlas"), "--methods", "raw,ravel", "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    text = capsys.readouterr().out
    assert "8 scans of 4 subjects on 2 scanners" in text
    assert any(line.split()[:3] == ["harmonizing", "raw", "8"] for line in text.splitlines())
    assert f"nothing was written into {out}" in text
    assert not out.exists()
    assert {path: path.stat().st_mtime_ns for path in cohort_csv.parent.rglob("*")} == before
    sys.argv[sys.argv.index(str(out))] = str(cohort_csv.parent)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
