"""Start a plugin in a process of its own, watch it, and say what became of each step."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from harmobench.registry import Plugin
from harmobench.testing.orphans import GRACE, command, end, lingering
from harmobench.testing.remains import (
    Played,
    contents,
    differing,
    files_in,
    last_begun,
    read_report,
    size_of,
    text_of,
)
from harmobench.testing.stage import Stage

POLL = 0.02  # s between two looks at a process
STARTING = 60.0  # s that Python may take to start
UNSHARED = ("unshare", "-rn")  # a user and a network namespace: no network but for its own
WATCHED = ("cwd", "home", "tmp")
Step = dict[str, Any]


class Theatre:
    """A plugin on a copy of the cohort; each play is a fresh process.

    Parameters
    ----------
    plugin, parameters
        What is checked.
    stage
        The cohort; it may be damaged afterwards.
    limit
        Seconds that each step may take.
    say
        Called with what is going on.
    """

    def __init__(
        self,
        plugin: Plugin,
        parameters: Mapping[str, Any],
        stage: Stage,
        limit: float,
        say: Callable[[str], None],
    ) -> None:
        self.plugin, self.parameters, self.stage = plugin, parameters, stage
        self.limit, self.say = limit, say
        self.played: list[Played] = []
        self.told: set[str] = set()  # rules that had their verdict before all was played

    def play(
        self,
        name: str,
        steps: Sequence[Step],
        plugin: Plugin | None = None,
        unshared: bool = False,
        torch: bool = False,
        writable: Sequence[Path] = (),
    ) -> Played:
        """Let a process do steps, and note what it did.

        Parameters
        ----------
        name
            Of the process; its folder is named so.
        steps
            Each with "name", and "do": a function of the kind's act.
        plugin
            Another than the one that is checked.
        unshared
            Without any network, where the system allows to take it away.
        torch
            Whether to give torch another random state too.
        writable
            Folders that the plugin may write to, beside its scratch folder.
        """
        base = self.stage.folder / "plays" / name
        for folder in (*WATCHED, "scratch", "caches"):
            (base / folder).mkdir(parents=True)
        before = contents(self.stage.cohort)
        backup = shutil.copytree(self.stage.cohort, base / "backup")
        job = self._job(base, steps, plugin or self.plugin, torch)
        job["allowed"] += [str(folder) for folder in writable]
        (base / "job.json").write_text(json.dumps(job), encoding="utf-8")
        played = Played(name, unshared=unshared and can_unshare())
        self._watch(self._start(base, name, unshared), base, played)
        read_report(base, played)
        played.printed = text_of(base / "printed.txt") if played.over else ""
        played.left = [str(p.relative_to(base)) for w in WATCHED for p in files_in(base / w)]
        played.harmed = differing(before, contents(self.stage.cohort))
        if played.harmed and plugin is None:  # later plays are judged for themselves
            shutil.rmtree(self.stage.cohort)
            backup.rename(self.stage.cohort)
        shutil.rmtree(backup, ignore_errors=True)
        shutil.rmtree(base / "scratch", ignore_errors=True)
        if plugin is None:
            self.played.append(played)
        return played

    def _job(self, base: Path, steps: Sequence[Step], plugin: Plugin, torch: bool) -> Step:
        own = plugin == self.plugin
        return {
            "plugin": asdict(plugin),
            "parameters": dict(self.parameters) if own else {},
            "steps": list(steps),
            "scratch": str(base / "scratch"),
            "atlas": str(self.stage.atlas),
            "cohort": str(self.stage.cohort),
            "report": str(base / "report.jsonl"),
            "trace": str(base / "trace.txt"),
            "allowed": [str(base / name) for name in ("scratch", "tmp", "caches", "out")],
            "chance": len(self.played) + 1,
            "torch": torch,
        }

    def _start(self, base: Path, name: str, unshared: bool) -> subprocess.Popen[bytes]:
        (base / "out").mkdir()
        command = [sys.executable, "-m", "harmobench.testing.actor", str(base / "job.json")]
        if unshared and can_unshare():
            command = [*UNSHARED, *command]
        with (base / "printed.txt").open("wb") as printed:
            return subprocess.Popen(
                command,
                cwd=base / "cwd",
                env=_environment(base, len(self.played)),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _watch(self, process: subprocess.Popen[bytes], base: Path, played: Played) -> None:
        """Wait for a process; end it, and all it started, where a step takes too long."""
        size, since = -1, time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(POLL)
                now = size_of(base / "report.jsonl")
                if now != size:
                    size, since = now, time.monotonic()
                    played.at = last_begun(base)
                allowed = self.limit if size > 0 else self.limit + STARTING
                self.say(f"{played.name}: {played.at}")
                if time.monotonic() - since > allowed:
                    played.hung = True
                    os.kill(process.pid, signal.SIGUSR1)  # unshare has become it
                    time.sleep(0.2)
                    break
        finally:
            left = lingering(base, GRACE if process.poll() is not None else 0)
            _end(process)
            end(left)
            played.orphans = [command(each) for each in left]
            played.code = process.returncode


def can_unshare() -> bool:
    """Whether a process can be started without a network."""
    return _can_unshare()


@lru_cache(maxsize=1)
def _can_unshare() -> bool:
    try:
        done = subprocess.run([*UNSHARED, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.poll()
    process.wait()


def _environment(base: Path, number: int) -> dict[str, str]:
    paths = [str(Path(path).absolute()) for path in sys.path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": str(number + 1),
        "PYTHONSAFEPATH": "1",
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),
        "MPLCONFIGDIR": str(base / "caches"),
        "NUMBA_CACHE_DIR": str(base / "caches"),
        "CUDA_VISIBLE_DEVICES": "",
    }
