"""What stands in the page, and where: sections, their figures and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harmobench.interface import Finished
from harmobench.reports import figures
from harmobench.reports.figures.pareto import tools
from harmobench.reports.figures.training import quantities
from harmobench.reports.guards import guard_columns
from harmobench.reports.lookup import Lookup, compared, measured, scores
from harmobench.reports.rows import ESTIMATE
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


@dataclass(frozen=True)
class Section:
    """A part of the page: figures and the ids of the tables beside them, in blocks.

    Tables that the run does not have are left out.
    """

    id: str
    title: str
    text: str
    blocks: tuple[tuple[tuple[Plot, ...], tuple[str, ...]], ...]


def sections(run: Finished) -> list[Section]:
    """Return the paper's criteria in the paper's order, then what the paper does not have."""
    return [
        Section(
            "similarity",
            "Image similarity",
            "Matched scans show one brain, so they should look alike. Agreement alone cannot tell "
            "a good method from one that blurs brains into each other.",
            ((_ssim(run), _both("HB-T1")),),
        ),
        Section(
            "contrast",
            "GM-WM contrast",
            "Grey and white matter should be told apart equally well on every scanner, and no "
            "worse than in RAW.",
            ((_auroc(run), _both("HB-T5")),),
        ),
        Section(
            "volumes",
            "Volumes and segmentations",
            "One brain has one volume, whichever scanner saw it. Each tool is judged by itself.",
            (
                (_volumes(run), ()),
                (_differences(run), _both("HB-T2")),
                (_rmsd(run), _both("HB-T3")),
                (_dice(run), _both("HB-T4")),
            ),
        ),
        Section(
            "biology",
            "Biomarkers and effect sizes",
            "Regional measures should agree over scanners, and group differences should survive.",
            (
                ((), _both("HB-T6")),
                (_biomarkers(run), _both("HB-T7")),
                (_effects(run), _both("HB-T8")),
            ),
        ),
        Section(
            "components",
            "Removed and kept",
            "Removing the scanner is easy, and so is keeping the subjects; a method has to do "
            "both. There is no overall score.",
            (
                (_pareto(run), ("HB-T9", "HB-T9-details", "HB-T9-limits")),
                ((), ("HB-T9-seeds",)),
                ((), _both("HB-T9-truth")),
            ),
        ),
        Section(
            "guards",
            "Guards",
            "What notices a method that buys agreement by removing anatomy. Controls are there to "
            "show that it does.",
            ((_guards(run), _both("HB-T12")),),
        ),
    ]


def _both(name: str) -> tuple[str, str]:
    """Return the ids of the paper's table and of the rigorous one beside it."""
    return name, f"{name}-rigorous"


def training(run: Finished) -> tuple[Plot, ...]:
    """Return a figure of training curves for each method that left a history."""
    plots = []
    for method in run.design.methods:
        rows = [row for (name, _), r in run.histories.items() if name == method for row in r]
        names = quantities(rows)
        if names:
            what = ", ".join(name.replace("_", " ") for name in names)
            plots.append(
                Plot(
                    f"training-{_safe(method)}",
                    f"Training of {label(method)}: {what}. One colour a fold."
                    + _events(run, method),
                    f"Lines of {what} during the training of {label(method)}.",
                    lambda method=method: figures.training_curves(run, method),  # type: ignore[misc]
                )
            )
    return tuple(plots)


def _events(run: Finished, method: str) -> str:
    """Say what a method chose in each fold, and how often a training had to start again."""
    chosen, again = [], 0
    for (name, fold), rows in sorted(run.histories.items()):
        events = [row for row in rows if name == method and "event" in row]
        again += sum(row["event"] == "diverged" for row in events)
        for row in events:
            if row["event"] == "chosen":
                place = ("all scans" if fold < 0 else f"fold {fold}", row.get("orientation"))
                chosen.append(f"{' '.join(filter(None, place))}: {row.get('candidate', '')}")
    text = f" Chosen in {'; '.join(chosen)}." if chosen else ""
    times = "once" if again == 1 else f"{again} times"
    return text + (f" Training diverged {times} and started again slower." if again else "")


def mosaic(run: Finished, subject: str) -> Plot:
    """Return figure 3 as a file; the page shows the same slices as a table."""
    return Plot(
        "fig03-images",
        f"Figure 3. Axial slices of subject {subject}.",
        f"Axial slices of subject {subject}: methods by scanners.",
        lambda: figures.mosaic(run, subject),
    )


def _ssim(run: Finished) -> tuple[Plot, ...]:
    if not len(scores(run, "ssim")):
        return ()
    means = _means(run, "ssim", "mean")
    return (
        Plot(
            "fig04-ssim",
            "Figure 4. SSIM of matched scans over subjects, by scanner pair and method. Points are "
            "subjects, the dark line is the mean, * differs from RAW. Higher is better.",
            f"Violin plots of SSIM by scanner pair and method. Mean over pairs: {means}.",
            lambda: figures.ssim_violins(run),
        ),
    )


def _auroc(run: Finished) -> tuple[Plot, ...]:
    if not len(scores(run, "auroc")):
        return ()
    spread = _means(run, "auroc", "spread")
    return (
        Plot(
            "fig05-auroc-lines",
            "Figure 5. AUROC of grey against white matter of every subject; each line is a "
            "scanner, each panel a method. Lines that overlap are better.",
            f"Lines of AUROC over subjects, one a scanner, one panel a method. Spread: {spread}.",
            lambda: figures.auroc_lines(run),
        ),
        Plot(
            "fig06-auroc-means",
            "Figure 6. Mean AUROC of each scanner, with SD over subjects. Bars start at .5, "
            "chance; not lower than RAW is better.",
            "Bars of mean AUROC by scanner and method. "
            f"Mean over scanners: {_means(run, 'auroc', 'mean')}.",
            lambda: figures.auroc_bars(run),
        ),
    )


def _volumes(run: Finished) -> tuple[Plot, ...]:
    return tuple(
        Plot(
            f"fig07-volumes-{_safe(tool)}",
            f"Figure 7 ({label(tool)}). Volumes over subjects by method and scanner. Boxes of one "
            "method at one height are better.",
            f"Box plots of tissue volumes by {label(tool)}, a box for each method and scanner.",
            lambda tool=tool: figures.volume_boxes(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "volume", "tool")
    )


def _differences(run: Finished) -> tuple[Plot, ...]:
    return tuple(
        Plot(
            f"fig08-bias-{_safe(tool)}",
            f"Figure 8 ({label(tool)}). Absolute volume differences of matched scans, by scanner "
            "pair and method; * differs from RAW. Nearer to zero is better.",
            f"Violin plots of absolute volume differences by {label(tool)}. Mean bias over tissues "
            f"and pairs: {_means(run, 'volume', 'bias', tool)} ml.",
            lambda tool=tool: figures.difference_violins(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "volume", "tool")
    )


def _rmsd(run: Finished) -> tuple[Plot, ...]:
    return tuple(
        Plot(
            f"fig09-rmsd-{_safe(tool)}",
            f"Figure 9 ({label(tool)}). RMSD of volumes by scanner pair and method. Lower is "
            "better.",
            f"Bars of volume RMSD by {label(tool)}. Mean over tissues and pairs: "
            f"{_means(run, 'volume', 'rmsd', tool)} ml.",
            lambda tool=tool: figures.rmsd_bars(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "volume", "tool")
    )


def _dice(run: Finished) -> tuple[Plot, ...]:
    return tuple(
        Plot(
            f"fig10-dice-{_safe(tool)}",
            f"Figure 10 ({label(tool)}). Mean Dice overlap of tissue masks, with SD, by scanner "
            "pair and method. Higher is better.",
            f"Bars of mean Dice by {label(tool)}. Mean over tissues and pairs: "
            f"{_means(run, 'dice', 'mean', tool)}.",
            lambda tool=tool: figures.dice_bars(run, tool),  # type: ignore[misc]
        )
        for tool in measured(run, "dice", "tool")
    )


def _biomarkers(run: Finished) -> tuple[Plot, ...]:
    if not _means(run, "biomarker", "rmsd"):
        return ()
    return (
        Plot(
            "fig11-biomarkers",
            "Figure 11. RMSD of biomarkers, mean over scanner pairs. Lower is better.",
            "Bars of biomarker RMSD by biomarker and method, with the numbers of HB-T7.",
            lambda: figures.biomarker_rmsd_bars(run),
        ),
    )


def _effects(run: Finished) -> tuple[Plot, ...]:
    if not _means(run, "biomarker", "cohen_d_mean"):
        return ()
    return (
        Plot(
            "effect-sizes",
            "Effect sizes. Cohen's d, mean with SD over scanners; dotted: RAW.",
            f"Bars of Cohen's d. Mean: {_means(run, 'biomarker', 'cohen_d_mean')}.",
            lambda: figures.effect_size_bars(run),
        ),
    )


def _pareto(run: Finished) -> tuple[Plot, ...]:
    return tuple(
        Plot(
            f"pareto-{_safe(tool)}",
            f"Removal against preservation ({label(tool)}). Across: what is left of the scanners' "
            "component; up: the subjects' component, and individuality, all relative to RAW "
            "(components as SDs; bars: 95% intervals of the method's own). Left and near the "
            "dotted line is better. Hollow: controls; beyond the edge, with their number. Line: "
            "contenders that neither another nor RAW beats on both. Dashed: what registration "
            "alone gives back.",
            f"Points of the scanner component left against the subject component and individuality "
            f"kept, by {label(tool)}, a point a method; the numbers are in HB-T9 and HB-T12.",
            lambda tool=tool: figures.pareto(run, tool),  # type: ignore[misc]
        )
        for tool in tools(run)
    )


def _guards(run: Finished) -> tuple[Plot, ...]:
    if not any(column.parts == ESTIMATE for column, _ in guard_columns(run)):
        return ()
    return (
        Plot(
            "guard-points",
            "Guards. Mean with 95% interval of every method and control (hollow); dotted: RAW; "
            "ticks: chance.",
            "Points of each guard, a panel a guard, a line a method; the numbers are in HB-T12.",
            lambda: figures.guard_points(run),
        ),
    )


def _means(run: Finished, metric: str, aggregate: str, tool: str | None = None) -> str:
    """Return "RAW 0.81, MISPEL 0.94": for alt text, a mean over all the bars of a method."""
    lookup = Lookup(run)
    places = lookup.cases(metric, aggregate) or lookup.cases(metric, aggregate, pooled=True)
    places = [place for place in places if tool in (None, place.tool)]
    said = []
    for method in compared(run.design.methods):
        found = [lookup.value(metric, aggregate, place, method) for place in places]
        known = [value for value in found if value is not None]
        if known:
            said.append(f"{label(method)} {sum(known) / len(known):.3g}")
    return ", ".join(said)


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def plots_of(found: Sequence[Section]) -> list[Plot]:
    """Return every figure of these sections, in order."""
    return [plot for section in found for plots, _ in section.blocks for plot in plots]
