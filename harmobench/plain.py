"""Text that comes from files, made safe for a terminal."""

from __future__ import annotations

LONGEST = 2000  # characters of a line


def plain(text: str) -> str:
    r"""Write out what moves the cursor or turns the writing; line breaks stay.

    >>> print(plain("sub\x1b[2J\u202e01"))
    sub\x1b[2J\u202e01
    """
    cut = "\n".join(_cut(line) for line in text.split("\n"))
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in cut)


def _cut(line: str) -> str:
    """Leave out the middle of a line that a file made too long to read."""
    if len(line) <= LONGEST:
        return line
    half = LONGEST // 2
    return f"{line[:half]} ... ({len(line) - 2 * half} characters left out) ... {line[-half:]}"


def one_line(text: str) -> str:
    r"""Write out line breaks too.

    >>> print(one_line("a\nb"))
    a\nb
    """
    return plain(text).replace("\n", r"\n")
