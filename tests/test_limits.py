"""Parameters that cannot be used are refused by name, value and what was expected."""

from __future__ import annotations

import numpy as np
import pytest

from harmobench.errors import SettingsError
from harmobench.limits import choice, number, refuse, whole


@pytest.mark.parametrize("value", [1, 5, np.int64(2)])
def test_whole_numbers_pass(value: object) -> None:
    assert whole("k", value, 1) == ""


@pytest.mark.parametrize("value", [0, -3, 1.0, 2.5, "1", "many", True, None, [1], np.nan])
def test_what_is_no_whole_number_is_named(value: object) -> None:
    expected = f"k: expected a whole number of at least 1, found {value!r}"
    assert whole("k", value, 1) == expected


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.1)])
def test_numbers_pass(value: object) -> None:
    assert number("prob", value, lambda v: 0 < v <= 1, "a share") == ""


@pytest.mark.parametrize("value", [0, 7, -1.0, "0.5", True, None, (0.5,), np.nan, np.inf, 1j])
def test_what_is_no_such_number_is_named(value: object) -> None:
    found = number("prob", value, lambda v: 0 < v <= 1, "a share")
    assert found == f"prob: expected a share, found {value!r}"


@pytest.mark.parametrize("value", ["T3", "t1", "", 1, None, ["T1"], {}])
def test_other_names_are_refused(value: object) -> None:
    found = choice("type", value, ("T1", "T2"))
    assert found.startswith(f"type: expected T1 or T2, found {value!r}")
    assert choice("type", "T2", ("T1", "T2")) == ""


def test_all_faults_are_told_at_once_and_none_is_no_error() -> None:
    refuse("X", "", "")
    with pytest.raises(SettingsError, match=r"^X cannot use these parameters: a; b$"):
        refuse("X", "a", "", "b")
