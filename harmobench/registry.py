"""Plugins by entry point: what is installed, where it comes from, and what is broken."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harmobench.errors import PluginError, SettingsError, nearest

KINDS = (
    "methods",
    "measure_methods",
    "metrics",
    "statistics",
    "segmenters",
    "morphometry",
    "reports",
    "figures",
    "commands",
)
COMPILED = (".pyc", ".pyo")
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # names of plugins become folders


def name_fault(name: object) -> str:
    """Say what is wrong with the name of a plugin; "" where nothing is.

    >>> name_fault("ravel-cv"), name_fault("../../x")[:32]
    ('', 'expected a name of letters, digi')
    """
    if isinstance(name, str) and PLAIN.fullmatch(name):
        return ""
    return (
        "expected a name of letters, digits and _ . - (at most 64, the first no . or -), found "
        f"{str(name)[:80]!r}"
    )


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes
    ----------
    name
        What users type.
    kind
        One of `KINDS`.
    target
        "module:Class".
    distribution
        Name and version of the package that brings it.
    """

    name: str
    kind: str
    target: str
    distribution: str

    def load(self) -> Any:
        """Import the class.

        Raises
        ------
        PluginError
            Its name cannot become a folder's, or it cannot be imported; the reason is in the text.
        """
        fault = name_fault(self.name)
        if fault:
            raise PluginError(f"{self._broken} {fault}. Mend or uninstall {self.distribution}")
        module, _, attribute = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self._broken} {type(error).__name__}: {error}. Mend or uninstall "
                f"{self.distribution}; "
                "after changing a package's entry points, install it again"
            ) from error
        if not callable(found):
            raise PluginError(f"{self._broken} expected a class, found {type(found).__name__}")
        return found

    def summary(self) -> str:
        """Return the first line of its documentation, or why it is broken."""
        try:
            return (self.load().__doc__ or "").strip().partition("\n")[0]
        except PluginError as error:
            return f"broken: {error}"

    @property
    def _broken(self) -> str:
        return f"plugin '{self.name}' ({self.target}, from {self.distribution}) is broken:"

    def digest(self) -> str:
        """SHA-256 of all files of the package that the class stands in, code and data."""
        module = self.target.partition(":")[0]
        return _source_digest(module)


def plugins(kind: str) -> dict[str, Plugin]:
    """Return every installed plugin of a kind by name, sorted.

    Raises
    ------
    PluginError
        Two distributions bring the same name.
    """
    if kind not in KINDS:
        raise PluginError(f"expected one of {', '.join(KINDS)}, found '{kind}'")
    found: dict[str, Plugin] = {}
    for point in entry_points(group=f"harmobench.{kind}"):
        plugin = Plugin(point.name, kind, point.value, _distribution(point))
        other = found.get(point.name)
        if other is not None and other != plugin:
            raise PluginError(
                f"two packages bring a plugin named '{point.name}' for harmobench.{kind}: "
                f"{other.distribution} ({other.target}) and {plugin.distribution} "
                f"({plugin.target}): uninstall one of them"
            )
        found[point.name] = plugin
    return dict(sorted(found.items()))


def find(kind: str, name: str) -> Plugin:
    """Return one plugin.

    Raises
    ------
    PluginError
        No such name; the nearest one is proposed.
    """
    known = plugins(kind)
    if name not in known:
        hint = nearest(name, known)
        raise PluginError(
            f"expected one of the installed {kind} ({', '.join(known) or 'none'}), "
            f"found '{name}'{hint}"
        )
    return known[name]


def build(
    plugin: Plugin, parameters: Mapping[str, Any] | None = None, preset: str = "default"
) -> Any:
    """Construct a plugin with its preset's parameters and the user's over them.

    Among the user's, "preset" names another of the plugin's own presets.

    Raises
    ------
    PluginError, SettingsError
        The plugin is broken, or a parameter is unknown or of the wrong type.
    """
    cls = plugin.load()
    chosen = _with_preset(plugin, getattr(cls, "presets", {}), dict(parameters or {}), preset)
    known = {f.name: f for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    for name, value in chosen.items():
        if name not in known:
            hint = nearest(name, known)
            raise SettingsError(
                f"'{plugin.name}' has no parameter '{name}'{hint}; "
                f"it has: {', '.join(known) or 'none'}"
            )
        chosen[name] = _fitting(plugin.name, known[name], value)
    try:
        return cls(**chosen)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"'{plugin.name}' refused its parameters: {error}") from error
    except Exception as error:  # a third party's constructor may raise anything
        raise PluginError(
            f"plugin '{plugin.name}' ({plugin.target}, from {plugin.distribution}) cannot be "
            f"constructed: {type(error).__name__}: {error}"
        ) from error


def _with_preset(
    plugin: Plugin,
    presets: Mapping[str, Mapping[str, Any]],
    given: dict[str, Any],
    preset: str,
) -> dict[str, Any]:
    if presets and "preset" in given:
        preset = str(given.pop("preset"))
        if preset not in presets:
            raise SettingsError(
                f"parameter '{plugin.name}.preset': expected one of {', '.join(presets)}, "
                f"found '{preset}'{nearest(preset, presets)}"
            )
    return {**presets.get(preset, {}), **given}


def _fitting(plugin: str, field: dataclasses.Field[Any], value: Any) -> Any:
    default = field.default
    if isinstance(value, list):
        value = tuple(value)
    if default is dataclasses.MISSING or default is None:
        return value
    if value is None and "None" in str(field.type):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"parameter '{plugin}.{field.name}': expected a finite number")
    if isinstance(default, bool) or isinstance(value, bool):
        good = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float) and isinstance(value, int):
        return float(value)
    elif isinstance(default, tuple) and not isinstance(value, tuple):
        return tuple(map(_plain, value.split(","))) if isinstance(value, str) else (value,)
    else:
        good = isinstance(value, type(default))
    if not good:
        raise SettingsError(
            f"parameter '{plugin}.{field.name}': expected {type(default).__name__} "
            f"(such as {default!r}), found {type(value).__name__} ({value!r})"
        )
    return value


def _plain(text: str) -> Any:
    """Return the number that a text is, or the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


@lru_cache(maxsize=64)
def _source_digest(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise PluginError(f"expected a Python module '{module}', found none")
    origin = Path(spec.origin)
    package = spec.name if spec.submodule_search_locations else spec.parent
    # A module of its own, outside any package, is all the source there is.
    files = sorted(_sources(origin.parent)) if package else [origin]
    return hash_files(files, origin.parent)


def _sources(folder: Path) -> Iterator[Path]:
    """Yield a package's files, of whatever kind: scripts, settings and weights make results too.

    Left out is what Python, editors and file managers leave behind: compiled and hidden files.
    """
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part == "__pycache__" or part.startswith(".") for part in parts)
        if not hidden and path.suffix not in COMPILED and path.is_file():
            yield path


def hash_files(files: list[Path], root: Path) -> str:
    """SHA-256 of files' names below `root` and contents, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        with file.open("rb") as stream:  # weights may be larger than the memory
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
