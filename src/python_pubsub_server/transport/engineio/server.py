"""The Socket.IO server on our Engine.IO, and its rooms."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import socketio
import socketio.exceptions

from ...runtime import Runtime, guarded
from .connection import Forms
from .packets import Packet, json_value
from .sockets import Server, Socket

log = logging.getLogger("pubsub.socketio")
log.setLevel(logging.WARNING)  # else a line for every packet

# What of a request's environ a connection keeps: enough to authenticate it again, and for
# `flask.request` in a handler. The rest would keep the HTTP server's buffers alive.
KEPT = frozenset(
    (
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "PATH_INFO",
        "QUERY_STRING",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "HTTP_HOST",
        "HTTP_AUTHORIZATION",
        "HTTP_COOKIE",
        "HTTP_ORIGIN",
        "HTTP_USER_AGENT",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_HOST",
        "wsgi.url_scheme",
        "flask.app",
    )
)


# A refusal with a reason, and the sign that a handler takes no `auth`.
PASSING = (socketio.exceptions.ConnectionRefusedError, ConnectionRefusedError, TypeError)


class SocketIOServer(socketio.Server):  # type: ignore[misc]
    """python-socketio's server: one client's events in order, and no packet ends it by accident."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_packet_bytes: int,
        outbound_bytes: int,
        on_slow: Callable[[str], None],
        **options: Any,
    ) -> None:
        self._engine = functools.partial(
            Server,
            runtime=runtime,
            max_http_buffer_size=max_packet_bytes,
            outbound_bytes=outbound_bytes,
            on_slow=self._slow,
        )
        self._on_slow = on_slow
        self._forms: dict[tuple[str, bool], Forms] = {}
        self._opened: dict[str, Callable[[str], None]] = {}
        super().__init__(
            client_manager=Rooms(),
            async_mode=runtime.name,
            async_handlers=False,
            serializer=Packet,
            logger=log,
            engineio_logger=log,
            **options,
        )

    def forms(self, namespace: str, *, is_whole: bool = False) -> Forms:
        """The wire forms of a namespace: always the same ones, so that broadcasts share them."""
        forms = self._forms.get((namespace, is_whole))
        if forms is None:
            forms = self._forms[namespace, is_whole] = Forms(namespace, is_whole=is_whole)
        return forms

    def on_opened(self, namespace: str, function: Callable[[str], None]) -> None:
        """Call a function with the id of each client that has joined a namespace and knows it.

        The handler of `connect` runs before that: what it sends would come too early.
        """
        self._opened[namespace] = function

    def on_prompt(self, events: Iterable[str]) -> None:
        """Name the events of `/` whose handlers never wait: they need no task of their own."""
        names = "|".join(map(re.escape, events))
        self._find_prompt = re.compile(rf'42([0-9]{{0,15}})\["({names})",').match
        self.eio.receive_prompt = self._receive_prompt

    def _receive_prompt(self, session: Socket, message: str) -> bool:
        """Call the handler of a prompt event; False: it is none.

        A packet that is an event with one argument is read here. What is anything else about it,
        is for the general way to say.
        """
        found = self._find_prompt(message)
        if found is None or session.sid in self._binary_packet:
            return False
        sid = self.manager.sid_from_eio_sid(session.sid, "/")
        argument = json_value(message[found.end() : -1]) if message[-1] == "]" else None
        if argument is None or not self.manager.is_connected(sid, "/"):
            guarded(session.receive_text, message)
            return True
        number, event = found.groups()
        arguments = (sid, argument, int(number) if number else None)
        self._trigger_event(event, "/", *arguments)
        return True

    def session_of(self, sid: str, namespace: str) -> Socket:
        """The Engine.IO session of a client; KeyError: it is gone."""
        session: Socket = self.eio.sockets[self.manager.eio_sid_from_sid(sid, namespace)]
        return session

    def _engineio_server_class(self) -> Callable[..., Server]:
        return self._engine

    def _slow(self, eio_sid: str) -> None:
        for namespace in self.manager.get_namespaces():
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None:
                self._on_slow(sid)

    def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        kept = {name: value for name, value in environ.items() if name in KEPT}
        super()._handle_eio_connect(eio_sid, kept)

    def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        super()._handle_connect(eio_sid, namespace, data)
        session = self.eio.sockets.get(eio_sid)
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace or "/")
        if session is not None and sid:
            session.join()
            opened = self._opened.get(namespace or "/")
            if opened is not None:
                guarded(opened, sid)
        elif session is not None:
            session.refuse()

    def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            if not data and eio_sid not in self._binary_packet:
                raise ValueError("an empty message")  # python-socketio would take it for an event
            super()._handle_eio_message(eio_sid, data)
        except ValueError as error:
            log.info("closing %s, which broke the protocol: %s", eio_sid, error)
            self.eio.disconnect(eio_sid)

    def _trigger_event(self, event: str, namespace: str, *args: Any) -> Any:
        """Call a handler; what it fails to catch is logged and costs nobody the connection.

        A failed connect handler refuses; a failed disconnect handler keeps nothing alive. The
        exceptions by which a connect handler speaks to python-socketio pass.
        """
        try:
            return super()._trigger_event(event, namespace, *args)
        except Exception as error:
            if event == "connect" and isinstance(error, PASSING):
                raise
            log.exception("uncaught error in a handler of %s", event)
            return False if event == "connect" else self.not_handled


class Rooms(socketio.Manager):  # type: ignore[misc]
    """Who is in which room.

    python-socketio gives every client a room of its own and looks through all rooms at each
    disconnect, which takes time by the square of the clients when many leave. Here a client is
    its own room without an entry, and its other rooms are remembered with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rooms_of: dict[tuple[str, str], set[str]] = {}

    def basic_enter_room(
        self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None
    ) -> None:
        if room == sid:
            return
        super().basic_enter_room(sid, namespace, room, eio_sid)
        if room is not None:
            self._rooms_of.setdefault((namespace, sid), set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: str | None) -> None:
        super().basic_leave_room(sid, namespace, room)
        if room is not None:
            self._rooms_of.get((namespace, sid), set()).discard(room)

    def basic_disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        for room in self._rooms_of.pop((namespace, sid), ()):
            super().basic_leave_room(sid, namespace, room)
        super().basic_leave_room(sid, namespace, None)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in pending.get(namespace, ()):
                pending[namespace].remove(sid)
                if not pending[namespace]:
                    del pending[namespace]

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        if not self.is_sid_room(namespace, sid):
            return []
        return [sid, *self._rooms_of.get((namespace, sid), ())]

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        rooms: list[Any] = [room] if room is None or isinstance(room, str) else list(room)
        everyone = self.rooms.get(namespace, {}).get(None, {})
        participants: dict[str, str] = {}
        for name in rooms:
            if name in everyone:
                participants[name] = everyone[name]
            else:
                participants.update(self.rooms.get(namespace, {}).get(name, {}))
        yield from participants.items()
