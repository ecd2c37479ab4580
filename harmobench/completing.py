"""What a shell proposes when a word is completed; imported at every start, so it imports late."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PRESETS = ("quick", "default", "paper")
RUN = "run.json"  # what makes a folder a run's


def names_of(*kinds: str, more: tuple[str, ...] = ("all",)) -> Callable[[str], list[str]]:
    """Complete the last of several names with commas, by what is installed of these kinds."""

    def complete(incomplete: str) -> list[str]:
        from harmobench.registry import plugins

        head, comma, last = incomplete.rpartition(",")
        typed = head.split(",")
        known = [name for kind in kinds for name in plugins(kind) if name not in typed]
        known = known if comma else [*known, *more]
        return [head + comma + name for name in _beginning(known, last)]

    return complete


def words(*known: str) -> Callable[[str], list[str]]:
    """Complete one of a few words."""

    def complete(incomplete: str) -> list[str]:
        return _beginning(known, incomplete)

    return complete


def run_folders(incomplete: str) -> list[str]:
    """Complete the folder of a run; where there is none, the shell proposes files and folders."""
    head = incomplete[: incomplete.rfind("/") + 1]
    try:
        inside = sorted(path.name for path in Path(head or ".").iterdir())
    except OSError:  # no such folder, or none that may be read: there is nothing to propose
        return []
    begun = _beginning(inside, incomplete.removeprefix(head))
    return [head + name for name in begun if (Path(head) / name / RUN).is_file()]


def methods_of_run(ctx: Any, incomplete: str) -> list[str]:
    """Complete a method of the run whose folder was typed before."""
    import json

    from harmobench.registry import name_fault

    try:
        settings = json.loads((Path(ctx.params["folder"]) / RUN).read_text(encoding="utf-8"))
        names = [part["name"] for part in settings["methods"]]
    except (OSError, ValueError, KeyError, TypeError):  # no run: there is nothing to propose
        return []
    # a stranger may have written the file, and a shell reads what is proposed
    return _beginning([name for name in names if not name_fault(name)], incomplete)


def _beginning(known: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]
