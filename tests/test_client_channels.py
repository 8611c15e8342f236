"""The Python client's channels and tokens: restarts, slow networks, tokens that end."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from network import TIMEOUT, Inbox, Proxy, soon
from python_pubsub_server.client import ClientError, PubSubClient, Received
from python_pubsub_server.client.channel import Handlers
from python_pubsub_server.client.credentials import Credentials, renewal_delay
from python_pubsub_server.client.values import received
from server import RunningServer, connections_of

SECRET = "a secret that only these tests know, 32 bytes"
RIGHTS = {"publish": ["*"], "subscribe": ["*"]}


def token_of(subject: str, seconds: float, **claims: Any) -> str:
    now = time.time()
    payload = {"sub": subject, "iat": now, "exp": now + seconds, "pubsub": RIGHTS, **claims}
    return jwt.encode(payload, SECRET, algorithm="HS256")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("open")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants tokens."""
    with RunningServer(tmp_path_factory.mktemp("guarded"), jwt_secret=SECRET) as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return f"resource:updates:{request.node.name}"


class TestChannels:
    def test_a_channel_hears_the_event_of_its_topic(self, server: RunningServer) -> None:
        bell, messages = Inbox(), Inbox()
        with PubSubClient(server.url) as client:
            channel = client.channel("notifications:42")
            channel.on("notification", bell)
            channel.on("message", messages)
            client.channel("plain").on("message", messages)
            server.publish("notifications:7", {"title": "not yours"})
            server.publish("notifications:42", {"title": "yours"})
            server.publish("plain", 1)
            (heard,) = bell.next(1)
            assert (heard.event, heard.message, heard.sequence) == (
                "notification",
                {"title": "yours"},
                1,
            )
            assert [m.topic for m in messages.next(1)] == ["plain"]
        assert len(bell.all) == 1

    def test_a_pattern_is_a_channel_and_history_begins_where_it_is_asked_to(
        self, server: RunningServer
    ) -> None:
        server.publish("resource:updates:p1", {"n": 1})
        updates = Inbox()
        with PubSubClient(server.url) as client:
            client.channel("resource:updates:p*", "beginning").on("resource:update", updates)
            server.publish("resource:updates:p2", {"n": 2})
            got = [(m.topic, m.message["n"], m.replayed) for m in updates.next(2)]
        assert got == [("resource:updates:p1", 1, True), ("resource:updates:p2", 2, False)]

    def test_a_handler_that_is_off_hears_no_more(self, server: RunningServer, topic: str) -> None:
        first, second, third = Inbox(), Inbox(), Inbox()
        with PubSubClient(server.url) as client:
            channel = client.channel(topic)
            end = channel.on("resource:update", first)
            channel.on("resource:update", second)
            channel.publish(1)
            first.next(1)
            second.next(1)
            end()
            channel.publish(2)
            second.next(1)
            channel.off("resource:update")
            channel.on("resource:update", third)
            channel.publish(3)
            third.next(1)
        assert [len(inbox.all) for inbox in (first, second, third)] == [1, 2, 1]

    def test_a_channel_can_be_left_and_joined_again(
        self, server: RunningServer, topic: str
    ) -> None:
        inbox = Inbox()
        with PubSubClient(server.url, "ann") as client:
            channel = client.channel(topic)
            channel.on("resource:update", inbox)
            assert [user.user for user in channel.presence()] == ["ann"]
            channel.unsubscribe()
            assert channel.presence() == []
            channel.publish("missed")
            channel.off("resource:update")
            channel.on("resource:update", inbox)
            channel.publish("heard")
            assert [m.message for m in inbox.next(1)] == ["heard"]

    def test_a_refused_channel_raises_and_keeps_no_handler(self, guarded: RunningServer) -> None:
        claims = {"pubsub": {"subscribe": []}}
        with PubSubClient(guarded.url, token=token_of("ann", 60, **claims)) as client:
            with pytest.raises(ClientError) as refusal:
                client.channel("notifications:bob").on("notification", print)
            assert refusal.value.code == "forbidden"
            client.channel("notifications:ann").on("notification", print)

    def test_a_restart_loses_and_repeats_nothing(self, tmp_path: Path, topic: str) -> None:
        inbox = Inbox()
        with RunningServer(tmp_path) as server, PubSubClient(server.url, random=soon) as client:
            channel = client.channel(topic)
            channel.on("resource:update", inbox)
            publishing = threading.Thread(target=lambda: [channel.publish(n) for n in range(200)])
            publishing.start()
            for _ in range(2):
                inbox.next(30)
                server.kill()
                server.start()
            inbox.next(140)
            publishing.join(TIMEOUT)
        assert [m.message for m in inbox.all] == list(range(200))

    def test_a_slow_network_that_is_cut_loses_and_repeats_nothing(
        self, server: RunningServer, topic: str
    ) -> None:
        inbox = Inbox()
        with Proxy(server.port) as proxy, PubSubClient(proxy.url, random=soon) as client:
            proxy.delay = 0.05
            channel = client.channel(topic)
            channel.on("resource:update", inbox)
            for n in range(20):
                server.publish(topic, n, message_id=f"m{n}")
                if n % 5 == 4:
                    proxy.cut()
            assert [m.message for m in inbox.next(20)] == list(range(20))
        assert len(inbox.all) == 20

    def test_what_is_not_in_the_log_comes_and_is_not_confirmed(self) -> None:
        said = {"topic": "t", "message": 1, "message_id": None, "producer": None, "timestamp": 1.0}
        passing = received("suggestion:vote", said | {"sequence": None})
        assert not passing.is_stored
        assert (passing.message, passing.event, passing.sequence) == (1, "suggestion:vote", 0)
        stored = said | {"message_id": "m", "producer": "p", "sequence": 1}
        assert received("message", stored).is_stored

    def test_handlers_may_change_while_they_are_called(self) -> None:
        handlers: Handlers[Callable[[], object]] = Handlers()
        handlers.add("e", lambda: handlers.remove("e", None))
        handlers.add("e", print)
        for handler in handlers.of("e"):
            handler()
        assert handlers.of("e") == []
        handlers.remove("e", print)  # was never there, any more


def unsigned(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"x.{body}.y"


class TestTokens:
    @pytest.mark.parametrize(
        ("claims", "now", "delay"),
        [
            ({"exp": 3600}, 0, 3540),
            ({"exp": 40}, 0, 30),
            ({"exp": 40, "iat": 0}, -1000, 30),
            ({"exp": 10}, 99, 1),
            ({"sub": "ann"}, 0, None),
            ({"exp": "soon"}, 0, None),
        ],
        ids=["long", "short", "late clock", "over", "endless", "wrong"],
    )
    def test_a_token_is_renewed_before_its_end(
        self, claims: dict[str, Any], now: float, delay: float | None
    ) -> None:
        assert renewal_delay(unsigned(**claims), now) == delay

    @pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.bnVsbA.c", "a.ÿ.c"])
    def test_what_is_no_jwt_has_no_known_end(self, token: str) -> None:
        assert renewal_delay(token, 0) is None

    def test_the_token_joins_the_other_credentials(self) -> None:
        assert Credentials({"device": "phone"}, None).handshake("t") == {
            "device": "phone",
            "token": "t",
        }
        assert Credentials(lambda: {"token": "own"}, None).handshake(None) == {"token": "own"}
        assert Credentials(None, None).handshake(None) is None
        with pytest.raises(ClientError, match="away"):
            Credentials(None, _raise).token()

    def test_a_connection_outlives_its_tokens(self, tmp_path: Path, topic: str) -> None:
        given: queue.Queue[float] = queue.Queue()
        inbox = Inbox()

        def token() -> str:
            given.put(time.time())
            return token_of("ann", 4)

        errors: list[Exception] = []
        with (
            RunningServer(tmp_path, jwt_secret=SECRET) as server,
            PubSubClient(
                server.url, "ann", token=token, on_error=lambda error, _: errors.append(error)
            ) as client,
        ):
            client.channel(topic).on("resource:update", inbox)
            for _ in range(3):  # beyond the end of the first
                given.get(timeout=TIMEOUT)
            client.publish(topic, 1)
            inbox.next(1)
            assert len(server.until(lambda: connections_of("ann", server.log))) == 1
        assert errors == []

    def test_an_expired_token_is_told_and_the_next_connection_has_a_new_one(
        self, guarded: RunningServer, topic: str
    ) -> None:
        errors: queue.Queue[Exception] = queue.Queue()
        tokens = iter([token_of("ann", 2, iat=0)])
        inbox = Inbox()
        with PubSubClient(
            guarded.url,
            "ann",
            token=lambda: next(tokens, None) or token_of("ann", 600),
            on_error=lambda error, _: errors.put(error),
            random=soon,
            wall=lambda: 0.0,  # a clock by which nothing ends soon
        ) as client:
            client.channel(topic).on("resource:update", inbox)
            error = errors.get(timeout=TIMEOUT)
            assert isinstance(error, ClientError)
            assert error.code == "token_expired"
            client.publish(topic, 1)
            inbox.next(1)

    def test_a_renewal_that_fails_is_told_and_tried_again(self, guarded: RunningServer) -> None:
        errors: queue.Queue[Exception] = queue.Queue()
        is_away = threading.Event()
        given: queue.Queue[None] = queue.Queue()

        def token() -> str:
            if is_away.is_set():
                raise RuntimeError("the sign-in server is away")
            given.put(None)
            return token_of("ann", 4)

        with PubSubClient(
            guarded.url,
            "ann",
            token=token,
            on_error=lambda error, _: errors.put(error),
            random=soon,
        ) as client:
            client.publish("renewal", 1)
            given.get(timeout=TIMEOUT)
            is_away.set()
            assert "is away" in str(errors.get(timeout=TIMEOUT))
            is_away.clear()
            given.get(timeout=TIMEOUT)
            client.publish("renewal", 2)

    def test_a_token_is_replaced_by_hand(self, guarded: RunningServer) -> None:
        poor = token_of("ann", 60, pubsub={"publish": []})
        with PubSubClient(guarded.url, "ann", token=poor, random=soon) as client:
            with pytest.raises(ClientError) as refusal:
                client.publish("by-hand", 1)
            assert refusal.value.code == "forbidden"
            client.refresh(token_of("ann", 60))
            assert client.publish("by-hand", 1).sequence == 1
            with pytest.raises(ClientError) as refusal:
                client.refresh(token_of("bob", 60))
            assert refusal.value.code == "forbidden"
            guarded.until(lambda: _publishes_as(client, "bob"))

    def test_a_client_with_a_token_function_leaves_no_thread_behind(
        self, guarded: RunningServer
    ) -> None:
        before = set(threading.enumerate())
        client = PubSubClient(guarded.url, "ann", token=lambda: token_of("ann", 60))
        client.publish("threads", 1)
        assert client.close()
        assert set(threading.enumerate()) == before


def _publishes_as(client: PubSubClient, name: str) -> bool:
    try:
        client.publish("by-hand", 2, producer=name)
    except ClientError as error:
        assert error.code == "forbidden"
        return False
    return True


def _raise() -> str:
    raise RuntimeError("away")


def test_a_received_message_says_its_event() -> None:
    message = Received("t", "m", 1, "p", 1.0, 1)
    assert message.event == "message"
