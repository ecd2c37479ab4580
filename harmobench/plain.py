"""Text that comes from files, made safe for a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    r"""Write out what moves the cursor or turns the writing; line breaks stay.

    >>> print(plain("sub\x1b[2J\u202e01"))
    sub\x1b[2J\u202e01
    """
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    r"""Write out line breaks too.

    >>> print(one_line("a\nb"))
    a\nb
    """
    return plain(text).replace("\n", r"\n")
