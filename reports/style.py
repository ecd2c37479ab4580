"""How figures and names look: one palette, one set of labels, files that are equal byte by byte."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
LABELS = {
    "raw": "RAW",
    "whitestripe": "White Stripe",
    "ravel": "RAVEL",
    "ravel-cv": "RAVEL-CV",
    "calamiti": "CALAMITI",
    "mispel": "MISPEL",
    "gm": "GM",
    "wm": "WM",
    "csf": "CSF",
    "ssim": "SSIM",
    "auroc": "AUROC",
    "dice": "Dice",
    "freesurfer": "FreeSurfer",
    "freesurfer-tables": "FreeSurfer",
    "fastsurfer": "FastSurfer",
    "synthseg": "SynthSeg",
    "fsl-fast": "FSL FAST",
    "spm12": "SPM12",
    "hmrf": "HMRF",
    "atropos": "Atropos",
}
STRUCTURES = ("brain", "gm", "wm", "csf", "entorhinal", "inferior_temporal", "hippocampus")
INK, GRID, RAW = "#24292f", "#c9ced6", "#7f858d"
# Okabe and Ito (2008), without black and yellow: told apart by colour-blind readers, and 3:1 or
# close to it on white and on near-black. A second round of methods gets hatches.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "///", "...", "xxx")
LINES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
DPI = 300
# An SVG in an <img> follows the page's colour scheme by its own style sheet.
DARK = (
    "<style>@media (prefers-color-scheme: dark) {"
    f'[style*="fill: {INK}"]{{fill:#e6edf3 !important}}'
    f'[style*="stroke: {INK}"]{{stroke:#e6edf3 !important}}'
    f'[style*="stroke: {GRID}"]{{stroke:#3d444d !important}}'
    "}</style>"
)


def label(name: str) -> str:
    """Return the field's own spelling of a registered name; other names as they are.

    >>> label("whitestripe"), label("inferior_temporal"), label("Their-Method")
    ('White Stripe', 'inferior temporal', 'Their-Method')
    """
    return LABELS.get(name, name.replace("_", " "))


def pair_label(pair: Sequence[str]) -> str:
    """Two scanners as one name."""
    return " \N{EN DASH} ".join(pair)


def order(names: Sequence[str]) -> list[str]:
    """Structures in the paper's order, unknown ones by name behind them."""
    known = {name: place for place, name in enumerate(STRUCTURES)}
    return sorted(dict.fromkeys(names), key=lambda name: (known.get(name, len(known)), name))


def colours(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and hatch of each method; RAW is grey."""
    others = [name for name in methods if name != "raw"]
    looks = {
        name: (PALETTE[i % len(PALETTE)], HATCHES[(i // len(PALETTE)) % len(HATCHES)])
        for i, name in enumerate(others)
    }
    return {name: looks.get(name, (RAW, "")) for name in methods}


@contextmanager
def plotting(salt: str = "harmobench") -> Iterator[None]:
    """Set what every figure is drawn and saved with."""
    import matplotlib as mpl

    settings: Any = {
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": INK,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
        "font.size": 8,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "hatch.linewidth": 0.6,
        "legend.frameon": False,
        "legend.labelcolor": INK,
        "svg.fonttype": "path",
        "svg.hashsalt": salt,
        "text.color": INK,
        "text.parse_math": False,  # a scanner called $x$ is a scanner called $x$
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the report's style, whatever the caller's settings are."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plotting():
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches) that no window system knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes, and it follows dark mode."""
    stream = io.BytesIO()
    with plotting():
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue().decode("utf-8")
    text = re.sub(r"\A.*?(?=<svg)", "", text, flags=re.DOTALL)
    head, mark, rest = text.partition("<defs>")
    lines = (line.rstrip() for line in f"{head}{DARK}{mark}{rest}".splitlines())
    return ("\n".join(line for line in lines if line) + "\n").encode()


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as PNG on white."""
    stream = io.BytesIO()
    with plotting():
        figure.savefig(
            stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None}
        )
    return stream.getvalue()


def finite(values: Any) -> Any:
    """Return the finite numbers among these, float64."""
    array = np.asarray(values, dtype="float64").ravel()
    return array[np.isfinite(array)]
