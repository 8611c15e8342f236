"""Makes the pictures of the documentation: each page, light and dark, while a town uses the server.

make screenshots                       all of them, in docs/images
python tests/web/screenshots.py NAME…  only these, in a directory of --to if it is given
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from browser import Browser, Page, find_chromium

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from town import Town

from server import ROOT, RunningServer

IMAGES = ROOT / "docs" / "images"
CHAT = (
    ("grace", "Good morning! Who looks after the greenhouse today?"),
    ("linus", "I can, after nine."),
    ("grace", "The humidity is at 84 %, a little high."),
    ("grace", "Could you open the windows?"),
    ("linus", "I will. Anything to water?"),
    ("ada", "The tomatoes, they had nothing since yesterday."),
)
# Others come into the room of the page, and say their lines.
SPEAK = """(async () => {
  const { PubSubClient } = await import("/static/pubsub-client.js");
  const room = "greenhouse";
  const others = new Map();
  for (const [user, content] of %s) {
    if (!others.has(user)) {
      const chat = new PubSubClient(`${location.origin}/?user=${user}`).namespace("/chat");
      others.set(user, chat);
      await chat.request("join", { room });
    }
    await others.get(user).request("message", { data: { room, content } });
  }
})()"""
WARM_UP_SECONDS = 62.0  # the activity map's last minute is then full


def use_control_panel(page: Page) -> None:
    page.fill("#subscribe-consumer", "wall-display")
    page.fill("#subscribe-topics", "sensors:* alerts")
    page.click("#subscribe-send")
    page.wait_for("document.querySelectorAll('#received .item').length >= 6", timeout=60)
    page.evaluate(
        "for (const item of [...document.querySelectorAll('#received .item')].slice(2, 5))"
        " item.querySelector('.confirm').click()"
    )


def use_topic(page: Page) -> None:
    page.wait_for("document.querySelectorAll('#topic-messages > li').length >= 8")
    page.click(".entry:nth-of-type(2) [data-ledger]")
    page.wait_for("document.querySelector('.ledger tbody tr')")


def use_graph(page: Page) -> None:
    page.wait_for("document.querySelectorAll('.node[data-kind=consumer]').length >= 12")
    page.wait_for("document.querySelector('.edge[data-delay=late]')")
    page.wait_for("document.querySelector('#graph-stats').textContent")


def use_network(page: Page) -> None:
    use_graph(page)
    page.evaluate(
        "document.querySelector('.node[data-id=\"topic orders\"]')"
        ".dispatchEvent(new MouseEvent('click', { bubbles: true }))"
    )


def use_activity_map(page: Page) -> None:
    page.wait_for("document.querySelectorAll('#activity li').length >= 15")


def use_connection_test(page: Page) -> None:
    for request in ("subscribe", "publish", "history", "presence"):
        page.evaluate(
            "{ const choice = document.querySelector('#request');"
            f" choice.value = '{request}'; choice.dispatchEvent(new Event('change')); }}"
        )
        if request == "subscribe":
            page.fill("#request-body", '{"consumer": "websocket-test", "topics": ["sensors:*"]}')
        page.click("#request-send")
    page.click("#checks-run")
    page.wait_for("!document.querySelector('#checks-run').disabled")
    page.evaluate("document.activeElement.blur()")
    page.wait_for("document.querySelectorAll('.frame[data-kind=event]').length > 12", timeout=60)


def use_chat(page: Page) -> None:
    page.wait_for("document.querySelector('#own-name').textContent === 'maya'")
    page.evaluate(SPEAK % json.dumps(CHAT))
    page.fill("#write-text", "Thank you both! I come by at noon.")
    page.evaluate("document.querySelector('#write').requestSubmit()")
    page.wait_for(f"document.querySelectorAll('.said:not(.pending)').length === {len(CHAT) + 1}")
    page.wait_for("document.querySelectorAll('#people li').length === 4")
    page.evaluate("document.activeElement.blur()")


def use_demo(page: Page) -> None:
    page.wait_for("document.querySelector('#own-name').textContent === 'maya'")
    for number, title in enumerate(("Your order is on its way", "The parcel has arrived")):
        page.fill("#notify-title", title)
        page.evaluate("document.querySelector('#notify').requestSubmit()")
        page.wait_for(f"document.querySelectorAll('.bell-item').length > {number}")
    page.click(".bell-item:last-child [data-read]")
    page.wait_for("document.querySelector('.bell-item[data-read=true]')")
    page.click(".choice:first-child [data-value='1']")
    page.click(".choice:nth-child(2) [data-value='-1']")
    page.wait_for("document.querySelectorAll('.choice [aria-pressed=true]').length === 2")
    page.fill("#document-text", "What one writes here,\nall others see while it is written.")
    page.wait_for("document.querySelector('#document-by').textContent.includes('maya')")


def use_cluster(page: Page) -> None:
    page.wait_for(
        "[...document.querySelectorAll('.chart-line')]"
        ".filter((line) => line.getAttribute('d')).length >= 8",
        timeout=60,
    )


@dataclass(frozen=True)
class Picture:
    """A page, how large, and what is done on it before it is taken."""

    name: str
    path: str
    height: int
    use: Callable[[Page], None]
    is_early: bool = False  # opened before the town lives: it shows what it has seen
    width: int = 1280


PICTURES = (
    Picture("control-panel", "/control-panel.html", 2160, use_control_panel, is_early=True),
    Picture("topic-page", "/control-panel.html?topic=alerts", 1000, use_topic),
    Picture("network-graph", "/network-graph.html", 860, use_network),
    Picture("circular-graph", "/circular-graph.html", 860, use_graph),
    Picture("activity-map", "/activity-map.html", 760, use_activity_map),
    Picture("cluster", "/cluster.html", 1180, use_cluster, is_early=True),
    Picture("chat", "/chat.html?user=maya#greenhouse", 760, use_chat),
    Picture("demo", "/demo.html?user=maya", 820, use_demo),
    Picture("connection-test", "/websocket-test", 1380, use_connection_test, is_early=True),
)


def opened(browser: Browser, url: str, picture: Picture) -> Page:
    page = browser.page()
    page.resize(picture.width, picture.height)
    page.hide_scrollbars()
    page.go(url + picture.path)
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")
    return page


def take(page: Page, picture: Picture, directory: Path) -> None:
    picture.use(page)
    for form in ("light", "dark"):
        page.resize(picture.width, picture.height, dark=form == "dark")
        page.evaluate("new Promise((drawn) => setTimeout(drawn, 1_500))")  # some traffic in it
        path = directory / f"{picture.name}-{form}.png"
        page.screenshot(path)
        print(f"{path}: {path.stat().st_size:,} bytes", flush=True)
    page.close()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="pages; all if none is named")
    parser.add_argument("--to", type=Path, default=IMAGES, help="the directory")
    parser.add_argument("--after", type=float, default=WARM_UP_SECONDS, help="seconds of traffic")
    parsed = parser.parse_args(arguments)
    chosen = [one for one in PICTURES if not parsed.names or one.name in parsed.names]
    chromium = find_chromium()
    if chromium is None:
        sys.exit("Chromium or Chrome is needed (Debian: apt install chromium)")
    parsed.to.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningServer(Path(folder)) as server,
        Town(server.url) as town,
        Browser(chromium) as browser,
    ):
        early = {one: opened(browser, server.url, one) for one in chosen if one.is_early}
        town.live(parsed.after)
        for picture in chosen:
            page = early.get(picture) or opened(browser, server.url, picture)
            take(page, picture, parsed.to)


if __name__ == "__main__":
    main(sys.argv[1:])
