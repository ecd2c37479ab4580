"""Figures of the report, each a function that returns a matplotlib Figure.

All take a finished run or its folder, so that they can be called in a notebook:

>>> from harmobench.reports import figures
>>> figures.ssim_violins("RUN")  # doctest: +SKIP
<Figure size 720x245 with 1 Axes>
>>> figures.rmsd_bars("RUN", "hmrf").savefig("rmsd.svg")  # doctest: +SKIP

Figures of a segmenter take its name, and are of the run's first where none is given.
"""

from harmobench.reports.figures.agreement import dice_bars, rmsd_bars
from harmobench.reports.figures.biomarkers import biomarker_rmsd_bars, effect_size_bars
from harmobench.reports.figures.contrast import auroc_bars, auroc_lines
from harmobench.reports.figures.guards import guard_points
from harmobench.reports.figures.mosaic import mosaic
from harmobench.reports.figures.pareto import pareto
from harmobench.reports.figures.similarity import ssim_violins
from harmobench.reports.figures.training import training_curves
from harmobench.reports.figures.volumes import difference_violins, volume_boxes

__all__ = [
    "auroc_bars",
    "auroc_lines",
    "biomarker_rmsd_bars",
    "dice_bars",
    "difference_violins",
    "effect_size_bars",
    "guard_points",
    "mosaic",
    "pareto",
    "rmsd_bars",
    "ssim_violins",
    "training_curves",
    "volume_boxes",
]
