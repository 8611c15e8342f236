"""The cluster page in a real browser: one node, and three that die, freeze and lose their Redis."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import Browser, Page
from hostile import hostile
from pages import CLUSTER, HEARD
from panel import beyond_the_phone

from disks import small_disk
from engines import sqlite_url
from redis_server import RedisServer
from server import RunningServer
from system.cluster import all_see, cluster, node_id, send

pytestmark = pytest.mark.browser

SOON = 15.0  # in which what happens has to be shown, its end as well
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


class ThreeNodes:
    """Three nodes on one Redis, and the page of the first of them."""

    def __init__(self, nodes: list[RunningServer], redis: RedisServer, page: Page) -> None:
        self.nodes, self.redis, self.page = nodes, redis, page
        self.ids = [node_id(node) for node in nodes]

    def shows(self, condition: str, timeout: float = SOON) -> None:
        self.page.wait_for(condition, timeout)


@contextmanager
def three_nodes(browser: Browser, directory: Path, **settings: object) -> Iterator[ThreeNodes]:
    """Wait until they know of each other, and the page shows it."""
    with RedisServer(directory) as redis, cluster(directory, redis, 3, **settings) as nodes:
        page = browser.page().go(nodes[0].url + CLUSTER)
        page.wait_for(f"{count('up')} === 3", 30)
        page.wait_for(f"{lines('cpu_percent')} === 3", 30)
        all_see(nodes)
        yield ThreeNodes(nodes, redis, page)
        page.close()


@pytest.fixture
def three(browser: Browser, tmp_path: Path) -> Iterator[ThreeNodes]:
    with three_nodes(browser, tmp_path) as three:
        yield three


def count(state: str) -> str:
    """JavaScript for how many nodes are shown in a state."""
    return f"document.querySelectorAll('#nodes tr[data-state={state}]').length"


def state(node: str) -> str:
    return f"document.querySelector('tr[data-node=\"{node}\"]').dataset.state"


def alert(name: str, place: str = "alerts") -> str:
    """JavaScript for whether an alert is shown: of now, or among those that `ended`."""
    return f"(document.querySelector('#{place} [data-alert=\"{name}\"]') !== null)"


CARD = "document.querySelector('#cluster').dataset.state"
CONNECTION = "document.querySelector('#connection').dataset.state"


def test_of_three_nodes_one_that_is_killed_is_lost_until_it_is_back(three: ThreeNodes) -> None:
    _, second, third = three.nodes
    lost = three.ids[2]
    third.kill()
    three.shows(f"{state(lost)} === 'lost' && {alert(f'node_lost:{lost}')}")
    assert three.page.text("[data-tile=nodes] .tile-value").strip() == "2 / 3"
    second.stop()
    three.shows(f"{count('stopped')} === 1")
    third.start()
    three.shows(f"!{alert(f'node_lost:{lost}')} && {count('up')} === 2")


def test_a_node_that_is_frozen_is_lost_until_it_goes_on(three: ThreeNodes) -> None:
    frozen = three.ids[2]
    send(three.nodes[2], signal.SIGSTOP)
    three.shows(f"{state(frozen)} === 'lost' && {alert(f'node_lost:{frozen}')}")
    assert three.page.evaluate(f"[{CARD}, {count('up')}]") == ["live", 2]
    send(three.nodes[2], signal.SIGCONT)
    three.shows(f"!{alert(f'node_lost:{frozen}')} && {count('up')} === 3")
    three.shows(alert(f"node_lost:{frozen}", "ended"))


def test_a_page_whose_own_node_is_frozen_says_that_it_is_not_up_to_date(three: ThreeNodes) -> None:
    first, second, _ = three.nodes
    lost = f"node_lost:{three.ids[0]}"
    send(first, signal.SIGSTOP)
    three.shows(f"{CARD} === 'stale' && {CONNECTION} === 'reconnecting'")
    assert "Not up to date" in three.page.text("#cluster-error")
    # It knows nothing of the others, and claims nothing.
    assert three.page.evaluate(f"[{count('up')}, {count('lost')}]") == [3, 0]
    second.until(lambda: lost in {a["id"] for a in second.get("/api/cluster/alerts")["active"]})
    assert three.page.evaluate(f"[{CARD}, {count('up')}, {count('lost')}]") == ["stale", 3, 0]
    send(first, signal.SIGCONT)
    three.shows(f"{CARD} === 'live' && {CONNECTION} === 'connected'")
    three.shows(f"!{alert(lost)} && {alert(lost, 'ended')} && {count('up')} === 3")
    assert three.page.text("#cluster-error") == ""


def test_while_redis_is_away_the_other_nodes_are_not_seen_and_not_lost(three: ThreeNodes) -> None:
    own, *others = three.ids
    three.redis.kill()
    three.shows(alert(f"bus_down:{own}"))
    three.shows(" && ".join(f"{state(node)} === 'unseen'" for node in others))
    assert three.page.evaluate(f"[{state(own)}, {CARD}]") == ["up", "live"]
    assert three.page.text("[data-tile=nodes] .tile-value").strip() == "1 / 3"
    three.redis.start()
    three.shows(f"!{alert(f'bus_down:{own}')} && {count('up')} === 3")
    assert three.page.evaluate("document.querySelectorAll('[data-alert^=node_lost]').length") == 0


def test_a_full_disk_is_shown_for_every_node_until_there_is_room(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        small_disk(tmp_path, monkeypatch) as disk,
        three_nodes(browser, tmp_path, database_url=sqlite_url(disk.directory)) as three,
    ):
        full = [f"disk_low:{node}" for node in three.ids]
        disk.fill()
        three.shows(" && ".join(map(alert, full)))
        # A machine that is busy may show that a node's loop was late, beside it.
        number, *shown = three.page.evaluate(
            "[document.querySelector('#alerts-count').textContent,"
            " ...[...document.querySelectorAll('#alerts [data-alert]')]"
            ".map((row) => row.dataset.alert)]"
        )
        assert int(number) == len(shown)
        assert sorted(name for name in shown if name.startswith("disk_low:")) == sorted(full)
        disk.free()
        three.shows(" && ".join(f"!{alert(name)} && {alert(name, 'ended')}" for name in full))
        three.shows("!document.querySelector('#alerts-empty').hidden")
