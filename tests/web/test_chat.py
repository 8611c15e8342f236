"""The chat, used in a real browser against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import Page
from hostile import hostile
from panel import reopen

from server import RunningServer
from system.chatters import PlainChatter, next_said

pytestmark = pytest.mark.browser

HOSTILE = hostile("chat")
SAID = "[...document.querySelectorAll('#lines .said:not(.pending) .said-text')]"
PENDING = "[...document.querySelectorAll('#lines .pending .said-text')]"

OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of this file's own: tests stop it, and the page lists all rooms."""
    with RunningServer(tmp_path_factory.mktemp("chat")) as server:
        yield server


@pytest.fixture
def chat(open_page: OpenPage, server: RunningServer) -> Iterator[Callable[..., Page]]:
    """Opens the chat as a user, in a room, without what was kept in the browser before."""

    def chat(user: str, room: str) -> Page:
        page = open_page("/activity-map.html")
        page.evaluate("(localStorage.clear(), sessionStorage.clear())")
        page.resize(1280, 800)
        page.go(f"{server.url}/chat.html?user={user}#{room}")
        page.wait_for(f"document.querySelector('#people').textContent.includes({json.dumps(user)})")
        return page

    yield chat


@pytest.fixture
def friend(server: RunningServer) -> Iterator[PlainChatter]:
    chatter = PlainChatter(server.url, user="Friend")
    yield chatter
    chatter.close()


def texts(places: str) -> str:
    return f"{places}.map((each) => each.textContent)"


def say(page: Page, text: str) -> None:
    page.fill("#write-text", text)
    page.click("#write button")


def wait_said(page: Page, *wanted: str) -> None:
    expected = json.dumps(wanted, separators=(",", ":"), ensure_ascii=False)
    page.wait_for(f"JSON.stringify({texts(SAID)}) === {json.dumps(expected)}")


def take_name(page: Page, name: str) -> None:
    page.fill("#name-text", name)
    reopen(page, "document.querySelector('#name').requestSubmit()")


def stored(server: RunningServer, room: str) -> list[Any]:
    page = server.get(f"/topics/chat:{room}/messages")
    return [each["message"]["content"] for each in page["messages"]]


def test_two_pages_chat_through_a_restart_of_the_server(
    chat: Callable[..., Page], server: RunningServer
) -> None:
    ann, ben = chat("Ann", "hall"), chat("Ben", "hall")
    ann.wait_for("document.querySelectorAll('#people li').length === 2")
    say(ann, "Hello Ben")
    wait_said(ben, "Hello Ben")
    say(ben, "Hello Ann")
    wait_said(ann, "Hello Ben", "Hello Ann")
    server.kill()
    for page in (ann, ben):
        page.wait_for("!document.querySelector('#lost').hidden")
    for number in (1, 2, 3):
        say(ann, f"while away {number}")
    ann.wait_for(f"{PENDING}.length === 3")
    server.start()
    everything = ["Hello Ben", "Hello Ann", *(f"while away {number}" for number in (1, 2, 3))]
    for page in (ann, ben):
        page.evaluate("document.querySelector('#connection-retry').click()")
        wait_said(page, *everything)
        page.wait_for("document.querySelector('#lost').hidden")
    ann.wait_for(f"{PENDING}.length === 0")
    assert stored(server, "hall") == everything
    say(ben, "and on")
    wait_said(ann, *everything, "and on")


def test_what_waits_survives_a_reload_of_the_page(
    chat: Callable[..., Page], server: RunningServer
) -> None:
    page = chat("Ann", "waiting")
    # As when the answer to it was lost: it waits, and the server has it not.
    page.evaluate(
        "sessionStorage.setItem('pubsub-chat-outbox',"
        ' JSON.stringify({ waiting: [{ id: "kept-1", content: "kept" }] }))'
    )
    for _ in range(2):
        reopen(page, "location.reload()")
        wait_said(page, "kept")
    assert stored(server, "waiting") == ["kept"]


def test_the_past_comes_when_one_scrolls_up(
    chat: Callable[..., Page], server: RunningServer
) -> None:
    for number in range(1, 131):
        server.publish("chat:long", {"content": f"message {number}"}, message_id=f"m{number}")
    page = chat("Ann", "long")
    page.wait_for(f"{SAID}.length === 50")
    assert page.evaluate(f"{SAID}[0].textContent") == "message 81"
    for wanted in (100, 130):
        page.wait_for(
            f"(document.querySelector('#messages').scrollTop = 0, {SAID}.length >= {wanted})"
        )
    assert page.evaluate(f"{SAID}.length") == 130
    assert page.evaluate(f"{SAID}[0].textContent") == "message 1"
    server.publish("chat:long", {"content": "newest"}, message_id="newest")
    page.wait_for("!document.querySelector('#to-end').hidden")
    page.wait_for("document.querySelector('#to-end-text').textContent === '1 new'")
    page.click("#to-end")
    page.wait_for("document.querySelector('#to-end').hidden")


def test_other_rooms_count_what_is_unread(
    chat: Callable[..., Page], server: RunningServer, friend: PlainChatter
) -> None:
    page = chat("Ann", "lobby")
    page.fill("#join-room", "garden")
    page.click("#join button")
    page.wait_for("document.querySelector('#room-name').textContent === 'garden'")
    friend.tell("join", room="lobby")
    for text in ("one", "two"):
        friend.call("message", data={"room": "lobby", "content": text})
    unread = (
        "[...document.querySelectorAll('#rooms li')].find((row) => row.querySelector("
        "'[data-field=room]').textContent === 'lobby').querySelector('[data-field=unread]')"
    )
    page.wait_for(f"{unread}.textContent === '2'")
    page.wait_for("document.title.startsWith('(2) ')")
    page.evaluate("(location.hash = 'lobby', null)")
    wait_said(page, "one", "two")
    page.wait_for(f"{unread}.textContent === ''")
    page.wait_for("!document.title.startsWith('(')")


def test_a_room_is_left_and_found_again_among_the_others(
    chat: Callable[..., Page], friend: PlainChatter
) -> None:
    friend.tell("join", room="den")
    page = chat("Ann", "den")
    page.wait_for("document.querySelectorAll('#people li').length === 2")
    page.click("#rooms li:has([aria-current]) [data-leave]")
    page.wait_for("document.querySelector('#room-name').textContent === 'general'")
    page.wait_for(
        "[...document.querySelectorAll('#other-rooms .room-title')]"
        ".some((each) => each.textContent === 'den')"
    )
    page.click("#other-rooms [data-open]")
    page.wait_for("document.querySelector('#room-name').textContent !== 'general'")


def test_one_sees_who_is_away_and_who_types(
    chat: Callable[..., Page], friend: PlainChatter
) -> None:
    page = chat("Ann", "porch")
    friend.tell("join", room="porch")
    page.wait_for("document.querySelectorAll('#people li').length === 2")
    friend.tell("status", status="away")
    page.wait_for("document.querySelectorAll('#people [data-status=away]').length === 1")
    friend.tell("typing", room="porch")
    page.wait_for("document.querySelector('#typing').textContent === 'Friend is typing…'")
    friend.call("message", data={"room": "porch", "content": "done"})
    page.wait_for("document.querySelector('#typing').textContent === ''")
    page.fill("#write-text", "h")
    while friend.next()[0] != "typing":
        pass
    page.click("#away")
    page.wait_for("document.querySelectorAll('#people [data-status=away]').length === 2")


def test_the_keyboard_is_enough(chat: Callable[..., Page]) -> None:
    page = chat("Ann", "keys")
    page.wait_for("document.activeElement.id === 'write-text'")
    page.fill("#write-text", "by Enter")
    page.press("Enter")
    wait_said(page, "by Enter")


def test_one_takes_another_name(chat: Callable[..., Page], server: RunningServer) -> None:
    page = chat("Ann", "names")
    take_name(page, "system")
    page.wait_for("document.querySelector('#chat-problem').textContent.includes('system')")
    take_name(page, "Zoé")
    page.wait_for(r"/^Zoé#[0-9a-f]{4}$/.test(document.querySelector('#own-name').textContent)")
    say(page, "me again")
    wait_said(page, "me again")
    (message,) = server.get("/topics/chat:names/messages")["messages"]
    assert message["producer"].startswith("Zoé#")


def test_what_is_too_long_is_not_sent(chat: Callable[..., Page]) -> None:
    page = chat("Ann", "long-winded")
    say(page, "é" * 5_121)
    page.wait_for("document.querySelector('#chat-problem').textContent.includes('too long')")
    assert page.evaluate("document.querySelector('#write-text').value.length") == 5_121


def test_hostile_texts_stay_texts(
    chat: Callable[..., Page], server: RunningServer, friend: PlainChatter
) -> None:
    page = chat("Ann", "dark%20alley")
    friend.tell("join", room="dark alley")
    server.publish("chat:dark alley", {"content": HOSTILE}, producer=HOSTILE)
    server.publish(f"chat:{HOSTILE}", {"content": HOSTILE}, producer=HOSTILE)
    wait_said(page, HOSTILE)
    assert next_said(friend)["user"] == HOSTILE
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert page.evaluate("globalThis.hacked === undefined")
    assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0


@pytest.mark.parametrize("pane", ["rooms", "people"])
def test_a_phone_shows_one_part_at_a_time(chat: Callable[..., Page], pane: str) -> None:
    page = chat("Ann", "pocket")
    page.resize(360, 740)
    page.wait_for("innerWidth === 360")
    visible = f"getComputedStyle(document.querySelector('.{pane}-pane')).visibility"
    page.wait_for(f"{visible} === 'hidden'")
    page.click(f"#{pane}-button")
    page.wait_for(f"{visible} === 'visible'")
    assert page.evaluate(f"document.querySelector('#{pane}-button').ariaExpanded") == "true"
    page.click(f"#{pane}-button")
    page.wait_for(f"{visible} === 'hidden'")
