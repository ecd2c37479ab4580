"""A headless Chromium that opens pages, and says what it did and what it found wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OFFLINE = ("file:", "data:", "blob:", "about:")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root has none
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
SERIOUS = ("serious", "critical")


def missing() -> str:
    """Say what is missing to open pages; "" where all is there."""
    import importlib.util

    if importlib.util.find_spec("selenium") is None:
        return "selenium is not installed"
    if _chromium() is None:
        return f"none of {', '.join(CHROMIUM)} is installed"
    return "" if shutil.which("chromedriver") else "chromedriver is not installed"


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def axe() -> Path | None:
    """Where axe-core's script lies: HARMOBENCH_AXE, or node_modules of the checkout."""
    given = os.environ.get("HARMOBENCH_AXE")
    path = Path(given) if given else ROOT / "node_modules" / "axe-core" / "axe.min.js"
    return path if path.is_file() else None


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; it ends with the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _chromium() or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(120)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """What tests ask of a browser.

    Parameters
    ----------
    driver
        Selenium's.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def do(self, command: str, **arguments: Any) -> Any:
        """Give a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript: `return` gives its value back."""
        return self.driver.execute_script(script, *arguments)

    def open(self, page: Path, at: str = "") -> None:
        """Open a page anew; what was logged before is dropped."""
        self.driver.get("about:blank")
        self.logged()
        self.requested()
        self.driver.get(page.absolute().as_uri() + at)

    def look(
        self, width: int = 1440, height: int = 900, *, dark: bool = False, still: bool = False
    ) -> None:
        """Set the size of the window, and what the person prefers."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.do("Emulation.setEmulatedMedia", media="", features=features)

    def print_media(self) -> None:
        """Show the page as it is printed."""
        self.do("Emulation.setEmulatedMedia", media="print")

    def logged(self) -> list[str]:
        """What the console said since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requested(self) -> list[str]:
        """Every address that was asked for since it was last asked."""
        events = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def all(self, selector: str) -> list[Any]:
        """Elements by CSS selector."""
        from selenium.webdriver.common.by import By

        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def one(self, selector: str) -> Any:
        """First element of a CSS selector."""
        from selenium.webdriver.common.by import By

        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, script: str, *arguments: Any, seconds: float = 20) -> Any:
        """Wait until JavaScript returns something true, and return it."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, 0.05).until(
            lambda _: self.run(script, *arguments)
        )

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def shorten(self, rows: int = 1) -> None:
        """Make the page small for axe-core, which takes minutes for one with all its numbers.

        Of each table a few rows of each sort stay, pictures are replaced by small ones of the same
        size, and data go.
        """
        self.run(
            "for (const image of document.images) {"
            "  const box = image.getBoundingClientRect();"
            "  image.style.width = box.width + 'px';"
            "  image.style.height = box.height + 'px';"
            "  image.src = arguments[0];"
            "}"
            "for (const script of document.querySelectorAll('body script')) script.remove();",
            DOT,
        )
        self.run(
            "for (const body of document.querySelectorAll('tbody')) {"
            "  const seen = new Map();"
            "  for (const row of [...body.rows]) {"
            "    const sort = row.className + [...row.cells].map(cell => cell.className);"
            "    seen.set(sort, (seen.get(sort) || 0) + 1);"
            "    if (seen.get(sort) > arguments[0]) row.remove();"
            "  }"
            "}",
            rows,
        )

    def hindrances(self, script: Path) -> list[str]:
        """Return serious and critical faults that axe-core finds in the page."""
        if not self.run("return typeof axe === 'object'"):
            self.run(script.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run(document, {resultTypes: ['violations'], preload: false})"
            ".then(result => done(result.violations));"
        )
        return [
            f"{fault['id']}: {node['target']}: {node['failureSummary']}"
            for fault in found
            if fault["impact"] in SERIOUS
            for node in fault["nodes"]
        ]

    def paint(self) -> None:
        """Wait until two frames are drawn: styles and lazy pictures are settled."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()));"
        )
