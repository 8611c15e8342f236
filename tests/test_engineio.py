from __future__ import annotations

import contextlib
import gc
import http.client
import importlib.metadata
import inspect
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import engineio.base_socket
import engineio.server
import engineio.socket
import flask
import flask_socketio
import msgspec
import psutil
import pytest
import socketio
import websocket as websocket_client

from loops import BACKENDS, PATIENCE, STORY_PATIENCE, Serving, run_on_loop, serving
from python_pubsub_server.runtime import Runtime, Timer
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.transport.engineio import (
    BINARY,
    MALFORMED,
    SocketIOServer,
    build_socketio,
    connection_for,
    shutdown,
    sockets,
)
from python_pubsub_server.transport.engineio.carriers import UPGRADE_SECONDS
from python_pubsub_server.transport.engineio.packets import Packet
from python_pubsub_server.transport.engineio.sockets import Socket

Live = Callable[[Callable[[Runtime], Any]], Any]

TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])
ORIGIN = "http://allowed.example"
WEBSOCKET_PATH = "/socket.io/?EIO=4&transport=websocket"
POLLING_PATH = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(params=BACKENDS)
def live(request: pytest.FixtureRequest) -> Live:
    return lambda story: run_on_loop(str(request.param), story)


# What an upgrade of the libraries must not change unseen


def test_the_libraries_are_the_ones_this_was_written_for() -> None:
    versions = {
        name: importlib.metadata.version(name)
        for name in ("python-engineio", "python-socketio", "Flask-SocketIO")
    }
    assert versions == {
        "python-engineio": "4.15.1",
        "python-socketio": "5.18.1",
        "Flask-SocketIO": "5.7.0",
    }, "read transport/engineio again with the new version beside it, then change this test"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            engineio.server.Server._handle_connect,
            "self environ start_response transport jsonp_index",
        ),
        (engineio.server.Server._trigger_event, "self event args kwargs"),
        (engineio.server.Server._ok, "self packets headers jsonp_index"),
        (engineio.server.Server._bad_request, "self message"),
        (engineio.server.Server._unauthorized, "self message"),
        (engineio.server.Server.create_queue, "self args kwargs"),
        (engineio.socket.Socket.poll, "self"),
        (engineio.socket.Socket.send, "self pkt"),
        (engineio.socket.Socket.receive, "self pkt"),
        (engineio.socket.Socket.close, "self wait abort reason"),
        (engineio.socket.Socket.handle_get_request, "self environ start_response"),
        (engineio.socket.Socket.handle_post_request, "self environ"),
        (engineio.socket.Socket._upgrade_websocket, "self environ start_response"),
        (socketio.Server._engineio_server_class, "self"),
        (socketio.Server._handle_eio_connect, "self eio_sid environ"),
        (socketio.Server._handle_connect, "self eio_sid namespace data"),
        (socketio.Server._handle_eio_message, "self eio_sid data"),
        (socketio.Server._trigger_event, "self event namespace args"),
        (socketio.Server._handle_event, "self eio_sid namespace id data"),
        (socketio.Manager.basic_enter_room, "self sid namespace room eio_sid"),
        (socketio.Manager.basic_leave_room, "self sid namespace room"),
        (socketio.Manager.basic_disconnect, "self sid namespace kwargs"),
        (socketio.Manager.get_participants, "self namespace room"),
        (socketio.packet.Packet.decode, "self encoded_packet"),
        (socketio.packet.Packet.add_attachment, "self attachment"),
    ],
)
def test_what_is_overridden_or_called_still_takes_the_same(
    function: Callable[..., Any], parameters: str
) -> None:
    assert " ".join(inspect.signature(function).parameters) == parameters


def test_sockets_have_what_the_stock_ones_have() -> None:
    class Stub:
        def create_queue(self) -> queue.Queue[Any]:
            return queue.Queue()

    stock = set(vars(engineio.base_socket.BaseSocket(Stub(), "id")))
    ours = set(vars(Socket(Stub(), "id")))  # type: ignore[arg-type]
    assert stock <= ours
    assert ours - stock == {
        "ending",
        "fetched",
        "joined",
        "polled_at",
        "queued_bytes",
        "refusals",
        "stalled_at",
        "incoming",
        "received",
        "websocket",
    }


# The codec


@pytest.mark.parametrize(
    ("text", "namespace", "data"),
    [
        ('2["a"]', None, ["a", None]),
        ('2["a",1,"b",{"c":[null]}]', None, ["a", b"1", b'"b"', b'{"c":[null]}', None]),
        ('2/chat,17["a",{}]', "/chat", ["a", b"{}", 17]),
        ('2["big",123456789012345678901234567890]', None,
         ["big", b"123456789012345678901234567890", None]),
        ('50-["a",1]', None, ["a", b"1", None]),
    ],
)  # fmt: skip
def test_event_arguments_stay_json(text: str, namespace: str | None, data: list[Any]) -> None:
    packet = Packet(encoded_packet=text)
    assert packet.namespace == namespace
    assert packet.id is None
    assert [bytes(each) if isinstance(each, msgspec.Raw) else each for each in packet.data] == data


@pytest.mark.parametrize(
    "body",
    ["", "[", "[]", "{}", "null", "[1]", "[null]", '["a"', '["a",]', '["connect"]',
     '["disconnect","x"]', '["*","x"]', '["$binary"]', "[[]]", '["a",1 2]', '"a"', '["\\ud800"]'],
)  # fmt: skip
def test_a_malformed_event_is_an_event_that_says_so(body: str) -> None:
    packet = Packet(encoded_packet="2/x,5" + body)
    name, explanation, ack_id = packet.data
    assert (name, ack_id) == (MALFORMED, 5)
    assert isinstance(msgspec.json.decode(explanation), str)


def test_a_binary_event_is_counted_and_forgotten() -> None:
    packet = Packet(encoded_packet='52-/x,7["a",{"_placeholder":true,"num":0}]')
    assert packet.attachment_count == 2
    assert not packet.add_attachment(b"x" * 1000)
    assert packet.add_attachment(b"y")
    name, explanation, ack_id = packet.data
    assert (name, msgspec.json.decode(explanation), ack_id) == (
        BINARY,
        "binary data is not JSON",
        7,
    )
    assert not packet.attachments


@pytest.mark.parametrize(
    ("text", "data"),
    [('0{"token":"x"}', {"token": "x"}), ("0", None), ("0{", None), ("0[1]", None)],
)
def test_connecting_carries_an_object_or_nothing(text: str, data: Any) -> None:
    assert Packet(encoded_packet=text).data == data


def test_what_the_server_encodes_any_client_decodes() -> None:
    data = ["event", {"a": [1, None, "é"]}, msgspec.Raw(b'{"raw":true}')]
    theirs = socketio.packet.Packet(encoded_packet=Packet(2, data, "/n", 3).encode())
    assert (theirs.namespace, theirs.id) == ("/n", 3)
    assert theirs.data == ["event", {"a": [1, None, "é"]}, {"raw": True}]


# A server and its clients


class House:
    """A Flask app with Socket.IO whose handlers answer what they get, and remember it."""

    def __init__(self, runtime: Runtime, **options: Any) -> None:
        self.runtime = runtime
        self.app = flask.Flask("test")
        self.slow: list[str] = []
        limits = {"max_packet_bytes": 100_000, "outbound_bytes": 1 << 20} | options
        self.socketio = build_socketio(
            self.app,
            runtime,
            cors=lambda origin, environ: origin in (ORIGIN, f"http://{environ['HTTP_HOST']}"),
            on_slow=self.slow.append,
            **limits,
        )
        self.server: SocketIOServer = self.socketio.server
        self.seen: list[Any] = []
        self.connected: dict[str, tuple[str, Any]] = {}
        self.gone: dict[str, str] = {}
        self.changed = runtime.event()
        for namespace in ("/", "/chat"):
            self._serve(namespace)

    def _serve(self, namespace: str) -> None:
        def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> bool:
            self.connected[sid] = (namespace, auth)
            self.changed.set()
            return auth != {"token": "wrong"}

        def disconnect(sid: str, reason: str) -> None:
            self.gone[sid] = reason
            self.changed.set()

        def event(name: str, sid: str, *arguments: Any) -> None:
            *raw, ack_id = arguments
            connection = connection_for(self.server, sid, namespace)
            answer = msgspec.json.encode([name, *raw])
            self.seen.append(msgspec.json.decode(answer))
            if ack_id is not None:
                connection.acknowledge(ack_id, answer)
            connection.emit("echo", answer)
            self.changed.set()

        self.server.on("connect", connect, namespace=namespace)
        self.server.on("disconnect", disconnect, namespace=namespace)
        self.server.on("*", event, namespace=namespace)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Some conditions come true after the last handler has run: look now and then."""
        for _ in range(1000):
            if condition():
                return
            self.changed.clear()
            self.changed.wait(0.01)
        raise AssertionError((self.connected, self.gone))

    def only(self, namespace: str = "/") -> Any:
        (sid,) = [sid for sid, (where, _) in self.connected.items() if where == namespace]
        return connection_for(self.server, sid, namespace)

    def is_empty(self) -> bool:
        manager = self.server.manager
        left = (self.server.eio.sockets, self.server.environ, manager.rooms, manager._rooms_of)
        return not any(left)


class Town:
    """A house that is served, and native threads for its visitors."""

    def __init__(self, house: House, served: Serving) -> None:
        self.house = house
        self.served = served
        self.url = f"http://127.0.0.1:{served.address[1]}"

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.served.clients.run(function, *args, timeout=STORY_PATIENCE)

    def start(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.house.runtime.spawn(self.run, function, *args)

    def raw(self, path: str = WEBSOCKET_PATH, **options: Any) -> websocket_client.WebSocket:
        """A bare WebSocket. For native threads."""
        return websocket_client.create_connection(
            self.url.replace("http", "ws") + path, timeout=PATIENCE, **options
        )

    def enter(self, namespace: str = "") -> websocket_client.WebSocket:
        """A bare WebSocket that has joined a namespace. For native threads."""
        client = self.raw()
        assert client.recv().startswith("0{")
        client.send(f"40{namespace}")
        assert client.recv().startswith("40")
        return client


@contextlib.contextmanager
def town(runtime: Runtime, **options: Any) -> Iterator[Town]:
    house = House(runtime, **options)
    with serving(runtime, house.app) as served:
        yield Town(house, served)
        shutdown(house.server, 2)


class Visitor:
    """An official client with what it received. For native threads."""

    def __init__(self, town: Town, transports: list[str], *namespaces: str) -> None:
        self.got: queue.Queue[Any] = queue.Queue()
        self.client = socketio.Client(reconnection=False)
        self.left = threading.Event()
        self.client.on("disconnect", lambda reason: self.left.set())
        for namespace in namespaces or ("/",):
            self.client.on("*", self._catcher(namespace), namespace=namespace)
        self.client.connect(
            town.url,
            transports=transports,
            namespaces=list(namespaces or ("/",)),
            auth={"token": "right"},
            wait_timeout=PATIENCE,
        )
        self.websocket = self.client.eio.ws

    def _catcher(self, namespace: str) -> Callable[..., None]:
        return lambda event, *args: self.got.put((namespace, event, *args))

    def next(self) -> Any:
        return self.got.get(timeout=PATIENCE)

    def leave(self) -> None:
        self.client.disconnect()
        self.be_left()

    def be_left(self) -> None:
        assert self.left.wait(PATIENCE)
        if self.websocket is not None:
            self.websocket.shutdown()  # the client leaves that to the garbage collector


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_what_is_sent_on_opening_reaches_the_client(live: Live, transports: list[str]) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            visitor = Visitor(here, transports)
            assert visitor.next() == ("/", "welcome", 1)
            assert visitor.client.call("hello", 2, timeout=PATIENCE) == ["hello", 2]
            visitor.leave()

        def welcome(sid: str) -> None:
            connection_for(here.house.server, sid, "/").emit("welcome", b"1")

        with town(runtime) as here:
            here.house.server.on_opened("/", welcome)
            here.run(visit)

    live(story)


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_official_clients_talk_on_every_transport(live: Live, transports: list[str]) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            visitor = Visitor(here, transports, "/", "/chat")
            assert visitor.client.transport() == transports[-1]
            answer = visitor.client.call("hello", {"é": [1, None]}, timeout=PATIENCE)
            assert answer == ["hello", {"é": [1, None]}]
            assert visitor.next() == ("/", "echo", ["hello", {"é": [1, None]}])
            visitor.client.emit("bare", namespace="/chat")
            assert visitor.next() == ("/chat", "echo", ["bare"])
            big = "x" * 70_000
            assert visitor.client.call("big", big, timeout=PATIENCE) == ["big", big]
            visitor.leave()

        with town(runtime) as here:
            here.run(visit)
            if transports[-1] == "websocket":  # a polling client may leave without a word
                here.house.wait_for(lambda: len(here.house.gone) == 2)
                here.house.wait_for(here.house.is_empty)
            assert {auth["token"] for _, auth in here.house.connected.values()} == {"right"}

    live(story)


# The official client hands each event to a thread of its own, and so loses their order: these
# tests read what is on the wire.


def answer_with_three(house: House) -> None:
    """Make a house answer an event by a broadcast of two, an acknowledgement and an event."""

    def answer(name: str, sid: str, number: Any, ack_id: int) -> None:
        connection = connection_for(house.server, sid, "/")
        connection.send(Broadcast("m", [b"%b.1" % number, b"%b.2" % number]))
        connection.acknowledge(ack_id, bytes(number))
        connection.emit("last", bytes(number))
        if bytes(number).endswith(b"7"):
            house.runtime.sleep(0.001)  # a handler that waits for something

    house.server.on("*", answer)


def three_answers(count: int) -> list[str]:
    texts = ('42["m",{0}.1]', '42["m",{0}.2]', "43{0}[{0}]", '42["last",{0}]')
    return [text.format(number) for number in range(count) for text in texts]


def test_events_and_answers_keep_their_order_over_websocket(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> list[str]:
            client = here.enter()
            for number in range(300):
                client.send(f'42{number}["event",{number}]')
            got = [client.recv() for _ in range(1200)]
            client.close()
            return got

        with town(runtime) as here:
            answer_with_three(here.house)
            assert here.run(visit) == three_answers(300)

    live(story)


def test_prompt_events_need_no_task_and_overtake_nothing(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        at_work: list[str] = []
        gate = runtime.event()

        def visit(*texts: str) -> None:
            for text in texts:
                client.send(text)

        with town(runtime) as here:
            house = here.house

            def event(name: str, sid: str, *arguments: Any) -> None:
                if name == "slow":
                    gate.wait(PATIENCE)
                (socket,) = house.server.eio.open_sockets()
                at_work.append(name if socket.websocket._inbox is None else f"{name} by a task")
                house.changed.set()

            house.server.on("*", event, namespace="/")
            house.server.on_prompt(["quick"])
            client = here.run(here.enter)
            here.run(visit, '42["quick",1]', '427["quick",2]', '42["quicker",3]')
            house.wait_for(lambda: len(at_work) == 3)
            house.wait_for(lambda: house.server.eio.open_sockets()[0].websocket._inbox is None)
            here.run(visit, '42["slow",4]', '42["quick",5]', '42["quick"]')
            gate.set()
            house.wait_for(lambda: len(at_work) == 6)
            assert at_work[:3] == ["quick", "quick", "quicker by a task"]
            assert [each.split()[0] for each in at_work[3:]] == ["slow", "quick", "quick"]
            here.run(client.close)

    live(story)


@pytest.mark.parametrize(
    "packet", ['42["echo",]', '42["echo",{"a":1]', '42["echo",1', '42["echo",1]x', '42["echo",["]']
)
def test_a_malformed_prompt_event_is_one_like_any_other(live: Live, packet: str) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.enter()
            client.send(packet)
            assert client.recv().startswith('42["echo",["$malformed","')
            client.send('42["echo",1,2]')
            assert client.recv() == '42["echo",["echo",1,2]]'
            client.send('427["echo", {"a": [1]} ] ')
            assert client.recv() == '437[["echo",{"a": [1]}]]'
            client.close()

        with town(runtime) as here:
            here.house.server.on_prompt(["echo"])
            here.run(visit)

    live(story)


def test_a_prompt_event_where_an_attachment_was_announced_ends_the_connection(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.enter()
            client.send('451-["picture",{"_placeholder":true,"num":0}]')
            client.send('42["echo",1]')
            opcode, _ = client.recv_data()
            assert opcode == websocket_client.ABNF.OPCODE_CLOSE
            client.shutdown()

        with town(runtime) as here:
            here.house.server.on_prompt(["echo"])
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


def test_events_and_answers_keep_their_order_over_polling(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> list[str]:
            client = Polling(here)
            events = [f'42{number}["event",{number}]' for number in range(100)]
            assert client.post("\x1e".join(events)) == 200
            got: list[str] = []
            while len(got) < 400:
                packets = client.get()[1].split("\x1e")
                assert len(packets) <= 16  # what python-engineio's client takes at once
                got += packets
            client.close()
            return got

        with town(runtime) as here:
            answer_with_three(here.house)
            assert here.run(visit) == three_answers(100)

    live(story)


def test_nothing_is_lost_doubled_or_turned_round_by_an_upgrade(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        polled: list[str] = []

        def visit() -> list[str]:
            client = Polling(here)
            polled.extend(client.early or client.get()[1].split("\x1e"))
            candidate = here.raw(f"{WEBSOCKET_PATH}&sid={client.sid}")
            candidate.send("2probe")
            assert candidate.recv() == "3probe"
            while (body := client.get()[1]) != "6":
                polled.extend(body.split("\x1e"))
            client.close()
            candidate.send("5")
            got = []
            while not got or got[-1] != '42["end",1]':
                got.append(candidate.recv())
            candidate.close()
            return got[:-1]

        def upgraded() -> bool:
            return any(session.upgraded for session in here.house.server.eio.open_sockets())

        with town(runtime) as here:
            got: list[str] = []
            visiting = runtime.spawn(lambda: got.extend(here.run(visit)))
            here.house.wait_for(lambda: here.house.connected)
            runtime.sleep(0)  # lets the namespace's answer go before the first event
            connection = here.house.only()
            sent = after = 0
            while after < 20 and not visiting.wait(0):
                connection.send(Broadcast("m", [b"%d" % sent]))
                sent += 1
                after += upgraded()
                runtime.sleep(0.001)
            connection.emit("end", b"1")
            assert visiting.wait(PATIENCE)
            together = [text for text in polled if text != "6"] + got
            assert together == [f'42["m",{number}]' for number in range(sent)]
            assert len(got) >= 20

    live(story)


def test_several_clients_share_the_bytes_of_a_broadcast(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime) as here:
            clients = [here.run(here.enter) for _ in range(3)]
            polling = here.run(Visitor, here, ["polling"])
            chat = here.run(here.enter, "/chat,")
            broadcast = Broadcast('mess"age', [b'{"n":1}', b'{"n":2}'])
            for sid, (namespace, _) in here.house.connected.items():
                connection_for(here.house.server, sid, namespace).send(broadcast)
            assert len(broadcast._forms) == 3  # `/` and `/chat` as frames, `/` as packets
            for client in clients:
                assert here.run(client.recv) == '42["mess\\"age",{"n":1}]'
                assert here.run(client.recv) == '42["mess\\"age",{"n":2}]'
            assert here.run(chat.recv) == '42/chat,["mess\\"age",{"n":1}]'
            assert here.run(polling.next) == ("/", 'mess"age', {"n": 1})
            here.run(polling.leave)
            for client in [*clients, chat]:
                client.shutdown()

    live(story)


# The interface of Flask-SocketIO


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_the_stock_interface_works(live: Live, transports: list[str]) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime) as here:
            extension = here.house.socketio

            @extension.on("enter")  # type: ignore[untyped-decorator]
            def enter(room: msgspec.Raw, ack_id: int | None) -> None:
                flask_socketio.join_room(msgspec.json.decode(room))
                flask_socketio.emit("entered", {"sid": flask.request.sid})  # type: ignore[attr-defined]

            def visit() -> Any:
                visitor = Visitor(here, transports)
                visitor.client.emit("enter", "red")
                _, event, data = visitor.next()
                assert event == "entered"
                return visitor, data["sid"]

            red, red_sid = here.run(visit)
            blue, blue_sid = here.run(visit)
            server = here.house.server
            server.leave_room(blue_sid, "red")
            server.enter_room(blue_sid, "blue")
            assert sorted(server.rooms(red_sid)) == sorted([red_sid, "red"])
            assert server.transport(red_sid) == transports[-1]
            server.emit("one", {"n": 1}, room="red")
            server.emit("two", (1, "x"), room="blue")
            server.emit("three", to=["red", "blue"])
            extension.emit("four", skip_sid=red_sid)
            server.emit("five", to=red_sid)
            server.emit("binary", b"\x00\x01", to=blue_sid)
            server.close_room("red")
            server.emit("nobody", room="red")
            server.emit("end")

            def received(visitor: Visitor) -> list[Any]:
                got = [visitor.next()]
                while got[-1][1] != "end":
                    got.append(visitor.next())
                return [each[1:] for each in got]

            assert here.run(received, red) == [("one", {"n": 1}), ("three",), ("five",), ("end",)]
            assert here.run(received, blue) == [
                ("two", 1, "x"),
                ("three",),
                ("four",),
                ("binary", b"\x00\x01"),
                ("end",),
            ]
            server.disconnect(red_sid)
            here.house.wait_for(lambda: red_sid in here.house.gone)
            assert here.house.gone[red_sid] == "server disconnect"
            here.run(blue.leave)
            here.run(red.be_left)
            if transports[-1] == "websocket":
                here.house.wait_for(here.house.is_empty)

    live(story)


def test_a_connect_handler_can_refuse(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.raw()
            client.recv()
            client.send('40{"token":"wrong"}')
            assert client.recv().startswith("44")
            client.send("40/unknown,")
            assert client.recv().startswith("44/unknown,")
            client.send("40")
            assert client.recv().startswith("40{")
            client.close()

        with town(runtime) as here:
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


def test_a_handler_that_fails_costs_nobody_the_connection(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def story(runtime: Runtime) -> None:
        def fail(*_: Any) -> None:
            raise ValueError("a bug")

        def visit() -> None:
            client = here.enter()
            client.send('42["fail",1]')
            client.send('420["alive"]')
            assert client.recv() == '430[["alive"]]'
            assert client.recv() == '42["echo",["alive"]]'
            client.send("40/failing,")
            assert client.recv().startswith("44/failing,")
            client.close()

        with town(runtime) as here:
            here.house.server.on("fail", fail)
            here.house.server.on("disconnect", fail)
            here.house.server.on("connect", fail, namespace="/failing")
            here.run(visit)
            here.house.server.on("disconnect", lambda *_: None)
            here.house.wait_for(here.house.is_empty)

    live(story)
    assert caplog.text.count("ValueError: a bug") == 3


def test_a_connection_does_not_keep_the_http_server_alive(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime) as here:
            client = here.run(here.enter)
            (environ,) = here.house.server.environ.values()
            assert environ["REMOTE_ADDR"] == "127.0.0.1"
            assert environ["QUERY_STRING"] == "EIO=4&transport=websocket"
            assert not [name for name in environ if name.startswith(("wsgi.input", "eventlet."))]
            assert here.house.only().address == "127.0.0.1"
            client.shutdown()

    live(story)


@pytest.mark.parametrize("path", [WEBSOCKET_PATH, POLLING_PATH])
def test_other_origins_are_refused(live: Live, path: str) -> None:
    def story(runtime: Runtime) -> None:
        def ask(origin: str) -> int:
            key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"} | key
            headers = {"Origin": origin} | (upgrade if "websocket" in path else {})
            client = http.client.HTTPConnection(
                "127.0.0.1", here.served.address[1], timeout=PATIENCE
            )
            client.request("GET", path, headers=headers)
            status = client.getresponse().status
            client.close()
            return status

        with town(runtime) as here:
            assert here.run(ask, "http://evil.example") == 400
            assert here.run(ask, ORIGIN) in (101, 200)

    live(story)


# Clients that misbehave


@pytest.mark.parametrize(
    "packet", ["42", "42[", "42[]", "42[7]", '42{"a":1}', '42["disconnect","x"]', '42["connect"]']
)
def test_a_malformed_event_reaches_the_handler_and_the_connection_lives(
    live: Live, packet: str
) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.enter()
            client.send(packet)
            assert client.recv().startswith('42["echo",["$malformed","')
            client.send('420["alive"]')
            assert client.recv() == '430[["alive"]]'
            client.close()

        with town(runtime) as here:
            here.run(visit)

    live(story)


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_a_binary_event_reaches_the_handler_and_the_connection_lives(
    live: Live, transports: list[str]
) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            visitor = Visitor(here, transports)
            answer = visitor.client.call("picture", [b"\x00\xff", b"x"], timeout=PATIENCE)
            assert answer == [BINARY, "binary data is not JSON"]
            assert visitor.client.call("alive", timeout=PATIENCE) == ["alive"]
            visitor.leave()

        with town(runtime) as here:
            here.run(visit)

    live(story)


@pytest.mark.parametrize("packet", ["49", "4", "9", "", "44", b"\x00", '451-["a"]'])
def test_a_packet_outside_the_protocol_ends_only_its_connection(
    live: Live, packet: str | bytes
) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client, other = here.enter(), here.enter()
            if isinstance(packet, bytes):
                client.send_binary(packet)
            else:
                client.send(packet)
            client.send("4x")  # in place of the attachment that was announced
            opcode, _ = client.recv_data()
            assert opcode == websocket_client.ABNF.OPCODE_CLOSE
            other.send('420["alive"]')
            assert other.recv() == '430[["alive"]]'
            client.shutdown()
            other.close()

        with town(runtime) as here:
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


def test_a_packet_that_is_too_big_ends_the_connection(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.enter()
            client.send('42["big","' + "x" * 100_000 + '"]')
            opcode, data = client.recv_data()
            assert opcode == websocket_client.ABNF.OPCODE_CLOSE
            assert struct.unpack("!H", data[:2]) == (1009,)
            client.shutdown()
            polling = Polling(here)
            assert polling.post("4" + "x" * 100_000) == 400
            assert polling.post('42["a"]') == 400
            polling.close()

        with town(runtime) as here:
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


class Polling:
    """A bare polling client that has joined `/`. For native threads."""

    def __init__(self, town: Town) -> None:
        self.http = http.client.HTTPConnection(
            "127.0.0.1", town.served.address[1], timeout=PATIENCE
        )
        opened = self._request("GET", POLLING_PATH)
        self.sid = msgspec.json.decode(opened[1][1:])["sid"]
        self.path = f"{POLLING_PATH}&sid={self.sid}"
        assert self.post("40") == 200
        joined, *self.early = self.get()[1].split("\x1e")
        assert joined.startswith("40{")

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        self.http.request(method, path, body)
        answer = self.http.getresponse()
        return answer.status, answer.read().decode()

    def get(self) -> tuple[int, str]:
        return self._request("GET", self.path)

    def post(self, body: str) -> int:
        return self._request("POST", self.path, body)[0]

    def close(self) -> None:
        self.http.close()


def test_many_packets_in_one_poll_are_all_received(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            assert client.post("\x1e".join(f'42["n",{number}]' for number in range(100))) == 200
            client.close()

        with town(runtime) as here:
            here.run(visit)
            assert here.house.seen == [["n", number] for number in range(100)]

    live(story)


@pytest.mark.parametrize("body", ["", "x", "9", "4\x1e", "bnot base64", "\x1e"])
def test_a_malformed_poll_ends_the_session(live: Live, body: str) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            assert client.post(body) == 400
            client.close()

        with town(runtime) as here:
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


def test_who_does_not_poll_is_closed_as_slow(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime, outbound_bytes=100_000) as here:
            client = here.run(Polling, here)
            connection = here.house.only()
            message = Broadcast("message", [b'"' + b"x" * 1000 + b'"'])
            for _ in range(90):
                connection.send(message)
            assert here.house.slow == []
            assert not connection.wait_drained(0.01)
            for _ in range(20):
                connection.send(message)
            assert here.house.slow == [connection.connection_id]
            here.house.wait_for(lambda: here.house.gone)
            assert here.house.gone == {connection.connection_id: "transport error"}
            assert here.house.is_empty()
            assert here.run(client.get)[0] == 400
            client.close()

    live(story)


def test_a_poll_drains(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime, outbound_bytes=100_000) as here:
            client = here.run(Polling, here)
            connection = here.house.only()
            connection.send(Broadcast("message", [b'"' + b"x" * 90_000 + b'"']))
            drained: list[bool] = []
            waiting = runtime.spawn(lambda: drained.append(connection.wait_drained(PATIENCE)))
            assert len(here.run(client.get)[1]) > 90_000
            assert waiting.wait(PATIENCE) and drained == [True]
            connection.send(Broadcast("message", [b'"' + b"x" * 90_000 + b'"']))
            assert here.house.slow == []
            client.close()

    live(story)


def test_who_does_not_read_is_closed_as_slow_in_every_namespace(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> websocket_client.WebSocket:
            client = here.raw(sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
            client.recv()
            for namespace in ("", "/chat,"):
                client.send(f"40{namespace}")
                client.recv()
            return client

        with town(runtime, outbound_bytes=100_000) as here:
            client, other = here.run(visit), here.run(here.enter)
            other.shutdown()
            here.house.wait_for(lambda: here.house.gone)
            (gone,) = here.house.gone
            del here.house.connected[gone]
            connection = here.house.only()
            message = Broadcast("message", [b'"' + b"x" * 10_000 + b'"'])
            for _ in range(5000):
                connection.send(message)
            assert sorted(here.house.slow) == sorted(here.house.connected)
            here.house.wait_for(lambda: len(here.house.gone) == 3)
            assert here.house.gone[connection.connection_id] == "transport error"
            assert here.house.is_empty()
            client.shutdown()

    live(story)


# Upgrading


def test_an_upgrade_that_is_given_up_leaves_polling_working(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            path = f"{WEBSOCKET_PATH}&sid={client.sid}"
            for messages in ([], ["2probe"], ["4x"], ["5"]):
                candidate = here.raw(path)
                for message in messages:
                    candidate.send(message)
                    if message == "2probe":
                        assert candidate.recv() == "3probe"
                        assert client.get() == (200, "6")
                candidate.close()
            assert client.post('420["alive"]') == 200
            body = "6"
            while body == "6":  # the server has not heard yet that the last one gave up
                status, body = client.get()
                assert status == 200
            assert '430[["alive"]]' in body.split("\x1e")
            client.close()

        with town(runtime) as here:
            here.run(visit)

    live(story)


def held_back(runtime: Runtime, seconds: float) -> list[Callable[[], object]]:
    """The timers of this length: they go off when a test says so."""
    held: list[Callable[[], object]] = []
    after = runtime.after

    def hold(wait: float, function: Callable[..., object], *args: Any) -> Timer:
        if wait != seconds:
            return after(wait, function, *args)
        held.append(partial(function, *args))
        return after(3_600.0, function, *args)

    runtime.after = hold  # type: ignore[method-assign]
    return held


@pytest.mark.parametrize("said", [[], ["2probe"]])
def test_a_websocket_that_a_session_does_not_move_to_goes(live: Live, said: list[str]) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            candidate = here.raw(f"{WEBSOCKET_PATH}&sid={client.sid}")
            for message in said:
                candidate.send(message)
                assert candidate.recv() == "3probe"
            assert client.post("3") == 200  # behind the candidate's opening
            (give_up,) = timers
            runtime.call_from_thread(give_up)
            assert candidate.recv_data()[0] == websocket_client.ABNF.OPCODE_CLOSE
            candidate.shutdown()
            assert client.post('420["alive"]') == 200
            body = "6"
            while body == "6":
                status, body = client.get()
                assert status == 200
            assert '430[["alive"]]' in body.split("\x1e")
            client.close()

        timers = held_back(runtime, UPGRADE_SECONDS)
        with town(runtime) as here:
            here.run(visit)

    live(story)


def test_a_websocket_that_a_session_has_moved_to_stays(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            websocket = here.raw(f"{WEBSOCKET_PATH}&sid={client.sid}")
            websocket.send("2probe")
            assert websocket.recv() == "3probe"
            websocket.send("5")
            for word in ("before", "after"):
                websocket.send(f'420["{word}"]')
                assert websocket.recv() == f'430[["{word}"]]'
                assert websocket.recv() == f'42["echo",["{word}"]]'
                for give_up in timers:
                    runtime.call_from_thread(give_up)
            assert len(timers) == 1
            websocket.close()
            client.close()

        timers = held_back(runtime, UPGRADE_SECONDS)
        with town(runtime) as here:
            here.run(visit)

    live(story)


def test_an_upgraded_session_is_closed_to_polls_and_other_websockets(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            path = f"{WEBSOCKET_PATH}&sid={client.sid}"
            first, second = here.raw(path), here.raw(path)
            for candidate in (first, second):
                candidate.send("2probe")
                assert candidate.recv() == "3probe"
            first.send("5")
            first.send('420["alive"]')
            assert first.recv() == '430[["alive"]]'
            second.send("5")
            assert second.recv_data()[0] == websocket_client.ABNF.OPCODE_CLOSE
            assert client.get()[0] == 400
            with pytest.raises(websocket_client.WebSocketBadStatusException):
                here.raw(path)
            client.close()
            first.close()
            second.shutdown()

        with town(runtime) as here:
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


# Pulse


def test_who_answers_pings_stays_and_who_does_not_goes(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def answer() -> None:
            client = here.enter()
            for _ in range(4):
                assert client.recv() == "2"
                client.send("3")
            client.close()

        def stay_silent() -> None:
            client = here.enter()
            assert client.recv() == "2"
            opcode, data = client.recv_data()
            assert opcode == websocket_client.ABNF.OPCODE_CLOSE
            assert data[2:] == b"ping timeout"
            client.shutdown()

        with town(runtime, ping_interval=0.1, ping_timeout=0.1) as here:
            here.run(answer)
            here.house.wait_for(lambda: here.house.gone)
            assert list(here.house.gone.values()) == ["transport close"]
            here.run(stay_silent)
            here.house.wait_for(lambda: len(here.house.gone) == 2)
            assert list(here.house.gone.values())[1] == "ping timeout"
            here.house.wait_for(here.house.is_empty)

    live(story)


def linger(house: House) -> Any:
    """Let the event `linger` take until the gate that this returns is opened."""
    gate = house.runtime.event()
    house.server.on("linger", lambda sid, *arguments: gate.wait(20), namespace="/")
    return gate


def test_an_answered_ping_counts_while_an_event_takes_long(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.enter()
            client.send('42["linger"]')
            for _ in range(3):
                assert client.recv() == "2"
                client.send("3")
            client.close()

        with town(runtime, ping_interval=0.05, ping_timeout=2.0) as here:
            gate = linger(here.house)
            here.run(visit)
            gate.set()
            here.house.wait_for(here.house.is_empty)
            assert list(here.house.gone.values()) == ["transport close"]

    live(story)


def test_an_answered_ping_of_a_polling_client_counts_while_an_event_takes_long(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = Polling(here)
            assert client.post('42["linger"]') == 200
            for _ in range(3):
                assert client.get() == (200, "2")
                assert client.post("3") == 200
            assert client.post("1") == 200
            client.close()

        with town(runtime, ping_interval=0.05, ping_timeout=2.0) as here:
            gate = linger(here.house)
            here.run(visit)
            gate.set()
            here.house.wait_for(here.house.is_empty)
            assert list(here.house.gone.values()) == ["client disconnect"]

    live(story)


def test_who_is_not_read_from_is_not_blamed_for_silence(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> list[str]:
            for text in ('42["linger"]', *(f'42["n",{number}]' for number in range(300))):
                client.send(text)
            flooded.wait(10)
            return [client.recv() for _ in range(300)]

        with town(runtime) as here:
            gate = linger(here.house)
            client = here.run(here.enter)
            flooded = threading.Event()
            visiting = here.start(visit)
            (session,) = here.house.server.eio.sockets.values()
            here.house.wait_for(lambda: not session.websocket.is_listening)
            session.expire()
            flooded.set()
            gate.set()
            assert visiting.wait(20)
            assert here.house.gone == {}
            assert here.house.seen == [["n", number] for number in range(300)]
            here.run(client.close)

    live(story)


def test_a_polling_client_that_disappears_goes(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime, ping_interval=0.05, ping_timeout=0.05) as here:
            client = here.run(Polling, here)
            client.close()
            here.house.wait_for(lambda: here.house.gone)
            assert list(here.house.gone.values()) == ["ping timeout"]
            here.house.wait_for(here.house.is_empty)

    live(story)


@pytest.mark.parametrize("said", [None, '40{"token":"wrong"}', "40/unknown,"])
def test_who_joins_no_namespace_goes(live: Live, said: str | None) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.raw()
            client.recv()
            if said is not None:
                client.send(said)
                assert client.recv().startswith("44")
            opcode, data = client.recv_data()
            assert (opcode, data[2:]) == (
                websocket_client.ABNF.OPCODE_CLOSE,
                b"no namespace joined",
            )
            client.shutdown()

        with town(runtime, ping_interval=0.05) as here:
            here.run(visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


def test_who_tries_namespace_after_namespace_goes(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.raw()
            client.recv()
            for number in range(sockets.MAX_REFUSALS):
                client.send(f"40/unknown{number},")
                assert client.recv().startswith("44")
            opcode, data = client.recv_data()
            assert (opcode, data[2:]) == (
                websocket_client.ABNF.OPCODE_CLOSE,
                b"no namespace joined",
            )
            client.shutdown()

        def stay() -> None:
            client = here.enter()
            for number in range(sockets.MAX_REFUSALS + 5):
                client.send(f"40/unknown{number},")
                assert client.recv().startswith("44")
            client.shutdown()

        with town(runtime) as here:
            here.run(visit)
            here.run(stay)
            here.house.wait_for(here.house.is_empty)

    live(story)


def test_of_too_many_that_join_nothing_the_oldest_goes(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_UNJOINED", 3)

    def story(runtime: Runtime) -> None:
        def open_one() -> websocket_client.WebSocket:
            client = here.raw()
            client.recv()
            return client

        with town(runtime) as here:
            member = here.run(here.enter)
            strangers = [here.run(open_one) for _ in range(5)]
            for client in strangers[:2]:
                assert here.run(client.recv_data)[1][2:] == b"no namespace joined"
            assert len(here.house.server.eio.unjoined) == 3
            strangers[2].send("40")
            assert here.run(strangers[2].recv).startswith("40")
            assert len(here.house.server.eio.unjoined) == 2
            for client in (member, *strangers):
                client.shutdown()
            here.house.wait_for(here.house.is_empty)
            assert not here.house.server.eio.unjoined

    live(story)


@pytest.mark.parametrize("joins", [False, True])
def test_who_has_joined_nothing_says_little(live: Live, joins: bool) -> None:
    large = '42["echo","' + "x" * (sockets.UNJOINED_BYTES + 1) + '"]'

    def story(runtime: Runtime) -> None:
        def visit() -> None:
            client = here.raw()
            client.recv()
            client.send(large)
            opcode, data = client.recv_data()
            assert opcode == websocket_client.ABNF.OPCODE_CLOSE
            assert struct.unpack("!H", data[:2]) == (1009,)
            client.shutdown()

        def visit_as_member() -> None:
            client = here.enter()
            client.send(large)
            client.send('42["after"]')
            assert client.recv()
            client.shutdown()

        with town(runtime) as here:
            here.run(visit_as_member if joins else visit)
            here.house.wait_for(here.house.is_empty)

    live(story)


# The end


def test_closing_a_connection_ends_it_soon_and_for_good(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime) as here:
            client = here.run(here.enter)
            connection = here.house.only()
            connection.close("token expired")
            connection.close("again")
            assert not here.house.gone  # nothing runs in the middle of whoever closes
            opcode, data = here.run(client.recv_data)
            assert (opcode, data[2:]) == (websocket_client.ABNF.OPCODE_CLOSE, b"token expired")
            client.shutdown()
            here.house.wait_for(lambda: here.house.gone)
            assert list(here.house.gone.values()) == ["token expired"]
            connection.send(Broadcast("message", [b"1"]))
            connection.acknowledge(1, b"{}")
            assert not connection.wait_drained(1)
            with pytest.raises(KeyError):
                connection_for(here.house.server, connection.connection_id, "/")

    live(story)


@pytest.mark.parametrize("transports", TRANSPORTS)
def test_a_shutdown_says_goodbye_to_everyone(live: Live, transports: list[str]) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime) as here:
            visitors = [here.run(Visitor, here, transports) for _ in range(2)]
            assert shutdown(here.house.server, 5)
            for visitor in visitors:
                here.run(visitor.be_left)
            assert list(here.house.gone.values()) == ["server disconnect"] * 2
            assert here.house.is_empty()

    live(story)


def test_a_shutdown_does_not_wait_for_who_does_not_answer(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with town(runtime) as here:
            client = here.run(here.enter)
            assert not shutdown(here.house.server, 0.02)
            assert here.house.is_empty()
            client.shutdown()

    live(story)


def test_two_thousand_clients_come_and_go_and_leave_nothing_behind(live: Live) -> None:
    handshake = (
        f"GET {WEBSOCKET_PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    join = b"\x81\x82\0\0\0\x0040"

    def story(runtime: Runtime) -> None:
        def come_and_go(count: int) -> None:
            clients = []
            for number in range(count):
                client = socket.create_connection(here.served.address, timeout=PATIENCE)
                client.sendall(handshake + join)
                clients.append(client)
                if len(clients) == 50:
                    for each in clients:
                        got = b""
                        while b'40{"sid"' not in got:
                            piece = each.recv(4096)
                            assert piece, number
                            got += piece
                        each.close()
                    clients.clear()

        process = psutil.Process()

        def measure() -> tuple[int, int]:
            here.house.wait_for(here.house.is_empty)
            while any(gc.collect() for _ in range(3)):
                runtime.sleep(0.01)
            sockets = sum(isinstance(each, (Socket, socket.socket)) for each in gc.get_objects())
            return process.num_fds(), sockets

        with town(runtime) as here:
            here.run(come_and_go, 100)
            before = measure()
            memory = process.memory_info().rss
            here.run(come_and_go, 2000)
            here.house.wait_for(lambda: len(here.house.gone) == 2100)
            here.house.connected.clear()
            here.house.gone.clear()
            assert measure() == before
            assert process.memory_info().rss - memory < 4_000_000  # 2 KB a client

    live(story)
