"""The events in the form of AsyncAPI 3.0, made from the tables of the namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from . import NAMESPACES, WEBSOCKETS
from .described import DESCRIBED, Events

REF = "#/components/schemas/{name}"


@lru_cache(1)
def asyncapi_document(version: str) -> bytes:
    """The whole, as JSON."""
    return msgspec.json.encode(document(version))


def document(version: str) -> dict[str, Any]:
    everything = [
        each
        for events in DESCRIBED.values()
        for each in (*events.received.values(), *events.sent.values())
    ]
    schemas, components = msgspec.json.schema_components(
        [each.type for each in everything], ref_template=REF
    )
    payloads = {id(each): schema for each, schema in zip(everything, schemas, strict=True)}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, address, text, events in _doors():
        channels[name] = _channel(address, text, events, payloads)
        for action, found in (("receive", events.received), ("send", events.sent)):
            operations[f"{action}_{name}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [
                    {"$ref": f"#/channels/{name}/messages/{action}_{_key(event)}"}
                    for event in found
                ],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "python-pubsub-server",
            "version": version,
            "description": "`receive` is what a client sends, `send` what it gets. On a plain "
            "WebSocket the event's name is the frame's `type`: what a client sends has its fields "
            "beside it, and an `id` where an `ack` is wanted.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": components},
    }


def _doors() -> list[tuple[str, str, str, Events]]:
    """Each door of the tables: its name, where it is, what that is, and its events."""
    names = {id(namespace): name for name, namespace in NAMESPACES.items()}
    doors = [
        (f"socketio{_word(name)}", "/socket.io", f"The Socket.IO namespace {name}", DESCRIBED[name])
        for name in NAMESPACES
    ]
    for path, door in WEBSOCKETS.items():
        served = names[id(door.namespace)]
        text = f"A plain WebSocket with the events of {served}"
        doors.append((f"websocket{_word(path)}", path, text, DESCRIBED[served]))
    return doors


def _key(event: str) -> str:
    """An event's name in a key, which may not have a colon."""
    return event.replace(":", "_")


def _word(path: str) -> str:
    return path.rstrip("/").replace("/", "_")


def _channel(
    address: str, text: str, events: Events, payloads: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    messages = {
        f"{action}_{_key(event)}": {
            "name": event,
            "summary": each.text,
            "payload": payloads[id(each)],
        }
        for action, found in (("receive", events.received), ("send", events.sent))
        for event, each in found.items()
    }
    return {"address": address, "description": text, "messages": messages}
