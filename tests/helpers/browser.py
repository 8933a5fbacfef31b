"""A headless Chromium that is driven by tests, with the requests and errors that it logs."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def find_program(*names: str) -> str:
    """Return the path of a program, or fail: a test of the browser is never skipped silently."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, (
        f"{names[0]} is not installed: run ci/packages browser, or ci/test --without browser"
    )
    return found


class Browser:
    """A page in Chromium.

    `driver` is selenium's. Sizes are in CSS pixels.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Open a file at a size of the window, as a phone has it below 600 pixels."""
        self.driver.get("about:blank")
        self.emulate(width, height, dark)
        self.requests(), self.errors()  # of the pages before
        self.driver.get(path.as_uri())

    def emulate(self, width: int, height: int, dark: bool) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return its result."""
        return self.driver.execute_script(script, *arguments)

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call, without data URIs."""
        messages = (
            json.loads(row["message"])["message"] for row in self.driver.get_log("performance")
        )
        sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [s["request"]["url"] for s in sent if not s["request"]["url"].startswith("data:")]

    def errors(self) -> list[str]:
        """Return what the console logged since the last call."""
        return [row["message"] for row in self.driver.get_log("browser")]

    def save_picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as a PNG file."""
        found = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole}
        )
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """Start a browser with a directory of its own, and end it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    os.environ.setdefault("SE_AVOID_STATS", "true")
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium-browser", "google-chrome")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for option in (*OPTIONS, f"--user-data-dir={folder}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options, Service(find_program("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
