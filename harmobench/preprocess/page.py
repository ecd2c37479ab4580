"""The page that shows how well each scan was registered."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import harmobench
from harmobench.atlas import Atlas
from harmobench.cohort import Progress
from harmobench.imaging.volume import FloatArray, read_voxels
from harmobench.preprocess.publish import WATCHED, WORDS, Made, Row
from harmobench.store import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = "quality.html"
WHITE = 99.5  # percentile of the brain that is drawn white
BRAIN_EDGE, WM_EDGE = "#e69f00", "#56b4e9"  # Okabe and Ito, 2008
SHOWN = ("correlation", "overlap", "round_trip", "stretch", "bias")


def write_page(folder: Path, made: Made, atlas: Atlas, progress: Progress) -> Path:
    """Write quality.html: one file, nothing is loaded from anywhere. Return its path."""
    import jinja2

    rows = sorted(made.rows, key=lambda row: not row.flags)  # what stands out comes first
    pictures = []
    for done, row in enumerate(rows, start=1):
        pictures.append(_png(_overlay(read_voxels(row.image), atlas), 100))
        progress(done, len(rows), f"drawing subject {row.subject} on {row.scanner}")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harmobench", "preprocess"), autoescape=True
    )
    text = environment.get_template("page.html.j2").render(
        made=made,
        atlas=atlas,
        rows=list(zip(rows, pictures, strict=True)),
        numbers=list(WORDS.items()),
        shown=_shown,
        side=_side_on_the_left(atlas),
        flagged=sum(bool(row.flags) for row in rows),
        summary=_png(_dots(made), 110) if made.rows else "",
        version=harmobench.__version__,
        brain_edge=BRAIN_EDGE,
        wm_edge=WM_EDGE,
    )
    write_text(folder / PAGE, text)
    return folder / PAGE


def _side_on_the_left(atlas: Atlas) -> str:
    """Which side of a subject the first voxels lie on; "" where the first axis is another."""
    import nibabel as nib

    axes = nib.orientations.aff2axcodes(atlas.grid.affine)
    return {"R": "left", "L": "right"}.get(axes[0], "")


def _shown(row: Row, name: str) -> str:
    value = getattr(row.measured, name)
    return "n/a" if value is None else f"{value:.3f}"


def _overlay(voxels: FloatArray, atlas: Atlas) -> Figure:
    """Draw one slice along each axis, with the edges of the atlas's brain and white matter."""
    from matplotlib.figure import Figure

    brain, wm = atlas.brain(), atlas.tissue("wm")
    # the sagittal slice lies beside the midline, which shows little cortex
    places = zip(np.nonzero(brain), (35, 50, 50), strict=True)
    middle = [int(np.percentile(index, share)) for index, share in places]
    figure = Figure(figsize=(9, 3.2), facecolor="black", layout="constrained")
    white = float(np.percentile(voxels[brain], WHITE))
    for axis, panel in enumerate(figure.subplots(1, 3)):
        image, *edges = (each.take(middle[axis], axis=axis) for each in (voxels, brain, wm))
        _panel(panel, np.asarray(image), edges, white)
    return figure


def _panel(panel: Axes, voxels: FloatArray, edges: Sequence[Any], white: float) -> None:
    panel.imshow(voxels.T, cmap="gray", origin="lower", vmin=0, vmax=white)
    for mask, colour in zip(edges, (BRAIN_EDGE, WM_EDGE), strict=True):
        if mask.any() and not mask.all():
            panel.contour(mask.T.astype(float), [0.5], colors=colour, linewidths=0.7)
    panel.set_axis_off()


def _dots(made: Made) -> Figure:
    """Draw each number of every scan as a dot, those that stand out as crosses with a name."""
    from matplotlib.figure import Figure

    names = [n for n in SHOWN if any(getattr(r.measured, n) is not None for r in made.rows)]
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    scanners = list(dict.fromkeys(row.scanner for row in made.rows))
    for name, panel in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        for row in made.rows:
            value = getattr(row.measured, name)
            odd = any(flag.startswith(WORDS[name]) for flag in row.flags)
            if value is not None:
                mark = {"marker": "X", "color": "#d55e00"} if odd else {"color": "#0072b2"}
                panel.scatter(scanners.index(row.scanner), value, s=22, alpha=0.8, **mark)
        panel.set_title(_wrapped(WORDS[name]), fontsize=8)
        panel.set_xticks(range(len(scanners)), scanners, rotation=45, ha="right", fontsize=7)
        panel.margins(x=0.3)
        panel.tick_params(axis="y", labelsize=7)
        better = "higher" if WATCHED[name][0] < 0 else "lower"
        panel.set_xlabel(f"{better} is better", fontsize=7)
    return figure


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 20))


def _png(figure: Figure, dpi: int) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
