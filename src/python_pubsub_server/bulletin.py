"""What is said on the bus channels `cluster:*`, as it reaches clients: at once, and not stored.

What programs say there reaches every client that may subscribe to `cluster:*`. The nodes' own
reports, which never end, only reach those that asked for them by subscribing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from .bus.bus import Bus
from .errors import Forbidden, Invalid, TooLarge
from .hub import Hub, Subscriber
from .identity import CLUSTER, Identity, Rights
from .model import Message
from .transport.connection import Broadcast, Connection
from .wire import check_json, check_name

EVENTS = {
    "cluster:metrics": "redis_cluster_metrics",
    "cluster:health": "redis_cluster_health",
    "cluster:alerts": "redis_cluster_alerts",
}
PREFIX = CLUSTER[:-1]
# How a node's report begins, by which the other nodes know it from what programs say.
REPORT_START = b'{"reported_by":'
NODES_START = b'{"nodes":[{"node_id":'  # as `GET /api/cluster/nodes` says it
MAX_EVENT_BYTES = 2**18

_decode_raw = msgspec.json.Decoder(Raw).decode


class Listener(Protocol):
    """A client, compared by identity; its rights may change."""

    @property
    def connection(self) -> Connection: ...

    @property
    def identity(self) -> Identity: ...


class Said(msgspec.Struct, frozen=True):
    """An event for a channel: `{channel, data}`; `data` is any JSON."""

    channel: str
    data: Raw


class Bulletin:
    """Passes on what is said, to clients and to `on_report`. Belongs to the event loop."""

    def __init__(self, bus: Bus, hub: Hub) -> None:
        self._bus = bus
        self._hub = hub
        self._listeners: dict[str, Any] = {}
        self.on_report: Callable[[str, bytes], None] = _nobody
        for channel in EVENTS:
            bus.on_channel(channel, self._heard)

    def join(self, listener: Listener) -> None:
        """Tell a client from now on what it may hear."""
        self._listeners[listener.connection.connection_id] = listener

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener.connection.connection_id, None)

    def publish(self, identity: Identity, said: Said) -> None:
        """Say something on a channel, to all nodes and programs. Raises Forbidden."""
        if not (identity.rights.admin or identity.may_publish(said.channel)):
            raise Forbidden(f"This token does not allow to publish on {said.channel!r}")
        self._bus.publish(said.channel, bytes(said.data))

    def report(self, channel: str, report: object) -> None:
        """Say what a node has to say of itself; its first field is `reported_by`."""
        self._bus.publish(channel, msgspec.json.encode(report))

    def stored(self, messages: Sequence[Message]) -> None:
        """Tell of messages that were published on these topics through a server."""
        for message in messages:
            if message.topic in EVENTS:
                self._tell_all(message.topic, bytes(message.message))

    def _heard(self, channel: str, payload: bytes) -> None:
        if payload.startswith(REPORT_START):
            self.on_report(channel, payload)
            self._tell_subscribers(channel, payload)
        elif payload.startswith(NODES_START):
            self._tell_subscribers(channel, payload)
        else:
            self._tell_all(channel, as_json(payload))

    def _tell_all(self, channel: str, payload: bytes) -> None:
        broadcast = Broadcast(EVENTS[channel], [payload])
        allowed: dict[Rights, bool] = {}
        for listener in list(self._listeners.values()):
            rights = listener.identity.rights
            if rights not in allowed:
                allowed[rights] = listener.identity.may_subscribe(channel)
            if allowed[rights]:
                listener.connection.send(broadcast)

    def _tell_subscribers(self, channel: str, payload: bytes) -> None:
        broadcast = Broadcast(EVENTS[channel], [payload])
        for subscriber in self._hub.subscribers(channel):
            connection = subscriber.connection
            if connection.connection_id in self._listeners and _asked(subscriber):
                connection.send(broadcast)


def parse_said(body: bytes) -> Said:
    """An event for a channel. Raises Invalid, TooLarge."""
    if len(body) > MAX_EVENT_BYTES:
        raise TooLarge(f"An event may have {MAX_EVENT_BYTES} bytes at most")
    check_json(body)
    try:
        said = msgspec.json.decode(body, type=Said)
    except msgspec.ValidationError as error:
        raise Invalid(f'{error}; send {{"channel": "cluster:…", "data": …}}') from None
    channel = check_name(said.channel, "channel")
    if not channel.startswith(PREFIX) or channel == PREFIX or "*" in channel:
        raise Invalid(f"`channel` must begin with {PREFIX!r}: {channel!r}")
    return said


def as_json(payload: bytes) -> bytes:
    """What a program said, as it is; where that is no JSON, as a JSON string."""
    try:
        payload.decode()
        _decode_raw(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode(payload.decode("utf-8", "replace"))
    return payload


def _asked(subscriber: Subscriber) -> bool:
    """`*` asks for messages, and not for what a server says of itself every two seconds."""
    return any(topic.startswith(PREFIX) for topic in subscriber.subscriptions)


def _nobody(channel: str, payload: bytes) -> None:
    pass
