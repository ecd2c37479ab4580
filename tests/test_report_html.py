from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import synthetic_run

from harmobench.interface import Finished
from harmobench.reports import style
from harmobench.reports.citing.words import bibliography, methods_text
from harmobench.reports.html import Html
from harmobench.reports.verdicts.verdict import verdict

finished = synthetic_run.finished


@pytest.fixture(autouse=True, scope="module")
def coarse() -> Iterator[None]:
    """Draw coarse pictures: their sharpness is not what is tested, and it takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 30)
        yield


VOID = {"meta", "img", "br", "link", "input", "hr"}
NASTY = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Elements of a page, and whether every one is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def build(run: Finished) -> tuple[str, Page]:
    written = Html().write(run, lambda *_: None)
    assert written[0] == run.folder / "report.html"
    assert all(path.is_file() for path in written)
    text = written[0].read_text("utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, str, Page]:
    subjects = (NASTY, 'a&b"', "03", "04")
    scanners = ("<b>GE</b>", "$x_1$", "p|q")
    run = finished(
        tmp_path_factory.mktemp("run"),
        ("raw", "ravel", "mispel", "<i>x</i>"),
        scanners,
        subjects,
        failed="ravel",
        controls=tuple(synthetic_run.CONTROLS),
        notes=["A <u>note</u>."],
    )
    return (run, *build(run))


def test_nothing_is_loaded(full: tuple[Finished, str, Page]) -> None:
    _, text, page = full
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href", "data", "action", "poster"):
            value = attributes.get(name, "")
            citation = tag == "a" and value.startswith("https://doi.org/")
            assert citation or value.startswith(("#", "data:")) or not value, (tag, value)
    assert {"link", "iframe", "object", "embed", "base"}.isdisjoint(tag for tag, _ in page.tags)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_pictures_load_nothing_either(full: tuple[Finished, str, Page]) -> None:
    found = 0
    for image in full[2].all("img"):
        kind, _, content = image["src"].partition(";base64,")
        if kind == "data:image/svg+xml":
            markup = base64.b64decode(content).decode()
            links = re.findall(r'(?:href|src)="([^"]*)"', markup)
            assert all(link.startswith(("#", "data:")) for link in links)
            assert "<script" not in markup
            found += 1
    assert found >= 8


def test_names_are_names(full: tuple[Finished, str, Page]) -> None:
    run, _, page = full
    data = [own for own in page.all("script") if own.get("type") == "application/json"]
    assert len(page.all("script")) == 1 + len(data)
    assert not page.all("u")
    assert NASTY in page.text
    assert "<b>GE</b>" in page.text
    assert "<i>x</i>" in page.text
    assert "A <u>note</u>." in page.text
    assert all("/" not in path.name for path in (run.folder / "figures").iterdir())


def test_it_is_well_formed_and_accessible(full: tuple[Finished, str, Page]) -> None:
    page = full[2]
    assert page.open == []
    assert all(len(image["alt"]) > 10 for image in page.all("img"))
    assert all(header.get("scope") in ("col", "row", "rowgroup") for header in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert set(targets) <= set(ids)
    named = [a[k] for _, a in page.tags for k in ("aria-labelledby", "aria-describedby") if k in a]
    assert set(named) <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"


def test_order_is_failures_verdict_images_criteria(full: tuple[Finished, str, Page]) -> None:
    text = full[1]
    marks = ["Something failed", 'id="summary-text"', "Metrics that reward blur"]
    marks += ["Who saw what", 'id="pareto-hmrf"', 'id="findings-text"', 'id="images"', 'id="HB-T1"']
    marks += [
        'id="HB-T1-rigorous"',
        'id="HB-T5"',
        'id="HB-T2"',
        'id="HB-T2-rigorous"',
        'id="HB-T8"',
    ]
    marks += ['id="HB-T9"', 'id="HB-T12"', 'id="sides-text"', 'id="verdict-text"']
    marks += ['id="training"', 'id="HB-T10"']
    marks += ['id="HB-T11"']
    marks += ['id="methods"', 'id="provenance"']
    positions = [text.index(mark) for mark in marks]
    assert positions == sorted(positions)


def test_numbers_in_the_page_are_the_tables(full: tuple[Finished, str, Page]) -> None:
    from harmobench.reports.tables.citable import citable

    for table in citable(full[0]):
        for row in table.rows:
            for cell in row:
                assert " ".join(cell.shown.split()) in full[2].text


def test_figures_lie_beside_it(full: tuple[Finished, str, Page]) -> None:
    names = {path.stem for path in (full[0].folder / "figures").glob("*.svg")}
    assert names == {path.stem for path in (full[0].folder / "figures").glob("*.png")}
    wanted = {f"fig{i:02d}" for i in range(3, 12)}
    assert wanted <= {name[:5] for name in names}
    assert {"training-mispel", "pareto-hmrf", "pareto-freesurfer", "guard-points"} <= names


def test_the_same_run_gives_the_same_page(full: tuple[Finished, str, Page]) -> None:
    assert build(full[0])[0] == full[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ("raw",)}, "Only RAW ran"),
        ({"scanners": ("A", "B")}, "1 scanner pair"),
        ({"biomarkers": False}, "no FreeSurfer folder was given"),
        ({"pictures": False}, "The run has no pictures"),
        ({"failed": "raw"}, "No number could be compared with RAW"),
        ({"scanners": tuple("ABCDEFG"), "subjects": ("1", "2")}, "21 scanner pairs"),
    ],
)
def test_small_and_odd_runs_are_readable(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    small: dict[str, Any] = {"methods": ("raw", "mispel"), "subjects": ("1", "2", "3")}
    page = build(finished(tmp_path, **(small | options)))[1]
    assert words in page.text
    assert page.open == []
    assert "nan" not in page.text.lower().split()


def test_settings_may_be_missing(tmp_path: Path) -> None:
    from dataclasses import replace

    run = finished(tmp_path, ("raw", "mispel"), ("A", "B"), ("1", "2"), pictures=False)
    page = build(replace(run, settings={}, references={}, histories={}))[1]
    assert "harmobench unknown" in page.text


def test_controls_are_aside_in_the_page(full: tuple[Finished, str, Page]) -> None:
    text, page = full[1], full[2]
    assert "Harmonization benchmark: 4 methods" in page.text
    assert "3 controls: oracle, template, blur" in page.text
    top = text[text.index('id="verdict"') : text.index('id="images"')]
    heads = re.findall(r'<th scope="(?:col|row)">([^<]*)<', top)
    assert {"MISPEL", "RAVEL"} <= set(heads)
    assert {"oracle", "template", "blur"}.isdisjoint(heads)
    assert '<tr class="aside"><th scope="row">' in text
    assert "registration only (template)" in page.text
    assert verdict(full[0]).methods == ("ravel", "mispel", "<i>x</i>")


def test_the_page_says_how_its_verdict_is_to_be_read(full: tuple[Finished, str, Page]) -> None:
    text, page = full[1], full[2]
    caption = text[text.index('id="findings-text"') :]
    caption = caption[: caption.index("</p>")]
    assert "no loss shown says that the interval holds RAW's" in caption
    assert "Caught, and what a metric rewards, are judged by unadjusted 95% intervals" in caption
    assert caption.count("Methods trained by folds are judged given these trained models") == 1
    assert "by the signed distance from RAW's 1" in page.text
    assert re.search(r"Volume slope \(HMRF\), GM registration alone -?\d", page.text)
    assert ">kept<" not in text


def test_verdict_counts_what_beats_raw(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "whitestripe", "mispel"), pictures=False)
    frame = run.aggregates
    raw = frame[(frame["method"] == "raw") & (frame["metric"] == "auroc")]
    raw = raw[raw["mode"] == "paper"]
    other = (frame["method"] == "whitestripe") & (frame["metric"] == "auroc")
    other &= frame["mode"] == "paper"
    frame.loc[other, "value"] = raw["value"].to_numpy()
    found = verdict(run)
    ssim = found.counts["mispel", "SSIM"]
    assert (ssim.better, ssim.worse, ssim.cases) == (6, 0, 6)
    assert found.counts["mispel", "Volume bias"].cases == 12  # GM and WM, six pairs
    assert found.counts["whitestripe", "AUROC"].shown == "as RAW"
    assert "unchanged by White Stripe" in next(s for s in found.sentences if s.startswith("AUROC "))


def test_failed_methods_are_called_failed(full: tuple[Finished, str, Page]) -> None:
    assert verdict(full[0]).counts["ravel", "SSIM"].shown == "failed"


def test_references_are_numbered_once(tmp_path: Path) -> None:
    run = finished(tmp_path, ("raw", "mispel"), pictures=False)
    entries = bibliography(run)
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [entry.reference.title for entry in entries] == ["On raw", "On mispel", "MISPEL"]
    text = " ".join(methods_text(run))
    assert "RAW [1] and MISPEL [2]" in text
    assert "SSIM [3]" in text
    assert "6 subjects were scanned on 4 scanners" in text
    assert "3 folds" in text
    assert "sign-flip tests" in text
    assert "as in the MISPEL paper" in text
    controlled = " ".join(methods_text(finished(tmp_path, ("raw",), controls=("oracle", "blur"))))
    assert "2 controls ran beside to test the metrics, and were not ranked" in controlled
    assert "oracle [2], " in controlled
    assert "blur [3], " in controlled


def test_training_says_what_was_chosen_and_what_diverged(tmp_path: Path) -> None:
    from dataclasses import replace

    from harmobench.reports.catalogue import training

    run = finished(tmp_path, ("raw", "mispel"), ("A", "B"), ("1", "2"), pictures=False)
    more = [
        {"stage": "step 1", "event": "diverged", "reason": "the loss is not finite"},
        {"event": "chosen", "candidate": "L=6, lambda2=1, lambda4=4"},
    ]
    histories = {key: [*rows, *more] for key, rows in run.histories.items()}
    (plot,) = training(replace(run, histories=histories))
    assert "fold 1: L=6, lambda2=1, lambda4=4;" in plot.caption
    assert "Training diverged 3 times and started again slower." in plot.caption
    assert "Chosen" not in training(run)[0].caption
