"""Shapes of bodies and answers that have no value of their own in the model: for descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..alerts import Alert
from ..cards import NodeFacts
from ..channels import NOTIFICATIONS, RESOURCES
from ..model import Message, TopicSummary
from ..wire import MAX_BATCH_ITEMS, MAX_NAME_LENGTH

NO_CONTROLS = "\\u0000-\\u001f\\u007f-\\u009f"
Name = Annotated[
    str, Meta(min_length=1, max_length=MAX_NAME_LENGTH, pattern=f"^[^{NO_CONTROLS}]+$")
]
# What may be asked for; the server's own topics, which begin with `$`, are among them.
Topic = Annotated[
    str, Meta(min_length=1, max_length=MAX_NAME_LENGTH, pattern=f"^[^*{NO_CONTROLS}]+$")
]
OpenTopic = Annotated[
    str,
    Meta(
        min_length=1, max_length=MAX_NAME_LENGTH, pattern=f"^[^$*{NO_CONTROLS}][^*{NO_CONTROLS}]*$"
    ),
]
Sequence = Annotated[int, Meta(ge=1)]


class Publish(msgspec.Struct):
    """A message to publish; `message` is any JSON value."""

    topic: OpenTopic
    message_id: Name
    message: Any
    producer: Name


Batch = Annotated[list[Publish], Meta(min_length=1, max_length=MAX_BATCH_ITEMS)]


class Error(msgspec.Struct):
    """`code` is for programs and stays; `message` is for people.

    `status` is `degraded` only where `/health/ready` misses the other nodes.
    """

    status: Literal["error", "degraded"]
    code: str
    message: str


class Stored(msgspec.Struct):
    """Only `status`, and `duplicate` where it is one, unless `Prefer` asks for all."""

    status: Literal["ok"]
    duplicate: bool | UnsetType = UNSET
    topic: Topic | UnsetType = UNSET
    message_id: Name | UnsetType = UNSET
    sequence: Sequence | UnsetType = UNSET
    timestamp: float | UnsetType = UNSET
    epoch: str | UnsetType = UNSET


class BatchItem(msgspec.Struct):
    message_id: Name
    topic: Topic
    sequence: Sequence
    duplicate: bool


class BatchStored(msgspec.Struct):
    status: Literal["ok"]
    results: list[BatchItem]


class Subscription(msgspec.Struct):
    consumer: str
    topic: str
    connected_at: float


class ClientSubscription(msgspec.Struct):
    topic: str
    connected_at: float
    unconsumed: int | UnsetType | None = UNSET


class ConnectedClient(msgspec.Struct):
    connection_id: str
    consumer: str | None
    address: str
    connected_at: float
    backlog_bytes: int
    subscriptions: list[ClientSubscription]


class TopicRow(TopicSummary, frozen=True):
    subscribers: int = 0


# What a user and a resource may be called: topics are made of it.
UserId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_LENGTH - len(NOTIFICATIONS),
        pattern=f"^[^*{NO_CONTROLS}]+$",
    ),
]
ResourceId = Annotated[
    str,
    Meta(
        min_length=1, max_length=MAX_NAME_LENGTH - len(RESOURCES), pattern=f"^[^*{NO_CONTROLS}]+$"
    ),
]


class NotificationBody(msgspec.Struct):
    user_id: UserId
    title: Annotated[str, Meta(min_length=1, pattern="[A-Za-z0-9]")]
    body: str = ""
    data: Any = None


class NotificationRow(msgspec.Struct):
    """`data` is any JSON; of what another program published, all of it."""

    id: Name
    user_id: str
    title: str
    body: str
    data: Any
    created_at: float
    read: bool


class Unread(msgspec.Struct):
    unread: Annotated[int, Meta(ge=0)]


class MarkedRead(msgspec.Struct):
    status: Literal["ok"]
    id: Name
    read: bool


class BallotBody(msgspec.Struct):
    value: Literal[1, 0, -1]
    user: UserId | UnsetType = UNSET


class Health(msgspec.Struct):
    status: Literal["alive", "ready", "healthy"]
    timestamp: float


class Check(msgspec.Struct):
    status: Literal["ok", "error"]
    message: str | UnsetType = UNSET


class Report(msgspec.Struct):
    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: float
    version: str
    node_id: str
    uptime_seconds: float
    websocket_clients: int
    checks: dict[str, Check]


class Said(msgspec.Struct):
    """`data` is any JSON."""

    channel: Annotated[
        str, Meta(pattern=f"^cluster:[^*{NO_CONTROLS}]+$", max_length=MAX_NAME_LENGTH)
    ]
    data: Any


class Alerts(msgspec.Struct):
    active: list[Alert]
    ended: list[Alert]


class Done(msgspec.Struct):
    status: Literal["ok"]


class Nodes(msgspec.Struct):
    nodes: list[NodeFacts]


class History(msgspec.Struct):
    epoch: str
    messages: list[Message]
    sequence: int
    first: int
