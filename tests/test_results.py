"""The tables of a run: one order, fixed types, the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench import results
from harmobench.errors import HarmobenchError
from harmobench.results import (
    AGGREGATE_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    FAILURE_COLUMNS,
    FLOATS,
    INTEGERS,
    SCORE_COLUMNS,
    read_table,
    table,
    write_table,
)

ALL = (SCORE_COLUMNS, AGGREGATE_COLUMNS, COMPARISON_COLUMNS, COST_COLUMNS, FAILURE_COLUMNS)
NAMES = st.sampled_from(["raw", "ravel", "é|,\"'\n", "", "01", "1e3", "NA"])
SCORES = st.lists(
    st.fixed_dictionaries(
        {
            **{name: st.just("") for name in SCORE_COLUMNS if name not in INTEGERS},
            "method": NAMES,
            "subject": NAMES,
            "scanner": NAMES,
            "fold": st.integers(-1, 5) | st.none(),
            "value": st.floats(allow_nan=False) | st.none(),
        }
    ),
    max_size=8,
    unique_by=lambda row: (row["method"], row["subject"], row["scanner"], row["fold"] or -1),
)


def key_of(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    names = [name for name in frame.columns if name not in FLOATS]
    return [tuple(row) for row in frame[names].itertuples(index=False)]


@pytest.mark.parametrize("columns", ALL)
def test_columns_and_types_are_fixed_with_rows_or_without(columns: tuple[str, ...]) -> None:
    row = {name: None if name in FLOATS else 2 if name in INTEGERS else "raw" for name in columns}
    full = table([row | {"unheard of": 1}], columns)
    for frame in (full, table([], columns)):
        assert tuple(frame.columns) == columns
        for name in columns:
            kind = frame[name].dtype.kind
            if name in FLOATS:
                assert frame[name].dtype == np.float64
            elif name in INTEGERS:
                assert frame[name].dtype == np.int64
            else:
                assert kind not in "fiub", name
    assert [full[name][0] for name in columns if name not in FLOATS] == [
        row[name] for name in columns if name not in FLOATS
    ]
    assert all(np.isnan(full[name][0]) for name in columns if name in FLOATS)


def test_what_is_none_is_empty_text_or_minus_one() -> None:
    row: dict[str, object] = dict.fromkeys(SCORE_COLUMNS)
    frame = table([row, row | {"method": "raw", "fold": 0}], SCORE_COLUMNS)
    assert list(frame["method"]) == ["", "raw"]
    assert list(frame["fold"]) == [-1, 0]
    assert list(frame["reason"]) == ["", ""]
    left_out = table([{}, {"method": "raw", "fold": 0}], SCORE_COLUMNS)
    pd.testing.assert_frame_equal(left_out, frame)


@settings(deadline=None, max_examples=30)
@given(SCORES)
def test_rows_are_sorted_and_none_is_lost(rows: list[dict[str, object]]) -> None:
    frame = table(list(rows), SCORE_COLUMNS)
    keys = key_of(frame)
    assert keys == sorted(keys)
    assert sorted(frame["method"]) == sorted(str(row["method"]) for row in rows)
    assert list(frame.index) == list(range(len(rows)))


@settings(deadline=None, max_examples=20)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], random: object
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    write_table(table(list(rows), SCORE_COLUMNS), folder / "one")
    random.shuffle(rows)  # type: ignore[attr-defined]
    write_table(table(rows, SCORE_COLUMNS), folder / "two")
    for suffix in (".csv", ".parquet"):
        one, two = (folder / f"{stem}{suffix}" for stem in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["one.csv", "one.parquet", "two.csv", "two.parquet"]
    )


@settings(deadline=None, max_examples=20)
@given(SCORES)
def test_a_table_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    stem = tmp_path_factory.mktemp("tables") / "scores"
    frame = table(rows, SCORE_COLUMNS)
    write_table(frame, stem)
    pd.testing.assert_frame_equal(read_table(stem, SCORE_COLUMNS), frame)
    csv = pd.read_csv(stem.with_suffix(".csv"), dtype=str, keep_default_na=False)
    assert list(csv["subject"]) == list(frame["subject"]), "01 stays 01, NA stays NA"
    values = [float(text or "nan") for text in csv["value"]]
    np.testing.assert_array_equal(values, frame["value"])


def test_a_dot_in_a_name_cuts_nothing_off(tmp_path: Path) -> None:
    folder = tmp_path / "run.v1"
    folder.mkdir()
    write_table(
        table([dict.fromkeys(COST_COLUMNS, 1) | {"task": "fit"}], COST_COLUMNS), folder / "costs"
    )
    assert read_table(folder / "costs", COST_COLUMNS)["seconds"][0] == 1.0


def test_a_run_that_did_not_finish_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarmobenchError, match=r"finished run.*no scores\.parquet.*same --out"):
        read_table(tmp_path / "scores", SCORE_COLUMNS)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from(["raw", "mispel", "ravel"]), max_size=30),
    st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=30, max_size=30),
    st.integers(1, 9),
)
def test_pieces_are_written_as_the_whole_is(
    tmp_path_factory: pytest.TempPathFactory, methods: list[str], values: list[float], rows: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    made: list[dict[str, object]] = [
        {"method": method, "subject": f"{i}", "value": value, "reason": 'a "b", c' * (i % 2)}
        for i, (method, value) in enumerate(zip(methods, values, strict=False))
    ]
    whole = table(made, SCORE_COLUMNS)
    pieces = [
        table([row for row in made if row["method"] == method], SCORE_COLUMNS)
        for method in sorted(set(methods))
    ] or [whole]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "ROWS", rows)
        results.write_pieces(pieces, folder / "pieces")
        write_table(whole, folder / "whole")
    for suffix in (".parquet", ".csv"):
        found = (folder / f"pieces{suffix}").read_bytes()
        assert found == (folder / f"whole{suffix}").read_bytes(), suffix
    whole.to_csv(folder / "plain.csv", index=False, lineterminator="\n")
    assert (folder / "pieces.csv").read_bytes() == (folder / "plain.csv").read_bytes()


def test_a_table_has_the_bytes_that_pandas_writes(tmp_path: Path) -> None:
    made: list[dict[str, object]] = [{"method": f"m{i}", "value": i / 7} for i in range(50)]
    frame = table(made, SCORE_COLUMNS)
    write_table(frame, tmp_path / "own")
    frame.to_parquet(tmp_path / "pandas.parquet", index=False, compression="zstd")
    assert (tmp_path / "own.parquet").read_bytes() == (tmp_path / "pandas.parquet").read_bytes()
