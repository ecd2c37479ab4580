"""The report as one page that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmobench.interface import Finished, Progress

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from harmobench.reports.catalogue import Plot, Section
    from harmobench.reports.tables.formats import Table

PAGE = Path(__file__).parent / "page"
TEMPLATE = "report.html.j2"
SVG_BYTES = 350_000  # above this a picture of the figure is smaller
SCREEN_DPI = 130
LONG = 24  # rows of a table that the page shows without scrolling it


@dataclass(frozen=True)
class Link:
    """A link that lies over a point of a figure; places in per cent of its width and height."""

    target: str
    left: float
    top: float
    words: str


@dataclass(frozen=True)
class Placed:
    """A finished figure in the page."""

    uri: str
    caption: str
    alt: str
    stem: str
    links: tuple[Link, ...] = ()


class Html:
    """Writes report.html, one offline file, and the figures it shows into figures/."""

    def write(self, run: Finished, progress: Progress) -> Sequence[Path]:
        """Draw, place and write; the page is the first of the files returned."""
        from harmobench.reports import catalogue
        from harmobench.reports.images.pictures import Gallery

        sections, curves = catalogue.sections(run), catalogue.training(run)
        gallery = Gallery(run)
        plots = [*catalogue.plots_of(sections), *curves]
        mosaics = [catalogue.mosaic(run, gallery.subjects[0])] if gallery.subjects else []
        placed: dict[str, Placed] = {}
        written: list[Path] = []
        for done, plot in enumerate([*mosaics, *plots], start=1):
            progress(done, len(plots) + len(mosaics), f"figure {plot.stem}")
            placed[plot.stem], files = _draw(plot, run.folder / "figures")
            written += files
        page = run.folder / "report.html"
        page.write_text(render(run, gallery, sections, curves, placed), "utf-8", newline="\n")
        return [page, *written]

    def brief(self, run: Finished) -> Sequence[Sequence[tuple[str, str]]]:
        """Return the verdict's table as rows of (words, tone), the head first: for notebooks."""
        from harmobench.reports.verdicts.brief import brief

        return brief(run)


def _draw(plot: Plot, folder: Path) -> tuple[Placed, list[Path]]:
    from harmobench.reports import style
    from harmobench.reports.images.pictures import data_uri

    folder.mkdir(parents=True, exist_ok=True)
    figure = plot.draw()
    linked = _linked(figure)
    vector = style.svg(figure)
    figure.set_layout_engine("none")  # it stays as the SVG has it; arranging again takes longest
    files = [folder / f"{plot.stem}.svg", folder / f"{plot.stem}.png"]
    for path, content in zip(files, (vector, style.png(figure, style.DPI)), strict=True):
        path.write_bytes(content)
    if len(vector) <= SVG_BYTES:
        uri = data_uri(vector, "image/svg+xml")
    else:
        uri = data_uri(style.png(figure, SCREEN_DPI), "image/png")
    return Placed(uri, plot.caption, plot.alt, plot.stem, _links(figure, linked)), files


def _linked(figure: Figure) -> list[tuple[Line2D, str]]:
    """Take the links off a figure's points: they work in the page, not in a file."""
    from matplotlib.lines import Line2D

    found: list[tuple[Line2D, str]] = []
    for artist in figure.findobj(Line2D):
        url = artist.get_url()
        if isinstance(artist, Line2D) and url:
            found.append((artist, url))
            artist.set_url(None)
    return found


def _links(figure: Figure, linked: Sequence[tuple[Line2D, str]]) -> tuple[Link, ...]:
    """Say where the points of a drawn figure lie, from its left and upper edge."""
    width, height = figure.bbox.size
    found = []
    for line, url in linked:
        x, y = line.get_transform().transform(line.get_xydata())[0]
        words = str(line.get_label()).removeprefix("_")
        found.append(Link(url, round(100 * x / width, 2), round(100 - 100 * y / height, 2), words))
    return tuple(found)


def template(name: str) -> Template:
    """Return a template of the page's folder: all that is put into it is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from harmobench.reports import style

    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = style.label
    return environment.get_template(name)


def render(
    run: Finished,
    gallery: Any,
    sections: Sequence[Section],
    curves: Sequence[Plot],
    placed: Mapping[str, Placed],
) -> str:
    """Return the page as text; everything that comes from files is escaped."""
    from harmobench.reports import provenance
    from harmobench.reports.citing import words
    from harmobench.reports.lookup import compared, controls
    from harmobench.reports.tables.citable import citable
    from harmobench.reports.tables.formats import shared
    from harmobench.reports.verdicts.findings import findings
    from harmobench.reports.verdicts.sidebyside import side_by_side, tally
    from harmobench.reports.verdicts.summary import summary
    from harmobench.reports.verdicts.verdict import verdict

    tables: dict[str, Table] = {table.id: table for table in citable(run)}
    found = findings(run)
    overview, sections = _overview(sections)
    sides = side_by_side(run)
    summed = summary(run, found)
    rows = [row for _, part in summed.parts for row in part]
    return template(TEMPLATE).render(
        run=run,
        design=run.design,
        settings=run.settings,
        notes=run.settings.get("notes") or (),
        tables=tables,
        shared=shared(tables.values()),
        sections=[part for part in sections if part.id != "guards" or "HB-T12" in tables],
        overview=overview,
        curves=[placed[plot.stem] for plot in curves],
        placed=placed,
        gallery=gallery,
        findings=found,
        summary=summed,
        powerless=any("n too small" in cell.words for row in rows for cell in row.cells),
        simulated=words.simulated(run),
        verdict=verdict(run),
        sides=sides,
        tally=tally(sides),
        ranked=compared(run.design.methods),
        controls=controls(run.design.methods),
        long=LONG,
        failed=failed_methods(run),
        paragraphs=words.methods_text(run),
        bibliography=words.bibliography(run),
        parameters=words.parameters(run),
        facts=provenance.facts(run.settings),
        environment=sorted((run.settings.get("environment") or {}).items()),
        line=provenance.provenance_line(run.settings),
    )


def _overview(sections: Sequence[Section]) -> tuple[list[Plot], list[Section]]:
    """Move the first figure of removal against preservation to the verdict, which it sums up."""
    first = [plot for part in sections for plots, _ in part.blocks for plot in plots]
    chosen = [plot for plot in first if plot.stem.startswith("pareto-")][:1]
    left = [
        replace(
            part,
            blocks=tuple(
                (tuple(plot for plot in plots if plot not in chosen), names)
                for plots, names in part.blocks
            ),
        )
        for part in sections
    ]
    return chosen, left


def failed_methods(run: Finished) -> list[tuple[str, int, str]]:
    """Return (method, failed tasks, first reason) of each method that failed somewhere."""
    found = []
    for method in dict.fromkeys([*run.design.methods, *sorted(run.failures["method"].unique())]):
        own = run.failures[run.failures["method"] == method]
        if len(own):
            found.append((str(method), len(own), str(own["reason"].iloc[0])))
    return found
