"""The report that writes the tables that can be cited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harmobench.interface import Finished, Progress


class Tables:
    """Writes tables/HB-Tn.csv, .md and .tex, with the same numbers, and references.bib."""

    def write(self, run: Finished, progress: Progress) -> Sequence[Path]:
        """Write every table of the run and what to cite for it, and return the files."""
        from harmobench.reports.citing.bibtex import references_bib
        from harmobench.reports.tables.citable import citable
        from harmobench.reports.tables.files import WRITERS

        folder = run.folder / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        tables = citable(run)
        for done, table in enumerate(tables, start=1):
            for suffix, text in WRITERS:
                path = folder / f"{table.id}{suffix}"
                path.write_text(text(table), encoding="utf-8", newline="\n")
                written.append(path)
            progress(done, len(tables), f"table {table.id}")
        references = run.folder / "references.bib"
        references.write_text(references_bib(run), encoding="ascii", newline="\n")
        return [*written, references]
