"""Names of authors, however a plugin writes them, for references and for the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

VANCOUVER = re.compile(r"(.*?\S) ([^\W\d_]{1,4})(?: (?:Jr|Sr|II|III))?")  # Fortin JP
INITIALS = re.compile(r"(?:[^\W\d_]{1,2}\.[\s-]?)+")  # J. P.
MORE = re.compile(r",?\s+et al\.?$|^et al\.?$|^others$")


@dataclass(frozen=True)
class Person:
    """An author; a group has its whole name as `family`, and no `given`."""

    family: str
    given: str = ""


def people(authors: str) -> tuple[list[Person], bool]:
    """Return the authors of a reference, and whether there are more that it does not name.

    As BibTeX has them ("Zhang, Y. and Brady, M."), as PubMed has them ("Fortin JP, Sweeney EM"),
    as papers have them ("Zhang, Y., Brady, M."), or one name.

    >>> people("Fortin JP, de Leon MJ, et al.")
    ([Person(family='Fortin', given='J. P.'), Person(family='de Leon', given='M. J.')], True)
    >>> people("Zhang, Y. and The Group")[0]
    [Person(family='Zhang', given='Y.'), Person(family='The Group', given='')]
    """
    found: list[Person] = []
    more = False
    for text in re.split(r"\s+and\s+|\s*;\s*|\s+&\s+", " ".join(authors.split())):
        for name in _names(text.strip(" ,")):
            rest = MORE.sub("", name).strip(" ,")
            more = more or rest != name.strip(" ,")
            found += [_person(rest)] if rest else []
    return found, more


def _names(text: str) -> list[str]:
    """Split at the commas between names, not at those within one."""
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if any(_initials(piece) for piece in pieces):
        return pieces
    names: list[str] = []
    for piece in pieces:
        if names and "," not in names[-1] and (INITIALS.fullmatch(piece) or len(pieces) == 2):
            names[-1] += f", {piece}"
        else:
            names.append(piece)
    return names


def _initials(name: str) -> str:
    """Return the initials that end a name as PubMed has it; "" where it has none."""
    match = VANCOUVER.fullmatch(name)
    return match[2] if match and match[2].isupper() else ""


def _person(name: str) -> Person:
    if "," in name:
        family, _, given = name.partition(",")
        return Person(family.strip(), given.strip())
    if initials := _initials(name):
        match = VANCOUVER.fullmatch(name)
        return Person(match[1] if match else name, " ".join(f"{c}." for c in initials))
    given, _, family = name.rpartition(" ")
    if INITIALS.fullmatch(given):  # A. Author
        return Person(family, given)
    return Person(name)


def short(authors: str, year: int) -> str:
    """Return authors and year as a text cites them.

    >>> short("Hanley JA, McNeil BJ", 1982), short("Dice LR", 1945), short("A B, C D, E F", 0)
    ('Hanley and McNeil, 1982', 'Dice, 1945', 'A et al.')
    """
    named, more = people(authors)
    families = [person.family for person in named]
    if more or len(families) > 2:
        text = f"{families[0]} et al." if families else ""
    else:
        text = " and ".join(families)
    return ", ".join(part for part in (text, str(year) if year else "") if part)
