"""What a new plugin's package is made of: names that fit each other, and files from templates."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from harmobench.errors import PluginError, SettingsError, nearest
from harmobench.registry import KINDS, name_fault, plugins

OPTIONS = {
    "method": "--methods raw,{name}",
    "metric": "--methods raw,whitestripe --metrics ssim,{name}",
    "segmenter": "--methods raw,whitestripe --segmenters hmrf,{name}",
}
# Names that the templates import: a class of the same name would hide them.
TAKEN = (
    *("ClassVar", "Cohort", "Context", "Iterable", "Mapping", "MeasurementError", "Method"),
    *("MethodError", "Needs", "Path", "Reference", "Row", "Scan", "Self", "State", "Stateless"),
)


# What --methods and its like, and values after --set, take for something else than a name.
WORDS = ("all", "none", "true", "false")


def spelt(name: str) -> str:
    """Return the one form of all spellings of a name that pip takes for the same (PEP 503).

    >>> spelt("A.b"), spelt("a--b")
    ('a-b', 'a-b')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Package:
    """A plugin's package that is to be written.

    Attributes
    ----------
    kind
        "method", "metric" or "segmenter".
    name
        What users type.
    trained
        Whether the method learns.
    """

    kind: str
    name: str
    trained: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot become a package.

        Raises
        ------
        SettingsError, PluginError
            Another kind, or a name that is none, is taken, or makes no Python name.
        """
        if self.kind not in OPTIONS:
            raise SettingsError(
                f"expected one of {', '.join(OPTIONS)}, found '{self.kind}'"
                f"{nearest(self.kind, OPTIONS)}"
            )
        if self.trained and self.kind != "method":
            raise SettingsError(f"--trained: expected a method, found a {self.kind}: leave it out")
        if fault := name_fault(self.name):
            raise PluginError(f"name of a {self.kind}: {fault}")
        if not (self.cls.isidentifier() and self.module.isidentifier()):
            raise PluginError(
                f"name of a {self.kind}: expected one that a Python class can have, found "
                f"'{self.name}': let it start with a letter"
            )
        if self.name.lower() in WORDS:
            raise PluginError(
                f"name of a {self.kind}: expected one that means nothing else in options, found "
                f"'{self.name}': choose another"
            )
        if found := self._taken():
            raise PluginError(f"expected a new name, found '{self.name}', {found}: choose another")

    def _taken(self) -> str:
        """Say who has the name in any spelling, the module or the distribution; "" if nobody."""
        for kind in KINDS:
            for name, plugin in (plugins(kind) if kind != "commands" else {}).items():
                if spelt(name) == spelt(self.name):
                    which = "which" if name == self.name else f"like '{name}', which"
                    return f"{which} {plugin.distribution} brings for harmobench.{kind}"
        try:
            version = metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            there = find_spec(self.module) is not None
            return f"whose module {self.module} is there already" if there else ""
        return f"whose package {self.distribution} is installed ({version})"

    @property
    def module(self) -> str:
        """Module that holds the class."""
        return "harmobench_" + re.sub(r"[^0-9a-z]+", "_", self.name.lower()).strip("_")

    @property
    def cls(self) -> str:
        """Name of the class."""
        words = re.split(r"[^0-9A-Za-z]+", self.name)
        name = "".join(word[:1].upper() + word[1:] for word in words)
        hides = name in TAKEN or keyword.iskeyword(name)
        return name + self.kind.capitalize() if hides else name

    @property
    def distribution(self) -> str:
        """Name of the distribution."""
        return self.module.replace("_", "-")

    @property
    def options(self) -> str:
        """Options of `harmobench run` that let it take part."""
        return OPTIONS[self.kind].format(name=self.name)

    def texts(self) -> dict[str, str]:
        """Text of each file by its name."""
        what = "trained" if self.trained else self.kind
        templates = {
            f"{self.module}.py": f"{what}.py.txt",
            "pyproject.toml": "pyproject.toml.txt",
            f"test_{self.module}.py": f"test_{what}.py.txt",
            "README.md": "README.md.txt",
        }
        values = {
            "kind": self.kind,
            "name": self.name,
            "cls": self.cls,
            "module": self.module,
            "distribution": self.distribution,
            "options": self.options,
            "year": str(date.today().year),
        }
        folder = files("harmobench.scaffold") / "templates"
        return {
            name: Template((folder / file).read_text(encoding="utf-8")).substitute(values)
            for name, file in templates.items()
        }


def write_package(package: Package, folder: Path) -> list[Path]:
    """Write a package into a folder that is not there yet, and return its files.

    Raises
    ------
    SettingsError
        There is something of that name, or no folder can be made there.
    """
    texts = package.texts()
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise SettingsError(
            f"--folder: expected a new folder, found {folder}: name another, or remove that one"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"--folder: expected a place to write to, found {folder}: {error.strerror}"
        ) from error
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
