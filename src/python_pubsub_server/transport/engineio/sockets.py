"""Engine.IO on the project's own WebSocket: no task and no queue for a connection that idles.

python-engineio keeps the HTTP side (polling, upgrades, sessions); this module replaces how its
sockets send, receive, ping and close. It knows private names of python-engineio, and the tests
say so if an upgrade changes them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import engineio
from engineio.exceptions import ContentTooLongError, EngineIOError, QueueEmpty
from engineio.packet import CLOSE, MESSAGE, NOOP, OPEN, PING, PONG
from engineio.packet import Packet as EnginePacket
from engineio.payload import Payload
from engineio.socket import Socket as StockSocket

from ...runtime import Event, Runtime
from ..fanout import Changes
from ..frames import BINARY, TEXT, frame
from ..handshake import open_websocket
from ..heartbeat import Heartbeat
from ..receiver import Message, Receiver
from ..room import has_room
from ..websocket import WebSocket
from .carriers import PONG_TEXT, Candidate, Carrier

PING_FRAME = frame(TEXT, str(PING).encode())
GOING_AWAY = 1001
PACKETS_AT_ONCE: int = Payload.max_decode_packets
POST_PATIENCE = 10.0
MAX_UNJOINED = 10_000  # sessions without a namespace; past it the oldest one ends
UNJOINED_BYTES = 65_536  # of a message of such a session
MAX_REFUSALS = 10  # of namespaces; then a session ends that has joined none
NOT_JOINED = "no namespace joined"
MAX_INCOMING = 1_000  # packets that may wait to be received
SEPARATOR = "\x1e"  # between the packets of one polling request


class Server(engineio.Server):  # type: ignore[misc]
    """python-engineio's server with our sockets."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        outbound_bytes: int,
        on_slow: Callable[[str], None],
        **options: Any,
    ) -> None:
        super().__init__(monitor_clients=False, **options)
        self.runtime = runtime
        self.outbound_bytes = outbound_bytes
        self.on_slow = on_slow
        self.unjoined: dict[Socket, None] = {}
        self.changes = Changes()
        self.receive_prompt: Callable[[Socket, str], bool] = lambda session, message: False
        self.heartbeat = Heartbeat(runtime, self.ping_interval, self.ping_timeout)

    def _handle_connect(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        transport: str,
        jsonp_index: int | None = None,
    ) -> Any:
        sid = self.generate_id()
        connection = self.sockets[sid] = Socket(self, sid, transport)
        self._await_join(connection)
        refusal = self._trigger_event("connect", sid, environ, run_async=False)
        if refusal is not None and refusal is not True:
            connection.drop()
            return self._unauthorized(refusal or None)
        if transport == "websocket":
            return connection.open(environ, start_response)
        connection.send(connection.greeting())
        connection.connected = True
        self.heartbeat.watch(connection)
        return self._ok(connection.poll(), jsonp_index=jsonp_index)

    def _await_join(self, connection: Socket) -> None:
        """Clients join at once: of too many that have not, the oldest is most probably nobody."""
        self.unjoined[connection] = None
        if len(self.unjoined) > MAX_UNJOINED:
            oldest = next(iter(self.unjoined))
            del self.unjoined[oldest]
            oldest.end(NOT_JOINED)

    def open_sockets(self) -> list[Socket]:
        return list(self.sockets.values())


class Socket(StockSocket):  # type: ignore[misc]
    """One Engine.IO session. With `websocket` set, everything goes that way; without, by polls."""

    server: Server

    def __init__(self, server: Server, sid: str, transport: str = "polling") -> None:
        self.server = server
        self.sid = sid
        self.queue = server.create_queue() if transport == "polling" else None
        self.queued_bytes = 0
        self.polled_at = time.time()
        self.stalled_at: float | None = None  # of one that was closed as slow: since when
        self.incoming: deque[EnginePacket] | None = None  # what polling requests brought
        self.received: Event | None = None  # a task is at work on them
        self.fetched: Event | None = None  # some task waits for the next poll
        self.websocket: WebSocket | None = None
        self.last_ping = None
        self.connected = False
        self.upgrading = False
        self.upgraded = transport == "websocket"
        self.joined = False
        self.refusals = 0
        self.ending = False
        self.closing = False
        self.closed = False
        self.session: dict[str, Any] = {}

    def greeting(self) -> EnginePacket:
        server = self.server
        return EnginePacket(
            OPEN,
            {
                "sid": self.sid,
                "upgrades": [] if self.upgraded else ["websocket"],
                "pingInterval": int(server.ping_interval * 1000),
                "pingTimeout": int(server.ping_timeout * 1000),
                "maxPayload": server.max_http_buffer_size,
            },
        )

    # Sending

    def send(self, pkt: EnginePacket) -> None:
        if self.websocket is not None:
            data = pkt.encode()
            if isinstance(data, str):
                self.websocket.send_frames(frame(TEXT, data.encode()))
            else:
                self.websocket.send_frames(frame(BINARY, data))
        elif not self.ending and not self.closed and self.queue is not None:
            is_first = not self.queued_bytes  # one may be larger than the bound
            self.queued_bytes += len(pkt.encode(b64=True))
            self.queue.put(pkt)
            if self.queued_bytes > self.server.outbound_bytes and not is_first:
                self.slow()

    def poll(self) -> list[EnginePacket]:
        """Wait for packets; no more at once than python-engineio's own client accepts."""
        queue = self.queue
        if queue is None:
            return []
        try:
            packets = [queue.get(timeout=self.server.ping_interval + self.server.ping_timeout)]
        except self.server.get_queue_empty_exception() as error:
            raise QueueEmpty from error
        while packets[-1] is not None and len(packets) < PACKETS_AT_ONCE and not queue.empty():
            packets.append(queue.get(block=False))
        if packets[-1] is None:
            packets.pop()
            queue.put(None)  # the end is the end for later polls, too
        self.queued_bytes -= sum(len(pkt.encode(b64=True)) for pkt in packets)
        self.polled_at = time.time()
        self._wake_drained()
        return packets

    def wait_drained(self, timeout: float, size: int = 0) -> bool:
        """Wait until a replay has room for so many bytes; False: timed out or closed."""
        give_up_at = time.monotonic() + timeout
        while self.websocket is None:
            if self.closed or has_room(self.queued_bytes, size, self.server.outbound_bytes):
                return not self.closed
            self.fetched = self.fetched or self.server.runtime.event()
            if not self.fetched.wait(max(0.0, give_up_at - time.monotonic())):
                return False
        return self.websocket.wait_drained(max(0.0, give_up_at - time.monotonic()), size)

    def _wake_drained(self) -> None:
        if self.fetched is not None:
            self.fetched.set()
            self.fetched = None

    def slow(self) -> None:
        """Its unsent bytes passed the bound: it is about to be closed."""
        if not self.ending and not self.closing:
            since = None if self.websocket is None else self.websocket.stalled_at
            self.stalled_at = since or self.polled_at
            self.server.on_slow(self.sid)
            if self.websocket is None:
                self.end(self.server.reason.TRANSPORT_ERROR)

    # Receiving

    def receive(self, pkt: EnginePacket) -> None:
        """A packet of a polling client, other than an answer to a ping."""
        if pkt.packet_type == MESSAGE:
            self.server.handlers["message"](self.sid, pkt.data)
        else:
            self.close(wait=False, abort=True, reason=self.server.reason.CLIENT_DISCONNECT)

    def handle_post_request(self, environ: dict[str, Any]) -> None:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > self.server.max_http_buffer_size:
            raise ContentTooLongError
        try:
            body = environ["wsgi.input"].read(length).decode()
            packets = [EnginePacket(encoded_packet=text) for text in body.split(SEPARATOR)]
        except ValueError as error:
            raise EngineIOError("malformed payload") from error
        for pkt in packets:
            if pkt.packet_type not in (PONG, MESSAGE, CLOSE):
                raise EngineIOError(f"unexpected packet of type {pkt.packet_type}")
        self._take_in(packets)

    def _take_in(self, packets: Iterable[EnginePacket]) -> None:
        """Let packets be received in their order, behind the answer to the request with them.

        What a packet asks for (a long replay) may wait for the client's next poll; and an answer
        that overtakes the request's own makes python-engineio's client forget what it still
        wanted to send. A flood is held back: a request waits for most of what came before it.
        The answer to a ping counts at once, whatever is still being done.
        """
        self.incoming = self.incoming or deque()
        for pkt in packets:
            if pkt.packet_type == PONG:
                self.server.heartbeat.heard(self)
            else:
                self.incoming.append(pkt)
        if self.received is None:
            self.received = self.server.runtime.event()
            self.server.runtime.spawn(self._receive_all, self.received)
        elif len(self.incoming) > MAX_INCOMING:
            self.received.wait(POST_PATIENCE)
            if self.incoming is not None and len(self.incoming) > MAX_INCOMING:
                raise EngineIOError("too many packets wait to be received")

    def _receive_all(self, received: Event) -> None:
        try:
            while self.incoming and not self.closed:
                self.receive(self.incoming.popleft())
        finally:
            self.received = self.incoming = None
            received.set()

    def receive_text(self, message: Message) -> None:
        """A message of a WebSocket client; what it sent by polling comes before it."""
        if self.received is not None:
            self.received.wait(self.server.ping_interval + self.server.ping_timeout)
        if isinstance(message, bytes):
            self.server.handlers["message"](self.sid, message)
        elif message[:1] == "4":
            self.server.handlers["message"](self.sid, message[1:])
        elif message[:1] == "1":
            self.close(wait=False, abort=True, reason=self.server.reason.CLIENT_DISCONNECT)
        elif message != PONG_TEXT:
            self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_ERROR)

    # Pulse

    def ping(self) -> None:
        if not self.joined:  # official clients join a namespace as soon as they are open
            self.end(NOT_JOINED)
        elif self.websocket is not None:
            self.websocket.send_frames(PING_FRAME)
        else:
            self.send(EnginePacket(PING))

    def expire(self) -> None:
        if self.websocket is not None and not self.websocket.is_listening:
            self.server.heartbeat.watch(self)  # its answer may be among what is not read yet
        else:
            self.end(self.server.reason.PING_TIMEOUT)

    # Opening and upgrading

    def join(self) -> None:
        """It has joined a namespace: from now on it is somebody's."""
        self.joined = True
        self.server.unjoined.pop(self, None)
        if self.websocket is not None:
            self.websocket.max_size = self.server.max_http_buffer_size

    def refuse(self) -> None:
        """It may not join what it asked for."""
        self.refusals += 1
        if self.refusals >= MAX_REFUSALS and not self.joined:
            self.end(NOT_JOINED)

    def open(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer a request that is a session from its beginning."""
        answer = self._handshake(environ, start_response, Carrier(self))
        if self.websocket is None:
            self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_ERROR)
        return answer

    def carry_by(self, websocket: WebSocket) -> None:
        """From here on all goes by WebSocket, after what no poll has fetched yet."""
        self.upgraded = True
        self.upgrading = False
        self.connected = True
        left = self._unfetched()
        self.websocket = websocket
        if self.joined:
            websocket.max_size = self.server.max_http_buffer_size
        self.server.changes.count += 1
        for pkt in left:
            self.send(pkt)

    def _unfetched(self) -> list[EnginePacket]:
        queue, self.queue = self.queue, None
        packets = []
        while queue is not None and not queue.empty():
            packet = queue.get(block=False)
            if packet is not None and packet.packet_type != NOOP:
                packets.append(packet)
        self.queued_bytes = 0
        self._wake_drained()
        return packets

    def _upgrade_websocket(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Any:
        if self.upgraded or self.upgrading:
            return self.server._bad_request("This session has a WebSocket already")
        return self._handshake(environ, start_response, Candidate(self))

    def _handshake(
        self, environ: dict[str, Any], start_response: Callable[..., Any], receiver: Receiver
    ) -> Any:
        answer: Sequence[bytes] = open_websocket(
            self.server.runtime,
            environ,
            start_response,
            receiver,
            max_size=UNJOINED_BYTES,
            outbound_bytes=self.server.outbound_bytes,
            changes=self.server.changes,
        )
        # python-engineio would take a list for packets that are still to be encoded.
        return tuple(answer)

    # Ending

    def end(self, reason: str) -> None:
        """Close it soon, from where nothing may wait."""
        if not self.ending:
            self.ending = True
            self.server.runtime.spawn(self.close, False, True, reason)

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Never waits for the client: an unread queue would hold up whoever closes."""
        if self.closed or self.closing:
            return
        self.closing = True
        try:
            self.server._trigger_event(
                "disconnect",
                self.sid,
                reason or self.server.reason.SERVER_DISCONNECT,
                run_async=False,
            )
        finally:
            if self.websocket is not None:
                self.websocket.close(GOING_AWAY, reason or "")
            elif self.queue is not None:
                if not abort:
                    self.queue.put(EnginePacket(CLOSE))
                self.queue.put(None)
            self.drop()

    def drop(self) -> None:
        self.closed = True
        self.server.unjoined.pop(self, None)
        self._wake_drained()
        self.server.heartbeat.forget(self)
        self.server.sockets.pop(self.sid, None)
