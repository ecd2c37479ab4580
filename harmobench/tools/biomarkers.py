"""Which numbers of a program's result are taken for biomarkers: the paper's four, or a user's.

A user's own stand in a file `biomarkers.toml`::

    [[biomarker]]
    name = "entorhinal"
    file = "{hemi}.aparc.stats"   # {hemi}: lh, rh; {side}: Left, Right; either, in file or row
    row = "entorhinal"
    column = "ThickAvg"
    units = "mm"                  # mm, or ml where the column is in mm^3
    combine = "sum"               # or "mean"; may be left out

Without {hemi} and {side} a biomarker is one value. Each tool says which files, rows and columns it
has; the names above are FreeSurfer's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmobench.errors import SettingsError, nearest
from harmobench.tomls import read_toml

Plain = tuple[Mapping[str, str], ...]  # biomarkers as they stand in a task's key

KEYS = ("name", "file", "row", "column", "units")
COMBINE = ("sum", "mean")
COLUMNS = {"ThickAvg": "mm", "ThickStd": "mm", "Volume_mm3": "ml", "GrayVol": "ml", "volume": "ml"}
SCALES = {"mm": 1.0, "ml": 1e-3}  # from the column's mm or mm^3
HEMISPHERES = (("lh", "Left"), ("rh", "Right"))


@dataclass(frozen=True)
class Biomarker:
    """One number a scan, of one place in a program's result or of one in each hemisphere.

    Attributes
    ----------
    structure
        As `Measure` has it.
    units
        "mm" or "ml".
    combine
        What becomes of the two hemispheres: "sum" (paper, section 2.5) or "mean".
    file, row, column
        Where it stands; {hemi} and {side} in file and row stand for the hemisphere.
    """

    structure: str
    units: str
    combine: str
    file: str
    row: str
    column: str

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """File and row of each hemisphere; one alone where neither names a hemisphere."""
        both = ((_of(self.file, *side), _of(self.row, *side)) for side in HEMISPHERES)
        return tuple(dict.fromkeys(both))

    @property
    def files(self) -> tuple[str, ...]:
        """Files that it stands in."""
        return tuple(dict.fromkeys(file for file, _ in self.places))

    def value(self, numbers: Sequence[float]) -> float:
        """Combine what stands at `places`, and bring it to `units`."""
        total = sum(numbers) * SCALES[self.units]
        return total / len(numbers) if self.combine == "mean" else total


def _of(text: str, hemi: str, side: str) -> str:
    return text.replace("{hemi}", hemi).replace("{side}", side)


def plain(name: str, file: str, row: str, column: str) -> dict[str, str]:
    """One biomarker that is summed over hemispheres, as plain data."""
    entry = {"name": name, "file": file, "row": row, "column": column}
    return {**entry, "units": COLUMNS[column], "combine": "sum"}


def paper_four(volumes: str, cortex: str) -> Plain:
    """Return the paper's four biomarkers (section 2.5), in a program's files.

    Parameters
    ----------
    volumes
        Table of volumes, such as "aseg.stats".
    cortex
        Table of each hemisphere's cortex, such as "{hemi}.aparc.stats".
    """
    return (
        plain("entorhinal", cortex, "entorhinal", "ThickAvg"),
        plain("inferior_temporal", cortex, "inferiortemporal", "ThickAvg"),
        plain("hippocampus", volumes, "{side}-Hippocampus", "Volume_mm3"),
        plain("amygdala", volumes, "{side}-Amygdala", "Volume_mm3"),
    )


FREESURFER = paper_four("aseg.stats", "{hemi}.aparc.stats")


def biomarkers_of(entries: Sequence[Mapping[str, str]]) -> tuple[Biomarker, ...]:
    """Biomarkers of plain data.

    Raises
    ------
    SettingsError
        They are not what `read_biomarkers` would have read.
    """
    checked = _checked([dict(entry) for entry in entries], "parameter 'biomarkers'")
    return tuple(
        Biomarker(e["name"], e["units"], e["combine"], e["file"], e["row"], e["column"])
        for e in checked
    )


def units_of(entries: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Units of each structure."""
    return {marker.structure: marker.units for marker in biomarkers_of(entries)}


def read_biomarkers(path: Path) -> tuple[dict[str, str], ...]:
    """Read a `biomarkers.toml` as plain data, checked and with `combine` filled in.

    Raises
    ------
    SettingsError
        No such file, not TOML, or entries that are none.
    """
    try:
        data = read_toml(path)
    except ValueError as error:
        raise SettingsError(f"{path}: expected TOML of biomarkers, found {error}") from error
    other = [key for key in data if key != "biomarker"]
    if other:
        raise SettingsError(f"{path}: expected [[biomarker]] alone, found {', '.join(other)}")
    entries = data.get("biomarker", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError(f"{path}: expected [[biomarker]] tables, found biomarker = {entries!r}")
    return tuple(_checked(entries, str(path)))


def _checked(entries: Sequence[Mapping[str, Any]], source: str) -> list[dict[str, str]]:
    faults = [
        f"biomarker {number}: {fault}"
        for number, entry in enumerate(entries, start=1)
        for fault in _faults(entry)
    ]
    names = [entry.get("name") for entry in entries]
    twice = sorted({str(name) for name in names if name is not None and names.count(name) > 1})
    faults += [f"expected the name '{name}' once, found it twice" for name in twice]
    if not entries:
        faults = ["expected at least one [[biomarker]], found none"]
    if faults:
        raise SettingsError(f"{source}: " + "; ".join(faults))
    return [
        {**{key: entry[key] for key in KEYS}, "combine": entry.get("combine", "sum")}
        for entry in entries
    ]


def _faults(entry: Mapping[str, Any]) -> list[str]:
    known = (*KEYS, "combine")
    faults = [
        f"expected the keys {', '.join(known)}, found '{key}'{nearest(key, known)}"
        for key in entry
        if key not in known
    ]
    faults += [f"expected a key '{key}', found none" for key in KEYS if key not in entry]
    texts = {key: entry[key] for key in known if key in entry}
    faults += [
        f"{key}: expected a text that is not empty, found {value!r}"
        for key, value in texts.items()
        if not isinstance(value, str) or not value.strip()
    ]
    return faults or _bad_values({"combine": "sum", **texts})


def _bad_values(entry: Mapping[str, str]) -> list[str]:
    """Faults of an entry that has all its keys, with texts as values."""
    faults = []
    if not re.fullmatch(r"[A-Za-z0-9_-]+", entry["name"]):
        faults.append(f"name: expected letters, digits, _ and -, found '{entry['name']}'")
    if not re.fullmatch(r"[A-Za-z0-9_+{}-][A-Za-z0-9_.+{}-]{0,99}", entry["file"]):
        shown = entry["file"][:60]
        faults.append(f"file: expected a file's name without folder, found '{shown}'")
    if entry["combine"] not in COMBINE:
        faults.append(f"combine: expected sum or mean, found '{entry['combine']}'")
    if entry["column"] not in COLUMNS:
        faults.append(f"column: expected {' or '.join(COLUMNS)}, found '{entry['column']}'")
    elif entry["units"] != COLUMNS[entry["column"]]:
        right = COLUMNS[entry["column"]]
        faults.append(f"units: expected {right} of {entry['column']}, found '{entry['units']}'")
    for key in ("file", "row"):
        braces = set(re.findall(r"\{[^{}]*\}?", entry[key])) - {"{hemi}", "{side}"}
        if braces:
            found = ", ".join(sorted(braces))
            faults.append(f"{key}: expected no braces but {{hemi}} and {{side}}, found {found}")
    return faults
