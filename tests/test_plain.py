from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from loops import BACKENDS, PATIENCE, STORY_PATIENCE, Serving, run_on_loop, serving, watch_tasks
from python_pubsub_server import pubsub_ws
from python_pubsub_server.config import Settings
from python_pubsub_server.errors import Forbidden, RequestError
from python_pubsub_server.namespaces import WEBSOCKETS, main, plain
from python_pubsub_server.namespaces.namespace import Namespace
from python_pubsub_server.namespaces.session import Session
from python_pubsub_server.node import Node
from python_pubsub_server.pubsub_ws import create_app
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.transport.plain import PlainWebSockets, merged, wrapped
from system.plain import PlainClient

Live = Callable[[Callable[[Runtime], Any]], Any]


@pytest.fixture(params=BACKENDS)
def live(request: pytest.FixtureRequest) -> Live:
    return lambda story: run_on_loop(str(request.param), story)


class Diary:
    """What a door's namespace was told, in order."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.entries: list[Any] = []
        self.over = runtime.event()
        self.is_kept = runtime.event()
        self.gate = runtime.event()
        self.gate.set()
        self.sessions: list[Session] = []

    def connect(self, node: Node, session: Session, environ: dict[str, Any]) -> None:
        if "refuse" in environ["QUERY_STRING"]:
            raise Forbidden("not you")
        session.state = environ["QUERY_STRING"]

    def opened(self, node: Node, session: Session) -> None:
        self.sessions.append(session)
        session.emit("connected", b'{"data":{"user":"ann"}}')
        self.runtime.sleep(0.01)  # what the client sends meanwhile must wait
        self.entries.append(("opened", session.state))

    def note(self, node: Node, session: Session, body: bytes, ack_id: Any) -> None:
        self.gate.wait(20)
        self.entries.append(json.loads(body)["number"])
        self.runtime.sleep(0)
        session.acknowledge(ack_id, b'{"status":"ok"}')

    def fail(self, node: Node, session: Session, body: bytes, ack_id: Any) -> None:
        raise RuntimeError("a defect")

    def disconnect(self, node: Node, session: Session) -> None:
        self.entries.append("closed")
        self.over.set()

    def namespace(self) -> Namespace:
        events = {"note": self.note, "fail": self.fail}
        return Namespace(events, self.disconnect, self.connect, self.opened)


class House:
    """A whole application whose only special thing is the door `/diary`."""

    def __init__(self, runtime: Runtime, path: Path, options: dict[str, Any]) -> None:
        settings = Settings(database_url=f"sqlite:///{path}/log.db", drain_seconds=5.0)
        self.app = create_app(settings, runtime)
        self.node: Node = self.app.extensions["pubsub"]
        self.slow: list[str] = []
        self.sockets = PlainWebSockets(
            runtime,
            **{
                "max_size": 10_000,
                "outbound_bytes": 100_000,
                "on_slow": self.slow.append,
                **options,
            },
        )
        self.diary = Diary(runtime)
        table = {"/diary": plain.Door(self.diary.namespace(), merged), **WEBSOCKETS}
        doors = plain.doors(self.node, self.sockets, table)
        self.app.wsgi_app = pubsub_ws.Entrance(self.app.wsgi_app, self.node, doors)  # type: ignore[method-assign]
        self.served: Serving

    def run(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return self.served.clients.run(lambda: function(*args, **more), timeout=STORY_PATIENCE)

    def connect(self, path: str = "/diary", **options: Any) -> PlainClient:
        host, port = self.served.address
        client: PlainClient = self.run(PlainClient, f"http://{host}:{port}", path, **options)
        return client


@contextlib.contextmanager
def house(runtime: Runtime, path: Path, **options: Any) -> Iterator[House]:
    here = House(runtime, path, options)
    with serving(runtime, here.app) as here.served:
        yield here
        here.sockets.shutdown(2)
    here.node.close()


def test_a_frame_is_made_once_for_all() -> None:
    broadcast = Broadcast("message", [b'{"a":1}', b'{"b":2}'])
    first = '{"type":"message","data":{"a":1}}'
    assert broadcast.form(wrapped)[2 : 2 + len(first)].decode() == first
    assert broadcast.form(wrapped) is broadcast.form(wrapped)
    flat = '{"type":"message","a":1}'
    assert broadcast.form(merged)[2 : 2 + len(flat)].decode() == flat


def test_a_namespace_is_told_in_order(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            client = here.connect("/diary?user=ann")
            for number in range(50):
                here.run(client.send, {"type": "note", "number": number})
            here.run(client.send, {"type": "fail"})
            assert here.run(client.next) == {"type": "connected", "data": {"user": "ann"}}
            error = here.run(client.next)
            assert (error["type"], error["code"], error["event"]) == (
                *("error", "unavailable", "fail"),
            )
            assert here.run(client.call, "note", number=50) == {"status": "ok"}
            assert len(here.node.connections) == len(here.sockets) == 1
            here.run(client.socket.close)
            assert here.diary.over.wait(PATIENCE)
            assert here.diary.entries == [("opened", "user=ann"), *range(51), "closed"]
            assert len(here.node.connections) == len(here.sockets) == 0

    live(story)


def test_who_is_refused_gets_an_answer_and_leaves_nothing(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            with pytest.raises(InvalidStatus) as refused:
                here.connect("/diary?refuse")
            assert refused.value.response.status_code == 403
            assert json.loads(refused.value.response.body)["message"] == "not you"
            assert len(here.sockets) == 0
            assert here.diary.entries == []

    live(story)


def test_who_does_not_answer_pings_is_dropped(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path, ping_interval=0.05, ping_timeout=0.3) as here:
            alive = here.connect()
            dead = here.connect()
            dead.socket.protocol.receive_data = lambda data: None  # it reads, and does nothing
            assert here.diary.over.wait(PATIENCE)
            assert here.diary.entries.count("closed") == 1
            here.run(alive.next)
            assert here.run(alive.call, "note", number=1) == {"status": "ok"}
            here.run(alive.socket.close)
            dead.socket.socket.close()

    live(story)


def test_who_is_not_read_from_is_not_blamed_for_silence(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            here.diary.gate.clear()
            client = here.connect()
            (session,) = here.diary.sessions
            flood = [{"type": "note", "number": number} for number in range(300)]
            here.run(lambda: [client.send(frame) for frame in flood])
            for _ in range(2_000):
                if not session.connection.is_listening:
                    break
                runtime.sleep(0.005)
            session.connection.expire()
            here.diary.gate.set()
            assert here.run(client.call, "note", number=300) == {"status": "ok"}
            assert here.diary.entries[1:] == list(range(301))
            here.run(client.socket.close)

    live(story)


def test_who_does_not_read_is_closed_as_slow(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            client = here.connect(max_queue=1)
            (session,) = here.diary.sessions
            connection = session.connection
            for _ in range(2_000):
                connection.emit("filling", b'{"x":"%b"}' % (b"x" * 10_000))
                assert connection.backlog <= 120_000
            assert here.diary.over.wait(PATIENCE)
            assert here.slow == [connection.connection_id]
            assert connection.stalled_at is not None
            with pytest.raises(ConnectionClosed):
                here.run(lambda: [client.next() for _ in range(2_000)])

    live(story)


def test_shutdown_cuts_off_who_does_not_answer(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            client = here.connect()
            client.socket.protocol.receive_data = lambda data: None
            assert not here.sockets.shutdown(0.2)
            assert len(here.sockets) == 0
            assert here.diary.entries[-1] == "closed"

    live(story)


def test_an_idle_connection_costs_no_task(live: Live, tmp_path: Path) -> None:
    def story(runtime: Runtime) -> None:
        with house(runtime, tmp_path) as here:
            spawned = watch_tasks(runtime)
            clients = [here.connect("/ws") for _ in range(20)]
            for client in clients:
                assert here.run(client.call, "subscribe", channel="t")["status"] == "ok"
            assert all(task.wait(PATIENCE) for task in spawned)
            for client in clients:
                here.run(client.socket.close)

    live(story)


@pytest.mark.parametrize(
    ("body", "event", "ack_id"),
    [
        (b'{"type":"x"}', "x", None),
        (b'{"id": 5, "type": "x", "other": [1]}', "x", b"5"),
        (b'{"id":"a","type":"x"}', "x", b'"a"'),
        (b'{"id":null,"type":"x"}', "x", None),
        (b'{"id":5}', None, b"5"),
        (b'{"id":5,"type":[]}', None, b"5"),
    ],
)
def test_a_frame_is_read(body: bytes, event: str | None, ack_id: bytes | None) -> None:
    assert plain.read_frame(body) == plain.Frame(event, ack_id)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'"x"', b'{"type":"x"', b"\xff", b"nul"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        plain.read_frame(body)


def test_the_same_events_are_served_as_on_the_namespace() -> None:
    assert WEBSOCKETS["/ws"].namespace.events is main.EVENTS
