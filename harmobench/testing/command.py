"""`harmobench check`: hold an installed plugin to the rules, and say how to mend it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harmobench.testing.rule import Verdict

INDENT = 18  # columns that the verdict takes


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An installed plugin.")],
    kind: Annotated[
        str,
        typer.Option(
            help="If names are alike: methods, measure_methods, metrics, segmenters, morphometry."
        ),
    ] = "",
    set: Annotated[
        list[str] | None, typer.Option("--set", help="PARAMETER=VALUE; may be repeated.")
    ] = None,
    time_limit: Annotated[
        str, typer.Option(help="What each step may take, such as 30s or 20min.")
    ] = "5min",
) -> None:
    """Check a plugin: a method, metric, segmenter or morphometry tool, on a small simulated cohort.

    It works in processes of its own, with its preset "quick" where it has one, without a GPU and a
    network, in empty folders. Status 0: it keeps every rule. 1: it breaks some.
    """
    from harmobench.choose import parse_sets
    from harmobench.cli_look import interruptible
    from harmobench.guard import seconds_of
    from harmobench.plain import plain
    from harmobench.testing.checks import SINGULAR, broken, find_plugin
    from harmobench.testing.checks import check as verdicts_of

    began = time.monotonic()
    limit = seconds_of(time_limit)
    own = [text if text.startswith(f"{name}.") else f"{name}.{text}" for text in set or ()]
    parameters = parse_sets(own).get(name, {})
    plugin = find_plugin(name, kind)
    print(plain(f"{name}: {SINGULAR[plugin.kind]} {plugin.target}, from {plugin.distribution}"))
    found: list[Verdict] = []
    left: list[Verdict] = []  # not reached, told together
    with interruptible("nothing was written"):
        try:
            for verdict in verdicts_of(plugin, parameters, limit, _sayer()):
                _clear()
                found.append(verdict)
                if left and (verdict.status, verdict.found) != (left[0].status, left[0].found):
                    print(plain(_together(left)), flush=True)
                    left = []
                if verdict.status == "not reached":
                    left.append(verdict)
                else:
                    print(plain(_shown(verdict)), flush=True)
        finally:
            _clear()
    if left:
        print(plain(_together(left)))
    print(_summary(found, time.monotonic() - began))
    raise typer.Exit(1 if broken(found) else 0)


def _shown(verdict: Verdict) -> str:
    import textwrap

    rule = verdict.rule
    head = f"  {verdict.status:<{INDENT - 2}}{rule.name}"
    if verdict.status != "failed":
        return f"{head} ({verdict.found})" if verdict.found else head
    width = _width()
    lines = [f"  {'FAILED':<{INDENT - 2}}{rule.name}"]
    for title, text in (("expected", rule.expects), ("found", verdict.found), ("mend", rule.mend)):
        start = f"{'':<{INDENT}}{title + ':':<10}"
        lines.append(
            textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * len(start))
        )
    return "\n".join(lines)


def _together(left: list[Verdict]) -> str:
    """Name rules that were not reached for the same reason."""
    import textwrap

    text = f"{', '.join(verdict.rule.name for verdict in left)} ({left[0].found})"
    start = f"  {'not reached':<{INDENT - 2}}"
    return textwrap.fill(
        text,
        _width(),
        initial_indent=start,
        subsequent_indent=" " * INDENT,
        break_on_hyphens=False,
    )


def _width() -> int:
    return max(60, min(110, shutil.get_terminal_size().columns))


def _summary(found: list[Verdict], seconds: float) -> str:
    from harmobench.testing.judge import network_note

    counts = {
        status: sum(verdict.status == status for verdict in found)
        for status in ("passed", "failed", "not reached", "not applicable")
    }
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    note = network_note()
    return f"{len(found)} rules: {', '.join(parts)}, in {seconds:.0f} s" + (
        f"\n{note}" if note else ""
    )


def _sayer() -> Callable[[str], None]:
    """Show on a terminal what is going on, in one line that goes again."""
    last = [""]

    def say(text: str) -> None:
        if sys.stderr.isatty() and text != last[0]:
            last[0] = text
            _clear()
            sys.stderr.write(f"  ... {text[:70]}")
            sys.stderr.flush()

    return say


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
