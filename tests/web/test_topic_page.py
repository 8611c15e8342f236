"""A topic's page of the control panel, used in a real browser against a real server."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import Browser, Page
from panel import (
    ITEMS,
    OpenPanel,
    publish,
    sequences,
    subscribe,
    wait_connected,
    wait_rows,
    wait_sequences,
    wait_text,
)

from server import RunningServer
from system.clients import Client

pytestmark = pytest.mark.browser

ENTRIES = "document.querySelectorAll('#topic-messages .entry')"
NEW = [f"#{number}" for number in range(60, 35, -1)]


def fill(server: RunningServer, topic: str, number: int = 60) -> None:
    """Messages 1, 2, … of a topic: of even numbers by `even`."""
    batch = [
        {
            "topic": topic,
            "message_id": f"m-{n}",
            "message": {"number": n, "text": f"word{n}"},
            "producer": "odd" if n % 2 else "even",
        }
        for n in range(1, number + 1)
    ]
    assert server.http.post(f"{server.url}/publish/batch", json=batch, timeout=30).ok


def go_to(page: Page, sequence: str) -> None:
    page.fill("#topic-at", sequence)
    page.click("#topic-go button")


def find(page: Page, words: str = "", producer: str = "") -> None:
    page.fill("#topic-q", words)
    page.fill("#topic-producer", producer)
    page.click("#topic-find button")


def look(page: Page, *, away: bool) -> None:
    """Let the page believe that nobody looks at it, or that somebody does again."""
    page.evaluate(
        "Object.defineProperty(document, 'hidden',"
        f" {{ value: {json.dumps(away)}, configurable: true }});"
        " void document.dispatchEvent(new Event('visibilitychange'))"
    )


def test_what_came_while_nobody_looked_is_there_when_one_looks_again(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    server.publish("unwatched", 1, message_id="m-1")
    page = open_panel("?topic=unwatched")
    subscribe(page, "unwatched", consumer="unwatched-c")
    wait_sequences(page, "#1")
    other = open_panel("?topic=unwatched")
    wait_sequences(other, "#1")
    look(page, away=True)
    server.publish("unwatched", 2, message_id="m-2")
    page.wait_for(f"{ITEMS}.length === 1")  # so the page has heard of it
    wait_sequences(other, "#2", "#1")  # and one that is looked at has read it
    assert sequences(page) == ["#1"]
    look(page, away=False)
    wait_sequences(page, "#2", "#1")


def test_a_topic_of_the_list_leads_to_its_page_and_back_leads_back(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    server.publish("walk", {"text": "hello"}, producer="guide")
    page = open_panel()
    subscribe(page, "walk")
    server.publish("walk", "second", message_id="m-2")
    page.wait_for(f"{ITEMS}.length === 1")
    wait_rows(page, "topics", "walk")
    page.click("#topics [data-kind=topic] a")
    wait_sequences(page, "#2", "#1")
    assert page.evaluate("location.search") == "?topic=walk"
    title = page.evaluate("document.title")
    assert re.sub(r"^\(\d+\) ", "", title) == "walk · Pub/Sub"  # behind the number of warnings
    assert page.evaluate("document.activeElement.id") == "topic-name"
    assert '"text": "hello"' in page.text("#topic-messages .entry:last-child pre")
    wait_text(page, "#topic-facts", "Last #2")
    server.publish("walk", "third", message_id="m-3")
    wait_sequences(page, "#3", "#2", "#1")
    page.evaluate("history.back()")
    page.wait_for("document.querySelector('#topic-view').hidden")
    page.wait_for(f"{ITEMS}.length === 2")  # the subscription went on meanwhile
    assert page.evaluate("document.title") == "Control panel · Pub/Sub"
    page.evaluate("history.forward()")
    page.wait_for("!document.querySelector('#topic-view').hidden")
    page.click("#topic-back")
    page.wait_for("!document.querySelector('#panel-view').hidden")


def test_time_travel_by_sequence(open_panel: OpenPanel, server: RunningServer) -> None:
    fill(server, "travel")
    page = open_panel("?topic=travel")
    wait_sequences(page, *NEW)
    page.click("#topic-older")
    wait_text(page, "#topic-state", "Up to #35")
    wait_sequences(page, *(f"#{n}" for n in range(35, 10, -1)))
    page.click("#topic-older")
    wait_sequences(page, *(f"#{n}" for n in range(10, 0, -1)))
    assert page.evaluate("document.querySelector('#topic-older').ariaDisabled") == "true"
    page.click("#topic-newer")
    wait_sequences(page, *(f"#{n}" for n in range(35, 10, -1)))
    go_to(page, "3")
    wait_sequences(page, "#3", "#2", "#1")
    assert page.evaluate("location.search") == "?topic=travel&at=3"
    assert page.text("#topic-messages [aria-current] .sequence") == "#3"
    server.publish("travel", "new", message_id="new")
    page.evaluate("history.back()")
    wait_sequences(page, *(f"#{n}" for n in range(35, 10, -1)))
    page.click("#topic-newest")
    wait_sequences(page, "#61", *NEW[:-1])
    for wrong in ("0", "x", "", "1.5"):
        go_to(page, wrong)
        wait_text(page, "#topic-error", "whole number")
    go_to(page, "99999")
    wait_sequences(page, "#61", *NEW[:-1])


def test_search_and_the_filter_by_producer(open_panel: OpenPanel, server: RunningServer) -> None:
    fill(server, "searched")
    fill(server, "elsewhere", 3)
    page = open_panel("?topic=searched")
    wait_sequences(page, *NEW)
    find(page, "word7")
    wait_sequences(page, "#7")
    assert page.text("#topic-state") == "Found"
    find(page, "word7", "even")
    page.wait_for("!document.querySelector('#topic-nothing-found').hidden")
    find(page, "", "even")
    wait_sequences(page, *(f"#{n}" for n in range(60, 10, -2)))
    page.click("#topic-older")
    wait_sequences(page, *(f"#{n}" for n in range(10, 0, -2)))
    page.evaluate("history.back()")
    wait_sequences(page, *(f"#{n}" for n in range(60, 10, -2)))
    page.click("#topic-newest")
    wait_sequences(page, *NEW)
    page.click("#topic-messages .entry:nth-child(2) [data-field=producer]")
    page.wait_for("location.search === '?topic=searched&producer=odd'")
    wait_text(page, "#topic-messages .entry .sequence", "#59")
    server.publish("searched", "fresh", message_id="fresh", producer="odd")
    wait_text(page, "#topic-messages .entry .sequence", "#61")


def test_the_ledger_says_who_got_a_message_and_why_others_did_not(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    with Client(server.url) as careful, Client(server.url) as slow:
        careful.subscribe("ledger", consumer="careful")
        slow.subscribe("ledger", consumer="forgetful")
        server.publish("ledger", {"text": "who?"}, message_id="one")
        claim = {"consumer": "careful", "topic": "ledger", "message_id": "one"}
        assert careful.call("consumed", claim)["recorded"] == 1
        page = open_panel("?topic=ledger")
        wait_sequences(page, "#1")
        page.click("[data-ledger]")
        wait_text(page, ".ledger tbody", "careful")
        states = (
            "[...document.querySelectorAll('.ledger tbody tr')].map((row) => row.dataset.state)"
        )
        assert page.evaluate(states) == ["confirmed", "pending"]
        for consumer, verdict in (
            ("careful", "consumed"),
            ("forgetful", "delivered"),
            ("stranger", "not_subscribed"),
        ):
            page.fill(".explain input", consumer)
            page.click(".explain button")
            page.wait_for(
                f"document.querySelector('.explain output').dataset.verdict === '{verdict}'"
            )
        assert page.text(".explain output") == (
            "Not subscribed. It had not subscribed to this topic yet."
        )
        slow.call("consumed", claim | {"consumer": "forgetful"})
        page.wait_for(f'JSON.stringify({states}) === \'["confirmed","confirmed"]\'')
        page.click("[data-ledger]")
        assert page.evaluate("document.querySelector('.ledger')") is None


def test_copied_as_curl_a_message_can_be_published_again(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    content = {"text": 'it\'s $HOME `x` "y" \\ \n é', "big": 12345678901234567890}
    server.publish("copied", content, message_id="it's 1", producer="o'neill")
    page = open_panel("?topic=copied")
    wait_sequences(page, "#1")
    page.evaluate("navigator.clipboard.writeText = async (text) => { globalThis.copied = text; }")
    page.click("[data-as-curl]")
    command = page.wait_for("globalThis.copied")
    run = subprocess.run(
        ["sh", "-c", f"{command} -s --noproxy '*'"], capture_output=True, timeout=30, check=True
    )
    assert json.loads(run.stdout) == {"status": "ok", "duplicate": True}
    page.wait_for("document.querySelector('[data-as-curl]').textContent === 'Copied'")


@pytest.mark.parametrize("topic", ["a/b//c", "50% & more?", "Zoë 日本", " ", "#"])
def test_any_name_has_a_page(open_panel: OpenPanel, server: RunningServer, topic: str) -> None:
    server.publish(topic, {"name": topic}, message_id=topic)
    page = open_panel(f"?topic={quote(topic, safe='')}")
    wait_sequences(page, "#1")
    assert page.text("#topic-name") == topic


def test_a_topic_without_messages_says_what_to_do(open_panel: OpenPanel) -> None:
    page = open_panel("?topic=not-yet")
    page.wait_for("!document.querySelector('#topic-empty').hidden")
    assert '"topic":"not-yet"' in page.text("#topic-empty code")


def test_what_retention_deleted_is_said_and_a_restart_is_survived(
    browser: Browser, tmp_path: Path
) -> None:
    with RunningServer(tmp_path, retention_messages=5) as server:
        fill(server, "kept", 20)

        def first_kept() -> int:
            first: int = server.get("/topics/kept/messages")["first"]
            return first if first > 1 else 0

        first = server.until(first_kept)
        page = browser.page().go(f"{server.url}/control-panel.html?topic=kept&at=1")
        wait_text(
            page, "#topic-trimmed", f"#1 was deleted by retention; the first one kept is #{first}"
        )
        page.click("#topic-first")
        wait_sequences(page, f"#{first}")
        page.click("#topic-newest")
        page.wait_for(f"{ENTRIES}.length === {20 - first + 1}")
        server.kill()
        page.wait_for("document.querySelector('#connection').dataset.state === 'reconnecting'")
        page.wait_for("document.querySelector('#overview').dataset.state === 'stale'")
        server.start()
        page.click("#connection-retry")
        wait_connected(page)
        server.publish("kept", "after", message_id="after")
        wait_text(page, "#topic-messages .sequence", "#21")
        page.wait_for("document.querySelector('#overview').dataset.state === 'live'")
        assert page.text("#topic-error") == ""
        page.close()


def test_a_message_that_came_leads_to_its_place(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "leading")
    publish(page, "leading", '"x"')
    page.wait_for(f"{ITEMS}.length === 1")
    page.click("#received .topic")
    page.wait_for("location.search === '?topic=leading&at=1'")
    wait_sequences(page, "#1")
    assert sequences(page) == ["#1"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_has_both_themes_and_fits_a_phone(
    open_panel: OpenPanel, server: RunningServer, dark: bool
) -> None:
    server.publish("phone", {"text": "x" * 300}, message_id="x" * 200, producer="p" * 200)
    page = open_panel("?topic=phone")
    page.resize(360, 740, dark=dark)
    wait_sequences(page, "#1")
    page.click("[data-ledger]")
    page.wait_for("document.querySelector('.ledger [data-nobody]').hidden === false")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    colour = page.evaluate("getComputedStyle(document.querySelector('.ledger')).backgroundColor")
    lightness = sum(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(","))
    assert (lightness < 300) == dark
