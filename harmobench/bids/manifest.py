"""The manifest of a BIDS dataset, as text, with paths relative to where it is written."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from harmobench.bids.cohort import Found, Row
from harmobench.errors import SettingsError
from harmobench.store import write_text

COLUMNS = ("image", "mask", "native_image", "to_native")


def manifest_text(found: Found, out: Path) -> str:
    """Return rows with subject, scanner, files, covariates; the columns that any row has."""
    files = [name for name in COLUMNS if any(name in row.files for row in found.rows)]
    covariates = list(dict.fromkeys(name for row in found.rows for name in row.values))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["subject", "scanner", *files, *covariates])
    for row in found.rows:
        paths = [_path(row, name, out) for name in files]
        texts = [row.values.get(name, "") for name in covariates]
        writer.writerow([row.subject, row.scanner, *paths, *texts])
    return stream.getvalue()


def _path(row: Row, name: str, out: Path) -> str:
    if name not in row.files:
        return ""
    return relative(row.files[name], out.absolute().parent)


def relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder; the whole path where they share only the root."""
    whole = path.absolute()
    if len(_shared(whole, folder)) < 2:
        return str(whole)
    # of real folders: what ".." means where a link was followed
    return os.path.relpath(whole.parent.resolve() / whole.name, folder.resolve())


def _shared(one: Path, other: Path) -> Sequence[str]:
    return [a for a, b in zip(one.parts, other.parts, strict=False) if a == b]


def write_manifest(out: Path, text: str, overwrite: bool) -> None:
    """Write a manifest; one that is there is left unless it is the same or may be replaced.

    Raises
    ------
    SettingsError
        It would be written over, or is named as no table.
    """
    if out.suffix.lower() != ".csv":
        raise SettingsError(f"--out: expected a file with the ending .csv, found {out}")
    if out.is_dir():
        raise SettingsError(f"--out: expected a file to write, found a folder at {out}")
    if out.exists() and not overwrite and out.read_bytes() != text.encode():
        raise SettingsError(
            f"--out: found another manifest at {out}: name another file, or add --overwrite"
        )
    write_text(out, text)
