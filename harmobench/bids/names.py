"""Names of files in a BIDS dataset: entities, a suffix, an extension."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

IMAGES = (".nii.gz", ".nii")
ENTITY = re.compile(r"([a-zA-Z0-9]+)-([a-zA-Z0-9+]+)")
SUFFIX = re.compile(r"[a-zA-Z0-9]+")


@dataclass(frozen=True, eq=False)
class Named:
    """A file whose name keeps to BIDS.

    Attributes
    ----------
    path
        Where it lies.
    entities
        Label of each entity, in the name's order: {"sub": "01", "ses": "GE"}.
    suffix, extension
        Such as "T1w" and ".nii.gz".
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    extension: str

    def get(self, entity: str) -> str:
        """Label of an entity, or nothing."""
        return self.entities.get(entity, "")


def read_name(path: Path) -> Named | None:
    """Take a file's name apart; None where it does not keep to BIDS.

    >>> read_name(Path("sub-01_ses-GE_T1w.nii.gz")).entities
    {'sub': '01', 'ses': 'GE'}
    >>> read_name(Path("my scan_T1w.nii.gz")) is None
    True
    """
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    found = [ENTITY.fullmatch(pair) for pair in pairs]
    if not SUFFIX.fullmatch(suffix) or not all(found):
        return None
    entities = {match[1]: match[2] for match in found if match}
    if len(entities) != len(pairs):  # an entity stands twice
        return None
    return Named(path, entities, suffix, dot + extension)


def write_name(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """Put a name together; `read_name` takes it apart again.

    >>> write_name({"sub": "01", "ses": "GE"}, "T1w", ".nii.gz")
    'sub-01_ses-GE_T1w.nii.gz'
    """
    return "_".join([*(f"{k}-{v}" for k, v in entities.items()), f"{suffix}{extension}"])


def same_label(one: str, other: str) -> bool:
    """Whether two labels mean the same: an index counts by its number.

    >>> same_label("1", "01"), same_label("GE", "ge")
    (True, False)
    """
    if one.isdecimal() and other.isdecimal():
        return int(one) == int(other)
    return one == other
