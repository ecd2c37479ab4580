"""The tables of a run as data frames, read from RUN/tables."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmobench.api.given import text_of
from harmobench.api.shown import Names
from harmobench.errors import HarmobenchError, SettingsError, nearest

if TYPE_CHECKING:
    import pandas as pd

ABOUT = ("table", "caption", "provenance")  # columns that are the same in every row
# Columns of names: a scanner may be called 1.
WORDS = {
    *("measure", "method", "note", "reason", "role", "scanner", "scanner pair", "space"),
    *("structure", "subject", "task", "tool", "units"),
}
NOTHING = "not measured"  # the first cell of a table without rows
MODES = ("paper", "rigorous")
ESCAPED = re.compile(r"^'(?=[=+\-@\t\r])")  # how CSV keeps a spreadsheet from computing


def titles(folder: Path) -> Names:
    """Return the id and title of every table of a run, HB-T2 before HB-T10."""
    paths = sorted((folder / "tables").glob("HB-T*.csv"), key=_order)
    return Names((path.stem, _title(path)) for path in paths)


def _order(path: Path) -> tuple[int, str]:
    number, _, beside = path.stem.removeprefix("HB-T").partition("-")
    return int(number) if number.isdigit() else 0, beside


def _title(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as stream:
        row: dict[str, str] = next(csv.DictReader(stream), {})
    empty = "" if any(row[name] for name in row if name not in ABOUT) else " (not measured)"
    return _split(row.get("caption", ""))[0] + empty


def _split(caption: str) -> tuple[str, str]:
    title, _, rest = caption.partition(". ")
    return title, rest


def read(folder: Path, name: str, mode: str, *, text: bool) -> pd.DataFrame:
    """Return a table as `Run.table` says.

    Raises
    ------
    HarmobenchError
        There is no such table, or nothing of it was measured.
    """
    import pandas as pd

    path = _find(folder, name, mode)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    attrs = _attrs(path, frame)
    frame = frame.drop(columns=[column for column in ABOUT if column in frame])
    if not len(frame.columns):
        raise HarmobenchError(
            f"expected numbers in {path.stem} ({attrs['title']}), found none: "
            f"{attrs['caption'].rpartition('Not measured: ')[2]}"
        )
    frame = frame[frame[frame.columns[0]] != NOTHING].reset_index(drop=True)
    frame = frame.apply(lambda column: column.str.replace(ESCAPED, "", regex=True))
    if not text:
        frame = pd.DataFrame({column: _typed(frame[column]) for column in frame})
    frame.attrs.update(attrs)
    return frame


def _find(folder: Path, name: str, mode: str) -> Path:
    if mode not in MODES:
        raise SettingsError(f"mode: expected {' or '.join(MODES)}, found '{mode}'")
    text_of("table", name, "one of the ids in `tables`, such as 'HB-T2'")
    rigorous = mode == "rigorous" and not name.endswith("-rigorous")
    wanted = f"{name}-rigorous" if rigorous else name
    known = titles(folder)
    if wanted not in known:
        also = f" with mode='{mode}'" if rigorous else ""
        raise HarmobenchError(
            f"expected one of the run's tables ({', '.join(known) or 'none'}), found "
            f"'{name}'{also}{nearest(wanted, known)}"
        )
    return folder / "tables" / f"{wanted}.csv"


def _attrs(path: Path, frame: pd.DataFrame) -> dict[str, Any]:
    about = {name: str(frame[name].iloc[0]) for name in ABOUT if name in frame and len(frame)}
    title, caption = _split(about.get("caption", ""))
    provenance = about.get("provenance", "")
    return {"id": path.stem, "title": title, "caption": caption, "provenance": provenance}


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers where a column holds any; words among them become NaN."""
    import pandas as pd

    name = str(column.name)
    numbers = pd.to_numeric(column.str.removeprefix("<"), errors="coerce")
    if name in WORDS or not numbers.notna().any():
        return column
    whole = name == "n" or name.endswith(" n")
    return numbers.astype("Int64") if whole else numbers.astype("float64")
