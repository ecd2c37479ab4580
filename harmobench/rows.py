"""The rows that a metric gives, held to its contract where it gives them.

Statistics and tables trust them: what is wrong must fail here, with the metric's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, combinations
from typing import Any, get_args

import numpy as np

from harmobench.cohort import Scan
from harmobench.errors import MeasurementError
from harmobench.interface import ASIDE, Row, Status

# The sizes of numbers whose sixth powers are numbers: statistics take some.
LEAST, MOST = 1e-50, 1e50
LONGEST = 200  # characters of a structure's name


def checked_rows(
    rows: Iterable[Row], metric: Any, name: str, scans: Sequence[Scan]
) -> list[dict[str, Any]]:
    """Return rows as plain data.

    Parameters
    ----------
    rows
        What `metric.score` gave for `scans`.
    name
        The metric's registered name.

    Raises
    ------
    MeasurementError
        A row that is none, of nobody, there twice, or with a value that is no score.
    """
    found = list(rows)
    for row in found:
        for fault in chain(_form_faults(row), _place_faults(row, metric.level, scans)):
            raise MeasurementError(f"metric '{name}' broke its contract: {fault}")
        for fault in value_faults(row, metric.range):
            raise MeasurementError(f"metric '{name}' gave {fault}")
    for fault in _table_faults(found):
        raise MeasurementError(f"metric '{name}' broke its contract: {fault}")
    return [asdict(row) | {"value": _number(row.value)} for row in found]


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _form_faults(row: Row) -> Iterator[str]:
    if not isinstance(row, Row):
        yield f"expected rows of harmobench.interface.Row, found {type(row).__name__}"
        return
    texts = (row.units, row.scanner, row.reference_scanner, row.status, row.reason, row.subject)
    if not all(isinstance(text, str) for text in (row.structure, *texts)):
        yield f"expected a Row with texts beside its value, found {row!r}"
    elif not (row.structure.strip() and row.structure.isprintable()):
        yield f"expected the name of a structure, found {row.structure!r}"
    elif len(row.structure) > LONGEST:
        yield f"expected a structure of at most {LONGEST} characters, found {len(row.structure)}"
    elif row.status not in get_args(Status):
        yield f"expected a status of {', '.join(get_args(Status))}, found {row.status!r}"


def _place_faults(row: Row, level: str, scans: Sequence[Scan]) -> Iterator[str]:
    scanners = list(dict.fromkeys(scan.scanner for scan in scans))
    subjects = {scan.subject for scan in scans}
    place = (row.scanner, row.reference_scanner)
    if level == "cohort":
        right = all(scanner in ("", *scanners) for scanner in place)
        expected = f"scanners of the scans ({', '.join(scanners)}) or none"
    elif level == "pair":
        right = place in set(combinations(scanners, 2))
        expected = f"two scanners of the subject in their order ({', '.join(scanners)})"
    else:
        right = place[0] in scanners and not place[1]
        expected = f"one scanner of the subject ({', '.join(scanners)})"
    if not right:
        yield f"expected {expected}, found '{place[0]}' and '{place[1]}' for {row.structure}"
    if row.subject and row.subject not in subjects:
        yield f"expected a subject that it was given, found '{row.subject}' for {row.structure}"


def value_faults(row: Row, limits: tuple[float, float]) -> Iterator[str]:
    """Say what is wrong with a row's value, for a metric whose range is `limits`."""
    value = row.value
    if row.status != "ok":
        if value is not None:
            yield f"{value} for {row.structure} with the status '{row.status}', expected no value"
        return
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        yield f"{value!r} for {row.structure}, expected a number"
    elif not np.isfinite(value):
        yield f"{value} for {row.structure}, expected a finite number"
    elif value and not LEAST <= abs(value) <= MOST:
        yield (
            f"{value:g} for {row.structure}, expected 0 or a number of a size from {LEAST:g} to "
            f"{MOST:g}: statistics cannot square others"
        )
    else:
        low, high = limits
        slack = 1e-6 * max(1.0, abs(low) if np.isfinite(low) else 1.0)
        if not low - slack <= value <= high + slack:
            yield f"{value:g} for {row.structure}, outside its range {low:g} to {high:g}"


def _table_faults(rows: Sequence[Row]) -> Iterator[str]:
    keys = Counter((r.structure, r.subject, r.scanner, r.reference_scanner) for r in rows)
    for key, count in keys.items():
        if count > 1:
            where = ", ".join(text for text in key[1:] if text) or "the cohort"
            yield f"expected one row for {key[0]} of {where}, found {count}"
    structures = {row.structure for row in rows}
    for structure in sorted(structures):
        end = next((end for end in ASIDE if structure.endswith(end)), None)
        if end is not None and structure.removesuffix(end) not in structures:
            yield (
                f"expected rows of '{structure.removesuffix(end)}' beside '{structure}': names "
                f"that end in {', '.join(ASIDE)} stand beside a score and are none"
            )
