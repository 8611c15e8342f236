"""All pages of the server, and what has to be done on some before they show anything."""

from __future__ import annotations

import json

from browser import Page

from python_pubsub_server.routes import ROUTES, pages

CONNECTION_TEST = "/websocket-test"
CLUSTER = "/cluster.html"
ACTIVITY_MAP = "/activity-map.html"
HEARD = """[...document.querySelectorAll('#nodes tr')].some((row) =>
  row.dataset.state === 'up' && row.querySelector('[data-field=lag]').textContent.endsWith('ms'))"""


def page_paths() -> list[str]:
    """The paths of all pages, in the order of the navigation."""
    return [
        path
        for _, path, route in ROUTES
        if route.__module__ == pages.__name__ and route is not pages.home
    ]


def show_topic(page: Page, path: str, topic: str) -> None:
    """Let a connected page show a topic that has messages; most do so by themselves."""
    if path == CONNECTION_TEST:
        body = json.dumps({"consumer": topic, "topics": [topic], "after": "beginning"})
        page.fill("#request-body", body)  # the request is `subscribe`
        page.click("#request-send")
    if path == CLUSTER:
        page.wait_for(HEARD)  # so it is subscribed to what programs say, too
        event = json.dumps({"channel": "cluster:alerts", "data": {"text": topic}})
        how = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": event}
        page.evaluate(f"fetch('/api/cluster/events', {json.dumps(how)}).then((each) => each.ok)")
    if path == ACTIVITY_MAP:
        page.click("#windows [value=hour]")  # it may have been more than a minute ago
    page.wait_for(f"document.querySelector('main').textContent.includes({json.dumps(topic)})")
