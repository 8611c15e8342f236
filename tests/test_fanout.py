from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loops import BACKENDS, PATIENCE, run_on_loop
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.connection import Broadcast
from python_pubsub_server.transport.fanout import Changes, Fanout, Form, Way
from python_pubsub_server.transport.receiver import Receiver
from python_pubsub_server.transport.websocket import WebSocket

OUTBOUND = 1 << 20


def plain(broadcast: Broadcast) -> bytes:
    return b"".join(broadcast.payloads)


def loud(broadcast: Broadcast) -> bytes:
    return plain(broadcast).upper()


class Member:
    """A connection on one end of a pair of sockets; `walks` counts the calls of its own `send`."""

    address = "127.0.0.1"
    connection_id = "member"
    backlog = 0
    stalled_at = None

    def __init__(self, websocket: WebSocket | None, peer: socket.socket, form: Form) -> None:
        self.websocket = websocket
        self.peer = peer
        self.form = form
        self.walks = 0
        self.polled = b""

    def send(self, broadcast: Broadcast) -> Way | None:
        self.walks += 1
        frames = broadcast.form(self.form)
        if self.websocket is None:
            self.polled += frames
            return None
        self.websocket.send_frames(frames)
        return Way(self.form, self.websocket)

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        return True

    def close(self, reason: str) -> None:
        raise AssertionError("nobody closes this")

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self.peer.recv(size - len(found))
        return found

    def read_all(self) -> bytes:
        """What the kernel has, in a moment in which the loop sends nothing."""
        self.peer.setblocking(False)
        found = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                found += self.peer.recv(65536)
        self.peer.settimeout(PATIENCE)
        return found


class Story:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.changes = Changes()
        self.members: list[Member] = []

    def join(self, form: Form = plain, *, is_polling: bool = False) -> Member:
        ours, peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        peer.settimeout(PATIENCE)
        websocket = None if is_polling else self.websocket(ours)
        self.members.append(Member(websocket, peer, form))
        if is_polling:
            ours.close()
        return self.members[-1]

    def websocket(self, sock: socket.socket) -> WebSocket:
        return WebSocket(
            self.runtime,
            sock,
            Receiver(),
            max_size=1000,
            outbound_bytes=OUTBOUND,
            changes=self.changes,
        )

    def fanout(self) -> Fanout:
        return Fanout(tuple(self.members))

    def drain(self, member: Member, size: int) -> bytes:
        """Read on another thread, while the loop sends what waits."""
        threads = self.runtime.native_threads(1, "reader")
        try:
            return threads.run(member.read, size, timeout=PATIENCE)
        finally:
            threads.close(10)

    def close(self) -> None:
        for member in self.members:
            member.peer.close()
            if member.websocket is not None:
                member.websocket.abort(1006, "over")


@pytest.fixture(params=BACKENDS)
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[Callable[[Story], Any]], Any]]:
    def on_loop(story: Callable[[Story], Any]) -> Any:
        def run(runtime: Runtime) -> Any:
            told = Story(runtime)
            try:
                return story(told)
            finally:
                told.close()

        return run_on_loop(str(request.param), run)

    yield on_loop


Tell = Callable[[Callable[[Story], Any]], Any]


def cast(*payloads: bytes) -> Broadcast:
    return Broadcast("message", payloads)


def test_clear_connections_are_asked_once_and_then_sent_to_directly(tell: Tell) -> None:
    def story(told: Story) -> None:
        first, second = told.join(), told.join()
        fanout = told.fanout()
        for payload in (b"one ", b"two ", b"three "):
            fanout.send(cast(payload))
        assert first.read(14) == second.read(14) == b"one two three "
        assert (first.walks, second.walks) == (1, 1)

    tell(story)


def test_each_form_is_its_own_and_polling_connections_are_always_asked(tell: Tell) -> None:
    def story(told: Story) -> None:
        quiet, shouting, polling = told.join(), told.join(loud), told.join(is_polling=True)
        fanout = told.fanout()
        for payload in (b"one ", b"two "):
            fanout.send(cast(payload))
        assert (quiet.read(8), shouting.read(8)) == (b"one two ", b"ONE TWO ")
        assert (polling.polled, polling.walks) == (b"one two ", 2)

    tell(story)


def test_what_a_full_socket_does_not_take_comes_later_and_in_order(tell: Tell) -> None:
    def story(told: Story) -> None:
        slow, quick = told.join(), told.join()
        fanout = told.fanout()
        sent = b""
        for number in range(40):
            piece = b"%06d" % number * 100
            fanout.send(cast(piece))
            sent += piece
            assert quick.read(len(piece)) == piece
        assert slow.websocket is not None and slow.websocket.unsent > 0
        assert told.drain(slow, len(sent)) == sent
        assert slow.websocket.is_clear
        fanout.send(cast(b"end"))  # sorts anew
        walks = slow.walks
        fanout.send(cast(b"end"))
        assert slow.walks == walks
        assert slow.read(6) == b"endend"

    tell(story)


def test_what_was_sent_otherwise_and_waits_is_not_overtaken(tell: Tell) -> None:
    def story(told: Story) -> None:
        member = told.join()
        fanout = told.fanout()
        fanout.send(cast(b"first "))
        assert member.websocket is not None
        member.websocket.send_frames(b"x" * 300_000)
        taken = member.read_all()  # room for more, of which the waiting answer has to get all
        fanout.send(cast(b"last"))
        rest = told.drain(member, 300_010 - len(taken))
        assert taken + rest == b"first " + b"x" * 300_000 + b"last"

    tell(story)


def test_two_forms_of_one_socket_keep_their_order(tell: Tell) -> None:
    def story(told: Story) -> None:
        member = told.join()
        twin = Member(member.websocket, member.peer, loud)
        told.members.append(twin)
        fanout = told.fanout()
        fanout.send(cast(b"a"))
        big = b"b" * 300_000
        fanout.send(cast(big))
        assert told.drain(member, 600_002) == b"aA" + big + big.upper()

    tell(story)


def test_a_closed_connection_is_sent_nothing(tell: Tell) -> None:
    def story(told: Story) -> None:
        gone, leaving, other = told.join(), told.join(), told.join()
        fanout = told.fanout()
        fanout.send(cast(b"one"))
        assert gone.websocket is not None and leaving.websocket is not None
        gone.websocket.abort(1006, "gone")
        leaving.websocket.close()
        goodbye = leaving.read(7)
        fanout.send(cast(b"two"))
        fanout.send(cast(b"six"))
        assert goodbye[:3] == b"one"
        leaving.peer.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            leaving.peer.recv(1)
        assert other.read(9) == b"onetwosix"

    tell(story)


def test_a_peer_that_went_away_harms_nobody_else(tell: Tell) -> None:
    def story(told: Story) -> None:
        before, gone, after = told.join(), told.join(), told.join()
        fanout = told.fanout()
        fanout.send(cast(b"one"))
        gone.peer.close()
        fanout.send(cast(b"two"))
        fanout.send(cast(b"six"))
        assert gone.websocket is not None and not gone.websocket.is_open
        assert before.read(9) == after.read(9) == b"onetwosix"

    tell(story)
