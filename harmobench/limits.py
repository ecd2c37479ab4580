"""Parameters that cannot be used, refused with what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real

from harmobench.errors import SettingsError, nearest


def whole(name: str, value: object, least: int) -> str:
    """Say what is wrong with a whole number; nothing where it is right.

    >>> whole("k", 0, 1)
    'k: expected a whole number of at least 1, found 0'
    """
    right = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
    return "" if right else f"{name}: expected a whole number of at least {least}, found {value!r}"


def number(name: str, value: object, right: Callable[[float], bool], expected: str) -> str:
    """Say what is wrong with a number; nothing where it is right.

    >>> number("prob", "most", lambda prob: 0 < prob <= 1, "a number above 0 and at most 1")
    "prob: expected a number above 0 and at most 1, found 'most'"
    """
    given = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    good = math.isfinite(given) and right(given)
    return "" if good else f"{name}: expected {expected}, found {value!r}"


def choice(name: str, value: object, known: tuple[str, ...]) -> str:
    """Say what is wrong with a name out of a few; nothing where it is right.

    >>> choice("modality", "T3", ("T1", "T2"))
    "modality: expected T1 or T2, found 'T3'; is 'T2' meant?"
    """
    if isinstance(value, str) and value in known:
        return ""
    return f"{name}: expected {' or '.join(known)}, found {value!r}{nearest(str(value), known)}"


def switch(name: str, value: object) -> str:
    """Say what is wrong with a switch; nothing where it is right.

    >>> switch("anneal", 1)
    'anneal: expected true or false, found 1'
    """
    return "" if isinstance(value, bool) else f"{name}: expected true or false, found {value!r}"


def refuse(method: str, *faults: str) -> None:
    """Raise with all faults at once; an empty text is none.

    Raises
    ------
    SettingsError
        There is a fault.
    """
    found = [fault for fault in faults if fault]
    if found:
        raise SettingsError(f"{method} cannot use these parameters: " + "; ".join(found))
