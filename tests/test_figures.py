from __future__ import annotations

import doctest
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import synthetic_run
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from harmobench.errors import HarmobenchError
from harmobench.interface import Finished
from harmobench.reports import catalogue, figures, style
from harmobench.reports.figures.names import abbreviated
from harmobench.reports.figures.panels import absolute_differences, rows_of
from harmobench.reports.images import pictures
from harmobench.reports.shares import Span, undominated
from harmobench.reports.style import (
    DARK,
    GRID,
    IN_DARK,
    INK,
    PALETTE,
    RAW,
    SCANNERS,
    SMALL,
    colours,
    png,
    svg,
)
from harmobench.reports.tables.guards import guards

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
    frame = frame[(frame["structure"] == "gm") & frame["method"].isin(RANKED)]
    pairs = frame[(frame["mode"] == "paper") & (frame["scanner"] != "")]
    whole = frame[(frame["mode"] == "rigorous") & (frame["scanner"] == "")]
    axes = figures.rmsd_bars(run, "hmrf").axes[0]
    drawn = sorted(patch.get_height() for patch in axes.patches)  # type: ignore[attr-defined]
    wanted = [*pairs["value"].dropna(), *whole["value"].dropna()]
    np.testing.assert_allclose(drawn, sorted(wanted))
    lines = [path.vertices for each in axes.collections for path in each.get_paths()]
    ends = {tuple(np.round(np.asarray(line)[:, 1], 9)) for line in lines}
    keys = ["method", "scanner", "reference_scanner"]
    both = frame[frame["mode"] == "rigorous"].merge(pairs[[*keys, "value"]], "left", on=keys)
    same = np.isclose(both["value_x"], both["value_y"]) | (both["scanner"] == "")
    known = both[same].dropna(subset=["low"])[["low", "high"]]
    assert ends == {tuple(np.round(row, 9)) for row in known.to_numpy()}
    assert len(ends) > 2


def test_points_are_the_absolute_differences(run: Finished) -> None:
    frame = run.scores
    frame = frame[(frame["metric"] == "volume") & (frame["structure"] == "gm")]
    wide = frame[frame["method"] == "raw"].pivot(index="subject", columns="scanner", values="value")
    wanted = np.concatenate([(wide[a] - wide[b]).abs() for a, b in run.design.pairs])
    axes = figures.difference_violins(run, "hmrf").axes[0]
    grey = [line for line in axes.lines if line.get_color() == RAW]
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in grey])
    np.testing.assert_allclose(np.sort(drawn), np.sort(wanted))


def test_every_subject_and_scanner_has_its_point(run: Finished) -> None:
    panels = [axes for axes in figures.auroc_lines(run).axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "RAW",
        "RAVEL",
        "MISPEL",
    ]  # no controls
    points = [[x for x in axes.lines if len(np.ravel(x.get_xdata())) == 4] for axes in panels]
    assert [len(own) for own in points] == [3, 3, 3]
    assert "no value" in [text.get_text() for text in panels[1].texts]
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
    assert "registration only" in named(axes.figure)


def named(figure: Any) -> list[str]:
    """Return what the legends of a figure name."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_legend_names_what_has_a_point(run: Finished) -> None:
    frame = run.aggregates
    lost = (frame["method"] == "blur") & (frame["aggregate"] == "component_scanner")
    full, less = (figures.pareto(r, "hmrf") for r in (run, replace(run, aggregates=frame[~lost])))
    assert {"MISPEL", "oracle", "template", "blur"} <= set(named(full))
    assert set(named(full)) - set(named(less)) == {"blur"}
    assert "RAVEL" not in named(full)  # it failed


def test_numbers_beyond_the_edge_do_not_overprint(run: Finished) -> None:
    frame = run.aggregates.copy()
    raw = (frame["method"] == "raw") & (frame["aggregate"] == "component_scanner")
    for place, method in enumerate(("oracle", "template", "blur")):
        far = (frame["method"] == method) & (frame["aggregate"] == "component_scanner")
        frame.loc[far, "value"] = (5 + place) ** 2 * frame.loc[raw, "value"].to_numpy()
        for kept in ("component_subject",):
            own = (frame["method"] == method) & (frame["aggregate"] == kept)
            level = (frame["method"] == "raw") & (frame["aggregate"] == kept)
            frame.loc[own, "value"] = frame.loc[level, "value"].to_numpy()
    figure = figures.pareto(replace(run, aggregates=frame), "hmrf")
    png(figure, 100)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 3
    heights = sorted((box.y0, box.y1) for box in boxes)
    assert all(low[1] <= high[0] + 1 for low, high in pairwise(heights))


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
    axes = next(a for a in figure.axes if a.get_title(loc="left") == "individuality")
    assert "no value" in named(figure)
    assert markers(axes, colours(RANKED)["mispel"][0])[0][0] == cells["MISPEL"].value
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(cells)


def test_missing_values_are_crosses_not_zeros(run: Finished) -> None:
    axes = figures.rmsd_bars(run, "hmrf").axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert sum(len(np.atleast_1d(np.asarray(line.get_xdata()))) for line in crosses) == 4
    assert "no value" in named(axes.figure)
    whole = replace(run, design=replace(run.design, methods={"raw": "baseline"}))
    assert "no value" not in named(figures.rmsd_bars(whole, "hmrf"))


def test_equal_values_and_single_subjects_can_be_drawn(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "mispel"), ("A", "B"), ("1", "2"), pictures=False)
    run.scores.loc[run.scores["metric"] == "ssim", "value"] = 0.9
    assert isinstance(figures.ssim_violins(run), Figure)
    assert svg(figures.ssim_violins(run))


def test_many_methods_stay_apart() -> None:
    looks = colours(["raw", *(f"m{i}" for i in range(20))])
    assert len(set(looks.values())) == 21
    dots = style.markers(list(looks))
    assert len({(looks[name][0], dots[name]) for name in looks}) == 21


def test_rows_hold_all_groups_once() -> None:
    groups = list(range(21))
    assert [g for row in rows_of(groups, 10) for g in row] == groups
    assert rows_of([], 5) == []


def test_absolute_differences_are_of_shared_subjects() -> None:
    found = {("a",): [("1", 3.0), ("2", 5.0)], ("b",): [("2", 9.0)]}
    assert absolute_differences(found, ("a",), ("b",)) == [("2", 4.0)]


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


def seen(colour: str, matrix: Any) -> Any:
    """Return a colour as CIELAB (D65), as an eye sees it whose cones mix by this matrix."""
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ linear
    )
    root = np.cbrt(xyz / [0.9505, 1, 1.0888])
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def contrast(colour: str, ground: str) -> float:
    values = []
    for name in (colour, ground):
        value = np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        values.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(values) / min(values)


# Machado, Oliveira and Fernandes (2009), severity 1
EYES = {
    "typical": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_colours_are_told_apart_by_every_eye(eye: str, ground: str) -> None:
    for palette in ((RAW, *PALETTE), SCANNERS):
        shown = [IN_DARK.get(c, c) if ground == "dark" else c for c in palette]
        values = [seen(colour, np.array(EYES[eye])) for colour in shown]
        apart = [
            float(np.linalg.norm(a - b)) for i, a in enumerate(values) for b in values[i + 1 :]
        ]
        assert min(apart) > 15


def test_contrast_is_enough_in_light_and_dark() -> None:
    for colour in (*PALETTE, *SCANNERS, RAW):
        assert contrast(colour, "#ffffff") >= 3
        assert contrast(IN_DARK.get(colour, colour), "#0d1117") >= 3
    assert contrast(INK, "#ffffff") >= 4.5
    assert contrast(IN_DARK[INK], "#0d1117") >= 4.5
    assert GRID in IN_DARK


def test_every_colour_of_a_figure_follows_dark_mode(run: Finished) -> None:
    light = {INK, "#000000"}  # black is what an SVG has where it says nothing
    for name in set(DRAW) - {"mosaic"}:
        text = svg(DRAW[name](run)).decode().replace(DARK, "")
        found = {x.lower() for x in re.findall(r"(?:fill|stroke)[:=] ?\"?(#[0-9a-f]{6})", text)}
        dark = {IN_DARK.get(colour, colour) for colour in found}
        assert all(contrast(c, "#0d1117") >= 3 for c in dark - {"#0d1117", IN_DARK[GRID]}), name
        assert found & light


@pytest.mark.parametrize("name", sorted(set(DRAW) - {"mosaic"}))
def test_text_is_large_enough_and_inside_the_figure(run: Finished, name: str) -> None:
    figure = DRAW[name](run)
    png(figure, 50)
    assert figure.get_size_inches()[0] == pytest.approx(7.2)
    shown = [x for x in figure.findobj(Text) if x.get_text().strip() and x.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= SMALL
    axes = [each for each in figure.axes if each.get_visible()]
    titles = [each.title.get_text() or each.get_title(loc="left") for each in axes]
    assert all("\n" not in title for title in titles)
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    pixel = 1 / 50
    assert min(drawn.x0, drawn.y0) > -pixel
    assert drawn.x1 < width + pixel
    assert drawn.y1 < height + pixel
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1
        for each in axes:
            assert not box.overlaps(each.get_window_extent()), "a legend lies on a panel"


def outlying(folder: Path) -> Finished:
    subjects = [f"{i:02d}" for i in range(1, 11)]
    run: Finished = finished(folder, RANKED, ("A", "B", "C"), subjects, pictures=False)
    scores = run.scores
    hit = (scores["metric"] == "ssim") & (scores["subject"] == "03") & (scores["method"] == "raw")
    scores.loc[hit, "value"] = 0.5
    return run


def test_outliers_are_ringed_and_link_to_their_subject(tmp_path: Path) -> None:
    figure = figures.ssim_violins(outlying(tmp_path))
    rings = [line for line in figure.findobj(Line2D) if line.get_url()]
    far = [line for line in rings if np.ravel(line.get_ydata())[0] == 0.5]
    assert len(far) == 3  # one in each pair
    assert {line.get_url() for line in far} == {"#images-03"}
    assert far[0].get_label().startswith("_subject 03, ")  # type: ignore[union-attr]
    assert far[0].get_label().endswith(", RAW: 0.5")  # type: ignore[union-attr]
    assert "farthest outliers" in named(figure)


def test_at_most_twelve_are_ringed_three_of_a_subject(tmp_path: Path) -> None:
    subjects = [f"{i:02d}" for i in range(1, 31)]
    run = finished(tmp_path, ("raw", *"abcdefgh"), ("A", "B", "C"), subjects, pictures=False)
    for draw in (figures.ssim_violins, figures.difference_violins, figures.auroc_lines):
        rings = [line.get_url() for line in draw(run).findobj(Line2D) if line.get_url()]
        assert 6 < len(rings) <= 12
        assert max(map(rings.count, rings)) <= 3


def test_large_cohorts_show_the_middle_half_and_outliers(tmp_path: Path) -> None:
    subjects = [f"{i:02d}" for i in range(1, 41)]
    run = finished(tmp_path, ("raw", "mispel"), ("A", "B"), subjects, pictures=False)
    axes = figures.ssim_violins(run).axes[0]
    points = [x for x in axes.lines if x.get_marker() == "o" and not x.get_url()]
    assert sum(len(np.ravel(x.get_xdata())) for x in points) < 20
    values = run.scores[(run.scores["metric"] == "ssim") & (run.scores["method"] == "raw")]["value"]
    ends = [np.asarray(p.vertices)[:, 1] for c in axes.collections for p in c.get_paths()]
    middle = np.percentile(values, (25, 75))
    assert any(len(y) == 2 and np.allclose(y, middle) for y in ends)


def test_rows_of_a_tissue_share_their_axis(tmp_path: Path) -> None:
    scanners = ("A", "B", "C", "D", "E")
    run = finished(tmp_path, ("raw", *"abcdefghi"), scanners, ("1", "2", "3", "4"), pictures=False)
    panels = figures.difference_violins(run).axes
    assert len(panels) > 4
    assert len({axes.get_xlim() for axes in panels}) == 1
    for tissue in ("GM", "WM"):
        own = [axes for axes in panels if axes.get_ylabel().startswith(tissue)]
        assert len({axes.get_ylim() for axes in own}) == 1
        drawn = np.concatenate([np.ravel(x.get_ydata()) for axes in own for x in axes.lines])
        assert own[0].get_ylim()[0] == 0
        assert own[0].get_ylim()[1] > np.nanmax(drawn)


def test_figures_can_be_drawn_from_a_folder(tmp_path: Path, monkeypatch: Any) -> None:
    run = finished(tmp_path, RANKED, ("A", "B", "C"), ("1", "2", "3"), pictures=False)
    asked = []

    def opened(folder: Path) -> Finished:
        asked.append(folder)
        return run

    monkeypatch.setattr("harmobench.finish.finished", opened)
    for place in ("RUN", Path("RUN")):
        assert svg(figures.ssim_violins(place)) == svg(figures.ssim_violins(run))
    assert svg(figures.rmsd_bars("RUN")) == svg(figures.rmsd_bars(run, "hmrf"))
    assert asked == [Path("RUN")] * 3


def test_the_examples_of_the_docstring_run(tmp_path: Path, monkeypatch: Any) -> None:
    run = finished(tmp_path, RANKED, ("A", "B"), ("1", "2", "3"), pictures=False)
    monkeypatch.setattr("harmobench.finish.finished", lambda folder: run)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    examples = doctest.DocTestParser().get_examples(figures.__doc__ or "")
    assert len(examples) == 3
    for example in examples[:1] + examples[2:]:
        exec(example.source, space)
    assert (tmp_path / "rmsd.svg").read_bytes().startswith(b"<?xml")
    shown = eval(examples[1].source, space)
    assert repr(shown) + "\n" == examples[1].want
    assert shown._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


def test_no_run_and_no_tool_are_refused_in_words(run: Finished, tmp_path: Path) -> None:
    with pytest.raises(HarmobenchError, match=r"found no run\.json in"):
        figures.ssim_violins(tmp_path)
    for draw in (figures.volume_boxes, figures.difference_violins, figures.rmsd_bars):
        with pytest.raises(HarmobenchError, match=r"\(hmrf\), found fsl"):
            draw(run, "fsl")
    with pytest.raises(HarmobenchError, match="components"):
        figures.pareto(run, "fsl")
    with pytest.raises(HarmobenchError, match="expected a training history of raw in"):
        figures.training_curves(run, "raw")


@pytest.mark.parametrize("name", sorted(set(DRAW) - {"mosaic", "training"}))
def test_nothing_measured_is_said_and_no_empty_figure_drawn(run: Finished, name: str) -> None:
    none = replace(run, scores=run.scores[:0], aggregates=run.aggregates[:0])
    with pytest.raises(HarmobenchError, match="found none"):
        DRAW[name](none)
    assert catalogue.plots_of(catalogue.sections(none)) == []


def test_guards_without_any_value_have_no_panel(run: Finished) -> None:
    frame = run.aggregates[run.aggregates["metric"] != "sharpness"]
    full, less = (figures.guard_points(r) for r in (run, replace(run, aggregates=frame)))
    titles = [[a.get_title(loc="left") for a in f.axes if a.get_visible()] for f in (full, less)]
    assert "sharpness" in titles[0]
    assert titles[1] == [title for title in titles[0] if title != "sharpness"]


def test_long_names_stay_unlike() -> None:
    names = ["Siemens_Prisma_fit_XA30_Bern", "Siemens_Prisma_fit_XA30_Zurich", "GE"]
    found = abbreviated(names)
    assert len(set(found.values())) == 3
    assert max(map(len, found.values())) <= 14
    same_ends = abbreviated([f"Siemens Prisma {i} Zurich Hospital" for i in range(12)])
    assert len(set(same_ends.values())) == 12
    assert max(map(len, same_ends.values())) <= 14


@pytest.mark.parametrize(
    ("methods", "scanners", "subjects"),
    [
        (("raw",), ("A", "B"), ("1", "2")),
        (("raw", "mispel"), ("A", "B"), ("1", "2", "3", "4", "5", "6")),
        (("raw", *"abcdefghijklmn"), tuple("ABCDEFG"), ("1", "2", "3")),
    ],
)
def test_every_shape_can_be_drawn(
    tmp_path: Path, methods: tuple[str, ...], scanners: tuple[str, ...], subjects: tuple[str, ...]
) -> None:
    run = finished(tmp_path, methods, scanners, subjects, pictures=False, resamples=10)
    for name in sorted(set(DRAW) - {"mosaic", "training", "biomarker pareto"}):
        figure = DRAW[name](run)
        assert figure.axes, name
        assert svg(figure).startswith(b"<svg"), name


def test_captions_and_alts_say_what_is_shown(run: Finished) -> None:
    every = [*catalogue.plots_of(catalogue.sections(run)), *catalogue.training(run)]
    assert len({plot.stem for plot in every}) == len(every)
    for plot in every:
        assert re.match(r"HB-F\d+( \(\w+\))?: ", plot.caption), plot.stem
        assert len(plot.caption) < 480
        assert re.search(r"\d\.\d", plot.alt), plot.stem
        assert ".." not in plot.alt
    ssim = run.aggregates
    ssim = ssim[(ssim["metric"] == "ssim") & (ssim["aggregate"] == "mean")]
    ssim = ssim[(ssim["mode"] == "paper") & (ssim["method"] == "mispel") & (ssim["scanner"] != "")]
    assert f"MISPEL {ssim['value'].mean():.3g}" in every[0].alt
    assert "RAVEL" not in every[0].alt.partition("Marked")[0].replace("RAW", "")


def test_pairs_have_intervals_of_the_same_subjects_alone(tmp_path: Path) -> None:
    from harmobench.reports.figures import agreement
    from harmobench.reports.lookup import Lookup

    run = finished(tmp_path, pictures=False)
    shown = agreement.Shown("volume", "rmsd", "RMSD, ml")
    lookup = Lookup(run)
    places = [p for p in lookup.cases("volume", "rmsd") if p.tool == "hmrf"]
    bars = agreement._paired(lookup, shown, places, ["raw", "mispel"])
    for value, low, high in bars.values():
        assert value is not None
        assert low is not None
        assert high is not None
        assert 0 < low < value < high
    paper = run.aggregates["mode"] == "paper"
    run.aggregates.loc[paper & (run.aggregates["aggregate"] == "rmsd"), "value"] *= 1.01
    bars = agreement._paired(Lookup(run), shown, places, ["raw", "mispel"])
    assert all(low is None and high is None for _, low, high in bars.values())
