from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from connections import Someone
from loops import PATIENCE, tell_story
from python_pubsub_server import __version__, wire
from python_pubsub_server.config import Settings
from python_pubsub_server.identity import Identity
from python_pubsub_server.model import Claim, Interest
from python_pubsub_server.node import Client, Node
from python_pubsub_server.pubsub_ws import create_app
from python_pubsub_server.routes import ROUTES
from python_pubsub_server.routes.publishing import wants_representation
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.storage.sqlite import SQLiteWriter

JSON = "application/json"
NDJSON = "application/x-ndjson"
LIMIT = 20_000


class Server:
    """The whole application on a loop and a file, asked in short sentences."""

    def __init__(self, runtime: Runtime, path: Path, **settings: Any) -> None:
        values = {"max_message_bytes": LIMIT, "durability": "normal", "drain_seconds": 5.0}
        self.app = create_app(
            Settings(database_url=f"sqlite:///{path}/log.db", **(values | settings)), runtime
        )
        self.node: Node = self.app.extensions["pubsub"]
        self.runtime = runtime
        self.client = self.app.test_client()

    def close(self) -> None:
        self.node.close()

    def ask(self, method: str, path: str, **options: Any) -> TestResponse:
        options.setdefault("environ_base", {"REMOTE_ADDR": "127.0.0.1"})
        response = self.client.open(path, method=method, **options)
        response.get_data()  # so that it is all here when the loop has gone
        return response

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        response = self.ask("GET", path, query_string=query)
        assert response.status_code == 200, response.text
        assert response.content_type == JSON
        return response.json

    def post(self, path: str, body: Any, content_type: str | None = JSON, **more: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, data=data, content_type=content_type, **more)

    def publish(self, topic: str = "t", number: Any = 1, producer: str = "p", **more: Any) -> Any:
        return self.post("/publish", body(topic, number, producer), **more)

    def consume(self, consumer: str, topic: str, number: Any) -> None:
        self.node.journal.write(claims=(Claim(consumer, topic, f"m{number}"),))

    def subscribe(self, name: str, at: float, *topics: str) -> None:
        subscriber = self.node.hub.add(Someone(name))
        subscriber.consumer = name
        for topic in topics:
            self.node.hub.join(subscriber, topic, at)


def body(topic: str = "t", number: Any = 1, producer: str = "p") -> dict[str, Any]:
    return {"topic": topic, "message_id": f"m{number}", "message": number, "producer": producer}


def refused(response: TestResponse, status: int, code: str) -> str:
    """Check that a response is an error as every client sees it; its text."""
    assert response.status_code == status, response.text
    assert response.content_type == JSON
    error = json.loads(response.data)
    assert list(error) == ["status", "code", "message"]
    assert (error["status"], error["code"]) == ("error", code)
    assert error["message"]
    return str(error["message"])


Tell = Callable[..., Any]


@pytest.fixture
def tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Tell:
    """Runs a tale beside a server on a loop of its own; what it returns."""

    def run(tale: Callable[[Server], Any], **settings: Any) -> Any:
        told = tell_story(lambda runtime: Server(runtime, tmp_path, **settings), tale)
        assert [each for each in caplog.records if each.msg == "answer_failed"] == []
        return told

    return run


def failing_writer() -> AbstractContextManager[Any]:
    """A disk without room: what cannot be had on demand."""
    from python_pubsub_server.storage.database import WriteFailed

    return patch.object(SQLiteWriter, "commit", side_effect=WriteFailed("disk full"))


# POST /publish


def test_a_publish_is_answered_ok_and_nothing_else(tell: Tell) -> None:
    def tale(server: Server) -> None:
        response = server.publish()
        assert (response.status_code, response.content_type) == (200, JSON)
        assert response.json == {"status": "ok"}
        again = server.publish()
        assert again.json == {"status": "ok", "duplicate": True}
        assert again.status_code == 200
        other = server.post("/publish", body() | {"message": "other"})
        assert other.json == {"status": "ok"}

    tell(tale)


def test_a_publish_can_ask_what_became_of_it(tell: Tell) -> None:
    def tale(server: Server) -> None:
        wish = {"headers": {"Prefer": "return=representation"}}
        first, second = server.publish(**wish), server.publish(**wish)
        (stored,) = server.get("/messages")
        assert first.json == {
            "status": "ok",
            "topic": "t",
            "message_id": "m1",
            "sequence": 1,
            "timestamp": stored["timestamp"],
            "epoch": server.node.epoch,
            "duplicate": False,
        }
        assert second.json == first.json | {"duplicate": True}
        assert first.headers["Preference-Applied"] == "return=representation"
        assert "Preference-Applied" not in server.publish().headers

    tell(tale)


def test_a_publish_may_leave_out_its_content_type(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for number, kind in enumerate([None, "", JSON, "APPLICATION/JSON; charset=utf-8"]):
            response = server.post("/publish", body("t", number), content_type=kind)
            assert response.json == {"status": "ok"}

    tell(tale)


def test_what_cannot_be_published_is_refused(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for field in body():
            incomplete = {name: value for name, value in body().items() if name != field}
            text = refused(server.post("/publish", incomplete), 400, "invalid")
            assert text == f"Missing required field: {field}"
        for bad in (b"", b"{", b"[]", b"\xff", b"null", b"[" * 10_000):
            refused(server.post("/publish", bad), 400, "invalid")
        refused(server.post("/publish", body("a*")), 400, "invalid")
        refused(server.post("/publish", body("$own")), 400, "invalid")
        forms = ["text/plain", "application/x-www-form-urlencoded", "text/html", NDJSON]
        for kind in forms:
            text = refused(server.post("/publish", body(), kind), 415, "unsupported_media_type")
            assert JSON in text
        assert server.get("/messages") == []

    tell(tale)


def test_a_publish_may_be_as_large_as_the_setting_says(tell: Tell) -> None:
    def tale(server: Server) -> None:
        room = LIMIT - len(json.dumps(body("t", "")).encode())
        assert server.post("/publish", body() | {"message_id": "m", "message": "x" * room}).json
        for size in (LIMIT + 1, 2 * LIMIT):
            refused(server.post("/publish", b"{" + b" " * (size - 1)), 413, "too_large")
        assert len(server.get("/messages")) == 1

    tell(tale)


def test_a_length_that_is_wrong_is_refused(tell: Tell) -> None:
    def tale(server: Server) -> None:
        lengths = [(bad, 400, "invalid") for bad in ("x", "-1", "1.5", "٣", "999")]
        lengths += [("9" * digits, 413, "too_large") for digits in (30, 5_000)]
        for length, status, code in lengths:
            environ = {"CONTENT_LENGTH": length}
            response = server.post("/publish", b"{}", environ_overrides=environ)
            refused(response, status, code)

    tell(tale)


def test_nothing_is_stored_when_the_disk_is_full_and_health_says_so(tell: Tell) -> None:
    def tale(server: Server) -> None:
        with failing_writer():
            response = server.publish()
            assert "disk full" in refused(response, 503, "unavailable")
            assert response.headers["Retry-After"] == "1"
            for path in ("/health", "/health/ready"):
                refused(server.ask("GET", path), 503, "unavailable")
            report = server.ask("GET", "/api/health")
            assert report.status_code == 503
            assert report.json["status"] == "unhealthy"
            assert report.json["checks"]["database"]["status"] == "error"
            assert server.get("/health/live")["status"]
            assert server.get("/messages") == []
        assert server.publish().json == {"status": "ok"}
        assert server.get("/health")["status"] == "healthy"

    tell(tale)


# POST /publish/batch


def test_a_batch_is_stored_as_a_whole(tell: Tell) -> None:
    def tale(server: Server) -> None:
        items = [body("a", 1), body("b", 2), body("a", 3), body("a", 1)]
        results = [
            {"message_id": "m1", "topic": "a", "sequence": 1, "duplicate": False},
            {"message_id": "m2", "topic": "b", "sequence": 1, "duplicate": False},
            {"message_id": "m3", "topic": "a", "sequence": 2, "duplicate": False},
            {"message_id": "m1", "topic": "a", "sequence": 1, "duplicate": True},
        ]
        assert server.post("/publish/batch", items).json == {"status": "ok", "results": results}
        lines = b"\r\n\r\n".join(json.dumps(item).encode() for item in items[:3])
        again = server.post("/publish/batch", lines, NDJSON)
        assert again.json["results"] == [each | {"duplicate": True} for each in results[:3]]

    tell(tale)


def test_one_bad_item_stores_none(tell: Tell) -> None:
    def tale(server: Server) -> None:
        items = [body("a", 1), body("a", 2), body("a", 3) | {"topic": ""}]
        text = refused(server.post("/publish/batch", items), 400, "invalid")
        assert text == "Item 2: `topic` must not be empty"
        items[2] = body("a", "x" * LIMIT)
        lines = b"\n".join(json.dumps(item).encode() for item in items)
        text = refused(server.post("/publish/batch", lines, NDJSON), 413, "too_large")
        assert text.startswith("Item 2: ")
        for bad in (b"", b"[]", b"{}", b"["):
            refused(server.post("/publish/batch", bad), 400, "invalid")
        refused(server.post("/publish/batch", b"[]", "text/csv"), 415, "unsupported_media_type")
        assert server.get("/messages") == []

    tell(tale)


def test_10_000_messages_are_one_batch_and_10_001_are_refused(tell: Tell) -> None:
    def tale(server: Server) -> None:
        lines = [json.dumps(body("t", number)).encode() for number in range(10_001)]
        refused(server.post("/publish/batch", b"\n".join(lines), NDJSON), 413, "too_large")
        answer = server.post("/publish/batch", b"[" + b",".join(lines[1:]) + b"]")
        assert answer.json["results"][-1]["sequence"] == 10_000

    tell(tale)


# Listings


def paged(server: Server, path: str, **query: Any) -> list[list[Any]]:
    """Every page, by following the links."""
    pages = []
    response = server.ask("GET", path, query_string=query)
    while True:
        assert response.status_code == 200, response.text
        pages.append(response.json)
        link = response.headers.get("Link")
        if link is None:
            return pages
        target, relation = link.split("; ")
        assert relation == 'rel="next"'
        assert target.startswith(f"<{path}?")
        response = server.ask("GET", target[1:-1])


def test_messages_are_listed_newest_first_as_in_the_protocol(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for topic in ("a", "b", "a"):
            server.publish(topic, len(topic + topic), producer="ann")
            server.publish(topic, topic)
        listed = server.get("/messages")
        assert [(m["topic"], m["sequence"]) for m in listed] == [
            ("b", 2),
            ("b", 1),
            ("a", 2),
            ("a", 1),
        ]
        newest = listed[0]
        assert list(newest) == [
            "topic",
            "message_id",
            "message",
            "producer",
            "timestamp",
            "sequence",
        ]
        assert newest | {"timestamp": 0} == body("b", "b") | {"timestamp": 0, "sequence": 2}
        assert [m["sequence"] for m in server.get("/messages", topic="a")] == [2, 1]
        assert {m["topic"] for m in server.get("/messages", producer="ann")} == {"a", "b"}
        assert len(server.get("/messages", topic="a", producer="ann")) == 1
        assert server.get("/messages", topic="never") == []
        assert server.get("/messages", producer="never") == []
        assert server.get("/messages", q="b")[0]["message"] == "b"
        assert server.get("/messages", q="nowhere") == []

    tell(tale)


@pytest.mark.parametrize("limit", [1, 3, 12])
def test_paging_goes_through_everything_once(tell: Tell, limit: int) -> None:
    def tale(server: Server) -> None:
        batch = [
            body("ab"[n % 2], n, "pq"[n % 3 == 0]) | {"message": f"word n{n}"} for n in range(12)
        ]
        server.post("/publish/batch", batch)
        for n in range(12):
            server.consume("cd"[n % 2 == 0], "ab"[n % 2], n)
        listings: list[tuple[str, dict[str, str], list[int]]] = [
            ("/messages", {}, list(range(12))),
            ("/messages", {"topic": "a"}, list(range(0, 12, 2))),
            ("/messages", {"producer": "q"}, list(range(0, 12, 3))),
            ("/messages", {"topic": "b", "producer": "q"}, [3, 9]),
            ("/messages", {"q": "word"}, list(range(12))),
            ("/messages", {"q": "word & more=é", "topic": "a"}, []),
            ("/consumptions", {}, list(range(12))),
            ("/consumptions", {"topic": "b"}, list(range(1, 12, 2))),
            ("/consumptions", {"consumer": "d"}, list(range(0, 12, 2))),
            ("/consumptions", {"topic": "b", "consumer": "c"}, list(range(1, 12, 2))),
        ]
        for path, query, wanted in listings:
            pages = paged(server, path, limit=limit, **query)
            ids = [row["message_id"] for page in pages for row in page]
            assert ids == [f"m{n}" for n in reversed(wanted)], (path, query)
            assert len(pages) == max(1, -(-len(wanted) // limit)), (path, query)

    tell(tale)


def test_new_messages_do_not_disturb_paging(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.post("/publish/batch", [body("t", n) for n in range(4)])
        first = server.ask("GET", "/messages", query_string={"limit": 2})
        server.post("/publish/batch", [body("t", n) for n in range(4, 9)])
        second = server.ask("GET", first.headers["Link"].split(";")[0][1:-1])
        assert [m["message"] for m in first.json + second.json] == [3, 2, 1, 0]

    tell(tale)


def test_a_listing_has_100_rows_unless_asked_for_up_to_1_000(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.post("/publish/batch", [body("t", n) for n in range(1_001)])
        assert len(server.get("/messages")) == 100
        assert len(server.get("/messages", limit=1_000)) == 1_000
        assert len(server.get("/messages", limit=5_000)) == 1_000
        assert [len(page) for page in paged(server, "/messages", limit=10**17)] == [1_000, 1]

    tell(tale)


def test_consumptions_are_listed_newest_first(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.publish("a", 1)
        server.publish("b", 2)
        server.consume("c", "a", 1)
        server.consume("d", "b", 2)
        server.consume("c", "a", 1)
        listed = server.get("/consumptions")
        assert [list(row) for row in listed] == [
            ["consumer", "topic", "message_id", "message", "timestamp"]
        ] * 2
        assert [tuple(row.values())[:4] for row in listed] == [
            ("d", "b", "m2", 2),
            ("c", "a", "m1", 1),
        ]
        assert server.get("/consumptions", consumer="never") == []
        assert server.get("/consumptions", topic="never") == []

    tell(tale)


BAD_QUERIES = [
    *(f"/messages?limit={bad}" for bad in ("0", "-1", "x", "", "1.5", "+1", "1e2", "٣")),
    "/messages?limit=" + "9" * 30,
    "/messages?limit=" + "9" * 5_000,
    *(f"/messages?before={bad}" for bad in ("0", "-1", "x", "")),
    "/consumptions?before=null",
    "/messages?limit=1&limit=2",
    "/messages?topic=",
    "/messages?topic=%00",
    "/messages?topic=%ff",
    "/messages?topic=" + "a" * 201,
    "/messages?producer=",
    "/messages?consumer=a",
    "/messages?q=" + "a" * 501,
    "/consumptions?producer=a",
    "/consumptions?q=a",
    "/clients?limit=1",
    "/monitoring/clients?topic=a",
    "/monitoring/clients?consumer=",
    "/topics?topic=a",
    "/graph/state?x",
    "/messages?" + "&".join(f"x{n}=1" for n in range(60)),
]


def test_a_query_that_has_no_meaning_is_refused(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path in BAD_QUERIES:
            refused(server.ask("GET", path), 400, "invalid")

    tell(tale)


def test_connected_clients_are_shown_with_what_waits_for_them(tell: Tell) -> None:
    def tale(server: Server) -> None:
        assert server.get("/monitoring/clients") == []
        for consumer, came_at, topic in (("ann", 5.0, "a"), ("bob", 6.5, "a*")):
            server.subscribe(consumer, came_at + 1, topic)
            subscriber = server.node.hub.subscriber(consumer)
            assert subscriber is not None
            subscriber.connection.backlog = 70  # type: ignore[misc]
            server.node.connections[consumer] = Client(subscriber.connection, came_at, "/ws")
        server.node.connections["silent"] = Client(Someone("silent"), 4.0, "/ws")
        bob, ann, silent = server.get("/monitoring/clients")
        assert bob == {
            "connection_id": "bob",
            "consumer": "bob",
            "address": "127.0.0.1",
            "connected_at": 6.5,
            "backlog_bytes": 70,
            "subscriptions": [{"topic": "a*", "connected_at": 7.5}],
        }
        assert ann["consumer"] == "ann"
        assert (silent["consumer"], silent["subscriptions"]) == (None, [])
        assert server.get("/monitoring/clients", limit=1) == [bob]
        assert server.get("/monitoring/clients", consumer="nobody") == []

    tell(tale)


def test_a_consumers_unconfirmed_messages_are_counted_on_demand(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.subscribe("ann", 5.0, "a", "b*", "empty")
        subscriber = server.node.hub.subscriber("ann")
        assert subscriber is not None
        subscriber.is_named = True
        server.node.connections["ann"] = Client(subscriber.connection, 5.0, "/ws")
        wanted = [Interest("ann", topic) for topic in ("a", "b*", "empty")]
        server.node.journal.write(interests=wanted)
        for number, topic in enumerate(("a", "a", "b1", "b2", "b2", "other")):
            server.publish(topic, number)
        server.consume("ann", "a", 0)
        (ann,) = server.get("/monitoring/clients", consumer="ann")
        counts = {each["topic"]: each["unconsumed"] for each in ann["subscriptions"]}
        assert counts == {"a": 1, "b*": 3, "empty": 0}
        with patch("python_pubsub_server.routes.clients.COUNTED_MESSAGES", 2):
            (ann,) = server.get("/monitoring/clients", consumer="ann")
            assert [each["unconsumed"] for each in ann["subscriptions"]] == [1, 2, 0]
        with patch("python_pubsub_server.routes.clients.COUNTED_TOPICS", 2):
            (ann,) = server.get("/monitoring/clients", consumer="ann")
            assert [each["unconsumed"] for each in ann["subscriptions"]] == [1, None, None]

    tell(tale)


def test_clients_are_the_live_subscriptions_newest_first(tell: Tell) -> None:
    def tale(server: Server) -> None:
        assert server.get("/clients") == []
        server.subscribe("ann", 5.0, "a")
        server.subscribe("bob", 6.5, "a*")
        assert server.get("/clients") == [
            {"consumer": "bob", "topic": "a*", "connected_at": 6.5},
            {"consumer": "ann", "topic": "a", "connected_at": 5.0},
        ]
        server.node.hub.disconnect("bob")
        assert len(server.get("/clients")) == 1

    tell(tale)


def test_topics_are_listed_by_name_with_their_totals(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.post("/publish/batch", [body("b", 1, "p"), body("b", 2, "q"), body("a", 3)])
        server.subscribe("ann", 5.0, "b", "*")
        server.subscribe("bob", 6.0, "b")
        listed = server.get("/topics")
        assert [tuple(topic) for topic in listed] == [
            ("topic", "sequence", "messages", "producers", "last_published_at", "subscribers")
        ] * 2
        a, b = listed
        assert (a["topic"], a["sequence"], a["messages"], a["producers"]) == ("a", 1, 1, 1)
        assert (b["topic"], b["sequence"], b["messages"], b["producers"]) == ("b", 2, 2, 2)
        assert (a["subscribers"], b["subscribers"]) == (1, 2)
        assert b["last_published_at"] == server.get("/messages", topic="b")[0]["timestamp"]

    tell(tale)


def test_the_graph_shows_who_sends_what_to_whom(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.post("/publish/batch", [body("a", n, "ann") for n in range(3)])
        server.publish("b", 9, "bob")
        server.consume("carl", "a", 0)
        server.subscribe("dora", 5.0, "b")
        graph = server.get("/graph/state")
        assert list(graph) == ["producers", "consumers", "topics", "links", "truncated"]
        assert graph["producers"] == ["ann", "bob"]
        assert graph["consumers"] == ["carl", "dora"]
        assert graph["topics"] == ["a", "b"]
        links = {(each["source"], each["target"], each["type"]): each for each in graph["links"]}
        assert {key: link["count"] for key, link in links.items()} == {
            ("ann", "a", "publish"): 3,
            ("bob", "b", "publish"): 1,
            ("a", "carl", "consume"): 1,
            ("b", "dora", "consume"): 0,
        }
        keys = ["source", "target", "type", "count", "rate"]
        assert list(links["ann", "a", "publish"]) == keys
        assert list(links["a", "carl", "consume"]) == [*keys, "lag", "live"]
        assert (links["a", "carl", "consume"]["lag"], links["b", "dora", "consume"]["lag"]) == (
            2,
            None,
        )
        assert not links["a", "carl", "consume"]["live"]
        assert links["b", "dora", "consume"]["live"]
        assert 0 < links["ann", "a", "publish"]["rate"] <= 0.3
        assert links["b", "dora", "consume"]["rate"] == 0

    tell(tale)


def test_an_empty_server_has_empty_pages(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path in ("/messages", "/consumptions", "/clients", "/topics"):
            response = server.ask("GET", path)
            assert response.json == []
            assert "Link" not in response.headers
        empty: dict[str, Any] = {"producers": [], "consumers": [], "topics": [], "links": []}
        assert server.get("/graph/state") == {**empty, "truncated": False}

    tell(tale)


# One topic


class LongPoll:
    """A GET that waits for a message in a task of its own."""

    def __init__(self, server: Server, path: str) -> None:
        self.responses: list[TestResponse] = []
        is_reading = server.runtime.event()
        read = server.node.readers.read

        def watched(query: Callable[[Any], Any]) -> Any:
            result = read(query)
            is_reading.set()
            return result

        with patch.object(server.node.readers, "read", watched):
            self.task = server.runtime.spawn(self._ask, server, path)
            assert is_reading.wait(PATIENCE)

    def _ask(self, server: Server, path: str) -> None:
        self.responses.append(server.ask("GET", path))

    def answer(self) -> Any:
        assert self.task.wait(PATIENCE)
        (response,) = self.responses
        assert response.status_code == 200
        return response.json


def test_a_topic_is_read_from_its_old_end(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.post("/publish/batch", [body("a", n) for n in range(5)])
        page = server.get("/topics/a/messages", after=1, limit=2)
        assert list(page) == ["epoch", "messages", "sequence", "first"]
        assert (page["epoch"], page["sequence"], page["first"]) == (server.node.epoch, 5, 1)
        assert [each["sequence"] for each in page["messages"]] == [2, 3]
        assert len(server.get("/topics/a/messages")["messages"]) == 5
        assert server.get("/topics/a/messages", after=5)["messages"] == []
        assert server.get("/topics/never/messages") == {
            "epoch": server.node.epoch,
            "messages": [],
            "sequence": 0,
            "first": 1,
        }

    tell(tale)


def test_a_long_poll_is_answered_by_the_next_message(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.publish("a/b", 1)
        poll = LongPoll(server, "/topics/a%2Fb/messages?after=1&wait=60")
        assert not poll.task.wait(0)
        server.publish("a/b", 2)
        assert [each["sequence"] for each in poll.answer()["messages"]] == [2]

    tell(tale)


def test_a_long_poll_is_answered_when_the_server_drains(tell: Tell) -> None:
    def tale(server: Server) -> None:
        poll = LongPoll(server, "/topics/a/messages?wait=60")
        server.node.hub.ring()
        assert poll.answer()["messages"] == []

    tell(tale)


def test_a_short_wait_ends_without_a_message(tell: Tell) -> None:
    def tale(server: Server) -> None:
        assert server.get("/topics/a/messages", wait="0.01")["messages"] == []
        assert server.get("/topics/a/messages", after=3, wait=1)["messages"] == []

    tell(tale)


def test_the_ledger_of_a_message(tell: Tell) -> None:
    def tale(server: Server) -> None:
        client = Someone("carl")
        request = wire.parse_subscribe(b'{"consumer":"carl","topics":["a"]}')
        server.node.subscribing.subscribe(Identity("127.0.0.1"), client, request)
        server.publish("a", 1)
        server.consume("dora", "a", 1)
        ledger = server.get("/topics/a/messages/1/deliveries")
        carl, dora = ledger["consumers"]
        assert ledger["message"] == server.get("/messages")[0]
        assert carl == {
            "consumer": "carl",
            "delivered_at": ledger["message"]["timestamp"],
            "consumed_at": None,
        }
        assert (dora["consumer"], dora["delivered_at"]) == ("dora", None)
        assert dora["consumed_at"] == server.get("/consumptions")[0]["timestamp"]
        assert ledger["pending"] == ["carl"]
        for consumer, verdict in (
            ("carl", "delivered"),
            ("dora", "consumed"),
            ("emil", "not_subscribed"),
        ):
            told = server.get("/topics/a/explain", consumer=consumer, sequence=1)
            assert list(told) == ["verdict", "at", "detail"]
            assert told["verdict"] == verdict
        assert server.get("/topics/a/explain", consumer="x", sequence=9)["verdict"] == "unknown"

    tell(tale)


def test_a_message_that_is_not_there_has_no_ledger(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.publish("a", 1)
        for path in ("/topics/a/messages/2/deliveries", "/topics/b/messages/1/deliveries"):
            refused(server.ask("GET", path), 404, "not_found")

    tell(tale)


@pytest.mark.parametrize(
    "path",
    [
        "/topics/a/messages?after=-1",
        "/topics/a/messages?after=x",
        "/topics/a/messages?after=1&after=2",
        "/topics/a/messages?after=9999999999999999999",
        "/topics/a/messages?limit=0",
        "/topics/a/messages?wait=-1",
        "/topics/a/messages?wait=nan",
        "/topics/a/messages?wait=1e2",
        "/topics/a/messages?wait=",
        "/topics/a/messages?before=1",
        "/topics/a*/messages",
        "/topics/a%00/messages",
        f"/topics/{'a' * 201}/messages",
        "/topics/a/messages/x/deliveries",
        "/topics/a/messages/-1/deliveries",
        "/topics/a/messages/1/deliveries?x=1",
        "/topics/a/explain",
        "/topics/a/explain?consumer=c",
        "/topics/a/explain?sequence=1",
        "/topics/a/explain?consumer=&sequence=1",
        "/topics/a/explain?consumer=c&sequence=1.5",
    ],
)
def test_a_question_about_a_topic_that_has_no_meaning_is_refused(tell: Tell, path: str) -> None:
    tell(lambda server: refused(server.ask("GET", path), 400, "invalid"))


# Pages of other origins

APP = "https://app.example"
ALLOWED = "Access-Control-Allow-Origin"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/messages", 200),
        ("/topics/a/messages", 200),
        ("/messages?x=1", 400),
        ("/topics/a/messages/9/deliveries", 404),
        ("/nothing", 404),
        ("/publish", 405),
    ],
)
def test_listed_pages_may_read_every_answer_and_others_none(
    tell: Tell, path: str, status: int
) -> None:
    def tale(server: Server) -> None:
        for origin, allowed in ((APP, APP), ("https://evil.example", None)):
            response = server.ask("GET", path, headers={"Origin": origin})
            assert response.status_code == status
            assert response.headers.get(ALLOWED) == allowed
        assert ALLOWED not in server.ask("GET", path).headers

    tell(tale, cors_origins=(APP,))


def test_listed_pages_may_publish_and_read_what_was_refused(tell: Tell) -> None:
    def tale(server: Server) -> None:
        headers = {"Origin": APP}
        for path, sent, status in (
            ("/publish", body(), 200),
            ("/publish", {}, 400),
            ("/publish/batch", [body(number=2)], 200),
        ):
            response = server.post(path, sent, headers=headers)
            assert (response.status_code, response.headers[ALLOWED]) == (status, APP)
            assert response.headers["Vary"] == "Origin"
        other = server.publish(number=3, headers={"Origin": "https://evil.example"})
        refused(other, 403, "forbidden")
        assert ALLOWED not in other.headers
        assert len(server.get("/messages")) == 2

    tell(tale, cors_origins=(APP,))


def test_a_browser_asks_first_what_a_page_may_send(tell: Tell) -> None:
    def tale(server: Server) -> None:
        asking = {"Origin": APP, "Access-Control-Request-Method": "POST"}
        for path in ("/publish", "/messages", "/topics/a/messages", "/nothing"):
            response = server.ask("OPTIONS", path, headers=asking)
            assert (response.status_code, response.data) == (204, b"")
            assert response.headers[ALLOWED] == APP
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
        evil = server.ask(
            "OPTIONS", "/publish", headers=asking | {"Origin": "https://evil.example"}
        )
        assert not [name for name, _ in evil.headers if name.startswith("Access-Control")]

    tell(tale, cors_origins=(APP,))


# Health


def test_health_in_all_its_forms(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path in ("/health", "/health/live", "/health/ready"):
            assert set(server.get(path)) == {"status", "timestamp"}
        assert server.get("/health")["status"] == "healthy"
        report = server.get("/api/health")
        assert report["status"] == "healthy"
        assert report["version"] == __version__
        assert report["node_id"] == server.node.node_id
        assert report["uptime_seconds"] >= 0
        assert report["websocket_clients"] == 0
        assert report["checks"] == {"database": {"status": "ok"}, "bus": {"status": "ok"}}
        assert set(report) == {
            "status",
            "timestamp",
            "version",
            "node_id",
            "uptime_seconds",
            "websocket_clients",
            "checks",
        }
        server.node.is_draining = True
        for path in ("/health", "/health/ready"):
            refused(server.ask("GET", path), 503, "unavailable")
        assert server.ask("GET", "/api/health").status_code == 503
        assert server.get("/health/live")["status"]

    tell(tale)


# Every route


def test_unknown_paths_are_not_found_in_json(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path in (
            "/nothing",
            "/publish/x",
            "/%00",
            "/%ff",
            "/static/nothing.js",
            "/..%2f",
        ):
            refused(server.ask("GET", path), 404, "not_found")
        refused(server.ask("POST", "/nothing", data=b"{}"), 404, "not_found")
        refused(server.ask("GET", "/" + "x" * 5_000), 404, "not_found")

    tell(tale)


def test_a_wrong_method_is_told_the_right_ones(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for method, path, _ in ROUTES:
            if "<" in path:
                continue
            wrong = "DELETE"
            response = server.ask(wrong, path)
            text = refused(response, 405, "method_not_allowed")
            allowed = response.headers["Allow"].split(", ")
            assert method in allowed
            assert wrong not in allowed
            assert wrong in text
        refused(server.ask("GET", "/publish"), 405, "method_not_allowed")
        refused(server.ask("BREW", "/topics"), 405, "method_not_allowed")

    tell(tale)


@pytest.mark.parametrize(
    "topic",
    [
        "a/b",
        "/a",
        "a//b",
        "a/",
        "/",
        "//",
        ".",
        "..",
        "é 漢",
        "a%b",
        "a?b#c",
        "messages",
        "a/messages",
    ],
)
def test_any_topic_has_a_path(tell: Tell, topic: str) -> None:
    def tale(server: Server) -> None:
        server.publish(topic)
        path = f"/topics/{quote(topic, safe='')}"
        assert [m["topic"] for m in server.get(f"{path}/messages")["messages"]] == [topic]
        assert server.get(f"{path}/messages/1/deliveries")["message"]["topic"] == topic
        assert server.get(f"{path}/explain", consumer="c", sequence=1)["verdict"]

    tell(tale)


def test_a_slash_too_many_is_not_found_and_no_page_says_so(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path in ("/x//messages", "/health//live", "/topics//messages", "/topics///"):
            refused(server.ask("GET", path), 404, "not_found")

    tell(tale)


def test_head_is_get_without_the_body(tell: Tell) -> None:
    def tale(server: Server) -> None:
        server.publish()
        for path in ("/messages", "/topics", "/health/live", "/clients"):
            head = server.ask("HEAD", path)
            assert (head.status_code, head.data, head.content_type) == (200, b"", JSON)
        size = len(server.ask("GET", "/messages").data)
        assert server.ask("HEAD", "/messages").headers["Content-Length"] == str(size)
        missing = server.ask("HEAD", "/nothing")
        assert (missing.status_code, missing.data) == (404, b"")

    tell(tale)


def test_options_names_the_methods(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path, methods in (
            ("/publish", {"OPTIONS", "POST"}),
            ("/static/style.css", {"OPTIONS", "GET", "HEAD"}),
        ):
            response = server.ask("OPTIONS", path)
            assert (response.status_code, response.data) == (204, b"")
            assert set(response.headers["Allow"].split(", ")) == methods
            assert not {"Content-Type", "Content-Length"} & set(response.headers.keys())
        refused(server.ask("OPTIONS", "/nothing"), 404, "not_found")

    tell(tale)


def test_other_machines_and_origins_are_refused_before_anything_else(tell: Tell) -> None:
    def tale(server: Server) -> None:
        for path in ("/publish", "/nothing", "/messages"):
            response = server.ask("GET", path, environ_base={"REMOTE_ADDR": "192.168.1.9"})
            assert "PUBSUB_ALLOW_ANONYMOUS" in refused(response, 403, "forbidden")
        for origin in ("http://evil.example", "http://[", "null"):
            refused(server.publish(headers={"Origin": origin}), 403, "forbidden")
        assert server.get("/messages") == []

    tell(tale)


def test_anybody_may_come_where_the_setting_says_so(tell: Tell) -> None:
    def tale(server: Server) -> None:
        response = server.publish(environ_base={"REMOTE_ADDR": "192.168.1.9"})
        assert response.json == {"status": "ok"}

    tell(tale, allow_anonymous=True)


def test_a_defect_is_answered_and_logged_and_never_shown(
    tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    def tale(server: Server) -> None:
        with patch.object(server.node.hub, "subscriptions", side_effect=KeyError("secret")):
            text = refused(server.ask("GET", "/clients"), 503, "unavailable")
        assert "secret" not in text

    tell(tale)
    (record,) = [each for each in caplog.records if each.msg == "request_failed"]
    assert record.exc_info


# Pages


def test_the_front_page_is_the_control_panel(tell: Tell) -> None:
    def tale(server: Server) -> None:
        home = server.ask("GET", "/")
        assert (home.status_code, home.headers["Location"]) == (302, "/control-panel.html")
        page = server.ask("GET", "/control-panel.html")
        assert (page.status_code, page.mimetype) == (200, "text/html")
        policy = page.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy
        assert "unsafe-eval" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.data.lstrip().lower().startswith(b"<!doctype html>")

    tell(tale)


@pytest.mark.parametrize(
    ("prefer", "wants"),
    [
        ("return=representation", True),
        ("Return=Representation", True),
        ('return="representation"', True),
        ("respond-async, return=representation; x=1", True),
        ("return=minimal", False),
        ("", False),
    ],
)
def test_a_preference_is_read_as_http_says(prefer: str, wants: bool) -> None:
    assert wants_representation(prefer) is wants
