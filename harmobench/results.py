"""The tables of a run: their columns, their order, their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harmobench.errors import HarmobenchError

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = (
    "method",
    "config",  # parameters the user set, or "default"
    "fold",  # of the model that made the image; -1 where there are none
    "repeat",
    "tool",  # segmenter or morphometry; "" where none
    "metric",
    "structure",
    "level",
    "space",
    "units",
    "subject",
    "scanner",
    "reference_scanner",
    "value",
    "status",
    "reason",
)
AGGREGATE_COLUMNS = (
    "method",
    "config",
    "repeat",
    "tool",
    "metric",
    "structure",
    "space",
    "units",
    "aggregate",  # mean, sd, bias, bias_sd, rmsd, mean_dice, cohen_d, ...
    "scanner",
    "reference_scanner",  # both "" where over all scanners or pairs
    "value",
    "n",  # subjects (or pooled values) behind it
    "low",
    "high",
    "interval",  # how low and high were made; "" where there are none
    "mode",  # paper or rigorous
    "status",
    "reason",
)
COMPARISON_COLUMNS = (
    "method",
    "comparator",
    "repeat",
    "family",
    "tool",
    "metric",
    "structure",
    "space",
    "scanner",
    "reference_scanner",
    "test",
    "n",
    "estimate",  # mean difference, method - comparator
    "low",
    "high",
    "statistic",
    "df",
    "p",
    "p_adjusted",
    "effect",  # d_z of the differences
    "mode",
    "status",
    "reason",
)
COST_COLUMNS = ("task", "method", "tool", "fold", "seconds", "peak_mb", "device", "parameters")
FAILURE_COLUMNS = ("task", "method", "tool", "fold", "subject", "scanner", "reason")
WARNING_COLUMNS = (*FAILURE_COLUMNS[:-1], "warning")
FLOATS = frozenset(
    "value low high estimate statistic df p p_adjusted effect seconds peak_mb".split(" ")  # noqa: SIM905
)
ROWS = 1 << 20  # of a group in a .parquet: what pyarrow takes
INTEGERS = frozenset(("fold", "repeat", "n", "parameters"))


def table(rows: list[dict[str, object]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Build a table with fixed columns and types, sorted by every column that is not a number."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(columns))
    for name in columns:
        if name in FLOATS:
            frame[name] = frame[name].astype("float64")
        elif name in INTEGERS:
            frame[name] = frame[name].fillna(-1).astype("int64")
        else:
            frame[name] = frame[name].astype("object").fillna("").astype("str")
    keys = [name for name in columns if name not in FLOATS]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def write_table(frame: pd.DataFrame, stem: Path) -> None:
    """Write a table beside itself as .parquet and .csv; equal tables give equal bytes."""
    write_pieces([frame], stem)


def write_pieces(frames: Sequence[pd.DataFrame], stem: Path) -> None:
    """Write tables, one below the other, as one; the bytes are those of the whole.

    Parameters
    ----------
    frames
        At least one, all of the same columns; what is written is held `ROWS` rows at a time.
    stem
        Of the two files.
    """
    for suffix, write in ((".parquet", _write_parquet), (".csv", _write_csv)):
        final = stem.with_suffix(suffix)
        partial = final.with_name(f".{final.name}.partial")
        partial.unlink(missing_ok=True)  # a link there would be written through
        write(frames, partial)
        partial.replace(final)


def _write_csv(frames: Sequence[pd.DataFrame], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        for place, frame in enumerate(frames):
            frame.to_csv(stream, index=False, lineterminator="\n", header=place == 0)


def _write_parquet(frames: Sequence[pd.DataFrame], path: Path) -> None:
    """Write groups of `ROWS` rows, wherever one frame ends and the next begins."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.Schema.from_pandas(frames[0], preserve_index=False)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting = pa.Table.from_pandas(frames[0], schema, preserve_index=False)
        for frame in frames[1:]:
            more = pa.Table.from_pandas(frame, schema, preserve_index=False)
            waiting = pa.concat_tables([waiting, more])
            full = waiting.num_rows // ROWS * ROWS
            if full:
                writer.write_table(waiting.slice(0, full).combine_chunks(), ROWS)
                waiting = waiting.slice(full)
        if waiting.num_rows or len(frames) == 1:  # else all of it is written
            writer.write_table(waiting.combine_chunks(), ROWS)


def read_table(stem: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    Raises
    ------
    HarmobenchError
        No such table: the run did not finish.
    """
    import pandas as pd

    path = stem.with_suffix(".parquet")
    if not path.is_file():
        raise HarmobenchError(
            f"expected a finished run, found no {path.name} in {path.parent}: "
            "run `harmobench run` again with the same --out, it goes on where it stopped"
        )
    return pd.read_parquet(path, columns=list(columns))
