"""The files of a table: a suffix and the function that writes it, with equal numbers in each."""

from harmobench.reports.tables.formats import to_csv, to_markdown
from harmobench.reports.tables.latex import to_latex

WRITERS = ((".csv", to_csv), (".md", to_markdown), (".tex", to_latex))
