"""One WebSocket on the event loop: no task while it idles, bounded buffers, shared frames.

Bytes come in by a readiness callback and go through the `websockets` library's sans-I/O
protocol. Whole messages are handed to a `Receiver` one after the other, by a task that exists
only while there are messages. Frames go out in one `send`; what the kernel does not take waits.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections import deque
from itertools import islice
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from ..runtime import Event, Runtime, Timer, Watch, guarded
from .fanout import Changes, Outlet
from .receiver import NOBODY, Message, Receiver
from .room import has_room

protocol_log = logging.getLogger("pubsub.websocket")
protocol_log.setLevel(logging.WARNING)  # else a line for every connection that ends

RECEIVE_BYTES = 65536
INBOX_MESSAGES = 128  # more are left in the kernel until half of these are dealt with
INBOX_BYTES = 1 << 20
FLUSH_PIECES = 64  # buffers in one system call; the kernel takes up to 1024
SMALLEST_PIECE = 64  # what an unsent piece costs at least, when it is counted
CLOSE_SECONDS = 5.0  # for the peer's part of the closing handshake

ABNORMAL = 1006  # never on the wire (RFC 6455 §7.4.1)
INVALID_TEXT = 1007


class WebSocket(Outlet):
    """Owned by the loop: every method is called on it, and only the `wait_` ones wait."""

    __slots__ = (
        "_drained",
        "_ending",
        "_fragments",
        "_gone",
        "_inbox",
        "_inbox_bytes",
        "_is_open",
        "_outbound_bytes",
        "_outbox",
        "_protocol",
        "_readable",
        "_receiver",
        "_runtime",
        "_sock",
        "_timer",
        "_unsent",
        "_writable",
        "changes",
        "send",
        "stalled_at",
    )

    def __init__(
        self,
        runtime: Runtime,
        sock: socket.socket,
        receiver: Receiver,
        *,
        max_size: int,
        outbound_bytes: int,
        changes: Changes | None = None,
    ) -> None:
        self._runtime = runtime
        self._sock: socket.socket | None = sock
        self.send = sock.send
        self.changes = changes or Changes()
        self._receiver = receiver
        self._protocol = ServerProtocol(state=State.OPEN, max_size=max_size, logger=protocol_log)
        self._is_open = True
        self._ending = False  # nothing is written any more after what is in the outbox
        self._readable: Watch | None = None
        self._inbox: deque[Any] | None = None  # not None: a task is at work on it
        self._inbox_bytes = 0
        self._fragments: list[bytes] | None = None
        self._writable: Watch | None = None
        self._outbox: deque[bytes | memoryview] | None = None
        self._outbound_bytes = outbound_bytes
        self._unsent = 0
        self._drained: Event | None = None
        self._gone: Event | None = None
        self._timer: Timer | None = None
        self.stalled_at: float | None = None  # since when something is unsent, Unix seconds

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def is_clear(self) -> bool:
        return self._is_open and self._outbox is None

    @property
    def max_size(self) -> int | None:
        """How long a message may be, in bytes."""
        return self._protocol.max_message_size

    @max_size.setter
    def max_size(self, max_size: int) -> None:
        self._protocol.max_message_size = max_size

    @property
    def is_listening(self) -> bool:
        """Whether it reads; not while a flood of messages waits to be received."""
        return self._readable is not None

    @property
    def unsent(self) -> int:
        """Bytes that wait for the kernel to take them."""
        return self._unsent

    def start(self, ahead: bytes = b"") -> None:
        """Begin to read; `ahead` came before."""
        if self._sock is not None:
            self._watch()
            if ahead:
                self._feed(ahead)

    def send_frames(self, frames: bytes) -> None:
        """Put whole frames behind all that was sent before. Once it is closed: nothing.

        A peer for which more than `outbound_bytes` would wait is cut off.
        """
        if self._is_open:
            self._write(frames)

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        """Wait until a replay has room for so many bytes; False: timed out or closed."""
        give_up_at = time.monotonic() + timeout
        while self._is_open and not has_room(self._unsent, size, self._outbound_bytes):
            if self._drained is None:
                self._drained = self._runtime.event()
            if not self._drained.wait(max(0.0, give_up_at - time.monotonic())):
                return False
        return self._is_open

    def wait_gone(self, timeout: float) -> bool:
        """Wait until its socket is closed; False: it is not yet."""
        if self._sock is None:
            return True
        if self._gone is None:
            self._gone = self._runtime.event()
        return self._gone.wait(timeout)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, after what is unsent; nothing is received any more."""
        if self._is_open:
            if self._protocol.state is State.OPEN:  # else the peer's goodbye was just read
                self._protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
            self._finish(code, reason)
            self._follow_protocol()

    def abort(self, code: int, reason: str) -> None:
        """Cut it off without a word. The kernel gives up its buffers at once, too."""
        if self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._release()
        self._finish(code, reason)

    # Outgoing

    def _write(self, data: bytes) -> None:
        if self._outbox is not None:
            self._keep(data)
            return
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.abort(ABNORMAL, error.strerror or "")
            return
        if sent != len(data):
            self.keep_rest(data, sent)

    def keep_rest(self, frames: bytes, sent: int) -> None:
        assert self._sock is not None
        self._outbox = deque()
        self.changes.count += 1
        self.stalled_at = time.time()
        self._writable = self._runtime.watch_writable(self._sock.fileno(), self._flush)
        self._keep(memoryview(frames)[sent:])

    def _keep(self, data: bytes | memoryview) -> None:
        """Let data wait. One piece may be larger than the bound, when nothing else waits."""
        assert self._outbox is not None
        is_first = not self._outbox
        self._unsent += len(data)
        self._outbox.append(data)
        too_much = max(self._unsent, len(self._outbox) * SMALLEST_PIECE) > self._outbound_bytes
        if too_much and not is_first:
            if self._is_open:
                self._receiver.slow()
            self.abort(ABNORMAL, "slow")

    def _flush(self) -> None:
        outbox = self._outbox
        assert outbox is not None and self._sock is not None
        try:
            sent = self._sock.sendmsg(islice(outbox, FLUSH_PIECES))
        except BlockingIOError:
            return
        except OSError as error:
            self.abort(ABNORMAL, error.strerror or "")
            return
        self._unsent -= sent
        while sent:
            piece = outbox.popleft()
            if len(piece) > sent:
                outbox.appendleft(memoryview(piece)[sent:])
            sent -= min(sent, len(piece))
        if not outbox:
            self._stop_writing()
            if self._ending:
                self._shut_down()
                if self._said_goodbye():
                    self._release()
        if self._drained is not None and self._unsent <= self._outbound_bytes // 4:
            self._drained.set()
            self._drained = None

    def _stop_writing(self) -> None:
        self._outbox = None
        self.changes.count += 1
        self.stalled_at = None
        self._unsent = 0
        if self._writable is not None:
            self._writable.close()
            self._writable = None

    # Incoming

    def _watch(self) -> None:
        if self._readable is None and self._sock is not None:
            self._readable = self._runtime.watch_readable(self._sock.fileno(), self._read)

    def _unwatch(self) -> None:
        if self._readable is not None:
            self._readable.close()
            self._readable = None

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.abort(ABNORMAL, error.strerror or "")
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        protocol = self._protocol
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for event in protocol.events_received():
            if self._is_open and isinstance(event, Frame):
                self._take(event)
        self._follow_protocol()

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            if frame.fin:
                self._deliver(opcode is Opcode.TEXT, frame.data)
            else:
                self._fragments = [b"t" if opcode is Opcode.TEXT else b"b", bytes(frame.data)]
        elif opcode is Opcode.CONT and self._fragments is not None:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                (kind, *pieces), self._fragments = self._fragments, None
                self._deliver(kind == b"t", b"".join(pieces))
        elif opcode is Opcode.PONG:
            self._receiver.ponged()

    def _deliver(self, is_text: bool, data: bytes | bytearray | memoryview) -> None:
        try:
            message: Message = str(data, "utf-8") if is_text else bytes(data)
        except UnicodeDecodeError:
            self._protocol.fail(INVALID_TEXT, "text is not UTF-8")
            self._finish(INVALID_TEXT, "text is not UTF-8")
            return
        if self._receiver.glance(message, is_next=self._inbox is None):
            return
        self._inbox_bytes += len(message)
        inbox = self._put(message)
        if len(inbox) >= INBOX_MESSAGES or self._inbox_bytes >= INBOX_BYTES:
            self._unwatch()

    def _put(self, item: object) -> deque[Any]:
        if self._inbox is None:
            self._inbox = deque()
            self._runtime.spawn(self._work, self._inbox)
        self._inbox.append(item)
        return self._inbox

    def _work(self, inbox: deque[Any]) -> None:
        while inbox:
            item = inbox.popleft()
            if isinstance(item, tuple):
                guarded(self._receiver.closed, *item)
                self._receiver = NOBODY  # it probably knows us: let go of each other
                continue
            guarded(self._receiver.receive, item)
            self._inbox_bytes -= len(item)
            if len(inbox) <= INBOX_MESSAGES // 2 and self._inbox_bytes <= INBOX_BYTES // 2:
                self._watch()
        self._inbox = None

    # The end

    def _follow_protocol(self) -> None:
        """Do what the protocol wants done after it was fed or told something."""
        protocol = self._protocol
        for data in protocol.data_to_send():
            if self._sock is None:
                return
            if data:
                self._write(data)
            else:
                self._ending = True
                if self._outbox is None:
                    self._shut_down()
        if protocol.state is State.OPEN:
            return
        closed = protocol.close_rcvd or protocol.close_sent
        self._finish(closed.code if closed else ABNORMAL, closed.reason if closed else "")
        if protocol.state is State.CLOSED or (self._outbox is None and self._said_goodbye()):
            self._release()
        elif self._sock is not None:
            self._watch()
            if self._timer is None:
                self._timer = self._runtime.after(CLOSE_SECONDS, self._release)

    def _said_goodbye(self) -> bool:
        """Whether both sides did: then it is for the server to close first (RFC 6455 §7.1.1)."""
        protocol = self._protocol
        return protocol.close_rcvd is not None and protocol.close_sent is not None

    def _shut_down(self) -> None:
        """Say that nothing more will come; what the peer still sends is read, so that it does
        not lose our last words to a connection reset."""
        assert self._sock is not None
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.abort(ABNORMAL, error.strerror or "")

    def _finish(self, code: int, reason: str) -> None:
        if self._is_open:
            self._is_open = False
            self.changes.count += 1
            self._fragments = None
            self._put((code, reason))
            if self._drained is not None:
                self._drained.set()

    def _release(self) -> None:
        self._unwatch()
        self._stop_writing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            if self._gone is not None:
                self._gone.set()
