"""The chat's rooms on a node of their own, for tests that play their members."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connections import Someone
from loops import until
from python_pubsub_server.config import Settings
from python_pubsub_server.errors import RequestError
from python_pubsub_server.identity import Identity
from python_pubsub_server.node import Node
from python_pubsub_server.rooms import Member, Rooms
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.connection import Broadcast
from stories import draft

ANYBODY = Identity("127.0.0.1")
HEARTBEAT, OFFLINE = 30.0, 60.0


class Client(Someone):
    """A connection that keeps what it is sent."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.events: list[tuple[str, Any]] = []
        self.broadcasts: list[Broadcast] = []

    def send(self, broadcast: Broadcast) -> None:
        self.broadcasts.append(broadcast)
        for payload in broadcast.payloads:
            body = json.loads(payload)
            assert list(body) == ["data"]
            self.events.append((broadcast.event, body["data"]))

    def all(self, event: str) -> list[Any]:
        return [data for name, data in self.events if name == event]

    @property
    def notices(self) -> list[str]:
        return [each["content"] for each in self.all("message") if each["user"] == "system"]

    @property
    def heard(self) -> list[str]:
        return [each["content"] for each in self.all("message") if each["user"] != "system"]

    @property
    def statuses(self) -> dict[str, str]:
        """The newest presence."""
        return {each["user"]: each["status"] for each in self.all("presence")[-1]["users"]}


class Story:
    """A node whose rooms have a clock of their own."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        self.runtime = runtime
        settings = Settings(database_url=f"sqlite:///{path}/log.db", durability="normal")
        self.node = Node(settings, runtime)
        self.now = 1_000.0
        self.rooms = Rooms(
            runtime,
            lambda: self.now,
            self.node.broker,
            self.node.subscribing,
            self.node.history,
            heartbeat_seconds=HEARTBEAT,
            offline_seconds=OFFLINE,
        )
        self.count = 0

    def come(self, user: str, *rooms: str, identity: Identity = ANYBODY) -> tuple[Client, Member]:
        self.count += 1
        client = Client(f"client-{self.count}")
        member = self.rooms.connect(client, identity, user)
        for room in rooms:
            self.rooms.join(member, room, None)
        return client, member

    def say(self, member: Member, content: str, room: str = "hall", **more: Any) -> Any:
        """Say something and wait until it is stored; what became of it."""
        outcome: list[Any] = []
        self.rooms.say(member, room, content, more.get("message_id"), outcome.append)
        self.until(lambda: outcome)
        if isinstance(outcome[0], RequestError):
            raise outcome[0]
        return outcome[0][0]

    def publish(self, *messages: object, topic: str = "chat:hall", producer: str = "ann") -> None:
        drafts = []
        for message in messages:
            self.count += 1
            drafts.append(draft(topic, f"p{self.count}", message, producer))
        self.node.broker.publish(ANYBODY, drafts)

    def until(self, condition: Callable[[], Any]) -> None:
        until(self.runtime, condition)

    def settle(self) -> None:
        """Wait until nothing more is on its way to the members of the rooms."""
        self.until(
            lambda: (
                not any(
                    pace._timer
                    for news in self.rooms._news.values()
                    for pace in (news._notices, news.presence)
                )
            )
        )

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.rooms.tick()

    def close(self) -> None:
        self.rooms.close()
        self.node.close()
