"""Plugins as a run uses them: with parameters, as plain data that a worker can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from harmobench.base import MeasureMethod, Method
from harmobench.errors import PluginError
from harmobench.interface import CONTROLS, Needs, Piecewise
from harmobench.registry import KINDS, Plugin, build, find, name_fault, plugins

# What a plugin of each kind must have, of the protocols in `harmobench.interface`.
CONTRACT = {
    "methods": ("fit", "transform", "save", "load"),
    "measure_methods": ("fit", "transform", "save", "load"),
    "metrics": ("level", "reads", "better", "range", "structures", "prepare", "merge", "score"),
    "statistics": ("mode", "aggregate", "compare"),
    "segmenters": ("available", "version", "segment"),
    "morphometry": ("reads", "structures", "measure"),
    "reports": ("write",),
}
METHODS = ("methods", "measure_methods")  # one list to the user: a method has one name
UNUSED = ("group", "inputs", "gpu", "target")  # of `Needs`, by methods that change measures


@dataclass(frozen=True)
class Part:
    """A plugin as a run uses it.

    Attributes
    ----------
    name, target, distribution
        As registered.
    digest
        Of its package's source.
    parameters
        The user's, over the preset's.
    config
        The user's parameters as text, or "default".
    needs
        `Needs` of a method as a dictionary; empty for other plugins.
    changes
        What a method changes: "images", or "measures" as ComBat does.
    individual
        Whether a method is fitted on no scan at all.
    pieces
        Parameters that each piece of a `Piecewise` method changes.
    images
        For images made elsewhere: their paths by `cohort.place_of`; otherwise empty.
    reference
        Whom to cite, as a dictionary.
    version
        Of the program behind a method, segmenter or morphometry tool.
    aside
        Parameters that change nothing in its results.
    structures
        Of a morphometry tool: what it measures, to its units.
    """

    name: str
    target: str
    distribution: str
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    config: str = "default"
    needs: Mapping[str, Any] = field(default_factory=dict)
    individual: bool = False
    pieces: Sequence[Mapping[str, Any]] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    aside: Sequence[str] = ()
    structures: Mapping[str, str] = field(default_factory=dict)
    changes: str = "images"

    def __post_init__(self) -> None:
        """Refuse a name that cannot become a folder's: it may come from anyone's run.json."""
        fault = name_fault(self.name)
        if fault:
            raise PluginError(f"name of a plugin: {fault}")

    @property
    def identity(self) -> list[Any]:
        """All of the plugin that its results depend on."""
        used = {name: v for name, v in self.parameters.items() if name not in self.aside}
        return [self.name, self.target, self.digest, used, self.version]

    def piece(self, number: int) -> Part:
        """Return the method with the parameters of one of its pieces."""
        return replace(self, parameters={**self.parameters, **self.pieces[number]}, pieces=())

    def build(self) -> Any:
        """Construct the plugin with its parameters; nothing is imported that is not installed."""
        _refuse_foreign(self)
        plugin = Plugin(self.name, "methods", self.target, self.distribution)
        return build(plugin, self.parameters, preset="")


def _refuse_foreign(part: Part) -> None:
    """Refuse a class that is no installed plugin: a run folder that names it may be anyone's.

    Raises
    ------
    PluginError
        No installed plugin has this class.
    """
    if part.target in _targets():
        return
    _targets.cache_clear()  # it may have been installed meanwhile
    if part.target not in _targets():
        raise PluginError(
            f"expected an installed plugin for '{part.name}', found {part.target}, which is none: "
            f"install what brings it ({part.distribution})"
        )


@lru_cache(maxsize=1)
def _targets() -> frozenset[str]:
    # to build a command or a figure would be to run it
    kinds = (kind for kind in KINDS if kind not in ("commands", "figures"))
    return frozenset(p.target for kind in kinds for p in plugins(kind).values())


def plugin_part(plugin: Plugin, parameters: Mapping[str, Any], preset: str) -> Part:
    """Describe a plugin with its parameters.

    Raises
    ------
    PluginError, SettingsError
        Broken plugin, wrong parameters, or a method without needs.
    """
    instance = build(plugin, parameters, preset)
    _refuse_incomplete(plugin, instance)
    reference = getattr(instance, "reference", None)
    more = _method_traits(plugin, instance) if plugin.kind in METHODS else {}
    if plugin.kind in ("segmenters", "morphometry"):
        more = {"version": _version(instance), "aside": list(getattr(instance, "aside", ()))}
    return Part(
        name=plugin.name,
        target=plugin.target,
        distribution=plugin.distribution,
        digest=plugin.digest(),
        parameters=_parameters(plugin, instance),
        config=";".join(f"{k}={v}" for k, v in sorted(parameters.items())) or "default",
        reference=asdict(reference) if reference is not None else {},
        **more,
    )


def _refuse_incomplete(plugin: Plugin, instance: Any) -> None:
    lacking = [name for name in CONTRACT.get(plugin.kind, ()) if not hasattr(instance, name)]
    if lacking:
        raise PluginError(
            f"plugin '{plugin.name}' ({plugin.target}, from {plugin.distribution}): expected what "
            f"harmobench.interface says of {plugin.kind}, found no {', '.join(lacking)}"
        )


def _version(tool: Any) -> str:
    """Version of a program that can run here; "" where it cannot, or nothing is run."""
    runs = hasattr(tool, "available") and tool.available() is None
    return str(tool.version()) if runs else ""


def _parameters(plugin: Plugin, instance: Any) -> dict[str, Any]:
    """Parameters as plain data; of a class that is no dataclass whatever it has."""
    try:
        return dict(_plain(vars(instance))) if hasattr(instance, "__dict__") else {}
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(
            f"plugin '{plugin.name}' ({plugin.target}, from {plugin.distribution}): expected "
            f"parameters that JSON can hold, found others: {error}"
        ) from error


def _plain(data: Any) -> Any:
    return json.loads(json.dumps(data))


def _method_traits(plugin: Plugin, method: Any) -> dict[str, Any]:
    needs = getattr(method, "needs", None)
    if not isinstance(needs, Needs):
        raise PluginError(
            f"method '{plugin.name}' ({plugin.target}): expected a class attribute "
            f"`needs = Needs(...)`, found {needs!r}"
        )
    if needs.sees != "scan" and needs.role not in CONTROLS:
        raise PluginError(
            f"method '{plugin.name}' declares sees='{needs.sees}' in the role '{needs.role}': "
            f"only controls ({', '.join(CONTROLS)}) may look at other scans when they transform one"
        )
    if plugin.kind == "measure_methods":
        return _measure_traits(plugin, method, needs)
    return {
        "needs": _plain(asdict(needs)),
        "individual": type(method).fit is Method.fit,
        "pieces": _plain(method.pieces()) if isinstance(method, Piecewise) else [],
        "version": _version(method),
        "aside": list(getattr(method, "aside", ())),
    }


def _measure_traits(plugin: Plugin, method: Any, needs: Needs) -> dict[str, Any]:
    unused = [name for name in UNUSED if getattr(needs, name)]
    if unused or needs.sees != "scan":
        raise PluginError(
            f"method '{plugin.name}' ({plugin.target}): expected of Needs matched, folds, "
            "covariates and role alone, for it changes measures, found "
            f"{', '.join(unused) or 'sees'}"
        )
    return {
        "needs": _plain(asdict(needs)),
        "individual": type(method).fit is MeasureMethod.fit,
        "changes": "measures",
    }


def method_plugins() -> dict[str, Plugin]:
    """Return installed methods of images and of measures by name, sorted.

    Raises
    ------
    PluginError
        Two have the same name.
    """
    found = plugins("methods")
    for name, plugin in plugins("measure_methods").items():
        if name in found:
            raise PluginError(
                f"two methods are named '{name}', one of images ({found[name].target}) and one of "
                f"measures ({plugin.target}): uninstall one of them"
            )
        found[name] = plugin
    return dict(sorted(found.items()))


def plugins_of(kind: str) -> dict[str, Plugin]:
    """Return installed plugins of a kind; methods of images and of measures together."""
    return method_plugins() if kind == "methods" else plugins(kind)


def find_part(kind: str, name: str) -> Plugin:
    """Return one plugin; of methods, one of images or of measures.

    Raises
    ------
    PluginError
        No such name; the nearest one is proposed.
    """
    return plugins_of(kind).get(name) or find(kind, name)


@lru_cache(maxsize=16)
def installed(kind: str, name: str, preset: str) -> Part:
    """Describe an installed plugin with its preset's parameters."""
    return plugin_part(find_part(kind, name), {}, preset)
