"""The connection test in a real browser: each door, each request, each way, and a bad proxy."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from browser import Browser, Page
from french import known_texts
from hostile import hostile

from python_pubsub_server.namespaces import NAMESPACES, WEBSOCKETS
from server import ROOT, RunningServer

pytestmark = pytest.mark.browser

STATIC = ROOT / "src" / "python_pubsub_server" / "web" / "static"
DOORS = [*NAMESPACES, *WEBSOCKETS]
HOSTILE = hostile("websocket-test")
NO_TRANSPORT = "\u2013"  # a dash
ANSWERS = ".frame:is([data-kind=ack], [data-kind=refusal]) .frame-event"
# What changes the connection itself, or is refused in an open server, has its own test.
ALWAYS_REFUSED = {"refresh"}

OpenPage = Callable[[str], Page]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path) as running:
        yield running


@pytest.fixture
def test_page(open_page: OpenPage) -> Page:
    page = open_page("/websocket-test")
    connected(page)
    page.click("#connect-ping")  # nothing is measured unless a test says so
    return page


def connected(page: Page) -> None:
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")


def go_to(page: Page, door: str, transport: str = "upgrade") -> None:
    """Connect to a door, and forget what was there before."""
    page.click("#frames-clear")
    page.evaluate(f"document.querySelector('#connect-transport').value = '{transport}'; null")
    page.choose("#connect-door", door)
    noted(page, f"connected to {door}")
    page.click("#frames-clear")


def noted(page: Page, text: str) -> None:
    wait_frame(page, text, kind="note")


def wait_frame(page: Page, *texts: str, kind: str = "") -> None:
    """Wait for a frame whose line holds all the texts."""
    selector = f".frame[data-kind={kind}]" if kind else ".frame"
    page.wait_for(
        f"[...document.querySelectorAll('{selector} summary')]"
        f".some((line) => {json.dumps(texts)}.every((text) => line.textContent.includes(text)))"
    )


def send(page: Page, request: str, body: str | None = None) -> None:
    page.choose("#request", request)
    if body is not None:
        page.fill("#request-body", body)
    page.click("#request-send")


def check_state(page: Page, name: str) -> str:
    state: str = page.evaluate(f"document.querySelector('[data-check={name}]').dataset.state")
    return state


def test_every_door_and_request_of_the_server_is_offered(test_page: Page) -> None:
    offered = test_page.evaluate(
        "import('/static/websocket-test/doors.js').then(({ DOORS }) => Object.fromEntries("
        "Object.entries(DOORS).map(([name, door]) => [name, Object.keys(door.requests).sort()])))"
    )
    there = {path: sorted(door.events) for path, door in NAMESPACES.items()}
    there |= {path: sorted([*door.namespace.events, "ping"]) for path, door in WEBSOCKETS.items()}
    assert offered == there
    options = "[...document.querySelectorAll('#connect-door option')].map((each) => each.value)"
    assert test_page.evaluate(options) == DOORS


@pytest.mark.parametrize("door", DOORS)
def test_every_request_is_sent_and_answered(test_page: Page, door: str) -> None:
    go_to(test_page, door)
    requests = test_page.evaluate(
        "[...document.querySelectorAll('#request option')].map((each) => each.value)"
    )[:-1]
    for number, request in enumerate(requests, 1):
        send(test_page, request)
        test_page.wait_for(f"document.querySelectorAll('{ANSWERS}').length >= {number}")
        newest = test_page.evaluate(
            f"document.querySelector('{ANSWERS}').closest('.frame').dataset.kind"
        )
        assert (newest == "refusal") == (request in ALWAYS_REFUSED), request
        wait_frame(test_page, f"answer to {request}", "ms")
        assert not test_page.text("#request-body-error")


def test_events_come_in_with_their_size_and_content(test_page: Page, server: RunningServer) -> None:
    go_to(test_page, "/")
    body = {"consumer": "w", "topics": [HOSTILE]}
    send(test_page, "subscribe", json.dumps(body))
    wait_frame(test_page, "answer to subscribe")
    server.publish(HOSTILE, {HOSTILE: [1, HOSTILE]}, producer="p")
    wait_frame(test_page, "message", HOSTILE[:40])
    test_page.evaluate("document.querySelector('.frame[data-kind=event] details').open = true")
    test_page.wait_for(
        "JSON.parse(document.querySelector('.frame[data-kind=event] pre').textContent).sequence > 0"
    )
    raw = test_page.text(".frame[data-kind=event] [data-field=raw]")
    assert raw.startswith('42["message",{')
    size = test_page.text(".frame[data-kind=event] .frame-size").replace("\u00a0", " ")
    assert size == f"{len(raw.encode())} B"
    assert test_page.evaluate("globalThis.hacked ?? null") is None
    assert test_page.evaluate("document.querySelectorAll('main :is(img, script)').length") == 0


@pytest.mark.parametrize(
    ("transport", "shown"),
    [("upgrade", "WebSocket"), ("websocket", "WebSocket"), ("polling", "Polling")],
)
def test_each_transport_connects_and_is_shown(test_page: Page, transport: str, shown: str) -> None:
    go_to(test_page, "/", transport)
    value = "document.querySelector('[data-tile=transport] .tile-value').textContent.trim()"
    test_page.wait_for(f"{value} === '{shown}'")
    body = {"consumer": "w", "topics": [f"by-{transport}"]}
    send(test_page, "subscribe", json.dumps(body))
    for number in range(3):
        publication = {"topic": f"by-{transport}", "message_id": str(number), "message": number}
        send(test_page, "publish", json.dumps(publication | {"producer": "w"}))
        wait_frame(test_page, "message", f'"message":{number}')
        wait_frame(test_page, "answer to publish", f'"sequence":{number + 1}')
    if transport == "upgrade":
        assert "upgraded after" in test_page.text("[data-tile=transport] .hint")
        assert check_state(test_page, "upgrade") == "good"


def test_text_that_is_no_json_is_not_sent(test_page: Page) -> None:
    go_to(test_page, "/")
    send(test_page, "presence", "{")
    assert "JSON" in test_page.text("#request-body-error")
    assert test_page.evaluate("document.querySelector('#request-body').ariaInvalid") == "true"
    send(test_page, "presence", '{"a": 1, "a": 2}')
    assert test_page.text("#request-body-error")
    go_to(test_page, "/ws")
    send(test_page, "presence", "[1]")
    assert test_page.text("#request-body-error")
    send(test_page, "presence")
    wait_frame(test_page, "answer to presence")
    assert test_page.evaluate("document.querySelectorAll('.frame[data-way=sent]').length") == 1


def test_any_other_event_is_sent_too_and_a_refusal_shown(test_page: Page) -> None:
    go_to(test_page, "/")
    test_page.choose("#request", "")
    test_page.fill("#request-event", "dance")
    test_page.click("#request-send")
    wait_frame(test_page, "answer to dance", "not_found", kind="refusal")


def test_the_frames_are_filtered_paused_and_cleared(test_page: Page) -> None:
    go_to(test_page, "/")
    send(test_page, "presence")
    wait_frame(test_page, "answer to presence")
    send(test_page, "history")
    wait_frame(test_page, "answer to history")
    test_page.fill("#frames-filter", "history")
    assert test_page.evaluate("document.querySelectorAll('.frame').length") == 2
    test_page.choose("#frames-way", "received")
    assert test_page.evaluate("document.querySelectorAll('.frame').length") == 1
    test_page.fill("#frames-filter", "")
    test_page.choose("#frames-way", "")
    test_page.click("#frames-pause")
    send(test_page, "presence")
    test_page.wait_for("document.querySelector('#frames-pause').textContent.includes('(2')")
    assert test_page.evaluate("document.querySelectorAll('.frame').length") == 4
    test_page.click("#frames-pause")
    test_page.wait_for("document.querySelectorAll('.frame').length === 6")
    test_page.click("#frames-clear")
    assert test_page.evaluate("document.querySelectorAll('.frame').length") == 0


@pytest.mark.parametrize("door", DOORS)
def test_the_round_trip_is_measured_and_kept_out_of_the_way(test_page: Page, door: str) -> None:
    go_to(test_page, door)
    test_page.click("#connect-ping")
    test_page.wait_for("document.querySelector('[data-tile=trip] .tile-unit').textContent === 'ms'")
    assert (
        test_page.evaluate("document.querySelectorAll('.frame:not([data-kind=event])').length") == 0
    )
    test_page.click("#frames-small")
    wait_frame(test_page, "answer to", "ms", kind="ack")


def test_it_reconnects_by_hand_and_after_a_restart(
    browser: Browser, own_server: RunningServer
) -> None:
    page = browser.page().go(own_server.url + "/websocket-test")
    for door in ("/", "/ws"):
        page.choose("#connect-door", door)
        noted(page, f"connected to {door}")
        page.click("#frames-clear")
        page.click("#connect-again")
        noted(page, f"connected to {door}")
        page.click("#frames-clear")
        own_server.kill()
        noted(page, "connection lost")
        assert page.text("[data-tile=transport] .tile-value").strip() == NO_TRANSPORT
        # What is only tried is not shown as a transport.
        page.wait_for("document.querySelectorAll('.frame[data-kind=note]').length >= 2")
        assert page.text("[data-tile=transport] .tile-value").strip() == NO_TRANSPORT
        own_server.start()
        noted(page, f"connected to {door}")
        page.click("#connect-end")
        page.wait_for("document.querySelector('#connection').dataset.state === 'closed'")
        page.click("#connect-again")
        connected(page)
    assert page.text("[data-tile=open] .hint") == "lost 2 times"
    page.close()


def test_a_token_is_used(browser: Browser, tmp_path: Path) -> None:
    secret = "a secret of thirty-two bytes or more"
    with RunningServer(tmp_path, jwt_secret=secret) as guarded:
        page = browser.page().go(guarded.url + "/websocket-test")
        wait_frame(page, "connect error", kind="refusal")
        page.wait_for("document.querySelector('[data-hint=refused]') !== null")
        claims = {"sub": "ada", "exp": 4_000_000_000, "pubsub": {"admin": True}}
        page.fill("#connect-token", jwt.encode(claims, secret, algorithm="HS256"))
        for door in ("/", "/monitoring", "/chat/ws"):
            page.choose("#connect-door", door)
            noted(page, f"connected to {door}")
        assert page.evaluate("document.querySelector('[data-hint=refused]')") is None
        page.evaluate("sessionStorage.clear()")
        page.close()


def test_all_checks_work_without_a_proxy(test_page: Page) -> None:
    test_page.click("#checks-run")
    for name in ("http", "polling", "websocket", "upgrade", "stream"):
        state = f"document.querySelector('[data-check={name}]').dataset.state"
        test_page.wait_for(f"['good', 'warn'].includes({state})")
    test_page.wait_for("!document.querySelector('#checks-run').disabled")
    assert test_page.evaluate("document.querySelectorAll('#hints li').length") == 0


class _NoUpgrade(socketserver.BaseRequestHandler):
    """Passes one request on as a careless proxy does: without `Upgrade` and `Connection`."""

    server: NoUpgradeProxy

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = self.request.recv(65536)
                if not piece:
                    return
                head += piece
            head = re.sub(rb"\r\n(?:Upgrade|Connection):[^\r]*", b"", head, flags=re.IGNORECASE)
            head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            with socket.create_connection(("127.0.0.1", self.server.target), timeout=60) as there:
                there.sendall(head)
                back = threading.Thread(target=self._pass, args=(there,), daemon=True)
                back.start()
                while piece := self.request.recv(65536):
                    there.sendall(piece)
                there.shutdown(socket.SHUT_RDWR)

    def _pass(self, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := there.recv(65536):
                self.request.sendall(piece)
            self.request.shutdown(socket.SHUT_RDWR)


class NoUpgradeProxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _NoUpgrade)
        self.target = target
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()


def test_behind_a_proxy_that_drops_the_upgrade_polling_goes_on_and_the_page_says_why(
    browser: Browser, server: RunningServer
) -> None:
    with NoUpgradeProxy(server.port) as proxy:
        page = browser.page().go(proxy.url + "/websocket-test")
        connected(page)
        page.wait_for("document.querySelector('[data-check=upgrade]').dataset.state === 'bad'")
        assert page.text("[data-tile=transport] .tile-value").strip() == "Polling"
        assert "Upgrade" in page.text("[data-hint=upgrade]")
        assert "proxy_set_header Upgrade" in page.text("[data-hint=upgrade] code")
        assert check_state(page, "polling") == "good"
        assert check_state(page, "websocket") == "bad"
        send(page, "presence")
        wait_frame(page, "answer to presence")
        page.close()


def test_a_server_that_is_away_is_said_to_be(browser: Browser, own_server: RunningServer) -> None:
    page = browser.page().go(own_server.url + "/websocket-test")
    connected(page)
    own_server.kill()
    page.wait_for("document.querySelector('[data-hint=away]') !== null")
    own_server.start()
    connected(page)
    page.wait_for("document.querySelector('[data-hint=away]') === null")
    page.close()


def test_every_text_of_the_diagnosis_is_in_french() -> None:
    source = (STATIC / "websocket-test" / "diagnosis.js").read_text(encoding="utf-8")
    said = set(re.findall(r'"([A-Z][^"]{12,})"', source))
    assert len(said) > 15
    assert said - known_texts() == set()
