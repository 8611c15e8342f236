"""What the WebSockets of Engine.IO sessions are to them: the one there is, or one that is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineio.packet import NOOP, PING, PONG, UPGRADE
from engineio.packet import Packet as EnginePacket

from ...runtime import Timer
from ..frames import TEXT, frame
from ..receiver import Message, Receiver

if TYPE_CHECKING:
    from ..websocket import WebSocket
    from .sockets import Socket

PONG_TEXT = str(PONG)
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
UPGRADE_SECONDS = 10.0  # official clients need one exchange


class Carrier(Receiver):
    """The WebSocket of a session."""

    __slots__ = ("session",)

    def __init__(self, session: Socket) -> None:
        self.session = session

    def opened(self, websocket: WebSocket) -> None:
        session = self.session
        session.carry_by(websocket)
        session.send(session.greeting())
        session.server.heartbeat.watch(session)

    def glance(self, message: Message, *, is_next: bool) -> bool:
        session = self.session
        if message == PONG_TEXT:  # counts at once: what comes before it may be a long replay
            session.server.heartbeat.heard(session)
            return True
        if not is_next or isinstance(message, bytes):
            return False
        if session.received is not None or session.closed:
            return False
        return session.server.receive_prompt(session, message)

    def receive(self, message: Message) -> None:
        if message == PONG_TEXT:
            self.session.server.heartbeat.heard(self.session)
        elif not self.session.closed:
            self.session.receive_text(message)

    def slow(self) -> None:
        self.session.slow()

    def closed(self, code: int, reason: str) -> None:
        reasons = self.session.server.reason
        why = reasons.TRANSPORT_ERROR if reason == "slow" else reasons.TRANSPORT_CLOSE
        self.session.close(wait=False, abort=True, reason=why)


class Candidate(Carrier):
    """A WebSocket that a polling session tries out, and then moves to; nobody pings it before."""

    __slots__ = ("_timer", "websocket")

    def opened(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        runtime = self.session.server.runtime
        self._timer: Timer = runtime.after(UPGRADE_SECONDS, self._give_up)

    def glance(self, message: Message, *, is_next: bool) -> bool:
        return self._is_carrier and super().glance(message, is_next=is_next)

    def receive(self, message: Message) -> None:
        session = self.session
        if self._is_carrier:
            super().receive(message)
        elif session.closed or session.upgraded:
            self.websocket.close(GOING_AWAY)
        elif message == f"{PING}probe":
            session.upgrading = True  # polls get nothing from here on
            self.websocket.send_frames(frame(TEXT, f"{PONG}probe".encode()))
            session.send(EnginePacket(NOOP))  # ends the poll that waits
        elif message == str(UPGRADE) and session.upgrading:
            session.carry_by(self.websocket)
        else:
            self.websocket.close(PROTOCOL_ERROR, "not an upgrade")

    def slow(self) -> None:
        if self._is_carrier:
            super().slow()

    def closed(self, code: int, reason: str) -> None:
        self._timer.cancel()
        if self._is_carrier:
            super().closed(code, reason)
        elif not self.session.upgraded:
            self.session.upgrading = False

    @property
    def _is_carrier(self) -> bool:
        return self.session.websocket is self.websocket

    def _give_up(self) -> None:
        if not self._is_carrier:
            self.websocket.close(GOING_AWAY, "not upgraded in time")
