"""The report's page in a real browser: what it shows, asks for, and can be reached with."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def beside(name: str) -> Any:
    """Import a module of this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


browser = beside("browser")
pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "all is there")

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
SUBJECTS = (SCRIPT, 'a&b"', "03", "04", "05")
SCANNERS = ("GE", IMAGE, "Philips")
METHODS = ("raw", "ravel", "mispel")
PHONE = (390, 844)
ENTER, SPACE, TAB, LEFT, RIGHT = "\ue007", " ", "\ue004", "\ue012", "\ue014"
HOME, END = "\ue011", "\ue010"
OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true;"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with everything a report can have, of names that mean no good."""
    from harmobench.reports import style
    from harmobench.reports.html import Html

    made = beside("synthetic_run").finished(
        tmp_path_factory.mktemp("run"),
        METHODS,
        SCANNERS,
        SUBJECTS,
        failed="ravel",
        controls=("oracle", "blur"),
        notes=[f"A {SCRIPT} note."],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 30)  # their sharpness is not what is tested, and takes the time
        return Path(Html().write(made, lambda *_: None)[0])


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser.chromium() as started:
        yield started


@pytest.fixture
def opened(window: Any, page: Path) -> Iterator[Any]:
    """Open the page on a wide screen; whatever a test does, nothing may be said or fetched."""
    window.look(still=True)  # a click during a smooth scroll hits something else
    window.open(page)
    yield window
    silent(window)


def silent(window: Any) -> None:
    asked = window.requested()
    assert window.logged() == []
    assert [url[:80] for url in asked if not url.startswith(browser.OFFLINE)] == []


def luminance(window: Any, selector: str, name: str) -> float:
    """Relative luminance of a colour of an element, 0 to 1."""
    text = window.run(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        selector,
        name,
    )
    red, green, blue = (
        float(part) / 255 for part in text.partition("(")[2].rstrip(")").split(",")[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_it_loads_whole_and_asks_for_nothing(opened: Any) -> None:
    opened.until("return document.readyState === 'complete'")
    asked = opened.requested()
    assert sum(url.startswith("file:") for url in asked) == 1
    opened.run(OPEN_ALL + "for (const image of document.images) image.loading = 'eager';")
    slices(opened)
    opened.until(
        "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
    )
    assert all(url.startswith(browser.OFFLINE) for url in opened.requested())


def test_names_are_shown_as_text(opened: Any) -> None:
    text = opened.one("body").get_attribute("textContent")
    assert SCRIPT in text
    assert IMAGE in text
    assert opened.all("img[src=x]") == []
    assert opened.all("[onerror], [onload], [onclick]") == []


# --- what can be done, by mouse and by keyboard ------------------------------------------------


def column(window: Any, table: str, place: int) -> list[Any]:
    return list(
        window.run(
            "return [...document.querySelector(arguments[0]).tBodies[0].rows].map(row =>"
            " 'value' in row.cells[arguments[1]].dataset ? +row.cells[arguments[1]].dataset.value"
            " : row.cells[arguments[1]].textContent)",
            table,
            place,
        )
    )


@pytest.mark.parametrize("way", ["mouse", "Enter", "Space"])
def test_tables_are_sorted(opened: Any, way: str) -> None:
    places = opened.run(
        "return [...document.querySelectorAll('section.table table.sortable')].map(table => {"
        "  const row = table.tBodies[0].rows[0];"
        "  const column = row && [...row.cells].findIndex(cell => 'value' in cell.dataset);"
        "  return [table.closest('section').id, column, table.tBodies[0].rows.length];"
        "}).filter(([, column, rows]) => column > 0 && rows > 2)"
    )
    assert places
    for name, place, _ in places[:3]:
        table = f"#{name} table"
        before = column(opened, table, place)
        head = opened.all(f"{table} thead th")[place]
        button = opened.all(f"{table} thead th button")[place]
        opened.run("arguments[0].scrollIntoView({block: 'center'})", button)
        for order, down in (("ascending", False), ("descending", True)):
            if way == "mouse":
                button.click()
            else:
                opened.run("arguments[0].focus({preventScroll: true})", button)
                opened.press(ENTER if way == "Enter" else SPACE)
            assert head.get_attribute("aria-sort") == order
            after = column(opened, table, place)
            numbers = [value for value in after if not isinstance(value, str)]
            assert numbers == sorted(numbers, reverse=down)
            assert sorted(map(str, after)) == sorted(map(str, before))
        assert len(opened.all(f"{table} [aria-sort]")) == 1


def test_links_of_the_page_lead_somewhere(opened: Any) -> None:
    links = opened.all("nav a")
    assert len(links) > 5
    for number, link in enumerate(links):
        if number % 2:
            link.click()
        else:
            opened.run("arguments[0].focus({preventScroll: true})", link)
            opened.press(ENTER)
        opened.paint()
        top = opened.until(
            "const box = document.getElementById(decodeURIComponent(location.hash.slice(1)))"
            ".getBoundingClientRect();"
            "return box.top >= -2 && box.top < innerHeight && box.height > 0 && [box.top]"
        )
        assert top
    dead = opened.run(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))"
        ".filter(href => !document.getElementById(decodeURIComponent(href.slice(1))))"
    )
    assert dead == []


def slices(window: Any) -> Any:
    """Bring the viewer onto the screen and return its first slider, when slices are drawn."""
    window.run("document.querySelector('#viewer').scrollIntoView()")
    window.until(
        "const slider = document.querySelector('#viewer-planes input[type=range]');"
        "return slider && slider.getAttribute('aria-valuetext')"
    )
    window.paint()
    return window.one("#viewer-planes input[type=range]")


def drawn(window: Any) -> str:
    """Pixels of the first slice, as it is now."""
    window.paint()
    return str(window.run("return document.querySelector('#viewer-planes canvas').toDataURL()"))


def changes(window: Any, before: str) -> str:
    """Wait until the first slice is another one than before."""
    window.until(
        "return document.querySelector('#viewer-planes canvas').toDataURL() !== arguments[0]",
        before,
    )
    return drawn(window)


def click_at(window: Any, element: Any, share: float) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    window.run("arguments[0].scrollIntoView({block: 'center'})", element)
    shift = round((share - 0.5) * element.size["width"])
    ActionChains(window.driver).move_to_element_with_offset(element, shift, 0).click().perform()


def test_slices_are_gone_through_by_keyboard(opened: Any) -> None:
    slider = slices(opened)
    opened.run("arguments[0].focus()", slider)
    first, told = drawn(opened), slider.get_attribute("aria-valuetext")
    opened.press(RIGHT)
    second = changes(opened, first)
    assert slider.get_attribute("aria-valuetext") != told
    opened.press(LEFT)
    assert changes(opened, second) == first
    assert slider.get_attribute("aria-valuetext") == told


def test_slices_are_gone_through_by_mouse(opened: Any) -> None:
    slider = slices(opened)
    first = drawn(opened)
    click_at(opened, slider, 0.2)
    changes(opened, first)
    low = int(slider.get_property("value"))
    click_at(opened, slider, 0.8)
    assert int(slider.get_property("value")) > low


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_before_and_after_are_wiped(opened: Any, way: str) -> None:
    slices(opened)
    wipe = opened.one("#viewer-wipe")
    opened.run("arguments[0].focus()", wipe)
    middle = drawn(opened)
    if way == "mouse":
        click_at(opened, wipe, 0.99)
    else:
        opened.press(END)
    raw = changes(opened, middle)
    assert (
        opened.run("return document.querySelector('#viewer-planes tbody th').textContent") == "RAW"
    )
    if way == "mouse":
        click_at(opened, wipe, 0.01)
    else:
        opened.press(HOME)
    method = changes(opened, raw)
    assert len({middle, raw, method}) == 3


def test_another_subject_and_method_are_shown(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    slices(opened)
    for name in ("#viewer-subject", "#viewer-method"):
        choice = Select(opened.one(name))
        if len(choice.options) > 1:
            before = drawn(opened)
            choice.select_by_index(len(choice.options) - 1)
            changes(opened, before)


def test_outliers_lead_to_the_images_of_their_subject(opened: Any) -> None:
    links = opened.all(".plotted a")
    assert links, "the run has outliers"
    for link, way in zip(links[:4], ("mouse", "keyboard") * 2, strict=False):
        place = link.get_attribute("href").partition("#")[2]
        opened.run("for (const each of document.querySelectorAll('details')) each.open = false;")
        opened.run("history.replaceState(null, '', ' ')")
        opened.run("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", link)
        opened.paint()
        if way == "mouse":
            link.click()
        else:
            opened.run("arguments[0].focus({preventScroll: true})", link)
            opened.press(ENTER)
        opened.until(
            "const target = document.getElementById(decodeURIComponent(arguments[0]));"
            "const box = target.getBoundingClientRect();"
            "return target.open && box.top < innerHeight && box.bottom > 0",
            place,
        )
        assert link.get_attribute("textContent").strip()
        opened.until("return document.querySelector('details[open] img').naturalWidth > 0")


def test_a_link_from_elsewhere_opens_the_images_too(window: Any, page: Path) -> None:
    window.look()
    window.open(page)
    place = window.run("return [...document.querySelectorAll('details.subject')].pop().id")
    window.open(page, f"#{place}")
    window.until("return document.getElementById(arguments[0]).open", place)
    silent(window)


def test_the_first_key_skips_what_stands_above_the_verdict(opened: Any) -> None:
    opened.press(TAB)
    assert opened.run("return document.activeElement.className") == "skip"
    assert opened.run("return document.activeElement.getBoundingClientRect().left >= 0")
    opened.press(ENTER)
    assert opened.run("return location.hash") == "#verdict"


def test_texts_to_copy_are_copied_or_marked(opened: Any) -> None:
    button = opened.one("button.copy")
    opened.run("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    opened.until("return document.querySelector('button.copy + [role=status]').textContent")


# --- how it looks ------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_it_follows_what_a_person_prefers(opened: Any, dark: bool) -> None:
    opened.look(dark=dark)
    opened.paint()
    page, ink = luminance(opened, "body", "backgroundColor"), luminance(opened, "body", "color")
    low, high = sorted((page, ink))
    assert (page < ink) == dark
    assert low < 0.15
    assert high > 0.75


@pytest.mark.parametrize("size", [PHONE, (320, 640), (1440, 900)])
def test_the_page_itself_never_scrolls_sideways(opened: Any, size: tuple[int, int]) -> None:
    opened.look(*size)
    opened.run(OPEN_ALL)
    opened.paint()
    width, room, widest = opened.run(
        "const out = [...document.querySelectorAll('body *')].filter(each =>"
        " !each.closest('.scroll, nav') && each.getBoundingClientRect().right > innerWidth + 1)"
        ".slice(0, 5).map(each => each.outerHTML.slice(0, 120));"
        "return [document.documentElement.scrollWidth, innerWidth, out]"
    )
    assert width <= room, widest


def test_print_has_tables_whole_and_no_navigation(opened: Any) -> None:
    opened.print_media()
    opened.paint()
    assert not opened.one("nav").is_displayed()
    clipped = opened.run(
        "return [...document.querySelectorAll('.scroll')].filter(each => {"
        "  const style = getComputedStyle(each);"
        "  return (style.overflowY !== 'visible' && each.scrollHeight > each.clientHeight + 1)"
        "   || (style.overflowX !== 'visible' && each.scrollWidth > each.clientWidth + 1);"
        "}).map(each => each.getAttribute('aria-label') || each.getAttribute('aria-labelledby'))"
    )
    assert clipped == []
    assert luminance(opened, "body", "backgroundColor") > 0.9
    printed = opened.do("Page.printToPDF", printBackground=False)
    assert base64.b64decode(printed["data"]).startswith(b"%PDF-")


def test_nothing_moves_for_whoever_wants_it_still(opened: Any) -> None:
    opened.look(still=True)
    opened.paint()
    moving = opened.run(
        "return [document.documentElement, ...document.querySelectorAll('body, body *')]"
        ".filter(each => { const style = getComputedStyle(each);"
        "  const times = style.transitionDuration + ', ' + style.animationDuration;"
        "  return style.scrollBehavior === 'smooth'"
        "   || times.split(', ').some(time => parseFloat(time) > 0.01); })"
        ".map(each => each.tagName + '.' + each.className)"
    )
    assert moving == []


def test_without_javascript_all_is_there(window: Any, page: Path) -> None:
    window.look()
    window.open(page)
    rows = window.run(
        "return [...document.querySelectorAll('main table tbody tr')]"
        ".filter(row => !row.closest('.viewer')).length"
    )
    window.do("Emulation.setScriptExecutionDisabled", value=True)
    try:
        window.open(page)
        assert window.run("return document.querySelectorAll('th button').length") == 0
        assert rows > 100
        assert rows == len(window.all("main table tbody tr"))
        window.run(OPEN_ALL)
        tables = window.all("table.sortable")
        assert all(table.is_displayed() for table in tables)
        assert all(image.is_displayed() for image in window.all("figure img"))
        assert not window.one(".viewer-body").is_displayed()
        assert "JavaScript" in window.one("#viewer noscript").get_attribute("textContent")
        empty = [b for b in window.all("button, select, input") if b.is_displayed()]
        assert empty == []
        silent(window)
    finally:
        window.do("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.skipif(
    browser.axe() is None, reason="axe-core is not there: python tests/fetch_axe.py, HARMOBENCH_AXE"
)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [(1440, 900), PHONE])
def test_nobody_is_kept_out(opened: Any, size: tuple[int, int], dark: bool) -> None:
    opened.look(*size, dark=dark, still=True)
    opened.run(OPEN_ALL)
    if size != PHONE:  # there, as it is before it is reached
        slices(opened)
    opened.shorten()
    assert opened.hindrances(browser.axe()) == []
