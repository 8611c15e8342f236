"""What one works with all day in the control panel: live rates, clients, templates, alarms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Page, choosing
from hostile import hostile
from panel import (
    ITEMS,
    OpenPanel,
    publish,
    reopen,
    subscribe,
    wait_connected,
    wait_rows,
    wait_sequences,
    wait_text,
)

from server import RunningServer
from system.clients import Client, RawClient

pytestmark = pytest.mark.browser

HOSTILE = hostile("panel-tools")
SHOWN = "[...document.querySelectorAll('#received .sequence')].map((each) => each.textContent)"


def value_of(tile: str) -> str:
    return f"document.querySelector('[data-tile={tile}] [data-field=value]').textContent"


@pytest.fixture
def alarming(browser: Browser, tmp_path: Path) -> Iterator[tuple[RunningServer, Page]]:
    """A server that finds clients slow soon, and a panel of it."""
    with RunningServer(tmp_path, outbound_bytes=65_536) as server:
        page = browser.page().go(f"{server.url}/control-panel.html")
        wait_connected(page)
        yield server, page
        page.close()


def make_slow(server: RunningServer, topic: str) -> None:
    """Have the server close a client that does not read, and warn of it."""
    warned = server.log.count("closed_as_slow")
    with RawClient(server.url) as slow:
        slow.send(f'420["subscribe", {json.dumps(topic)}]')
        slow.next()
        number = 0
        while server.log.count("closed_as_slow") == warned:
            number += 1
            server.publish(topic, "x" * 500_000, message_id=f"{topic}-{number}")


def test_rates_are_live_with_a_line_of_the_last_minutes(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "lively")
    number = 0

    def is_seen() -> bool:
        nonlocal number
        number += 1
        server.publish("lively", number, message_id=str(number))
        return bool(
            page.evaluate(
                f"Number({value_of('published')}) > 0 && Number({value_of('commit')}) > 0"
            )
        )

    server.until(is_seen)
    page.wait_for(f"Number({value_of('connections')}) >= 1")
    lines = page.evaluate(
        "[...document.querySelectorAll('.spark-line')].map((line) => line.getAttribute('d'))"
    )
    assert len(lines) == 4
    assert all(line.startswith("M") for line in lines[:3])
    label = "document.querySelector('[data-tile=published] svg').ariaLabel"
    assert page.evaluate(label).startswith("Published: ")
    page.evaluate(
        "(() => { const svg = document.querySelector('[data-tile=connections] svg');"
        "const { right, top } = svg.getBoundingClientRect(); svg.dispatchEvent(new PointerEvent("
        "'pointermove', { clientX: right - 1, clientY: top + 5 })); })()"
    )
    assert ":" in page.text("[data-tile=connections] .tile-point")
    wait_rows(page, "topics", "lively")
    rate = "document.querySelector('#topics .virtual-rows [data-kind=rate]').textContent"

    def has_rate() -> bool:
        nonlocal number
        number += 1
        server.publish("lively", number, message_id=str(number))
        return bool(page.evaluate(f"parseFloat({rate}) > 0"))

    server.until(has_rate)


def test_a_long_list_of_topics_is_searched_and_sorted(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    for number, topic in ((1, "sort:b"), (3, "sort:c"), (2, "sort:a")):
        for message in range(number):
            server.publish(topic, message, message_id=str(message))
    page = open_panel()
    wait_rows(page, "topics", "sort:a")
    page.fill("#topics [data-find]", "sort:*")
    names = (
        "[...document.querySelectorAll('#topics .virtual-rows [data-kind=topic]')]"
        ".map((each) => each.textContent).join(' ')"
    )
    page.wait_for(f"{names} === 'sort:a sort:b sort:c'")
    page.click("#topics [role=columnheader]:nth-child(4) button")
    page.wait_for(f"{names} === 'sort:c sort:a sort:b'")
    header = "document.querySelector('#topics [role=columnheader]:nth-child(4)').ariaSort"
    assert page.evaluate(header) == "descending"
    page.click("#topics [role=columnheader]:nth-child(4) button")
    page.wait_for(f"{names} === 'sort:b sort:a sort:c'")
    page.fill("#topics [data-find]", "no-such-topic")
    page.wait_for("!document.querySelector('#topics [data-nothing-found]').hidden")


def test_a_client_shows_what_waits_for_it(open_panel: OpenPanel, server: RunningServer) -> None:
    page = open_panel()
    with Client(server.url) as client:
        client.subscribe("owed", "owed:*", consumer="debtor")
        for number in range(3):
            server.publish("owed", number, message_id=str(number))
        wait_rows(page, "clients", "debtor", "owed, owed:*")
        page.click("#clients .virtual-rows > *")
        wait_text(page, "#client-subscriptions", "3 to confirm")
        assert page.text("#client-name") == "debtor"
        assert "all confirmed" in page.text("#client-subscriptions")
        claim = {"consumer": "debtor", "topic": "owed", "message_id": "1"}
        client.call("consumed", claim)
        wait_text(page, "#client-subscriptions", "2 to confirm")
    wait_text(page, "#client-state", "not connected any more")
    page.click("#client-close")
    assert page.evaluate("document.querySelector('#client-details').hidden")


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("topic", "a*", "* is for subscribing"),
        ("topic", "$mine", "the server's own"),
        ("topic", "x" * 201, "201 characters; 200 at most"),
        ("producer", "x" * 201, "201 characters; 200 at most"),
        ("id", "a\x07b", "control characters"),
        ("message", '{"a": 1, "a": 2}', "The key a is there twice"),
        ("message", "[1e400]", "too large"),
        ("message", '"\\ud800"', "surrogate"),
        ("message", "[" * 257 + "]" * 257, "deeper than 256"),
    ],
)
def test_what_the_server_would_refuse_is_said_at_its_field(
    open_panel: OpenPanel, field: str, text: str, problem: str
) -> None:
    page = open_panel()
    page.fill(f"#publish-{field}", text)
    wait_text(page, f"#publish-{field}-error", problem)
    page.click("#publish-send")
    assert page.text("#publish-result") == "Not sent."
    assert page.evaluate("document.activeElement.id") == f"publish-{field}"
    page.fill(f"#publish-{field}", "1")
    assert page.text(f"#publish-{field}-error") == ""


def test_templates_are_kept_used_and_deleted(open_panel: OpenPanel, server: RunningServer) -> None:
    page = open_panel()
    page.click("#templates-save button")
    assert page.text("#templates-error") == "Give the template a name."
    for name, message in (("greeting", '{"hello": 1}'), ("number", "42"), ("greeting", '"new"')):
        page.fill("#publish-topic", f"template-{name}")
        page.fill("#publish-producer", "drafter")
        page.fill("#publish-message", message)
        page.fill("#templates-name", name)
        page.click("#templates-save button")
    assert page.text("#templates-count") == "2"
    again = open_panel()
    assert again.text("#publish-topic-error") == ""
    again.click('[aria-label="Use the template greeting"]')
    assert again.evaluate("document.querySelector('#publish-message').value") == '"new"'
    again.click("#publish-send")
    wait_text(again, "#publish-result", "Stored as #1 of template-greeting")
    (stored,) = server.get("/messages", topic="template-greeting")
    assert (stored["message"], stored["producer"]) == ("new", "drafter")
    again.click('[aria-label="Delete the template greeting"]')
    assert again.text("#templates-count") == "1"
    assert "number" in again.text("#templates-list")


def test_what_was_sent_is_sent_again_or_changed(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    publish(page, "resent", '{"n": 12345678901234567890}')
    wait_text(page, "#publish-result", "#1 of resent")
    publish(page, "resent-other", "2")
    wait_text(page, "#publish-result", "#1 of resent-other")
    page.click('[aria-label="Send the message to resent again"]')
    wait_text(page, "#publish-result", "Stored as #2 of resent")
    found = server.get("/messages", topic="resent")
    assert [each["message"] for each in found] == [{"n": 12345678901234567890}] * 2
    assert page.text("#sent-count") == "2"
    page.click('[aria-label="Edit the message to resent-other"]')
    assert page.evaluate("document.querySelector('#publish-topic').value") == "resent-other"
    page.fill("#publish-message", "3")
    page.click("#publish-send")
    wait_text(page, "#publish-result", "#2 of resent-other")
    page.click("#sent-clear")
    assert page.text("#sent-count") == "0"


def test_the_received_messages_are_filtered(open_panel: OpenPanel, server: RunningServer) -> None:
    page = open_panel()
    subscribe(page, "filter:*")
    server.publish("filter:tea", {"text": "Green"}, message_id="1", producer="shop")
    server.publish("filter:tea", {"text": "black"}, message_id="2", producer="shop")
    server.publish("filter:cup", {"text": "green"}, message_id="3", producer="kiln")
    page.wait_for(f"{ITEMS}.length === 3")
    page.fill("#received-filter", "green")
    page.wait_for(f"{ITEMS}.length === 2")
    page.fill("#received-filter", "green shop")
    page.wait_for(f"{ITEMS}.length === 1")
    assert page.text("#received-note") == "1 of the last 3 pass the filter."
    page.click("#received-confirm")
    page.wait_for("document.querySelector('.item').dataset.state === 'confirmed'")
    recorded = server.get("/consumptions", topic="filter:tea")
    assert [each["message_id"] for each in recorded] == ["1"]
    server.publish("filter:tea", {"text": "green again"}, message_id="4", producer="shop")
    page.wait_for(f"{ITEMS}.length === 2")
    page.fill("#received-filter", "")
    page.wait_for(f"{ITEMS}.length === 4")
    assert page.evaluate("document.querySelectorAll('.item[data-state=confirmed]').length") == 1


def test_a_long_pause_keeps_the_newest_and_says_so(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "pause-long")
    page.click("#received-pause")
    batch = [
        {"topic": "pause-long", "message_id": str(n), "message": n, "producer": "p"}
        for n in range(2_500)
    ]
    assert server.http.post(f"{server.url}/publish/batch", json=batch, timeout=30).ok
    wait_text(page, "#received-pause", "Go on (2,500 new)")
    wait_text(page, "#received-note", "Only the newest 1,000 are kept")
    assert page.evaluate(f"{ITEMS}.length") == 0
    page.click("#received-pause")
    page.wait_for(f"{ITEMS}.length === 200")
    assert page.text("#received .sequence") == "#2,500"
    assert page.text("#received-note") == ""


def test_another_language_loses_nothing(open_panel: OpenPanel, server: RunningServer) -> None:
    page = open_panel()
    subscribe(page, "language-a language-b:*", consumer="polyglot")
    page.fill("#publish-message", '{"half": "written"')
    server.publish("language-a", {"big": 12345678901234567890}, message_id="1")
    server.publish("language-b:1", 2, message_id="2")
    page.wait_for(f"{ITEMS}.length === 2")
    page.click("#received .item:last-child [data-confirm]")
    page.wait_for("document.querySelector('.item:last-child').dataset.state === 'confirmed'")
    page.fill("#received-filter", "language")
    reopen(page, choosing("#language", "fr"))
    assert page.evaluate("document.documentElement.lang") == "fr"
    server.publish("language-a", "new", message_id="3")
    server.publish("language-b:2", "a new topic", message_id="4")
    page.wait_for(f"{ITEMS}.length === 4")
    assert '"big": 12345678901234567890' in page.text("#received .item:last-child pre")
    assert page.text("#received .item:last-child [data-confirm]") == "Confirmé"
    assert page.text("#received-count") == "4"
    assert page.evaluate("document.querySelector('#publish-message').value").startswith('{"half"')
    assert page.evaluate("document.querySelector('#received-filter').value") == "language"
    assert page.evaluate("[...document.querySelectorAll('.chip')].length") == 2
    page.fill("#publish-topic", "a*")
    wait_text(page, "#publish-topic-error", "* sert à s'abonner")
    wait_text(page, "[data-tile=published]", "par seconde")
    assert "il y a" in page.text("#received .item:last-child time") or (
        page.text("#received .item:last-child time") == "à l'instant"
    )
    clients = server.get("/monitoring/clients", consumer="polyglot")
    assert len(clients) == 1


def test_what_came_while_the_page_was_opened_anew_is_not_missed(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "anew")
    server.publish("anew", 1, message_id="1")
    page.wait_for(f"{ITEMS}.length === 1")
    request = json.dumps({"topic": "anew", "message_id": "2", "message": 2, "producer": "p"})
    reopen(
        page,
        "addEventListener('pagehide', () => navigator.sendBeacon('/publish', new Blob("
        f"[{json.dumps(request)}], {{ type: 'application/json' }})));location.reload()",
    )
    page.wait_for(f'JSON.stringify({SHOWN}) === \'["#2","#1"]\'')


def test_warnings_of_the_server_are_shown_as_they_happen(
    alarming: tuple[RunningServer, Page],
) -> None:
    server, page = alarming
    assert page.evaluate("document.querySelector('#alarms-badge').hidden")
    make_slow(server, "heap")
    page.wait_for("!document.querySelector('#alarms-badge').hidden")
    assert page.text("#alarms-badge") == "1 new"
    assert page.evaluate("document.title") == "(1) Control panel · Pub/Sub"
    page.click("#alarms summary")
    page.wait_for("document.querySelector('#alarms-badge').hidden")
    assert page.text("#alarms-list strong") == "closed_as_slow"
    assert "connection=" in page.text("#alarms-list .alarm-text")
    assert page.evaluate("document.title") == "Control panel · Pub/Sub"
    reopen(page, "location.reload()")  # the server tells its last ones again
    page.wait_for("document.querySelectorAll('.alarm').length === 1")
    page.click("#alarms summary")
    page.click("#alarms-clear")
    page.wait_for("!document.querySelector('#alarms-empty').hidden")
    page.click("#connection-retry")
    wait_connected(page)
    make_slow(server, "second-heap")
    page.wait_for("document.querySelectorAll('.alarm').length === 1")


def test_markup_in_names_stays_text_in_every_part(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    with Client(server.url) as client:
        client.subscribe(HOSTILE, consumer=HOSTILE)
        server.publish(HOSTILE, {HOSTILE: HOSTILE}, message_id=HOSTILE, producer=HOSTILE)
        wait_rows(page, "clients", HOSTILE)
        page.click("#clients .virtual-rows > *")
        wait_text(page, "#client-subscriptions", "<img")
        for field, text in (("topic", HOSTILE), ("producer", HOSTILE), ("message", f'"{HOSTILE}"')):
            page.fill(f"#publish-{field}", text)
        page.fill("#templates-name", HOSTILE)
        page.click("#templates-save button")
        page.click("#publish-send")
        wait_text(page, "#sent-list", "<img")
        wait_text(page, "#templates-list", "<img")
        server.until(lambda: len(server.get("/messages", topic=HOSTILE)) == 2)
        wait_rows(page, "topics", HOSTILE)
        link = (
            "[...document.querySelectorAll('#topics [data-kind=topic] a')]"
            f".find((link) => link.textContent === {json.dumps(HOSTILE)})"
        )
        page.wait_for(f"{link} !== undefined")
        page.evaluate(f"{link}.click()")
        wait_sequences(page, "#2", "#1")
        page.click("#topic-messages .entry:last-child [data-ledger]")
        wait_text(page, ".ledger tbody", "<img")
        page.fill(".explain input", HOSTILE)
        page.click(".explain button")
        wait_text(page, ".explain output", "Sent")
        page.click("#topic-messages [data-field=producer]")
        page.wait_for("location.search.includes('producer=')")
        wait_sequences(page, "#2", "#1")
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert page.evaluate("globalThis.hacked ?? null") is None
