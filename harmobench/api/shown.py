"""HTML for notebooks: small tables and lines, everything that comes from files escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

# A notebook has its own light or dark page: colours are those that can be read on both.
TONES = {"good": "color:#23883f", "bad": "color:#d9363e", "absent": "color:#a26d00"}
CELL = "text-align:left;padding:2px 10px 2px 0;vertical-align:top"


class Told(NamedTuple):
    """One cell: its words, and "good", "bad", "absent" or nothing of how they are coloured."""

    words: str
    tone: str = ""


def line(text: str, strong: str = "") -> str:
    """Return a paragraph that begins with bold words."""
    head = f"<b>{escape(strong)}</b> " if strong else ""
    return f"<p style='margin:2px 0'>{head}{escape(text)}</p>"


def grid(head: Sequence[str], rows: Iterable[Sequence[Told | str]]) -> str:
    """Return a table; the first cell of a row is its name, a row of one cell a heading."""
    top = "".join(f"<th style='{CELL}' scope='col'>{escape(name)}</th>" for name in head)
    body = "".join(_row([Told(c) if isinstance(c, str) else c for c in r], len(head)) for r in rows)
    table = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f"<table style='border-collapse:collapse;margin:4px 0'>{table}</table>"


def _row(cells: Sequence[Told], width: int) -> str:
    span = f" colspan='{width}'" if len(cells) == 1 < width else ""
    scope = "colgroup" if span else "row"
    name = f"<th style='{CELL}' scope='{scope}'{span}>{escape(cells[0].words)}</th>"
    return f"<tr>{name}{''.join(_cell(cell) for cell in cells[1:])}</tr>"


def _cell(cell: Told) -> str:
    tone = f";{TONES[cell.tone]}" if cell.tone in TONES else ""
    return f"<td style='{CELL}{tone}'>{escape(cell.words)}</td>"


class Names(dict[str, str]):
    """Names and what they are: a dictionary that shows itself as a list of two columns."""

    def __repr__(self) -> str:
        """Return a line a name."""
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in self.items()) or "none"

    def _repr_html_(self) -> str:
        return grid(("name", "what"), self.items()) if self else line("none")


class Text(str):
    """Text that shows itself with its line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text itself."""
        return str(self)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its word.

    >>> counted(1, "scan"), counted(2, "scan")
    ('1 scan', '2 scans')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def shortened(names: Iterable[str], most: int = 12) -> str:
    """Return names with commas; of many the first ones, and how many more there are.

    >>> shortened("abcd", 2)
    'a, b and 2 more'
    """
    known = list(names)
    rest = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + rest


def pairs_text(facts: Mapping[str, str]) -> str:
    """Return facts as lines for a terminal."""
    return "\n".join(f"  {name}: {text}" for name, text in facts.items() if text)
