"""How tests use the control panel: what a person does there, in short words."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable

from browser import TIMEOUT, Page

OpenPanel = Callable[..., Page]
ITEMS = "document.querySelectorAll('#received .item')"


def wait_connected(page: Page) -> None:
    page.wait_for("document.querySelector('#connection').dataset.state === 'connected'")


def publish(page: Page, topic: str, message: str, *, producer: str = "p") -> None:
    page.fill("#publish-topic", topic)
    page.fill("#publish-producer", producer)
    page.fill("#publish-message", message)
    page.click("#publish-send")


def subscribe(page: Page, topics: str, *, consumer: str = "c", after: str = "") -> None:
    page.fill("#subscribe-consumer", consumer)
    page.fill("#subscribe-topics", topics)
    page.fill("#subscribe-after", after)
    page.click("#subscribe-send")
    for topic in topics.replace(",", " ").split():
        label = json.dumps(f"Unsubscribe from {topic}")
        page.wait_for(
            f"[...document.querySelectorAll('.chip')].some((chip) => chip.ariaLabel === {label})"
        )


def wait_rows(page: Page, listing: str, *texts: str) -> None:
    """Wait until one row of a table holds all the texts; a long table is searched for the first."""
    if listing in ("topics", "clients"):
        page.fill(f"#{listing} [data-find]", texts[0])
    page.wait_for(
        f"[...document.querySelectorAll('#{listing} tbody tr, #{listing} .virtual-rows > *')]"
        f".some((row) => {json.dumps(texts)}.every((text) => row.textContent.includes(text)))"
    )


def beyond_the_phone(page: Page) -> list[str]:
    """What is not inside of a screen of 360 pixels."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('body *')].map((each) => "
        "[each.getBoundingClientRect(), each.outerHTML.slice(0, 120)])"
        ".filter(([box]) => box.width > 1 && (box.right > 360.5 || box.left < -0.5))"
        ".map(([, html]) => html)"
    )
    return found


def wait_text(page: Page, selector: str, text: str) -> None:
    """Wait until an element's text contains another."""
    page.wait_for(
        f"document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(text)})"
    )


def sequences(page: Page) -> list[str]:
    """The sequences that a topic's page shows, from above."""
    shown: list[str] = page.evaluate(
        "[...document.querySelectorAll('#topic-messages .sequence')]"
        ".map((each) => each.textContent)"
    )
    return shown


def wait_sequences(page: Page, *expected: str) -> None:
    page.wait_for(
        "JSON.stringify([...document.querySelectorAll('#topic-messages .sequence')]"
        f".map((each) => each.textContent)) === JSON.stringify({json.dumps(expected)})"
    )


def reopen(page: Page, change: str, *, ready: Callable[[Page], None] = wait_connected) -> None:
    """Do what opens the page anew, in the same tab, and wait until it is ready."""
    page.evaluate("globalThis.isOld = true")
    page.evaluate(f"void setTimeout(() => {{ {change} }})")
    give_up_at = time.monotonic() + TIMEOUT
    while time.monotonic() < give_up_at:
        with contextlib.suppress(AssertionError):  # the document went away under the question
            if page.evaluate("!globalThis.isOld && document.readyState === 'complete'"):
                ready(page)
                return
    raise AssertionError("the page was not opened anew")
