from __future__ import annotations

import base64
import importlib.util
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harmobench.imaging.mosaics import SIDE_BY_SIDE
from harmobench.imaging.slices import read_stack
from harmobench.interface import Finished
from harmobench.reports.images import coding, pictures, viewer
from harmobench.reports.images.pictures import Gallery


def beside(name: str) -> Any:
    """Module of a file that lies beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


finished = beside("synthetic_run").finished

PAGE = Path(pictures.__file__).parents[1] / "page"
Levels = NDArray[np.int64]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder, controls = tmp_path_factory.mktemp("run"), ("oracle", "blur")
    return finished(
        folder, ("raw", "ravel", "mispel"), ("A", "B", "C"), failed="ravel", controls=controls
    )


# --- coding: an own decoder, pixel by pixel -----------------------------------------------------


def numbers(content: bytes, count: int) -> list[int]:
    folded = np.frombuffer(content[:count], np.uint8).astype(int)
    if len(content) > count:
        folded = folded + 256 * np.frombuffer(content[count:], np.uint8).astype(int)
    return [int(-(n + 1) // 2 if n % 2 else n // 2) for n in folded]


def sixteen(number: int) -> int:
    return (number + 2**15) % 2**16 - 2**15


def unpredicted(rests: list[int], brain: NDArray[np.bool_]) -> Levels:
    out = np.zeros(brain.shape, dtype=np.int64)
    left_over = iter(rests)
    for s, y, x in np.argwhere(brain):
        left = int(out[s, y, x - 1]) if x else 0
        above = int(out[s, y - 1, x]) if y else 0
        corner = int(out[s, y - 1, x - 1]) if x and y else 0
        guess = sorted((left, above, left + above - corner))[1]
        out[s, y, x] = sixteen(next(left_over) + guess)
    return out


def decoded(way: int, text: str, brain: NDArray[np.bool_], raw: Levels | None) -> Levels:
    content, count = zlib.decompress(base64.b64decode(text)), int(brain.sum())
    if way == coding.OWN or raw is None:
        return unpredicted(numbers(content, count), brain)
    low = int(raw[brain].min())
    size = int(raw[brain].max()) - low + 1
    every = numbers(content, size + count)
    means = np.cumsum(every[:size])
    if way == coding.SMOOTH_FROM_RAW:
        out = unpredicted(every[size:], brain)
    else:
        out = np.zeros(brain.shape, dtype=np.int64)
        out[brain] = every[size:]
    out[brain] = [sixteen(int(n)) for n in out[brain] + means[raw[brain] - low]]
    return out


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, seed=st.integers(0, 1000), spread=st.sampled_from([0, 3, 90, 15000]))
def test_packing_loses_nothing(shape: tuple[int, ...], seed: int, spread: int) -> None:
    # even, smooth or wild; close to RAW or far from it: whichever way is shortest
    rng = np.random.default_rng(seed)
    brain = rng.random(shape) < 0.8
    raw = rng.integers(-spread, spread + 1, shape) * brain
    own = np.clip(raw * rng.choice([0, 1, -1]) + rng.integers(-2, 3, shape), -15000, 15000) * brain
    for base in (None, raw):
        for way, content in coding._ways(own, brain, base):
            text = base64.b64encode(content).decode()
            np.testing.assert_array_equal(decoded(way, text, brain, base), own)


def test_what_follows_from_raw_takes_next_to_no_room() -> None:
    rng = np.random.default_rng(0)
    brain = np.ones((2, 40, 40), dtype=bool)
    raw = rng.integers(-100, 100, brain.shape)
    alone = coding.coded(raw, brain, None)
    other = coding.coded(raw * 3 - 40, brain, raw)
    assert other.way == coding.FROM_RAW
    assert len(other.text) < len(alone.text) / 8


# --- the viewer's arrays ------------------------------------------------------------------------


def levels(shown: viewer.Shown, axes: list[Any], name: str, scanner: int, axis: int) -> Levels:
    scans = shown.data["methods"][name]["scans"]
    raw = None if name == "raw" else levels(shown, axes, "raw", scanner, axis)
    return decoded(*scans[scanner][axis], axes[axis], raw)


def masks(shown: viewer.Viewer) -> list[Any]:
    found = []
    for own in shown.meta["axes"]:
        shape = (len(own["at"]), own["height"], own["width"])
        flat = np.unpackbits(
            np.frombuffer(zlib.decompress(base64.b64decode(own["brain"])), np.uint8)
        )
        found.append(flat[: np.prod(shape)].reshape(shape).astype(bool))
    return found


@pytest.mark.parametrize("name", ["raw", "mispel"])
def test_differences_are_right_to_a_fiftieth_of_the_contrast(run: Finished, name: str) -> None:
    gallery = Gallery(run)
    shown = gallery.viewer
    assert shown is not None
    axes, first = masks(shown), shown.subjects[0]
    keys = [(name, first.subject, scanner) for scanner in run.design.scanners]
    medians = np.array([gallery.medians(*key) for key in keys])
    unit = np.mean(medians[:, 1] - medians[:, 0])
    for axis, title in enumerate(SIDE_BY_SIDE):
        stacks = [read_stack(gallery.picture(*key), title) for key in (keys[2], keys[0])]
        true = (stacks[0].pixels - stacks[1].pixels)[stacks[0].brain] / unit
        a, b = (levels(first, axes, name, place, axis) for place in (2, 0))
        found = viewer.STEP * (a - b)
        flat = [np.rot90(s.brain, axes=(1, 2)) for s in stacks]
        whole = np.rot90((stacks[0].pixels - stacks[1].pixels) / unit, axes=(1, 2))
        assert axes[axis].sum() == flat[0].sum() == true.size
        np.testing.assert_allclose(found[axes[axis]], whole[flat[0]], atol=viewer.STEP * 1.001)
        assert np.abs(true).max() > 10 * viewer.STEP


def test_a_method_that_failed_is_no_scan_of_the_viewer(run: Finished) -> None:
    shown = Gallery(run).viewer
    assert shown is not None
    assert [own["name"] for own in shown.meta["methods"]] == ["raw", "mispel"]
    assert shown.note == ""


def test_a_missing_scan_leaves_its_place_empty(run: Finished) -> None:
    first = Gallery(run).viewer
    assert first is not None
    gone = ("mispel", first.subjects[0].subject, "B")
    kept = {key: path for key, path in run.pictures.items() if key != gone}
    shown = Gallery(replace(run, pictures=kept)).viewer
    assert shown is not None
    scans = shown.subjects[0].data["methods"]["mispel"]["scans"]
    assert [len(own) for own in scans] == [3, 0, 3]


def test_an_image_without_contrast_has_no_units(run: Finished, tmp_path: Path) -> None:
    changed = dict(run.pictures)
    for key, path in run.pictures.items():
        if key[0] == "mispel":
            with np.load(path) as file:
                arrays = dict(file)
            changed[key] = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
            np.savez(changed[key], **arrays | {"medians": arrays["medians"][::-1]})
    shown = Gallery(replace(run, pictures=changed)).viewer
    assert shown is not None
    assert [m["units"] for m in shown.subjects[0].data["methods"].values()] == [True, False]


@given(
    size=st.integers(1, 40_000_000),
    slices=st.integers(1, 12),
    people=st.integers(1, 3),
)
def test_what_is_shown_fits_unless_the_least_is_too_much(
    size: int, slices: int, people: int
) -> None:
    count, now = viewer.room(size, slices, people)
    assert 1 <= count <= people
    assert min(viewer.FEWEST, slices) <= now <= slices
    fits = size * count * now / slices <= viewer.BUDGET
    assert fits or (count == 1 and now == min(viewer.FEWEST, slices))


def test_less_room_means_fewer_slices_and_says_so(
    run: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Gallery(run).viewer
    assert full is not None
    size = sum(own.size for own in full.subjects)
    monkeypatch.setattr(viewer, "BUDGET", int(size * 0.7))
    less = Gallery(run).viewer
    assert less is not None
    before, now = (len(own.meta["axes"][0]["at"]) for own in (full, less))
    assert now < before
    assert f"{now} of the {before} slices" in less.note
    assert sum(own.size for own in less.subjects) <= size * 0.75


# --- mosaics ------------------------------------------------------------------------------------


def test_a_run_without_mosaics_gets_them_from_its_pictures(run: Finished) -> None:
    key = ("mispel", "02", "B")
    assert Gallery(replace(run, mosaics={})).mosaic(*key) == Gallery(run).mosaic(*key) != ""


@pytest.mark.parametrize("damage", ["empty", "half", "other"])
def test_a_broken_mosaic_is_made_again_from_its_picture(
    damage: str, run: Finished, tmp_path: Path
) -> None:
    key = min(run.mosaics)
    good = run.mosaics[key].read_bytes()
    broken = {"empty": b"", "half": good[: len(good) // 2], "other": b"\x89PNG" * 99}[damage]
    path = tmp_path / "broken.webp"
    path.write_bytes(broken)
    again = Gallery(replace(run, mosaics={**run.mosaics, key: path})).mosaic(*key)
    assert pictures.whole(base64.b64decode(again.partition(",")[2]))
    assert pictures.whole(good)
    assert not pictures.whole(broken)


def test_a_run_of_an_earlier_version_is_shown_without_a_viewer(
    run: Finished, tmp_path: Path
) -> None:
    old = {}
    for place, (key, path) in enumerate(run.pictures.items()):
        with np.load(path) as file:
            names = [n for a in SIDE_BY_SIDE for n in (a, f"{a}_brain")]
            old[key] = tmp_path / f"{place}.npz"
            np.savez(old[key], **{name: file[name] for name in names})
    html = page(replace(run, pictures=old, mosaics={}))
    assert "run it again with this version" in html
    assert html.count("data:image/webp") == len(old)
    assert "viewer-meta" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


def test_many_mosaics_are_shown_smaller(run: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Gallery(run).mosaic("raw", "01", "A")
    size = sum(path.stat().st_size for path in run.mosaics.values())
    monkeypatch.setattr(pictures, "MOSAIC_BYTES", size // 4)
    gallery = Gallery(run)
    assert gallery.scale == pytest.approx(0.5, abs=0.01)
    assert len(gallery.mosaic("raw", "01", "A")) < 0.6 * len(whole)
    assert "smaller than the run made them" in page(run)


def test_missing_images_say_why(run: Finished) -> None:
    gallery = Gallery(run)
    assert gallery.why_missing("ravel", "01", "A") == "the loss was not finite"
    assert gallery.why_missing("mispel", "01", "A") == ""
    assert page(run).count("<b>no image</b> the loss was not finite") == 6 * 3


def test_figure_3_is_as_high_as_the_brain_is_in_mm(run: Finished, tmp_path: Path) -> None:
    from harmobench.reports import figures

    changed = {}
    for place, (key, path) in enumerate(run.pictures.items()):
        with np.load(path) as file:
            arrays = dict(file) | {"axial_mm": np.array([5.0, 10.0])}
        changed[key] = tmp_path / f"{place}.npz"
        np.savez(changed[key], **arrays)
    plain, tall = (
        figures.mosaic(own, "01").axes[0] for own in (run, replace(run, pictures=changed))
    )
    assert (plain.get_aspect(), tall.get_aspect()) == (1, 2)
    brain = Gallery(run).slice("raw", "01", "A", "axial")[1]
    rows = np.flatnonzero(brain.any(axis=1))
    assert plain.images[0].get_array().shape[0] == np.ptp(rows) + 3  # type: ignore[union-attr]


# --- the page -----------------------------------------------------------------------------------


def page(run: Finished) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from harmobench.reports import style

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["label"] = style.label
    text = (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>x</title>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><style>"
        "{% include 'style.css' %}{% include 'viewer.css' %}</style></head><body><main>"
        "<a id='way' href='#images-02'>02</a>{% include 'images.html.j2' %}</main>"
        "<script>{% include 'viewer.js' %}</script></body></html>"
    )
    return environment.from_string(text).render(
        run=run, design=run.design, settings=run.settings, gallery=Gallery(run)
    )


def test_each_subject_has_its_anchor_and_the_first_is_open(run: Finished) -> None:
    html = page(run)
    found = re.findall(r'<details class="subject" id="([^"]*)"( open)?>', html)
    assert found == [(f"images-0{n}", " open" if n == 1 else "") for n in range(1, 7)]
    assert html.count("data:image/webp") == 6 * 3 * 4  # raw, mispel and two controls


def test_what_is_hidden_without_a_script_is_all_that_needs_one(run: Finished) -> None:
    html = page(run)
    assert '<div class="viewer-body" hidden>' in html
    assert "<noscript>" in html
    assert html.index("viewer-body") < html.index('id="viewer-wipe"') < html.index("viewer-meta")


def test_names_cannot_leave_their_place(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>'\"&"
    html = page(finished(tmp_path, ("raw", "mispel"), (evil, "B"), (evil, "02", "03")))
    assert "<img src=x" not in html
    assert html.count("</script>") == html.count("<script")
    held = re.search(r'id="viewer-meta">(.*?)</script>', html, re.DOTALL)
    assert held is not None
    assert json.loads(held[1])["scanners"] == [evil, "B"]


@pytest.fixture(scope="module")
def browser() -> Any:
    chromium = beside("browser")
    if chromium.missing():
        pytest.skip(chromium.missing())
    with chromium.chromium() as own:
        own.look(1200, 900)
        yield own.driver


WAIT = """
const done = arguments[arguments.length - 1];
document.getElementById('viewer').scrollIntoView();
const look = () => document.querySelector('.plane canvas[aria-label]')
  ? setTimeout(done, 150) : setTimeout(look, 20);
look();
"""
PIXELS = """
const canvas = document.querySelectorAll('.plane')[arguments[0]]
  .querySelectorAll('tbody tr')[arguments[1]].querySelectorAll('canvas')[arguments[2]];
return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
"""


def pixels(browser: Any, plane: int, row: int, column: int, shape: tuple[int, int]) -> Any:
    found = np.array(browser.execute_script(PIXELS, plane, row, column))
    return found.reshape(*shape, 4)[..., :3]


def opened(browser: Any, html: str, path: Path) -> None:
    path.write_text(html, encoding="utf-8")
    browser.get(path.as_uri())
    browser.execute_async_script(WAIT)


def moved(browser: Any, name: str, value: object, event: str = "input") -> None:
    browser.execute_async_script(
        "const [name, value, event, done] = arguments; const own = document.querySelector(name);"
        "own.value = value; own.dispatchEvent(new Event(event)); setTimeout(done, 150);",
        name,
        value,
        event,
    )


def test_the_browser_draws_what_the_run_kept(browser: Any, run: Finished, tmp_path: Path) -> None:
    gallery = Gallery(run)
    shown = gallery.viewer
    assert shown is not None
    opened(browser, page(run), tmp_path / "page.html")
    axes, first = masks(shown), shown.subjects[0]
    moved(browser, "#viewer-wipe", 0)
    moved(browser, ".plane:nth-child(2) input", 3)
    brain = axes[1][3]
    key = ("mispel", first.subject, "B")
    own, reference = (levels(first, axes, "mispel", place, 1)[3] for place in (1, 0))
    low, high = first.data["methods"]["mispel"]["window"]
    grey = np.where(brain, np.clip((own - low) / (high - low), 0, 1) * 255, 0)
    drawn = pixels(browser, 1, 0, 1, brain.shape)
    assert np.abs(drawn - grey[..., None]).max() <= 1, key
    drawn = pixels(browser, 1, 1, 1, brain.shape)
    red_less_blue = (drawn[..., 0] - drawn[..., 2])[brain]
    unlike = (own - reference)[brain] * viewer.STEP
    assert np.corrcoef(red_less_blue, unlike)[0, 1] > 0.9
    assert (np.sign(red_less_blue) == np.sign(unlike))[np.abs(unlike) > 0.05].all()
    assert len(np.unique(drawn[~brain], axis=0)) == 1, "one grey outside"
    assert browser.get_log("browser") == []


def test_sliders_move_all_images_by_keyboard(browser: Any, run: Finished, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    shown = Gallery(run).viewer
    assert shown is not None
    opened(browser, page(run), tmp_path / "page.html")
    shape = masks(shown)[0].shape[1:]
    before = [pixels(browser, 0, row, 1, shape) for row in (0, 1)]
    slider = browser.find_element("css selector", ".plane input")
    slider.send_keys(Keys.ARROW_RIGHT)
    browser.execute_async_script(WAIT)
    after = [pixels(browser, 0, row, 1, shape) for row in (0, 1)]
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    said = browser.find_element("css selector", ".plane output").text
    place = int(slider.get_attribute("value"))
    assert said == f"z = {shown.meta['axes'][0]['at'][place]:g} mm, slice {place + 1} of 12"
    moved(browser, "#viewer-wipe", 100)
    raw = pixels(browser, 0, 0, 1, shape)
    moved(browser, "#viewer-wipe", 50)
    half = pixels(browser, 0, 0, 1, shape)
    edge = round(shape[1] / 2)
    assert (half[:, :edge] == raw[:, :edge]).all()
    assert (half[:, edge + 1 :] != raw[:, edge + 1 :]).any()


def test_a_mouse_draws_the_line_along(browser: Any, run: Finished, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    opened(browser, page(run), tmp_path / "page.html")
    canvas = browser.find_element("css selector", ".plane canvas")
    chain = ActionChains(browser).move_to_element(canvas).click_and_hold()
    chain.move_by_offset(round(canvas.size["width"] / 4), 0).release().perform()
    wipe = browser.find_element("id", "viewer-wipe")
    assert abs(int(wipe.get_attribute("value")) - 75) <= 2
    ActionChains(browser).move_to_element(canvas).perform()
    assert abs(int(wipe.get_attribute("value")) - 75) <= 2, "no button is held"


def test_a_link_opens_its_subject(browser: Any, run: Finished, tmp_path: Path) -> None:
    opened(browser, page(run), tmp_path / "page.html")
    assert not browser.execute_script("return document.getElementById('images-02').open")
    for _ in range(2):  # again after it was closed: the address does not change then
        browser.execute_async_script(
            "document.getElementById('way').click(); setTimeout(arguments[0], 100)"
        )
        focused = browser.execute_script("return document.activeElement.parentElement.id")
        assert focused == "images-02"
        opened_now = "const own = document.getElementById('images-02'); const is = own.open;"
        assert browser.execute_script(opened_now + "own.open = false; return is")
    browser.get((tmp_path / "page.html").as_uri() + "?again#images-03")
    assert browser.execute_script("return document.getElementById('images-03').open")
