from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from loops import (
    BACKENDS,
    PATIENCE,
    STORY_PATIENCE,
    Serving,
    run_on_loop,
    serving,
    until,
    watch_tasks,
)
from python_pubsub_server.config import Settings
from python_pubsub_server.model import Message
from python_pubsub_server.node import Node
from python_pubsub_server.pubsub_ws import create_app
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.transport.sse import COMMENT, EventStreams
from python_pubsub_server.wire import encode, parse_draft
from server import RunningServer

Live = Callable[[Callable[[Runtime], Any]], Any]


@pytest.fixture(params=BACKENDS)
def live(request: pytest.FixtureRequest) -> Live:
    return lambda story: run_on_loop(str(request.param), story)


SECRET = "a secret of thirty-two bytes, or more"


class Event(NamedTuple):
    kind: str
    position: str
    data: Any


class Reader:
    """A client of one stream, that reads it as the standard says. For native threads."""

    def __init__(self, address: tuple[str, int], path: str, last: str | None = None) -> None:
        self.http = http.client.HTTPConnection(*address, timeout=PATIENCE)
        headers = {} if last is None else {"Last-Event-ID": last}
        self.http.request("GET", path, headers=headers)
        self.response = self.http.getresponse()
        self.comments = 0

    def next(self) -> Event:
        fields: dict[str, list[str]] = {}
        while True:
            line = self.response.readline().decode()
            assert line, "the stream ended"
            if line.startswith(":"):
                self.comments += 1
            elif line == "\n":
                if "data" in fields:
                    return Event(
                        fields["event"][0],
                        fields.get("id", [""])[0],
                        json.loads("\n".join(fields["data"])),
                    )
                fields = {}
            else:
                name, _, value = line[:-1].partition(": ")
                fields.setdefault(name, []).append(value)

    def next_comment(self) -> int:
        """Read on until a comment has come; how many there were."""
        before = self.comments
        while self.comments == before:
            line = self.response.readline()
            assert line, "the stream ended"
            self.comments += line.startswith(b":")
        return self.comments

    def ends(self) -> bool:
        with contextlib.suppress(ConnectionResetError):
            while self.response.readline():
                pass
        return True

    def close(self) -> None:
        self.response.close()
        self.http.close()


class House:
    """A whole application and its node, asked from outside."""

    def __init__(self, runtime: Runtime, path: Path, **settings: Any) -> None:
        values: dict[str, Any] = {"durability": "normal", "drain_seconds": 5.0, **settings}
        settings_ = Settings(database_url=f"sqlite:///{path}/log.db", **values)
        self.app = create_app(settings_, runtime)
        self.runtime = runtime
        self.node: Node = self.app.extensions["pubsub"]
        self.served: Serving

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.served.clients.run(function, *args, timeout=STORY_PATIENCE)

    def open(self, topic: str, last: str | None = None, query: str = "") -> Reader:
        path = f"/topics/{topic}/events{query}"
        reader: Reader = self.run(Reader, self.served.address, path, last)
        return reader

    def publish(self, topic: str, *contents: str) -> None:
        for content in contents:
            body = f'{{"topic":"{topic}","message_id":"m","producer":"p","message":{content}}}'
            self.node.journal.write(drafts=(parse_draft(body.encode(), 10**7),))

    def wait_forgotten(self) -> None:
        until(
            self.runtime,
            lambda: not self.node.connections and not self.node.hub.subscription_count(),
        )


@contextlib.contextmanager
def house(runtime: Runtime, path: Path, **settings: Any) -> Iterator[House]:
    here = House(runtime, path, **settings)
    with serving(runtime, here.app) as here.served:
        yield here
        here.node.streams.close("the test is over")
    here.node.close()


def test_messages_come_with_their_place_in_the_log(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            here.publish("t", "1")
            reader = here.open("t")
            assert reader.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            epoch = here.node.epoch
            first = here.run(reader.next)
            assert first.kind == "subscribed"
            assert first.position == f"{epoch}:1"
            assert first.data["topics"] == [
                {"topic": "t", "sequence": 1, "first": 1, "replayed": 0, "recovered": True}
            ]
            here.publish("t", '{"a":"é"}', "null")
            here.publish("other", "0")
            here.publish("t", "3")
            got = [here.run(reader.next) for _ in range(3)]
            assert [event.kind for event in got] == ["message"] * 3
            assert [event.position for event in got] == [f"{epoch}:{n}" for n in (2, 3, 4)]
            assert [event.data["message"] for event in got] == [{"a": "é"}, None, 3]
            assert [event.data["sequence"] for event in got] == [2, 3, 4]
            here.run(reader.close)
            here.wait_forgotten()

    live(story)


@pytest.mark.parametrize("by_header", [True, False])
def test_what_was_missed_comes_first(live: Live, tmp_path: Path, by_header: bool) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            here.publish("t", *map(str, range(1, 6)))
            last = f"{here.node.epoch}:2"
            reader = (
                here.open("t", last) if by_header else here.open("t", "", f"?last_event_id={last}")
            )
            first = here.run(reader.next)
            assert (first.kind, first.position) == ("subscribed", last)
            here.publish("t", "6")
            got = [here.run(reader.next) for _ in range(4)]
            assert [event.data["sequence"] for event in got] == [3, 4, 5, 6]
            assert [event.data.get("replayed", False) for event in got] == [True] * 3 + [False]
            here.run(reader.close)

    live(story)


def test_what_cannot_be_resumed_is_said(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path, replay_limit=2) as here:
            here.publish("t", *map(str, range(1, 6)))
            epoch = here.node.epoch
            for last, recovered, position, replayed in (
                (f"{epoch}:3", True, 3, 2),
                (f"{epoch}:1", False, 3, 2),
                ("another-log:5", False, 3, 2),
                (f"{epoch}:99", False, 5, 0),
                ("4", True, 4, 1),
            ):
                reader = here.open("t", last)
                first = here.run(reader.next)
                (topic,) = first.data["topics"]
                assert (topic["recovered"], topic["replayed"]) == (recovered, replayed), last
                assert first.position == f"{epoch}:{position}"
                for sequence in range(position + 1, 6):
                    assert here.run(reader.next).data["sequence"] == sequence
                here.run(reader.close)

    live(story)


def test_the_header_counts_more_than_the_address(live: Live, tmp_path: Path) -> None:
    """A browser that comes again asks with the address of its first time."""

    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            here.publish("t", "1", "2", "3")
            reader = here.open("t", f"{here.node.epoch}:2", "?last_event_id=0")
            assert here.run(reader.next).data["topics"][0]["replayed"] == 1
            here.run(reader.close)

    live(story)


def test_a_long_replay_meets_what_is_new_without_a_seam(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            drafts = tuple(
                parse_draft(encode({"topic": "t", "message_id": f"{n}", "message": n,
                                    "producer": "p"}), 10**6)
                for n in range(1_800)
            )  # fmt: skip
            here.node.journal.write(drafts=drafts[:1_500])
            reader = here.open("t", "0")
            assert here.run(reader.next).data["topics"][0]["replayed"] == 1_500
            for start in range(1_500, 1_800, 50):
                here.node.journal.write(drafts=drafts[start : start + 50])
            got = here.run(lambda: [reader.next().data["sequence"] for _ in range(1_800)])
            assert got == list(range(1, 1_801))
            here.run(reader.close)

    live(story)


def test_comments_come_by_the_clock(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        streams = EventStreams(
            runtime, "e", outbound_bytes=1_000, on_slow=lambda _: None, comment_seconds=0.02
        )

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            streams.stream(environ).send(Broadcast("message", [b'{"sequence":1}']))
            return []

        with serving(runtime, app) as served:
            reader = served.clients.run(Reader, served.address, "/", timeout=PATIENCE)
            comments = served.clients.run(
                lambda: [reader.next_comment() for _ in range(3)], timeout=10
            )
            assert comments == [1, 2, 3]
            served.clients.run(reader.close, timeout=PATIENCE)
            until(runtime, lambda: len(streams) == 0)
            streams.close("")

    live(story)


def test_who_does_not_read_is_closed_as_slow(
    live: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path, outbound_bytes=200_000) as here:
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(here.served.address)
            lazy.sendall(b"GET /topics/t/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"subscribed" in here.run(lambda: lazy.recv(1_000) + lazy.recv(1_000))
            (client,) = here.node.connections.values()
            for number in range(400):
                if not here.node.connections:
                    break
                here.publish("t", f'"{number:05}' + "x" * 50_000 + '"')
                assert client.connection.backlog <= 200_000
                runtime.sleep(0)
            here.wait_forgotten()
            assert client.connection.stalled_at is not None
            assert caplog.text.count("closed_as_slow") == 1
            lazy.close()

    with caplog.at_level("WARNING", logger="pubsub"):
        live(story)


def test_a_replay_waits_for_who_reads_slowly(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path, outbound_bytes=200_000) as here:
            for n in range(100):
                here.publish("t", '"' + f"{n:05}" * 10_000 + '"')
            reader = here.open("t", "0")
            got = here.run(lambda: [reader.next() for _ in range(101)])
            assert [event.data["sequence"] for event in got[1:]] == list(range(1, 101))
            here.run(reader.close)

    live(story)


def test_hundreds_come_and_go_and_leave_nothing_behind(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:

            def visit(count: int) -> None:
                for number in range(count):
                    reader = Reader(here.served.address, "/topics/t/events")
                    if number % 2:
                        reader.next()
                    reader.close()

            for _ in range(4):
                here.run(visit, 50)
            here.wait_forgotten()
            assert len(here.node.streams) == 0
            assert here.node.hub._subscribers == {}

    live(story)


def test_an_idle_stream_costs_no_task(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            spawned = watch_tasks(runtime)
            readers = [here.open("t", "0") for _ in range(20)]
            for reader in readers:
                here.run(reader.next)
            assert spawned and all(task.wait(PATIENCE) for task in spawned)
            here.publish("t", "1")
            for reader in readers:
                assert here.run(reader.next).data["sequence"] == 1
                here.run(reader.close)

    live(story)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/topics/a*/events", 400),
        ("GET", "/topics/t/events?limit=1", 400),
        ("GET", "/topics/t/events?last_event_id=x", 400),
        ("GET", "/topics/t/events?last_event_id=e:", 400),
        ("GET", "/topics/t/events?last_event_id=e:-1", 400),
        ("GET", "/topics/" + "x" * 201 + "/events", 400),
        ("POST", "/topics/t/events", 405),
        ("HEAD", "/topics/t/events", 200),
    ],
)
def test_what_is_wrong_is_an_error_in_json(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    def story(runtime: Runtime) -> tuple[int, bytes]:
        with house(runtime, tmp_path) as here:

            def ask() -> tuple[int, bytes]:
                client = http.client.HTTPConnection(*here.served.address, timeout=PATIENCE)
                client.request(method, path)
                response = client.getresponse()
                answer = response.status, response.read()
                client.close()
                return answer

            answer: tuple[int, bytes] = here.run(ask)
            assert not here.node.connections
            return answer

    got, body = run_on_loop("eventlet", story)
    assert got == status
    if method != "HEAD":
        assert json.loads(body)["status"] == "error"


def test_a_refusal_by_the_rules_is_still_an_answer(tmp_path: Path) -> None:
    """The response begins with the first event, so until then it can be an error."""

    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            here.node.readers.close(PATIENCE)

            def ask() -> int:
                client = http.client.HTTPConnection(*here.served.address, timeout=PATIENCE)
                client.request("GET", "/topics/t/events?last_event_id=0")
                response = client.getresponse()
                assert json.loads(response.read())["status"] == "error"
                client.close()
                return response.status

            assert here.run(ask) == 503
            here.wait_forgotten()

    run_on_loop("eventlet", story)


def test_a_stream_ends_with_its_token(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path, jwt_secret=SECRET) as here:

            def token(**claims: Any) -> str:
                rights = {"subscribe": ["t"]}
                return jwt.encode({"sub": "ann", "pubsub": rights, **claims}, SECRET, "HS256")

            short = token(exp=time.time() + 1)
            reader = here.open("t", query=f"?access_token={short}")
            assert here.run(reader.next).kind == "subscribed"
            last = here.run(reader.next)
            assert (last.kind, last.position) == ("error", "")
            assert last.data["code"] == "token_expired"
            assert here.run(reader.ends)
            here.run(reader.close)
            here.wait_forgotten()
            assert len(here.node.sessions) == 0
            for topic, query, status in (
                ("secret", f"?access_token={token(exp=time.time() + 99)}", 403),
                ("t", "", 401),
            ):
                refused = here.open(topic, query=query)
                assert refused.response.status == status
                here.run(refused.close)

    live(story)


def test_the_last_field_of_a_message_is_its_sequence() -> None:
    streams = EventStreams(None, "e", outbound_bytes=1, on_slow=print)  # type: ignore[arg-type]
    content = b'{"sequence":7,"text":"\\"sequence\\":8",\r\n"more":\n[1]}'
    draft = parse_draft(
        b'{"topic":"t","message_id":"\\"sequence\\":9","producer":"p","message":%b}' % content, 999
    )
    message = Message(draft.topic, draft.message_id, draft.message, "p", 1.5, 42)
    made = streams.form(Broadcast("message", [encode(message)])).decode()
    assert made.startswith("id: e:42\nevent: message\ndata: ")
    assert made.endswith("\n\n") and "\r" not in made
    data = [line.removeprefix("data: ") for line in made.splitlines() if line.startswith("data")]
    assert len(data) == 3
    assert json.loads("\n".join(data)) == json.loads(encode(message))


def test_a_comment_is_one() -> None:
    assert COMMENT.startswith(b":") and COMMENT.endswith(b"\n\n")


def test_a_stop_ends_the_streams(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        reader = Reader(("127.0.0.1", server.port), "/topics/t/events")
        reader.next()
        assert server.stop() == 0
        assert reader.ends()
        reader.close()
        assert "Traceback" not in server.log
