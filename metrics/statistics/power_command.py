"""`harmobench power`: the smallest differences that a cohort of some size can show."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harmobench.errors import SettingsError

if TYPE_CHECKING:
    from harmobench.metrics.statistics.power_plan import Column, Plan

WIDTH = 100  # characters of a printed table
MOST_SUBJECTS = 10_000


def power(
    subjects: Annotated[str, typer.Option(help="How many, as 18 or as a range 5:40.")],
    scanners: Annotated[int, typer.Option(help="How many scanners see each subject.")] = 4,
    run: Annotated[
        Path | None, typer.Option(help="A finished run's folder, for its spread [the phantom's].")
    ] = None,
    power: Annotated[float, typer.Option(help="Probability of finding the difference.")] = 0.8,
    level: Annotated[float, typer.Option(help="Probability of a false finding.")] = 0.05,
    folds: Annotated[
        int | None, typer.Option(help="Folds, for a trained method [a method without training].")
    ] = None,
    within_fold: Annotated[
        float, typer.Option(help="Correlation of differences within a fold, with --folds.")
    ] = 0.1,
    tests: Annotated[
        int, typer.Option(help="Tests that share the level: it is divided by them.")
    ] = 1,
    effect: Annotated[
        float, typer.Option(help="Cohen's d of RAW, for the smallest change of it.")
    ] = 0.8,
    out: Annotated[Path | None, typer.Option(help="Write all numbers to this .csv.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw into this .png or .svg.")] = None,
) -> None:
    """Show the smallest differences in bias, SSIM and Cohen's d that a planned cohort can find.

    Two-sided t-tests of subject-level differences, method minus RAW. Their spread comes from a
    finished run of yours, or else from the phantom.
    """
    from harmobench.metrics.statistics import power_output, power_plan
    from harmobench.metrics.statistics.power_sources import of_run, phantom

    request = power_plan.Request(
        counts=_counts(subjects),
        power=power,
        level=level,
        tests=tests,
        folds=folds,
        within_fold=within_fold,
        effect=effect,
    )
    _check_suffix("--out", out, (".csv",))
    _check_suffix("--picture", picture, (".png", ".svg"))
    source = of_run(run, scanners) if run is not None else phantom(scanners)
    plan = power_plan.make(request, source)
    print(
        f"smallest differences to RAW found with probability {power:g} at level {level:g}, "
        f"{scanners} scanners"
    )
    for columns in _pages(plan):
        print(_page(plan, columns))
    for line in plan.assumptions:
        print(textwrap.fill(f"- {line}", WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    if out is not None:
        power_output.write_csv(plan, scanners, out)
        print(f"written: {out}")
    if picture is not None:
        power_output.draw(plan, picture)
        print(f"picture: {picture}")


def _counts(text: str) -> tuple[int, ...]:
    """Numbers of subjects that "18" or "5:40" stands for."""
    first, colon, last = text.partition(":")
    try:
        low = int(first)
        high = int(last) if colon else low
    except ValueError:
        raise SettingsError(
            f"--subjects: expected a number or a range such as 5:40, found '{text}'"
        ) from None
    if low < 2:
        raise SettingsError(f"--subjects: expected at least 2, found {low}")
    if high < low:
        raise SettingsError(f"--subjects: expected the smaller number first, found '{text}'")
    if high > MOST_SUBJECTS:
        raise SettingsError(f"--subjects: expected at most {MOST_SUBJECTS}, found {high}")
    return tuple(range(low, high + 1))


def _check_suffix(option: str, path: Path | None, known: tuple[str, ...]) -> None:
    if path is None:
        return
    if path.suffix.lower() not in known:
        raise SettingsError(
            f"{option}: expected a file name that ends in {' or '.join(known)}, found '{path}'"
        )
    if not path.parent.is_dir():
        raise SettingsError(f"{option}: expected an existing folder, found no {path.parent}")


def _pages(plan: Plan) -> list[list[Column]]:
    """Columns side by side as far as the width goes."""
    pages: list[list[Column]] = [[]]
    room = 0
    for column in plan.columns:
        width = _width(column)
        if pages[-1] and room + width > WIDTH:
            pages.append([])
            room = 0
        room = (room or len("subjects")) + width
        pages[-1].append(column)
    return pages


def _width(column: Column) -> int:
    return 2 + max(8, *(len(line) for line in column.heading))


def _page(plan: Plan, columns: list[Column]) -> str:
    lines = [""]
    for k in range(len(columns[0].heading)):
        head = "subjects" if k == 0 else ""
        cells = "".join(f"{c.heading[k]:>{_width(c)}}" for c in columns)
        if cells.strip() or head:
            lines.append(f"{head:>8}{cells}".rstrip())
    for row, n in enumerate(plan.counts):
        cells = "".join(f"{_number(c.values[row]):>{_width(c)}}" for c in columns)
        lines.append(f"{n:>8}{cells}")
    return "\n".join([*lines, ""])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
