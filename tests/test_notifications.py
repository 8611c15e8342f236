from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from connections import Someone
from loops import BACKENDS, tell_story
from python_pubsub_server.config import Settings
from python_pubsub_server.errors import Forbidden, Invalid, NotFound
from python_pubsub_server.identity import Identity, Rights, rights_of_users
from python_pubsub_server.model import Claim, Draft
from python_pubsub_server.node import Node
from python_pubsub_server.notifications import Notification, Wanted, parse_wanted, topic_of
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.database import Retention
from python_pubsub_server.transport.connection import Broadcast

NOTIFIER = Identity("127.0.0.1", "shop", Rights(publish=("notifications:*",)))


class Tab(Someone):
    """A connection of a user, that keeps what it is sent."""

    def __init__(self, story: Story, user: str, connection_id: str) -> None:
        super().__init__(connection_id)
        self.events: list[tuple[str, Any]] = []
        self._story = story
        self.identity = Identity("127.0.0.1", user, rights_of_users(user))
        story.node.notifications.welcome(self.identity, self)

    def send(self, broadcast: Broadcast) -> None:
        self.events += [(broadcast.event, json.loads(each)) for each in broadcast.payloads]

    def close(self, reason: str) -> None:
        raise AssertionError(reason)

    @property
    def titles(self) -> list[str]:
        return [body["title"] for event, body in self.events if event == "notification"]

    def read(self, notification_id: str) -> None:
        user = self.identity.user()
        self._story.node.notifications.mark_read(self.identity, user, notification_id)


class Story:
    def __init__(self, runtime: Runtime, path: Path) -> None:
        settings = Settings(database_url=f"sqlite:///{path}/log.db", drain_seconds=5.0)
        self.node = Node(settings, runtime)
        self.known: set[str] | None = None

    def tell(self, user: str, *titles: str) -> list[Notification]:
        return [self.node.notifications.create(NOTIFIER, Wanted(user, title)) for title in titles]

    def publish(self, user: str, message_id: str, content: str) -> None:
        draft = Draft(topic_of(user), message_id, Raw(content.encode()), "shop", hash(content))
        self.node.broker.publish(NOTIFIER, [draft])

    def listed(self, user: str, **more: Any) -> list[Notification]:
        bounds = {"before": None, "only_unread": False, **more}
        return [each for _, each in self.node.notifications.listed(user, 100, **bounds)]

    def close(self) -> None:
        self.node.close()


Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture(params=BACKENDS)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    return lambda tale: tell_story(
        lambda runtime: Story(runtime, tmp_path), tale, str(request.param)
    )


def test_what_is_unread_comes_first_and_then_what_is_new(tell: Tell) -> None:
    def tale(story: Story) -> None:
        first, _ = story.tell("ann", "one", "two")
        story.tell("bob", "not for ann")
        tab = Tab(story, "ann", "1")
        assert [event for event, _ in tab.events] == ["notification"] * 2
        assert all(body["replayed"] for _, body in tab.events)
        tab.read(first.id)
        story.tell("ann", "three")
        assert tab.titles == ["one", "two", "three"]
        assert tab.events[2] == ("notification:read", {"id": first.id, "user_id": "ann"})
        assert "replayed" not in tab.events[3][1]
        assert Tab(story, "ann", "2").titles == ["two", "three"]
        assert story.node.notifications.count_unread("ann") == 2

    tell(tale)


def test_what_comes_while_a_tab_is_joined_is_not_marked_as_replayed(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.tell("ann", "before")
        readers = story.node.broker.readers
        read = readers.read

        def meanwhile(query: Any) -> Any:
            readers.read = read  # type: ignore[method-assign]
            story.tell("ann", "meanwhile", "also")
            return read(query)

        readers.read = meanwhile  # type: ignore[assignment,method-assign]
        tab = Tab(story, "ann", "1")
        story.tell("ann", "after")
        assert tab.titles == ["before", "meanwhile", "also", "after"]
        assert [body.get("replayed", False) for _, body in tab.events] == [
            True,
            False,
            False,
            False,
        ]

    tell(tale)


def test_who_leaves_all_that_it_asked_for_keeps_its_notifications(tell: Tell) -> None:
    def tale(story: Story) -> None:
        tab = Tab(story, "ann", "1")
        assert story.node.subscribing.unsubscribe(tab, None) == []
        story.tell("ann", "one")
        assert tab.titles == ["one"]
        assert story.node.subscribing.unsubscribe(tab, ["notifications:ann"]) == [
            "notifications:ann"
        ]
        story.tell("ann", "two")
        assert tab.titles == ["one"]

    tell(tale)


def test_who_lost_notifications_unread_is_told(tell: Tell) -> None:
    def tale(story: Story) -> None:
        Tab(story, "ann", "1")  # from now on it is owed them
        story.tell("ann", "one", "two", "three")
        retention = Retention(1, None)
        while story.node.journal.upkeep(lambda writer: writer.trim(retention, 1e12, 100)):
            pass
        tab = Tab(story, "ann", "2")
        (event, body), *rest = tab.events
        assert event == "subscribed"
        assert body["topics"][0]["recovered"] is False
        assert [each["title"] for _, each in rest] == ["three"]

    tell(tale)


def test_a_user_who_cannot_have_notifications_is_let_in_without(tell: Tell) -> None:
    def tale(story: Story) -> None:
        assert Tab(story, "n" * 200, "1").events == []
        story.node.notifications.welcome(Identity("127.0.0.1"), Tab(story, "ann", "2"))
        assert story.node.hub.subscription_count() == 1

    tell(tale)


def test_what_other_programs_publish_is_listed(tell: Tell) -> None:
    def tale(story: Story) -> None:
        for number, content in enumerate(
            ['{"title": "T", "body": "B", "n": 1}', '"text"', '{"title": 1}', "[1]", "null"]
        ):
            story.publish("ann", f"m{number}", content)
        (made,) = story.tell("ann", "ours")
        ours, *others = story.listed("ann")
        assert ours == made
        assert [(each.id, each.title, each.body, bytes(each.data)) for each in others] == [
            ("m4", "", "", b"null"),
            ("m3", "", "", b"[1]"),
            ("m2", "", "", b'{"title": 1}'),
            ("m1", "text", "", b'"text"'),
            ("m0", "T", "B", b'{"title": "T", "body": "B", "n": 1}'),
        ]
        story.node.notifications.mark_read(Identity("127.0.0.1"), "ann", "m1")
        assert [each.id for each in story.listed("ann") if each.read] == ["m1"]
        assert len(story.listed("ann", only_unread=True)) == 5

    tell(tale)


def test_it_takes_the_right_to_tell_and_to_read(tell: Tell) -> None:
    def tale(story: Story) -> None:
        ann = Identity("127.0.0.1", "ann", rights_of_users("ann"))
        with pytest.raises(Forbidden):
            story.node.notifications.create(ann, Wanted("bob", "x"))
        (made,) = story.tell("bob", "x")
        with pytest.raises(Forbidden):
            story.node.notifications.mark_read(ann, "bob", made.id)
        with pytest.raises(NotFound):
            story.node.notifications.mark_read(ann, "ann", made.id)

    tell(tale)


def test_only_the_inbox_marks_as_read(tell: Tell) -> None:
    def tale(story: Story) -> None:
        (made,) = story.tell("ann", "x")
        tab = Tab(story, "ann", "1")
        for consumer in ("ann", "ann/phone"):
            story.node.broker.consume(tab.identity, Claim(consumer, topic_of("ann"), made.id))
        assert story.node.notifications.count_unread("ann") == 1
        assert len(tab.events) == 1
        story.node.broker.consume(tab.identity, Claim("ann/inbox", topic_of("ann"), made.id))
        assert story.node.notifications.count_unread("ann") == 0
        assert tab.events[-1][0] == "notification:read"

    tell(tale)


def test_a_read_mark_that_is_none_harms_nobody(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(story: Story) -> None:
        tab = Tab(story, "ann", "1")
        for payload in (b"{", b"[]", b'{"id":1}', b"\xff"):
            story.node.bus.publish(f"pubsub:{story.node.epoch}:read", payload)
        assert tab.events == []

    tell(tale)
    found = [record.msg for record in caplog.records]
    assert found.count("read_mark_not_understood") == 4


def test_a_body_says_what_is_wrong() -> None:
    made = parse_wanted(b'{"user_id": "ann", "title": "T", "data": {"b": 1.50}, "more": 1}')
    assert (made.user_id, made.body, bytes(made.data)) == ("ann", "", b'{"b": 1.50}')
    for body, text in (
        (b"", "Missing required field: user_id"),
        (b'{"user_id": "ann"}', "Missing required field: title"),
        (b'{"user_id": "ann", "title": ""}', "`title` must not be empty"),
        (b'{"user_id": "ann", "title": 1}', "This is no notification"),
        (b'{"user_id": "ann", "title": "a", "title": "b"}', "twice"),
        (b"{", "Malformed JSON"),
    ):
        with pytest.raises(Invalid, match=text):
            parse_wanted(body)


@pytest.mark.parametrize("user", ["", "a*", "a\n", "n" * 187])
def test_not_everything_is_a_user(user: str) -> None:
    with pytest.raises(Invalid):
        topic_of(user)
