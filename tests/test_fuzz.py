"""A few hundred mutated inputs for each reader; benchmarks/fuzz.py tries as many as there is time.

Whatever a file holds, it is read, or refused with a HarmobenchError.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SPEC = importlib.util.spec_from_file_location(
    "fuzz", Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
)
assert SPEC is not None
assert SPEC.loader is not None
fuzz: Any = importlib.util.module_from_spec(SPEC)
sys.modules["fuzz"] = fuzz
SPEC.loader.exec_module(fuzz)

EXAMPLES = {"manifest": 250, "image": 150, "tables": 250, "model": 300, "toml": 80}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_valid_files_are_read(name: str, tmp_path: Path) -> None:
    target = fuzz.TARGETS[name]
    assert fuzz.attempt(target, target.start(), tmp_path) == "", "else nothing would be tested"


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_changed_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = fuzz.TARGETS[name]
    start = target.start()
    refused = []

    @settings(
        max_examples=EXAMPLES[name],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def changed(number: int) -> None:
        files = target.mutate(dict(start), Random(number))
        refused.append(fuzz.attempt(target, files, tmp_path) != "")

    changed()
    assert any(refused)
    assert not all(refused)


@pytest.mark.parametrize(("name", "error"), [("model", RuntimeError), ("toml", RecursionError)])
def test_the_fuzzer_lets_other_errors_through(
    name: str, error: type[Exception], tmp_path: Path
) -> None:
    def read(_: Path) -> None:
        raise error

    target = fuzz.Target(lambda: {"x": b"1"}, lambda files, _: files, read)
    with pytest.raises(error):
        fuzz.attempt(target, {"x": b"1"}, tmp_path)
