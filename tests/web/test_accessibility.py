"""Every page without a serious accessibility fault, in both themes, with data in it and without.

The rules are axe-core's: https://github.com/dequelabs/axe-core
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page
from pages import page_paths, show_topic

from javascript import installed
from keys import AUDIENCE, Issuer
from server import RunningServer
from system.clients import Client

pytestmark = pytest.mark.browser

PAGES = page_paths()
NAMED = {"/chat.html": "/chat.html#orders", "/demo.html": "/demo.html#orders"}
VIEWS = [
    *(NAMED.get(path, path) for path in PAGES),
    "/control-panel.html?topic=orders",
]
AXE = Path(__file__).resolve().parent / "axe"
SERIOUS = ("serious", "critical")
OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with one of each: producers, topics, consumers that are here, late and away."""
    with RunningServer(tmp_path_factory.mktemp("accessible")) as server:
        for number in range(30):
            message = {"order": number, "items": ["tea", {"cup": None}]}
            server.publish("orders", message, message_id=f"m{number}", producer="shop")
        server.publish("sensors:hall", 19.5, producer="sensor-hall")
        with Client(server.url) as here, Client(server.url) as away:
            away.subscribe("orders", consumer="phone-ada")
            here.subscribe("orders", "sensors:*", consumer="archive")
            here.call("consumed", {"consumer": "archive", "topic": "orders", "message_id": "m1"})
            away.sio.disconnect()
            yield server


@pytest.fixture(scope="module")
def axe(pytestconfig: pytest.Config) -> str:
    """The text of axe-core."""
    assert pytestconfig.cache is not None
    folder = installed(AXE, pytestconfig.cache.mkdir("javascript"))
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def faults(page: Page, axe: str) -> list[str]:
    """The serious faults of a page as it is now, each with its elements."""
    page.evaluate(f"{axe}; null")
    found: dict[str, Any] = page.evaluate(
        "axe.run(document, { resultTypes: ['violations'] }).then(({ passes, violations }) =>"
        " ({ passes: passes.length, violations: violations.map(({ id, impact, help, nodes }) =>"
        " ({ id, impact, help, nodes: nodes.map((n) => [n.target, n.failureSummary]) })) }))"
    )
    assert found["passes"] > 10
    return [
        json.dumps(violation) for violation in found["violations"] if violation["impact"] in SERIOUS
    ]


def open_in(open_page: OpenPage, path: str, width: int, *, dark: bool = False) -> Page:
    page = open_page(path)
    page.resize(width, 900, dark=dark)
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", VIEWS)
def test_a_page_has_no_serious_fault(
    open_page: OpenPage, axe: str, server: RunningServer, path: str, dark: bool
) -> None:
    page = open_in(open_page, path, 1280, dark=dark)
    show_topic(page, path, "orders")
    assert faults(page, axe) == []


@pytest.mark.parametrize("path", VIEWS)
def test_a_page_has_none_on_a_phone(
    open_page: OpenPage, axe: str, server: RunningServer, path: str
) -> None:
    page = open_in(open_page, path, 360)
    show_topic(page, path, "orders")
    assert faults(page, axe) == []


def test_the_details_of_a_node_have_none(
    open_page: OpenPage, axe: str, server: RunningServer
) -> None:
    server.publish("detailed", 1, producer="details-writer")
    with Client(server.url) as here, Client(server.url) as away:
        away.subscribe("detailed", consumer="details-away")
        away.sio.disconnect()
        here.subscribe("detailed", consumer="details-reader")
        page = open_in(open_page, "/network-graph.html", 1280)
        detailed = "document.querySelector('.node[data-id=\"topic detailed\"]')"
        page.wait_for(detailed)
        page.evaluate(f"{detailed}.dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))")
        page.wait_for(
            "[...document.querySelectorAll('#details-edges [data-field=name]')]"
            ".map((each) => each.textContent).sort().join()"
            " === 'details-away,details-reader,details-writer'"
        )
        assert faults(page, axe) == []


@pytest.mark.parametrize("width", [1280, 360])
def test_a_chat_with_messages_has_none(
    open_page: OpenPage, axe: str, server: RunningServer, width: int
) -> None:
    for number in (1, 2):
        message = {"content": f"message {number}"}
        server.publish(f"chat:talk {width}", message, message_id=f"m{number}")
    page = open_in(open_page, f"/chat.html#talk {width}", width)
    page.wait_for("document.querySelectorAll('#lines .said').length === 2")
    page.wait_for("document.querySelector('#people li') !== null")
    if width < 900:
        page.click("#rooms-button")
    assert faults(page, axe) == []


def test_empty_pages_have_none(browser: Browser, axe: str, tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        for path in VIEWS:
            page = browser.page()
            page.resize(1280, 900)
            page.go(f"{server.url}{path}")
            page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
            assert faults(page, axe) == []
            page.close()


def test_a_fault_is_found(open_page: OpenPage, axe: str, server: RunningServer) -> None:
    page = open_page("/activity-map.html")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    (fault,) = faults(page, axe)
    assert "button-name" in fault


@pytest.mark.parametrize("path", ["/network-graph.html", "/circular-graph.html"])
def test_nothing_moves_for_those_who_want_no_motion(
    open_page: OpenPage, server: RunningServer, path: str
) -> None:
    page = open_page(path)
    page.prefer(reduced_motion=True)
    page.wait_for("document.querySelector('.node[data-id=\"topic orders\"]')")
    page.evaluate(
        """globalThis.dots = 0;
        const arc = CanvasRenderingContext2D.prototype.arc;
        CanvasRenderingContext2D.prototype.arc = function (...all) {
          globalThis.dots += 1;
          return arc.apply(this, all);
        };
        document.querySelector("#connection").dataset.state = "connecting";"""
    )
    assert page.evaluate("document.getAnimations().length") == 0
    server.publish(f"still:{path}", 1, producer="still")
    page.wait_for(f"document.querySelector('.node[data-id=\"topic still:{path}\"]')")
    server.publish("orders", path, producer="shop")
    page.wait_for("document.querySelector('#graph-stats').textContent !== ''")
    assert page.evaluate("globalThis.dots") == 0
    page.prefer(reduced_motion=False)
    page.wait_for("document.getAnimations().length > 0")
    server.publish("orders", f"{path} again", producer="shop")
    page.wait_for("globalThis.dots > 0")


def test_the_tab_key_comes_to_the_graph_once_and_goes_on(
    open_page: OpenPage, server: RunningServer
) -> None:
    page = open_page("/network-graph.html")
    page.wait_for("document.querySelectorAll('.node').length > 4")
    page.evaluate("document.querySelector('#export-png').focus()")
    page.press("Tab")
    assert page.evaluate("document.activeElement.classList.contains('node')")
    assert page.evaluate("document.activeElement.getAttribute('aria-label').length") > 0
    page.press("Enter")
    page.wait_for("!document.querySelector('#details').hidden")
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "details-close"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_panel_has_no_serious_fault_with_all_of_it_open(
    open_page: OpenPage, axe: str, server: RunningServer, width: int, dark: bool
) -> None:
    page = open_in(open_page, "/control-panel.html", width, dark=dark)
    page.fill("#subscribe-topics", "orders")
    page.fill("#subscribe-after", "beginning")
    page.click("#subscribe-send")
    page.wait_for("document.querySelectorAll('#received .item').length >= 30")
    page.fill("#publish-message", "{")
    page.fill("#templates-name", "half")
    page.click("#templates-save button")
    page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")
    page.wait_for("document.querySelectorAll('#clients .virtual-rows > *').length >= 1")
    page.click("#clients .virtual-rows > *")
    page.wait_for("!document.querySelector('#client-details').hidden")
    page.wait_for("document.querySelectorAll('#topics .virtual-rows > *').length >= 1")
    page.wait_for("document.querySelector('#overview').dataset.state === 'live'")
    found = faults(page, axe)
    page.evaluate("localStorage.clear()")
    assert found == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_topics_page_has_no_serious_fault_with_a_ledger_open(
    open_page: OpenPage, axe: str, server: RunningServer, dark: bool
) -> None:
    page = open_in(open_page, "/control-panel.html?topic=orders&at=2", 1280, dark=dark)
    page.wait_for("document.querySelectorAll('#topic-messages .entry').length === 2")
    page.click("#topic-messages .entry:last-child [data-ledger]")
    page.wait_for("document.querySelectorAll('.ledger tbody tr').length >= 1")
    page.fill(".explain input", "archive")
    page.click(".explain button")
    page.wait_for("document.querySelector('.explain output').textContent !== ''")
    assert faults(page, axe) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_signing_in_has_no_serious_fault(
    browser: Browser, axe: str, tmp_path: Path, width: int, dark: bool
) -> None:
    issuer = Issuer()
    page = browser.page()
    page.resize(width, 900, dark=dark)
    with RunningServer(tmp_path, jwt_public_key=issuer.public, jwt_audience=AUDIENCE) as server:
        page.go(f"{server.url}/control-panel.html")
        page.evaluate("sessionStorage.clear()")
        sign_in = "document.querySelector('#sign-in')"
        page.wait_for(f"{sign_in}.dataset.state === 'needed'")
        page.evaluate(f"{sign_in}.querySelector('details').open = true")
        assert faults(page, axe) == []
        for seconds, state in ((60, "ending"), (4, "expired")):
            page.fill("#sign-in-token", issuer.token("bob", exp=int(time.time() + seconds)))
            page.click("#sign-in-form button")
            page.wait_for(f"{sign_in}.dataset.state === '{state}'")
            page.wait_for(
                f"'{state}' === 'expired' || !document.querySelector('#not-admin').hidden"
            )
            assert faults(page, axe) == []
    page.close()
