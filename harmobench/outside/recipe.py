"""What a `method.toml` says, as data."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harmobench.errors import SettingsError
from harmobench.interface import Needs, Reference
from harmobench.outside import words

ENDINGS = (".nii.gz", ".nii")
ON_A_MACHINE = ("package", "python", "dir", "data")  # names that a prefix may use, and places


@dataclass(frozen=True)
class Recipe:
    """A method as its `method.toml` describes it.

    Attributes
    ----------
    path
        The file; what {package} stands for is its folder.
    name, summary, install
        What messages call the method, one line for lists, and what to do where its program is not
        found.
    transform, fit, version, prefix
        Words of each command; none where there is no such command.
    minutes, fit_minutes
        How long one image, and the training, may take.
    images
        Ending of the images that commands get and write.
    reference, needs
        As of any method.
    parameters, choices, presets
        Defaults, the texts that some may take, and what each preset changes.
    places
        Where things are on a machine, by their defaults.
    """

    path: Path
    name: str
    transform: tuple[str, ...]
    reference: Reference
    summary: str = ""
    install: str = ""
    fit: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    minutes: float = 30.0
    fit_minutes: float = 24 * 60.0
    images: str = ENDINGS[0]
    needs: Needs = field(default_factory=Needs)
    parameters: Mapping[str, words.Value] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, words.Value]] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> Path:
        """Folder of the package's files."""
        return self.path.parent

    def fault(self, name: str, value: words.Value) -> str:
        """Say what is wrong with a parameter's value; "" where nothing is."""
        chosen = self.choices.get(name)
        if chosen is not None and value not in chosen:
            return f"expected one of {', '.join(chosen)}, found {value!r}"
        return words.fault(value)

    def variable(self, name: str) -> str:
        """Name of the environment variable that says where a place is, or the prefix."""
        return "HARMOBENCH_" + re.sub(r"[^A-Z0-9]", "_", f"{self.name}_{name}".upper())

    def where(self) -> dict[str, str]:
        """Return the places on this machine: a variable's, else the file's."""
        return {n: os.environ.get(self.variable(n), value) for n, value in self.places.items()}

    def before(self) -> tuple[str, ...]:
        """Return the prefix on this machine: the variable's, else the file's.

        Raises
        ------
        SettingsError
            A variable that cannot be used.
        """
        text = os.environ.get(self.variable("prefix"))
        if text is None:
            return self.prefix
        known = (*ON_A_MACHINE, *self.places)
        try:
            found = words.split(text)
            unknown = [name for name, _ in words.names(found) if name not in known]
            if unknown:
                listed = ", ".join(f"{{{name}}}" for name in known)
                raise ValueError(f"expected {listed} in it alone, found {{{unknown[0]}}}")
        except ValueError as error:
            raise SettingsError(f"variable {self.variable('prefix')}: {error}") from error
        return found
