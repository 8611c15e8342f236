"""Notifications, votes and resources over real servers: two users, two tabs, crashes, two nodes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from keys import AUDIENCE, Issuer
from python_pubsub_server.storage.database import open_database
from redis_server import RedisServer
from server import RunningServer
from system.clients import Client
from system.cluster import cluster
from system.doors import bearer
from system.plain import PlainClient

ISSUER = Issuer()
TIMEOUT = 20.0
NOTIFIER = {"publish": ["notifications:*"], "subscribe": ["notifications:*"]}
USERS = ("ann", "bob", "tom", "system/1", *(f"voter {n}" for n in range(100)))


class User:
    """Somebody with a token, at one server."""

    def __init__(self, server: RunningServer, name: str, **rights: Any) -> None:
        self.server = server
        self.token = ISSUER.token(name, **({"pubsub": rights} if rights else {}))

    def tab(self) -> Client:
        return Client(self.server.url, auth={"token": self.token})

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = requests.request(
            method, self.server.url + path, json=body, headers=bearer(self.token), timeout=TIMEOUT
        )
        return response.status_code, response.json()

    def get(self, path: str) -> Any:
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        found, answer = self.ask("POST", path, body)
        assert found == status, answer
        return answer

    def notify(self, user: str, title: str, **more: Any) -> Any:
        return self.post("/api/notifications", {"user_id": user, "title": title, **more}, 201)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings: dict[str, Any] = {"jwt_public_key": ISSUER.public, "jwt_audience": AUDIENCE}
    running = RunningServer(
        tmp_path_factory.mktemp("server"), require_known_users="true", **settings
    )
    registry = open_database(running.database_url).registry()
    for name in USERS:
        registry.add_user(name, 1.0)
    registry.close()
    with running:
        yield running


@pytest.fixture
def notifier(server: RunningServer) -> User:
    return User(server, "system/1", **NOTIFIER)


# Notifications


def test_a_notification_reaches_its_user_in_every_tab_and_nobody_else(
    server: RunningServer, notifier: User
) -> None:
    ann, bob = User(server, "ann"), User(server, "bob")
    with ann.tab() as one, ann.tab() as two, bob.tab() as other:
        sent = notifier.notify("ann", "Hello", body="World", data={"n": [1, None]})
        assert {key: sent[key] for key in ("user_id", "title", "body", "data", "read")} == {
            "user_id": "ann",
            "title": "Hello",
            "body": "World",
            "data": {"n": [1, None]},
            "read": False,
        }
        assert one.next("notification") == two.next("notification") == sent
        assert ann.get("/api/notifications") == ann.get("/api/notifications?unread=true") == [sent]
        assert ann.get("/api/notifications/count") == {"unread": 1}
        path = f"/api/notifications/{sent['id']}/read"
        assert ann.post(path, None) == {"status": "ok", "id": sent["id"], "read": True}
        mark = {"id": sent["id"], "user_id": "ann"}
        assert one.next("notification:read") == two.next("notification:read") == mark
        assert ann.post(path, None)["read"] is True  # again
        for tab in (one, two, other):
            tab.assert_alive_and_silent()
    assert ann.get("/api/notifications?unread=true") == []
    assert ann.get("/api/notifications") == [sent | {"read": True}]
    assert ann.get("/api/notifications/count") == {"unread": 0}
    assert bob.get("/api/notifications") == []
    assert bob.ask("POST", path)[0] == 404


def test_who_was_away_gets_what_is_unread_in_order(server: RunningServer, notifier: User) -> None:
    tom = User(server, "tom")
    made = [notifier.notify("tom", f"No. {n}") for n in range(5)]
    body = {
        "topic": "notifications:tom",
        "message_id": "x",
        "message": "hi",
        "producer": "system/1",
    }
    notifier.post("/publish", body)
    tom.post(f"/api/notifications/{made[1]['id']}/read", None)
    with tom.tab() as tab:
        unread = [tab.next("notification") for _ in range(5)]
        assert unread[:4] == [made[n] | {"replayed": True} for n in (0, 2, 3, 4)]
        assert unread[4] == "hi"
        live = notifier.notify("tom", "Live")
        assert tab.next("notification") == live
        # The inbox is a consumer like any other.
        claim = {"consumer": "tom/inbox", "topic": "notifications:tom", "message_id": "x"}
        assert tab.call("consumed", claim) == {"status": "ok", "recorded": 1}
        assert tab.next("notification:read") == {"id": "x", "user_id": "tom"}
    listed = tom.get("/api/notifications")
    assert [each["title"] for each in listed] == [
        "Live",
        "hi",
        *(f"No. {n}" for n in (4, 3, 2, 1, 0)),
    ]
    assert [each["read"] for each in listed] == [False, True, False, False, False, True, False]
    assert tom.get("/api/notifications/count") == {"unread": 5}


def test_notifications_are_listed_in_pages(server: RunningServer, notifier: User) -> None:
    user = User(server, "voter 1")
    made = [notifier.notify("voter 1", f"No. {n}") for n in range(5)][::-1]
    found, path = [], "/api/notifications?limit=2&unread=true"
    while path:
        response = requests.get(server.url + path, headers=bearer(user.token), timeout=TIMEOUT)
        found.append(response.json())
        path = response.links.get("next", {}).get("url", "")
    assert found == [made[:2], made[2:4], made[4:]]


def test_notifications_of_others_are_forbidden(server: RunningServer, notifier: User) -> None:
    ann = User(server, "ann")
    body = {"user_id": "bob", "title": "Hello"}
    assert ann.ask("POST", "/api/notifications", body)[1]["code"] == "forbidden"
    assert ann.ask("GET", "/api/notifications?user=bob")[1]["code"] == "forbidden"
    assert ann.get("/api/notifications?user=ann") == ann.get("/api/notifications")
    with ann.tab() as tab:
        for wanted in ("notifications:bob", {"channel": "notifications:bob"}, "notifications:*"):
            assert tab.call("subscribe", wanted)["code"] == "forbidden"
        for topics in (["notifications:ann", "notifications:bob"], ["*"]):
            answer = tab.call("subscribe", {"consumer": "ann", "topics": topics})
            assert answer["code"] == "forbidden"
        tab.emit("subscribe", "notifications:bob")
        while (event := tab.events.get(timeout=TIMEOUT))[0] == "notification":
            pass
        assert event[0] == "error"
        assert event[1]["code"] == "forbidden"
    assert notifier.ask("POST", "/api/notifications", {"user_id": "eve", "title": "x"})[0] == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"user_id": "ann"}, {"title": "x"}, {"user_id": "ann", "title": " "},
     {"user_id": 1, "title": "x"}, {"user_id": "a*", "title": "x"}, {"user_id": "", "title": "x"},
     {"user_id": "ann", "title": 1}, {"user_id": "n" * 190, "title": "x"}, []],
)  # fmt: skip
def test_a_notification_of_another_shape_is_refused(notifier: User, body: Any) -> None:
    status, answer = notifier.ask("POST", "/api/notifications", body)
    assert (status, answer["code"]) == (400, "invalid")


# Votes


def test_a_vote_changes_every_screen(server: RunningServer) -> None:
    ann, bob = User(server, "ann"), User(server, "bob")
    path = "/api/suggestions/s 1/votes"
    with ann.tab() as one, bob.tab() as two:
        two.emit("subscribe:suggestions")
        assert skip_notifications(two, "subscribed")["topics"][0]["topic"] == "suggestions:votes"
        assert one.call("subscribe", {"channel": "suggestions:votes"})["status"] == "ok"
        skip_notifications(one, "subscribed")
        for user, value, up, down in (
            (ann, 1, 1, 0),
            (bob, 1, 2, 0),
            (bob, -1, 1, 1),
            (ann, 0, 0, 1),
        ):
            answer = user.post(path, {"value": value})
            assert answer == {"suggestion_id": "s 1", "score": up - down, "up": up, "down": down}
            assert one.next("suggestion:vote") == two.next("suggestion:vote") == answer
        assert ann.post(path, {"value": 0}) == answer  # which changes nothing, and is not told
        assert one.call("unsubscribe", "suggestions:votes")["topics"] == ["suggestions:votes"]
        assert one.next("unsubscribed")["topics"] == ["suggestions:votes"]
        ann.post(path, {"value": 1})
        assert two.next("suggestion:vote")["up"] == 1
        one.assert_alive_and_silent()
    assert ann.get("/api/suggestions/s 1") == {
        "suggestion_id": "s 1", "score": 0, "up": 1, "down": 1,
    }  # fmt: skip
    assert ann.get("/api/suggestions/never seen")["score"] == 0


@pytest.mark.parametrize(
    "body", [{}, {"value": 2}, {"value": True}, {"value": "1"}, {"value": None}, []]
)
def test_a_vote_of_another_shape_is_refused(server: RunningServer, body: Any) -> None:
    status, answer = User(server, "ann").ask("POST", "/api/suggestions/s/votes", body)
    assert (status, answer["code"]) == (400, "invalid")


def test_a_hundred_voters_at_once_are_counted_right(server: RunningServer) -> None:
    voters = [User(server, f"voter {n}") for n in range(100)]
    path = "/api/suggestions/crowd/votes"

    def cast(number: int) -> None:
        for value in (1, -1) if number % 4 == 0 else (-1, 1):
            voters[number].post(path, {"value": value})

    with User(server, "ann").tab() as tab:
        tab.call("subscribe:suggestions")
        skip_notifications(tab, "subscribed")
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(cast, range(100)))
        told = [tab.next("suggestion:vote") for _ in range(200)]
        assert tab.call("unsubscribe")["topics"] == ["suggestions:votes"]
        assert tab.next("unsubscribed")["topics"] == ["suggestions:votes"]
    total = {"suggestion_id": "crowd", "score": 50, "up": 75, "down": 25}
    assert told[-1] == total == voters[0].get("/api/suggestions/crowd")
    before = (0, 0)
    for tally in told:  # each is one step from the one before
        step = (tally["up"] - before[0], tally["down"] - before[1])
        assert step in {(1, 0), (0, 1), (1, -1), (-1, 1)}
        before = tally["up"], tally["down"]


# Resources


def test_an_update_reaches_only_its_subscribers(server: RunningServer) -> None:
    ann, bob = User(server, "ann"), User(server, "bob")
    stored = ann.post("/api/resources/doc 7/updates", {"text": "a"})
    assert (stored["topic"], stored["sequence"]) == ("resource:updates:doc 7", 1)
    with ann.tab() as one, bob.tab() as two, ann.tab() as all_of_them:
        one.emit("subscribe:resource", "doc 7")
        assert skip_notifications(one, "subscribed")["topics"][0]["replayed"] == 1
        last = {"resource_id": "doc 7", "text": "a", "replayed": True}
        assert one.next("resource:update") == last
        two.call("subscribe:resource", {"resource_id": "doc 8"})
        skip_notifications(two, "subscribed")
        wanted = {"consumer": "ann", "topics": ["resource:updates:*"]}
        assert all_of_them.call("subscribe", wanted)["status"] == "ok"
        skip_notifications(all_of_them, "subscribed")
        bob.post("/api/resources/doc 7/updates", {"resource_id": "doc 7", "text": "b"})
        ann.post("/api/resources/doc 8/updates", {})
        assert one.next("resource:update") == {"resource_id": "doc 7", "text": "b"}
        assert two.next("resource:update") == {"resource_id": "doc 8"}
        assert [all_of_them.next("resource:update")["resource_id"] for _ in range(2)] == [
            "doc 7",
            "doc 8",
        ]
    for body in ([], 1, {"resource_id": "other"}):
        assert ann.ask("POST", "/api/resources/doc 7/updates", body)[0] == 400
    reader = User(server, "bob", publish=["open"])
    assert reader.ask("POST", "/api/resources/doc 7/updates", {})[0] == 403


def test_whole_messages_for_who_asks(server: RunningServer) -> None:
    ann = User(server, "ann")
    ann.post("/api/resources/whole/updates", {"n": 1})
    path = f"/ws?envelope=true&access_token={ann.token}"
    with PlainClient(server.url, path) as client:
        client.send({"type": "subscribe:resource", "resource_id": "whole", "after": 0})
        while (frame := client.next())["type"] != "resource:update":
            assert frame["type"] in ("notification", "subscribed")
        assert frame["data"].pop("timestamp") > 0
        assert frame["data"].pop("message_id")
        assert frame["data"] == {
            "topic": "resource:updates:whole",
            "message": {"resource_id": "whole", "n": 1},
            "producer": "ann",
            "sequence": 1,
            "replayed": True,
        }


def skip_notifications(client: Client, event: str) -> Any:
    """The next event that is not an unread notification."""
    while True:
        name, argument = client.events.get(timeout=TIMEOUT)
        if name != "notification":
            assert name == event, (name, argument)
            return argument


# Without authentication, after crashes, on two nodes


def test_without_authentication_one_says_who_one_is(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        http, url = server.http, server.url
        sent = http.post(
            f"{url}/api/notifications", json={"user_id": "ann", "title": "x"}, timeout=TIMEOUT
        ).json()
        assert server.get("/api/notifications", user="ann", unread="true") == [sent]
        assert server.get("/api/notifications", unread="true") == []
        read = http.post(f"{url}/api/notifications/{sent['id']}/read?user=ann", timeout=TIMEOUT)
        assert read.status_code == 200
        assert server.get("/api/notifications/count", user="ann") == {"unread": 0}
        for body in ({"value": 1}, {"value": 1, "user": "ann"}, {"value": -1, "user": "bob"}):
            votes = http.post(f"{url}/api/suggestions/1/votes", json=body, timeout=TIMEOUT)
        assert votes.json() == {"suggestion_id": "1", "score": 1, "up": 2, "down": 1}
        with Client(url) as client:
            client.assert_alive_and_silent()


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"jwt_public_key": ISSUER.public, "jwt_audience": AUDIENCE}
    with RunningServer(tmp_path, **settings) as server:
        ann, notifier = User(server, "ann"), User(server, "tom", **NOTIFIER)
        made = [notifier.notify("ann", f"No. {n}") for n in range(3)]
        ann.post(f"/api/notifications/{made[0]['id']}/read", None)
        tallies = [
            User(server, name).post("/api/suggestions/1/votes", {"value": value})
            for name, value in (("ann", 1), ("bob", 1), ("ann", -1))
        ]
        ann.post("/api/resources/1/updates", {"n": 1})
        server.kill()
        server.start()
        assert ann.get("/api/suggestions/1") == tallies[-1]
        assert ann.get("/api/notifications/count") == {"unread": 2}
        with ann.tab() as tab:
            assert [tab.next("notification")["id"] for _ in range(2)] == [
                each["id"] for each in made[1:]
            ]
            after = {"channel": "suggestions:votes", "after": "beginning"}
            assert tab.call("subscribe", after)["topics"][0]["replayed"] == 3
            tab.next("subscribed")
            replayed = [tab.next("suggestion:vote") for _ in range(3)]
            assert replayed == [tally | {"replayed": True} for tally in tallies]
            tab.call("subscribe:resource", 1)
            tab.next("subscribed")
            assert tab.next("resource:update")["n"] == 1
            changed = ann.post("/api/suggestions/1/votes", {"value": 1})
            assert changed == tab.next("suggestion:vote")
            assert changed["up"] == 2


def test_votes_add_up_when_the_server_is_killed_among_them(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"jwt_public_key": ISSUER.public, "jwt_audience": AUDIENCE}
    with RunningServer(tmp_path, **settings) as server:
        voters = [User(server, f"voter {n}") for n in range(100)]
        answered: set[int] = set()
        many = threading.Event()

        def cast(number: int) -> None:
            try:
                status, _ = voters[number].ask("POST", "/api/suggestions/1/votes", {"value": 1})
            except requests.RequestException:
                return  # killed before it answered; it may have counted
            if status == 200:
                answered.add(number)
            if len(answered) >= 30:
                many.set()

        with ThreadPoolExecutor(8) as threads:
            casting = [threads.submit(cast, number) for number in range(100)]
            assert many.wait(TIMEOUT)
            server.kill()
            for each in casting:
                each.result(TIMEOUT)
        server.start()
        path = "/topics/suggestions:votes/messages?limit=1000"
        told = [message["message"]["up"] for message in voters[0].get(path)["messages"]]
        assert told == list(range(1, len(told) + 1))
        assert voters[0].get("/api/suggestions/1")["up"] == len(told) >= len(answered) >= 30
        for user in voters:  # each once more, whether it had counted or not
            last = user.post("/api/suggestions/1/votes", {"value": 1})
        assert last == {"suggestion_id": "1", "score": 100, "up": 100, "down": 0}
        assert voters[0].get(path)["sequence"] == 100


def test_two_nodes_tell_their_clients_once(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis, cluster(tmp_path, redis) as (one, two):
        with Client(one.url) as near, Client(two.url) as far:
            for client in (near, far):
                for wanted in ("notifications:ann", "suggestions:votes", "resource:updates:*"):
                    assert client.call("subscribe", wanted)["status"] == "ok"
                    client.next("subscribed")
            said = [
                ("notifications:ann", "notification", {"title": "from Redis"}),
                ("suggestions:votes", "suggestion:vote", {"suggestion_id": "1", "score": 9}),
                ("resource:updates:7", "resource:update", {"resource_id": "7", "é": [1]}),
                ("resource:updates:7", "resource:update", "text"),
            ]
            for channel, _, content in said:
                redis.client.publish(channel, json.dumps(content))
            for client in (near, far):
                assert [client.next(event) for _, event, _ in said] == [c for _, _, c in said]
            redis.client.publish("notifications:bob", "{}")
            sent = one.http.post(
                f"{one.url}/api/notifications",
                json={"user_id": "ann", "title": "stored"},
                timeout=TIMEOUT,
            ).json()
            assert near.next("notification") == far.next("notification") == sent
            path = f"{two.url}/api/notifications/{sent['id']}/read?user=ann"
            assert two.http.post(path, timeout=TIMEOUT).status_code == 200
            mark = {"id": sent["id"], "user_id": "ann"}
            assert near.next("notification:read") == far.next("notification:read") == mark
            for client in (near, far):
                assert len(client.call("unsubscribe")["topics"]) == 3
                client.next("unsubscribed")
                client.assert_alive_and_silent()
        listed = one.get("/api/notifications", user="ann")
        assert [each["title"] for each in listed] == ["stored"]  # what only passed is not kept
