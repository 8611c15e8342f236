"""The chat over real sockets, with clients of both transports in the same rooms."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from socketio.exceptions import ConnectionError as SocketIORefused
from websockets.exceptions import InvalidStatus

from javascript import installed
from server import ROOT, RunningServer, environment
from system.chatters import (
    Chatter,
    PlainChatter,
    SocketIOChatter,
    joined,
    next_history,
    next_notice,
    next_said,
    next_statuses,
)

HEARTBEAT, OFFLINE = 0.5, 2.0
NODE_PATIENCE = 60.0
KINDS = (PlainChatter, SocketIOChatter)

Come = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("chat")) as running:
        yield running


@pytest.fixture
def come() -> Iterator[Come]:
    """Connects clients, and ends them after the test."""
    here: list[Chatter] = []

    def come(kind: type[Any], server: RunningServer, user: str = "", **query: str) -> Any:
        chatter = kind(server.url, **({"user": user} if user else {}), **query)
        here.append(chatter)
        return chatter

    yield come
    for chatter in here:
        chatter.close()


@pytest.mark.parametrize("kind", KINDS)
def test_two_join_talk_and_leave(server: RunningServer, come: Come, kind: type[Any]) -> None:
    room = f"talk-{kind.__name__}"
    ann = come(kind, server, "ann")
    assert ann.connected["user"] == "ann"
    ann.tell("join", room=room)
    presence = ann.next("presence")
    assert presence["room"] == room
    assert [(each["user"], each["status"]) for each in presence["users"]] == [("ann", "online")]
    notice = ann.next("message")
    assert (notice["user"], notice["content"]) == ("system", "ann joined the room")
    assert notice["sequence"] == 0
    assert ann.next("history") == {"room": room, "messages": []}
    ann.tell("message", data={"room": room, "content": "Good morning"})
    said = ann.next("message")
    assert set(said) == {"id", "room", "user", "content", "sequence", "timestamp"}
    assert (said["user"], said["content"], said["sequence"]) == ("ann", "Good morning", 1)

    ben = come(kind, server, "ben")
    assert joined(ben, room) == [said]
    assert next_notice(ann) == "ben joined the room"
    ben.tell("message", data={"room": room, "content": "Hello"})
    assert next_said(ann) == next_said(ben)
    ben.tell("leave", room=room)
    assert next_notice(ann) == "ben left the room"
    ben.tell("message", data={"room": room, "content": "Can you hear me?"})
    assert ben.next("error")["message"] == "Not subscribed to room"
    ben.close()
    page = server.get(f"/topics/chat:{room}/messages")
    assert [each["message"]["content"] for each in page["messages"]] == ["Good morning", "Hello"]


@pytest.mark.javascript
def test_the_websocket_of_node_joins_talks_and_leaves(
    server: RunningServer, come: Come, pytestconfig: pytest.Config
) -> None:
    folder = installed(ROOT / "tests" / "js-client", pytestconfig.cache.mkdir("javascript"))
    program = ROOT / "tests" / "js-client" / "chat.mjs"
    shutil.copy(program, folder)
    ann = come(SocketIOChatter, server, "ann")
    joined(ann, "node")
    node = subprocess.Popen(
        ["node", program.name, server.url.replace("http", "ws") + "/chat/ws?user=nod", "node"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert next_notice(ann) == "nod joined the room"
        assert next_said(ann)["content"] == "Hello from Node"
        ann.tell("message", data={"room": "node", "content": "Bye"})
        assert next_said(ann)["content"] == "Bye"
        assert next_notice(ann) == "nod left the room"
        output, _ = node.communicate(timeout=NODE_PATIENCE)
    finally:
        node.kill()
    assert node.returncode == 0
    assert json.loads(output) == [
        "connected",
        "presence",
        "message",
        "history",
        "message",
        "message",
    ]


def test_twenty_writers_on_both_transports_see_one_order(server: RunningServer, come: Come) -> None:
    each, total = 250, 5_000
    chatters = [come(KINDS[number % 2], server, f"writer {number}") for number in range(20)]
    for chatter in chatters:
        joined(chatter, "crowd")

    def write(chatter: Chatter) -> None:
        for number in range(each):
            chatter.tell("message", data={"room": "crowd", "content": f"{chatter.user}: {number}"})

    heard: list[list[tuple[int, str]]] = [[] for _ in chatters]

    def listen(chatter: Chatter, told: list[tuple[int, str]]) -> None:
        while len(told) < total:
            said = next_said(chatter)
            told.append((said["sequence"], said["content"]))

    tasks = [threading.Thread(target=write, args=(chatter,)) for chatter in chatters]
    tasks += [
        threading.Thread(target=listen, args=pair) for pair in zip(chatters, heard, strict=True)
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert [sequence for sequence, _ in heard[0]] == list(range(1, total + 1))
    assert all(told == heard[0] for told in heard[1:])
    for chatter in chatters:
        own = [text for _, text in heard[0] if text.startswith(f"{chatter.user}: ")]
        assert own == [f"{chatter.user}: {number}" for number in range(each)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_missed_comes_with_the_next_join(
    server: RunningServer, come: Come, kind: type[Any]
) -> None:
    room = f"missed-{kind.__name__}"
    for number in range(1, 61):
        server.publish(f"chat:{room}", f"{number}", message_id=f"m{number}", producer="ann")
    ben = come(kind, server, "ben")
    assert [each["sequence"] for each in joined(ben, room)] == list(range(11, 61))
    again = come(kind, server, "ben")
    assert [each["sequence"] for each in joined(again, room, last_seq=57)] == [58, 59, 60]


@pytest.mark.parametrize("kind", KINDS)
def test_history_presence_status_typing_and_rooms(
    server: RunningServer, come: Come, kind: type[Any]
) -> None:
    room = f"asked-{kind.__name__}"
    ann, ben = come(kind, server, "ann"), come(kind, server, "ben")
    joined(ann, room)
    joined(ben, room)
    assert next_notice(ann) == "ben joined the room"
    for number in range(1, 4):
        answer = ben.call(
            "message", data={"room": room, "content": f"{number}", "id": f"n{number}"}
        )
        assert answer == {
            "status": "ok",
            "message_id": f"n{number}",
            "sequence": number,
            "timestamp": answer["timestamp"],
            "duplicate": False,
        }
    assert ben.call("message", data={"room": room, "content": "3", "id": "n3"})["duplicate"]
    ben.tell("history", room=room, since=1, limit=1)
    assert [each["id"] for each in next_history(ben)] == ["n2"]
    ben.tell("history", room=room, before=3)
    assert [each["sequence"] for each in next_history(ben)] == [1, 2]
    ben.tell("status", status="away")
    next_statuses(ann, {"ann": "online", "ben": "away"})
    ben.tell("typing", room=room)
    assert ann.next("typing") == {"room": room, "user": "ben"}
    ben.tell("presence", room=room)
    next_statuses(ben, {"ann": "online", "ben": "away"})
    ben.tell("rooms")
    while (told := ben.next())[0] != "rooms":
        pass
    assert {"room": room, "users": 2, "sequence": 3} in told[1]["rooms"]


REFUSED = [
    ({"type": "join"}, "invalid", "Missing required field: room"),
    ({"type": "join", "room": ""}, "invalid", "`room` must not be empty"),
    ({"type": "join", "room": "a*"}, "invalid", "must not contain `*`"),
    ({"type": "join", "room": "x" * 200}, "invalid", "200 at most"),
    ({"type": "join", "room": 5}, "invalid", "`$.room`"),
    ({"type": "join", "room": "r", "last_seq": -1}, "invalid", "`last_seq`"),
    ({"type": "join", "room": "r", "last_seq": "1"}, "invalid", "`$.last_seq`"),
    ({"type": "leave", "room": "elsewhere"}, "forbidden", "Not subscribed to room"),
    ({"type": "typing", "room": "elsewhere"}, "forbidden", "Not subscribed to room"),
    ({"type": "message"}, "invalid", "Missing required field: data"),
    ({"type": "message", "data": {"room": "r"}}, "invalid", "Missing required field: content"),
    ({"type": "message", "data": {"content": "x"}}, "invalid", "Missing required field: room"),
    ({"type": "message", "data": {"room": "r", "content": ""}}, "invalid", "empty"),
    ({"type": "message", "data": {"room": "r", "content": " \n"}}, "invalid", "empty"),
    ({"type": "message", "data": {"room": "r", "content": 1}}, "invalid", "`$.data.content`"),
    (
        {"type": "message", "data": {"room": "r", "content": "x" * 10_241}},
        "too_large",
        "10241 bytes",
    ),
    (
        {"type": "message", "data": {"room": "elsewhere", "content": "x"}},
        "forbidden",
        "Not subscribed to room",
    ),
    ({"type": "history", "room": "r", "limit": 0}, "invalid", "`limit`"),
    ({"type": "history", "room": "r", "since": -1}, "invalid", "`since`"),
    ({"type": "status", "status": "asleep"}, "invalid", "`$.status`"),
    ({"type": "shout"}, "not_found", "Unknown event 'shout'"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_is_an_error_and_the_connection_stays(
    server: RunningServer, come: Come, kind: type[Any]
) -> None:
    ann = come(kind, server, "ann")
    for frame, code, text in REFUSED:
        fields = dict(frame)
        event = str(fields.pop("type"))
        ann.tell(event, **fields)
        error = ann.next("error")
        assert text in error["message"], frame
        assert (error["code"], error["event"]) == (code, event), frame
        answer = ann.call(event, **fields)
        assert (answer["status"], answer["code"]) == ("error", code)
    joined(ann, "r" if kind is PlainChatter else "r2")
    content = "é" * 5_120
    room = "r" if kind is PlainChatter else "r2"
    ann.tell("message", data={"room": room, "content": content})
    assert next_said(ann)["content"] == content


def test_what_is_no_frame_is_an_error_and_the_connection_stays(
    server: RunningServer, come: Come
) -> None:
    ann = come(PlainChatter, server, "ann")
    for text in ("{", "[]", "5", '"join"', "{}", '{"type": 5}', "", '{"type":"join","type":"x"}'):
        ann.client.send_text(text)
        assert ann.next("error")["code"] in ("invalid", "not_found"), text
    ann.client.send_text(b"\x00")
    assert ann.next("error")["code"] == "invalid"
    joined(ann, "still here")


@pytest.mark.parametrize("kind", KINDS)
def test_names(server: RunningServer, come: Come, kind: type[Any]) -> None:
    made_up = come(kind, server).user
    assert made_up.startswith("user_")
    assert int(made_up.removeprefix("user_"), 16) < 16**8
    assert come(kind, server, "Zoë 😀").user == "Zoë 😀"
    first = come(kind, server, "ann", key="secret one")
    again = come(kind, server, "ann", key="secret one")
    other = come(kind, server, "ann", key="secret two")
    assert first.user == again.user != other.user
    assert first.user.startswith("ann#") and other.user.startswith("ann#")
    assert first.connected["clientId"] != again.connected["clientId"]
    for name in ("system", "SYSTEM ", "ｓystem", "a#b", "a\u200bb", "a\nb", "x" * 201):  # noqa: RUF001
        with pytest.raises((InvalidStatus, SocketIORefused)):
            come(kind, server, name)


def test_with_tokens_the_user_is_the_subject_and_rights_are_kept(
    tmp_path: Path, come: Come
) -> None:
    secret = "a-secret-of-exactly-enough-bytes-for-HS256"

    def token(subject: str, **claims: Any) -> str:
        claims = {"sub": subject, "exp": int(time.time()) + 600, **claims}
        return jwt.encode(claims, secret, algorithm="HS256")

    with RunningServer(tmp_path, jwt_secret=secret) as server:
        ann = come(PlainChatter, server, "somebody-else", access_token=token("ann"))
        assert ann.user == "ann"
        joined(ann, "hall")
        ann.tell("message", data={"room": "hall", "content": "hello"})
        assert next_said(ann)["user"] == "ann"
        reader = token("ben", pubsub={"subscribe": ["chat:hall"]})
        ben = come(PlainChatter, server, access_token=reader)
        assert [each["user"] for each in joined(ben, "hall")] == ["ann"]
        assert ben.call("join", room="kitchen")["code"] == "forbidden"
        answer = ben.call("message", data={"room": "hall", "content": "me too"})
        assert answer["code"] == "forbidden"
        with pytest.raises(InvalidStatus):
            come(PlainChatter, server, access_token=token("System"))
        with pytest.raises(InvalidStatus):
            come(PlainChatter, server, "ann")


def test_nobody_writes_as_system(server: RunningServer) -> None:
    for producer in ("system", "System"):
        answer = server.publish("chat:general", {"content": "Obey"}, producer=producer)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert server.publish("elsewhere", 1, producer="system").status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_client_is_offline_and_announced_once(
    tmp_path: Path, come: Come, kind: type[Any]
) -> None:
    with RunningServer(
        tmp_path, chat_heartbeat_seconds=HEARTBEAT, chat_offline_seconds=OFFLINE
    ) as server:
        ann = come(kind, server, "ann")
        joined(ann, "hall")
        dead = come(PlainChatter, server, "ben")
        joined(dead, "hall")
        seen: list[tuple[str, Any]] = []

        def listen(until: Callable[[str, Any], bool]) -> None:
            """Ann answers heartbeats, and so is alive; Ben does not."""
            while True:
                event, data = ann.next()
                seen.append((event, data))
                if event == "heartbeat":
                    ann.tell("heartbeat")
                if until(event, data):
                    return

        def shows(status: str) -> Callable[[str, Any], bool]:
            return lambda event, data: (
                event == "presence"
                and any((each["user"], each["status"]) == ("ben", status) for each in data["users"])
            )

        listen(shows("offline"))
        dead.tell("heartbeat")
        listen(shows("online"))
        # Its machine dies: no goodbye of the WebSocket, and none of TCP but a reset.
        dead.client.socket.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        dead.client.socket.socket.shutdown(socket.SHUT_RDWR)
        listen(shows("offline"))
        ann.tell("message", data={"room": "hall", "content": "the end"})
        listen(lambda event, data: event == "message" and data["content"] == "the end")
        notices = [
            data["content"]
            for event, data in seen
            if event == "message" and data["user"] == "system"
        ]
        assert notices == ["ben joined the room", "ben left the room"]
        last = [data for event, data in seen if event == "presence"][-1]
        assert {each["user"]: each["status"] for each in last["users"]}["ann"] == "online"


def test_a_killed_server_forgets_nothing_and_goes_on_counting(tmp_path: Path, come: Come) -> None:
    with RunningServer(tmp_path) as server:
        writer = come(PlainChatter, server, "ann")
        joined(writer, "hall")
        answers = [
            writer.call("message", data={"room": "hall", "content": f"{number}"})
            for number in range(1, 31)
        ]
        writer.tell("message", data={"room": "hall", "content": "perhaps", "id": "last"})
        server.kill()
        server.start()
        assert [answer["sequence"] for answer in answers] == list(range(1, 31))
        again = come(SocketIOChatter, server, "ann")
        again.tell("join", room="hall", last_seq=28)
        missed = next_history(again)
        assert [each["content"] for each in missed][:2] == ["29", "30"]
        # The one without an answer is sent again, and is there once.
        answer = again.call("message", data={"room": "hall", "content": "perhaps", "id": "last"})
        assert answer["sequence"] == 31
        assert answer["duplicate"] == (len(missed) == 3)
        again.tell("message", data={"room": "hall", "content": "after"})
        page = server.until(
            lambda: (page := server.get("/topics/chat:hall/messages"))["sequence"] == 32 and page
        )
        assert [each["sequence"] for each in page["messages"]] == list(range(1, 33))


def test_the_program_of_the_documentation_answers(server: RunningServer, come: Come) -> None:
    page = (ROOT / "docs" / "chat.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    ann = come(PlainChatter, server, "ann")
    joined(ann, "general")
    echo = subprocess.Popen(
        [sys.executable, "-c", program.replace("localhost:5000", f"127.0.0.1:{server.port}")],
        env=environment(no_proxy="*"),
    )
    try:
        assert next_notice(ann) == "echo joined the room"
        ann.tell("message", data={"room": "general", "content": "echo: hello"})
        assert next_said(ann)["content"] == "echo: hello"
        assert next_said(ann)["content"] == "ann said hello"
    finally:
        echo.kill()
        echo.wait()
    assert next_notice(ann) == "echo left the room"
