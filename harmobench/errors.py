"""Errors that a user can act on: what was expected, what was found, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarmobenchError(Exception):
    """A mistake in what harmobench was given; its text is all that a user needs to mend it."""


class ManifestError(HarmobenchError):
    """Faults in a manifest, all of them at once.

    Parameters
    ----------
    faults
        One sentence a fault, each naming row, column and remedy.
    source
        The manifest they were found in.
    """

    def __init__(self, faults: Iterable[str], source: object = "manifest") -> None:
        self.faults = tuple(faults)
        self.source = str(source)
        count = len(self.faults)
        head = f"{self.source}: {count} fault{'s' if count != 1 else ''} found"
        super().__init__("\n".join([head, *(f"  - {fault}" for fault in self.faults)]))

    def __reduce__(self) -> tuple[type[ManifestError], tuple[tuple[str, ...], str]]:
        """Pickle by the two arguments: exceptions travel between processes."""
        return type(self), (self.faults, self.source)


class AtlasError(HarmobenchError):
    """An atlas that cannot be read, or a cohort that does not lie in its space."""


class PluginError(HarmobenchError):
    """A plugin that is unknown, broken, named twice, or that broke its contract."""


class SettingsError(HarmobenchError):
    """An option or a parameter that cannot be used."""


class MethodError(HarmobenchError):
    """A method that cannot be fitted or applied to the images it was given."""


class MeasurementError(HarmobenchError):
    """A segmenter, morphometry tool or metric that could not measure what it was given."""


class StoppedError(Exception):
    """The system stopped a run half-way, by a full disk say; what is finished stays."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Propose the known name that is most like the one given, as the end of a message.

    >>> nearest("mispell", ["raw", "mispel"])
    "; is 'mispel' meant?"
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; is '{near[0]}' meant?" if near else ""
