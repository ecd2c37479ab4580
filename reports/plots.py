"""The figures of the paper's criteria and of the guards: file names, captions, what they show.

HB-F3 to HB-F11 have the numbers of the paper's figures, and keep them where others are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harmobench.interface import Finished
from harmobench.reports import alts, figures
from harmobench.reports.figures.panels import MANY
from harmobench.reports.figures.tools import TISSUES, tissues_of
from harmobench.reports.lookup import RIGOROUS, Lookup, measured, scores
from harmobench.reports.shares import cases_of, relative, tools
from harmobench.reports.style import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A figure to draw: its file name, what stands under it, and what it shows, in words."""

    stem: str
    caption: str
    alt: str
    draw: Callable[[], Figure]


def ssim(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F4, where SSIM was measured."""
    if not len(scores(run, "ssim")):
        return ()
    return (
        Plot(
            "fig04-ssim",
            "HB-F4: SSIM of matched scans, by scanner pair and method. Higher is better. "
            f"{_violins(run)} After the paper's Fig. 4.",
            "Violin plots of SSIM by scanner pair and method. Mean over pairs: "
            f"{alts.means(run, 'ssim', 'mean')}. {alts.different(run, 'ssim', ())}".rstrip(),
            lambda: figures.ssim_violins(run),
        ),
    )


def _violins(run: Finished) -> str:
    """Say what stands in a violin."""
    many = len(run.design.subjects) > MANY
    points = "Thick line: middle half of the subjects; points: outliers" if many else ""
    return f"{points or 'Points: subjects'}; dark line: mean."


def auroc(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F5 and HB-F6, where AUROC was measured."""
    if not len(scores(run, "auroc")):
        return ()
    return (
        Plot(
            "fig05-auroc-lines",
            "HB-F5: AUROC of grey against white matter, subject by subject. Lines of scanners that "
            "overlap are better. After the paper's Fig. 5.",
            "Lines of AUROC over subjects, one a scanner, one panel a method. Mean SD over the "
            f"scanners of a subject: {alts.means(run, 'auroc', 'spread')}.",
            lambda: figures.auroc_lines(run),
        ),
        Plot(
            "fig06-auroc-means",
            "HB-F6: Mean AUROC by scanner and method. Bars start at .5, chance; not lower than RAW "
            "is better. After the paper's Fig. 6.",
            "Bars of mean AUROC by scanner and method. Mean over scanners: "
            f"{alts.means(run, 'auroc', 'mean')}.",
            lambda: figures.auroc_bars(run),
        ),
    )


def volumes(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F7 of each tool."""
    return tuple(
        Plot(
            f"fig07-volumes-{safe(tool)}",
            f"HB-F7 ({label(tool)}): Volumes over subjects, by method and scanner. Boxes of one "
            "method at one height are better. After the paper's Fig. 7.",
            _volumes_alt(run, tool),
            lambda tool=tool: figures.volume_boxes(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "volume", "tool")
    )


def _volumes_alt(run: Finished, tool: str) -> str:
    shown = tissues_of(scores(run, "volume", tool=tool)["structure"])
    spans = [f"{label(tissue)}, ml: {alts.span(run, 'volume', tissue, tool)}" for tissue in shown]
    return (
        f"Box plots of tissue volumes by {label(tool)}, a box for each method and scanner. "
        f"Lowest to highest mean of a scanner. {'; '.join(spans)}."
    )


def differences(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F8 of each tool."""
    return tuple(
        Plot(
            f"fig08-bias-{safe(tool)}",
            f"HB-F8 ({label(tool)}): Absolute volume differences of matched scans, by scanner pair "
            f"and method. Nearer to zero is better. {_violins(run)} After the paper's Fig. 8.",
            f"Violin plots of absolute volume differences by {label(tool)}. Mean bias over tissues "
            f"and pairs, ml: {alts.means(run, 'volume', 'bias', tool)}. "
            f"{alts.different(run, 'volume', TISSUES, tool)}".rstrip(),
            lambda tool=tool: figures.difference_violins(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "volume", "tool")
    )


def rmsd(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F9 of each tool."""
    return tuple(
        Plot(
            f"fig09-rmsd-{safe(tool)}",
            f"HB-F9 ({label(tool)}): RMSD of volumes, by scanner pair and method, and over all "
            "pairs. Lower is better. After the paper's Fig. 9.",
            f"Bars of volume RMSD by {label(tool)}. Over all pairs, ml. "
            f"{_over_all(run, 'volume', 'rmsd', 'rmsd', tool)}.",
            lambda tool=tool: figures.rmsd_bars(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "volume", "tool")
    )


def dice(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F10 of each tool."""
    return tuple(
        Plot(
            f"fig10-dice-{safe(tool)}",
            f"HB-F10 ({label(tool)}): Mean Dice overlap of tissue masks, by scanner pair and "
            "method, and over all pairs; the axis does not start at 0. Higher is better. After the "
            "paper's Fig. 10.",
            f"Dots of mean Dice by {label(tool)}. Over all pairs. "
            f"{_over_all(run, 'dice', 'mean', 'mean', tool)}.",
            lambda tool=tool: figures.dice_bars(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "dice", "tool")
    )


def _over_all(run: Finished, metric: str, rigorous: str, paper: str, tool: str) -> str:
    """Return the rigorous estimates over all pairs, or means of the paper's over the pairs."""
    shown = tissues_of(scores(run, metric, tool=tool)["structure"])
    return alts.over_all(run, metric, rigorous, tool, shown) or alts.means(run, metric, paper, tool)


def biomarkers(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F11, where biomarkers were measured."""
    said = alts.regions(run, "rmsd", "rmsd")
    if not said:
        return ()
    return (
        Plot(
            "fig11-biomarkers",
            "HB-F11: RMSD of biomarkers over scanner pairs. Lower is better. After the paper's "
            "Fig. 11.",
            f"Bars of biomarker RMSD by biomarker and method. {said}.",
            lambda: figures.biomarker_rmsd_bars(run),
        ),
    )


def effects(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F12, where there are clinical groups."""
    said = alts.regions(run, "cohen_d", "cohen_d_mean")
    if not said:
        return ()
    return (
        Plot(
            "effect-sizes",
            "HB-F12: Effect sizes of the clinical groups, Cohen's d, mean over scanners. After the "
            "paper's Table 4.",
            f"Bars of Cohen's d by biomarker and method. {said}.",
            lambda: figures.effect_size_bars(run),
        ),
    )


def pareto(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F13 of each tool by which RAW has an effect of scanners: the rest is of it."""
    return tuple(
        Plot(
            f"pareto-{safe(tool)}",
            f"HB-F13 ({label(tool)}): Removal against preservation. Across: what is left of the "
            "scanners' component; up: what is kept of the subjects' component, and of "
            "individuality; all as shares of RAW's (components as SDs; lines: 95% intervals of the "
            "method's own). Left and near the dotted line is better. Hollow: controls, with their "
            "number where they lie beyond the edge.",
            "Points of the scanner component left against the subject component and individuality "
            f"kept, by {label(tool)}, a point a method. Shares of RAW's. "
            f"{alts.components(run, tool)}.",
            lambda tool=tool: figures.pareto(run, tool),  # type: ignore[misc]
        )
        for tool in tools(run)
        if _affected(run, tool)
    )


def unaffected(run: Finished) -> str:
    """Say which tools have no HB-F13, and why."""
    named = " and ".join(label(tool) for tool in tools(run) if not _affected(run, tool))
    return f"By {named} no scanner effect was found in RAW: HB-F13 has none to draw." * bool(named)


def _affected(run: Finished, tool: str) -> bool:
    lookup = Lookup(run, RIGOROUS)
    return any(relative(lookup, case, "scanner") for case in cases_of(lookup, tool))


def guards(run: Finished) -> tuple[Plot, ...]:
    """Return HB-F14, where guards have intervals."""
    said = alts.guards(run)
    if not said:
        return ()
    return (
        Plot(
            "guard-points",
            "HB-F14: Guards of every method and, below the line, every control.",
            f"Points of each guard, a panel a guard, a line a method. {said}.",
            lambda: figures.guard_points(run),
        ),
    )


def safe(name: str) -> str:
    """Return a name as a part of a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
