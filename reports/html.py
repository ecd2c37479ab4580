"""The report as one page that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmobench.interface import Finished, Progress

if TYPE_CHECKING:
    from harmobench.reports.catalogue import Plot
    from harmobench.reports.formats import Table

PAGE = Path(__file__).parent / "page"
TEMPLATE = "report.html.j2"
SVG_BYTES = 350_000  # above this a picture of the figure is smaller
SCREEN_DPI = 130
LONG = 24  # rows of a table that the page shows without scrolling it


@dataclass(frozen=True)
class Placed:
    """A finished figure in the page."""

    uri: str
    caption: str
    alt: str
    stem: str


class Html:
    """Writes report.html, one offline file, and the figures it shows into figures/."""

    def write(self, run: Finished, progress: Progress) -> Sequence[Path]:
        """Draw, place and write; the page is the first of the files returned."""
        from harmobench.reports import catalogue
        from harmobench.reports.pictures import Gallery

        sections, curves = catalogue.sections(run), catalogue.training(run)
        gallery = Gallery(run)
        plots = [*catalogue.plots_of(sections), *curves]
        mosaics = [catalogue.mosaic(run, gallery.subjects[0])] if gallery.subjects else []
        note = " A cross marks what failed." if (run.scores["status"] == "failed").any() else ""
        placed: dict[str, Placed] = {}
        written: list[Path] = []
        for done, plot in enumerate([*mosaics, *plots], start=1):
            progress(done, len(plots) + len(mosaics), f"figure {plot.stem}")
            placed[plot.stem], files = _draw(plot, run.folder / "figures", note)
            written += files
        page = run.folder / "report.html"
        page.write_text(render(run, gallery, sections, curves, placed), "utf-8", newline="\n")
        return [page, *written]


def _draw(plot: Plot, folder: Path, note: str) -> tuple[Placed, list[Path]]:
    from harmobench.reports import style
    from harmobench.reports.pictures import data_uri

    folder.mkdir(parents=True, exist_ok=True)
    figure = plot.draw()
    vector = style.svg(figure)
    figure.set_layout_engine("none")  # it stays as the SVG has it; arranging again takes longest
    files = [folder / f"{plot.stem}.svg", folder / f"{plot.stem}.png"]
    for path, content in zip(files, (vector, style.png(figure, style.DPI)), strict=True):
        path.write_bytes(content)
    if len(vector) <= SVG_BYTES:
        uri = data_uri(vector, "image/svg+xml")
    else:
        uri = data_uri(style.png(figure, SCREEN_DPI), "image/png")
    return Placed(uri, plot.caption + note, plot.alt, plot.stem), files


def render(
    run: Finished,
    gallery: Any,
    sections: Sequence[Any],
    curves: Sequence[Plot],
    placed: Mapping[str, Placed],
) -> str:
    """Return the page as text; everything that comes from files is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from harmobench.reports import provenance, style, words
    from harmobench.reports.citable import citable
    from harmobench.reports.findings import findings
    from harmobench.reports.lookup import compared, controls
    from harmobench.reports.verdict import verdict

    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = style.label
    tables: dict[str, Table] = {table.id: table for table in citable(run)}
    return environment.get_template(TEMPLATE).render(
        run=run,
        design=run.design,
        settings=run.settings,
        notes=run.settings.get("notes") or (),
        tables=tables,
        sections=sections,
        curves=[placed[plot.stem] for plot in curves],
        placed=placed,
        gallery=gallery,
        findings=findings(run),
        verdict=verdict(run),
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


def failed_methods(run: Finished) -> list[tuple[str, int, str]]:
    """Return (method, failed tasks, first reason) of each method that failed somewhere."""
    found = []
    for method in dict.fromkeys([*run.design.methods, *sorted(run.failures["method"].unique())]):
        own = run.failures[run.failures["method"] == method]
        if len(own):
            found.append((str(method), len(own), str(own["reason"].iloc[0])))
    return found
