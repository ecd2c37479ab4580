"""Names that fit beside a figure's axes, and stay unlike where the names are unlike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

FITS = 14  # characters under an axis
MARK = "…"
Pair = tuple[str, str]


def short(name: str, width: int = FITS) -> str:
    """Return a name that fits under an axis, cut at its end.

    >>> short("SiemensT"), short("GE Signa Architect 3T site Pittsburgh")
    ('SiemensT', 'GE Signa Arch…')
    """
    return name if len(name) <= width else f"{name[: width - 1].rstrip()}{MARK}"


def abbreviated(names: Iterable[str], width: int = FITS) -> dict[str, str]:
    """Return a name that fits for each of these, unlike for unlike names.

    Names that are equal where they are cut at their end keep both ends; where this does not tell
    them apart they get their number.

    >>> list(abbreviated(["Prisma fit XA30 Bern", "Prisma fit XA30 Zurich"], 14).values())
    ['Prisma…30 Bern', 'Prisma… Zurich']
    """
    every = list(dict.fromkeys(names))
    head = (width - 1) // 2
    tail = width - 1 - head
    found = {name: short(name, width) for name in every}
    for cut in (lambda n: f"{n[:head]}{MARK}{n[-tail:]}", None):
        twice = {name for name in every if _often(found, name)}
        for number, name in enumerate(every, start=1):
            if name in twice:
                end = f"{MARK}{number}"
                found[name] = cut(name) if cut else f"{name[: width - len(end)]}{end}"
    return found


def _often(found: Mapping[str, str], name: str) -> bool:
    return list(found.values()).count(found[name]) > 1


def pair_tick(pair: Sequence[str], names: Mapping[str, str] | None = None) -> str:
    """Two scanners on two lines."""
    first, second = ((names or {}).get(name, short(name)) for name in pair)
    return f"{first} \N{EN DASH}\n{second}"
