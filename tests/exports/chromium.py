"""A page in a real browser: chromium, driven by playwright and cut off the network."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The browser that WORLDKV_CHROMIUM names, or one on the path; None without it or without playwright."""
    if importlib.util.find_spec("playwright") is None:
        return None
    return os.environ.get("WORLDKV_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield started
        started.close()


class OpenPage:
    """An open page, and what went wrong in it.

    Attributes:
        page: playwright's page.
        told: messages of the console, errors of scripts, and dialogs.
        requests: addresses asked for.
    """

    def __init__(self, browser: Any, file: Path, address: str = "", **context: Any) -> None:
        self._context = browser.new_context(offline=True, **{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self._context.new_page()
        self.told: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("dialog", self._note_dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{file.as_uri()}{address}")
        self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    def _note_dialog(self, dialog: Any) -> None:
        self.told.append(dialog.message)
        dialog.dismiss()

    @property
    def address(self) -> dict[str, str]:
        """What the hash says."""
        told: dict[str, str] = self.page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
        return told

    def text(self, selector: str) -> str:
        """The text of one element."""
        return str(self.page.inner_text(selector))

    def cells(self, head: str) -> list[str]:
        """A column of the table of rows, as it stands."""
        heads = [text.strip() for text in self.page.locator("#rows thead th").all_text_contents()]
        return [
            str(text).strip()
            for text in self.page.locator(f"#rows tbody tr > :nth-child({heads.index(head) + 1})").all_text_contents()
        ]

    def close(self) -> None:
        """Close it."""
        self._context.close()
