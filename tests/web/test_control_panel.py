"""The control panel, used in a real browser against a real server."""

from __future__ import annotations

import json

import pytest
from panel import (
    ITEMS,
    OpenPanel,
    beyond_the_phone,
    publish,
    subscribe,
    wait_connected,
    wait_rows,
)

from server import RunningServer

pytestmark = pytest.mark.browser


def test_what_one_page_publishes_another_page_shows(open_panel: OpenPanel) -> None:
    reader, writer = open_panel(), open_panel()
    subscribe(reader, "two-pages")
    publish(writer, "two-pages", '{"text": "héllo"}', producer="somebody")
    reader.wait_for(f"{ITEMS}.length === 1")
    shown = reader.text("#received .item")
    assert "two-pages" in shown
    assert "somebody" in shown
    assert '"text": "héllo"' in shown
    assert "Stored as #1 of two-pages" in writer.text("#publish-result")
    wait_rows(reader, "messages", "two-pages", "somebody", '{"text":"héllo"}')
    wait_rows(reader, "topics", "two-pages")
    wait_rows(writer, "clients", "two-pages", "c")


def test_several_topics_and_patterns_and_the_end_of_one(open_panel: OpenPanel) -> None:
    page = open_panel()
    subscribe(page, "several-a, several-host:*")
    publish(page, "several-host:1", "1")
    page.wait_for(f"{ITEMS}.length === 1")
    page.click('[aria-label="Unsubscribe from several-host:*"]')
    page.wait_for("document.querySelectorAll('.chip').length === 1")
    publish(page, "several-host:1", "2")
    page.wait_for("document.querySelector('#publish-result').textContent.includes('#2')")
    publish(page, "several-a", "3")
    page.wait_for(f"{ITEMS}.length === 2")
    assert "several-a" in page.text("#received .item")


def test_a_confirmed_message_is_in_the_table_of_consumptions(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "confirming", consumer="careful")
    publish(page, "confirming", '"one"')
    page.wait_for(f"{ITEMS}.length === 1")
    page.click("#received [data-confirm]")
    page.wait_for("document.querySelector('#received [data-confirm]').textContent === 'Confirmed'")
    wait_rows(page, "consumptions", "careful", "confirming", '"one"')
    (recorded,) = server.get("/consumptions", topic="confirming")
    assert (recorded["consumer"], recorded["message"]) == ("careful", "one")


def test_all_shown_messages_are_confirmed_at_once(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "all-at-once")
    for number in range(3):
        server.publish("all-at-once", number, message_id=str(number))
    page.wait_for(f"{ITEMS}.length === 3")
    page.click("#received-confirm")
    page.wait_for("document.querySelectorAll('.item[data-state=confirmed]').length === 3")
    assert page.evaluate("document.querySelector('#received-confirm').disabled")
    recorded = server.get("/consumptions", topic="all-at-once")
    assert [each["message"] for each in recorded] == [2, 1, 0]


def test_markup_in_names_and_payloads_stays_text(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    hostile = "<img src=x onerror=globalThis.hacked=1><script>globalThis.hacked=2</script>"
    page = open_panel()
    subscribe(page, "<img*", consumer=f"{hostile}c")
    server.publish(hostile, {hostile: hostile}, message_id=f"'\"{hostile}", producer=hostile)
    page.wait_for(f"{ITEMS}.length === 1")
    page.click("#received [data-confirm]")
    for listing in ("topics", "clients", "messages", "consumptions"):
        wait_rows(page, listing, "<img")
    page.evaluate("document.querySelectorAll('.payload').forEach((each) => (each.open = true))")
    page.wait_for("document.querySelector('#messages .payload pre').textContent.includes('<img')")
    assert page.text("#received .topic") == hostile
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert page.evaluate("globalThis.hacked ?? null") is None


def test_what_is_not_json_is_explained_and_not_sent(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    for text in ["{", "", "{'a': 1}", "undefined", '{"a": 1} x']:
        publish(page, "not-json", text)
        assert page.text("#publish-result") == "Not sent."
        assert page.text("#publish-message-error").startswith("Not valid JSON: ")
        assert page.evaluate("document.activeElement.id") == "publish-message"
    page.fill("#publish-message", "null")
    assert page.text("#publish-message-error") == ""
    page.click("#publish-send")
    page.wait_for("document.querySelector('#publish-result').dataset.state === 'done'")
    assert [each["message"] for each in server.get("/messages", topic="not-json")] == [None]


def test_missing_fields_are_named(open_panel: OpenPanel) -> None:
    page = open_panel()
    publish(page, " ", "1", producer="")
    assert page.text("#publish-topic-error") == "A topic is needed."
    assert page.text("#publish-producer-error") == "A producer is needed."
    page.fill("#subscribe-topics", " , ")
    page.click("#subscribe-send")
    page.wait_for("document.querySelector('#subscribe-error').textContent !== ''")


def test_a_refusal_of_the_server_is_shown(open_panel: OpenPanel) -> None:
    page = open_panel()
    publish(page, "too-large", json.dumps("x" * 1_100_000))
    page.wait_for("document.querySelector('#publish-result').textContent.startsWith('too_large: ')")
    page.fill("#subscribe-topics", " ".join(f"many-{number}" for number in range(1_001)))
    page.click("#subscribe-send")
    page.wait_for("document.querySelector('#subscribe-error').textContent.startsWith('invalid: ')")


def test_big_integers_are_published_and_shown_as_they_are(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "big")
    publish(page, "big", '{"id": 12345678901234567890, "rate": 1.50, "zero": 0}')
    page.wait_for(f"{ITEMS}.length === 1")
    assert '"id": 12345678901234567890' in page.text("#received pre")
    (stored,) = server.get("/messages", topic="big")
    assert stored["message"] == {"id": 12345678901234567890, "rate": 1.5, "zero": 0}
    wait_rows(page, "messages", "12345678901234567890")


def test_a_paused_list_stands_still_and_then_catches_up(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "pausing")
    server.publish("pausing", 1, message_id="1")
    page.wait_for(f"{ITEMS}.length === 1")
    page.click("#received-pause")
    server.publish("pausing", 2, message_id="2")
    page.wait_for("document.querySelector('#received-pause').textContent === 'Go on (1 new)'")
    assert page.evaluate(f"{ITEMS}.length") == 1
    page.click("#received-pause")
    page.wait_for(f"{ITEMS}.length === 2")
    assert page.text("#received .item .sequence") == "#2"


def test_a_flood_leaves_the_newest_messages_in_the_list(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "flood")
    batch = [
        {"topic": "flood", "message_id": str(n), "message": n, "producer": "p"} for n in range(3000)
    ]
    assert server.http.post(f"{server.url}/publish/batch", json=batch, timeout=30).ok
    page.wait_for("document.querySelector('#received-count').textContent === '3,000'")
    page.wait_for("document.querySelector('#received .sequence').textContent === '#3,000'")
    assert page.evaluate(f"{ITEMS}.length") == 200
    assert page.text("#received .item:last-child .sequence") == "#2,801"


def test_older_messages_are_pages_away(open_panel: OpenPanel, server: RunningServer) -> None:
    batch = [
        {"topic": "paged", "message_id": f"page-{n:02}", "message": f"page-{n:02}", "producer": "p"}
        for n in range(40)
    ]
    assert server.http.post(f"{server.url}/publish/batch", json=batch, timeout=30).ok
    page = open_panel()
    wait_rows(page, "messages", "page-39")
    page.click("#messages [data-older]")
    wait_rows(page, "messages", "page-14")
    assert page.evaluate("document.querySelectorAll('#messages tbody tr').length") == 25
    page.click("#messages [data-newest]")
    wait_rows(page, "messages", "page-39")


def test_after_a_crash_of_the_server_the_page_goes_on_without_a_gap(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    subscribe(page, "crash crash-new:*")
    server.publish("crash", 1, message_id="1")
    page.wait_for(f"{ITEMS}.length === 1")
    server.kill()
    page.wait_for("document.querySelector('#connection').dataset.state === 'reconnecting'")
    page.wait_for("document.querySelector('#topics [data-field=error]').textContent !== ''")
    publish(page, "crash", '"written while the server was away"')
    server.start()
    server.publish("crash", 3, message_id="3")
    server.publish("crash-new:1", 4, message_id="4")
    wait_connected(page)
    page.wait_for(f"{ITEMS}.length === 4")
    page.wait_for("document.querySelector('#publish-result').dataset.state === 'done'")
    shown = page.evaluate(
        "[...document.querySelectorAll('#received .item')]"
        ".filter((each) => each.querySelector('.topic').textContent === 'crash')"
        ".map((each) => each.querySelector('.sequence').textContent)"
    )
    assert shown == ["#3", "#2", "#1"]
    page.wait_for("document.querySelector('#topics [data-field=error]').textContent === ''")
    assert page.text("#problems") == ""


def test_publishing_needs_no_mouse(open_panel: OpenPanel) -> None:
    page = open_panel()
    subscribe(page, "panel-keys")
    publish_fields = ["publish-topic", "publish-producer", "publish-id", "publish-format"]
    page.evaluate("document.querySelector('#connection').focus()")
    page.evaluate("document.querySelector('#publish-topic').focus()")
    for field in publish_fields:
        assert page.evaluate("document.activeElement.id") == field
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.press("Tab")
    page.fill("#publish-topic", "panel-keys")
    page.press("Enter", ctrl=True)
    page.wait_for(f"{ITEMS}.length === 1")
    page.evaluate("document.querySelector('#received-clear').focus()")
    for reached in ("received-filter", "topic", "confirm"):
        page.press("Tab")
        assert page.evaluate("document.activeElement.id || document.activeElement.className") == (
            reached
        )
    page.press("Enter")
    page.wait_for("document.querySelector('.item').dataset.state === 'confirmed'")


def test_a_phone_shows_all_without_scrolling_sideways(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    page.resize(360, 740)
    long = "a-name-without-any-break-" * 6
    subscribe(page, long, consumer=long)
    server.publish(long, {"text": "x" * 500}, message_id=long, producer=long)
    page.wait_for(f"{ITEMS}.length === 1")
    page.click("#received [data-confirm]")
    for listing in ("topics", "clients", "messages", "consumptions"):
        wait_rows(page, listing, long)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert beyond_the_phone(page) == []
    page.click("#messages td[data-kind=topic] a")
    page.wait_for("document.querySelectorAll('#topic-messages .entry').length === 1")
    page.click("#topic-messages [data-ledger]")
    page.wait_for("document.querySelectorAll('.ledger tbody tr').length === 1")
    assert beyond_the_phone(page) == []


def test_every_column_of_the_topics_is_in_sight(
    open_panel: OpenPanel, server: RunningServer
) -> None:
    page = open_panel()
    server.publish("columns", 1).raise_for_status()
    wait_rows(page, "topics", "columns")
    for width in (1280, 1600, 3840):
        page.resize(width, 900)
        page.wait_for(f"innerWidth === {width}")
        table = page.evaluate(
            "(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth])"
            "(document.querySelector('#topics .table'))"
        )
        assert table[0] <= table[1], width


def test_every_field_and_button_has_a_name(open_panel: OpenPanel) -> None:
    page = open_panel()
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea, button')].filter((each) =>"
        "!each.labels?.length && !each.textContent.trim() && !each.ariaLabel).length"
    )
    assert nameless == 0
