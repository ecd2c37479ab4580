"""Which programs that segment and measure were found here, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harmobench.choose import parse_sets
from harmobench.errors import PluginError, SettingsError, nearest
from harmobench.options import sets_of
from harmobench.registry import Plugin, build, plugins

SEGMENTERS = "segmenters (--segmenters NAME)"
MEASURING = "morphometry that measures (--measures NAME)"
READING = "morphometry read from finished results (--measures NAME=PLACE)"
Line = tuple[str, str, str]


def look_for_all(sets: tuple[str, ...], config: Path | None) -> dict[str, list[Line]]:
    """Look for every segmenter and morphometry tool.

    Parameters
    ----------
    sets, config
        Parameters as `harmobench run` takes them, such as where a program is.

    Returns
    -------
    dict
        By heading, the name of each tool, whether it is ready, and its version and place or what
        to do.
    """
    parameters = parse_sets((*sets_of(config), *sets))
    known = [*plugins("segmenters"), *plugins("morphometry")]
    for name in parameters if config is None else ():
        if name not in known:
            hint = nearest(name, known)
            raise SettingsError(f"--set: '{name}' neither segments nor measures{hint}")
    found: dict[str, list[Line]] = {SEGMENTERS: [], MEASURING: [], READING: []}
    for kind in ("segmenters", "morphometry"):
        for name, plugin in plugins(kind).items():
            heading, line = _look_for(plugin, parameters.get(name, {}))
            found[SEGMENTERS if kind == "segmenters" else heading].append(line)
    return found


def _look_for(plugin: Plugin, parameters: Mapping[str, Any]) -> tuple[str, Line]:
    heading = MEASURING
    try:
        tool = build(plugin, parameters)
        if getattr(tool, "reads", "") == "files":
            summary = (type(tool).__doc__ or "").strip().partition("\n")[0]
            return READING, (plugin.name, "reads", summary)
        missing = tool.available()
        if missing is not None:
            return heading, (plugin.name, "missing", missing)
        where = f", {tool.where()}" if hasattr(tool, "where") else ""
        return heading, (plugin.name, "ready", f"{tool.version()}{where}")
    except PluginError as error:
        return heading, (plugin.name, "broken", str(error))
