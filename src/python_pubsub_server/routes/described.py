"""What each route of the table takes and gives. A test fails for one that is not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..activity import WINDOWS, ActivityReport
from ..graph import GraphState
from ..metrics import CONTENT_TYPE
from ..model import Consumption, Explanation, Ledger, Message, Tally
from ..trends import TrendsReport
from ..vitals import METRICS
from . import answers
from .answers import Name, ResourceId, Topic, UserId
from .cluster import LATEST
from .http import JSON, NDJSON
from .monitoring import MAX_SEARCH_LENGTH

HTML = "text/html"
COUNT = 10**18 - 1  # the largest number that a query may have


class Parameter(msgspec.Struct, frozen=True):
    """`type` is one that msgspec makes a JSON Schema of."""

    name: str
    type: Any
    text: str = ""
    is_required: bool = False
    place: Literal["query", "header", "path"] = "query"


class Operation(msgspec.Struct, frozen=True):
    """A route beyond its path. `answer` is a type of JSON, None for another `content`."""

    text: str
    answer: Any = None
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    bodies: tuple[str, ...] = (JSON,)
    content: str = JSON
    status: int = 200
    errors: tuple[int, ...] = (400, 403, 429, 503)
    headers: Mapping[str, str] = {}
    needs_admin: bool = False


Whole = Annotated[int, Meta(ge=0, le=COUNT)]
Time = Annotated[float, Meta(ge=0, le=LATEST)]
Positive = Annotated[int, Meta(ge=1, le=COUNT)]

LIMIT = Parameter("limit", Positive, "How many at most; 100 without it, and never more than 1,000")
BEFORE = Parameter("before", Positive, "The cursor of the header `Link`")
TOPIC = Parameter("topic", Name, "Of this topic only")
CONSUMER = Parameter("consumer", Name, "Of this consumer only")
USER = Parameter("user", UserId, "Who asks, where no token says it; `anonymous` without it")
LISTED = {"Link": 'Leads to the next page, with `rel="next"`, when there is more'}

# By the names of their functions.
OPERATIONS: Mapping[str, Operation] = {
    "publish": Operation(
        "Store a message and deliver it; answered once it is committed",
        answers.Stored,
        (Parameter("Prefer", str, "`return=representation` for a full answer", place="header"),),
        answers.Publish,
        errors=(400, 403, 413, 415, 429, 503),
    ),
    "publish_batch": Operation(
        "Store up to 10,000 messages, all or none",
        answers.BatchStored,
        body=answers.Batch,
        bodies=(JSON, NDJSON),
        errors=(400, 403, 413, 415, 429, 503),
    ),
    "clients": Operation(
        "Live subscriptions, newest first", list[answers.Subscription], needs_admin=True
    ),
    "messages": Operation(
        "Messages of every topic, newest first",
        list[Message],
        (
            LIMIT,
            TOPIC,
            Parameter("producer", Name, "Of this producer only"),
            Parameter(
                "q",
                Annotated[str, Meta(max_length=MAX_SEARCH_LENGTH)],
                "Words, each of which begins a word of the message",
            ),
            BEFORE,
        ),
        headers=LISTED,
        needs_admin=True,
    ),
    "consumptions": Operation(
        "Consumptions, newest first",
        list[Consumption],
        (LIMIT, TOPIC, CONSUMER, BEFORE),
        headers=LISTED,
        needs_admin=True,
    ),
    "topics": Operation("Every topic, by name", list[answers.TopicRow], needs_admin=True),
    "topic_messages": Operation(
        "A topic's messages, oldest first",
        answers.History,
        (
            Parameter("after", Whole, "Behind this sequence"),
            LIMIT,
            Parameter(
                "wait",
                Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")],
                "Seconds to wait for a message when there is none; more than 60 is 60",
            ),
        ),
    ),
    "topic_events": Operation(
        "A topic's messages as Server-Sent Events; the response does not end",
        None,
        (
            Parameter("last_event_id", str, "`EPOCH:SEQUENCE`: the messages behind it come first"),
            Parameter(
                "Last-Event-ID", str, "The same; it counts more than the query", place="header"
            ),
        ),
        content="text/event-stream",
    ),
    "deliveries": Operation(
        "Who was sent a message, who confirmed it, and who still has to",
        Ledger,
        errors=(400, 403, 404, 429, 503),
    ),
    "explain": Operation(
        "Why a consumer did or did not get a message",
        Explanation,
        (
            Parameter("consumer", Name, "", is_required=True),
            Parameter("sequence", Whole, "", is_required=True),
        ),
    ),
    "connected": Operation(
        "Connected clients, newest first, and what waits for them",
        list[answers.ConnectedClient],
        (CONSUMER, LIMIT),
        needs_admin=True,
    ),
    "nodes": Operation("The nodes that serve this log", answers.Nodes, needs_admin=True),
    "alerts": Operation(
        "What is wrong now, on any node, and what was", answers.Alerts, needs_admin=True
    ),
    "history": Operation(
        "What the nodes measured: the last 15 minutes by the second, the last day by the minute",
        TrendsReport,
        (
            Parameter("node", Name, "Of this node only"),
            Parameter("metric", Literal[METRICS], "This metric only"),
            Parameter("from", Time, "A Unix time; without it an hour before `to`"),
            Parameter("to", Time, "A Unix time; without it now"),
        ),
        needs_admin=True,
    ),
    "publish_event": Operation(
        "Say something on a channel `cluster:…`, to all nodes, their clients and other programs",
        answers.Done,
        body=answers.Said,
        errors=(400, 403, 413, 415, 429, 503),
    ),
    "graph": Operation("Who sends what to whom", GraphState, needs_admin=True),
    "activity": Operation(
        "How many messages came on each topic in each slot of time",
        ActivityReport,
        (Parameter("window", Literal[tuple(WINDOWS)], "`minute` without it"), LIMIT),
        needs_admin=True,
    ),
    "notify": Operation(
        "Store a notification and deliver it to its user",
        answers.NotificationRow,
        body=answers.NotificationBody,
        status=201,
        errors=(400, 403, 404, 413, 415, 429, 503),
    ),
    "notifications": Operation(
        "The user's notifications, newest first",
        list[answers.NotificationRow],
        (Parameter("unread", bool, "Only those that are not read"), LIMIT, BEFORE, USER),
        headers=LISTED,
    ),
    "unread_count": Operation("How many the user has not read", answers.Unread, (USER,)),
    "mark_read": Operation(
        "Mark a notification as read",
        answers.MarkedRead,
        (USER,),
        errors=(400, 403, 404, 429, 503),
    ),
    "vote": Operation(
        "Set the user's vote; 0 takes it back",
        Tally,
        (USER,),
        answers.BallotBody,
        errors=(400, 403, 413, 415, 429, 503),
    ),
    "suggestion": Operation("How a suggestion stands", Tally),
    "update_resource": Operation(
        "Store an update of a resource and deliver it",
        answers.Stored,
        body=dict[str, Any],
        errors=(400, 403, 413, 415, 429, 503),
    ),
    "live": Operation("The process turns", answers.Health, errors=(403,)),
    "ready": Operation("Everything works", answers.Health, errors=(403, 503)),
    "health": Operation("Everything works", answers.Health, errors=(403, 503)),
    "report": Operation(
        "Everything that is checked; with status 503 too", answers.Report, errors=(403, 429, 503)
    ),
    "metrics": Operation(
        "What this node counts, for Prometheus", None, content=CONTENT_TYPE, needs_admin=True
    ),
    "openapi": Operation("This document", dict[str, Any], errors=(400, 403)),
    "asyncapi": Operation("The events, in the same way", dict[str, Any], errors=(400, 403)),
    "home": Operation(
        "Leads to the control panel",
        content=HTML,
        status=302,
        errors=(403,),
        headers={"Location": "The control panel"},
    ),
    "control_panel": Operation("The control panel", content=HTML, errors=(403,)),
    "network_graph": Operation("Who sends what to whom", content=HTML, errors=(403,)),
    "circular_graph": Operation("The same, on a ring", content=HTML, errors=(403,)),
    "activity_map": Operation("Topics and time", content=HTML, errors=(403,)),
    "chat": Operation("The chat", content=HTML, errors=(403,)),
    "cluster": Operation("Nodes, alerts and their last hour", content=HTML, errors=(403,)),
    "demo": Operation("The demo", content=HTML, errors=(403,)),
    "websocket_test": Operation("Connections, frame by frame", content=HTML, errors=(403,)),
}

PATH_PARAMETERS: Mapping[str, Parameter] = {
    **{
        name: Parameter(name, kind, is_required=True, place="path")
        for name, kind in (
            ("notification_id", Name),
            ("suggestion_id", Name),
            ("resource_id", ResourceId),
        )
    },
    "topic": Parameter("topic", Topic, is_required=True, place="path"),
    "sequence": Parameter("sequence", Whole, is_required=True, place="path"),
}
