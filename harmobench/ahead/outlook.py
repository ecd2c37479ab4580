"""An estimate of a plan as a person reads it: a line for each sort of task, and the sums."""

from __future__ import annotations

from harmobench.ahead.forecast import Forecast, Line
from harmobench.live.course import WORDS
from harmobench.live.pace import spell

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def table(found: Forecast) -> list[str]:
    """Lay out a forecast, one line a sort of task."""
    head = ("task", "of", "tasks", "finished", "time left", "disk left")
    rows = [head, *(_row(line) for line in found.lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [_laid(row, widths) for row in rows]


def _row(line: Line) -> tuple[str, ...]:
    kind, name = line.group
    note = "" if line.measured or not line.left else "~"
    time = "unknown" if line.seconds is None else note + spent(line.seconds) if line.left else ""
    disk = "unknown" if line.size is None else note + sized(line.size) if line.left else ""
    return WORDS.get(kind, kind), name, f"{line.tasks:,}", f"{line.tasks - line.left:,}", time, disk


def _laid(row: tuple[str, ...], widths: list[int]) -> str:
    left = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
    right = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def sums(found: Forecast, workers: int | None, gpu: bool) -> list[str]:
    """Say what all of it takes, on what the estimate stands, and what is not in it.

    Parameters
    ----------
    found
        What was estimated.
    workers
        How many there are; None where nobody knows yet.
    gpu
        Whether training waits for one GPU.
    """
    if not any(line.left for line in found.lines):
        return ["nothing is left to compute: tables and the report are written again"]
    unknown = found.unknown()
    least = "at least " if unknown else "about "
    told = [
        f"estimate: {least}{spent(found.seconds())} of work{_on(found, workers, gpu, least)}; "
        f"{least}{sized(found.size())} of disk; tables and the report come on top, "
        "half a minute or more"
    ]
    if any(line.left and line.measured for line in found.lines):
        told.append("it follows from tasks of the same sort that were done in this folder")
    if any(line.left and not line.measured and line.seconds is not None for line in found.lines):
        told.append(
            "~ is a guess from another cohort on another machine, by the voxels of the grid"
        )
    if unknown:
        kinds = dict.fromkeys(line.group[0] for line in unknown)
        names = {k: [line.group[1] for line in unknown if line.group[0] == k] for k in kinds}
        texts = [f"{WORDS.get(kind, kind)} {', '.join(own)}" for kind, own in names.items()]
        told.append(f"unknown, and in no sum: no such task was done here yet: {'; '.join(texts)}")
    return told


def _on(found: Forecast, workers: int | None, gpu: bool, least: str) -> str:
    if workers is None:
        return ", shared by the workers that there will be"
    wall = max(found.seconds() / workers, found.heavy if gpu else found.heavy / workers)
    return f", {least}{spent(wall)} on {workers} worker{'' if workers == 1 else 's'}"


def spent(seconds: float) -> str:
    """Spell a duration, seconds too.

    >>> spent(12.2), spent(700)
    ('12 s', '12 min')
    """
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 59.5 else spell(seconds)


def sized(count: float) -> str:
    """Bytes as a person says them.

    >>> sized(900), sized(1.25e6), sized(48e9)
    ('900 bytes', '1.2 MB', '48 GB')
    """
    power = 0
    while count >= 999.5 and power < len(UNITS) - 1:
        count, power = count / 1000, power + 1
    return (
        f"{count:.1f} {UNITS[power]}" if power and count < 9.95 else f"{count:.0f} {UNITS[power]}"
    )
