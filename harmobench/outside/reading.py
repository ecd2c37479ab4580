"""Reading a `method.toml`: the first fault is refused, in one sentence with the file's name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from harmobench.errors import PluginError
from harmobench.outside import commands, tables, words
from harmobench.outside.recipe import ENDINGS, Recipe
from harmobench.registry import name_fault
from harmobench.tomls import read_toml

TEXTS = ("name", "summary", "install", "images")
COMMANDS = ("transform", "fit", "version", "prefix")
NUMBERS = ("minutes", "fit_minutes")
TABLES = ("reference", "needs", "parameters", "choices", "presets", "places")


def read_recipe(path: Path) -> Recipe:
    """Read a `method.toml`.

    Raises
    ------
    PluginError
        The first fault, with the file's name.
    """
    if not (path.parent / "__init__.py").is_file():
        _refuse(path, f"expected it in a package, found no __init__.py in {path.parent}")
    try:
        data = read_toml(path)
        tables.refuse_unknown(data, (*TEXTS, *COMMANDS, *NUMBERS, *TABLES), "keys")
        recipe = _recipe(path, data)
        commands.check(recipe)
    except ValueError as error:
        _refuse(path, str(error))
    return recipe


def _refuse(path: Path, fault: str) -> NoReturn:
    raise PluginError(f"{path}: {fault}")


def _recipe(path: Path, data: Mapping[str, Any]) -> Recipe:
    for name in ("name", "transform", "reference"):
        if name not in data:
            raise ValueError(f"expected the key {name}, found none")
    values: dict[str, Any] = {name: _text(data, name) for name in TEXTS if name in data}
    values |= {name: _minutes(data, name) for name in NUMBERS if name in data}
    values |= {name: _words(data, name) for name in COMMANDS if name in data}
    table = {name: _table(data, name) for name in TABLES}
    fault = name_fault(values["name"])
    if fault:
        raise ValueError(f"name: {fault}")
    if values.get("images", ENDINGS[0]) not in ENDINGS:
        raise ValueError(f"images: expected {' or '.join(ENDINGS)}, found '{values['images']}'")
    return Recipe(
        path,
        reference=tables.reference(table["reference"]),
        needs=tables.needs(table["needs"], "fit" in data),
        parameters=tables.parameters(table["parameters"]),
        choices=tables.choices(table["choices"], table["parameters"]),
        presets=tables.presets(table["presets"], table["parameters"]),
        places=tables.places(table["places"], table["parameters"]),
        **values,
    )


def _text(data: Mapping[str, Any], name: str) -> str:
    if not isinstance(data[name], str):
        raise ValueError(f"{name}: expected a text, found {data[name]!r}")
    return str(data[name])


def _minutes(data: Mapping[str, Any], name: str) -> float:
    value = data[name]
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not (right and math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a number of minutes above 0, found {value!r}")
    return float(value)


def _words(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    try:
        found = words.split(data[name])
        list(words.names(found))  # each brace is one of a name
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if not found and name != "prefix":
        raise ValueError(f"{name}: expected a command, found none")
    return found


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"expected a table [{name}], found {table!r}")
    return table
