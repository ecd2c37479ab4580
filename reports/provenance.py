"""What a run was: the line under every table, and the facts of the last section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FACTS = (
    ("version", "harmobench"),
    ("run_id", "Run"),
    ("command", "Command"),
    ("seed", "Seed"),
    ("preset", "Preset"),
    ("device", "Device"),
    ("cohort_hash", "Cohort hash"),
    ("target", "Target scanner"),
    ("group", "Clinical groups"),
    ("covariates", "Covariates"),
    ("segmenters", "Segmenters"),
    ("morphometry", "Region measures"),
    ("metrics", "Metrics"),
)


def provenance_line(settings: Mapping[str, Any]) -> str:
    """Version, cohort, run and seed, as every table prints them."""
    known = (
        ("harmobench", settings.get("version")),
        ("cohort", settings.get("cohort_hash")),
        ("run", settings.get("run_id")),
        ("seed", settings.get("seed")),
    )
    return "; ".join(f"{name} {'unknown' if v is None else v}" for name, v in known) + "."


def facts(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was asked, on what, with what: (name, value), unknown ones left out."""
    found = [(name, _fact(settings.get(key))) for key, name in FACTS]
    for key in ("cohort", "atlas"):
        part = settings.get(key)
        if isinstance(part, Mapping):
            found += [
                (f"{key.capitalize()}: {name}", spoken(value))
                for name, value in sorted(part.items())
                if name != "reference"
            ]
    return [(name, value) for name, value in found if value]


def _fact(value: Any) -> str:
    """Return plugins by name with their parameters, anything else as it is."""
    if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
        return "; ".join(_plugin(str(name), part) for name, part in value.items())
    return spoken(value)


def _plugin(name: str, part: Mapping[str, Any]) -> str:
    version, parameters = part.get("version"), dict(part.get("parameters") or {})
    text = f"{name}: {version}" if version else name
    return f"{text} ({spoken(parameters)})" if parameters else text


def spoken(value: Any) -> str:
    """Return a setting as text: lists with commas, mappings as name = value.

    >>> spoken(["a", "b"]), spoken({"k": 1}), spoken(None), spoken(True)
    ('a, b', 'k = 1', '', 'yes')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {spoken(item) or 'none'}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(spoken(item) for item in value)
    return str(value)
