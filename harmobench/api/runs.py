"""A finished run in a notebook: its tables, its numbers, its figures, and what to cite."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harmobench.api.given import path_of, text_of
from harmobench.api.installed import about
from harmobench.api.shown import Names, Text, Told, counted, grid, line, pairs_text, shortened
from harmobench.api.tables import read, titles
from harmobench.damage import naming_damage
from harmobench.errors import PluginError, SettingsError, nearest
from harmobench.finish import finished
from harmobench.parts import Part
from harmobench.registry import find

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Mode = Literal["paper", "rigorous"]
MEANING = (
    "Each method against RAW, with subjects as the unit; \N{BLACK CIRCLE} better, and not shown "
    "worse than another method. The report says how each line is judged and what the words mean."
)


class Run:
    """A finished run.

    Parameters
    ----------
    folder
        The run folder.

    Attributes
    ----------
    folder
        Where it lies.
    finished
        All that reports see of it: `harmobench.interface.Finished`.

    Raises
    ------
    HarmobenchError
        The folder holds no finished run, or a damaged one.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = path_of("run folder", folder).absolute()
        self.finished = finished(self.folder)

    @property
    def report(self) -> Path:
        """The page to open in a browser."""
        return self.folder / "report.html"

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that ran, RAW first, controls last."""
        return tuple(self.finished.design.methods)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that scored them."""
        return tuple(self.finished.design.metrics)

    @property
    def scores(self) -> pd.DataFrame:
        """Every score, one a row; columns are in `harmobench.results`."""
        return self.finished.scores.copy()

    @property
    def aggregates(self) -> pd.DataFrame:
        """Means, spreads, biases and their intervals, of both modes of statistics."""
        return self.finished.aggregates.copy()

    @property
    def comparisons(self) -> pd.DataFrame:
        """Tests between methods, of both modes of statistics."""
        return self.finished.comparisons.copy()

    @property
    def costs(self) -> pd.DataFrame:
        """Seconds and memory of each kind of task and method."""
        return self.finished.costs.copy()

    @property
    def failures(self) -> pd.DataFrame:
        """What failed, and why; no rows where nothing did."""
        return self.finished.failures.copy()

    @property
    def tables(self) -> Names:
        """The tables of the run, by id, with their titles."""
        return titles(self.folder)

    @property
    def figures(self) -> Names:
        """What `figure` can draw, by name; whether this run has it, drawing tells."""
        return about("figures")

    def table(self, name: str, mode: Mode = "paper", *, text: bool = False) -> pd.DataFrame:
        """Return a table that can be cited.

        Parameters
        ----------
        name
            Its id, one of `tables`, such as "HB-T2".
        mode
            "paper", or "rigorous" for the table of that id with rigorous statistics.
        text
            Cells as they are printed. Else numbers are numbers, with NaN where a word stands such
            as "failed" or "identical", and a p printed as "<0.0001" is that bound.

        Returns
        -------
        DataFrame
            With `attrs`: id, title, caption, provenance.

        Raises
        ------
        HarmobenchError
            There is no such table, or nothing of it was measured.
        """
        return read(self.folder, name, mode, text=text)

    def figure(self, name: str, **options: Any) -> Figure:
        """Draw a figure from the run's numbers.

        Parameters
        ----------
        name
            One of `figures`, such as "ssim".
        options
            What the figure can be told, such as tool="hmrf" or, of "mosaic", subject="01".

        Raises
        ------
        HarmobenchError
            No such figure or option, or the run did not measure what it shows.
        """
        text_of("figure", name, "one of the names in `figures`, such as 'ssim'")
        draw = find("figures", name).load()
        _refuse_options(name, draw, options)
        with naming_damage(self.folder):
            found: Figure = draw(self.finished, **options)
        return found

    def cite(self, format: Literal["all", "text", "bibtex"] = "all") -> Text:
        """Return what to write of the run and what to cite, as `harmobench cite` prints it."""
        command = find("commands", "cite").load()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            command(self.folder, format)
        return Text(printed.getvalue().rstrip("\n"))

    def _facts(self) -> dict[str, str]:
        design, failures = self.finished.design, self.finished.failures
        people = counted(len(design.subjects), "subject")
        scanners = ", ".join(design.scanners)
        failed = f"{counted(len(failures), 'task')}: see .failures" if len(failures) else ""
        settings = self.finished.settings
        return {
            "cohort": f"{people} on {counted(len(design.scanners), 'scanner')} ({scanners})",
            "methods": ", ".join(self.methods),
            "metrics": ", ".join(self.metrics),
            "preset": str(settings.get("preset", "")),
            "simulated": str(settings["cohort"].get("simulated", "")),
            "notes": "; ".join(settings.get("notes", ())),
            "failed": failed,
            "tables": shortened(self.tables, 30),
            "figures": ", ".join(self.figures),
        }

    def __repr__(self) -> str:
        """Return the run in a few lines."""
        return f"Run {self.folder}\n{pairs_text({**self._facts(), 'report': str(self.report)})}"

    def _repr_html_(self) -> str:
        verdict = _verdict(self)
        facts = "".join(line(text, name) for name, text in self._facts().items() if text)
        link = f"<p><a href='{escape(_address(self.report))}' target='_blank'>report.html</a></p>"
        return f"{line(str(self.folder), 'Run')}{verdict}{facts}{link}"


def open_run(folder: str | PathLike[str]) -> Run:
    """Open the folder of a finished run.

    Raises
    ------
    HarmobenchError
        It holds no finished run, or a damaged one.
    """
    return Run(folder)


def _verdict(run: Run) -> str:
    """Return the verdict's table of the first of the run's reports that can give one."""
    for part in run.finished.settings.get("reports", ()):
        try:
            brief = getattr(Part(**part).build(), "brief", None)
        except PluginError:  # of a package that is not installed here
            continue
        rows = brief(run.finished) if brief is not None else ()
        if rows:
            head, *body = rows
            told = ([Told(*cell) for cell in row] for row in body)
            return grid([words for words, _ in head], told) + line(MEANING)
    return ""


def _address(page: Path) -> str:
    """Return a link that works in a notebook: relative where the page lies below its folder."""
    here = Path.cwd()
    return os.path.relpath(page, here) if page.is_relative_to(here) else page.as_uri()


def _refuse_options(name: str, draw: Any, options: dict[str, Any]) -> None:
    known = dict(list(inspect.signature(draw).parameters.items())[1:])
    for option in options:
        if option not in known:
            raise SettingsError(
                f"figure '{name}': expected one of its options ({', '.join(known) or 'none'}), "
                f"found {option}{nearest(option, known)}"
            )
    for option, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and option not in options:
            raise SettingsError(
                f"figure '{name}': expected {option}=..., found none: name one, as in "
                f"run.figure('{name}', {option}=...)"
            )
