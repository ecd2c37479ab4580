"""Commands that look and change nothing: cohort check, atlas check, tools, list, verify."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harmobench.bids.command import from_bids
from harmobench.completing import run_folders

if TYPE_CHECKING:
    from harmobench.live.show import Quiet

DONE, DIFFERENCES, INTERRUPTED = 0, 1, 130
LISTED = ("methods", "metrics", "segmenters", "morphometry", "statistics", "reports", "figures")
Quietly = Annotated[bool, typer.Option("--quiet", help="Show failures and the result alone.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for name, about, command in (
        ("cohort", "Look at a manifest, or make one of a BIDS dataset.", check),
        ("atlas", "Look at an atlas.", check_one_atlas),
    ):
        group = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)
        group.callback()(_nothing)  # so that "check" stays a word to type
        group.command("check")(command)
        if name == "cohort":
            group.command("from-bids")(from_bids)
        app.add_typer(group, name=name, help=about)
    app.command("tools")(tools)
    app.command("list")(list_plugins)
    app.command("verify")(verify_run)


def _nothing() -> None:
    return


@contextlib.contextmanager
def interruptible(what_next: str) -> Iterator[None]:
    """Turn Ctrl-C into one line and status 130."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted: {what_next}\n")
        raise typer.Exit(INTERRUPTED) from None


def tell(text: str) -> None:
    """Print what may hold names from files, and nothing of them that moves the cursor."""
    from harmobench.plain import plain

    print(plain(text))


def watching(quiet: bool) -> Quiet:
    """Show how far it is, or nothing but what must be read."""
    from harmobench.live.show import watcher

    return watcher(quiet)


def check(
    manifest: Annotated[Path, typer.Argument(help="The manifest, .csv or .tsv.")],
    quiet: Quietly = False,
) -> None:
    """Check a manifest and every image in it; report every fault at once."""
    from harmobench.manifest import doubtful_columns, read_cohort

    with interruptible("nothing was written"), watching(quiet) as watcher:
        cohort = read_cohort(manifest, watcher.step)
    grid = "complete" if cohort.complete else "incomplete"
    for note in doubtful_columns(cohort):
        tell(note)
    tell(
        f"{manifest}: {len(cohort)} scans of {len(cohort.subjects)} subjects on "
        f"{len(cohort.scanners)} scanners ({', '.join(cohort.scanners)}), {grid}"
    )
    tell(f"columns: {', '.join(cohort.scans[0].values) or 'none beside the required'}")
    for subject in cohort.subjects:
        missing = [s for s in cohort.scanners if cohort.scan(subject, s) is None]
        if missing:
            tell(f"subject {subject} has no scan on {', '.join(missing)}: left out of its pairs")
    if cohort.unmatched:
        tell(f"seen on one scanner only, left out of pairs: {', '.join(cohort.unmatched)}")


def list_plugins(
    kind: Annotated[str, typer.Argument(help=", ".join(LISTED))] = "",
) -> None:
    """List what is installed, all of it or one kind."""
    from harmobench.errors import SettingsError
    from harmobench.parts import plugins_of

    if kind and kind not in LISTED:
        raise SettingsError(f"harmobench list: expected one of {', '.join(LISTED)}, found '{kind}'")
    for each in [kind] if kind else LISTED:
        tell(f"{each}:")
        for name, plugin in plugins_of(each).items():
            tell(f"  {name:<18} {plugin.summary()}  [{plugin.distribution}]")


def check_one_atlas(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="An atlas folder, or builtin.")],
    picture: Annotated[
        Path | None, typer.Option(help="Draw template, tissues and regions into this PNG.")
    ] = None,
) -> None:
    """Check an atlas folder: every image, tissue and region; say what is doubtful."""
    import tempfile

    from harmobench.atlas_check import check_atlas
    from harmobench.place import read_atlas_source

    with tempfile.TemporaryDirectory(prefix="harmobench-") as scratch:
        found = check_atlas(read_atlas_source(folder, Path(scratch)), picture)
    for text in found.holds:
        tell(text)
    for text in found.doubts:
        tell(f"doubtful: {text}")
    if not found.doubts:
        tell("nothing doubtful")
    if picture is not None:
        tell(f"picture: {picture}")


def tools(
    set: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.PARAMETER=VALUE, as for run.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Options in a TOML file, as for run.")] = None,
) -> None:
    """List the programs that can segment and measure, what was found of each, and where."""
    from harmobench.programs import look_for_all

    for heading, lines in look_for_all(tuple(set or ()), config).items():
        tell(f"{heading}:")
        for name, status, text in lines:
            tell(f"  {name:<18} {status:<8} {text}")


def verify_run(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A finished run's folder.", autocompletion=run_folders),
    ],
    quiet: Quietly = False,
) -> None:
    """Check that a run is what it claims: its files, its inputs, and numbers computed again.

    Status 0: it is. 1: something differs, and is named. 2: refused, because it is no finished run.
    """
    from harmobench.verify import verify

    with interruptible("nothing was changed"), watching(quiet) as watcher:
        verdict = verify(folder, watcher.step)
    for line in verdict.lines(folder):
        tell(line)
    raise typer.Exit(DIFFERENCES if verdict.differences else DONE)
