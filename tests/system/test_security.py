"""Every door, tried with every kind of token: only who may comes in, and only where it may."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from keys import AUDIENCE, Issuer
from python_pubsub_server.client import PubSubClient
from python_pubsub_server.routes import PUBLIC, ROUTES
from python_pubsub_server.storage.database import open_database
from server import RunningServer, environment
from system.clients import Client
from system.doors import GUARDED, TIMEOUT, UPGRADE, Answer, Door, ask, bearer, is_for_users, join
from system.plain import PlainClient

ISSUER = Issuer()
BAD = ISSUER.bad_tokens()
RIGHTS = {"publish": ["open", "ann:*"], "subscribe": ["open", "ann:*"]}
ANN = ISSUER.token("ann", pubsub=RIGHTS)
USER = ISSUER.token("ann")  # without the claim
ADMIN = ISSUER.admin("ann")
REVOKED = ISSUER.token("ann", jti="revoked-1", pubsub={"admin": True})
DISABLED = ISSUER.token("dan", pubsub={"admin": True})
UNKNOWN = ISSUER.token("eve", pubsub={"admin": True})


def command(server: RunningServer, *arguments: str) -> str:
    """Run a command beside a server, as an operator would."""
    done = subprocess.run(
        [sys.executable, "-c", "from python_pubsub_server.cli import main; main()", *arguments],
        env=environment(PUBSUB_DATABASE_URL=server.database_url),
        cwd=server.directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings: dict[str, Any] = {"jwt_public_key": ISSUER.public, "jwt_audience": AUDIENCE}
    settings |= {"require_known_users": "true", "cors_origins": "https://app.example"}
    running = RunningServer(tmp_path_factory.mktemp("server"), **settings)
    registry = open_database(running.database_url).registry()
    for name in ("ann", "bob", "dan", "root"):
        registry.add_user(name, 1.0)
    registry.disable_user("dan", 2.0)
    registry.revoke("revoked-1", 2.0, None)
    registry.close()
    with running:
        yield running


@contextmanager
def connected(server: RunningServer, token: str) -> Iterator[Client]:
    with Client(server.url, auth={"token": token}) as client:
        yield client


def get(server: RunningServer, path: str, token: str) -> Any:
    response = server.http.get(server.url + path, headers=bearer(token), timeout=TIMEOUT)
    return response.json()


# Who comes in


@pytest.mark.parametrize("door", GUARDED, ids=lambda door: door.name)
def test_a_bad_token_opens_no_door(server: RunningServer, door: Door) -> None:
    for kind, token in BAD.items():
        answer = door.try_token(server, token)
        assert answer.code == "unauthenticated", f"{kind}: {answer}"
    assert "expired" in door.try_token(server, BAD["expired"]).message
    assert "revoked" in door.try_token(server, REVOKED).message
    assert "disabled" in door.try_token(server, DISABLED).message
    assert "not known" in door.try_token(server, UNKNOWN).message


@pytest.mark.parametrize("door", GUARDED, ids=lambda door: door.name)
def test_a_good_token_opens_the_doors_it_is_for(server: RunningServer, door: Door) -> None:
    assert door.try_token(server, ADMIN) == Answer("ok")
    answer = door.try_token(server, ANN)
    assert answer.code == ("ok" if is_for_users(door) else "forbidden"), answer


@pytest.mark.parametrize("path", [*sorted(PUBLIC), "/static/style.css"])
def test_pages_and_probes_are_open(server: RunningServer, path: str) -> None:
    assert ask(server, "GET", path, {}) == Answer("ok")
    assert ask(server, "GET", path, bearer("garbage")) == Answer("ok")


@pytest.mark.parametrize("path", ["/topics", "/publish", "/messages", "/topics/open/messages"])
def test_a_token_in_the_url_counts_only_where_browsers_need_it(
    server: RunningServer, path: str
) -> None:
    for method in ("GET", "POST"):
        found = ask(server, method, f"{path}?access_token={ADMIN}", {})
        assert found.code == "unauthenticated"


@pytest.mark.parametrize(
    "header", ["Basic YTpi", "Bearer", "Bearer ", "bearer", "Token x", "Bearer a b"]
)
def test_other_credentials_are_none(server: RunningServer, header: str) -> None:
    assert ask(server, "GET", "/topics", {"Authorization": header}).code == "unauthenticated"
    assert ask(server, "GET", "/topics", {"Authorization": f"bearer  {ADMIN}"}).code == "ok"


@pytest.mark.parametrize("auth", [[], "x", 7, {"token": 7}, {"token": None}, {"token": ""}, {}])
def test_a_socket_io_handshake_of_another_shape_is_refused(
    server: RunningServer, auth: Any
) -> None:
    assert join(server, "/", auth).code == "unauthenticated"
    assert join(server, "/", {"token": ANN}).code == "ok"


def test_polling_clients_come_in_the_same_way(server: RunningServer) -> None:
    with Client(server.url, ("polling",), auth={"token": ANN}) as client:
        client.subscribe("open", consumer="ann")
    with pytest.raises(Refused):
        Client(server.url, ("polling",), auth={"token": BAD["expired"]})


# What one may do there


@pytest.mark.parametrize(
    ("topic", "producer", "code"),
    [
        ("open", "ann", "ok"),
        ("ann:1", "ann/phone", "ok"),
        ("open", "bob", "forbidden"),
        ("open", "annabel", "forbidden"),
        ("open", "ann:phone", "forbidden"),
        ("other", "ann", "forbidden"),
        ("notifications:bob", "ann", "forbidden"),
        ("notifications:ann", "ann", "forbidden"),
        ("chat:lobby", "ann", "forbidden"),
    ],
)
def test_publishing_takes_the_right_and_the_own_name(
    server: RunningServer, topic: str, producer: str, code: str
) -> None:
    body = {"topic": topic, "message_id": "m", "message": 1, "producer": producer}
    before = get(server, f"/topics/{topic}/messages", ADMIN)["sequence"]
    good = {"topic": "open", "message_id": "m", "message": 1, "producer": "ann"}
    found = [
        ask(server, "POST", "/publish", bearer(ANN), body).code,
        ask(server, "POST", "/publish/batch", bearer(ANN), [good, body]).code,
    ]
    with connected(server, ANN) as client:
        found.append(client.call("publish", body).get("code", "ok"))
    with PlainClient(server.url, "/ws", additional_headers=bearer(ANN)) as client_:
        found.append(client_.call("publish", **body).get("code", "ok"))
    assert found == [code] * 4
    if code != "ok":
        assert get(server, f"/topics/{topic}/messages", ADMIN)["sequence"] == before


@pytest.mark.parametrize(
    "topics",
    [
        ["other"],
        ["*"],
        ["a*"],
        ["ann*"],
        ["open*"],
        ["$*"],
        ["notifications:bob"],
        ["notifications:*"],
        ["chat:lobby"],
        ["open", "other"],
    ],
)
def test_subscribing_beyond_the_right_joins_nothing(
    server: RunningServer, topics: list[str]
) -> None:
    wanted = {"consumer": "ann", "topics": topics}
    with connected(server, ANN) as client:
        assert client.call("subscribe", wanted)["code"] == "forbidden"
        assert client.call("subscribe", topics[-1])["code"] == "forbidden"
        client.assert_alive_and_silent()
    with PlainClient(server.url, "/ws", additional_headers=bearer(ANN)) as plain:
        assert plain.call("subscribe", **wanted)["code"] == "forbidden"
        assert plain.call("unsubscribe") == {"status": "ok", "topics": []}


@pytest.mark.parametrize("topics", [["open"], ["ann:*"], ["ann:x:*"], ["notifications:ann"]])
def test_subscribing_within_the_right_works(server: RunningServer, topics: list[str]) -> None:
    with connected(server, ANN) as client:
        client.subscribe(*topics, consumer="ann/1")
        assert client.call("subscribe", topics[0])["status"] == "ok"


def test_who_gives_no_name_is_called_after_its_subject(server: RunningServer) -> None:
    with connected(server, ANN) as client:
        assert client.call("subscribe", "open")["consumer"].startswith("ann/anonymous-")


@pytest.mark.parametrize("consumer", ["bob", "annabel", "ann:1"])
def test_a_consumer_speaks_for_itself(server: RunningServer, consumer: str) -> None:
    claim = {"topic": "open", "message_id": "m", "consumer": consumer}
    for token in (ANN, ADMIN):
        with connected(server, token) as client:
            wanted = {"consumer": consumer, "topics": ["open"]}
            assert client.call("subscribe", wanted)["code"] == "forbidden"
            assert client.call("consumed", claim)["code"] == "forbidden"
            assert client.call("consumed", claim | {"consumer": "ann"}).get("code") in (
                None,
                "not_found",
            )
    with connected(server, ANN) as client:
        claim = {"topic": "other", "message_id": "m", "consumer": "ann"}
        assert client.call("consumed", claim)["code"] == "forbidden"


def test_history_takes_the_right_to_subscribe(server: RunningServer) -> None:
    for topic, code in (("open", "ok"), ("ann:1", "ok"), ("other", "forbidden")):
        for path in ("messages", "messages?wait=0.1", "events"):
            if (path, code) != ("events", "ok"):  # an answer without an end is tried elsewhere
                assert ask(server, "GET", f"/topics/{topic}/{path}", bearer(ANN)).code == code
        with connected(server, ANN) as client:
            assert client.call("history", {"topic": topic}).get("code", "ok") == code
            assert client.call("presence", {"topic": topic}).get("code", "ok") == code


def test_the_ledger_is_for_admins_and_explain_for_oneself(server: RunningServer) -> None:
    ledger = "/topics/open/messages/1/deliveries"
    assert get(server, ledger, ANN)["code"] == "forbidden"
    assert get(server, ledger, ADMIN).get("code") in (None, "not_found")

    def explained(topic: str, consumer: str, token: str) -> Any:
        found = get(server, f"/topics/{topic}/explain?consumer={consumer}&sequence=1", token)
        return found.get("verdict", found.get("code"))

    assert explained("open", "ann", ANN) in ("not_subscribed", "unknown")
    assert explained("other", "ann/1", ANN) == "forbidden"
    assert get(server, "/topics/other/explain?consumer=bob&sequence=1", ANN)["code"] == "forbidden"
    assert explained("other", "bob", ADMIN) == "unknown"


def test_a_user_without_the_claim_has_the_rights_of_every_user(server: RunningServer) -> None:
    with connected(server, USER) as client:
        wanted = ("notifications:ann", "suggestions:votes", "resource:updates:*", "chat:*")
        client.subscribe(*wanted, consumer="ann")
        for topic in ("open", "*", "notifications:bob", "notifications:*"):
            assert client.call("subscribe", topic)["code"] == "forbidden"
    for topic, code in (
        ("chat:a", "ok"),
        ("open", "forbidden"),
        ("notifications:ann", "forbidden"),
        ("suggestions:votes", "forbidden"),
        ("resource:updates:1", "ok"),
    ):
        body = {"topic": topic, "message_id": "m", "message": 1, "producer": "ann"}
        assert ask(server, "POST", "/publish", bearer(USER), body).code == code


# Pages of other origins


@pytest.mark.parametrize("path", ["/ws", "/socket.io/?EIO=4&transport=websocket"])
def test_a_page_of_another_origin_opens_no_socket(server: RunningServer, path: str) -> None:
    def status(origin: str) -> int:
        headers = UPGRADE | bearer(ANN) | {"Origin": origin}
        with server.http.get(
            server.url + path, headers=headers, stream=True, timeout=TIMEOUT
        ) as response:
            return response.status_code

    assert status("https://evil.example") in (400, 403)
    assert status("https://app.example") == 101
    assert status(server.url) == 101


def test_a_page_of_another_origin_reaches_no_websocket_of_rooms_and_no_polling(
    server: RunningServer,
) -> None:
    def told(path: str, headers: dict[str, str], origin: str) -> Any:
        sent = headers | bearer(ANN) | {"Origin": origin}
        return server.http.get(server.url + path, headers=sent, stream=True, timeout=TIMEOUT)

    for path, headers, good in (
        ("/chat/ws", UPGRADE, 101),
        ("/socket.io/?EIO=4&transport=polling", {}, 200),
    ):
        for origin, allowed in (
            ("https://evil.example", False),
            ("null", False),
            ("https://app.example.evil.example", False),
            ("https://app.example", True),
            (server.url, True),
        ):
            with told(path, headers, origin) as response:
                assert (response.status_code == good) is allowed, (path, origin)
                allows = response.headers.get("Access-Control-Allow-Origin")
                assert allows in ((origin, None) if allowed else (None,))


@pytest.mark.parametrize("path", [path for method, path, _ in ROUTES if method == "POST"])
def test_no_form_of_another_page_writes(server: RunningServer, path: str) -> None:
    headers = bearer(ADMIN) | {"Content-Type": "text/plain"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert ask(server, "POST", path, headers | {"Origin": origin}, {}).code == "forbidden"


def test_what_clients_say_of_themselves_is_not_in_the_metrics(server: RunningServer) -> None:
    marked = "marked-by-a-client"
    ask(server, "GET", f"/{marked}?access_token={marked}", bearer(marked) | {"X-Mark": marked})
    ask(server, marked.upper(), "/publish", bearer(ANN))
    with connected(server, ANN) as client:
        assert client.call(marked, {"topic": marked})["status"] == "error"
    metrics = server.http.get(server.url + "/metrics", headers=bearer(ADMIN), timeout=TIMEOUT)
    assert metrics.status_code == 200
    assert marked not in metrics.text.lower()
    assert "eyJ" not in metrics.text


def test_a_listed_page_can_read_why_it_was_refused(server: RunningServer) -> None:
    origin = {"Origin": "https://app.example"}
    refused = server.http.get(server.url + "/topics", headers=origin, timeout=TIMEOUT)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example"
    asking = origin | {"Access-Control-Request-Method": "POST"}
    preflight = server.http.options(server.url + "/publish", headers=asking, timeout=TIMEOUT)
    assert preflight.status_code == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    evil = {"Origin": "https://evil.example", **bearer(ANN)}
    assert ask(server, "POST", "/publish", evil, {}).code == "forbidden"


# The end of a token


class Leaving:
    """A Socket.IO client that waits for what ends it."""

    def __init__(self, server: RunningServer, token: str, namespace: str = "/") -> None:
        self.errors: list[Any] = []
        self.reasons: list[str] = []
        self.sio = socketio.Client(reconnection=False, handle_sigint=False)
        self.sio.on("error", self.errors.append, namespace=namespace)
        self.sio.on("disconnect", self.reasons.append, namespace=namespace)
        self.sio.connect(
            server.url, auth={"token": token}, transports=["websocket"], namespaces=[namespace]
        )

    def wait(self, server: RunningServer) -> tuple[str, str]:
        """The code of the error, and the reason of the disconnect."""
        server.until(lambda: self.reasons)
        self.sio.shutdown()
        return self.errors[0]["code"], self.reasons[0]


@pytest.mark.parametrize("namespace", ["/", "/monitoring"])
def test_a_connection_ends_with_its_token(server: RunningServer, namespace: str) -> None:
    client = Leaving(server, short_token(admin=True), namespace)
    assert client.wait(server) == ("token_expired", "server disconnect")


def short_token(**rights: Any) -> str:
    """One that ends in a second or two."""
    return ISSUER.token("ann", exp=time.time() + 1.5, pubsub=RIGHTS | rights)


def test_a_plain_websocket_ends_with_its_token(server: RunningServer) -> None:
    with PlainClient(server.url, f"/ws?access_token={short_token()}") as client:
        assert client.error()["code"] == "token_expired"
        with pytest.raises(Exception, match="1008"):
            client.next()


def test_a_stream_ends_with_its_token(server: RunningServer) -> None:
    url = f"{server.url}/topics/open/events?access_token={short_token()}"
    text = server.http.get(url, timeout=TIMEOUT).text
    assert text.startswith("retry:")
    assert 'event: error\ndata: {"status":"error","code":"token_expired"' in text


def test_a_newer_token_goes_on_with_its_own_rights(server: RunningServer) -> None:
    token = short_token()
    leaving = Leaving(server, token)
    with connected(server, token) as client:
        client.subscribe("open", "ann:*", consumer="ann")
        for other, code in (
            (ISSUER.token("bob"), "forbidden"),
            (BAD["expired"], "unauthenticated"),
            (REVOKED, "unauthenticated"),
        ):
            assert client.call("refresh", {"token": other})["code"] == code
        assert client.call("refresh", {})["code"] == "invalid"
        newer = ISSUER.token("ann", pubsub={"subscribe": ["ann:*"], "publish": ["new"]})
        answer = client.call("refresh", {"token": newer})
        assert answer["status"] == "ok"
        assert client.next("unsubscribed")["topics"] == ["open"]
        assert answer["expires_at"] > time.time() + 60
        assert leaving.wait(server) == ("token_expired", "server disconnect")
        assert client.call("subscribe", "open")["code"] == "forbidden"
        body = {"topic": "new", "message_id": "m", "message": 1, "producer": "ann"}
        assert client.call("publish", body)["status"] == "ok"
        assert client.call("unsubscribe", {})["topics"] == ["ann:*"]


def test_our_client_goes_on_with_another_token_and_misses_nothing(server: RunningServer) -> None:
    asked: list[str] = []
    got: list[Any] = []

    def auth() -> dict[str, str]:
        asked.append(short_token())
        return {"token": asked[-1]}

    def publish(number: int) -> None:
        body = {"topic": "ann:on", "message_id": "m", "message": number, "producer": "ann"}
        assert ask(server, "POST", "/publish", bearer(ANN), body).code == "ok"

    with PubSubClient(server.url, consumer="ann", auth=auth) as client:
        client.subscribe("ann:on", lambda message: got.append(message.message))
        publish(1)
        server.until(lambda: got == [1])
        server.until(lambda: len(asked) >= 2)
        publish(2)
        server.until(lambda: got == [1, 2])


def test_an_admin_that_is_none_any_more_leaves_monitoring(server: RunningServer) -> None:
    client = Leaving(server, ADMIN, "/monitoring")
    client.sio.emit("refresh", {"token": ANN}, namespace="/monitoring")
    assert client.wait(server) == ("forbidden", "server disconnect")


def test_who_is_disabled_leaves_at_once_and_comes_back_when_enabled(
    server: RunningServer,
) -> None:
    bob = ISSUER.token("bob", pubsub=RIGHTS)
    leaving = Leaving(server, bob)
    with connected(server, ANN) as staying:
        command(server, "users", "disable", "bob")
        assert leaving.wait(server) == ("unauthenticated", "server disconnect")
        assert join(server, "/", {"token": bob}).code == "unauthenticated"
        assert staying.call("unsubscribe", {})["status"] == "ok"
    command(server, "users", "enable", "bob")
    server.until(lambda: join(server, "/", {"token": bob}).code == "ok")


def test_a_revoked_token_is_refused_at_once_and_no_other(server: RunningServer) -> None:
    leaving = Leaving(server, ISSUER.token("ann", jti="revoked-2", pubsub=RIGHTS))
    with connected(server, ISSUER.token("ann", jti="kept", pubsub=RIGHTS)) as staying:
        command(server, "token", "revoke", "revoked-2", "--expires", "1h")
        assert leaving.wait(server) == ("unauthenticated", "server disconnect")
        assert staying.call("unsubscribe", {})["status"] == "ok"


@pytest.mark.parametrize(
    "path", ["/", "/static/style.css", "/topics", "/publish", "/nothing", "/socket.io/", "/%"]
)
def test_every_answer_has_the_security_headers(server: RunningServer, path: str) -> None:
    for method in ("GET", "POST"):
        answer = server.http.request(
            method, server.url + path, timeout=TIMEOUT, allow_redirects=False
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_behind_a_trusted_proxy_clients_have_their_own_address(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    settings: dict[str, Any] = {"trusted_proxies": "127.0.0.1", "allow_anonymous": "true"}
    with RunningServer(tmp_path, **settings) as server:
        with server.http.get(
            server.url + "/topics/a/events", headers=forwarded, stream=True, timeout=TIMEOUT
        ):
            path = "/socket.io/?EIO=4&transport=websocket"
            with (
                PlainClient(server.url, "/ws", additional_headers=forwarded),
                PlainClient(server.url, path, additional_headers=forwarded) as client,
            ):
                client.socket.recv(TIMEOUT)
                client.send_text("40")
                client.socket.recv(TIMEOUT)
                server.until(lambda: len(server.get("/monitoring/clients")) == 3)
                found = server.get("/monitoring/clients")
        assert [one["address"] for one in found] == ["203.0.113.7"] * 3


# Secrets


def test_no_token_and_no_key_is_in_the_log(server: RunningServer) -> None:
    for token in (ANN, BAD["expired"], BAD["another key"]):
        ask(server, "GET", "/topics", bearer(token))
        ask(server, "GET", f"/ws?access_token={token}", UPGRADE)
        ask(server, "GET", f"/topics/other/events?access_token={token}", {})
        join(server, "/", {"token": token})
        ask(server, "POST", f"/nothing?access_token={token}", {})
    log = server.log
    assert "eyJ" not in log
    assert ISSUER.public.split("\n")[1] not in log


def test_a_secret_is_in_no_log_and_no_error(tmp_path: Path) -> None:
    secret = "a-secret-of-exactly-enough-bytes-for-HS256"
    with RunningServer(tmp_path, jwt_secret=secret) as server:
        assert ask(server, "GET", "/topics", bearer("x")).code == "unauthenticated"
        assert secret not in server.log
