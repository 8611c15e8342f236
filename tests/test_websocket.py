from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side

from loops import BACKENDS, PATIENCE, STORY_PATIENCE, Serving, run_on_loop, serving, until
from python_pubsub_server.runtime import Event, Runtime
from python_pubsub_server.transport import websocket as module
from python_pubsub_server.transport.frames import BINARY, PING, TEXT, frame
from python_pubsub_server.transport.handshake import open_websocket
from python_pubsub_server.transport.receiver import Message, Receiver
from python_pubsub_server.transport.websocket import WebSocket

Live = Callable[[Callable[[Runtime], Any]], Any]

MAX_SIZE = 100_000
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


@pytest.fixture(params=BACKENDS)
def live(request: pytest.FixtureRequest) -> Live:
    return lambda story: run_on_loop(str(request.param), story)


class Recorder(Receiver):
    """Remembers what happened, and waits in `receive` while its gate is closed."""

    def __init__(self, runtime: Runtime, echo: bool = False) -> None:
        self.echo = echo
        self.seen: list[Any] = []
        self.pongs = 0
        self.slowness = 0
        self.entered = 0
        self.inside = 0
        self.most_inside = 0
        self.gate = runtime.event()
        self.gate.set()
        self.changed = runtime.event()
        self.over = runtime.event()
        self.websocket: WebSocket

    def opened(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.changed.set()

    def receive(self, message: Message) -> None:
        self.entered += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.changed.set()
        self.gate.wait(PATIENCE)
        self.inside -= 1
        self.seen.append(message)
        if self.echo:
            text = isinstance(message, str)
            data = message.encode() if isinstance(message, str) else message
            self.websocket.send_frames(frame(TEXT if text else BINARY, data))
        self.changed.set()

    def ponged(self) -> None:
        self.pongs += 1
        self.changed.set()

    def slow(self) -> None:
        self.slowness += 1

    def closed(self, code: int, reason: str) -> None:
        self.seen.append((code, reason))
        self.over.set()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            assert self.changed.wait(PATIENCE), f"seen: {self.seen[:10]}"


class Client:
    """A client of which every byte is under control. For native threads."""

    def __init__(self, address: tuple[str, int], receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(address)
        self.protocol = Protocol(Side.CLIENT, max_size=None)
        self.events: list[Frame] = []

    def shake_hands(self, ahead: bytes = b"", request: bytes = HANDSHAKE) -> Client:
        self.sock.sendall(request + ahead)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.sock.recv(1000)
        self.answer, _, rest = answer.partition(b"\r\n\r\n")
        assert self.answer.startswith(b"HTTP/1.1 101 "), self.answer
        if rest:
            self.protocol.receive_data(rest)
        return self

    def send(self, *frames: Frame, piece: int = 1 << 20) -> None:
        data = b"".join(each.serialize(mask=True) for each in frames)
        for start in range(0, len(data), piece):
            self.sock.sendall(data[start : start + piece])

    def read(self) -> Frame:
        """The next frame."""
        while True:
            self.events += [each for each in self.protocol.events_received() if each]  # type: ignore[misc]
            if self.events:
                return self.events.pop(0)
            data = self.sock.recv(65536)
            assert data, "the server ended the connection"
            self.protocol.receive_data(data)

    def read_close(self) -> int:
        """The code of the close frame, when the end of the stream follows it."""
        last = self.read()
        assert last.opcode is Opcode.CLOSE, last
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)
        assert self.sock.recv(1) == b""
        return Close.parse(last.data).code

    def close(self) -> None:
        self.sock.close()


class Room:
    """A server whose WebSockets all have the same kind of receiver."""

    def __init__(self, served: Serving, receivers: list[Recorder]) -> None:
        self.served = served
        self.receivers = receivers

    def connect(self, **options: Any) -> tuple[Client, Recorder]:
        client: Client = self.served.clients.run(self._connect, options, timeout=STORY_PATIENCE)
        return client, self.receivers[-1]

    def _connect(self, options: dict[str, Any]) -> Client:
        buffer = options.pop("receive_buffer", None)
        return Client(self.served.address, buffer).shake_hands(**options)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.served.clients.run(function, *args, timeout=STORY_PATIENCE)


@contextlib.contextmanager
def room(runtime: Runtime, echo: bool = False, outbound_bytes: int = 1 << 20) -> Iterator[Room]:
    receivers: list[Recorder] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        receivers.append(Recorder(runtime, echo))
        return open_websocket(
            runtime,
            environ,
            start_response,
            receivers[-1],
            max_size=MAX_SIZE,
            outbound_bytes=outbound_bytes,
        )

    with serving(runtime, app) as served:
        yield Room(served, receivers)
        for receiver in receivers:
            if hasattr(receiver, "websocket"):
                receiver.websocket.abort(1006, "the test is over")


def text(data: str | bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, data.encode() if isinstance(data, str) else data, fin)


def more(data: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.CONT, data, fin)


# Messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, MAX_SIZE])
def test_messages_of_every_size_come_back(live: Live, size: int) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime, echo=True) as here:
            client, _ = here.connect()
            here.run(client.send, text("é" * (size // 2)), Frame(Opcode.BINARY, b"x" * size))
            first, second = here.run(client.read), here.run(client.read)
            assert (first.opcode, bytes(first.data)) == (Opcode.TEXT, "é".encode() * (size // 2))
            assert (second.opcode, bytes(second.data)) == (Opcode.BINARY, b"x" * size)
            client.close()

    live(story)


def test_bytes_may_come_one_by_one(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            here.run(lambda: client.send(text("one"), text("two " * 40), piece=1))
            receiver.wait_for(lambda: len(receiver.seen) == 2)
            assert receiver.seen == ["one", "two " * 40]
            client.close()

    live(story)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50, 1000, 1 << 20])
def test_frames_of_every_kind_keep_their_order_however_they_are_cut(live: Live, piece: int) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            sizes = (0, 1, 119, 120, 125, 126, 127, 300, 1000)
            frames = [
                *(text("é" * (size // 2) + "x" * (size % 2)) for size in sizes),
                text("begun, ", fin=False),
                Frame(Opcode.PING, b"between"),
                more(b"ended"),
                text("short"),
                Frame(Opcode.BINARY, b"\x81\x85"),
                text("last"),
            ]
            here.run(lambda: client.send(*frames, piece=piece))
            receiver.wait_for(lambda: len(receiver.seen) == len(sizes) + 4)
            assert receiver.seen == [
                *("é" * (size // 2) + "x" * (size % 2) for size in sizes),
                *("begun, ended", "short", b"\x81\x85", "last"),
            ]
            assert here.run(client.read).opcode is Opcode.PONG
            client.close()

    live(story)


def test_a_message_inside_another_ends_the_connection_and_is_not_received(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            here.run(client.send, text("whole"), text("begun", fin=False), text("inside"))
            assert here.run(client.read_close) == 1002
            assert receiver.over.wait(PATIENCE)
            assert [each for each in receiver.seen if isinstance(each, str)] == ["whole"]
            client.close()

    live(story)


def test_nothing_is_received_behind_a_goodbye(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            goodbye = Frame(Opcode.CLOSE, Close(1000, "").serialize())
            here.run(client.send, text("before"), goodbye, text("behind"))
            assert here.run(client.read_close) == 1000
            assert receiver.over.wait(PATIENCE)
            assert [each for each in receiver.seen if isinstance(each, str)] == ["before"]
            client.close()

    live(story)


def test_what_was_sent_with_the_handshake_is_not_lost(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect(ahead=text("early").serialize(mask=True))
            here.run(client.send, text("late"))
            receiver.wait_for(lambda: len(receiver.seen) == 2)
            assert receiver.seen == ["early", "late"]
            client.close()

    live(story)


def test_fragments_become_one_message_and_a_ping_between_them_is_answered(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            half = "é".encode()[:1], "é".encode()[1:]
            here.run(
                client.send,
                text(b"fragment " + half[0], fin=False),
                Frame(Opcode.PING, b"are you there"),
                more(half[1], fin=False),
                more(b"", fin=True),
                Frame(Opcode.BINARY, b"a", fin=False),
                more(b"b"),
            )
            pong = here.run(client.read)
            assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"are you there")
            receiver.wait_for(lambda: len(receiver.seen) == 2)
            assert receiver.seen == ["fragment é", b"ab"]
            client.close()

    live(story)


def test_a_pong_is_told(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            receiver.websocket.send_frames(frame(PING, b""))
            assert here.run(client.read).opcode is Opcode.PING
            here.run(client.send, Frame(Opcode.PONG, b""))
            receiver.wait_for(lambda: receiver.pongs == 1)
            client.close()

    live(story)


def test_nothing_is_compressed(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, _ = here.connect()
            assert b"extensions" not in client.answer.lower()
            client.close()

    live(story)


def test_messages_are_received_in_order_and_one_at_a_time(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            receiver.gate.clear()
            here.run(client.send, *[text(str(number)) for number in range(50)])
            receiver.wait_for(lambda: receiver.entered == 1)
            assert receiver.seen == []
            receiver.gate.set()
            receiver.wait_for(lambda: len(receiver.seen) == 50)
            assert receiver.seen == [str(number) for number in range(50)]
            assert receiver.most_inside == 1
            client.close()

    live(story)


def test_no_task_exists_while_nothing_is_received(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        tasks: list[object] = []
        spawn = runtime.spawn

        def counting_spawn(function: Callable[..., object], *args: Any) -> Any:
            tasks.append(function)
            return spawn(function, *args)

        with room(runtime, echo=True) as here:
            client, receiver = here.connect()
            runtime.spawn = counting_spawn  # type: ignore[method-assign]
            here.run(client.send, Frame(Opcode.PONG, b""))
            receiver.wait_for(lambda: receiver.pongs == 1)
            assert tasks == []
            here.run(client.send, text("hello"))
            here.run(client.read)
            assert len(tasks) == 1
            client.close()

    live(story)


def test_an_error_in_a_receiver_is_logged_and_the_next_message_comes(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            original = receiver.receive

            def fail_once(message: Message) -> None:
                receiver.receive = original  # type: ignore[method-assign]
                raise ValueError("a bug")

            receiver.receive = fail_once  # type: ignore[method-assign]
            here.run(client.send, text("one"), text("two"))
            receiver.wait_for(lambda: receiver.seen == ["two"])
            client.close()

    with caplog.at_level(logging.ERROR, "pubsub"):
        live(story)
    assert "a bug" in caplog.text


def test_a_glance_deals_with_messages_without_a_task_and_in_order(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            glanced: list[Message] = []

            def glance(message: Message, *, is_next: bool) -> bool:
                if not is_next or message == "later":
                    return False
                glanced.append(message)
                return True

            receiver.glance = glance  # type: ignore[method-assign]
            here.run(client.send, text("now"), text("later"), text("after"))
            receiver.wait_for(lambda: len(receiver.seen) == 2)
            assert (glanced, receiver.seen) == (["now"], ["later", "after"])
            client.close()

    live(story)


# Bounds


def test_a_flood_is_left_in_the_kernel_until_there_is_time_for_it(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            receiver.gate.clear()
            messages = [text(f"{number:06}" + "x" * 8_000) for number in range(2_500)]
            sending = runtime.spawn(here.served.clients.run, client.send, *messages)
            peer = receiver.websocket
            until(runtime, lambda: len(peer._inbox or ()) >= module.INBOX_MESSAGES)
            assert not sending.wait(0.3)  # in which more would come, were it read
            assert len(peer._inbox or ()) <= module.INBOX_MESSAGES + 70
            receiver.gate.set()
            assert sending.wait(PATIENCE)
            receiver.wait_for(lambda: len(receiver.seen) == 2_500)
            assert [int(each[:6]) for each in receiver.seen] == list(range(2_500))
            client.close()

    live(story)


def test_who_does_not_read_is_cut_off_with_bounded_memory(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime, outbound_bytes=200_000) as here:
            client, receiver = here.connect(receive_buffer=4096)
            peer = receiver.websocket
            message = frame(TEXT, b"x" * 1000)
            sent = most = 0
            while peer.is_open and sent < 100_000:
                peer.send_frames(message)
                most = max(most, peer._unsent)
                sent += 1
            assert sent < 100_000 and most <= 200_000
            assert receiver.over.wait(PATIENCE)
            assert receiver.slowness == 1
            assert receiver.seen == [(1006, "slow")]
            assert peer.wait_gone(5)
            peer.send_frames(message)  # nothing happens
            client.close()

    live(story)


def test_tiny_unsent_frames_are_bounded_too(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime, outbound_bytes=64_000) as here:
            client, receiver = here.connect(receive_buffer=4096)
            peer = receiver.websocket
            while peer._outbox is None:
                peer.send_frames(frame(BINARY, b"x" * 30_000))
            pieces = 0
            while peer.is_open and pieces < 10_000:
                peer.send_frames(frame(TEXT, b""))
                pieces = max(pieces, len(peer._outbox or ()))
            assert pieces == 1000
            client.close()

    live(story)


def test_a_reader_that_is_only_late_gets_every_byte_in_order(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime, outbound_bytes=16 << 20) as here:
            client, receiver = here.connect(receive_buffer=4096)
            peer = receiver.websocket
            for number in range(300):
                peer.send_frames(frame(BINARY, struct.pack("!I", number) * 10_000))
            assert peer._unsent > 0
            assert not peer.wait_drained(0.01)

            def read_all() -> list[int]:
                numbers = []
                for _ in range(301):
                    data = bytes(client.read().data)
                    (number,) = struct.unpack("!I", data[:4])
                    assert data == data[:4] * 10_000
                    numbers.append(number)
                return numbers

            draining: list[bool] = []
            waiting = runtime.spawn(lambda: draining.append(peer.wait_drained(PATIENCE)))
            reading = runtime.spawn(lambda: draining.append(here.run(read_all)))
            assert waiting.wait(PATIENCE) and draining[0] is True
            peer.send_frames(frame(BINARY, struct.pack("!I", 300) * 10_000))
            assert reading.wait(PATIENCE)
            assert draining[1] == list(range(301))
            assert peer._outbox is None and peer._writable is None
            client.close()

    live(story)


def test_waiting_for_a_peer_that_leaves_ends(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime, outbound_bytes=64 << 20) as here:
            client, receiver = here.connect(receive_buffer=4096)
            for _ in range(100):
                receiver.websocket.send_frames(frame(BINARY, b"x" * 1_000_000)[:200_000])
            drained: list[bool] = []
            waiting = runtime.spawn(
                lambda: drained.append(receiver.websocket.wait_drained(PATIENCE))
            )
            runtime.sleep(0)
            client.close()
            assert waiting.wait(PATIENCE) and drained == [False]

    live(story)


# Violations


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([text(b"\xff")], 1007),
        ([text(b"ok", fin=False), more(b"\xc3")], 1007),
        ([Frame(Opcode.BINARY, b"x" * (MAX_SIZE + 1))], 1009),
        ([text(b"x" * MAX_SIZE, fin=False), more(b"x")], 1009),
        ([more(b"x")], 1002),
        ([text(b"a", fin=False), text(b"b")], 1002),
        ([Frame(Opcode.CLOSE, b"\x00")], 1002),
    ],
)
def test_violations_end_with_the_code_that_names_them(
    live: Live, frames: list[Frame], code: int
) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            here.run(client.send, text("before"), *frames, text("after"))
            assert here.run(client.read_close) == code
            client.close()
            assert receiver.over.wait(PATIENCE)
            assert receiver.seen[0] == "before"
            assert [each[0] for each in receiver.seen[1:]] == [code]
            assert receiver.websocket.wait_gone(5)

    live(story)


def test_an_unmasked_frame_is_a_violation(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, _ = here.connect()
            here.run(client.sock.sendall, frame(TEXT, b"naked"))
            assert here.run(client.read_close) == 1002
            client.close()

    live(story)


def test_a_reserved_bit_is_a_violation(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, _ = here.connect()
            compressed = bytearray(text(b"deflated?").serialize(mask=True))
            compressed[0] |= 0x40
            here.run(client.sock.sendall, bytes(compressed))
            assert here.run(client.read_close) == 1002
            client.close()

    live(story)


def test_the_reason_reaches_who_is_still_sending(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        # A socket closed with unread bytes is reset, and then the close frame may be lost.
        with room(runtime) as here:
            client, _ = here.connect()
            here.run(client.send, *[Frame(Opcode.BINARY, b"x" * 300_000)] * 10)
            assert here.run(client.read_close) == 1009
            client.close()

    live(story)


# The end


def test_what_a_client_said_before_it_left_is_received_first(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            receiver.gate.clear()
            goodbye = Close(1001, "bye").serialize()
            here.run(client.send, text("one"), text("two"), Frame(Opcode.CLOSE, goodbye))
            assert here.run(client.read_close) == 1001
            assert not receiver.websocket.is_open
            receiver.gate.set()
            assert receiver.over.wait(PATIENCE)
            assert receiver.seen == ["one", "two", (1001, "bye")]
            client.close()

    live(story)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_disappears_is_noticed(live: Live, how: str) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            if how == "reset":
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert receiver.over.wait(PATIENCE)
            assert receiver.seen[-1][0] == 1006
            assert receiver.websocket.wait_gone(5)

    live(story)


def test_closing_lets_what_is_unsent_go_first(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime, outbound_bytes=64 << 20) as here:
            client, receiver = here.connect(receive_buffer=4096)
            peer = receiver.websocket
            for _ in range(50):
                peer.send_frames(frame(BINARY, b"x" * 100_000))
            peer.close(1001, "reason " * 30)
            peer.close(1000)
            peer.send_frames(frame(TEXT, b"not any more"))
            assert not peer.is_open
            assert receiver.over.wait(PATIENCE)

            def read_all() -> int:
                for _ in range(50):
                    assert len(client.read().data) == 100_000
                return client.read_close()

            assert here.run(read_all) == 1001
            client.close()
            assert peer.wait_gone(5)
            assert receiver.seen == [(1001, "reason " * 30)]

    live(story)


def test_a_peer_that_does_not_say_goodbye_is_not_waited_for(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.02)

    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            receiver.websocket.close()
            assert receiver.websocket.wait_gone(5)
            client.close()

    live(story)


def test_closing_while_reading_is_paused_completes(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client, receiver = here.connect()
            receiver.gate.clear()
            here.run(client.send, *[text("x")] * (module.INBOX_MESSAGES + 1))
            _wait(runtime, lambda: receiver.websocket._readable is None)
            receiver.websocket.close()
            assert here.run(client.read_close) == 1000
            client.close()
            assert receiver.websocket.wait_gone(5)
            receiver.gate.set()
            assert receiver.over.wait(PATIENCE)

    live(story)


def _wait(runtime: Runtime, condition: Callable[[], bool]) -> None:
    event: Event = runtime.event()
    for _ in range(1000):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError("the condition did not come true")


# The handshake


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (HANDSHAKE.replace(b"GET", b"POST"), b"405"),
        (HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), b"400"),
        (HANDSHAKE.replace(b"Version: 13", b"Version: 8"), b"400"),
    ],
)
def test_a_bad_handshake_is_answered_in_http(live: Live, request_: bytes, status: bytes) -> None:
    def story(runtime: Runtime) -> None:
        with room(runtime) as here:
            client = here.run(Client, here.served.address)
            here.run(client.sock.sendall, request_)
            assert here.run(client.sock.recv, 1000).split()[1] == status
            client.close()

    live(story)
