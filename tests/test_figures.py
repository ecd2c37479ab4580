from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harmobench.interface import Finished
from harmobench.reports import figures, pictures
from harmobench.reports.figures.panels import absolute_differences, rows_of
from harmobench.reports.figures.pareto import Span, undominated
from harmobench.reports.guards import guards
from harmobench.reports.style import INK, colours, png, svg

SPEC = importlib.util.spec_from_file_location(
    "synthetic_run", Path(__file__).with_name("synthetic_run.py")
)
assert SPEC is not None
assert SPEC.loader is not None
synthetic_run: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(synthetic_run)
finished = synthetic_run.finished

RANKED = ("raw", "ravel", "mispel")
DRAW = {
    "ssim": figures.ssim_violins,
    "lines": figures.auroc_lines,
    "bars": figures.auroc_bars,
    "boxes": lambda run: figures.volume_boxes(run, "hmrf"),
    "bias": lambda run: figures.difference_violins(run, "hmrf"),
    "rmsd": lambda run: figures.rmsd_bars(run, "hmrf"),
    "dice": lambda run: figures.dice_bars(run, "hmrf"),
    "biomarkers": figures.biomarker_rmsd_bars,
    "effects": figures.effect_size_bars,
    "training": lambda run: figures.training_curves(run, "mispel"),
    "pareto": lambda run: figures.pareto(run, "hmrf"),
    "biomarker pareto": lambda run: figures.pareto(run, "freesurfer"),
    "guards": figures.guard_points,
    "mosaic": lambda run: figures.mosaic(run, "01"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    subjects = ("01", "02", "03", "04")
    folder, controls = tmp_path_factory.mktemp("run"), ("oracle", "template", "blur")
    return finished(folder, RANKED, ("A", "B", "C"), subjects, failed="ravel", controls=controls)


@pytest.mark.parametrize("name", DRAW)
def test_svg_is_equal_byte_by_byte_whatever_the_settings(run: Finished, name: str) -> None:
    first = svg(DRAW[name](run))
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "svg.hashsalt": None}):
        again = svg(DRAW[name](run))
    assert first == again
    assert first.startswith(b"<svg")
    assert b"prefers-color-scheme" in first
    assert b"<dc:date>" not in first


def test_png_is_equal_byte_by_byte(run: Finished) -> None:
    assert png(figures.auroc_bars(run), 50) == png(figures.auroc_bars(run), 50)


def test_bars_are_as_high_as_the_aggregates(run: Finished) -> None:
    frame = run.aggregates
    frame = frame[(frame["metric"] == "volume") & (frame["aggregate"] == "rmsd")]
    frame = frame[(frame["mode"] == "paper") & frame["method"].isin(RANKED)]
    frame = frame[(frame["structure"] == "gm") & (frame["scanner"] != "")]
    axes = figures.rmsd_bars(run, "hmrf").axes[0]
    drawn = sorted(patch.get_height() for patch in axes.patches)  # type: ignore[attr-defined]
    np.testing.assert_allclose(drawn, sorted(frame["value"].dropna()))


def test_points_are_the_absolute_differences(run: Finished) -> None:
    frame = run.scores
    frame = frame[(frame["metric"] == "volume") & (frame["structure"] == "gm")]
    wide = frame[frame["method"] == "raw"].pivot(index="subject", columns="scanner", values="value")
    wanted = np.concatenate([(wide[a] - wide[b]).abs() for a, b in run.design.pairs])
    axes = figures.difference_violins(run, "hmrf").axes[0]
    grey = [line for line in axes.lines if line.get_color() == colours(["raw"])["raw"][0]]
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in grey])
    np.testing.assert_allclose(np.sort(drawn), np.sort(wanted))


def test_every_subject_and_scanner_has_its_point(run: Finished) -> None:
    panels = [axes for axes in figures.auroc_lines(run).axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["RAW", "RAVEL", "MISPEL"]  # no controls
    assert [len(axes.lines) for axes in panels] == [3, 3, 3]
    assert np.isnan(np.asarray(panels[1].lines[0].get_ydata(), dtype=float)).all()  # failed


def markers(axes: Axes, colour: str) -> list[tuple[float, float, bool]]:
    """Return each marker of a colour, and whether it is filled."""
    own = [x for x in axes.lines if x.get_marker() not in ("None", "") and x.get_color() == colour]
    return [
        (
            float(np.ravel(line.get_xdata())[0]),
            float(np.ravel(line.get_ydata())[0]),
            line.get_markerfacecolor() != "none",
        )
        for line in own
    ]


def test_pareto_points_are_the_components_beside_raws(run: Finished) -> None:
    frame = run.aggregates
    frame = frame[(frame["metric"] == "volume") & (frame["structure"] == "gm")]
    frame = frame[(frame["mode"] == "rigorous") & (frame["scanner"] == "")]
    wide = frame.pivot(index="method", columns="aggregate", values="value")
    parts = wide[["component_scanner", "component_subject"]].clip(lower=0)
    wanted = np.sqrt(parts / parts.loc["raw"])
    axes = figures.pareto(run, "hmrf").axes[0]
    ((x, y, filled),) = markers(axes, colours(RANKED)["mispel"][0])
    np.testing.assert_allclose([x, y], wanted.loc["mispel"])
    assert filled
    own = markers(axes, INK)
    assert len(own) == 3
    assert not any(filled for _, _, filled in own)
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0].get_ydata(), wanted["component_subject"]["template"])
    assert "registration only" in [text.get_text() for text in axes.texts]


def test_controls_beyond_the_edge_keep_their_number(run: Finished) -> None:
    frame = run.aggregates.copy()
    far = (frame["method"] == "blur") & (frame["aggregate"] == "component_scanner")
    raw = (frame["method"] == "raw") & (frame["aggregate"] == "component_scanner")
    frame.loc[far, "value"] = 25 * frame.loc[raw, "value"].to_numpy()
    axes = figures.pareto(replace(run, aggregates=frame), "hmrf").axes[0]
    assert "5.0" in [text.get_text() for text in axes.texts]
    assert max(x for x, _, _ in markers(axes, INK)) == 2.0


def test_only_contenders_that_none_beats_are_joined() -> None:
    spans = {"a": (0.2, 0.5), "b": (0.5, 0.9), "c": (0.6, 0.8), "d": (0.5, 1.3), "e": (0.2, 0.5)}
    points = {k: (Span(x, x, x), Span(y, y, y)) for k, (x, y) in spans.items()}
    assert undominated(points) == ["a", "e", "b"]
    assert undominated({}) == []


def front(run: Finished) -> list[tuple[float, float]]:
    """Points of the line that joins the first panel's front: solid, of ink, without markers."""
    solid = [
        each
        for each in figures.pareto(run, "hmrf").axes[0].lines
        if each.get_color() == INK and each.get_linewidth() == 1 and each.get_linestyle() == "-"
    ]
    (own,) = solid
    return list(zip(np.ravel(own.get_xdata()), np.ravel(own.get_ydata()), strict=True))


def test_what_raw_beats_on_both_is_not_on_the_front(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "whitestripe", "mispel"), ("A", "B", "C"), pictures=False)
    assert len(front(run)) >= 1
    worse = run.aggregates.copy()
    for name, share in (("component_scanner", 4.0), ("component_subject", 0.25)):
        raw = (worse["method"] == "raw") & (worse["aggregate"] == name)
        for method in ("whitestripe", "mispel"):
            own = (worse["method"] == method) & (worse["aggregate"] == name)
            worse.loc[own, "value"] = share * worse.loc[raw, "value"].to_numpy()
    assert front(replace(run, aggregates=worse)) == []


def test_undeclared_plugins_are_not_on_the_front(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "whitestripe", "mispel"), ("A", "B", "C"), pictures=False)
    ((x, y, _),) = markers(
        figures.pareto(run, "hmrf").axes[0], colours(run.design.methods)["mispel"][0]
    )
    assert (x, y) in front(run)
    design = replace(run.design, declared=run.design.declared - {"mispel"})
    assert (x, y) not in front(replace(run, design=design))


def test_guard_points_are_the_tables(run: Finished) -> None:
    (table,) = guards(run, "")
    names = [column.key for column in table.columns]
    cells = {row[0].text: row[names.index("individuality")] for row in table.rows}
    figure = figures.guard_points(run)
    axes = next(a for a in figure.axes if a.get_title().startswith("individu"))
    assert markers(axes, colours(RANKED)["mispel"][0])[0][0] == cells["MISPEL"].value
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(cells)


def test_missing_values_are_crosses_not_zeros(run: Finished) -> None:
    axes = figures.rmsd_bars(run, "hmrf").axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert sum(len(np.atleast_1d(np.asarray(line.get_xdata()))) for line in crosses) == 3


def test_equal_values_and_single_subjects_can_be_drawn(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "mispel"), ("A", "B"), ("1", "2"), pictures=False)
    run.scores.loc[run.scores["metric"] == "ssim", "value"] = 0.9
    assert isinstance(figures.ssim_violins(run), Figure)
    assert svg(figures.ssim_violins(run))


def test_many_methods_stay_apart() -> None:
    looks = colours(["raw", *(f"m{i}" for i in range(20))])
    assert len(set(looks.values())) == 21


def test_rows_hold_all_groups_once() -> None:
    groups = list(range(21))
    assert [g for row in rows_of(groups, 10) for g in row] == groups
    assert rows_of([], 5) == []


def test_absolute_differences_are_of_shared_subjects() -> None:
    found = {("a",): [("1", 3.0), ("2", 5.0)], ("b",): [("2", 9.0)]}
    assert absolute_differences(found, ("a",), ("b",)) == [4.0]


def test_window_is_pooled_over_a_methods_brains(run: Finished) -> None:
    gallery = pictures.Gallery(run)
    pixels = []
    for (method, _, _), path in run.pictures.items():
        if method == "raw":
            with np.load(path) as file:
                pixels += [file[axis][file[f"{axis}_brain"]] for axis in pictures.AXES]
    wanted = np.percentile(np.concatenate(pixels), [1, 99.5])
    np.testing.assert_allclose(gallery.windows["raw"], wanted, rtol=1e-6)


def test_slices_stand_upright_and_black_outside(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw",), ("A", "B"), ("1", "2"))
    brain = np.ones((4, 6), dtype=bool)
    brain[0] = False
    slice_ = np.zeros((4, 6), dtype="float32")
    slice_[2, 5] = 1  # x = 2, anterior end of y
    arrays = dict.fromkeys(pictures.AXES, slice_)
    masks = {f"{axis}_brain": brain for axis in pictures.AXES}
    for path in run.pictures.values():
        np.savez(path, **arrays, **masks)  # type: ignore[arg-type]
    shown = pictures.Gallery(run).shown("raw", "1", "A")
    assert shown.shape == (6, 4)
    assert shown[0, 2] == shown.max() > 0
    assert (shown[:, 0] == 0).all()


def test_grey_survives_flat_and_broken_pixels() -> None:
    brain = np.ones((2, 2), dtype=bool)
    flat = pictures.grey(np.full((2, 2), 3.0, dtype="float32"), brain, 3.0, 3.0)
    np.testing.assert_array_equal(flat, 0.5)
    broken = np.array([[np.nan, np.inf], [0, 1]], dtype="float32")
    assert np.isfinite(pictures.grey(broken, brain, 0.0, 1.0)).all()
    assert pictures.window(np.array([], dtype="float32")) == (0.0, 1.0)


def test_shrinking_averages_blocks() -> None:
    pixels = np.arange(20, dtype="float32").reshape(4, 5)
    np.testing.assert_allclose(pictures.shrink(pixels, 2), [[3, 5], [13, 15]])
    assert pictures.shrink(pixels, 1) is pixels
