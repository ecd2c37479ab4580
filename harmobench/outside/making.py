"""Making the class of a method from its `method.toml`."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

from harmobench.outside.learning import Learning
from harmobench.outside.method import Outside
from harmobench.outside.reading import read_recipe


def method_from(module: str, file: str = "method.toml") -> type[Outside]:
    """Make the class of the method that a file beside a module describes.

    Parameters
    ----------
    module
        The module's `__file__`; it must be a package, so that all its files count as its source.
    file
        Name of the file.

    Raises
    ------
    PluginError
        What is wrong in the file.
    """
    recipe = read_recipe(Path(module).resolve().parent / file)
    numbers = {"minutes": recipe.minutes}
    if recipe.fit:
        numbers["fit_minutes"] = recipe.fit_minutes
    defaults: dict[str, Any] = {**recipe.parameters, **numbers}
    namespace = {
        "recipe": recipe,
        "needs": recipe.needs,
        "reference": recipe.reference,
        "presets": recipe.presets,
        "aside": tuple(numbers),
        "__doc__": recipe.summary or recipe.reference.title,
    }
    return make_dataclass(
        "".join(c for c in recipe.name.title() if c.isalnum()),
        [(name, type(value), field(default=value)) for name, value in defaults.items()],
        bases=(Learning if recipe.fit else Outside,),
        namespace=namespace,
    )
