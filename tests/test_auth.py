from __future__ import annotations

from typing import Any

import pytest

from python_pubsub_server.auth import Gate, is_local_host, is_local_request, is_loopback
from python_pubsub_server.errors import Forbidden, Unauthenticated
from python_pubsub_server.identity import EVERYTHING, NOTHING, Identity

CLOSED = Gate(allow_anonymous=False, cors_origins=())
OPEN = Gate(allow_anonymous=True, cors_origins=())


def request(
    address: str = "127.0.0.1",
    host: str | None = "localhost:5000",
    method: str = "GET",
    **more: str,
) -> dict[str, Any]:
    environ = {"REMOTE_ADDR": address, "REQUEST_METHOD": method, **more}
    return environ if host is None else environ | {"HTTP_HOST": host}


# Addresses


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::1%lo", "0:0:0:0:0:0:0:1"]
)
def test_this_machine_is_let_in(address: str) -> None:
    assert is_loopback(address)
    assert CLOSED.admit(request(address)).address == address


@pytest.mark.parametrize(
    "address",
    [
        "192.168.1.2",
        "8.8.8.8",
        "0.0.0.0",
        "::",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "2001:db8::1",
        "128.0.0.1",
        "",
        "localhost",
        "unix:",
        "127.0.0.1.example.org",
    ],
)
def test_other_machines_are_told_how_they_could_be_let_in(address: str) -> None:
    assert not is_loopback(address)
    with pytest.raises(Forbidden, match="PUBSUB_ALLOW_ANONYMOUS=true"):
        CLOSED.admit(request(address))
    assert OPEN.admit(request(address)).address == address


def test_a_request_without_an_address_is_refused() -> None:
    with pytest.raises(Forbidden):
        CLOSED.admit({"REQUEST_METHOD": "GET"})


@pytest.mark.parametrize(
    "header",
    [
        "HTTP_X_FORWARDED_FOR",
        "HTTP_FORWARDED",
        "HTTP_X_REAL_IP",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_VIA",
    ],
)
@pytest.mark.parametrize("value", ["127.0.0.1", "8.8.8.8", "for=127.0.0.1", ""])
def test_what_a_proxy_forwards_comes_from_elsewhere(header: str, value: str) -> None:
    with pytest.raises(Forbidden):
        CLOSED.admit(request(**{header: value}))
    assert OPEN.admit(request(**{header: value})).address == "127.0.0.1"


def test_nobody_comes_from_this_machine_by_saying_so() -> None:
    assert not is_local_request(request("8.8.8.8", HTTP_X_FORWARDED_FOR="127.0.0.1"))
    assert not is_local_request(request("8.8.8.8", host="127.0.0.1"))


# Names of this machine


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:5000",
        "LOCALHOST:1",
        "app.localhost",
        "127.0.0.1",
        "127.0.0.1:5000",
        "[::1]:5000",
        "[::1]",
        "192.168.1.2:5000",
        "0.0.0.0:5000",
    ],
)
def test_a_local_name_or_an_address_is_local(host: str) -> None:
    assert is_local_host(host)
    assert is_local_request(request(host=host))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5000",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.nip.io",
        "",
        ":5000",
        "[",
        "[::1",
        "[evil]:1",
        "localhost@evil.example",
        "a b",
        "1.2.3",
    ],
)
def test_a_page_that_made_its_name_point_here_is_refused(host: str) -> None:
    assert not is_local_host(host)
    with pytest.raises(Forbidden):
        CLOSED.admit(request(host=host))


def test_http_1_0_has_no_host() -> None:
    assert CLOSED.admit(request(host=None)).address == "127.0.0.1"


# Pages of other origins


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_of_other_origins_may_not_write(method: str) -> None:
    for gate in (CLOSED, OPEN):
        with pytest.raises(Forbidden, match="PUBSUB_CORS_ORIGINS"):
            gate.admit(request(method=method, HTTP_ORIGIN="http://evil.example"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_pages_of_other_origins_are_answered_where_browsers_hide_the_answer(method: str) -> None:
    assert CLOSED.admit(request(method=method, HTTP_ORIGIN="http://evil.example"))


def test_our_own_pages_and_programs_may_write() -> None:
    assert CLOSED.admit(request(method="POST"))
    assert CLOSED.admit(request(method="POST", HTTP_ORIGIN="http://localhost:5000"))
    assert CLOSED.admit(request(method="POST", HTTP_ORIGIN="http://LOCALHOST:5000"))


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost",
        "http://localhost:5001",
        "http://localhost:5000.evil.example",
        "file://",
        "http://[",
        "http://[evil",
        "//",
        "localhost:5000",
        "http://evil.example/localhost:5000",
    ],
)
def test_what_is_not_our_origin_is_another_one(origin: str) -> None:
    for host in ("localhost:5000", None):
        assert not OPEN.allows_origin(origin, request(host=host))
        with pytest.raises(Forbidden):
            OPEN.admit(request(method="POST", host=host, HTTP_ORIGIN=origin))


def test_a_request_without_an_origin_is_no_browsers() -> None:
    assert CLOSED.allows_origin(None, request())
    assert CLOSED.allows_origin("", request())


def test_listed_origins_may_write() -> None:
    gate = Gate(allow_anonymous=False, cors_origins=("https://app.example/", "http://b.example:81"))
    for origin in ("https://app.example", "https://app.example/", "http://b.example:81"):
        assert gate.allows_origin(origin, request())
        assert gate.admit(request(method="POST", HTTP_ORIGIN=origin))
    for origin in ("http://app.example", "https://app.example:444", "http://b.example", "null"):
        assert not gate.allows_origin(origin, request())


def test_a_listed_origin_does_not_open_the_server_to_other_machines() -> None:
    gate = Gate(allow_anonymous=False, cors_origins=("*",))
    assert gate.allows_origin("http://any.example", request())
    with pytest.raises(Forbidden):
        gate.admit(request("8.8.8.8", method="POST", HTTP_ORIGIN="http://any.example"))


# What lets a page of another origin read an answer

LISTED = Gate(allow_anonymous=False, cors_origins=("https://app.example/", "http://b.example:81"))


@pytest.mark.parametrize("origin", ["https://app.example", "http://b.example:81"])
def test_a_listed_page_may_read_what_it_is_answered(origin: str) -> None:
    headers = dict(LISTED.cors_headers(request(HTTP_ORIGIN=origin)))
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Vary"] == "Origin"
    assert "Link" in headers["Access-Control-Expose-Headers"]
    assert "Retry-After" in headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Methods" not in headers
    assert "Access-Control-Allow-Credentials" not in headers


def test_a_listed_page_is_told_what_it_may_send() -> None:
    asking = request(
        method="OPTIONS",
        HTTP_ORIGIN="https://app.example",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
    )
    headers = dict(LISTED.cors_headers(asking))
    assert headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type, Prefer"
    assert int(headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example", "null", "", "http://[", None]
)
def test_no_other_page_may_read_anything(origin: str | None) -> None:
    more = {} if origin is None else {"HTTP_ORIGIN": origin}
    for method in ("GET", "OPTIONS"):
        asking = request(method=method, HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST", **more)
        assert LISTED.cors_headers(asking) == ()


def test_without_a_list_no_page_is_told_anything() -> None:
    for origin in ("http://localhost:5000", "https://app.example"):
        assert CLOSED.cors_headers(request(HTTP_ORIGIN=origin)) == ()


def test_a_star_lists_every_origin_by_its_name() -> None:
    gate = Gate(allow_anonymous=True, cors_origins=("*",))
    headers = dict(gate.cors_headers(request(HTTP_ORIGIN="https://any.example")))
    assert headers["Access-Control-Allow-Origin"] == "https://any.example"


# Tokens


class Names:
    """Believes any token: it is the user's name."""

    def identify(self, token: str, address: str) -> Identity:
        return Identity(address, token)


GUARDED = Gate(allow_anonymous=False, cors_origins=(), tokens=Names())


def test_with_tokens_every_address_may_come_and_nobody_without_one() -> None:
    for address in ("127.0.0.1", "8.8.8.8"):
        found = GUARDED.admit(request(address, HTTP_AUTHORIZATION="Bearer ann"))
        assert (found.address, found.subject) == (address, "ann")
        with pytest.raises(Unauthenticated, match="Authorization: Bearer"):
            GUARDED.admit(request(address))
    allowing = Gate(allow_anonymous=True, cors_origins=(), tokens=Names())
    with pytest.raises(Unauthenticated):
        allowing.admit(request())


@pytest.mark.parametrize("header", ["Bearer ann", "bearer ann", "BEARER  ann "])
def test_a_bearer_token_is_read(header: str) -> None:
    assert GUARDED.admit(request(HTTP_AUTHORIZATION=header)).subject == "ann"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "ann", "Basic ann", "Bearerann"])
def test_anything_else_is_no_token(header: str) -> None:
    with pytest.raises(Unauthenticated):
        GUARDED.admit(request(HTTP_AUTHORIZATION=header))


@pytest.mark.parametrize(
    "path", ["/ws", "/chat/ws", "/socket.io/", "/topics/orders/events", "/topics/a/b/events"]
)
def test_what_browsers_open_may_have_it_in_the_query(path: str) -> None:
    found = GUARDED.admit(request(PATH_INFO=path, QUERY_STRING="a=1&access_token=a%20nn&b"))
    assert found.subject == "a nn"
    both = request(PATH_INFO=path, QUERY_STRING="access_token=x", HTTP_AUTHORIZATION="Bearer ann")
    assert GUARDED.admit(both).subject == "ann"
    for query in ("access_token=", "my_access_token=ann", "a=access_token=ann"):
        with pytest.raises(Unauthenticated):
            GUARDED.admit(request(PATH_INFO=path, QUERY_STRING=query))
    with pytest.raises(Unauthenticated):
        GUARDED.admit(request(method="POST", PATH_INFO=path, QUERY_STRING="access_token=ann"))


@pytest.mark.parametrize("path", ["/publish", "/topics", "/wsx", "/x/ws", "/topics/events"])
def test_elsewhere_a_token_in_the_query_is_none(path: str) -> None:
    with pytest.raises(Unauthenticated):
        GUARDED.admit(request(PATH_INFO=path, QUERY_STRING="access_token=ann"))


def test_a_handshakes_own_token_goes_first() -> None:
    assert GUARDED.admit(request(HTTP_AUTHORIZATION="Bearer ann"), "bob").subject == "bob"
    assert GUARDED.admit(request(HTTP_AUTHORIZATION="Bearer ann"), None).subject == "ann"


def test_a_token_does_not_make_a_page_ours() -> None:
    evil = {"HTTP_ORIGIN": "http://evil.example", "HTTP_AUTHORIZATION": "Bearer ann"}
    with pytest.raises(Forbidden):
        GUARDED.admit(request(method="POST", **evil))


def test_what_needs_no_token_gives_no_rights() -> None:
    assert GUARDED.admit_anybody(request("8.8.8.8")) == Identity("8.8.8.8", rights=NOTHING)
    assert CLOSED.admit_anybody(request()).rights == EVERYTHING
    with pytest.raises(Forbidden):
        CLOSED.admit_anybody(request("8.8.8.8"))
    with pytest.raises(Forbidden):
        GUARDED.admit_anybody(request(method="POST", HTTP_ORIGIN="http://evil.example"))


# Proxies

PROXIED = Gate(
    allow_anonymous=True,
    cors_origins=(),
    trusted_proxies=("10.0.0.0/8", "192.168.1.1/32", "::1/128"),
)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4,192.168.1.1 , 10.9.9.9", "1.2.3.4"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, 10.0.0.2, nonsense, 10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("8.8.8.8", "1.2.3.4", "8.8.8.8"),
        ("192.168.1.2", "1.2.3.4", "192.168.1.2"),
    ],
)
def test_the_address_is_the_last_that_no_trusted_proxy_has(
    peer: str, forwarded: str | None, address: str
) -> None:
    more = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    assert PROXIED.admit(request(peer, **more)).address == address
    assert OPEN.admit(request(peer, **more)).address == peer


def test_a_proxy_on_this_machine_makes_nobody_local() -> None:
    gate = Gate(allow_anonymous=False, cors_origins=(), trusted_proxies=("127.0.0.1/32",))
    with pytest.raises(Forbidden):
        gate.admit(request(HTTP_X_FORWARDED_FOR="127.0.0.1"))
    assert gate.admit(request()).address == "127.0.0.1"
