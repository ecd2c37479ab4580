"""What pages say of installed plugins and commands: written at each build, so that it is true.

A page asks for it by a line of its own, which is invisible where the page is read as it is:

    <!-- facts: methods ravel -->     needs, source, parameters and presets of a plugin
    <!-- commands -->                 every command with its arguments and options
    <!-- columns: SCORE_COLUMNS -->   columns of a table of `harmobench.results`
    <!-- rules: methods -->            what `harmobench check` looks at
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harmobench import results
from harmobench.interface import Needs, Reference
from harmobench.registry import find

ASKED = re.compile(r"^<!-- (facts|commands|columns|rules):?(.*?) -->$", re.MULTILINE)
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#$])")
SECTION = re.compile(
    r"^ *(Attributes|Parameters)\n *-{3,}\n(.*?)(?=^ *\w+\n *-{3,}\n|\Z)", re.M | re.S
)
TRAITS = {
    "level": "scores",
    "reads": "reads",
    "space": "space",
    "better": "better",
    "range": "range",
    "units": "units",
    "structures": "structures",
    "truth": "needs the columns",
}
PLAIN = (str, int, float, Path)  # defaults that a person can read
MEANINGS = {
    "method": "name of the method",
    "config": "parameters that the user set, or default",
    "repeat": "0, or which of --repeats",
    "fold": "of the model that made the image; -1 where there are none",
    "tool": "segmenter or morphometry; empty where none",
    "metric": "name of the metric",
    "structure": "what was measured, such as brain, gm or hippocampus",
    "level": "scan, pair or cohort",
    "space": "template or native",
    "units": "empty for a number without unit",
    "subject": "empty for a cohort's score",
    "scanner": "the scan, or the first of a pair",
    "reference_scanner": "the second of a pair",
    "value": "empty unless status is ok",
    "status": "ok, failed, undefined, not_applicable or not_measured",
    "reason": "why there is no value, or what to know of it",
    "comparator": "raw, or another contender",
    "family": "of tests that are adjusted together",
    "test": "name of the test",
    "n": "subjects (or pooled values) behind it",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "statistic": "of the test; of tost the margin",
    "df": "degrees of freedom",
    "p": "two-sided, not adjusted",
    "p_adjusted": "empty in mode paper",
    "mode": "paper or rigorous",
    "task": "kind of the task",
    "seconds": "that it took",
    "peak_mb": "largest memory of its process, MB",
    "device": "cpu or cuda",
    "parameters": "numbers that a model learned",
}
LEVELS = {"scan": "each scan", "pair": "each pair of a subject's scans", "cohort": "the cohort"}
BETTER = {
    "higher": "higher",
    "lower": "lower",
    "one": "nearer to 1",
    "zero": "nearer to 0",
    "equal": "equal over scanners, whatever the value",
}


def expand(text: str) -> str:
    """Put what is asked for into a page's text."""
    return ASKED.sub(_asked, text)


def _asked(match: re.Match[str]) -> str:
    kind, rest = match.group(1), match.group(2).split()
    write = {"facts": facts, "commands": commands, "columns": columns, "rules": rules}[kind]
    return write(*rest)


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return SPECIAL.sub(r"\\\1", text)


def marked(text: str) -> str:
    """Escape a docstring's text, but keep what stands in backticks as code."""
    parts = " ".join(text.split()).split("`")
    return "".join(f"`{p}`" if i % 2 else escaped(p) for i, p in enumerate(parts))


def facts(kind: str, name: str) -> str:
    """Say what a plugin's class says of itself: traits, source, parameters, presets."""
    cls = find(kind, name).load()
    blocks = [_traits(kind, cls), _source(cls), _parameters(name, cls), _presets(name, cls)]
    return "\n\n".join(block for block in blocks if block)


def _traits(kind: str, cls: Any) -> str:
    if isinstance(getattr(cls, "needs", None), Needs):
        return f"*{_needs(cls.needs)}*"
    if kind != "metrics":
        return ""
    shown = {word: _trait(name, getattr(cls, name, None)) for name, word in TRAITS.items()}
    return f"*{'; '.join(f'{word} {value}' for word, value in shown.items() if value)}*"


def _trait(name: str, value: Any) -> str:
    if name == "level":
        return LEVELS[value]
    if name == "better":
        return BETTER[value]
    if name == "range":
        return " to ".join(escaped(f"{end:g}") for end in value)
    return escaped(", ".join(value) if isinstance(value, tuple) else str(value or ""))


def _needs(needs: Needs) -> str:
    said = [needs.role]
    said.append("trained by folds" if needs.folds else "not cross-validated")
    said += ["needs matched scans"] * needs.matched + ["needs a target scanner"] * needs.target
    said += ["takes covariates"] * needs.covariates + ["sees the clinical group"] * needs.group
    said += [f"input: {', '.join(needs.inputs)}"] * bool(needs.inputs)
    said += [f"looks at: {needs.sees}"] * (needs.sees != "scan")
    return "; ".join(said)


def _source(cls: Any) -> str:
    source = getattr(cls, "reference", None)
    if not isinstance(source, Reference):
        return ""
    link = f" [doi:{escaped(source.doi)}](https://doi.org/{source.doi})" if source.doi else ""
    venue = f" {escaped(source.venue)}." if source.venue else ""
    title = escaped(source.title)
    return f"**Source.** {escaped(source.authors)} ({source.year}). {title}.{venue}{link}"


def _parameters(name: str, cls: Any) -> str:
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    if not fields:
        return "No parameters."
    meanings = described(cls)
    rows = [
        (f"`{name}.{f.name}`", f"`{_default(f.default)}`", marked(meanings.get(f.name, "")))
        for f in fields
    ]
    return "\n".join(_table(("parameter", "default", "meaning"), rows))


def _default(value: Any) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        return "those of the paper"
    return repr(value)


def described(cls: Any) -> dict[str, str]:
    """Read what docstrings say of each parameter, a class's own before its parents'."""
    found: dict[str, str] = {}
    for each in cls.__mro__:
        for _, body in SECTION.findall(inspect.cleandoc(each.__doc__ or "") + "\n"):
            for names, text in re.findall(r"^(\S.*)\n((?:(?: +.*)?\n)+)", body, re.M):
                for one in names.split(","):
                    found.setdefault(one.strip(), " ".join(text.split()))
    mentioned = {
        word: f"See `{name}`."
        for name, text in reversed(found.items())
        for word in re.findall(r"`(\w+)`", text)
        if word not in found
    }
    return found | mentioned


def _presets(name: str, cls: Any) -> str:
    presets = getattr(cls, "presets", {})
    if not any(presets.values()):
        return ""
    fields = {f.name: f.default for f in dataclasses.fields(cls)}
    changed = [key for key in fields if any(key in preset for preset in presets.values())]
    rows = [
        (f"`{key}`", *(f"`{preset.get(key, fields[key])!r}`" for preset in presets.values()))
        for key in changed
    ]
    names = [f"`{preset}`" for preset in presets]
    return "\n".join(["What the presets change:", "", *_table(("parameter", *names), rows)])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    ]


def columns(name: str) -> str:
    """List the columns of a table, with what the comment beside each in the source says."""
    source = inspect.getsource(results).partition(f"{name} = (")[2]
    comments = dict(re.findall(r'^ +"(\w+)",(?: +# (.*))?$', source.partition("\n)")[0], re.M))
    rows = [
        (f"`{column}`", escaped(comments.get(column) or MEANINGS.get(column, "")))
        for column in getattr(results, name)
    ]
    return "\n".join(_table(("column", "what"), rows))


def rules(kind: str) -> str:
    """List the rules for a kind of plugin."""
    from harmobench.testing import rules_of

    rows = [(f"`{r.name}`", marked(r.expects), marked(r.mend)) for r in rules_of(kind)]
    return "\n".join(_table(("rule", "holds", "where it is broken"), rows))


def commands() -> str:
    """Describe every command of `harmobench`, those of plugins too."""
    return "\n\n".join(text for name, command in command_tree() for text in _command(name, command))


def command_tree() -> list[tuple[str, Any]]:
    """Every command by its full name, in the order of `harmobench --help`."""
    import typer.main

    from harmobench import cli

    return list(_walk("harmobench", typer.main.get_command(cli.app)))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    context = SimpleNamespace(command=command)  # all that finding a sub-command asks for
    for word in command.list_commands(context):
        yield from _walk(f"{name} {word}", command.get_command(context, word))


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = [_word(p) for p in arguments]
    yield f"## {name}"
    yield f"`{' '.join([name, *words, '[OPTIONS]'])}`"
    yield "\n\n".join(marked(part) for part in (command.help or "").split("\n\n"))
    rows: list[tuple[str, str]] = [(f"`{_word(p)}`", _help(p)) for p in arguments]
    rows += [(f"`{_option(p)}`", _help(p)) for p in options]
    if rows:
        yield "\n".join(_table(("argument or option", "meaning"), rows))


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _option(option: Any) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or 'VALUE'}"


def _help(parameter: Any) -> str:
    default = parameter.default
    shown = (
        parameter.required
        or default is None
        or default is False
        or default == ""
        or not isinstance(default, PLAIN)
    )
    return marked(parameter.help or "") + ("" if shown else f" \\[{escaped(str(default))}\\]")
