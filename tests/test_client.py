"""The Python client against a real server, through crashes, lost answers and slow handlers."""

from __future__ import annotations

import json
import logging
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.sync.server import ServerConnection, serve

from network import TIMEOUT, Inbox, Proxy, soon
from python_pubsub_server.client import After, ClientError, PubSubClient, Received
from python_pubsub_server.client.backoff import Backoff
from python_pubsub_server.client.calls import Calls, ignore
from python_pubsub_server.client.link import Link, LinkLost, socket_url
from python_pubsub_server.client.tracks import Tracks
from server import ROOT, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that leave it alive; each has a topic of its own."""
    with RunningServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path) as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def publish_many(server: RunningServer, topic: str, count: int) -> None:
    items = [
        {"topic": topic, "message_id": f"m{n}", "message": n, "producer": "test"}
        for n in range(count)
    ]
    response = server.http.post(server.url + "/publish/batch", json=items, timeout=30)
    assert response.status_code == 200, response.text


def consumed(server: RunningServer, topic: str) -> list[str]:
    found = server.get("/consumptions", topic=topic, limit=1000)
    return sorted(each["message_id"] for each in found)


def stored(server: RunningServer, topic: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = server.get("/messages", topic=topic, limit=1000)
    return messages[::-1]


class TestPublishing:
    def test_a_receipt_says_where_it_is_stored(self, server: RunningServer, topic: str) -> None:
        value = {"big": 2**70, "text": "ünïcode 🎉", "nothing": None}
        with PubSubClient(server.url, "ann") as client:
            receipt = client.publish(topic, value)
            assert (receipt.sequence, receipt.duplicate) == (1, False)
            assert client.publish(topic, None, message_id="x").sequence == 2
            assert client.publish(topic, None, message_id="x").duplicate
        messages = stored(server, topic)
        assert [each["message"] for each in messages] == [value, None]
        assert messages[0]["timestamp"] == receipt.timestamp
        assert messages[0]["producer"] == "ann"

    def test_many_threads_publish_at_once(self, server: RunningServer, topic: str) -> None:
        receipts: dict[int, list[int]] = {}

        def publish(thread: int) -> None:
            receipts[thread] = [client.publish(topic, [thread, n]).sequence for n in range(20)]

        with PubSubClient(server.url) as client:
            threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(TIMEOUT)
        assert all(sequences == sorted(sequences) for sequences in receipts.values())
        assert sorted(n for each in receipts.values() for n in each) == list(range(1, 161))

    def test_a_lost_answer_cannot_duplicate(self, server: RunningServer, topic: str) -> None:
        seen = Inbox()
        with (
            Proxy(server.port) as proxy,
            PubSubClient(server.url) as watcher,
            PubSubClient(proxy.url, random=soon) as client,
        ):
            watcher.subscribe(topic, seen, None)
            client.publish(topic, "first")
            proxy.is_mute = True
            receipts: queue.Queue[Any] = queue.Queue()
            thread = threading.Thread(
                target=lambda: receipts.put(client.publish(topic, "second", timeout=TIMEOUT))
            )
            thread.start()
            assert seen.sequences(2) == [1, 2]  # it is stored, and the client does not know
            proxy.is_mute = False
            proxy.cut()
            receipt = receipts.get(timeout=TIMEOUT)
            thread.join(TIMEOUT)
        assert (receipt.sequence, receipt.duplicate) == (2, True)
        assert [each["message"] for each in stored(server, topic)] == ["first", "second"]

    def test_publishes_across_crashes_are_stored_once_and_in_order(
        self, own_server: RunningServer, topic: str
    ) -> None:
        sequences: list[int] = []
        seen = Inbox()
        with (
            PubSubClient(own_server.url, random=soon) as client,
            PubSubClient(own_server.url, random=soon) as watcher,
        ):
            watcher.subscribe(topic, seen, None)
            thread = threading.Thread(
                target=lambda: sequences.extend(
                    client.publish(topic, n).sequence for n in range(300)
                )
            )
            thread.start()
            for _ in range(2):
                seen.next(50)
                own_server.kill()
                own_server.start()
            thread.join(TIMEOUT)
        assert [each["message"] for each in stored(own_server, topic)] == list(range(300))
        assert sequences == list(range(1, 301))

    def test_refusals_have_a_code(self, server: RunningServer, topic: str) -> None:
        with PubSubClient(server.url) as client:
            with pytest.raises(ClientError, match=r"\*") as refusal:
                client.publish("no*", 1)
            assert refusal.value.code == "invalid"
            with pytest.raises(ClientError) as refusal:
                client.publish(topic, "x" * 1_500_000)
            assert refusal.value.code == "too_large"
            with pytest.raises(ClientError) as refusal:
                client.publish(topic, "x" * 5_000_000)
            assert refusal.value.code == "too_large"
            assert client.publish(topic, "still there").sequence == 1

    def test_what_is_not_json_is_refused_at_once(self, server: RunningServer, topic: str) -> None:
        with PubSubClient(server.url) as client:
            for value in (float("nan"), "\ud800"):
                with pytest.raises(ValueError):
                    client.publish(topic, value)
            with pytest.raises(ValueError, match="too long"):
                client.publish(topic, 1, timeout=100)

    def test_without_a_server_it_times_out(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with PubSubClient(f"http://127.0.0.1:{port}", random=soon) as client:
            with pytest.raises(ClientError) as error:
                client.publish("news", 1, timeout=0.2)
            assert error.value.code == "timeout"
            with pytest.raises(ClientError) as error:
                client.subscribe("news", print, None, timeout=0.2)
            assert error.value.code == "timeout"


class TestSubscribing:
    @pytest.mark.parametrize(
        ("after", "expected"),
        [("beginning", [1, 2, 3, 4]), (2, [3, 4]), (1, [2, 3, 4]), (None, [4])],
    )
    @pytest.mark.parametrize("consumer", ["ann", None])
    def test_it_begins_where_it_was_asked_to(
        self,
        server: RunningServer,
        topic: str,
        after: Any,
        expected: list[int],
        consumer: str | None,
    ) -> None:
        publish_many(server, topic, 3)
        inbox = Inbox()
        with PubSubClient(server.url, consumer) as client:
            client.subscribe(topic, inbox, after)
            client.publish(topic, {"last": True})
            messages = inbox.next(len(expected))
        assert [each.sequence for each in messages] == expected
        assert [each.replayed for each in messages] == [n < 4 for n in expected]
        assert messages[-1].message == {"last": True}

    def test_what_was_handled_is_confirmed_once(self, server: RunningServer, topic: str) -> None:
        first, second = Inbox(), Inbox()
        with PubSubClient(server.url, "ann") as client:
            client.subscribe([topic, "other"], first)
            publish_many(server, topic, 50)
            first.next(50)
        assert len(consumed(server, topic)) == 50
        with PubSubClient(server.url, "ann") as client:
            client.subscribe(topic, second)
            client.publish(topic, "new")
            assert second.sequences(1) == [51]

    def test_a_pattern_covers_topics_that_come_later(self, server: RunningServer) -> None:
        inbox = Inbox()
        with (
            Proxy(server.port) as proxy,
            PubSubClient(proxy.url, random=soon) as client,
        ):
            client.subscribe("host:*", inbox, None)
            server.publish("host:a", 1)
            assert [m.topic for m in inbox.next(1)] == ["host:a"]
            proxy.is_mute = True
            proxy.cut()
            server.publish("host:a", 2, message_id="m-2")
            server.publish("host:b", 3)
            proxy.is_mute = False
            proxy.cut()
            missed = sorted((m.topic, m.sequence) for m in inbox.next(2))
            assert missed == [("host:a", 2), ("host:b", 1)]

    def test_two_handlers_cannot_share_a_topic(self, server: RunningServer, topic: str) -> None:
        with PubSubClient(server.url) as client:
            client.subscribe(["host:*", topic], print, None)
            for other in (topic, "host:a", "*", "host:a*", "ho*"):
                with pytest.raises(ValueError, match="overlaps"):
                    client.subscribe(other, print, None)
            client.unsubscribe(topic)
            client.subscribe(topic, print, None)

    def test_consumed_needs_a_name(self, server: RunningServer, topic: str) -> None:
        with (
            PubSubClient(server.url) as client,
            pytest.raises(ValueError, match="consumer"),
        ):
            client.subscribe(topic, print)

    def test_a_refused_topic_raises(self, server: RunningServer) -> None:
        with PubSubClient(server.url) as client:
            with pytest.raises(ClientError) as refusal:
                client.subscribe("a*b", print, None)
            assert refusal.value.code == "invalid"
            client.subscribe("ab", print, None)

    def test_a_handler_publishes_and_subscribes(self, server: RunningServer) -> None:
        answers = Inbox()
        with PubSubClient(server.url, "ann") as client:

            def answer(question: Received) -> None:
                client.subscribe("answers", answers)
                client.publish("answers", question.message + 1)

            client.subscribe("questions", answer)
            client.publish("questions", 41)
            assert answers.next(1)[0].message == 42


class TestFailing:
    def test_a_handler_that_raises_is_called_again(self, server: RunningServer, topic: str) -> None:
        inbox = Inbox()
        errors: list[tuple[str, int | None]] = []

        def handle(message: Received) -> None:
            inbox(message)
            if len(inbox.all) < 3:
                raise RuntimeError("not yet")

        with PubSubClient(
            server.url,
            "ann",
            random=soon,
            on_error=lambda error, m: errors.append((str(error), m.sequence if m else None)),
        ) as client:
            client.subscribe(topic, handle)
            publish_many(server, topic, 2)
            assert inbox.sequences(4) == [1, 1, 1, 2]
        assert errors == [("not yet", 1), ("not yet", 1)]
        assert consumed(server, topic) == ["m0", "m1"]

    def test_what_was_given_up_comes_back(self, server: RunningServer, topic: str) -> None:
        inbox, again = Inbox(), Inbox()

        def handle(message: Received) -> None:
            inbox(message)
            if message.sequence == 2:
                raise RuntimeError("never")

        with PubSubClient(server.url, "ann", random=soon, attempts=2) as client:
            client.subscribe(topic, handle)
            publish_many(server, topic, 3)
            assert inbox.sequences(4) == [1, 2, 2, 3]
        assert consumed(server, topic) == ["m0", "m2"]
        with PubSubClient(server.url, "ann") as client:
            client.subscribe(topic, again)
            assert again.sequences(1) == [2]
        assert consumed(server, topic) == ["m0", "m1", "m2"]

    def test_a_callback_that_raises_stops_nothing(self, server: RunningServer, topic: str) -> None:
        inbox = Inbox()

        def handle(message: Received) -> None:
            inbox(message)
            raise RuntimeError("handler")

        def complain(error: Exception, message: Received | None) -> None:
            raise RuntimeError("callback")

        with PubSubClient(server.url, "a", on_error=complain, random=soon, attempts=1) as client:
            client.subscribe(topic, handle)
            publish_many(server, topic, 2)
            assert inbox.sequences(2) == [1, 2]


class TestReconnecting:
    @pytest.mark.parametrize("after", ["consumed", "beginning"])
    def test_a_crash_loses_and_repeats_nothing(
        self, own_server: RunningServer, topic: str, after: Any
    ) -> None:
        inbox = Inbox()
        with (
            PubSubClient(own_server.url, "ann", random=soon) as client,
            PubSubClient(own_server.url, random=soon) as publisher,
        ):
            client.subscribe(topic, inbox, after)
            thread = threading.Thread(
                target=lambda: [publisher.publish(topic, n) for n in range(300)]
            )
            thread.start()
            for _ in range(2):
                inbox.next(50)
                own_server.kill()
                own_server.start()
            inbox.next(200)
            thread.join(TIMEOUT)
        assert [each.message for each in inbox.all] == list(range(300))
        assert len(consumed(own_server, topic)) == 300

    @pytest.mark.parametrize("after", ["consumed", "beginning"])
    def test_lost_connections_lose_and_repeat_nothing(
        self, server: RunningServer, topic: str, after: Any
    ) -> None:
        inbox = Inbox()
        publish_many(server, topic, 200)
        with Proxy(server.port) as proxy:
            with PubSubClient(server.url, "ann") as client:
                client.subscribe(topic, print, 200)  # known to the server from now on
            with PubSubClient(proxy.url, "ann", random=soon) as client:
                client.subscribe(topic, inbox, after)
                publish_many(server, "other", 200)
                for n in range(200):
                    if n % 20 == 10:
                        proxy.cut()
                    server.publish(topic, n, message_id=f"late{n}")
                expected = list(range(1, 401)) if after == "beginning" else list(range(201, 401))
                assert inbox.sequences(len(expected)) == expected
        assert len(inbox.all) == len(expected)
        assert len(consumed(server, topic)) == len(expected)

    def test_a_lost_log_is_told(self, own_server: RunningServer) -> None:
        inbox, lost = Inbox(), queue.Queue[str]()
        with PubSubClient(own_server.url, "ann", random=soon, on_unrecovered=lost.put) as client:
            client.subscribe("by:consumption", inbox)
            client.subscribe("by:position", inbox, None)
            publish_many(own_server, "by:consumption", 3)
            publish_many(own_server, "by:position", 3)
            inbox.next(6)
            epoch = client.epoch
            own_server.kill()
            own_server.lose_log()
            own_server.start()
            told = {lost.get(timeout=TIMEOUT), lost.get(timeout=TIMEOUT)}
            assert told == {"by:consumption", "by:position"}
            assert client.epoch != epoch
            client.publish("by:consumption", "new")
            client.publish("by:position", "new")
            assert inbox.sequences(2) == [1, 1]
        assert consumed(own_server, "by:consumption") != []
        assert lost.empty()

    def test_what_was_consumed_in_a_lost_log_is_not_confirmed_in_the_new_one(
        self, own_server: RunningServer, topic: str
    ) -> None:
        inbox = Inbox()

        def handle(message: Received) -> None:
            proxy.is_mute = True  # the answer to the confirmation will be lost
            inbox(message)
            if len(inbox.all) > 1:
                raise RuntimeError("never")

        with (
            Proxy(own_server.port) as proxy,
            PubSubClient(proxy.url, "ann", random=soon, attempts=1) as client,
        ):
            client.subscribe(topic, handle, "beginning")
            publish_many(own_server, topic, 1)
            inbox.next(1)
            own_server.kill()
            own_server.lose_log()
            own_server.start()
            publish_many(own_server, topic, 1)
            proxy.is_mute = False
            proxy.cut()
            inbox.next(1)
            proxy.is_mute = False
            proxy.cut()
            client.close()
        assert consumed(own_server, topic) == []

    def test_what_one_replay_has_no_room_for_is_told_or_fetched(
        self, tmp_path: Path, topic: str
    ) -> None:
        inbox, lost = Inbox(), queue.Queue[str]()
        with RunningServer(tmp_path, replay_limit=10) as server:
            with PubSubClient(server.url, "ann") as client:
                client.subscribe(topic, print)
            publish_many(server, topic, 55)
            with PubSubClient(server.url, "ann", on_unrecovered=lost.put) as client:
                client.subscribe(topic, inbox)
                assert inbox.sequences(55) == list(range(1, 56))
                client.publish(topic, "live")
                assert inbox.sequences(1) == [56]
                assert lost.empty()
                client.unsubscribe(topic)
                client.subscribe(topic, inbox, "beginning")
                assert lost.get(timeout=TIMEOUT) == topic
                assert inbox.sequences(10) == list(range(47, 57))
            assert len(consumed(server, topic)) == 56

    def test_a_full_queue_does_not_stop_the_parts_of_a_replay(
        self, tmp_path: Path, topic: str
    ) -> None:
        inbox, lost = Inbox(), queue.Queue[str]()
        with RunningServer(tmp_path, replay_limit=10) as server:
            with PubSubClient(server.url, "ann") as client:
                client.subscribe([topic, "p:*"], print)
            for each in (topic, "p:1", "p:2"):
                publish_many(server, each, 40)
            with PubSubClient(server.url, "ann", max_queued=3, on_unrecovered=lost.put) as client:
                client.subscribe([topic, "p:*"], inbox)
                inbox.next(120)
        for each in (topic, "p:1", "p:2"):
            assert [m.sequence for m in inbox.all if m.topic == each] == list(range(1, 41))
        assert len(inbox.all) == 120
        assert lost.empty()

    def test_a_handler_that_fails_on_a_whole_replay_is_not_stuck(
        self, tmp_path: Path, topic: str
    ) -> None:
        inbox = Inbox()

        def handle(message: Received) -> None:
            inbox(message)
            if message.sequence <= 10:
                raise RuntimeError("never")

        with RunningServer(tmp_path, replay_limit=10) as server:
            with PubSubClient(server.url, "ann") as client:
                client.subscribe(topic, print)
            publish_many(server, topic, 18)
            with PubSubClient(server.url, "ann", attempts=1) as client:
                client.subscribe(topic, handle)
                assert inbox.sequences(18) == list(range(1, 19))
            assert len(consumed(server, topic)) == 8

    @pytest.mark.parametrize("after", ["consumed", "beginning"])
    def test_a_slow_handler_bounds_what_is_queued(
        self, server: RunningServer, topic: str, after: Any
    ) -> None:
        inbox, go_on = Inbox(), threading.Event()

        def handle(message: Received) -> None:
            assert go_on.wait(TIMEOUT)
            inbox(message)

        with PubSubClient(server.url, "ann", max_queued=7) as client:
            client.subscribe(topic, handle, after)
            publish_many(server, topic, 100)
            for n in range(5):
                client.publish(topic, n)  # answers come although the handler is stuck
            go_on.set()
            assert inbox.sequences(105) == list(range(1, 106))
        assert len(inbox.all) == 105
        assert len(consumed(server, topic)) == 105

    def test_bytes_bound_the_queue_too(self, server: RunningServer, topic: str) -> None:
        inbox = Inbox()
        with PubSubClient(server.url, "ann", max_queued_bytes=10) as client:
            client.subscribe(topic, inbox)
            publish_many(server, topic, 20)
            assert inbox.sequences(20) == list(range(1, 21))


class TestClosing:
    def test_it_leaves_no_thread_behind_and_may_be_repeated(
        self, server: RunningServer, topic: str
    ) -> None:
        before = set(threading.enumerate())
        client = PubSubClient(server.url, "ann")
        client.subscribe(topic, print)
        assert set(threading.enumerate()) - before
        assert client.close()
        assert client.close()
        assert set(threading.enumerate()) == before
        for call in (lambda: client.publish("a", 1), lambda: client.subscribe("a", print)):
            with pytest.raises(ClientError) as error:
                call()
            assert error.value.code == "closed"

    def test_it_waits_for_the_handler_and_its_confirmation(
        self, server: RunningServer, topic: str
    ) -> None:
        inbox, is_handling, go_on = Inbox(), threading.Event(), threading.Event()

        def handle(message: Received) -> None:
            is_handling.set()
            assert go_on.wait(TIMEOUT)
            inbox(message)

        client = PubSubClient(server.url, "ann")
        client.subscribe(topic, handle)
        publish_many(server, topic, 5)
        assert is_handling.wait(TIMEOUT)
        closing = threading.Thread(target=client.close)
        closing.start()
        go_on.set()
        closing.join(TIMEOUT)
        handled = [message.message_id for message in inbox.all]
        assert handled
        assert consumed(server, topic) == handled

    def test_it_confirms_over_a_new_connection(self, server: RunningServer, topic: str) -> None:
        inbox = Inbox()
        with Proxy(server.port) as proxy:
            client = PubSubClient(proxy.url, "ann", random=soon)
            client.subscribe(topic, inbox)
            publish_many(server, topic, 3)
            inbox.next(3)
            proxy.cut()
            assert client.close(TIMEOUT)
        assert consumed(server, topic) == ["m0", "m1", "m2"]

    def test_without_a_server_it_gives_up_in_time(
        self, own_server: RunningServer, topic: str
    ) -> None:
        inbox = Inbox()

        def handle(message: Received) -> None:
            proxy.is_mute = True  # the confirmation's answer gets lost
            inbox(message)

        with Proxy(own_server.port) as proxy:
            client = PubSubClient(proxy.url, "ann", random=soon)
            client.subscribe(topic, handle)
            publish_many(own_server, topic, 1)
            inbox.next(1)
            own_server.kill()
            client.close(0.1)
            assert not [t for t in threading.enumerate() if t.name.startswith("pubsub-")]

    def test_a_handler_may_close(self, server: RunningServer, topic: str) -> None:
        before = set(threading.enumerate())
        client = PubSubClient(server.url, "ann")
        closers: queue.Queue[threading.Thread] = queue.Queue()

        def handle(message: Received) -> None:
            known = set(threading.enumerate())
            client.close()
            closers.put((set(threading.enumerate()) - known).pop())

        client.subscribe(topic, handle)
        publish_many(server, topic, 3)
        closers.get(timeout=TIMEOUT).join(TIMEOUT)
        assert set(threading.enumerate()) == before
        assert consumed(server, topic) == ["m0"]


class Mute:
    """An Engine.IO server that opens a session, refuses or accepts it, and says nothing more."""

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self._server = serve(self._talk, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self.credentials: queue.Queue[Any] = queue.Queue()

    def __enter__(self) -> Mute:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(TIMEOUT)

    def _talk(self, connection: ServerConnection) -> None:
        terms = {"sid": "s", "upgrades": [], "pingInterval": 50, "pingTimeout": 50}
        connection.send("0" + json.dumps(terms))
        self.credentials.put(json.loads(str(connection.recv())[2:] or "null"))
        connection.send(self._answer)
        for _ in connection:
            continue


class Eager(Mute):
    """A server that has lost a notification, says so at once, and sends the unread one after it.

    It then brings all that is subscribed to: 4, which was read elsewhere, and 5.
    """

    TOPIC = "notifications:ann"

    def __init__(self) -> None:
        super().__init__('40{"sid":"s"}')

    def _talk(self, connection: ServerConnection) -> None:
        connection.send('0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
        connection.recv()
        connection.send(self._answer)
        self._join(connection, "ann/1", recovered=False, sequences=[5])
        for packet in connection:
            call_id, bracket, rest = str(packet)[2:].partition("[")
            event, _ = json.loads(bracket + rest)
            if event == "subscribe":
                report = self._join(connection, "ann", recovered=True, sequences=[4, 5])
                connection.send(f"43{call_id}{json.dumps([report])}")
            else:
                connection.send(f'43{call_id}[{{"status":"ok"}}]')

    def _join(
        self, connection: ServerConnection, consumer: str, *, recovered: bool, sequences: list[int]
    ) -> dict[str, Any]:
        place = {"topic": self.TOPIC, "sequence": 5, "first": 4, "replayed": len(sequences)}
        topics = [place | {"recovered": recovered}]
        report = {"status": "ok", "epoch": "e", "consumer": consumer, "topics": topics}
        connection.send("42" + json.dumps(["subscribed", report]))
        for sequence in sequences:
            message = {"topic": self.TOPIC, "message_id": "m", "message": {}, "producer": "p"}
            message |= {"timestamp": 1.0, "sequence": sequence, "replayed": True}
            connection.send("42" + json.dumps(["notification", message]))
        return report


@pytest.mark.parametrize("after", ["beginning", "consumed", 3])
def test_unread_notifications_do_not_hide_what_is_asked_for(after: After) -> None:
    inbox = Inbox()
    with Eager() as server, PubSubClient(server.url, "ann", random=soon) as client:
        client.subscribe(Eager.TOPIC, inbox, after)
        assert [message.sequence for message in inbox.next(2)] == [4, 5]
    assert [message.sequence for message in inbox.all] == [4, 5]


class TestLink:
    def test_silence_is_a_dead_link(self) -> None:
        with Mute('40{"sid":"s"}') as server:
            link = Link(socket_url(server.url), None, TIMEOUT)
            with pytest.raises(LinkLost, match="timed out"):
                link.read()
            link.close()

    def test_a_refused_client_hears_why_and_tries_again_with_new_credentials(self) -> None:
        tokens = iter(range(1000))
        refusal = {"message": "expired", "data": {"code": "unauthenticated"}}
        with (
            Mute("44" + json.dumps(refusal)) as server,
            PubSubClient(server.url, auth=lambda: {"token": next(tokens)}, random=soon) as client,
        ):
            with pytest.raises(ClientError, match="expired") as error:
                client.publish("news", 1)
            assert error.value.code == "unauthenticated"
            assert server.credentials.get(timeout=TIMEOUT) == {"token": 0}
            assert server.credentials.get(timeout=TIMEOUT) == {"token": 1}

    def test_the_password_of_an_address_is_not_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "pubsub.client")
        with Mute('44{"message":"no"}') as server:
            url = server.url.replace("://", "://me:hunter2@")
            with PubSubClient(url) as client, pytest.raises(ClientError, match="no"):
                client.publish("news", 1)
        assert "Refused by ws://127.0.0.1" in caplog.text
        assert "hunter2" not in caplog.text

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("http://h:5000", "ws://h:5000/socket.io/?EIO=4&transport=websocket&envelope=true"),
            (
                "https://h/pubsub/",
                "wss://h/pubsub/socket.io/?EIO=4&transport=websocket&envelope=true",
            ),
        ],
    )
    def test_where_a_server_is(self, url: str, expected: str) -> None:
        assert socket_url(url) == expected

    @pytest.mark.parametrize("url", ["localhost:5000", "ftp://h", "http://", ""])
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(ValueError, match="looks like"):
            PubSubClient(url)


def test_what_waited_for_a_connection_leaves_before_what_is_newer() -> None:
    calls = Calls()
    left = []

    class Slow:
        """A connection that takes its time, in which the next call is made."""

        def emit(self, event: str, body: str, call_id: int) -> None:
            if body == "1":
                newer.start()
                newer.join(0.2)  # it ends before this only where it overtakes
            left.append(body)

    newer = threading.Thread(
        target=calls.send, args=("publish", "3", ignore), kwargs={"is_kept": True}
    )
    for body in ("1", "2"):
        calls.send("publish", body, ignore, is_kept=True)
    calls.attach(cast(Link, Slow()))
    newer.join(TIMEOUT)
    assert left == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["attempts", "max_queued", "max_queued_bytes"])
def test_a_bound_that_lets_nothing_through_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PubSubClient("http://127.0.0.1:9", **{name: 0})


def test_backoff_doubles_up_to_a_bound_and_jitters_fully() -> None:
    longest, none = Backoff(lambda: 1.0), Backoff(lambda: 0.0)
    assert [longest.delay(n) for n in range(1, 8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert longest.delay(10_000) == 10.0
    assert none.delay(5) == 0.0


def test_a_replay_that_crosses_a_confirmation_is_not_handled_twice() -> None:
    (track,) = Tracks().add(["news"], print, "consumed")
    joined = {"topic": "news", "sequence": 1, "first": 1, "replayed": 1, "recovered": True}
    message = Received("news", "m", None, "p", 1.0, 1, True)
    track.joined("epoch", joined)
    track.settle()
    assert track.accept(message)
    track.is_joining = True  # the server reads what is not consumed ...
    track.recorded("news", 1)  # ... records that it is ...
    track.joined("epoch", joined)
    assert not track.accept(message)  # ... and sends what it had read
    track.settle()
    assert track.accept(message)  # nothing is kept for ever


@pytest.mark.parametrize(
    ("is_paused", "given_up", "recorded", "expected"),
    [
        (False, [1, 2], [], 2),  # all of it came and failed: go on behind it
        (False, [1], [2], "consumed"),
        (False, [], [1, 2], "consumed"),
        (False, [], [], "consumed"),  # it was all here already
        (True, [1], [], "consumed"),  # some did not fit in the queue
    ],
)
def test_a_part_of_a_replay_is_asked_for_again_unless_all_of_it_failed(
    is_paused: bool, given_up: list[int], recorded: list[int], expected: object
) -> None:
    (track,) = Tracks().add(["news"], print, "consumed")
    part = {"topic": "news", "sequence": 9, "first": 1, "replayed": 2, "recovered": False}
    assert track.joined("epoch", part) == []
    for sequence in (1, 2):
        assert track.accept(Received("news", "m", None, "p", 1.0, sequence, True))
    assert not track.accept(Received("news", "m", None, "p", 1.0, 10, False))
    track.settle()
    for sequence in given_up:
        track.gave_up("news", sequence)
    for sequence in recorded:
        track.recorded("news", sequence)
    track.is_paused = is_paused
    assert track.needs_join
    track.begin_round()
    assert track.after() == {"news": expected}


def test_the_client_does_not_bring_the_server_along() -> None:
    code = (
        "import sys, python_pubsub_server.client\n"
        "print(*{'.'.join(name.split('.')[:2]) for name in sys.modules})"
    )
    loaded = set(run_python(code).stdout.split())
    ours = {name.partition(".")[2] for name in loaded if name.startswith("python_pubsub_server.")}
    assert ours == {"channels", "client", "errors", "model"}
    assert not loaded & {"flask", "eventlet", "gevent", "socketio", "engineio", "sqlite3"}


def test_a_missing_package_is_named() -> None:
    code = "import sys; sys.modules['websocket'] = None\nimport python_pubsub_server.client"
    assert "pip install 'python-pubsub-server[client]'" in run_python(code).stderr


def test_the_example_of_the_documentation_runs(server: RunningServer) -> None:
    page = (ROOT / "docs" / "python-client.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    result = run_python(example.replace("http://localhost:5000", server.url))
    assert (result.stdout, result.stderr) == ("orders 1 {'id': 7}\n", "")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
