"""Which morphometry tools a run uses, and where their results stand that were made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harmobench.choose import parse_sets
from harmobench.cohort import Cohort
from harmobench.errors import AtlasError, SettingsError
from harmobench.job import Options
from harmobench.parts import Part, plugin_part
from harmobench.registry import find

BUILT_IN = "atlas-roi"
SHOWN = 5  # names that a note lists


def choose_morphometry(options: Options) -> tuple[list[Part], dict[str, str]]:
    """Choose the tools of `--measures`, and the place of each that was run before.

    Raises
    ------
    PluginError, SettingsError
        Unknown tool, wrong parameters, a place that is none or that is missing, a program that
        cannot run here.
    """
    sets = parse_sets(options.set)
    parts: list[Part] = []
    places: dict[str, str] = {}
    asked = options.measures or (BUILT_IN,)
    if "none" in asked and len(asked) > 1:
        raise SettingsError("--measures: expected none alone, found it beside others")
    for text in asked if asked != ("none",) else ():
        name, equals, place = text.partition("=")
        plugin = find("morphometry", name)
        if name in {part.name for part in parts}:
            raise SettingsError(f"--measures: expected '{name}' once, found it twice")
        parameters = {**sets.get(name, {}), **_biomarkers(plugin.load(), options)}
        part = plugin_part(plugin, parameters, options.preset)
        tool = part.build()
        if tool.reads == "files":
            places[name] = _place(name, place, tool)
        elif equals:
            raise SettingsError(f"--measures: {name} measures by itself: leave out '={place}'")
        elif (missing := tool.available()) is not None:
            raise SettingsError(f"--measures {name} cannot run here: {missing}")
        parts.append(part)
    if options.biomarkers and not any("biomarkers" in part.parameters for part in parts):
        raise SettingsError(
            "--biomarkers: expected a tool that takes them, such as --measures freesurfer=DIR, "
            f"found {', '.join(part.name for part in parts) or 'none'}"
        )
    return parts, places


def _biomarkers(tool: Any, options: Options) -> dict[str, Any]:
    if options.biomarkers is None or "biomarkers" not in getattr(tool, "__annotations__", {}):
        return {}
    from harmobench.tools.biomarkers import read_biomarkers

    return {"biomarkers": read_biomarkers(options.biomarkers)}


def _place(name: str, place: str, tool: Any) -> str:
    if not place:
        raise SettingsError(
            f"--measures: expected {name}=PLACE, where its results stand, found '{name}' alone"
        )
    fault = tool.check_place(place)
    if fault is not None:
        raise SettingsError(f"--measures {name}: {fault}")
    return place


def with_structures(
    parts: Sequence[Part], atlas: Mapping[str, Any], options: Options, notes: list[str]
) -> tuple[Part, ...]:
    """Add to each tool what it measures in the regions of this atlas.

    Raises
    ------
    AtlasError
        A tool that was asked for by name needs regions that the atlas does not have.
    """
    found = []
    for part in parts:
        structures = dict(part.build().structures(atlas["regions"]))
        if structures:
            found.append(replace(part, structures=structures))
            continue
        fault = f"{part.name} measures regions, and atlas '{atlas['name']}' has none"
        if options.measures:
            raise AtlasError(f"{fault}: add [regions] to its atlas.toml, or leave {part.name} out")
        notes.append(f"no region measures: {fault}")
    return tuple(found)


def refuse_shared(
    parts: Sequence[Part], places: Mapping[str, str], methods: Sequence[Part], cohort: Cohort
) -> None:
    """Refuse a place in which two scans have the same results.

    Raises
    ------
    SettingsError
        As "01_GE" on "A" and "01" on "GE_A" have, both being METHOD_01_GE_A.
    """
    for part in parts:
        seen: dict[Any, str] = {}
        for method in methods if part.name in places else ():
            for scan in cohort.scans:
                names = method.name, scan.subject, scan.scanner
                source = part.build().find(places[part.name], *names)
                if source is None or not source.files:
                    continue
                what = (tuple(sorted(source.files.values())), source.row)
                other = seen.setdefault(what, f"{method.name} of {scan}")
                if other != f"{method.name} of {scan}":
                    raise SettingsError(
                        f"--measures {part.name}: expected results of its own for each scan, found "
                        f"the same for {other} and {method.name} of {scan}: name a pattern that "
                        "tells them apart, such as DIR/{method}/{subject}/{scanner}"
                    )


def strangers(
    parts: Sequence[Part], places: Mapping[str, str], methods: Sequence[Part], cohort: Cohort
) -> list[str]:
    """One sentence for each tool whose place holds results of scans that are not in this run."""
    scans = [(m.name, scan.subject, scan.scanner) for m in methods for scan in cohort.scans]
    notes = []
    for part in parts:
        if part.name not in places:
            continue
        unknown = part.build().unknown(places[part.name], scans)
        if unknown:
            more = ", ..." if len(unknown) > SHOWN else ""
            notes.append(
                f"{part.name}: {len(unknown)} results are of no scan and method of this run: "
                f"{', '.join(unknown[:SHOWN])}{more}"
            )
    return notes
