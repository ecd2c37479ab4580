"""Options as Python has them (lists, dictionaries, paths), as `harmobench run` reads them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from harmobench.errors import SettingsError
from harmobench.job import Options

JOINED = ("methods", "metrics", "segmenters", "covariates")  # names with commas
NUMBERS = ("folds", "seed", "repeats", "workers")
PATHS = ("out", "biomarkers", "cluster", "config")
LISTS = ("precomputed", "measures", "margin")  # texts NAME=VALUE


def plain_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in the form of the command line; those that are None are left out.

    >>> plain_options({"methods": ["raw", "ravel"], "set": {"ravel": {"k": 2}}, "out": None})
    {'methods': 'raw,ravel', 'set': ['ravel.k=2']}

    Raises
    ------
    SettingsError
        A value of another type.
    """
    return {name: _plain(name, value) for name, value in given.items() if value is not None}


def _plain(name: str, value: Any) -> Any:
    if name in NUMBERS:
        return _number(name, value)
    if name in PATHS:
        return path_of(name, value)
    if name == "set":
        return list(_parameters(value))
    if name in LISTS:
        return list(_pairs(name, value))
    if name == "slurm" and isinstance(value, Mapping):
        return _slurm(value)
    if name == "controls" and isinstance(value, bool):
        return "on" if value else "off"
    if name == "group" and isinstance(value, tuple | list) and len(value) == 3:
        return f"{value[0]}:{value[1]},{value[2]}"
    if name in JOINED and not isinstance(value, str):
        return ",".join(_texts(name, value))
    if name == "atlas" and isinstance(value, PathLike):
        return fspath(value)
    return text_of(name, value)


def _slurm(value: Mapping[str, Any]) -> str:
    if not value:
        raise SettingsError(
            "slurm: expected at least one key, such as {'queue': 'short'}, found none: leave it "
            "out to work on this machine"
        )
    return ",".join(f"{key}={text}" for key, text in value.items())


def _number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SettingsError(f"{name}: expected a whole number, found {value!r}")
    return int(value)


def path_of(name: str, value: Any) -> Path:
    """Return a path that was given as text or a path.

    Raises
    ------
    SettingsError
        Something else was given.
    """
    if not isinstance(value, str | PathLike):
        raise SettingsError(f"{name}: expected a path, found {value!r}")
    return Path(value)


def text_of(name: str, value: Any, expected: str = "text") -> str:
    """Return text that was given.

    Raises
    ------
    SettingsError
        Something else was given; it says what was `expected`.
    """
    if not isinstance(value, str):
        raise SettingsError(f"{name}: expected {expected}, found {value!r}")
    return value


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise SettingsError(f"{name}: expected names, found {value!r}")
    return [text_of(name, each) for each in value]


def _pairs(name: str, value: Any) -> Iterable[str]:
    """Texts NAME=VALUE, from a dictionary, a text or several."""
    if isinstance(value, Mapping):
        return [f"{key}={fspath(x) if isinstance(x, PathLike) else x}" for key, x in value.items()]
    return [value] if isinstance(value, str) else _texts(name, value)


def _parameters(value: Any) -> Iterable[str]:
    """Texts NAME.PARAMETER=VALUE, from dictionaries of dictionaries, a text or several."""
    if not isinstance(value, Mapping):
        return _pairs("set", value)
    texts = []
    for owner, parameters in value.items():
        if not isinstance(parameters, Mapping):
            raise SettingsError(
                f"set: expected the parameters of {owner} as a dictionary such as {{'k': 2}}, "
                f"found {parameters!r}"
            )
        texts += [f"{owner}.{name}={_json(owner, name, x)}" for name, x in parameters.items()]
    return texts


def _json(owner: str, name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError as error:
        raise SettingsError(
            f"set: expected a number, text or list for {owner}.{name}, found {value!r}"
        ) from error


def command_of(options: Options) -> str:
    """Return the command that does the same: it stands in the run folder."""
    words = ["harmobench", "run"]
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None or (value == field.default and field.name not in ("cohort", "out")):
            continue
        flag = f"--{field.name.replace('_', '-')}"
        values = value if isinstance(value, tuple) else (value,)
        words += [word for each in values for word in (flag, str(each))]
    return shlex.join(words)
