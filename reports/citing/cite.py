"""`harmobench cite`: a paragraph and BibTeX for exactly what ran in a run."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harmobench.completing import run_folders
from harmobench.errors import SettingsError

if TYPE_CHECKING:
    from harmobench.interface import Finished
    from harmobench.reports.citing.words import Entry

FORMATS = ("all", "text", "bibtex")


def cite(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A finished run's folder.", autocompletion=run_folders),
    ],
    format: Annotated[
        str, typer.Option(help="all; text: the paragraph alone; bibtex: the entries alone.")
    ] = "all",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.bib", help="Write the BibTeX to a new file.")
    ] = None,
) -> None:
    """Print what to write of a run and what to cite: what ran, and nothing else.

    RUN/references.bib has the same entries.
    """
    from harmobench.damage import naming_damage
    from harmobench.finish import finished
    from harmobench.plain import plain
    from harmobench.reports.citing.bibtex import references_bib

    if format not in FORMATS:
        raise SettingsError(f"--format: expected one of {', '.join(FORMATS)}, found '{format}'")
    run = finished(folder)
    with naming_damage(folder):
        bib = references_bib(run)
        # long lines: they are there to copy
        texts = paragraphs(run) if format != "bibtex" else []
    if out is not None:
        write_new(out, bib)
    if out is None and format != "text":
        texts.append(bib.rstrip("\n"))
    print(plain("\n\n".join(texts)) if texts else f"written: {out}")
    if out is not None and texts:
        sys.stderr.write(f"written: {out}\n")


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there; one that holds this text already may stay.

    Raises
    ------
    SettingsError
        Another file is there, or it cannot be written.
    """
    if path.suffix != ".bib":
        raise SettingsError(f"--out: expected a file ending in .bib, found '{path}'")
    try:
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") == text:
            return
        with path.open("x", encoding="ascii", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise SettingsError(
            f"--out: expected a new file, found {path} with other references in it: name another"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"--out: expected a file that can be written, found {path}: {error.strerror}"
        ) from error


def paragraphs(run: Finished) -> list[str]:
    """Return the report's methods text, with authors and years in place of numbers."""
    from harmobench.reports.citing.words import bibliography, methods_text

    names = authors_and_years(bibliography(run))

    def mark(entries: Sequence[Entry]) -> str:
        return f"({'; '.join(names[entry.number] for entry in entries)})"

    return methods_text(run, mark)


def authors_and_years(entries: Sequence[Entry]) -> dict[int, str]:
    """Return "Author, year" by number; works that would look alike get a, b, c."""
    from harmobench.references import OWN
    from harmobench.reports.citing.people import short

    names: dict[int, str] = {}
    for entry in entries:
        reference = entry.reference
        own = reference.title == OWN.title
        name = "harmobench" if own else short(reference.authors, reference.year)
        named = bool(reference.authors)
        names[entry.number] = name if named else textwrap.shorten(reference.title, 60)
    alike: dict[str, list[int]] = {}
    for number, name in names.items():
        alike.setdefault(name, []).append(number)
    for name, numbers in alike.items():
        for place, number in enumerate(numbers if len(numbers) > 1 else ()):
            names[number] = f"{name}{chr(ord('a') + place)}"
    return names
