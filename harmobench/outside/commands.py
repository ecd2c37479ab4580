"""Which names in braces each command of a `method.toml` may use, and which it must."""

from __future__ import annotations

from harmobench.errors import nearest
from harmobench.outside import words
from harmobench.outside.recipe import ON_A_MACHINE, Recipe

ALWAYS = ("package", "python")
TASK = ("dir", "seed", "threads")
ONE_SCAN = ("input", "output", "mask", "subject", "scanner", "scan_csv")
TRAINING = ("train_csv", "validation_csv", "device")
OTHERS = ("transform", "fit", "version", "prefix", "minutes", "fit_minutes", "preset")
RESERVED = (*ALWAYS, *TASK, *ONE_SCAN, *TRAINING, "model_dir", "target", "data", *OTHERS)
FOREIGN = ("subject", "scanner", "target")  # texts that a manifest chose


def check(recipe: Recipe) -> None:
    """Hold each command to the names that it may use, and to those that it must.

    Raises
    ------
    ValueError
        The first fault.
    """
    given = (*recipe.parameters, *recipe.places)
    for name in recipe.needs.inputs:
        if name in (*RESERVED, *given):
            raise ValueError(f"[needs] inputs: expected a name that is not taken, found '{name}'")
    learned = ("model_dir", *(("target",) if recipe.needs.target else ())) if recipe.fit else ()
    allowed = {
        "transform": (*ALWAYS, *TASK, *ONE_SCAN, *learned, *recipe.needs.inputs, *given),
        "fit": (*ALWAYS, *TASK, *TRAINING, *learned, *given),
        "version": (*ALWAYS, *recipe.places),
        "prefix": (*ON_A_MACHINE, *recipe.places),
    }
    for command, known in allowed.items():
        for name, word in words.names(getattr(recipe, command)):
            if name not in known:
                raise ValueError(
                    f"{command}: expected {', '.join(f'{{{k}}}' for k in known)} and no other "
                    f"name in braces, found {{{name}}}{nearest(name, known)}"
                )
            text = name in FOREIGN or isinstance(recipe.parameters.get(name), str)
            if text and not words.alone(word):
                raise ValueError(
                    f"{command}: expected {{{name}}} as a word of its own or as --option={{{name}}}"
                    f", found '{word}': inside other text a name could be code; read it from "
                    "{scan_csv}"
                )
        _check_program(recipe, command)
    _check_used(recipe)


def _check_program(recipe: Recipe, command: str) -> None:
    own = getattr(recipe, command)
    given = {name for name, _ in words.names(own[:1])} - {*ALWAYS, *recipe.places}
    if given:
        raise ValueError(f"{command}: expected a program as the first word, found '{own[0]}'")
    for word in own:
        start, _, file = word.partition("{package}/")
        whole = file and "{" not in file and (not start or start.endswith("="))
        if whole and not (recipe.package / file).is_file():
            raise ValueError(
                f"{command}: expected the file {file} beside it, found none: list it in the "
                "package's package-data"
            )


def _check_used(recipe: Recipe) -> None:
    used = {name for name, _ in words.names(recipe.transform)}
    trained = {name for name, _ in words.names(recipe.fit)}
    if "output" not in used or not used & {"input", "scan_csv"}:
        raise ValueError("transform: expected {input} (or {scan_csv}) and {output}, found no such")
    if recipe.fit and not {"train_csv", "model_dir"} <= trained:
        raise ValueError("fit: expected {train_csv} and {model_dir}, found not both")
    if recipe.fit and "model_dir" not in used:
        raise ValueError("transform: expected {model_dir}, which fit has written, found it nowhere")
    everywhere = used | trained | {n for n, _ in words.names((*recipe.prefix, *recipe.version))}
    for name in (*recipe.parameters, *recipe.places):
        if name not in everywhere:
            raise ValueError(f"expected {{{name}}} in a command, found it in none")
