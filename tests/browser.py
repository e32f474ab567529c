"""A headless Chromium for the tests of web pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_PATHS = [path for path in map(shutil.which, CHROMIUM_NAMES) if path is not None]
ARGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]

needs_browser = pytest.mark.skipif(
    not CHROMIUM_PATHS, reason="Chromium is not installed (Debian: apt-get install chromium)"
)


@contextmanager
def browser_tab() -> Iterator[tuple[Any, list[str]]]:
    """Open an empty tab. Yields the tab and a list that receives the errors and warnings of its console."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM_PATHS[0], args=ARGS)
        tab = browser.new_page()
        messages: list[str] = []

        def record_console_message(message: Any) -> None:
            if message.type in ("error", "warning"):
                messages.append(message.text)

        tab.on("console", record_console_message)
        tab.on("pageerror", lambda error: messages.append(str(error)))
        yield tab, messages
        browser.close()
