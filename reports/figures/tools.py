"""Which tool and which tissues a figure is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized

from harmobench.errors import HarmobenchError
from harmobench.interface import Finished
from harmobench.reports.lookup import measured
from harmobench.reports.style import order

TISSUES = ("gm", "wm")  # the paper's; the tables have CSF too


def tool_of(run: Finished, metric: str, tool: str) -> str:
    """Return the tool that was asked for, or the first that measured this.

    Raises
    ------
    HarmobenchError
        The run has no such tool.
    """
    return one_of(run, measured(run, metric, "tool"), tool, f"{metric} scores")


def one_of(run: Finished, known: Sequence[str], tool: str, what: str) -> str:
    """Return the tool that was asked for, or the first of those that are known.

    Raises
    ------
    HarmobenchError
        It is none of these, or there is none.
    """
    need(run, known, what)
    if tool and tool not in known:
        there = " or ".join(known)
        raise HarmobenchError(
            f"expected a tool with {what} in {run.folder} ({there}), found {tool}"
        )
    return tool or known[0]


def need(run: Finished, found: Sized, what: str) -> None:
    """Refuse to draw an empty figure.

    Raises
    ------
    HarmobenchError
        Nothing was found of what a figure shows.
    """
    if not len(found):
        raise HarmobenchError(
            f"expected {what} in {run.folder}, found none: the run did not measure it, or nothing "
            "of it succeeded; its report says which"
        )


def tissues_of(structures: Iterable[str]) -> list[str]:
    """Return the paper's tissues where they are among these, else all of these."""
    found = {str(name) for name in structures}
    shown = [name for name in TISSUES if name in found]
    return shown or order(sorted(found)) or list(TISSUES[:1])
