"""The live graphs, used in a real browser against a real server with real traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser import Browser, Page
from hostile import hostile

from server import RunningServer
from system.clients import Client

pytestmark = pytest.mark.browser

HOSTILE = hostile("graphs")
OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of this file's own: a graph shows all that there is."""
    with RunningServer(tmp_path_factory.mktemp("graphs")) as server:
        yield server


@pytest.fixture(params=["/network-graph.html", "/circular-graph.html"])
def graph(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    page = open_page(request.param)
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    return page


def node(kind: str, name: str) -> str:
    """JavaScript for the element of a node."""
    wanted = json.dumps(f"{kind} {name}")
    return f"[...document.querySelectorAll('.node')].find((n) => n.dataset.id === {wanted})"


def choose(page: Page, kind: str, name: str) -> None:
    page.wait_for(node(kind, name))
    page.evaluate(f"{node(kind, name)}.dispatchEvent(new MouseEvent('click', {{ bubbles: true }}))")
    page.wait_for(
        f"document.querySelector('#details-name').textContent === {json.dumps(name)}"
        " && !document.querySelector('#details').hidden"
    )


# The corners of each name that is drawn, on the screen; a pixel less on each side.
NAMES = """
globalThis.names = [...document.querySelectorAll(".node text")]
  .filter((text) => getComputedStyle(text).visibility === "visible")
  .map((text) => {
    const { x, y, width, height } = text.getBBox();
    const matrix = text.getScreenCTM();
    const inset = 1 / Math.hypot(matrix.a, matrix.b);
    const [left, right] = [x + inset, x + width - inset];
    const [top, bottom] = [y + inset, y + height - inset];
    const corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
      .map(([across, down]) => new DOMPoint(across, down).matrixTransform(matrix));
    const size = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
    return { text: text.textContent, node: text.parentNode.dataset.id, corners, size };
  });
"""
# Two turned boxes overlap if no side of one of them parts them.
OVERLAPS = """
(() => {
  const parts = (one, two) => [0, 1].some((side) => {
    const [from, to] = [one[side], one[side + 1]];
    const along = ({ x, y }) => (to.y - from.y) * x - (to.x - from.x) * y;
    const [a, b] = [one.map(along), two.map(along)];
    return Math.max(...a) <= Math.min(...b) || Math.max(...b) <= Math.min(...a);
  });
  const found = [];
  for (const [index, one] of names.entries())
    for (const two of names.slice(index + 1))
      if (!parts(one.corners, two.corners) && !parts(two.corners, one.corners))
        found.push(`${one.text} / ${two.text}`);
  return found;
})()
"""
OUTSIDE = """
(() => {
  const { left, right, top, bottom } = document.querySelector("#graph").getBoundingClientRect();
  return names
    .filter(({ corners }) =>
      corners.some(({ x, y }) => x < left || x > right || y < top || y > bottom))
    .map(({ text }) => text);
})()
"""
# What was asked for has been drawn.
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with sixty topics of long names."""
    with RunningServer(tmp_path_factory.mktemp("busy")) as server:
        bodies = [
            {
                "topic": f"{('orders', 'sensors:hall', 'payments')[number % 3]}:happened-{number}",
                "message_id": f"m{number}-{producer}",
                "message": number,
                "producer": f"{('service', 'gateway')[producer % 2]}-number-{producer}",
            }
            for number in range(60)
            for producer in range(number % 5, 25, 5)
        ]
        batch = f"{server.url}/publish/batch"
        with ExitStack() as stack:
            for number in range(20):
                client = stack.enter_context(Client(server.url))
                pattern = ("orders:*", "sensors:*", "payments:*")[number % 3]
                client.subscribe(pattern, consumer=f"consumer-of-things-{number}")
            server.http.post(batch, json=bodies, timeout=30).raise_for_status()
            yield server


@pytest.mark.parametrize("size", [(360, 780), (1280, 860), (3840, 2160)])
@pytest.mark.parametrize("path", ["/network-graph.html", "/circular-graph.html"])
def test_names_are_legible_on_every_screen_and_none_lies_on_another(
    browser: Browser, busy: RunningServer, path: str, size: tuple[int, int]
) -> None:
    page = browser.page()
    page.resize(*size)
    page.go(busy.url + path)
    page.wait_for("document.querySelectorAll('.node').length === 105")
    page.evaluate(DRAWN)
    page.evaluate(NAMES)
    shown: int = page.evaluate("names.length")
    assert shown >= (20 if size[0] == 360 else 50)
    for _ in range(3):
        page.evaluate(DRAWN)
        page.evaluate(NAMES)
        assert page.evaluate(OVERLAPS) == []
        assert page.evaluate(OUTSIDE) == []
        assert page.evaluate("Math.min(...names.map(({ size }) => size))") >= 10.9
        assert page.evaluate("names.length") > 0
        page.click("#zoom-in")
    page.close()


def test_a_name_that_had_no_room_is_drawn_when_its_node_is_pointed_at_or_has_the_focus(
    browser: Browser, busy: RunningServer
) -> None:
    page = browser.page()
    page.resize(360, 780)
    page.go(busy.url + "/circular-graph.html")
    page.wait_for("document.querySelectorAll('.node').length === 105")
    page.evaluate(DRAWN)
    page.evaluate("globalThis.unnamed = [...document.querySelectorAll('[data-named=false]')]")
    page.evaluate("unnamed[0].dispatchEvent(new PointerEvent('pointerover', { bubbles: true }))")
    page.wait_for("unnamed[0].dataset.named === 'true'")
    page.evaluate(NAMES)
    assert page.evaluate(OVERLAPS) == []
    page.evaluate(
        "document.querySelector('#graph').dispatchEvent(new PointerEvent('pointerleave'))"
    )
    page.wait_for("unnamed[0].dataset.named === 'false'")
    page.press("Tab")  # so the keyboard is what is used
    page.evaluate("unnamed[1].focus()")
    page.wait_for("unnamed[1].dataset.named === 'true'")
    page.evaluate("document.activeElement.blur()")
    page.wait_for("unnamed[1].dataset.named === 'false'")
    page.evaluate("unnamed[2].dispatchEvent(new MouseEvent('click', { bubbles: true }))")
    page.wait_for("unnamed[2].dataset.named === 'true'")
    page.evaluate(NAMES)
    assert page.evaluate(OVERLAPS) == []
    page.close()


def place_of(page: Page, kind: str, name: str) -> str:
    place: str = page.evaluate(f"{node(kind, name)}.getAttribute('transform')")
    return place


def test_who_sends_what_to_whom_appears_as_it_happens(graph: Page, server: RunningServer) -> None:
    topic = f"live-{graph.evaluate('location.pathname')}"
    with Client(server.url) as client:
        client.subscribe(topic, consumer="live-reader")
        server.publish(topic, 1, producer="live-writer")
        for kind, name in (
            ("producer", "live-writer"),
            ("topic", topic),
            ("consumer", "live-reader"),
        ):
            graph.wait_for(node(kind, name))
        choose(graph, "topic", topic)
        graph.wait_for("document.querySelectorAll('#details-edges li').length === 2")
        claim = {"consumer": "live-reader", "topic": topic, "message_id": "m-1"}
        assert client.call("consumed", claim)["status"] == "ok"
        graph.wait_for(
            "document.querySelector('#details-edges').textContent.includes('1 confirmed')"
        )
        shown = graph.text("#details-edges")
        assert "live-writer" in shown
        assert "live-reader" in shown
        with Client(server.url) as silent:
            silent.subscribe(topic, consumer="never-confirms")
            graph.wait_for(node("consumer", "never-confirms"))
    graph.wait_for("document.querySelector('#details-edges').textContent.includes('not connected')")
    choose(graph, "consumer", "never-confirms")
    graph.wait_for("document.querySelector('#details-edges').textContent.includes('not connected')")
    graph.click("#details-close")
    assert graph.evaluate("document.querySelector('#details').hidden")


def test_an_edge_has_the_colour_of_its_lag(graph: Page, server: RunningServer) -> None:
    topic = f"lag-{graph.evaluate('location.pathname.length')}"
    with Client(server.url) as client:
        client.subscribe(topic, consumer="tardy")
        server.publish(topic, 0, message_id="first")
        claim = {"consumer": "tardy", "topic": topic, "message_id": "first"}
        assert client.call("consumed", claim)["status"] == "ok"
        graph.wait_for(node("consumer", "tardy"))
        edge = f"document.querySelector('.edge[data-id=\"consume {len(topic)} {topic} tardy\"]')"
        graph.wait_for(f"{edge}?.dataset.delay === 'none'")
        calm = graph.evaluate(f"getComputedStyle({edge}).stroke")
        bodies = [
            {"topic": topic, "message_id": f"m{n}", "message": n, "producer": "fast"}
            for n in range(120)
        ]
        server.http.post(server.url + "/publish/batch", json=bodies, timeout=30).raise_for_status()
        graph.wait_for(f"{edge}.dataset.delay !== 'none'")
        assert graph.evaluate(f"getComputedStyle({edge}).stroke") != calm
        choose(graph, "consumer", "tardy")
        assert "120 not confirmed yet" in graph.text("#details-edges")
        claim["message_id"] = "m119"
        assert client.call("consumed", claim)["status"] == "ok"
        graph.wait_for(f"{edge}.dataset.delay === 'none'")


def test_a_message_is_seen_on_its_way(graph: Page, server: RunningServer) -> None:
    server.publish("pulse", 0, producer="heart")
    graph.wait_for(node("producer", "heart"))
    graph.evaluate(
        """globalThis.dots = 0;
        const arc = CanvasRenderingContext2D.prototype.arc;
        CanvasRenderingContext2D.prototype.arc = function (...all) {
          globalThis.dots += 1;
          return arc.apply(this, all);
        };"""
    )
    server.publish("pulse", graph.evaluate("location.pathname"), producer="heart")
    graph.wait_for("globalThis.dots > 0")


def test_around_a_chosen_node_only_its_own_messages_are_seen(
    graph: Page, server: RunningServer
) -> None:
    for topic in ("chosen-beat", "other-beat"):
        server.publish(topic, 0, producer=f"{topic}-heart")
        graph.wait_for(node("producer", f"{topic}-heart"))
    choose(graph, "topic", "chosen-beat")
    graph.evaluate(
        """{ const { clearRect, arc } = CanvasRenderingContext2D.prototype;
        globalThis.frames = [];
        CanvasRenderingContext2D.prototype.clearRect = function (...all) {
          frames.push(0);
          return clearRect.apply(this, all);
        };
        CanvasRenderingContext2D.prototype.arc = function (...all) {
          if (frames.length) frames[frames.length - 1] += 1;
          return arc.apply(this, all);
        }; }"""
    )
    path = graph.evaluate("location.pathname")
    for topic in ("chosen-beat", "other-beat"):
        server.publish(topic, path, producer=f"{topic}-heart")
    graph.wait_for("frames.some(Boolean) && frames.at(-1) === 0")
    assert graph.evaluate("Math.max(...frames)") == 1
    graph.click("#details-close")


def test_the_filter_shows_the_topics_of_a_pattern(graph: Page, server: RunningServer) -> None:
    for topic in ("filter:a", "filter:b", "other-topic"):
        server.publish(topic, 1, producer="filtered")
    graph.wait_for(node("topic", "other-topic"))
    graph.fill("#filter", "filter:*")
    graph.wait_for("document.querySelectorAll('.node[data-kind=topic]').length === 2")
    assert "1 producers, 2 topics" in graph.text("#graph-counts")
    graph.fill("#filter", "there-is-no-such")
    graph.wait_for("!document.querySelector('#graph-nothing-found').hidden")
    graph.fill("#filter", "")
    graph.wait_for(node("topic", "other-topic"))


def test_nodes_of_the_network_keep_their_places(open_page: OpenPage, server: RunningServer) -> None:
    server.publish("calm-1", 1, producer="calm")
    page = open_page("/network-graph.html")
    page.wait_for(node("topic", "calm-1"))
    before = place_of(page, "topic", "calm-1")
    for number in range(2, 6):
        server.publish(f"calm-{number}", 1, producer="calm")
    page.wait_for(node("topic", "calm-5"))
    assert place_of(page, "topic", "calm-1") == before
    page.fill("#filter", "calm-5")
    page.wait_for("document.querySelectorAll('.node[data-kind=topic]').length === 1")
    page.fill("#filter", "")
    page.wait_for(node("topic", "calm-1"))
    assert place_of(page, "topic", "calm-1") == before


def test_the_keyboard_reaches_nodes_and_their_details(graph: Page, server: RunningServer) -> None:
    server.publish("graph-keys", 1, producer="typist")
    graph.fill("#filter", "graph-keys")
    graph.wait_for("document.querySelectorAll('.node').length === 2")
    assert graph.evaluate("document.querySelectorAll('.node[tabindex=\"0\"]').length") == 1
    graph.evaluate(f"{node('producer', 'typist')}.focus()")
    graph.press("Enter")
    graph.wait_for("document.querySelector('#details-name').textContent === 'typist'")
    graph.evaluate(
        "for (const key of ['ArrowRight', 'ArrowUp']) document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', { key, bubbles: true }))"
    )
    graph.press("Enter")
    graph.wait_for("document.querySelector('#details-name').textContent === 'graph-keys'")


def test_names_that_contain_markup_stay_text(graph: Page, server: RunningServer) -> None:
    with Client(server.url) as client:
        client.subscribe(HOSTILE, consumer=HOSTILE)
        server.publish(HOSTILE, HOSTILE, message_id=HOSTILE, producer=HOSTILE)
        for kind in ("producer", "topic", "consumer"):
            choose(graph, kind, HOSTILE)
            graph.wait_for("document.querySelector('#details-edges').textContent.includes('<img')")
    assert graph.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert graph.evaluate("globalThis.hacked ?? null") is None


@pytest.mark.parametrize(("kind", "start"), [("svg", "<svg"), ("png", "\\x89PNG")])
def test_the_picture_can_be_saved(
    graph: Page, server: RunningServer, kind: str, start: str
) -> None:
    server.publish("saved & <kept>", 1, producer="photographer")
    graph.wait_for(node("topic", "saved & <kept>"))
    graph.evaluate(
        "URL.createObjectURL = (blob) => { globalThis.saved = blob; return 'data:,'; };"
        "HTMLAnchorElement.prototype.click = function () { globalThis.savedAs = this.download; };"
    )
    graph.click(f"#export-{kind}")
    graph.wait_for("globalThis.savedAs")
    assert graph.evaluate("globalThis.savedAs").endswith(f"-graph.{kind}")
    graph.evaluate(
        "globalThis.saved.arrayBuffer().then((buffer) => { globalThis.text ="
        " String.fromCharCode(...new Uint8Array(buffer).slice(0, 10_000)); })"
    )
    assert graph.evaluate(f"globalThis.text.startsWith('{start}')")
    if kind == "svg":
        graph.evaluate(
            "globalThis.saved.text().then((text) => { globalThis.parsed ="
            " new DOMParser().parseFromString(text, 'image/svg+xml'); })"
        )
        assert graph.evaluate("globalThis.parsed.querySelector('parsererror') === null")
        assert graph.evaluate("globalThis.parsed.querySelectorAll('path[stroke]').length > 0")


def test_a_saved_picture_shows_what_is_chosen_as_the_page_does(
    graph: Page, server: RunningServer
) -> None:
    for topic in ("sharp", "pale"):
        server.publish(topic, 1, producer=f"painter-{topic}")
        graph.wait_for(node("topic", topic))
    choose(graph, "topic", "sharp")
    graph.evaluate(
        "import('/static/graph/export.js').then(({ standalone }) => { globalThis.parsed ="
        " new DOMParser().parseFromString(standalone(graph), 'image/svg+xml'); })"
    )
    opacity = "parsed.querySelector('[data-id=\"topic {}\"]').getAttribute('opacity')"
    assert graph.evaluate(opacity.format("sharp")) == "1"
    assert graph.evaluate(opacity.format("pale")) == "0.15"


def test_an_empty_server_says_what_to_do_and_a_restart_is_survived(
    browser: Browser, tmp_path: Path
) -> None:
    with RunningServer(tmp_path) as server:
        page = browser.page()
        page.go(server.url + "/network-graph.html")
        page.wait_for("!document.querySelector('#graph-empty').hidden")
        assert f"curl {server.url}/publish" in page.text("#graph-empty code")
        server.stop()
        page.wait_for("document.querySelector('#connection').dataset.state === 'reconnecting'")
        server.start()
        page.click("#connection-retry")
        page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
        server.publish("after-restart", 1, producer="patient")
        page.wait_for(node("topic", "after-restart"))
        page.close()
