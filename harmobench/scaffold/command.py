"""`harmobench new`: a package to start a method, metric or segmenter from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="method, metric or segmenter.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What users will type.")],
    folder: Annotated[
        Path | None, typer.Option(help="A new folder [harmobench-NAME, here].")
    ] = None,
    trained: Annotated[
        bool, typer.Option("--trained", help="A method that learns from training scans.")
    ] = False,
) -> None:
    """Write a package that installs and passes: one module, its tests, pyproject.toml and README.

    What it does is a small example of its kind; put your own arithmetic in its place.
    """
    from harmobench.plain import plain
    from harmobench.scaffold.package import Package, write_package

    package = Package(kind, name, trained)
    out = folder if folder is not None else Path(package.distribution)
    for path in write_package(package, out):
        print(plain(f"written: {path}"))
    print("\nNext:")
    for line in next_commands(out, name, package.options):
        print(plain(f"  {line}"))


def next_commands(folder: Path, name: str, options: str) -> list[str]:
    """Return what to type next, up to a report with the new plugin in it."""
    # without ./ pip would take it for a package's name
    place = str(folder) if folder.is_absolute() else f"./{folder}"
    return [
        f"pip install -e {shlex.quote(place)}",
        f"harmobench check {name}",
        "harmobench simulate phantom --resolution 4     # or your own matched.csv",
        f"harmobench run --cohort phantom/matched.csv {options} --preset quick",
    ]
