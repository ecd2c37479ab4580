"""Base classes that leave a plugin only its own arithmetic to write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from harmobench.errors import MethodError
from harmobench.interface import Cohort, Context, Needs, Reference, Scan, State

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = "/"


@dataclass
class Learner:
    """What methods share: saves its fields as JSON and its arrays as safetensors.

    Subclass `Method` or `MeasureMethod` as a dataclass. Attributes that end in `_` are what was
    learned: numpy arrays, dicts of numpy arrays (a network's weights), or what JSON can hold. Never
    pickle, so a downloaded model cannot run code.
    """

    needs: ClassVar[Needs] = Needs()
    reference: ClassVar[Reference]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def check(self, scanners: Sequence[str] = ()) -> None:
        """Refuse parameters that cannot be used, here on a cohort of `scanners` where given.

        Raises
        ------
        SettingsError
            What was expected, and what was found.
        """

    def unsuited(self, cohort: Cohort) -> str | None:
        """Say why this method cannot be used on a cohort; None where it can.

        A method that was named is then refused; one of `--methods all` is left out, and that is
        said.
        """
        return None

    def save(self, folder: Path) -> None:
        """Write model.json, and arrays.safetensors where there are arrays."""
        from safetensors.numpy import save_file

        learned = {k: v for k, v in vars(self).items() if k.endswith("_")}
        arrays: dict[str, Any] = {}
        plain: dict[str, Any] = {}
        for name, value in learned.items():
            if isinstance(value, np.ndarray):
                arrays[name] = value
            elif isinstance(value, dict) and any(isinstance(v, np.ndarray) for v in value.values()):
                _refuse_mixed(name, value)
                arrays |= {f"{name}{SEPARATOR}{key}": v for key, v in value.items()}
            else:
                plain[name] = value
        folder.mkdir(parents=True, exist_ok=True)
        parameters = {f.name: getattr(self, f.name) for f in fields(self)}
        data = {"parameters": parameters, "learned": plain}
        text = json.dumps(data, indent=1, sort_keys=True, default=_plain_number)
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")
        stored = folder / "arrays.safetensors"
        stored.unlink(missing_ok=True)  # of an older model in the same folder
        if arrays:
            save_file({k: np.require(v, requirements="C") for k, v in arrays.items()}, str(stored))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        MethodError
            No model in the folder, one of other parameters, or a damaged one.
        """
        path = folder / "model.json"
        parameters, learned = _read_model(path)
        known = {f.name: f for f in fields(cls)}
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            raise MethodError(
                f"expected the parameters of {cls.__name__} in {path}, found {', '.join(unknown)}"
            )
        try:
            model = cls(**{k: _tuples(v) for k, v in parameters.items()})
        except (TypeError, ValueError) as error:
            raise MethodError(
                f"{cls.__name__} refused its parameters in {path}: {error}"
            ) from error
        for name, value in learned.items():
            setattr(model, _learned(cls, name, path), value)
        arrays = folder / "arrays.safetensors"
        for name, array in _read_arrays(arrays).items():
            _place(model, name, array, _learned(cls, name.partition(SEPARATOR)[0], arrays))
        return model


@dataclass
class Method(Learner):
    """A `Harmonizer`: changes images."""

    def fit(self, train: Cohort, validation: Cohort | None, context: Context) -> Self:
        """Learn nothing; methods that learn override this."""
        return self

    def transform(self, scan: Scan) -> Scan:
        """Return `scan.with_voxels(harmonized)`."""
        raise NotImplementedError(f"{type(self).__name__} has no transform")


@dataclass
class MeasureMethod(Learner):
    """A `MeasureHarmonizer`: changes what was measured on RAW, and no image."""

    def fit(self, table: pd.DataFrame, context: Context) -> Self:
        """Learn nothing; methods that learn override this."""
        return self

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the same rows with harmonized values."""
        raise NotImplementedError(f"{type(self).__name__} has no transform")


def _refuse_mixed(name: str, value: Mapping[Any, Any]) -> None:
    if not all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in value.items()):
        raise MethodError(
            f"attribute '{name}': expected a dictionary of names to arrays alone, found other keys "
            "or values in it: keep them in another attribute"
        )


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected what JSON can hold, found {type(value).__name__}")


def _read_model(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of a saved model, and what it learned beside arrays."""
    if not path.is_file():
        raise MethodError(f"expected a saved model, found no model.json in {path.parent}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MethodError(f"expected JSON in {path}, found a damaged file: {error}") from error
    table = data if isinstance(data, dict) else {}
    parameters, learned = table.get("parameters"), table.get("learned")
    if not (isinstance(parameters, dict) and isinstance(learned, dict)):
        raise MethodError(f"expected the tables parameters and learned in {path}, found others")
    return parameters, learned


def _read_arrays(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    if not path.exists():
        return {}
    if not path.is_file():  # to open a pipe would wait for ever
        raise MethodError(f"expected a model's arrays, found no file at {path}")
    try:
        return dict(load_file(str(path)))
    except Exception as error:  # its header may claim anything
        raise MethodError(
            f"expected a model's arrays in {path}, found a damaged file: "
            f"{type(error).__name__}: {error}"
        ) from error


def _learned(cls: type, name: str, path: Path) -> str:
    """Refuse what would take the place of something that is not learned."""
    if not name.endswith("_") or name.startswith("_") or hasattr(cls, name):
        raise MethodError(
            f"expected names of what {cls.__name__} learned in {path}, which end in _, "
            f"found '{name[:80]}'"
        )
    return name


def _place(model: object, name: str, array: Any, owner: str) -> None:
    key = name.partition(SEPARATOR)[2]
    if not key:
        setattr(model, owner, array)
        return
    arrays = vars(model).setdefault(owner, {})
    if not isinstance(arrays, dict):
        raise MethodError(
            f"expected one kind of value for '{owner}', found an array beside another"
        )
    arrays[key] = array


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


class Stateless:
    """A metric that needs no summary of a method's scans."""

    def prepare(self, scan: Scan, context: Context) -> State | None:
        """Need nothing."""
        return None

    def merge(self, states: Sequence[State], context: Context) -> State:
        """Merge nothing."""
        return {}
