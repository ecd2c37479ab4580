"""Why something failed, in words that are the same in every run."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from harmobench.errors import HarmobenchError

# What the system refuses to every task alike: the run stops, for none of them is at fault.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)


def reason_of(error: BaseException) -> str:
    """One line that says why, the same in every run: no path, process number or address."""
    known = isinstance(error, HarmobenchError)
    return clean(str(error) if known else f"{type(error).__name__}: {error}")


def clean(text: str) -> str:
    """Leave out of a text what differs from run to run: paths, process numbers, addresses."""
    text = re.sub(r"0x[0-9a-fA-F]+", "0x...", " ".join(text.split()))
    text = re.sub(r"\b(pid|PID)[ =:]*\d+", r"\1", text)
    return re.sub(r"(?<![\w<])/(?:[^\s/:,'\"]+/)+([^\s/:,'\"]+)", r"\1", text)


def refusal(error: BaseException) -> str | None:
    """Tell what the system refused, a full disk say, if that is what an error comes from.

    Libraries wrap such an error in one of their own, or repeat its text alone.

    >>> refusal(OSError(errno.ENOSPC, "No space left on device", "a.nii.gz"))
    "No space left on device: 'a.nii.gz'"
    """
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in REFUSALS:
            where = f": {each.filename!r}" if each.filename else ""
            return f"{os.strerror(each.errno)}{where}"
        for number in REFUSALS:
            if os.strerror(number) in str(each):
                return os.strerror(number)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__
