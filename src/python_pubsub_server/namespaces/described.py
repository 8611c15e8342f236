"""What each event of the tables takes, and what the server sends. A test fails for one left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ..bulletin import EVENTS as CLUSTER_EVENTS
from ..cards import NodeFacts
from ..cluster import ClusterStatus
from ..health import Health
from ..joined import Subscribed
from ..model import Message
from ..notifications import ReadMark
from ..rooms import requests
from ..wire import After


class Described(msgspec.Struct, frozen=True):
    """`type` is what goes with the event, as msgspec makes a JSON Schema of it."""

    text: str
    type: Any = dict[str, Any]


class Events(msgspec.Struct, frozen=True):
    """What clients of a namespace send, and what they get."""

    received: Mapping[str, Described]
    sent: Mapping[str, Described]


class SubscribeBody(msgspec.Struct):
    consumer: str | UnsetType = UNSET
    topics: list[str] | str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    after: After | dict[str, After] | UnsetType | None = UNSET
    epoch: str | UnsetType | None = UNSET


class SuggestionsBody(msgspec.Struct):
    consumer: str | UnsetType = UNSET
    after: After | UnsetType | None = UNSET
    epoch: str | UnsetType | None = UNSET


class ResourceBody(SuggestionsBody, kw_only=True):
    resource_id: str | int


class UnsubscribeBody(msgspec.Struct):
    topics: list[str] | str | UnsetType = UNSET
    channel: str | UnsetType = UNSET


class PublishBody(msgspec.Struct):
    topic: str
    message_id: str
    message: Any
    producer: str


class ConsumedBody(msgspec.Struct):
    consumer: str
    topic: str
    message_id: str
    sequence: int | None = None


class HistoryBody(msgspec.Struct):
    topic: str
    after: int = 0
    limit: int = 100


class PresenceBody(msgspec.Struct):
    topic: str


class RefreshBody(msgspec.Struct):
    token: str


class TalkBody(msgspec.Struct):
    data: requests.Talk


class Said(msgspec.Struct):
    channel: str
    data: Any


class Greeting(msgspec.Struct):
    status: str
    node_id: str
    timestamp: float


class Unsubscribed(msgspec.Struct):
    status: str
    topics: list[str]


class Refusal(msgspec.Struct):
    """`event` is the one that was refused."""

    status: str
    code: str
    message: str
    event: str | None


REFRESH = Described("Go on with a newer token of the same user", RefreshBody)

DESCRIBED: Mapping[str, Events] = {
    "/": Events(
        {
            "subscribe": Described("Join topics and patterns, with what was missed", SubscribeBody),
            "subscribe:suggestions": Described("Hear of votes on suggestions", SuggestionsBody),
            "subscribe:resource": Described(
                "Hear of a resource's updates, its last one first", ResourceBody
            ),
            "unsubscribe": Described("Leave some topics, or all", UnsubscribeBody),
            "publish": Described("Store and deliver a message", PublishBody),
            "consumed": Described("Confirm that a message was processed", ConsumedBody),
            "history": Described("Read a topic's messages", HistoryBody),
            "presence": Described("Ask who is subscribed to a topic", PresenceBody),
            "publish_event": Described("Say something on a channel of the cluster", Said),
            "refresh": REFRESH,
        },
        {
            "message": Described("A message of a subscribed topic", Message),
            "notification": Described("A notification, or what else was published there", Any),
            "notification:read": Described("A notification was marked as read", ReadMark),
            "suggestion:vote": Described("How a suggestion stands after a change", Any),
            "resource:update": Described("What became of a resource", Any),
            "subscribed": Described("Where the subscriptions begin", Subscribed),
            "unsubscribed": Described("The topics that were left", Unsubscribed),
            "error": Described("An event was refused that asked for no answer", Refusal),
        }
        | {
            event: Described(f"What was said on the channel `{channel}`", Any)
            for channel, event in CLUSTER_EVENTS.items()
        },
    ),
    "/health": Events(
        {"request_health": Described("Ask how this node is"), "refresh": REFRESH},
        {
            "health_connected": Described("Which node this is", Greeting),
            "health_response": Described("How this node is", Health),
            "error": Described("An event was refused that asked for no answer", Refusal),
        },
    ),
    "/chat": Events(
        {
            "join": Described("Enter a room, with what was missed", requests.Join),
            "leave": Described("Leave a room", requests.Here),
            "message": Described("Say something in a room", TalkBody),
            "presence": Described("Ask who is in a room", requests.Here),
            "history": Described("Read what was said in a room", requests.History),
            "status": Described("Say that one is away, or back", requests.Status),
            "typing": Described("Tell a room that one is typing", requests.Here),
            "rooms": Described("Ask for the liveliest rooms"),
            "heartbeat": Described("A sign of life"),
            "refresh": REFRESH,
        },
        {
            name: Described(text)
            for name, text in (
                ("connected", "Who one is"),
                ("message", "What somebody said, or the system"),
                ("presence", "Who is in a room"),
                ("history", "What was said in a room"),
                ("typing", "Somebody is typing"),
                ("rooms", "The liveliest rooms"),
                ("heartbeat", "To be answered with the same"),
                ("error", "An event was refused that asked for no answer"),
            )
        },
    ),
    "/monitoring": Events(
        {
            "subscribe_to_updates": Described("Be told from now on what happens"),
            "request_nodes_status": Described("Ask for the nodes that serve this log"),
            "request_cluster_status": Described("Ask for the sums over the nodes"),
            "refresh": REFRESH,
        },
        {
            "nodes_status_response": Described("The nodes", dict[str, list[NodeFacts]]),
            "cluster_status_response": Described("Sums over the nodes", ClusterStatus),
        }
        | {
            name: Described(text)
            for name, text in (
                ("new_client", "A subscription began"),
                ("client_disconnected", "A subscription ended"),
                ("new_message", "A message was stored"),
                ("new_consumption", "A message was confirmed"),
                ("server_error", "The server warns, or something failed"),
                ("stats", "The rates of the last second"),
                ("error", "An event was refused that asked for no answer"),
            )
        },
    ),
}
