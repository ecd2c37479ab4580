"""Command lines as words with places to fill: split once, filled word by word, never by a shell."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

# {{ and }} stand for braces, {name} for a value; a brace alone is a fault.
HOLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_-]*)\}|[{}]")
# Where a text may stand that somebody else chose, such as a subject's name: alone in its word or
# behind an option. Inside a larger word, MATLAB code say, a name could be code.
ALONE = re.compile(r"(--?[A-Za-z0-9][A-Za-z0-9_-]*=)?\{([A-Za-z_][A-Za-z0-9_-]*)\}")
LONGEST = 200  # characters of a parameter
Value = str | int | float | bool


def split(command: object) -> tuple[str, ...]:
    """Words of a command: a text, split as a shell would, or a list of words as it is.

    >>> split("Rscript '{package}/z score.R' {input}")
    ('Rscript', '{package}/z score.R', '{input}')

    Raises
    ------
    ValueError
        What was expected, and what was found.
    """
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"expected words as a shell reads them, found {error}") from error
    elif isinstance(command, list) and all(isinstance(word, str) for word in command):
        words = list(command)
    else:
        raise ValueError(f"expected a text or a list of texts, found {command!r}")
    if any("\0" in word for word in words):
        raise ValueError("expected words without the character NUL, found one with it")
    return tuple(words)


def names(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that stands in braces, with its word.

    Raises
    ------
    ValueError
        A brace that begins or ends no name.
    """
    for word in words:
        for found in HOLE.finditer(word):
            if found[0] in "{}":
                raise ValueError(f"expected {{name}}, or {{{{ and }}}} for braces, found '{word}'")
            if found[1]:
                yield found[1], word


def alone(word: str) -> bool:
    """Whether a word is one value, or an option and one value.

    >>> alone("{subject}"), alone("--id={subject}"), alone("run('{subject}')")
    (True, True, False)
    """
    return ALONE.fullmatch(word) is not None


def fill(words: Sequence[str], values: Mapping[str, Value]) -> list[str]:
    """Put values into words; what a value contains is never read again.

    >>> fill(["-o", "{output}", "{{x}}"], {"output": "/tmp/a b/{x}.nii"})
    ['-o', '/tmp/a b/{x}.nii', '{x}']
    """

    def put(found: re.Match[str]) -> str:
        return _text(values[found[1]]) if found[1] else found[0][0]

    return [HOLE.sub(put, word) for word in words]


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def fault(value: Value) -> str:
    """Say what is wrong with a parameter's value; "" where nothing is.

    A run folder holds them, and may be anyone's: what could be an option or a path is refused.
    """
    if not isinstance(value, str):
        good = not isinstance(value, float) or math.isfinite(value)
        return "" if good else f"expected a finite number, found {value!r}"
    plain = all(c.isalnum() or c in " _.,+=:@%-" for c in value)
    if plain and not value.startswith("-") and len(value) <= LONGEST:
        return ""
    return (
        "expected a word of letters, digits and _ . , + = : @ % -, not beginning with -, found "
        f"{value[:80]!r}: where things are stands in [places]"
    )
