"""`harmobench compare`: several runs in one page and one set of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harmobench.cli_look import Quietly, interruptible, watching


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of two or more finished runs.")
    ],
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    names: Annotated[
        str | None, typer.Option(help="What the runs are called, with commas [their folders].")
    ] = None,
    allow: Annotated[
        str | None,
        typer.Option(
            help="cohorts, definitions or both with a comma: put runs that differ in them one "
            "below the other, without tests between them."
        ),
    ] = None,
    quiet: Quietly = False,
) -> None:
    """Compare runs of different labs or versions: one page, one set of tables.

    Runs of one cohort and with the same definitions become one benchmark: all methods are tested
    against each other. Other runs are refused, and --allow puts their tables one below the other.
    """
    from harmobench.folder import refuse_system_errors
    from harmobench.plain import one_line
    from harmobench.reports.compare.writing import Request, make

    request = Request(tuple(runs), out, names, allow)
    with interruptible("nothing was written"), watching(quiet) as watcher, refuse_system_errors():
        made = make(request, watcher.step)
    if made.differences:
        print(f"{made.runs} runs one below the other; they are not one benchmark:")
        for difference in made.differences:
            print(f"  {one_line(str(difference))}")
    else:
        print(f"{made.runs} runs compared as one benchmark")
    print(f"report: {made.page}")
