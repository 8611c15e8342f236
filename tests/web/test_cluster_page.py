"""The cluster page in a real browser: one node, three nodes, one that is killed, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser, Page
from hostile import hostile
from pages import CLUSTER, HEARD
from panel import beyond_the_phone

from redis_server import RedisServer
from server import RunningServer
from system.cluster import cluster

pytestmark = pytest.mark.browser

SOON = 15.0  # in which a node that was killed has to be shown as lost
HOSTILE = hostile("cluster-page")
CHARTS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("cluster-page")) as server:
        yield server


@pytest.fixture
def page(open_page: Callable[[str], Page]) -> Page:
    page = open_page(CLUSTER)
    page.wait_for(HEARD)
    return page


def say(server: RunningServer, channel: str, data: object) -> None:
    body = {"channel": channel, "data": data}
    server.http.post(f"{server.url}/api/cluster/events", json=body, timeout=30).raise_for_status()


def lines(metric: str) -> str:
    """JavaScript for the lines of a chart that have points."""
    return (
        f"[...document.querySelectorAll('[data-metric={metric}] .chart-line')]"
        ".filter((line) => line.getAttribute('d')).length"
    )


def test_a_single_node_is_a_cluster_too(page: Page, server: RunningServer) -> None:
    health = server.get("/api/health")
    row = f"#nodes tr[data-node='{health['node_id']}']"
    assert page.evaluate("document.querySelectorAll('#nodes tr').length") == 1
    assert page.text(f"{row} [data-field=state]") == "up"
    assert page.text(f"{row} [data-field=version]") == health["version"]
    assert server.process is not None
    assert page.text(f"{row} [data-field=pid]") == str(server.process.pid)
    assert page.text("[data-tile=nodes] .tile-value").strip() == "1 / 1"
    page.wait_for(f'document.querySelector("{row} [data-field=memory]").textContent.length > 3')
    assert page.evaluate("document.querySelectorAll('.chart').length") == CHARTS
    page.wait_for(f"{lines('cpu_percent')} === 1")


def test_the_numbers_live(page: Page, server: RunningServer) -> None:
    for number in range(40):
        server.publish("numbers", number, message_id=f"n{number}")
    published = "document.querySelector('#nodes [data-field=published]').textContent"
    page.wait_for(f"parseFloat({published}) > 0")
    page.wait_for(f"{lines('messages_per_second')} === 1")
    page.wait_for(f"{lines('commit_ms')} === 1")
    uptime = "document.querySelector('#nodes [data-uptime]').textContent"
    before = page.evaluate(uptime)
    page.wait_for(f"{uptime} !== {json.dumps(before)}")


def test_a_page_opened_later_has_the_past(page: Page, open_page: Callable[[str], Page]) -> None:
    page.wait_for(
        "document.querySelector('[data-metric=memory_mb] .chart-line')"
        ".getAttribute('d').split('L').length > 2"
    )
    later = open_page(CLUSTER)
    later.wait_for(
        "document.querySelector('[data-metric=memory_mb] .chart-line')"
        "?.getAttribute('d').split('L').length > 2"
    )


def test_a_chart_is_read_with_the_keys(page: Page) -> None:
    page.wait_for(f"{lines('memory_mb')} === 1")
    page.evaluate(
        """(() => {
          const chart = document.querySelector("[data-metric=memory_mb] svg");
          chart.focus();
          chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
        })()"""
    )
    # All charts show the same moment.
    page.wait_for(
        "[...document.querySelectorAll('.chart-point')]"
        ".every((each) => /\\d\\d:\\d\\d/.test(each.textContent))"
    )
    assert ":" in page.evaluate("document.querySelector('[data-metric=memory_mb] svg').ariaLabel")


def test_what_programs_say_is_shown_as_text(page: Page, server: RunningServer) -> None:
    say(server, "cluster:alerts", {"text": f"maintenance {HOSTILE}"})
    say(server, "cluster:health", [HOSTILE, None, 3])
    say(server, "cluster:metrics", "no report at all")
    forged = dict.fromkeys(("reported_by", "id", "kind", "subject", "text"), HOSTILE)
    say(server, "cluster:alerts", {"reported_by": "x", "kind": 3})
    say(server, "cluster:alerts", forged | {"state": "begin", "since": 1.0, "node": None})
    for text in ("maintenance <img", "no report at all", f'["{HOSTILE[:20]}', '"kind":3'):
        page.wait_for(f"document.querySelector('#said').textContent.includes({json.dumps(text)})")
    # The nodes find that nothing of the kind is wrong, and end it.
    page.wait_for(f"document.querySelector('#ended').textContent.includes({json.dumps(HOSTILE)})")
    assert page.evaluate("globalThis.hacked ?? null") is None
    assert page.evaluate("document.querySelectorAll('main :is(img, script)').length") == 0


def test_it_fits_a_phone(page: Page) -> None:
    page.resize(360, 740)
    page.wait_for("innerWidth === 360")
    assert beyond_the_phone(page) == []


def test_after_a_restart_it_goes_on_with_the_new_node(browser: Browser, tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        page = browser.page().go(server.url + CLUSTER)
        page.wait_for(HEARD)
        server.kill()
        page.wait_for("document.querySelector('#cluster').dataset.state === 'stale'")
        server.start()
        new = server.get("/api/health")["node_id"]
        page.wait_for(f"document.querySelector('#nodes tr[data-node=\"{new}\"]') !== null")
        page.wait_for("document.querySelector('#cluster').dataset.state === 'live'")
        page.close()


def test_of_three_nodes_one_that_is_killed_is_lost_until_it_is_back(
    browser: Browser, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis, cluster(tmp_path, redis, 3) as nodes:
        first, second, third = nodes
        page = browser.page().go(first.url + CLUSTER)
        up = "document.querySelectorAll('#nodes tr[data-state=up]').length"
        page.wait_for(f"{up} === 3", 30)
        page.wait_for(f"{lines('cpu_percent')} === 3")
        lost = third.get("/api/health")["node_id"]
        third.kill()
        row = f"document.querySelector('tr[data-node=\"{lost}\"]')"
        alert = f"document.querySelector('#alerts [data-alert=\"node_lost:{lost}\"]')"
        page.wait_for(f"{row}.dataset.state === 'lost' && {alert} !== null", SOON)
        assert page.text("[data-tile=nodes] .tile-value").strip() == "2 / 3"
        second.stop()
        page.wait_for("document.querySelectorAll('#nodes tr[data-state=stopped]').length === 1")
        third.start()
        page.wait_for(f"{up} === 2", 30)
        page.wait_for(f"{alert} === null", 30)
        page.close()
