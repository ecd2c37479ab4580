"""A method's model: plain text and arrays, the same after a round trip, never code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harmobench.atlas import Atlas
from harmobench.base import Method, Stateless
from harmobench.cohort import Cohort, Scan
from harmobench.errors import MethodError
from harmobench.interface import Context, Harmonizer, Needs, Reference


@dataclass
class Own(Method):
    """A method with parameters of every type."""

    rounds: int = 3
    rate: float = 0.1
    word: str = "T1"
    names: tuple[str, ...] = ("a", "b")
    nested: tuple[tuple[int, int], ...] = ((1, 2),)

    needs: ClassVar[Needs] = Needs(folds=True)
    reference: ClassVar[Reference] = Reference("Own", "N. N.", 2024)


ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
)
NAME = st.from_regex(r"[a-z][a-z0-9./_]{0,8}", fullmatch=True)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and one.dtype == other.dtype
            and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
            and one.shape == other.shape
        )
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[k], other[k]) for k in one)
    return bool(one == other)


@settings(deadline=None, max_examples=30)
@given(ARRAYS, st.dictionaries(NAME, ARRAYS, min_size=1, max_size=3), PLAIN)
def test_what_was_learned_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    array: np.ndarray,
    weights: dict[str, np.ndarray],
    plain: Any,
) -> None:
    model = Own(rounds=5, names=("x",))
    model.array_, model.weights_, model.plain_ = array, weights, plain  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("model") / "deep"
    model.save(folder)
    back = Own.load(folder)
    assert back == model, "the parameters, tuples as tuples"
    assert set(vars(back)) == set(vars(model))
    for name in ("array_", "weights_", "plain_"):
        assert same(getattr(model, name), getattr(back, name)), name


def test_the_layout_of_memory_does_not_matter(tmp_path: Path) -> None:
    model = Own()
    grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    model.fortran_ = np.asfortranarray(grid)  # type: ignore[attr-defined]
    model.strided_ = grid[:, ::-1, ::2]  # type: ignore[attr-defined]
    model.save(tmp_path)
    back = vars(Own.load(tmp_path))
    np.testing.assert_array_equal(back["fortran_"], grid)
    np.testing.assert_array_equal(back["strided_"], grid[:, ::-1, ::2])


def test_only_what_ends_in_an_underscore_was_learned(tmp_path: Path) -> None:
    model = Own()
    model.helper = 3  # type: ignore[attr-defined]
    model.save(tmp_path)
    assert not hasattr(Own.load(tmp_path), "helper")
    assert [p.name for p in tmp_path.iterdir()] == ["model.json"], "no arrays, no file of them"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        model = Own()
        model.w_ = {"b": np.ones(3), "a": np.zeros(2)}  # type: ignore[attr-defined]
        model.save(tmp_path / name)
    for file in ("model.json", "arrays.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


class Trap:
    """Unpickled, it would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("code of a model ran",))


@pytest.mark.parametrize("value", [Trap(), {"a": Trap()}, np.array([Trap()], dtype=object)])
def test_what_only_pickle_could_hold_is_not_saved(tmp_path: Path, value: object) -> None:
    model = Own()
    model.trap_ = value  # type: ignore[attr-defined]
    with pytest.raises(Exception, match=r"(?i)what JSON can hold|dtype"):
        model.save(tmp_path)


def test_a_pickle_in_a_model_s_place_is_never_run(tmp_path: Path) -> None:
    import pickle

    model = Own()
    model.w_ = np.ones(3)  # type: ignore[attr-defined]
    model.save(tmp_path)
    for name in ("arrays.safetensors", "model.json"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(Exception) as caught:  # noqa: PT011
            Own.load(tmp_path)
        assert "code of a model ran" not in str(caught.value)
        (tmp_path / name).write_bytes(kept)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match=r"expected a saved model, found no model\.json in"):
        Own.load(tmp_path)


def test_parameters_of_another_class_are_refused(tmp_path: Path) -> None:
    Own().save(tmp_path)
    data = json.loads((tmp_path / "model.json").read_text())
    data["parameters"] |= {"depth": 3, "breadth": 1}
    (tmp_path / "model.json").write_text(json.dumps(data))
    with pytest.raises(MethodError, match=r"parameters of Own in .*found breadth, depth"):
        Own.load(tmp_path)


def test_a_method_that_learns_nothing_needs_only_transform(tmp_path: Path) -> None:
    method = Own()
    atlas = Atlas("a", "s", "", *[tmp_path] * 3, {}, None, {})
    assert method.fit(Cohort(()), None, Context(0, atlas, tmp_path)) is method
    assert isinstance(method, Harmonizer)
    with pytest.raises(NotImplementedError, match="Own has no transform"):
        method.transform(Scan("01", "A", tmp_path))


def test_a_metric_without_a_summary_prepares_none(tmp_path: Path) -> None:
    context = Context(0, Atlas("a", "s", "", *[tmp_path] * 3, {}, None, {}), tmp_path)
    assert Stateless().prepare(Scan("01", "A", tmp_path), context) is None
    assert Stateless().merge([], context) == {}
