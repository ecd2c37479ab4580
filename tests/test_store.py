"""The store: whole folders or none, keys that mean their content, links that replace."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmobench.store import Store, hash_file, link, merkle, read_json, write_json, write_text

KEY = merkle("a task")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc\u00e9/|", max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store(tmp_path / "store")


def everything(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_finished_task_is_there_whole(store: Store) -> None:
    assert not store.has(KEY)
    with store.writing(KEY) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a.txt").write_text("a")
        assert not store.has(KEY), "half-written is not finished"
        assert folder != store.path(KEY)
    assert store.has(KEY)
    assert (store.path(KEY) / "deep" / "a.txt").read_text() == "a"
    assert store.path(KEY).parent.name == KEY[:2]
    assert store.path(KEY).stat().st_mode & 0o555 == 0o555, "others may read it"


def test_a_store_that_is_gone_does_not_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "moved" / "store")
    with pytest.raises(FileNotFoundError), store.writing(KEY):
        pass
    assert not (tmp_path / "moved").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_task_that_fails_leaves_nothing(store: Store, error: type[BaseException]) -> None:
    def fail() -> None:
        with store.writing(KEY) as folder:
            (folder / "a.txt").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert not store.has(KEY)
    assert everything(store.folder) == []
    assert not list(store.folder.glob("??/.*"))


def test_the_first_of_two_workers_wins_and_neither_fails(store: Store) -> None:
    with store.writing(KEY) as slow:
        (slow / "a.txt").write_text("the same")
        with store.writing(KEY) as fast:
            (fast / "a.txt").write_text("the same")
            (fast / "fast").touch()
    assert everything(store.path(KEY)) == ["a.txt", "fast"]
    assert [p.name for p in store.path(KEY).parent.iterdir()] == [KEY]


def test_sweep_removes_what_killed_tasks_left_and_nothing_else(store: Store) -> None:
    with store.writing(KEY) as folder:
        (folder / "a.txt").write_text("a")
    killed = store.path(KEY).parent / f".{KEY[:12]}-abcd"
    killed.mkdir()
    (killed / "half").touch()
    store.sweep()
    assert not killed.exists()
    assert everything(store.path(KEY)) == ["a.txt"]
    Store(store.folder.parent / "none yet").sweep()


def shuffled(value: object) -> object:
    """Turn the order of every dictionary around; the same value in other clothes."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    if isinstance(value, list):
        return tuple(shuffled(item) for item in value)
    return value


@settings(deadline=None, max_examples=50)
@given(JSON)
def test_a_key_does_not_hang_on_the_order_of_dictionaries(value: object) -> None:
    assert merkle(value) == merkle(shuffled(value))
    assert merkle(value) == merkle(json.loads(json.dumps(value))), "as a worker reads it"


def typed(value: object) -> object:
    """Tell 1, 1.0 and True, and 0.0 and -0.0 apart, as keys do."""
    if isinstance(value, dict):
        return frozenset((key, typed(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(typed(item) for item in value)
    return (type(value).__name__, repr(value))


@settings(deadline=None, max_examples=50)
@given(JSON, JSON)
def test_keys_are_equal_just_where_values_are(one: object, other: object) -> None:
    assert (merkle(one) == merkle(other)) == (typed(one) == typed(other))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text("ab", max_size=3), max_size=4))
def test_parts_do_not_run_into_each_other(parts: list[str]) -> None:
    joined = "".join(parts)
    assert merkle(*parts) == merkle(*parts)
    assert len(merkle(*parts)) == 40
    if parts != [joined]:
        assert merkle(*parts) != merkle(joined)
        assert merkle(*parts) != merkle(parts)


def test_hash_file_is_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "f").write_bytes(content)
    assert hash_file(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_link_makes_a_second_name_and_replaces_what_was_there(tmp_path: Path) -> None:
    first, second, target = tmp_path / "1", tmp_path / "2", tmp_path / "deep" / "name"
    first.write_text("one")
    second.write_text("two")
    link(first, target)
    assert target.samefile(first)
    link(first, target)
    assert first.read_text() == "one"
    (target.parent / f".{target.name}.partial").write_text("of a killed run")
    link(second, target)
    assert target.samefile(second)
    assert first.read_text() == "one", "the old content keeps its own name"
    assert everything(target.parent) == ["name"]


def test_where_no_link_can_be_made_a_copy_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    target.write_text("old")
    source.write_text("new")
    link(source, target)
    assert target.read_text() == "new"
    assert not target.samefile(source)


@settings(deadline=None, max_examples=30)
@given(JSON)
def test_json_comes_back_and_has_one_form(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    folder = tmp_path_factory.mktemp("json")
    write_json(folder / "deep" / "a.json", value)
    write_json(folder / "b.json", shuffled(value))
    assert read_json(folder / "deep" / "a.json") == value
    assert (folder / "deep" / "a.json").read_bytes() == (folder / "b.json").read_bytes()


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert read_json(path) == {"old": 1}
