"""Running a method's commands: what names stand for, what is missing here, and how they end."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harmobench.errors import MeasurementError, MethodError
from harmobench.outside import words
from harmobench.outside.commands import FOREIGN
from harmobench.outside.recipe import Recipe
from harmobench.tools import program

# Libraries beneath R, MATLAB and numpy count the machine's cores unless they are told.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@contextmanager
def workspace(scratch: Path | None = None) -> Iterator[Path]:
    """Give a folder of its own, below `scratch` where there is one, removed at the end."""
    with tempfile.TemporaryDirectory(
        dir=scratch, prefix="harmobench-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder).resolve()


def empty(folder: Path) -> Path:
    """Make the {data} of a command that reads no images of the run.

    It is not {dir} itself: container engines refuse to show one folder twice.
    """
    data = folder / "data"
    data.mkdir(exist_ok=True)
    return data


def of_machine(recipe: Recipe, folder: Path, data: Path) -> dict[str, Any]:
    """Return what names stand for that hang on the machine alone.

    Parameters
    ----------
    recipe
        The method.
    folder
        Where the command runs; {dir}.
    data
        The folder that holds all images that it reads; {data}.
    """
    own = {"package": recipe.package, "python": sys.executable}
    return {**recipe.where(), **own, "dir": folder, "data": data}


def missing(recipe: Recipe) -> str | None:
    """None where the program is here; else what was looked for, and what to do."""
    unset = [recipe.variable(name) for name, value in recipe.where().items() if not value]
    if unset:
        return f"expected the variable {' and '.join(unset)} to say where it is, found it unset"
    here = of_machine(recipe, Path("/"), Path("/"))
    before = words.fill(recipe.before(), here)
    name = words.fill(recipe.transform[:1], here)[0]
    if program.find(name, prefix=shlex.join(before)) is not None:
        return None
    wanted = f"{before[0]} of its prefix" if before else name
    todo = recipe.install or "install it"
    variables = " or ".join(map(recipe.variable, (*recipe.places, "prefix")))
    return f"expected the program {wanted}, found none: {todo}, or set {variables}"


def version(recipe: Recipe) -> str:
    """First line that the version command prints; "" where there is no such command."""
    if not recipe.version:
        return ""
    with workspace() as folder:
        here = of_machine(recipe, folder, empty(folder))
        before = shlex.join(words.fill(recipe.before(), here))
        text = program.ask(words.fill(recipe.version, here), prefix=before)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "version unknown"


def run(
    recipe: Recipe,
    step: str,
    values: Mapping[str, Any],
    minutes: float,
    log: Path | None = None,
) -> str:
    """Run the command of a step and return what it printed.

    Parameters
    ----------
    recipe
        The method.
    step
        "fit" or "transform".
    values
        What each name in braces stands for.
    minutes
        Time limit.
    log
        File that keeps what it prints; without one, what a command printed that failed goes to
        standard error, which a run keeps.

    Raises
    ------
    MethodError
        It cannot be started, took too long, was killed, or ended with another status than 0.
    """
    template: Sequence[str] = getattr(recipe, step)
    _refuse_options(template, values)
    folder = Path(values["dir"])
    own = log or folder / ".said.txt"
    try:
        return program.run(
            words.fill(template, values),
            folder,
            minutes=minutes,
            prefix=shlex.join(words.fill(recipe.before(), values)),
            log=own,
            environment=dict.fromkeys(THREADS, str(values["threads"])),
        )
    except MeasurementError as error:
        if log is None and own.is_file():
            print(own.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        raise MethodError(f"{step} of {recipe.name}: {error}") from error


def _refuse_options(template: Sequence[str], values: Mapping[str, Any]) -> None:
    for name in FOREIGN:
        if f"{{{name}}}" in template and str(values[name]).startswith("-"):
            raise MethodError(
                f"expected a {name} that a program cannot take for an option, found "
                f"'{values[name]}'"
            )
