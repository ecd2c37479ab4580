"""Text of a manifest that cannot stand in a name, and files that are no manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmobench import cells
from harmobench.cells import cell_faults, header_faults, read_cells
from harmobench.errors import HarmobenchError


def written(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\r\n\r\n , \n1,2\n\n3,4")
    assert read_cells(path) == [(1, ["a", "b"]), (4, ["1", "2"]), (6, ["3", "4"])]


@pytest.mark.parametrize("odd", ["\n", "\r", "\x1b", "\x07", "\u202e", "\u2066", "\u2028", "\x85"])
@pytest.mark.parametrize("column", ["subject", "scanner", "site", "image"])
def test_what_moves_a_cursor_or_turns_the_writing_is_refused(odd: str, column: str) -> None:
    (fault,) = cell_faults(7, {"other": "plain", column: f"s{odd}1"})
    assert fault.startswith(f"row 7, column {column}: expected text on one line, found a ")
    assert f"U+{ord(odd):04X}" in fault
    assert odd not in fault
    assert len(list(header_faults(["subject", f"a{odd}b"]))) == 1


def test_a_quoted_line_break_is_not_lost_in_silence(tmp_path: Path) -> None:
    rows = read_cells(written(tmp_path, 'subject,scanner\n"0\n1",A\n'))
    assert rows[1] == (3, ["0\n1", "A"])
    assert "a line break (U+000A)" in next(cell_faults(3, {"subject": rows[1][1][0]}))


def test_names_end_at_200_characters_and_other_text_does_not() -> None:
    row = {"subject": "s" * 200, "notes": "n" * 5000, "image": "i" * 300}
    assert not list(cell_faults(2, row))
    for column in ("subject", "scanner", "group"):
        (fault,) = cell_faults(2, {column: "s" * 201})
        assert "expected a name of at most 200 characters, found 201" in fault
        assert len(fault) < 200
    assert len(list(header_faults(["c" * 201]))) == 1


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"]), max_size=200))
def test_every_script_s_letters_are_taken(name: str) -> None:
    assert not list(cell_faults(2, {"subject": name, "scanner": name}))


def test_what_is_no_table_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarmobenchError, match="found a NUL character in line 2 of"):
        read_cells(written(tmp_path, "a,b\n1\0,2\n"))
    with pytest.raises(HarmobenchError, match=r"found a fault in line 2 of .*field.* limit"):
        read_cells(written(tmp_path, "a,b\n" + "x" * 200_000 + ",2\n"))
    monkeypatch.setattr(cells, "MOST_BYTES", 1000)
    with pytest.raises(HarmobenchError, match="expected a manifest of at most"):
        read_cells(written(tmp_path, "a,b\n" + "1,2\n" * 300))
