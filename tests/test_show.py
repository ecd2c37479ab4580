"""What a person sees while a run goes on: time left, the live view, and the lines of a log."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harmobench.doing import Doing, begin, read, stamps, teller
from harmobench.live.board import Step, board
from harmobench.live.course import Course
from harmobench.live.pace import ENOUGH, Left, Pace, said, spell
from harmobench.live.show import TOLD, Lines, Live, Quiet, watcher
from harmobench.plan import Plan
from harmobench.task import Task
from harmobench.worker import Outcome


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def task(kind: str, number: int = 0, heavy: bool = False, **args: Any) -> Task:
    own = {"method": "mispel", "subject": f"{number:02d}", **args}
    key = f"{kind}-{'-'.join(str(value) for value in own.values())}-{number}"
    return Task(key, kind, {}, own, heavy)


def tasks_of(*parts: list[Task]) -> dict[str, Task]:
    return {each.key: each for part in parts for each in part}


def many(kind: str, count: int, **args: Any) -> list[Task]:
    return [task(kind, number, **args) for number in range(count)]


def run_of(methods: int = 18, folds: int = 6, scans: int = 4) -> dict[str, Task]:
    found = []
    for name in (f"method-{number}" for number in range(methods)):
        found += [
            task("fit", fold, True, method=name, fold=fold, repeat=0) for fold in range(folds)
        ]
        found += many("image", scans, method=name, scanner="GE")
        found += many("score", scans, method=name, metric="ssim")
    return tasks_of([Task("space", "space", {}, {})], found)


# --- time left --------------------------------------------------------------------------------


def test_nothing_is_said_before_enough_ended() -> None:
    own = many("segment", 20, tool="hmrf")
    pace = Pace(tasks_of(own), ())
    for each in own[: ENOUGH - 1]:
        pace.end(each, 10.0)
        assert pace.estimate({}) is None
    pace.end(own[ENOUGH - 1], 10.0)
    assert pace.estimate({}) == Left(150.0, True)


@given(
    seconds=st.floats(0.01, 1e4),
    workers=st.integers(1, 64),
    count=st.integers(ENOUGH + 1, 60),
    done=st.integers(ENOUGH, 60),
)
def test_equal_tasks_are_shared_by_the_workers(
    seconds: float, workers: int, count: int, done: int
) -> None:
    """What is left takes its own length over the workers, whatever the tasks and their number."""
    own = many("segment", count, tool="hmrf")
    pace = Pace(tasks_of(own), ())
    pace.watch(own[:workers])
    for each in own[: min(done, count)]:
        pace.end(each, seconds)
    left = pace.estimate({})
    assert left is not None
    expected = seconds * max(0, count - done) / min(workers, count)
    assert left.seconds == pytest.approx(expected)
    assert left.whole


def test_training_waits_for_what_trains() -> None:
    """Eight workers and one GPU: six fits of an hour take six hours, not one."""
    fits = [task("fit", fold, True, fold=fold) for fold in range(7)]
    images = many("image", 14)
    pace = Pace(tasks_of(fits, images), ())
    pace.watch([fits[0], *images[:7]])
    for each in [fits[0], *images[:6]]:
        pace.end(each, 3600.0 if each.heavy else 60.0)
    left = pace.estimate({})
    assert left is not None
    assert 6 * 3600 < left.seconds < 6 * 3600 + 8 * 60
    half = pace.estimate({fits[1].key: (fits[1], 1800.0)})
    assert half is not None
    assert left.seconds - half.seconds == pytest.approx(1800.0)


def test_a_sort_of_task_that_nobody_saw_is_not_passed_over() -> None:
    images, fits = many("image", 20), [task("fit", fold, True, fold=fold) for fold in range(2)]
    pace = Pace(tasks_of(images, fits), ())
    for each in images[:10]:
        pace.end(each, 6.0)
    left = pace.estimate({})
    assert left is not None
    assert not left.whole
    assert said(left) == "at least 1 min"
    pace.end(fits[0], 600.0)
    assert said(pace.estimate({})).startswith("about 11 min")


def test_what_was_found_finished_teaches_nothing() -> None:
    own = many("segment", 20, tool="hmrf")
    pace = Pace(tasks_of(own), ())
    for each in own[:10]:
        pace.end(each, 0.0)
    assert pace.estimate({}) is None


@given(st.floats(0, 1e7))
def test_durations_are_rounded_not_changed(seconds: float) -> None:
    """Whoever reads "2 h 40 min" is told no more than a tenth, or a minute, off the truth."""
    words = spell(seconds).split()
    units = {"min": 60, "h": 3600, "day": 86400, "days": 86400}
    told = sum(int(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(told - seconds) <= max(60, 0.1 * seconds)


# --- what is at work ---------------------------------------------------------------------------


def test_a_worker_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmobench.doing.TOLD_SECONDS", 0.0)
    own = task("fit", 2, True, fold=2)
    marker = begin(tmp_path, own)
    assert read(tmp_path, own.key) == Doing()
    tell = teller(tmp_path, own)
    tell(12, 30, "epoch 12\nof 30")
    assert read(tmp_path, own.key) == Doing(12, 30, "epoch 12 of 30")
    marker.unlink()
    tell(13, 30, "late")
    assert not stamps(tmp_path)  # a file that stays would accuse the task where a worker dies
    assert read(tmp_path, own.key) == Doing()


def test_a_worker_tells_at_most_once_a_second(tmp_path: Path) -> None:
    own = task("fit", 2, True, fold=2)
    begin(tmp_path, own)
    tell = teller(tmp_path, own)
    for step in range(100):
        tell(step, 100, "step")
    assert read(tmp_path, own.key) == Doing()


def course(tmp_path: Path, tasks: Mapping[str, Task], finished: list[str] | None = None) -> Course:
    return Course(tasks, finished or [], tmp_path, Clock())


def test_training_is_shown_by_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmobench.doing.TOLD_SECONDS", 0.0)
    fits = [task("fit", fold, True, fold=fold) for fold in range(6)]
    image = task("image", 3, scanner="GE")
    own = course(tmp_path, tasks_of(fits, [image]))
    for each in (image, fits[2]):
        begin(tmp_path, each)
        teller(tmp_path, each)(9, 20, "MISPEL: step 1")
    own.look()
    assert own.now("mispel") == "fold 3 of 6 training 45%, step 1"
    own.end(fits[2], "done", 5.0)
    assert own.now("mispel") == "harmonizing 03 GE"


def test_files_of_a_run_that_was_stopped_are_not_at_work(tmp_path: Path) -> None:
    own = many("image", 2)
    begin(tmp_path, own[0])
    new = course(tmp_path, tasks_of(own))
    begin(tmp_path, own[1])
    new.look()
    assert set(new.at_work) == {own[1].key}


def test_a_run_that_goes_on_knows_what_tasks_took(tmp_path: Path) -> None:
    own = many("segment", 12, tool="hmrf") + many("score", 12, metric="ssim")
    there = [each.key for each in own if int(each.args["subject"]) < 9]
    for key in there:
        folder = tmp_path / "store" / key[:2] / key
        folder.mkdir(parents=True)
        (folder / "cost.json").write_text(json.dumps({"seconds": 60.0}))
    assert said(course(tmp_path, tasks_of(own), there).left) == "about 6 min"
    (folder / "cost.json").write_text("no json")
    assert course(tmp_path, tasks_of(own), there).left is not None


def test_a_lost_task_has_not_ended_and_none_ends_twice(tmp_path: Path) -> None:
    own = many("image", 2)
    now = course(tmp_path, tasks_of(own))
    now.end(own[0], "lost", 0.0)
    assert not now.ended
    now.end(own[0], "done", 1.0)
    now.end(own[0], "done", 1.0)
    assert now.done["mispel"] == 1
    again = task("score", 9, metric="ssim")  # of the plan around a failure
    now.end(again, "done", 1.0)
    assert (now.done["mispel"], now.total["mispel"]) == (2, 3)


# --- the live view -----------------------------------------------------------------------------


def drawn(view: Any, width: int, color: str | None = None) -> list[str]:
    stream = io.StringIO()
    environment = {"NO_COLOR": color} if color else {}
    console = Console(
        file=stream, width=width, height=24, force_terminal=True, _environ=environment
    )
    console.print(view)
    return stream.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (20, 8), (200, 50)])
def test_eighteen_methods_fit_the_terminal(tmp_path: Path, width: int, height: int) -> None:
    tasks = run_of()
    now = course(tmp_path, tasks)
    for each in list(tasks.values())[1:40]:
        begin(tmp_path, each)
    now.look()
    lines = drawn(board(now, Step(3, 40, "figure " + "x" * 90), (width, height)), width, "1")
    assert len(lines) <= height
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= width for line in lines)
    assert not any("\x1b[3" in line for line in lines)  # NO_COLOR: nothing has a colour
    assert "all tasks" in lines[0]


def test_methods_that_are_finished_share_a_line(tmp_path: Path) -> None:
    tasks = run_of(methods=3)
    now = course(tmp_path, tasks)
    for each in tasks.values():
        if each.args.get("method") != "method-1":
            now.end(each, "done", 1.0)
    text = "\n".join(drawn(board(now, None, (80, 24)), 80, "1"))
    assert "3 finished" in text
    assert "for all, method-0, method-2" in text
    assert "method-1" in text
    assert "0/14" in text
    for each in tasks.values():
        now.end(each, "done", 1.0)
    assert len(drawn(board(now, None, (80, 24)), 80)) == 1
    assert "time left" not in drawn(board(now, None, (80, 24)), 80)[0]


def test_what_failed_is_counted(tmp_path: Path) -> None:
    tasks = run_of(methods=1)
    now = course(tmp_path, tasks)
    now.end(next(iter(tasks.values())), "failed", 0.0)
    assert "1 failed, time left: unknown yet" in drawn(board(now, None, (80, 24)), 80, "1")[0]


def test_names_are_no_markup(tmp_path: Path) -> None:
    own = [task("fit", 0, True, method="[red]x[/red]", fold=0)]
    now = course(tmp_path, tasks_of(own))
    assert "[red]x[/red]" in "\n".join(drawn(board(now, Step(1, 2, "[b]y[/b]"), (80, 24)), 80, "1"))


@pytest.mark.filterwarnings("error")
def test_the_live_view_leaves_its_last_state(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=True)
    tasks = run_of(methods=2)
    with Live(console) as live:
        live.step(1, 2, "reading")
        live.start(Plan(tasks), (), tmp_path)
        for each in tasks.values():
            live.task(each, Outcome(each.key, "done", warnings=("look here",), seconds=1.0))
        live.step(2, 2, "report")
    text = stream.getvalue()
    assert f"warning: {next(iter(tasks.values())).label}: look here" in text
    assert any(f"{len(tasks)}/{len(tasks)}" in line for line in text.splitlines()[-3:])


# --- the lines of a log ------------------------------------------------------------------------


def test_a_log_has_ten_lines_a_kind_with_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tasks_of(many("segment", 300, tool="hmrf"), many("space", 3))
    lines = Lines(Clock())
    lines.start(Plan(tasks), (), tmp_path)
    for each in tasks.values():
        lines.task(each, Outcome(each.key, "done", seconds=60.0))
    told = capsys.readouterr().out.splitlines()
    segmenting = [line for line in told if line.startswith("segmenting: ")]
    assert len(segmenting) == TOLD
    assert segmenting[0] == "segmenting: 30 of 300, time left: about 4 h 30 min"
    assert len(told) == TOLD + 3
    assert told[-1] == "bringing the atlas: 3 of 3"
    assert "\x1b" not in "".join(told)


def test_a_log_tells_of_steps_only_where_they_take_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    lines = Lines(clock)
    for step in range(100):
        clock.now += 0.5
        lines.step(step, 100, "reading")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "19 of 100: reading"
    assert len(told) == 5


def test_whoever_asked_for_quiet_reads_failures_alone(capsys: pytest.CaptureFixture[str]) -> None:
    own = task("image", 1)
    quiet = watcher(True)
    assert type(quiet) is Quiet
    with quiet:
        quiet.say("dashboard")
        quiet.task(own, Outcome(own.key, "done", seconds=1.0))
        quiet.task(own, Outcome(own.key, "failed", "no brain"))
    said_ = capsys.readouterr()
    assert said_.out == ""
    assert said_.err == f"failed: {own.label}: no brain\n"


def test_where_there_is_no_terminal_lines_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert isinstance(watcher(False), Lines)


# --- Dask's dashboard --------------------------------------------------------------------------

CONNECT = """
import sys
from pathlib import Path
if sys.argv[1] == "without":
    sys.modules["bokeh"] = None
from harmobench.cluster import announce, connect
from harmobench.cluster.sites import Local, Remote
if __name__ == "__main__":
    with connect(Local(1), Path(), print) as client:
        print(announce(client))
        from urllib.request import urlopen
        for line in announce(client):
            print(urlopen(line.split(": ")[1]).status)
        server = client.cluster.scheduler.http_server
        print(sorted({s.getsockname()[0] for s in server._sockets.values()}))
        with connect(Remote(client.scheduler.address), Path(), print) as other:
            print(announce(other))
            print(client.scheduler.address)
"""


def connected(tmp_path: Path, how: str) -> list[str]:
    script = tmp_path / "connect.py"
    script.write_text(CONNECT)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script), how],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("width", [20, 59, 60, 200])
def test_names_do_not_move_the_cursor(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=5, force_terminal=True)
    console.print(board(None, Step(1, 2, "sub\x1b[2J\u202e\n01"), (width, 5)))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert shown.count("\n") == 1


def test_the_dashboard_is_on_this_machine_alone(tmp_path: Path) -> None:
    pytest.importorskip("bokeh")
    with socket.socket() as taken:  # as another run beside this one has it
        try:
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        except OSError:
            pass  # it is taken already
        link, status, bound, found, other, address = connected(tmp_path, "with")
    assert link.startswith("['what the workers do: http://127.0.0.1:")
    assert ":8787/" not in link
    assert (status, bound, other) == ("200", "['127.0.0.1']", link)
    assert found == f"1 worker at {address}"


def test_without_bokeh_a_run_goes_on_and_says_nothing(tmp_path: Path) -> None:
    first, bound, *_ = connected(tmp_path, "without")
    assert first == "[]"
    assert bound == "['127.0.0.1']"
