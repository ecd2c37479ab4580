r"""Text for LaTeX: every character compiles with pdflatex, and how wide it will be is known.

Letters with accents become LaTeX's accents, Greek letters become mathematics, and what Computer
Modern has no sign for becomes its code point: a scanner called 中 is printed as \texttt{U+4E2D}.
"""

from __future__ import annotations

import unicodedata

SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"$\mathdollar$",  # a plain \$ is taken from a font that not every TeX has
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": "{}`{}",
    "\N{HYPHEN}": "-",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MINUS SIGN}": "$-$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": "~",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{BULLET}": r"$\bullet$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{SUPERSCRIPT TWO}": r"$^2$",
    "\N{SUPERSCRIPT THREE}": r"$^3$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
    "\N{LATIN SMALL LETTER DOTLESS J}": r"\j{}",
}
ACCENTS = {  # those that the plain encoding of fonts can put on any letter
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0326": "c",  # comma and ogonek are drawn as the cedilla, the one hook there is
    "\u0327": "c",
    "\u0328": "c",
    "\u0331": "b",
}
# capitals that look as Latin letters do have no command
CAPITALS = " GAMMA DELTA THETA LAMDA XI PI SIGMA UPSILON PHI PSI OMEGA "
SMALL = f"{CAPITALS}ALPHA BETA EPSILON ZETA ETA IOTA KAPPA MU NU RHO TAU CHI "
# widths in em at 10 pt, rounded up; what is not named is as wide as a "b"
NARROW, MIDDLE, WIDE, WIDEST = "ijl.,:;'![]| ", "crstfez()`-", "wm+=<>%&#~^@", "MW"
DIGIT = 0.51
CODE = r"\texttt{"  # what code points are printed in
SPREAD = {7: 1.15, 8: 1.07, 9: 1.035, 10: 1.0}  # smaller sizes are drawn wider
BOLD = 1.18


def latex(text: str) -> str:
    r"""Return text as LaTeX prints it: no character is a command, each one compiles.

    >>> print(latex("GM_left & 5%"), latex("Zoë"), latex("中"))
    GM\_left \& 5\% Zo\"{e} \texttt{U+4E2D}
    """
    signs = [_sign(character) for character in unicodedata.normalize("NFC", text)]
    return "".join(_apart(signs))


def _apart(signs: list[str]) -> list[str]:
    """Keep hyphens and commas that would melt into another sign apart."""
    found: list[str] = []
    for sign in signs:
        if found and found[-1][-1:] == sign[:1] and sign[:1] in ("-", ",", "'", "`"):
            found.append("{}")
        found.append(sign)
    return found


def _sign(character: str) -> str:
    if character in SIGNS:
        return SIGNS[character]
    if character.isspace():
        return " "
    if " " < character < "\x7f":
        return character
    return _accented(character) or _greek(character) or f"{CODE}U+{ord(character):04X}}}"


def _accented(character: str) -> str:
    base, *marks = list(unicodedata.normalize("NFD", character))
    if not (base.isascii() and base.isalpha() and marks and set(marks) <= set(ACCENTS)):
        return ""
    text = {"i": r"\i", "j": r"\j"}.get(base, base)
    for mark in marks:
        text = rf"\{ACCENTS[mark]}{{{text}}}"
    return text


def _greek(character: str) -> str:
    words = unicodedata.name(character, "").split()
    kind, name = " ".join(words[:-1]), words[-1] if words else ""
    command = name.lower().replace("lamda", "lambda")
    if kind == "GREEK SMALL LETTER" and f" {name} " in SMALL:
        return rf"$\{command}$"
    if kind == "GREEK CAPITAL LETTER" and f" {name} " in CAPITALS:
        return rf"$\{command.capitalize()}$"
    return ""


def width(text: str, size: int, *, bold: bool = False) -> float:
    """Return about how wide text is, in points: never less than it will be.

    >>> 42 < width("0123456789", 8) < 48
    True
    """
    ems = sum(_ems(character) for character in unicodedata.normalize("NFC", text))
    return ems * size * SPREAD[size] * (BOLD if bold else 1.0)


def _ems(character: str) -> float:
    sign = _sign(character)
    if sign.startswith(CODE):
        return DIGIT * len(sign.removeprefix(CODE))
    base, *marks = list(unicodedata.normalize("NFD", character))
    if not base.isascii():
        return 1.34
    if len(marks) > 1:  # LaTeX puts the second accent beside the first
        return 1.34
    if base in NARROW:
        return 0.34
    if base in MIDDLE:
        return 0.46
    if base in WIDEST:
        return 1.04
    if base in WIDE or base.isupper():
        return 0.84
    return DIGIT if base.isdigit() else 0.57


def breakable(text: str, room: float, size: int) -> str:
    r"""Return text as LaTeX whose words can break where they are wider than the room they have.

    >>> print(breakable("a_very_long_name", 30, 8))
    a\_ver\allowbreak{}y\_lon\allowbreak{}g\_nam\allowbreak{}e
    """
    return " ".join(
        latex(word) if width(word, size) <= room else _broken(word, room, size)
        for word in unicodedata.normalize("NFC", text).split()
    )


def _broken(word: str, room: float, size: int) -> str:
    pieces = [""]
    for character in word:
        if pieces[-1] and width(pieces[-1] + character, size) > room * 0.9:
            pieces.append("")
        pieces[-1] += character
    return r"\allowbreak{}".join(latex(piece) for piece in pieces)
