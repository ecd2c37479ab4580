"""Options from the command line over those of a TOML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from harmobench.errors import SettingsError, nearest
from harmobench.job import Options
from harmobench.tomls import read_toml

PATHS = ("cohort", "out", "biomarkers", "cluster")
LISTS = ("set", "precomputed", "measures", "margin")
JOINED = ("methods", "metrics", "segmenters", "covariates")


def read_options(given: Mapping[str, Any], config: Path | None) -> Options:
    """Merge what was typed over what a file says.

    Parameters
    ----------
    given
        Options that were typed, by name.
    config
        TOML with the same names; lists may be TOML lists, and parameters a table `[set.ravel]`.
        Paths in it are relative to the file.

    Raises
    ------
    SettingsError
        No manifest, an unknown name, or a value of another type.
    """
    merged = (_from_file(config) if config is not None else {}) | {
        name: value for name, value in given.items() if name not in LISTS
    }
    for name in LISTS:
        merged[name] = (*merged.get(name, ()), *given.get(name, ()))
    if "cohort" not in merged:
        raise SettingsError("--cohort: expected a manifest such as matched.csv, found none")
    merged.setdefault("out", Path(f"{Path(merged['cohort']).stem}-harmobench"))
    return Options(**merged)


def sets_of(config: Path | None) -> tuple[str, ...]:
    """Parameters that a TOML file sets, as `--set` texts; none where there is no file."""
    return tuple(_from_file(config).get("set", ())) if config is not None else ()


def _from_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SettingsError(f"--config: expected a TOML file, found none at {path}")
    try:
        data = read_toml(path)
    except ValueError as error:
        raise SettingsError(f"--config: expected TOML in {path}, found {error}") from error
    known = {field.name for field in fields(Options)}
    for name in data:
        if name not in known:
            hint = nearest(name, known)
            raise SettingsError(f"--config: {path} has an unknown option '{name}'{hint}")
    try:
        return {name: _value(name, value, path) for name, value in data.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"--config: {path}: {error}") from error


def _value(name: str, value: Any, path: Path) -> Any:
    if name in PATHS and isinstance(value, str):
        return path.parent / value
    if name == "atlas" and isinstance(value, str) and value != "builtin":
        return str(path.parent / value)
    if name == "set":
        return tuple(_sets(value))
    if name == "margin":
        return tuple(_texts(name, value))
    if name in ("precomputed", "measures"):
        return tuple(_relative(text, path.parent) for text in _texts(name, value))
    if name in JOINED and isinstance(value, list):
        return ",".join(str(item) for item in value)
    kind = {"folds": int, "seed": int, "repeats": int, "workers": int}.get(name, str)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SettingsError(
            f"--config: {path}, option '{name}': expected {kind.__name__}, found {value!r}"
        )
    return value


def _sets(given: Any) -> list[str]:
    if not isinstance(given, dict):
        return _texts("set", given)
    texts = []
    for owner, parameters in given.items():
        if not isinstance(parameters, dict):
            raise ValueError(f"expected a table [set.{owner}] of parameters, found {parameters!r}")
        texts += [f"{owner}.{name}={json.dumps(value)}" for name, value in parameters.items()]
    return texts


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"option '{name}': expected a list of texts, found {value!r}")
    return list(value)


def _relative(text: str, folder: Path) -> str:
    name, equals, pattern = text.partition("=")
    return f"{name}{equals}{folder / pattern}" if equals else text
