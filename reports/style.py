"""How figures and names look: one palette, one set of labels, files that are equal byte by byte."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, cast

import numpy as np

P = ParamSpec("P")

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harmobench.interface import Finished

    Drawing = Callable[Concatenate[Finished | str | PathLike[str], P], Figure]

LABELS = {
    "raw": "RAW",
    "whitestripe": "White Stripe",
    "ravel": "RAVEL",
    "ravel-cv": "RAVEL-CV",
    "calamiti": "CALAMITI",
    "mispel": "MISPEL",
    "combat": "ComBat",
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
GEOMETRY = re.compile(r'(?<= )(?:d|x|y)="[^"]*"|translate\([^)]*\)')
NUMBER = re.compile(r"-?\d+\.\d+")
MARKS = re.compile(
    r'<use xlink:href="#m[^"]*" x="[^"]*" y="[^"]*" style="([^"]*)"/>'
    r'(?:\s*<use xlink:href="#m[^"]*" x="[^"]*" y="[^"]*" style="\1"/>)+'
)
NO_METADATA: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
STRUCTURES = ("brain", "gm", "wm", "csf", "entorhinal", "inferior_temporal", "hippocampus")
INK, GRID, RAW = "#24292f", "#c9ced6", "#7f858d"
# Told apart by colour-blind readers: any two of these, and RAW, differ by 15 (CIEDE2000) or more
# under full protan-, deuteran- and tritanopia (Machado et al. 2009), and all have a contrast of 3:1
# or more on white. A second round of methods gets hatches. Scanners have colours of their own.
PALETTE = ("#382f85", "#ed641b", "#0b4e06", "#b945ba", "#6e2543", "#3fa273")
SCANNERS = ("#2b2f6b", "#0e8a94", "#8f6a00", "#c7387d")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "////", "....", "xxxx")
LINES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")
DPI = 300
NOTEBOOK_DPI = 120
WIDTH = 7.2  # inches: the full width of a journal's page
SMALL = 7.0  # points: no text is smaller at that width
# An SVG in an <img> follows the page's colour scheme by its own style sheet. What it turns into has
# a contrast of 3:1 or more on the page's near-black, text 4.5:1.
IN_DARK = {
    INK: "#e6edf3",
    GRID: "#3d444d",
    RAW: "#8b929b",
    "#ffffff": "#0d1117",  # hatches, and what sets lines off from what lies below
    "#382f85": "#aeb4ff",
    "#0b4e06": "#d3edb0",
    "#b945ba": "#c552c6",
    "#6e2543": "#f5b3c6",
    "#2b2f6b": "#8a97e6",
}
DARK = "".join(
    (
        "<style>@media (prefers-color-scheme: dark) {",
        *(
            f'[style*="{what}: {light}"]{{{what}:{dark} !important}}'
            for light, dark in IN_DARK.items()
            for what in ("fill", "stroke")
        ),
        *(f'rect[fill="{light}"]{{fill:{dark}}}' for light, dark in IN_DARK.items()),
        "}</style>",
    )
)


def label(name: str) -> str:
    """Return the field's own spelling of a registered name; what stands in brackets as it is.

    >>> label("whitestripe"), label("inferior_temporal"), label("mispel (lab_A)")
    ('White Stripe', 'inferior temporal', 'MISPEL (lab_A)')
    """
    own, bracket, rest = name.partition(" (")
    return LABELS.get(own, own.replace("_", " ")) + bracket + rest


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


def markers(methods: Sequence[str]) -> dict[str, str]:
    """Marker of each method: those of one colour have unlike ones, as they have unlike hatches."""
    others = [name for name in methods if name != "raw"]
    looks = {name: MARKERS[(i // len(PALETTE)) % len(MARKERS)] for i, name in enumerate(others)}
    return {name: looks.get(name, MARKERS[0]) for name in methods}


def scanner_look(place: int) -> tuple[str, str, str, Literal["-", "--", "-.", ":"]]:
    """Colour, marker, hatch and line of a scanner by its place in the cohort."""
    again = place // len(SCANNERS)
    colour, marker = SCANNERS[place % len(SCANNERS)], MARKERS[place % len(MARKERS)]
    return colour, marker, HATCHES[again % len(HATCHES)], LINES[again % len(LINES)]


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
        "axes.titlelocation": "left",
        "axes.titlesize": 8,
        "axes.titleweight": "bold",
        "axes.labelsize": 7.5,
        "axes.linewidth": 0.7,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
        "font.size": 7.5,
        "grid.color": GRID,
        "grid.linewidth": 0.5,
        "hatch.linewidth": 0.6,
        "legend.columnspacing": 1.3,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "legend.handlelength": 1.4,
        "legend.handletextpad": 0.5,
        "legend.labelcolor": INK,
        "svg.fonttype": "path",
        "svg.hashsalt": salt,
        "text.color": INK,
        "text.hinting": "no_hinting",  # text is as wide in PNG as in SVG
        "text.parse_math": False,  # a scanner called $x$ is a scanner called $x$
        "xtick.color": INK,
        "xtick.labelsize": SMALL,
        "xtick.major.width": 0.7,
        "ytick.color": INK,
        "ytick.labelsize": SMALL,
        "ytick.major.width": 0.7,
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)
        yield


def styled(
    draw: Callable[Concatenate[Finished, P], Figure],
) -> Drawing[P]:
    """Draw a run, or the run in a folder, in the report's style, whatever the caller's settings."""

    @wraps(draw)
    def drawn(run: Finished | str | PathLike[str], *args: P.args, **kwargs: P.kwargs) -> Figure:
        if isinstance(run, str | PathLike):
            from harmobench.finish import finished

            run = finished(Path(run))
        with plotting():
            return draw(run, *args, **kwargs)

    return cast("Drawing[P]", drawn)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches) that no window system knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    # how a notebook shows a figure that pyplot does not know
    figure.__dict__["_repr_png_"] = partial(png, figure, NOTEBOOK_DPI)
    return figure


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes, and it follows dark mode."""
    stream = io.BytesIO()
    with plotting():
        figure.savefig(stream, format="svg", metadata=NO_METADATA, transparent=True)
    text = stream.getvalue().decode("utf-8")
    text = re.sub(r"\A.*?(?=<svg)", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = MARKS.sub(_together, text)
    text = GEOMETRY.sub(lambda found: _rounded(found.group()), text)
    head, mark, rest = text.partition("<defs>")
    lines = (line.strip() for line in f"{head}{DARK}{mark}{rest}".splitlines())
    return ("\n".join(line for line in lines if line) + "\n").encode()


def _together(found: re.Match[str]) -> str:
    """Say once how the marks of a line look, not with each of them."""
    look = found.group(1)
    marks = found.group().replace(f' style="{look}"', "")
    return f'<g style="{look}">{marks}</g>'


def _rounded(geometry: str) -> str:
    """Shorten coordinates to a hundredth of a point, far below what can be seen."""
    text = NUMBER.sub(lambda found: f"{round(float(found.group()), 2) + 0.0:g}", geometry)
    return " ".join(text.split())


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
