"""What stands in the page, and where: sections, their figures and their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmobench.interface import Finished
from harmobench.reports import figures, plots
from harmobench.reports.figures.training import quantities
from harmobench.reports.lookup import compared
from harmobench.reports.plots import Plot, safe
from harmobench.reports.style import label

__all__ = ["Plot", "Section", "mosaic", "plots_of", "sections", "training"]


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
            ((plots.ssim(run), _both("HB-T1")),),
        ),
        Section(
            "contrast",
            "GM-WM contrast",
            "Grey and white matter should be told apart equally well on every scanner, and no "
            "worse than in RAW.",
            ((plots.auroc(run), _both("HB-T5")),),
        ),
        Section(
            "volumes",
            "Volumes and segmentations",
            "One brain has one volume, whichever scanner saw it. Each tool is judged by itself.",
            (
                (plots.volumes(run), ()),
                (plots.differences(run), _both("HB-T2")),
                (plots.rmsd(run), _both("HB-T3")),
                (plots.dice(run), _both("HB-T4")),
            ),
        ),
        Section(
            "biology",
            "Biomarkers and effect sizes",
            "Regional measures should agree over scanners, and group differences should survive.",
            (
                ((), _both("HB-T6")),
                (plots.biomarkers(run), _both("HB-T7")),
                (plots.effects(run), _both("HB-T8")),
            ),
        ),
        Section(
            "components",
            "Removed and kept",
            "Removing the scanner is easy, and so is keeping the subjects; a method has to do "
            f"both. There is no overall score. {plots.unaffected(run)}".rstrip(),
            (
                (plots.pareto(run), ("HB-T9", "HB-T9-details", "HB-T9-limits")),
                ((), ("HB-T9-seeds",)),
                ((), _both("HB-T9-truth")),
            ),
        ),
        Section(
            "guards",
            "Guards",
            "What notices a method that buys agreement by removing anatomy. Controls are there to "
            "show that it does.",
            ((plots.guards(run), _both("HB-T12")),),
        ),
    ]


def _both(name: str) -> tuple[str, str]:
    """Return the ids of the paper's table and of the rigorous one beside it."""
    return name, f"{name}-rigorous"


def training(run: Finished) -> tuple[Plot, ...]:
    """Return a figure of training curves for each method that left a history."""
    found = []
    for method in run.design.methods:
        folds = [rows for (name, _), rows in sorted(run.histories.items()) if name == method]
        rows = [row for fold in folds for row in fold]
        names = quantities(rows)
        if names:
            what = ", ".join(name.replace("_", " ") for name in names)
            found.append(
                Plot(
                    f"training-{safe(method)}",
                    f"HB-F15: Training of {label(method)}: {what}. One colour a fold."
                    + _events(run, method),
                    f"Lines of {what} during the training of {label(method)}. "
                    f"First to last value of one fold: {_ends(folds[0], names)}.",
                    lambda method=method: figures.training_curves(run, method),  # type: ignore[misc]
                )
            )
    return tuple(found)


def _ends(rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> str:
    """Return the first and the last value that each quantity took."""
    said = []
    for name in names:
        found = [row[name] for row in rows if isinstance(row.get(name), int | float)]
        if found:
            said.append(f"{name.replace('_', ' ')} {found[0]:.3g} to {found[-1]:.3g}")
    return ", ".join(said)


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
        f"HB-F3: Axial slices of subject {subject}. After the paper's Fig. 3.",
        f"Axial slices of subject {subject}: a row for each of "
        f"{', '.join(label(m) for m in compared(run.design.methods))}; a column for each of "
        f"{', '.join(run.design.scanners)}.",
        lambda: figures.mosaic(run, subject),
    )


def plots_of(found: Sequence[Section]) -> list[Plot]:
    """Return every figure of these sections, in order."""
    return [plot for section in found for shown, _ in section.blocks for plot in shown]
