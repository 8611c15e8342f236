"""`GET /topics/<topic>/events`: a topic as Server-Sent Events."""

from __future__ import annotations

from functools import partial

from ..errors import RequestError
from ..identity import Identity
from ..node import Client, Node
from ..transport import sse
from ..transport.connection import Broadcast
from ..wire import Subscribe, check_name, encode
from .http import Request, Response, number_of, topic_of

LAST_EVENT_ID = "Last-Event-ID"


class Listening:
    """A stream with who it speaks for."""

    __slots__ = ("identity", "stream")

    def __init__(self, stream: sse.EventStream, identity: Identity) -> None:
        self.stream = stream
        self.identity = identity

    def end(self, error: RequestError) -> None:
        self.stream.send(Broadcast("error", [encode(error.body() | {"event": None})]))
        self.stream.close(error.code)


def topic_events(node: Node, request: Request) -> Response:
    """A topic's messages as they come, from behind the last one that the client has."""
    query = request.query("last_event_id", "access_token")
    topic = topic_of(request)
    request.identity.check_subscribe(topic)
    last = request.header(LAST_EVENT_ID) or query.get("last_event_id", "")
    epoch, after = _event_id(last) if last else (None, None)
    environ = request.environ
    if environ["REQUEST_METHOD"] == "HEAD":
        return Response(b"", content_type=dict(sse.HEADERS)["Content-Type"])
    stream = node.streams.stream(environ, node.gate.cors_headers(environ))
    stream.address = request.identity.address
    listening = Listening(stream, request.identity)
    node.connections[stream.connection_id] = Client(stream, node.clock.now(), "events")
    node.sessions.watch(listening)
    try:
        wanted = Subscribe(None, (topic,), is_short=True, after=after, epoch=epoch)
        node.subscribing.subscribe(request.identity, stream, wanted)
    except BaseException:
        stream.close("subscribe failed")
        raise
    finally:
        stream.when_closed(partial(_forget, node, listening))
    return Response(b"")  # sent already


def _forget(node: Node, listening: Listening) -> None:
    node.connections.pop(listening.stream.connection_id, None)
    node.sessions.forget(listening)
    node.subscribing.disconnect(listening.stream)


def _event_id(text: str) -> tuple[str | None, int]:
    """`EPOCH:SEQUENCE`, or a sequence alone: what an event's `id` says."""
    epoch, colon, sequence = text.rpartition(":")
    if colon:
        check_name(epoch, LAST_EVENT_ID)
    return epoch or None, number_of({LAST_EVENT_ID: sequence}, LAST_EVENT_ID, 0)
