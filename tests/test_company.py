"""Users of one room on several nodes: each node shows its own, and sees the others'."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from chatting import ANYBODY, HEARTBEAT, OFFLINE, Client, Story
from loops import run_on_loop
from python_pubsub_server.elsewhere import Seat
from python_pubsub_server.rooms import company as company_module
from python_pubsub_server.rooms.room import GONE_SECONDS
from python_pubsub_server.runtime import Runtime


class Nodes:
    """Three nodes that see of each other what the test lets them see."""

    def __init__(self, stories: list[Story]) -> None:
        self.one, self.two, self.three = stories
        self.living = {"one": self.one, "two": self.two, "three": self.three}

    def look(self) -> None:
        """All see all that live, as they are now."""
        shown = {name: each.rooms.company.seats() for name, each in self.living.items()}
        for own, story in self.living.items():
            story.rooms.company.seen({name: seats for name, seats in shown.items() if name != own})

    def kill(self, name: str) -> None:
        del self.living[name]
        self.look()


Tell = Callable[[Callable[[Nodes], Any]], None]


@pytest.fixture
def tell(tmp_path: Path) -> Tell:
    def run(tale: Callable[[Nodes], Any]) -> None:
        def live(runtime: Runtime) -> None:
            with ExitStack() as stack:
                stories = []
                for name in ("one", "two", "three"):
                    (tmp_path / name).mkdir()
                    stories.append(stack.enter_context(closing(Story(runtime, tmp_path / name))))
                nodes = Nodes(stories)
                nodes.look()
                tale(nodes)

        run_on_loop("eventlet", live)

    return run


def settle(story: Story, client: Client, *notices: str, **statuses: str) -> None:
    """Wait until a client knows so many notices and this presence, and see that they are right."""
    story.until(lambda: len(client.notices) >= len(notices) and client.statuses == statuses)
    story.settle()
    assert (client.notices, client.statuses) == (list(notices), statuses)


def test_who_comes_and_goes_elsewhere_is_announced_once_on_every_node(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        ann, _ = nodes.one.come("ann", "hall")
        nodes.look()
        ben, member = nodes.two.come("ben", "hall")
        assert ben.statuses == {"ann": "online", "ben": "online"}
        nodes.look()
        settle(
            nodes.one,
            ann,
            "ann joined the room",
            "ben joined the room",
            ann="online",
            ben="online",
        )
        nodes.two.rooms.leave(member, "hall")
        for _ in range(2):
            nodes.look()
        came = ("ann joined the room", "ben joined the room")
        settle(nodes.one, ann, *came, "ben left the room", ann="online")
        assert ben.notices == ["ben joined the room"]

    tell(tale)


def test_tabs_on_two_nodes_are_one_presence(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        ann, _ = nodes.one.come("ann", "hall")
        _, first = nodes.one.come("ben", "hall")
        nodes.look()
        tab, second = nodes.two.come("ben", "hall")
        assert tab.notices == []
        nodes.look()
        nodes.one.rooms.set_away(first, is_away=True)
        nodes.two.rooms.set_away(second, is_away=True)
        nodes.look()
        came = ("ann joined the room", "ben joined the room")
        settle(nodes.one, ann, *came, ann="online", ben="away")
        nodes.two.rooms.set_away(second, is_away=False)
        nodes.look()
        settle(nodes.one, ann, *came, ann="online", ben="online")
        nodes.one.rooms.leave(first, "hall")
        nodes.look()
        settle(nodes.one, ann, *came, ann="online", ben="online")
        nodes.two.rooms.leave(second, "hall")
        nodes.look()
        settle(nodes.one, ann, *came, "ben left the room", ann="online")

    tell(tale)


def test_two_that_join_in_the_same_moment_are_announced_once(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        ann, _ = nodes.one.come("ann", "hall")
        nodes.look()
        nodes.one.come("ben", "hall")
        nodes.two.come("ben", "hall")
        nodes.look()
        came = ("ann joined the room", "ben joined the room")
        settle(nodes.one, ann, *came, ann="online", ben="online")

    tell(tale)


def test_the_users_of_a_node_that_dies_are_offline_and_leave_once(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        ann, _ = nodes.one.come("ann", "hall")
        cid, _ = nodes.three.come("cid", "hall")
        nodes.look()
        nodes.two.come("ben", "hall")
        nodes.two.come("dan", "hall")
        nodes.look()
        nodes.one.come("dan", "hall")  # who has come back in time has not left
        nodes.look()
        nodes.kill("two")
        everybody = {"ann": "online", "cid": "online", "dan": "online", "ben": "offline"}
        for story, client in ((nodes.one, ann), (nodes.three, cid)):
            story.until(lambda client=client: client.notices[-1] == "ben left the room")
            assert sorted(client.notices[-3:-1]) == ["ben joined the room", "dan joined the room"]
            story.until(lambda client=client: client.statuses == everybody)
        last = ann.all("presence")[-1]["users"][-1]
        assert last == {"user": "ben", "status": "offline", "last_seen": 1_000.0}
        for story in (nodes.one, nodes.three):
            story.pass_time(GONE_SECONDS + 1)
        nodes.look()
        assert "ben" not in {user.user for user in nodes.one.rooms.presence(ANYBODY, "hall")}

    tell(tale)


def test_who_is_lost_as_the_last_one_on_its_node_is_offline_elsewhere(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        ann, member = nodes.one.come("ann", "hall")
        _, ben = nodes.two.come("ben", "hall")
        nodes.look()
        nodes.two.rooms.disconnect(ben)
        nodes.look()
        came = ("ann joined the room", "ben joined the room")
        settle(nodes.one, ann, *came, "ben left the room", ann="online", ben="offline")
        for story in (nodes.two, nodes.three):
            users = story.rooms.presence(ANYBODY, "hall")
            assert [(user.user, user.status) for user in users] == [
                ("ann", "online"),
                ("ben", "offline"),
            ]
        cid, _ = nodes.two.come("cid", "hall")
        assert cid.statuses == {"ann": "online", "ben": "offline", "cid": "online"}
        _, again = nodes.three.come("ben", "hall")
        nodes.look()
        assert {u.user for u in nodes.two.rooms.presence(ANYBODY, "hall")} == {"ann", "ben", "cid"}
        nodes.three.rooms.leave(again, "hall")
        nodes.look()
        assert {u.user for u in nodes.one.rooms.presence(ANYBODY, "hall")} == {"ann", "cid"}
        # A room that nobody is in forgets whom it has lost, as on one node.
        nodes.one.rooms.disconnect(member)
        (left,) = nodes.two.rooms._members.values()
        nodes.two.rooms.leave(left, "hall")
        nodes.look()
        nodes.look()
        assert nodes.one.rooms.presence(ANYBODY, "hall") == []

    tell(tale)


def test_a_node_that_is_cut_off_shows_the_others_users_offline_and_says_nothing(
    tell: Tell,
) -> None:
    def tale(nodes: Nodes) -> None:
        nodes.two.come("ben", "hall")
        _, cid = nodes.two.come("cid", "hall")
        nodes.look()
        ann, _ = nodes.one.come("ann", "hall")
        nodes.one.rooms.company.unseen()
        settle(nodes.one, ann, "ann joined the room", ann="online", ben="offline", cid="offline")
        nodes.two.rooms.leave(cid, "hall")
        _, tab = nodes.one.come("ben", "hall")
        nodes.one.until(lambda: ann.statuses["ben"] == "online")
        nodes.one.rooms.leave(tab, "hall")
        nodes.one.until(lambda: ann.statuses["ben"] == "offline")
        nodes.look()
        notices = ("ann joined the room", "cid left the room")
        settle(nodes.one, ann, *notices, ann="online", ben="online")

    tell(tale)


def test_what_was_there_before_a_node_looked_is_not_announced(tmp_path: Path) -> None:
    def live(runtime: Runtime) -> None:
        with closing(Story(runtime, tmp_path)) as story:
            ann, _ = story.come("ann", "hall")
            seats = {"hall": [Seat("ben", "online", 900.0, is_here=True)]}
            story.rooms.company.seen({"two": seats})
            settle(story, ann, "ann joined the room", ann="online", ben="online")
            story.rooms.company.seen(
                {"two": seats, "three": {"hall": [Seat("cid", "away", 1.0, True)]}}
            )
            told = ("ann joined the room", "cid joined the room")
            settle(story, ann, *told, ann="online", ben="online", cid="away")

    run_on_loop("eventlet", live)


def test_silence_and_signs_of_life_are_seen_elsewhere(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        ann, member = nodes.one.come("ann", "hall")
        _, ben = nodes.two.come("ben", "hall")
        nodes.look()
        changes = nodes.two.rooms.company.changes
        for story in (nodes.one, nodes.two):
            story.pass_time(HEARTBEAT)
        assert nodes.two.rooms.company.changes > changes
        nodes.one.rooms.hear(member)
        nodes.two.pass_time(OFFLINE - HEARTBEAT)
        nodes.look()
        nodes.one.until(lambda: ann.statuses == {"ann": "online", "ben": "offline"})
        nodes.two.rooms.hear(ben)
        nodes.look()
        nodes.one.until(lambda: ann.statuses == {"ann": "online", "ben": "online"})
        seen = {u["user"]: u["last_seen"] for u in ann.all("presence")[-1]["users"]}
        assert seen == {"ann": 1_000.0 + HEARTBEAT, "ben": 1_000.0 + OFFLINE}
        assert "ben left the room" not in ann.notices

    tell(tale)


def test_the_list_of_rooms_counts_the_users_of_all_nodes(tell: Tell) -> None:
    def tale(nodes: Nodes) -> None:
        nodes.one.come("ann", "hall")
        nodes.two.come("ann", "hall", "kitchen")
        nodes.two.come("ben", "hall")
        nodes.look()
        for story in (nodes.one, nodes.two, nodes.three):
            listed = [(each.room, each.users) for each in story.rooms.list(ANYBODY)]
            assert listed == [("hall", 2), ("kitchen", 1)]

    tell(tale)


class SharedBus:
    """A bus of which a test plays the other side."""

    is_shared = True

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    def on_channel(self, pattern: str, hear: Callable[[str, bytes], None]) -> None:
        self.pattern, self.hear = pattern, hear

    def publish(self, channel: str, payload: bytes) -> None:
        self.said.append((channel, payload))


def test_who_types_is_told_to_other_nodes_that_have_the_room(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    def tale(nodes: Nodes) -> None:
        buses = []
        for name, story in nodes.living.items():
            buses.append(SharedBus())
            story.rooms.company.meet(buses[-1], "log", name)  # type: ignore[arg-type]
        ann, member = nodes.one.come("ann", "hall")
        nodes.one.rooms.type(member, "hall")
        assert buses[0].said == []  # nobody is there
        ben, _ = nodes.two.come("ben", "hall")
        tab, _ = nodes.two.come("ann", "hall")
        nodes.look()
        nodes.one.now += 2
        nodes.one.rooms.type(member, "hall")
        ((channel, payload),) = buses[0].said
        assert channel == buses[0].pattern
        for bus in buses:
            bus.hear(channel, payload)
            bus.hear(channel, payload)
        assert ben.all("typing") == [{"room": "hall", "user": "ann"}]  # not more than it costs
        assert (ann.all("typing"), tab.all("typing")) == ([], [])
        buses[1].hear(channel, b"{")
        assert [record.msg for record in caplog.records] == ["typing_not_understood"]

    tell(tale)


def test_what_a_node_shows_is_bounded(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company_module, "MAX_SHOWN", 3)

    def tale(nodes: Nodes) -> None:
        for number in range(4):
            nodes.one.come(f"user {number}", "hall", "kitchen")
        seats = nodes.one.rooms.company.seats()
        assert sum(map(len, seats.values())) == 3

    tell(tale)
