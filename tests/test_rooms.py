from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from chatting import ANYBODY, HEARTBEAT, OFFLINE, Client, Story
from loops import PATIENCE, tell_story
from python_pubsub_server.errors import Forbidden
from python_pubsub_server.identity import Identity, Rights
from python_pubsub_server.rooms import news as news_module
from python_pubsub_server.rooms.pace import Pace
from python_pubsub_server.rooms.room import GONE_SECONDS, MAX_GONE

Tell = Callable[[Callable[[Story], Any]], Any]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    return lambda tale: tell_story(lambda runtime: Story(runtime, tmp_path), tale)


def test_a_join_shows_who_is_there_then_says_so_then_gives_the_history(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish({"content": "one"})
        client, member = story.come("ann", "hall")
        assert client.events == [
            (
                "presence",
                {
                    "room": "hall",
                    "users": [{"user": "ann", "status": "online", "last_seen": 1_000.0}],
                },
            ),
            ("message", client.events[1][1]),
            ("history", {"room": "hall", "messages": client.events[2][1]["messages"]}),
        ]
        notice = client.events[1][1]
        assert list(notice) == ["id", "room", "user", "content", "sequence", "timestamp"]
        assert (notice["user"], notice["content"]) == ("system", "ann joined the room")
        assert notice["sequence"] == 1
        (message,) = client.events[2][1]["messages"]
        assert list(message) == ["id", "room", "user", "content", "sequence", "timestamp"]
        assert (message["user"], message["content"], message["sequence"]) == ("ann", "one", 1)
        story.say(member, "two")
        assert client.events[3][0] == "message"
        assert client.events[3][1] | {"id": 0, "timestamp": 0} == {
            "id": 0,
            "room": "hall",
            "user": "ann",
            "content": "two",
            "sequence": 2,
            "timestamp": 0,
        }

    tell(tale)


def test_a_join_gives_the_last_fifty_or_what_came_behind_a_sequence(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(*({"content": f"{n}"} for n in range(1, 81)))
        client, _ = story.come("ann", "hall")
        (page,) = client.all("history")
        assert [each["sequence"] for each in page["messages"]] == list(range(31, 81))
        client, member = story.come("ben")
        story.rooms.join(member, "hall", 77)
        (page,) = client.all("history")
        assert [each["sequence"] for each in page["messages"]] == [78, 79, 80]
        client, member = story.come("cid")
        story.rooms.join(member, "hall", 80)
        assert client.all("history") == [{"room": "hall", "messages": []}]

    tell(tale)


def test_nothing_is_missed_or_twice_when_joining_while_others_write(tell: Tell) -> None:
    def tale(story: Story) -> None:
        _, writer = story.come("ann", "hall")
        stored: list[Any] = []
        clients: list[Client] = []
        written = 0

        def write() -> None:
            nonlocal written
            while len(clients) < 10 or written % 20:
                written += 1
                story.rooms.say(writer, "hall", str(written), None, stored.append)
                if written % 20 == 0:
                    story.runtime.sleep(0.002)  # so fast it writes: others have their turns

        writing = story.runtime.spawn(write)
        for number in range(10):
            story.until(lambda wanted=number: len(stored) >= 150 * wanted)
            client, member = story.come(f"user {number}")
            story.rooms.join(member, "hall", 0)
            clients.append(client)
        assert writing.wait(PATIENCE)
        story.say(writer, "the last one")
        written += 1
        story.until(lambda: len(stored) == written - 1)
        for client in clients:
            missed = [m for page in client.all("history") for m in page["messages"]]
            live = [m for m in client.all("message") if m["user"] != "system"]
            assert [m["sequence"] for m in missed + live] == list(range(1, written + 1))
            kinds = [
                name
                for name, data in client.events
                if name == "history" or (name == "message" and data["user"] != "system")
            ]
            assert kinds == sorted(kinds)  # history, then live
            assert client.heard[-1] == "the last one"
        assert all(client.all("history")[0]["messages"] for client in clients[1:])

    tell(tale)


def test_a_sequence_of_another_log_is_not_recovered(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish({"content": "one"}, {"content": "two"})
        client, member = story.come("ann")
        story.rooms.join(member, "hall", 7)
        assert client.all("history") == [{"room": "hall", "messages": [], "recovered": False}]
        client, member = story.come("ben")
        story.rooms.join(member, "hall", 1, "another-log")
        (page,) = client.all("history")
        assert page["recovered"] is False
        assert [each["sequence"] for each in page["messages"]] == [1, 2]
        client, member = story.come("cid")
        story.rooms.join(member, "hall", 1, story.node.epoch)
        (page,) = client.all("history")
        assert "recovered" not in page

    tell(tale)


def test_a_user_comes_once_and_goes_once_however_many_tabs(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall")
        _, first = story.come("ben", "hall")
        _, second = story.come("ben", "hall")
        story.until(lambda: len(watcher.notices) == 2)
        assert watcher.statuses == {"ann": "online", "ben": "online"}
        story.rooms.leave(first, "hall")
        story.rooms.disconnect(second)
        story.until(lambda: len(watcher.notices) == 3)
        assert watcher.notices == [
            "ann joined the room",
            "ben joined the room",
            "ben left the room",
        ]

    tell(tale)


def test_who_leaves_is_gone_and_who_is_lost_is_offline(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall")
        _, leaving = story.come("ben", "hall")
        _, lost = story.come("cid", "hall")
        story.now += 10
        story.rooms.leave(leaving, "hall")
        story.rooms.disconnect(lost)
        story.until(lambda: watcher.statuses == {"ann": "online", "cid": "offline"})
        assert watcher.all("presence")[-1]["users"][-1]["last_seen"] == 1_000.0
        story.come("cid", "hall")
        story.until(lambda: watcher.statuses == {"ann": "online", "cid": "online"})

    tell(tale)


def test_a_silent_user_is_offline_and_back_with_the_first_sign_of_life(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, ann = story.come("ann", "hall")
        _, ben = story.come("ben", "hall")
        story.until(lambda: watcher.statuses == {"ann": "online", "ben": "online"})
        known = len(watcher.all("presence"))
        for _ in range(2):
            story.pass_time(OFFLINE / 2 - 1)
            story.rooms.hear(ann)
        story.pass_time(1)
        story.settle()
        assert len(watcher.all("presence")) == known
        story.pass_time(1)
        story.until(lambda: watcher.statuses == {"ann": "online", "ben": "offline"})
        assert "ben left the room" not in watcher.notices
        story.rooms.hear(ben)
        story.until(lambda: watcher.statuses == {"ann": "online", "ben": "online"})
        assert len(watcher.all("presence")) == known + 2

    tell(tale)


def test_away_is_who_is_away_on_every_tab(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall")
        _, first = story.come("ben", "hall")
        _, second = story.come("ben", "hall")
        story.rooms.set_away(first, is_away=True)
        story.settle()
        assert watcher.statuses["ben"] == "online"
        story.rooms.set_away(second, is_away=True)
        story.until(lambda: watcher.statuses["ben"] == "away")
        story.rooms.set_away(first, is_away=False)
        story.until(lambda: watcher.statuses["ben"] == "online")

    tell(tale)


def test_a_heartbeat_is_sent_in_time_whatever_room_one_is_in(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, _ = story.come("ann")
        story.pass_time(HEARTBEAT - 1)
        assert client.all("heartbeat") == []
        story.pass_time(1)
        story.pass_time(1)
        assert client.all("heartbeat") == [{"timestamp": 1_000.0 + HEARTBEAT}]

    tell(tale)


def test_a_storm_of_joins_is_told_in_few_broadcasts(tell: Tell) -> None:
    def tale(story: Story) -> None:
        began = time.monotonic()
        watcher, _ = story.come("ann", "hall")
        others = [story.come(f"user {n}", "hall") for n in range(100)]
        story.until(lambda: len(watcher.notices) == 101)
        story.until(lambda: len(watcher.statuses) == 101)
        # One when ann came, one at once for the first of the others, and one after each pause.
        assert len(watcher.all("presence")) <= 3 + (time.monotonic() - began) / pause
        for client, member in others:
            own = client.notices.index(f"{member.user} joined the room")
            assert own == 0
            assert len(set(client.notices)) == len(client.notices)
        assert others[-1][0].notices == ["user 99 joined the room"]

    pause = 0.5
    with patch.multiple(news_module, NAMES_A_SECOND=1, MAX_PRESENCE_PAUSE=pause):
        tell(tale)


def test_nobody_speaks_in_a_room_without_being_there(tell: Tell) -> None:
    def tale(story: Story) -> None:
        _, member = story.come("ann", "hall")
        for act in (
            lambda: story.say(member, "hello", "kitchen"),
            lambda: story.rooms.leave(member, "kitchen"),
            lambda: story.rooms.type(member, "kitchen"),
        ):
            with pytest.raises(Forbidden, match=r"^Not subscribed to room$"):
                act()
        story.rooms.leave(member, "hall")
        with pytest.raises(Forbidden, match=r"^Not subscribed to room$"):
            story.say(member, "hello")

    tell(tale)


def test_rights_are_those_of_the_topic(tell: Tell) -> None:
    def tale(story: Story) -> None:
        reader = Identity("127.0.0.1", "ann", Rights(subscribe=("chat:hall",)))
        _, member = story.come("ann", "hall", identity=reader)
        with pytest.raises(Forbidden, match="publish"):
            story.say(member, "hello")
        for act in (
            lambda: story.rooms.join(member, "kitchen", None),
            lambda: story.rooms.presence(reader, "kitchen"),
            lambda: story.rooms.history(reader, "kitchen", None, None, 10),
        ):
            with pytest.raises(Forbidden, match="subscribe"):
                act()
        story.publish({"content": "x"}, topic="chat:kitchen")
        assert [each.room for each in story.rooms.list(reader)] == ["hall"]

    tell(tale)


def test_rooms_that_newer_rights_do_not_cover_are_left(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall", "kitchen")
        _, member = story.come("ben", "hall", "kitchen")
        member.identity = Identity("127.0.0.1", "ben", Rights(subscribe=("chat:hall",)))
        assert story.rooms.narrow(member) == ["kitchen"]
        story.until(lambda: watcher.notices[-1] == "ben left the room")
        assert member.rooms == {"hall"}

    tell(tale)


def test_a_message_said_again_with_its_id_is_stored_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        client, member = story.come("ann", "hall")
        first = story.say(member, "hello", message_id="mine")
        again = story.say(member, "hello", message_id="mine")
        assert (first.duplicate, again.duplicate) == (False, True)
        assert again.message.sequence == first.message.sequence
        assert client.heard == ["hello"]
        assert client.all("message")[-1]["id"] == "mine"

    tell(tale)


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "text", "more": 1}, "text"),
        ("just text", "just text"),
        ({"content": 5}, '{"content": 5}'),
        (None, "null"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_what_other_doors_publish_appears_in_the_room(
    tell: Tell, message: object, content: str
) -> None:
    def tale(story: Story) -> None:
        client, _ = story.come("ann", "hall")
        story.publish(message, producer="sensor")
        story.until(lambda: client.heard)
        assert client.all("message")[-1] | {"id": 0, "timestamp": 0} == {
            "id": 0,
            "room": "hall",
            "user": "sensor",
            "content": content,
            "sequence": 1,
            "timestamp": 0,
        }

    tell(tale)


def test_typing_is_told_to_the_others_and_not_too_often(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall")
        typist, ben = story.come("ben", "hall")
        for _ in range(5):
            story.rooms.type(ben, "hall")
        assert watcher.all("typing") == [{"room": "hall", "user": "ben"}]
        assert typist.all("typing") == []
        story.now += 2
        story.rooms.type(ben, "hall")
        assert len(watcher.all("typing")) == 2

    tell(tale)


def test_of_a_room_that_was_left_nothing_is_kept_with_the_member(tell: Tell) -> None:
    def tale(story: Story) -> None:
        _, ann = story.come("ann", "hall")
        for name in ("hall", "attic", "cellar"):
            story.rooms.join(ann, name, None)
            story.rooms.type(ann, name)
            story.rooms.leave(ann, name)
        assert (ann.rooms, ann.typed_at, ann.unrecovered) == (set(), {}, set())

    tell(tale)


def test_a_beat_that_fails_is_not_the_last(tell: Tell) -> None:
    def tale(story: Story) -> None:
        ticks = []

        def tick() -> None:
            ticks.append(story.now)
            raise RuntimeError("a defect")

        sleep = story.runtime.sleep
        story.runtime.sleep = lambda _: sleep(0.001)  # type: ignore[method-assign]
        story.rooms.tick = tick  # type: ignore[method-assign]
        _, ann = story.come("ann")
        story.until(lambda: len(ticks) > 2)
        story.rooms.disconnect(ann)

    tell(tale)


def test_history_is_by_sequence_from_either_end(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish(*({"content": f"{n}"} for n in range(1, 251)))

        def sequences(since: int | None, before: int | None, limit: int) -> list[int]:
            page = story.rooms.history(ANYBODY, "hall", since, before, limit)
            return [each.sequence for each in page]

        assert sequences(0, None, 3) == [1, 2, 3]
        assert sequences(10, None, 1_000) == list(range(11, 111))
        assert sequences(248, None, 10) == [249, 250]
        assert sequences(250, None, 10) == []
        assert sequences(None, None, 3) == [248, 249, 250]
        assert sequences(None, 101, 100) == list(range(1, 101))
        assert sequences(None, 3, 100) == [1, 2]
        assert sequences(None, 1, 100) == []
        assert sequences(None, 0, 100) == []
        assert sequences(240, 245, 100) == [241, 242, 243, 244]
        assert story.rooms.history(ANYBODY, "empty", None, None, 10) == []

    tell(tale)


def test_the_list_has_the_liveliest_rooms_first(tell: Tell) -> None:
    def tale(story: Story) -> None:
        story.publish({"content": "x"}, {"content": "y"}, topic="chat:busy")
        story.publish({"content": "x"}, topic="chat:quiet")
        story.come("ann", "new")
        found = [(each.room, each.users, each.sequence) for each in story.rooms.list(ANYBODY)]
        assert found == [("new", 1, 0), ("busy", 0, 2), ("quiet", 0, 1)]

    tell(tale)


def test_a_room_that_is_empty_is_forgotten_and_begins_again(tell: Tell) -> None:
    def tale(story: Story) -> None:
        _, member = story.come("ann", "hall")
        assert [each.user for each in story.rooms.presence(ANYBODY, "hall")] == ["ann"]
        assert story.rooms.disconnect(member) == ["hall"]
        assert list(story.rooms.presence(ANYBODY, "hall")) == []
        assert story.node.hub.subscription_count() == 0
        client, _ = story.come("ben", "hall")
        assert client.statuses == {"ben": "online"}

    tell(tale)


def test_a_connection_that_ended_during_its_join_leaves_nothing(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall")
        _, member = story.come("ben")
        joining = story.runtime.spawn(story.rooms.join, member, "hall", None)
        story.runtime.sleep(0)
        story.rooms.disconnect(member)
        assert joining.wait(PATIENCE)
        assert watcher.statuses == {"ann": "online"}
        assert story.node.hub.subscription_count() == 1

    tell(tale)


def test_who_is_gone_is_forgotten_in_time_and_in_number(tell: Tell) -> None:
    def tale(story: Story) -> None:
        _, ann = story.come("ann", "hall")
        for number in range(MAX_GONE + 10):
            _, member = story.come(f"user {number}", "hall")
            story.rooms.disconnect(member)
        assert len(story.rooms.presence(ANYBODY, "hall")) == 1 + MAX_GONE
        story.now += GONE_SECONDS + 1
        story.rooms.hear(ann)
        story.rooms.tick()
        assert [each.user for each in story.rooms.presence(ANYBODY, "hall")] == ["ann"]

    tell(tale)


def test_all_connections_share_what_a_message_becomes(tell: Tell) -> None:
    def tale(story: Story) -> None:
        first, _ = story.come("ann", "hall")
        second, member = story.come("ben", "hall")
        story.say(member, "hello")
        assert first.broadcasts[-1] is second.broadcasts[-1]

    tell(tale)


class SlowLoop:
    """What a pace needs of a loop: timers that a test lets go off."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def after(self, seconds: float, function: Callable[[], object]) -> SlowLoop:
        self.timers.append((seconds, function))
        return self

    def cancel(self) -> None:
        self.timers.clear()


def test_work_is_done_at_once_and_then_no_more_often_than_it_costs() -> None:
    loop, now, done = SlowLoop(), [100.0], []
    pace = Pace(loop, lambda: done.append(now[0]) or 5.0, lambda: now[0])  # type: ignore[arg-type, func-returns-value]
    pace.ask()
    pace.ask()
    ((wait, work),) = loop.timers
    assert wait == 0
    loop.timers.clear()
    work()
    now[0] += 2
    pace.ask()
    pace.ask()
    ((wait, work),) = loop.timers
    assert (wait, done) == (3.0, [100.0])
    pace.stop()
    assert loop.timers == []


def test_who_goes_on_typing_after_a_message_is_told_of_at_once(tell: Tell) -> None:
    def tale(story: Story) -> None:
        watcher, _ = story.come("ann", "hall")
        _, ben = story.come("ben", "hall")
        story.rooms.type(ben, "hall")
        story.say(ben, "first")
        story.now += 0.1
        story.rooms.type(ben, "hall")
        assert len(watcher.all("typing")) == 2

    tell(tale)
