"""Server-Sent Events in a real browser, through a restart of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser, Page

from server import RunningServer

pytestmark = pytest.mark.browser

LISTEN = """
window.got = [];
window.joined = [];
window.source = new EventSource(%s);
source.addEventListener("message", (event) => got.push(JSON.parse(event.data)));
source.addEventListener("subscribed", (event) => joined.push(JSON.parse(event.data)));
true
"""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path) as running:
        yield running


@pytest.fixture
def listen(browser: Browser, own_server: RunningServer) -> Iterator[Callable[[str], Page]]:
    pages: list[Page] = []

    def listen(path: str) -> Page:
        page = browser.page()
        pages.append(page)
        page.go(own_server.url + "/static/favicon.svg").evaluate(LISTEN % json.dumps(path))
        page.wait_for("joined.length === 1")
        return page

    yield listen
    for page in pages:
        page.close()


def sequences(page: Page) -> list[int]:
    found: list[int] = page.evaluate("got.map((message) => message.sequence)")
    return found


def test_a_browser_misses_nothing_while_the_server_is_away(
    own_server: RunningServer, listen: Callable[[str], Page]
) -> None:
    page = listen("/topics/news/events")
    own_server.publish("news", {"text": "é"}, message_id="1")
    page.wait_for("got.length === 1")
    assert page.evaluate("got[0].message") == {"text": "é"}
    own_server.kill()
    own_server.start()
    own_server.publish("news", 2, message_id="2")
    own_server.publish("news", 3, message_id="3")
    page.wait_for("got.length >= 3 && joined.length >= 2")
    own_server.publish("news", 4, message_id="4")
    page.wait_for("got.length >= 4")
    assert sequences(page) == [1, 2, 3, 4]
    assert page.evaluate("joined.at(-1).topics[0].recovered") is True


def test_who_had_got_nothing_yet_misses_nothing_either(
    own_server: RunningServer, listen: Callable[[str], Page]
) -> None:
    page = listen("/topics/news/events")
    own_server.kill()
    own_server.start()
    own_server.publish("news", 1, message_id="1")
    page.wait_for("got.length === 1")
    assert sequences(page) == [1]


def test_a_page_is_told_that_the_log_is_another_one(
    own_server: RunningServer, listen: Callable[[str], Page]
) -> None:
    own_server.publish("news", 1, message_id="1")
    own_server.publish("news", 2, message_id="2")
    page = listen("/topics/news/events?last_event_id=0")
    page.wait_for("got.length === 2")
    own_server.kill()
    own_server.lose_log()
    own_server.start()
    page.wait_for("joined.length === 2")
    assert page.evaluate("joined[1].topics[0].recovered") is False
    own_server.publish("news", "new", message_id="1")
    page.wait_for("got.length === 3")
    assert sequences(page) == [1, 2, 1]
