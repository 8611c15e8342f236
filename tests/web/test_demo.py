"""The demo page: what one user does shows where it should, and only there, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from browser import Browser, Page

from server import RunningServer

pytestmark = pytest.mark.browser

SECRET = "a secret that only these tests know, 32 bytes"
RIGHTS = {"publish": ["notifications:*", "resource:updates:*"]}
CONNECTED = "document.querySelector('#connection').dataset.state === 'connected'"
FOREIGN = "main :is(script, iframe, object, embed, img, style, [onerror], [onload], [onmouseover])"
HOSTILE = (
    "\"></textarea><img src=x onerror=globalThis.hacked=1>'<script>globalThis.hacked=2</script>"
)


def token_of(user: str, seconds: float, **claims: Any) -> str:
    now = time.time()
    payload = {"sub": user, "iat": now, "exp": now + seconds, "pubsub": RIGHTS, **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256")


def send(page: Page, user: str, title: str) -> None:
    page.fill("#notify-user", user)
    page.fill("#notify-title", title)
    page.evaluate("document.querySelector('#notify').requestSubmit()")


def titles(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('.bell-item [data-field=title]')].map((e) => e.textContent)"
    )
    return found


def wait_for_title(page: Page, title: str) -> None:
    page.wait_for(f"document.querySelector('#bell-list').textContent.includes('{title}')")


def vote(page: Page) -> None:
    page.click("#poll li:first-child [data-value='1']")


def wait_for_score(page: Page, score: str) -> None:
    shown = "document.querySelector('#poll li:first-child [data-field=score]').textContent"
    page.wait_for(f"{shown} === '{score}'")


def wait_for_text(page: Page, text: str) -> None:
    page.wait_for(f"document.querySelector('#document-text').value === '{text}'")


def wait_for_name(page: Page, name: str) -> None:
    """Wait until the page knows its user; it may be about to be opened anew for that."""
    shown = f"document.querySelector('#own-name').textContent === '{name}'"
    try:
        page.wait_for(shown)
    except AssertionError as error:
        if "navigated" not in str(error):
            raise
        page.wait_for(shown)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path, jwt_secret=SECRET) as server:
        server.http.headers["Authorization"] = (
            f"Bearer {token_of('root', 600, pubsub={'admin': True})}"
        )
        yield server


@pytest.fixture
def sign_in(browser: Browser, guarded: RunningServer) -> Iterator[Callable[..., Page]]:
    """Opens the demo in a tab of a user's own; afterwards no page may have thrown anything."""
    pages: list[Page] = []

    def sign_in(user: str, document: str, token: str, *newer: str) -> Page:
        page = browser.page()
        pages.append(page)
        page.go(guarded.url + "/static/favicon.svg")
        keep_token(page, token)
        page.go(guarded.url + "/demo.html#" + document)
        wait_for_name(page, user)
        for each in newer:
            renew(page, each)
        return page

    yield sign_in
    expected = ("ERR_CONNECTION", "(FORBIDDEN)", "/favicon.ico")  # a crash, a refusal, a bare file
    errors = [error for page in pages for error in page.errors()]
    for page in pages:
        page.close()
    assert [error for error in errors if not any(each in error for each in expected)] == []


def renew(page: Page, token: str) -> None:
    """Give a page another token of its user, by hand."""
    page.evaluate(
        "{ const box = document.querySelector('#sign-in');"
        " if (box.hidden) document.querySelector('#account').click(); }"
    )
    page.fill("#sign-in-token", token)
    page.evaluate("document.querySelector('#sign-in-form').requestSubmit()")
    page.wait_for("document.querySelector('#sign-in').hidden")


def keep_token(page: Page, token: str) -> None:
    page.evaluate(f"sessionStorage.setItem('pubsub-token', '{token}')")


def connections(server: RunningServer) -> set[str]:
    return {each["connection_id"] for each in server.get("/monitoring/clients")}


def test_each_sees_what_concerns_it_through_new_tokens_and_a_crash(
    guarded: RunningServer, sign_in: Callable[..., Page]
) -> None:
    ann, ann_elsewhere, bob = (
        sign_in(user, document, token_of(user, 20), token_of(user, 600))
        for user, document in (("ann", "shared"), ("ann", "other"), ("bob", "shared"))
    )
    ends_at = time.time() + 20
    here = connections(guarded)
    assert len(here) == 3

    def check(when: str, score: str, voter: Page) -> None:
        send(bob, "ann", f"for ann {when}")
        for page in (ann, ann_elsewhere):
            wait_for_title(page, f"for ann {when}")
        bob.fill("#document-text", f"written {when}")
        wait_for_text(ann, f"written {when}")
        vote(voter)
        for page in (ann, ann_elsewhere, bob):
            wait_for_score(page, score)
        # The vote came after the rest, on the same connections.
        assert titles(bob) == []
        assert ann_elsewhere.evaluate("document.querySelector('#document-text').value") == ""

    check("at first", "+1", ann)
    assert titles(ann) == titles(ann_elsewhere) == ["for ann at first"]
    ann.wait_for(f"Date.now() > {ends_at + 1} * 1000")
    check("with a new token", "+2", bob)
    assert connections(guarded) == here, "no connection was lost with its first token"
    guarded.kill()
    for page in (ann, ann_elsewhere, bob):
        page.wait_for(f"!({CONNECTED})")
    guarded.start()
    for page in (ann, ann_elsewhere, bob):
        page.wait_for(CONNECTED)
    check("after a crash", "+1", ann)
    expected = ["for ann after a crash", "for ann with a new token", "for ann at first"]
    assert titles(ann) == titles(ann_elsewhere) == expected


def test_what_is_read_in_one_tab_is_read_in_the_other(
    guarded: RunningServer, sign_in: Callable[..., Page]
) -> None:
    ann, elsewhere = (sign_in("ann", "d", token_of("ann", 600)) for _ in range(2))
    send(ann, "ann", "once")
    for page in (ann, elsewhere):
        page.wait_for("document.querySelector('#bell-count').textContent === '1'")
    ann.click("button[data-read]")
    for page in (ann, elsewhere):
        page.wait_for("document.querySelector('#bell-count').textContent === ''")
    assert guarded.http.get(
        guarded.url + "/api/notifications/count",
        headers={"Authorization": f"Bearer {token_of('ann', 60)}"},
        timeout=30,
    ).json() == {"unread": 0}


def test_a_user_is_told_what_it_may_not(sign_in: Callable[..., Page]) -> None:
    ann = sign_in("ann", "d", token_of("ann", 600, pubsub={"publish": []}))
    send(ann, "bob", "not allowed")
    ann.wait_for("document.querySelector('#notify-problem').textContent")


def test_without_authentication_one_picks_a_name(
    open_page: Callable[[str], Page], server: RunningServer
) -> None:
    ann = open_page("/demo.html#names")
    ann.wait_for("document.querySelector('#own-name').textContent.startsWith('user_')")
    ann.fill("#name-text", "Ann Ö")
    ann.evaluate("document.querySelector('#name').requestSubmit()")
    wait_for_name(ann, "Ann Ö")
    bob = open_page("/demo.html?user=bob#names")
    wait_for_name(bob, "bob")
    send(bob, "Ann Ö", "hello")
    wait_for_title(ann, "hello")
    assert titles(bob) == []
    bob.fill("#document-text", "from bob")
    wait_for_text(ann, "from bob")
    assert "bob" in ann.text("#document-by")
    late = open_page("/demo.html?user=carl#names")
    wait_for_text(late, "from bob")


def test_nothing_that_is_sent_becomes_markup(
    open_page: Callable[[str], Page], server: RunningServer
) -> None:
    resource = HOSTILE.replace("/", "-")
    page = open_page(f"/demo.html?user={quote(HOSTILE)}#{quote(resource)}")
    wait_for_name(page, HOSTILE.replace("'", "\\'"))
    notification = {"user_id": HOSTILE, "title": HOSTILE, "body": HOSTILE, "data": HOSTILE}
    answer = server.http.post(server.url + "/api/notifications", json=notification, timeout=30)
    assert answer.status_code == 201, answer.text
    update = {"text": HOSTILE, "by": HOSTILE, "resource_id": resource}
    server.publish(f"resource:updates:{resource}", update).raise_for_status()
    tally = {"suggestion_id": "demo-tea", "score": HOSTILE, "up": HOSTILE, "down": HOSTILE}
    server.publish("suggestions:votes", tally).raise_for_status()
    for content in (None, [], "x", {"title": {"toString": 1}}, {"text": 5}):
        for topic in (f"notifications:{HOSTILE}", f"resource:updates:{resource}"):
            server.publish(topic, content, message_id=repr(content)).raise_for_status()
    page.wait_for("document.querySelector('#bell-list').textContent.includes('onerror')")
    page.wait_for("document.querySelector('#document-by').textContent.includes('onerror')")
    assert "onerror" not in page.text("#poll")
    assert page.evaluate(f'document.querySelectorAll("{FOREIGN}").length') == 0
    assert page.evaluate("globalThis.hacked ?? null") is None
