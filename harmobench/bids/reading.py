"""Tables and sidecars of a BIDS dataset, read so that a broken one becomes a fault by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harmobench.bids.names import Named, read_name
from harmobench.cells import read_cells
from harmobench.errors import HarmobenchError
from harmobench.manifest import EMPTY

MOST_BYTES = 10_000_000  # of a sidecar: the longest hold slice timings
Fields = Mapping[str, Any]


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    HarmobenchError
        It is none.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES // 10**6} MB")
        found = json.loads(content.decode("utf-8-sig"))
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise HarmobenchError(f"expected a JSON object in {path}, found {error}") from error
    return found


def read_table(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Read a .tsv as rows by one of its columns; n/a becomes empty.

    Raises
    ------
    HarmobenchError
        No table, no such column, a column without a name, a row too long or too short, or a
        column or row that stands twice.
    """
    lines = read_cells(path)
    if not lines:
        return {}
    header = [name.strip() for name in lines[0][1]]
    if key not in header:
        raise HarmobenchError(
            f"expected a column '{key}' in {path}, found {', '.join(header)[:200]}: name it so, "
            "with tabs between columns"
        )
    _refuse_columns(path, header)
    rows: dict[str, dict[str, str]] = {}
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise HarmobenchError(
                f"{path}, row {number}: expected {len(header)} columns as in the header, found "
                f"{len(cells)}: put one tab between two values"
            )
        values = [cell.strip() for cell in cells]
        row = dict(zip(header, ("" if v in EMPTY else v for v in values), strict=True))
        if row[key] in rows:
            raise HarmobenchError(f"{path}, row {number}: {row[key]} stands twice: keep one row")
        rows[row[key]] = row
    return rows


def _refuse_columns(path: Path, header: Sequence[str]) -> None:
    """Refuse columns of which nobody can say which one is meant."""
    for number, name in enumerate(header, start=1):
        if not name:
            raise HarmobenchError(
                f"{path}, row 1: expected a name for column {number}, found none: name it or "
                "remove it"
            )
        if header.index(name) + 1 < number:
            raise HarmobenchError(f"{path}, row 1: column {name} stands twice: keep one column")


def sidecar_of(image: Named, root: Path) -> dict[str, Any]:
    """Fields of an image's JSON sidecars; what lies nearer to the image comes first (BIDS).

    Raises
    ------
    HarmobenchError
        One of them is broken.
    """
    fields: dict[str, Any] = {}
    inside = image.path.parent.relative_to(root).parts
    for depth in range(len(inside) + 1):
        for path in _applicable(root.joinpath(*inside[:depth]), image):
            fields |= read_object(path)
    return fields


def _applicable(folder: Path, image: Named) -> Iterator[Path]:
    fitting = [
        named
        for named in _sidecars(folder)
        if named.suffix == image.suffix and named.entities.items() <= image.entities.items()
    ]
    for named in sorted(fitting, key=lambda n: len(n.entities)):
        yield named.path


@cache
def _sidecars(folder: Path) -> tuple[Named, ...]:
    return tuple(filter(None, map(read_name, sorted(folder.glob("*.json")))))


def forget() -> None:
    """Look at folders afresh: between two readings of a dataset files may have come."""
    _sidecars.cache_clear()
