"""What a process left: its report, its output, and the files that are not as before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Played:
    """What a process did.

    Attributes
    ----------
    name
        Of the process, for messages.
    steps
        What each step that ended gave; with "error" where it raised.
    over
        Whether the process came to its end by itself.
    at
        The step at which it was when it ended otherwise.
    hung
        Whether it was ended because that step took too long.
    code
        Exit status; minus a signal's number.
    trace
        Where it was when it hung or crashed.
    printed
        What went to stdout and stderr.
    left
        Files that it left in its working folder, its home and the folder of temporary files.
    harmed
        Files of the cohort that are not as before.
    orphans
        Commands of what it started that ran on when it had ended.
    unshared
        Whether it had no network at all.
    """

    name: str
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    over: bool = False
    at: str = "start"
    hung: bool = False
    code: int = 0
    trace: str = ""
    printed: str = ""
    left: list[str] = field(default_factory=list)
    harmed: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    unshared: bool = False

    def facts(self, name: str) -> dict[str, Any] | None:
        """Return what a step gave; None where it was not reached or raised."""
        found = self.steps.get(name)
        return None if found is None or "error" in found else found

    def error(self, name: str) -> dict[str, Any] | None:
        """Return what a step raised."""
        return self.steps.get(name, {}).get("error")


def read_report(base: Path, played: Played) -> None:
    """Read the steps that a process reported, and where it was if it did not come to its end."""
    for line in text_of(base / "report.jsonl").splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            continue  # the line at which the process died
        if "end" in data:
            played.steps[data["end"]] = data
        played.at = data.get("begin", played.at)
        played.over = played.over or "over" in data
    if not played.over:
        played.trace = text_of(base / "trace.txt") or text_of(base / "printed.txt")[-2000:]


def last_begun(base: Path) -> str:
    """Return the step that a process is at."""
    lines = [line for line in text_of(base / "report.jsonl").splitlines() if '"begin"' in line]
    return str(json.loads(lines[-1])["begin"]) if lines and lines[-1].endswith("}") else "start"


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def text_of(path: Path) -> str:
    """Text of a file; none where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def files_in(folder: Path) -> Iterator[Path]:
    """Files of a folder and those in it, sorted."""
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir())


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_in(folder)
        if path.is_file()
    }


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name the files that came, went or changed."""
    names = sorted({*before, *after})
    return [name for name in names if before.get(name) != after.get(name)]
