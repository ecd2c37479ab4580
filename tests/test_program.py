"""Programs of the user: found, run, stopped, logged, and ended with who asked for them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harmobench.errors import MeasurementError, SettingsError
from harmobench.tools import program


@pytest.fixture
def put(tmp_path, monkeypatch):
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name, text, where=folder):
        where.mkdir(exist_ok=True)
        (where / name).write_text("#!/bin/sh\n" + text)
        (where / name).chmod(0o755)
        return where / name

    return write


def run(folder, *command, **more):
    return program.run(command, folder, **({"minutes": 1} | more))


def alive(number):
    """Whether a process is there and not only waiting to be collected."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(number, seconds=8):
    end = time.monotonic() + seconds
    while alive(number) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(number)


def test_find(put, tmp_path):
    path = put("tool", "")
    other = put("tool", "", tmp_path / "other")
    assert program.find("tool") == str(path)
    assert program.find("tool", [tmp_path / "none", tmp_path / "other"]) == str(other)
    assert program.find("tool", [tmp_path / "none"]) == str(path)
    assert program.find("tool", [tmp_path / "none"], on_path=False) is None
    assert program.find("absent") is None
    assert program.find("absent", prefix="tool exec") == "absent"
    assert program.find("tool", prefix="absent exec") is None


def test_prefix(tmp_path):
    program.check_prefix("x", "docker run -v '{dir}:{dir}' image")
    with pytest.raises(SettingsError, match=r"parameter 'x.prefix'.*No closing quotation"):
        program.check_prefix("x", "docker 'run")
    odd = tmp_path / "a b's"
    words = program.behind("c -v '{dir}':{dir} i", odd, ["tool", "a b"])
    assert words == ["c", "-v", f"{odd}:{odd}", "i", "tool", "a b"]


def test_runs_in_the_folder_with_its_words_and_variables(put, tmp_path, monkeypatch):
    monkeypatch.setenv("KEPT", "kept")
    put("tool", 'pwd; echo "$1|$2"; echo "$KEPT $NEW"; echo loud >&2; touch made; cat')
    (tmp_path / "w").mkdir()
    said = run(tmp_path / "w", "tool", "a b", "it's", environment={"NEW": "new"})
    assert said.splitlines() == [str(tmp_path / "w"), "a b|it's", "kept new", "loud"]
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["made"]


def test_the_log_keeps_all_commands_and_what_they_printed(put, tmp_path):
    put("tool", 'echo "said $1"; printf "\\377"; exit $2')
    log = tmp_path / "log.txt"
    run(tmp_path, "tool", "a b", "0", log=log)
    with pytest.raises(MeasurementError):
        run(tmp_path, "tool", "c", "3", log=log)
    text = log.read_text(encoding="utf-8")
    assert text.startswith("$ tool 'a b' 0\nsaid a b\n")
    assert "$ tool c 3\nsaid c\n" in text


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no licence; exit 1", "tool to end with status 0, found 1; it said last: no licence"),
        ("exit 255", "expected tool to end with status 0, found 255$"),
        ("kill -9 $$", r"tool to end by itself, found that it was killed \(SIGKILL"),
        ("exit 137", r"found that it was killed \(SIGKILL"),
        ("kill -SEGV $$", r"found that it was killed \(SIGSEGV"),
        ("exec absent-program", "expected a program tool that can be started, found none"),
    ],
)
def test_how_it_ended(put, tmp_path, script, message):
    put("tool", script)
    with pytest.raises(MeasurementError, match=message):
        run(tmp_path, "tool")


def test_what_cannot_be_started(put, tmp_path):
    with pytest.raises(MeasurementError, match="program absent that can be started, found none"):
        run(tmp_path, "absent")
    put("locked", "").chmod(0o644)
    with pytest.raises(MeasurementError, match=r"locked that can be started.*Permission denied"):
        run(tmp_path, str(tmp_path / "path" / "locked"))


def test_only_the_last_words_are_repeated(put, tmp_path):
    put("tool", "seq 1 5000; echo the end; exit 1")
    with pytest.raises(MeasurementError, match=r"the end$") as caught:
        run(tmp_path, "tool")
    assert len(str(caught.value)) < program.SHOWN + 100


def test_time_limit_ends_it_and_what_it_started(put, tmp_path):
    put("tool", "sleep 100 & echo $! > child; echo $$ > self; echo at work; wait")
    start = time.monotonic()
    with pytest.raises(MeasurementError, match=r"within 0.01 minutes, .*; it said last: at work"):
        run(tmp_path, "tool", minutes=0.01)
    assert time.monotonic() - start < 5
    for name in ("self", "child"):
        assert gone(int((tmp_path / name).read_text()))


def test_one_that_will_not_end_is_ended(put, tmp_path, monkeypatch):
    text = Path(program.__file__).read_text().replace("GRACE = 10.0", "GRACE = 0.3")
    copy = tmp_path / "program_in_haste.py"  # what the watcher runs is a file of its own
    copy.write_text(text)
    monkeypatch.setattr(program, "__file__", str(copy))
    put("tool", "trap '' TERM; echo $$ > self; while true; do sleep 0.1; done")
    with pytest.raises(MeasurementError, match="still at work"):
        run(tmp_path, "tool", minutes=0.01)
    assert gone(int((tmp_path / "self").read_text()))


def test_what_it_leaves_running_ends_with_it(put, tmp_path):
    put("tool", "(trap '' TERM HUP; sleep 100) > /dev/null 2>&1 & echo $!")
    assert gone(int(run(tmp_path, "tool")))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to another process")
@pytest.mark.parametrize("minutes", [1, 0.02])
def test_what_went_into_a_session_of_its_own_ends_too(put, tmp_path, minutes):
    put(
        "tool",
        f"setsid sleep 100 > /dev/null 2>&1 & echo $! > child; sleep {0 if minutes > 0.5 else 90}",
    )
    if minutes > 0.5:
        run(tmp_path, "tool")
    else:
        with pytest.raises(MeasurementError, match="still at work"):
            run(tmp_path, "tool", minutes=minutes)
    assert gone(int((tmp_path / "child").read_text()))


def test_a_program_may_empty_the_folder_it_works_in(put, tmp_path):
    put("tool", "rm -rf ./* .[!.]*; echo done")
    assert run(tmp_path, "tool") == "done\n"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ends_when_who_asked_for_it_is_killed(put, tmp_path, sign):
    put("tool", "sleep 100 & echo $! > child; echo $$ > self.new; mv self.new self; wait")
    asks = (
        "import signal; from pathlib import Path; from harmobench.tools import program; "
        # where the tests run in the background, a child would ignore Ctrl-C
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"program.run(['tool'], Path({str(tmp_path)!r}), minutes=2)"
    )
    caller = subprocess.Popen([sys.executable, "-c", asks], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not (tmp_path / "self").exists() and time.monotonic() < end:
        time.sleep(0.02)
    number = int((tmp_path / "self").read_text())
    assert alive(number)
    caller.send_signal(sign)
    caller.wait(timeout=20)
    assert gone(number)
    assert gone(int((tmp_path / "child").read_text()))


def test_ask_takes_what_a_failing_program_prints(put, tmp_path):
    put("tool", 'echo "version $1"; exit 1')
    put("box", 'shift; echo boxed; exec "$@"')
    assert program.ask(["tool", "3"]) == "version 3\n"
    assert program.ask(["tool", "3"], prefix="box {dir}") == "boxed\nversion 3\n"
    assert "No such file" in program.ask(["absent"])
    put("slow", "echo first; sleep 100")
    assert program.ask(["slow"], minutes=0.01) == "first\n"


def test_the_watcher_holds_nothing_of_ours(put, tmp_path):
    put("tool", "ls /proc/$$/fd")
    held = os.dup2(0, 77, inheritable=True)
    try:
        assert "77" not in run(tmp_path, "tool").split()
    finally:
        os.close(held)
