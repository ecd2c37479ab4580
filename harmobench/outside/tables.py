"""Tables of a `method.toml`, each held to what it may say; a fault is a ValueError."""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Collection, Mapping
from typing import Any, get_args

from harmobench.errors import nearest
from harmobench.interface import Needs, Reference, Role
from harmobench.outside import words
from harmobench.outside.commands import RESERVED

NEEDS = ("matched", "folds", "target", "covariates", "group", "inputs", "gpu", "role")
OF_A_FIT = ("matched", "folds", "target", "gpu")
PRESETS = ("quick", "default", "paper")


def refuse_unknown(given: Collection[str], known: Collection[str], what: str) -> None:
    """Refuse a name that is none of those known; the nearest one is proposed."""
    for name in given:
        if name not in known:
            raise ValueError(
                f"expected {what} among {', '.join(known) or 'none'}, found '{name}'"
                f"{nearest(name, known)}"
            )


def reference(table: Mapping[str, Any]) -> Reference:
    """Whom to cite."""
    types = {
        each.name: int if each.name == "year" else str for each in dataclasses.fields(Reference)
    }
    refuse_unknown(table, types, "keys of [reference]")
    for name in ("title", "authors", "year"):
        if name not in table:
            raise ValueError(f"[reference]: expected the key {name}, found none")
    for name, value in table.items():
        if type(value) is not types[name]:
            raise ValueError(
                f"[reference] {name}: expected {types[name].__name__}, found {value!r}"
            )
    return Reference(**table)


def needs(table: Mapping[str, Any], learns: bool) -> Needs:
    """Needs of a method; `learns` says whether it has a fit."""
    refuse_unknown(table, NEEDS, "keys of [needs]")
    for name, value in table.items():
        if name == "inputs":
            if not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
                raise ValueError(f"[needs] inputs: expected a list of names, found {value!r}")
        elif name == "role":
            if value not in get_args(Role):
                raise ValueError(
                    f"[needs] role: expected {' or '.join(get_args(Role))}, found {value!r}"
                )
        elif not isinstance(value, bool):
            raise ValueError(f"[needs] {name}: expected true or false, found {value!r}")
        elif value and name in OF_A_FIT and not learns:
            raise ValueError(f"[needs] {name}: expected it of a method with fit, found no fit")
    if learns and "folds" not in table:
        raise ValueError(
            "[needs]: expected folds = true (trained by folds: no test scan is seen) or folds = "
            "false (fitted once on all scans) of a method with fit, found neither"
        )
    return Needs(**{**table, "inputs": tuple(table.get("inputs", ()))})


def _refuse_name(name: str, table: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise ValueError(f"[{table}]: expected names of letters, digits and _, found '{name}'")
    if name in RESERVED or name.startswith("_") or name.endswith("_"):
        raise ValueError(f"[{table}]: expected another name than '{name}', which is taken")


def parameters(table: Mapping[str, Any]) -> dict[str, words.Value]:
    """Defaults of parameters."""
    for name, value in table.items():
        _refuse_name(name, "parameters")
        if not isinstance(value, str | int | float | bool):
            raise ValueError(
                f"[parameters] {name}: expected a text, a number, true or false, found {value!r}"
            )
        fault = words.fault(value)
        if fault:
            raise ValueError(f"[parameters] {name}: {fault}")
    return dict(table)


def choices(table: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Texts that a parameter may be, for those of which not all will do."""
    refuse_unknown(table, known, "parameters in [choices]")
    for name, value in table.items():
        if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
            raise ValueError(f"[choices] {name}: expected a list of texts, found {value!r}")
        if known[name] not in value:
            raise ValueError(
                f"[choices] {name}: expected the default {known[name]!r} among them, found {value}"
            )
    return {name: tuple(value) for name, value in table.items()}


def presets(table: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Parameters that each preset changes, of those that are known."""
    refuse_unknown(table, PRESETS, "[presets]")
    for preset, changed in table.items():
        if not isinstance(changed, dict):
            raise ValueError(f"expected a table [presets.{preset}], found {changed!r}")
        refuse_unknown(changed, known, f"parameters of [presets.{preset}]")
        for name, value in changed.items():
            if type(value) is not type(known[name]) or words.fault(value):
                raise ValueError(
                    f"[presets.{preset}] {name}: expected a value like {known[name]!r}, "
                    f"found {value!r}"
                )
    return {name: dict(changed) for name, changed in table.items()}


def places(table: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, str]:
    """Where things are, by default; no name may be one that a parameter has taken."""
    for name, value in table.items():
        _refuse_name(name, "places")
        if name in taken:
            raise ValueError(f"[places] {name}: expected a name that no parameter has, found one")
        if not isinstance(value, str):
            raise ValueError(f"[places] {name}: expected a text, found {value!r}")
    return dict(table)
