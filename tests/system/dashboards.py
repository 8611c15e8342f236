"""Dashboards: clients of the namespace `/monitoring` that watch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from system.clients import RawClient

START = "42/monitoring,"


@contextmanager
def dashboard(url: str) -> Iterator[RawClient]:
    with RawClient(url, "/monitoring") as client:
        client.send(START + '7["subscribe_to_updates"]')
        assert client.next() == '43/monitoring,7[{"status":"ok"}]'
        yield client


def event(client: RawClient, name: str, topic: str) -> Any:
    """The argument of the next such event of a topic; others are passed over."""
    while True:
        packet = client.next()
        assert packet.startswith(START), packet
        found, argument = json.loads(packet.removeprefix(START))
        if found == name and argument.get("topic", topic) == topic:
            return argument


def warning(client: RawClient, name: str) -> Any:
    """The next such warning of the server; a busy machine may give it others to tell."""
    while True:
        told = event(client, "server_error", "")
        if told["event"] == name:
            return told
