"""One browser and one server for all tests of pages; each test uses topics of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from browser import Browser, Page, find_chromium

from server import RunningServer


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium or Chrome is installed")
    with Browser(executable) as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def open_page(browser: Browser, server: RunningServer) -> Iterator[Callable[[str], Page]]:
    """Opens a path of the server; afterwards no page may have had an error.

    That the browser could not reach a server that was stopped is no error of a page.
    """
    pages: list[Page] = []

    def open_page(path: str) -> Page:
        page = browser.page()
        pages.append(page)
        return page.go(server.url + path)

    yield open_page
    errors = [error for page in pages for error in page.errors() if "ERR_CONNECTION" not in error]
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture
def open_panel(open_page: Callable[[str], Page]) -> Iterator[Callable[..., Page]]:
    """Opens the control panel, or a place in it; what this browser remembers of it is forgotten."""
    pages: list[Page] = []

    def open_panel(place: str = "") -> Page:
        page = open_page("/control-panel.html" + place)
        page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
        pages.append(page)
        return page

    yield open_panel
    for page in pages[:1]:
        page.evaluate("localStorage.clear()")
