"""The HTTP server, by real sockets on both loops. Clients live in native threads."""

from __future__ import annotations

import gc
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from loops import (
    BACKENDS,
    PATIENCE,
    Serving,
    run_on_loop,
    run_program,
    serving,
    until,
)
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.http import HTTPServer, Limits, Seats, take_over
from python_pubsub_server.transport.http.requests import Refusal, Request, RequestParser

Story = Callable[[Runtime], Any]
Live = Callable[[Story], Any]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def live(backend: str) -> Live:
    return lambda story: run_on_loop(backend, story)


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read() or b"hello"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def test_requests_are_answered_and_connections_kept(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def talk() -> list[bytes]:
            client = http.client.HTTPConnection("127.0.0.1", served.address[1], timeout=PATIENCE)
            answers = []
            for body in (b"one", b"", b"three"):
                client.request("POST", "/", body)
                answers.append(client.getresponse().read())
                port = client.sock.getsockname()[1]
                answers.append(port)
            client.close()
            return answers

        with serving(runtime, hello) as served:
            answers = served.clients.run(talk)
        assert answers[::2] == [b"one", b"hello", b"three"]
        assert len(set(answers[1::2])) == 1

    live(story)


def test_headers_and_body_are_one_write(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def first_piece() -> bytes:
            # A segment is acknowledged late by a peer that has nothing to say: what was
            # written apart would arrive apart.
            with socket.create_connection(served.address, timeout=PATIENCE) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return client.recv(65536)

        with serving(runtime, hello) as served:
            for _ in range(20):
                assert served.clients.run(first_piece).endswith(b"hello")

    live(story)


def test_a_streamed_answer_arrives_piece_by_piece(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        more = runtime.event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            yield b"first"
            assert more.wait(PATIENCE)
            yield b"second"

        def read() -> tuple[bytes, bytes]:
            client = http.client.HTTPConnection("127.0.0.1", served.address[1], timeout=PATIENCE)
            client.request("GET", "/")
            answer = client.getresponse()
            first = answer.read1()
            runtime.call_from_thread(more.set)
            rest = answer.read()
            client.close()
            return first, rest

        with serving(runtime, app) as served:
            assert served.clients.run(read) == (b"first", b"second")

    live(story)


def test_an_error_of_the_application_is_logged_and_shows_no_traceback(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise ValueError("a bug")

    def story(runtime: Runtime) -> bytes:
        with serving(runtime, app) as served:
            return served.exchange(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    answer = live(story)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Traceback" not in answer and b"a bug" not in answer
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /" + b"x" * 10000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03<script>\r\n\r\n",
    ],
)
def test_malformed_and_oversized_requests_are_refused_without_html(
    live: Live, request_: bytes
) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            answer = served.exchange(request_)
            assert served.exchange(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ).endswith(b"hello")
            return answer

    answer = live(story)
    assert answer.split(b" ")[1] in (b"400", b"414", b"431", b"505")
    assert b"<" not in answer and b"Python" not in answer


def test_a_body_that_ends_in_the_middle_of_its_chunks_is_an_error(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            return served.exchange(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
            )

    assert live(story).split(b" ")[1] in (b"400", b"500")


def test_the_answer_to_head_has_no_body(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            return served.exchange(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    answer = live(story)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_the_end_of_a_connection_is_announced_once(live: Live, request_: bytes) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            return served.exchange(request_)

    assert live(story).lower().count(b"connection: close") == 1


def test_a_process_without_file_descriptors_accepts_again_later(backend: str) -> None:
    code = f"""
        import logging, resource, socket
        from python_pubsub_server.runtime import open_runtime
        from python_pubsub_server.transport.http import HTTPServer

        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"hello"]

        def ask():
            with socket.create_connection(address, timeout={PATIENCE}) as client:
                client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
                while piece := client.recv(1000):
                    last = piece
                return last

        class Tell(logging.Handler):
            def emit(self, record):
                refused.append(record.getMessage())
                told.set()

        runtime = open_runtime({backend!r})
        refused, told = [], runtime.event()
        logging.getLogger("pubsub").addHandler(Tell())
        listener = runtime.listen("127.0.0.1", 0)
        address = listener.getsockname()
        server = HTTPServer(runtime, listener, app)
        serving = runtime.spawn(server.run)
        threads = runtime.native_threads(1, "client")
        assert threads.run(ask).endswith(b"hello")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        client.connect(address)
        client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        assert told.wait({PATIENCE})
        assert refused == ["cannot accept a connection: Too many open files"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.settimeout({PATIENCE})
        assert threads.run(client.recv, 1000).startswith(b"HTTP/1.1 200")
        client.close()
        server.stop()
        assert serving.wait({PATIENCE}) and threads.close({PATIENCE})
        runtime.close()
    """
    run_program(code)


def test_more_connections_than_1024_are_served(live: Live) -> None:
    def story(runtime: Runtime) -> int:
        def open_many() -> int:
            clients = [
                socket.create_connection(served.address, timeout=PATIENCE) for _ in range(1100)
            ]
            answered = 0
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            for client in clients:
                answered += client.recv(1000).endswith(b"hello")
                client.close()
            return answered

        with serving(runtime, hello) as served:
            return int(served.clients.run(open_many))

    assert live(story) == 1100


def test_drain_answers_what_was_asked_and_closes_what_idles(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        asked, go = runtime.event(), runtime.event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            asked.set()
            go.wait(PATIENCE)
            return hello(environ, start_response)

        with serving(runtime, app) as served:
            idle = socket.create_connection(served.address, timeout=PATIENCE)
            answers: list[bytes] = []
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            client = runtime.spawn(lambda: answers.append(served.exchange(request)))
            assert asked.wait(PATIENCE)
            served.server.stop_accepting()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(served.address, timeout=PATIENCE)
            assert not served.server.drain(0.01)
            assert served.clients.run(idle.recv, 1) == b""
            idle.close()
            go.set()
            assert served.server.drain(PATIENCE)
            assert client.wait(PATIENCE)
            assert answers[0].endswith(b"hello")
            assert b"connection: close" in answers[0].lower()

    live(story)


def test_stop_ends_what_does_not_end_by_itself(live: Live) -> None:
    def story(runtime: Runtime) -> bool:
        asked = runtime.event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            asked.set()
            runtime.event().wait()
            return []

        served = Serving(runtime, app)
        client = runtime.spawn(served.exchange, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(PATIENCE)
        served.server.stop()
        ended = served.task.wait(PATIENCE) and client.wait(PATIENCE)
        assert served.clients.close(PATIENCE)
        return ended and served.server.drain(PATIENCE)

    assert live(story) is True


def test_a_socket_taken_over_outlives_its_request_and_the_server(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        taken: list[Any] = []
        got = runtime.event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            taken.extend(take_over(environ))
            got.set()
            return []

        with serving(runtime, app) as served:
            early = UPGRADE + b"early"
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(early)
            assert got.wait(PATIENCE)
            assert served.server.drain(PATIENCE)  # the server has let go of it
        sock, ahead = taken
        assert not sock.getblocking()
        read = runtime.event()
        pieces: list[bytes] = [ahead]

        def take() -> None:
            pieces.append(sock.recv(100))
            read.set()

        watch = runtime.watch_readable(sock.fileno(), take)
        client.sendall(b" and late")
        assert read.wait(PATIENCE)
        sock.send(b"raw")
        assert client.recv(100) == b"raw"
        watch.close()
        sock.close()
        client.close()
        return b"".join(pieces)

    assert live(story) == b"early and late"


# Requests, one after the other


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """What the application saw of a request, as JSON."""
    seen = {
        name: value
        for name, value in environ.items()
        if isinstance(value, str) and not name.startswith(("wsgi.", "REMOTE_", "SERVER_"))
    }
    body = json.dumps(seen | {"body": environ["wsgi.input"].read().decode("latin-1")}).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


def bodies(answer: bytes) -> list[Any]:
    """The JSON bodies of answers that came one after the other."""
    found = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append(json.loads(answer[:length]))
        answer = answer[length:]
    return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def seen_by(backend: str, *requests: bytes, **options: Any) -> list[Any]:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, echo, **options) as served:
            return served.exchange(*requests)

    return bodies(run_on_loop(backend, story))


def post(path: str, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    head = b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n"
    return head % (path.encode(), lines, len(body)) + body


def test_pipelined_requests_are_answered_in_their_order(backend: str) -> None:
    requests = [post(f"/{number}", b"n%d" % number) for number in range(50)]
    seen = seen_by(backend, b"".join(requests) + LAST)
    assert [each["PATH_INFO"] for each in seen[:-1]] == [f"/{number}" for number in range(50)]
    assert [each["body"] for each in seen[:-1]] == [f"n{number}" for number in range(50)]


def test_a_request_may_come_byte_by_byte(backend: str) -> None:
    request = post("/slow", b"body", b"X-One: 1")
    pieces = [request[at : at + 1] for at in range(len(request))]
    (seen, _) = seen_by(backend, *pieces, LAST)
    assert (seen["PATH_INFO"], seen["HTTP_X_ONE"], seen["body"]) == ("/slow", "1", "body")


def test_an_environ_says_what_was_asked(backend: str) -> None:
    (seen,) = seen_by(
        backend,
        b"GET /a%20b/%C3%A9?x=%20y HTTP/1.1\r\nHost: here\r\nX-Twice: 1\r\nx-twice: 2 \r\n"
        b"Under_Score: no\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n",
    )
    assert seen == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\xc3\xa9",
        "RAW_URI": "/a%20b/%C3%A9?x=%20y",
        "QUERY_STRING": "x=%20y",
        "HTTP_HOST": "here",
        "HTTP_X_TWICE": "1,2",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_CONNECTION": "close",
        "body": "",
    }


def test_a_body_in_chunks_is_put_together_and_its_trailers_are_dropped(backend: str) -> None:
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;extension=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Evil: 1\r\n\r\n"
    )
    (seen, after) = seen_by(backend, request + LAST)
    assert (seen["body"], seen["CONTENT_LENGTH"]) == ("abcde", "5")
    assert "HTTP_X_EVIL" not in seen and "HTTP_X_EVIL" not in after


def test_an_upgrade_that_is_declined_keeps_its_body(backend: str) -> None:
    upgrade = (b"Connection: Upgrade", b"Upgrade: h2c")
    seen = seen_by(backend, post("/1", b"one", *upgrade) + post("/2", b"two") + UPGRADE + LAST)
    assert [each["body"] for each in seen] == ["one", "two", "", ""]


def test_the_path_of_an_absolute_target_counts_and_so_does_its_host(backend: str) -> None:
    (seen,) = seen_by(backend, b"GET http://there/p?q HTTP/1.0\r\nHost: here\r\n\r\n")
    assert (seen["HTTP_HOST"], seen["PATH_INFO"], seen["QUERY_STRING"]) == ("there", "/p", "q")


def test_who_expects_a_word_before_the_body_gets_it(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        def talk() -> tuple[bytes, bytes]:
            with socket.create_connection(served.address, timeout=PATIENCE) as client:
                request = post("/", b"late", b"Expect: 100-continue", b"Connection: close")
                client.sendall(request[:-4])
                word = client.recv(1000)
                client.sendall(b"late")
                answer = b""
                while piece := client.recv(1000):
                    answer += piece
                return word, answer

        with serving(runtime, echo) as served:
            word, answer = served.clients.run(talk, timeout=PATIENCE)
        assert word == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert bodies(answer)[0]["body"] == "late"

    live(story)


def test_http_1_0_is_kept_alive_only_where_it_asks(backend: str) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            return served.exchange(
                b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"
            )

    answer = run_on_loop(backend, story)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"Connection: keep-alive") == 1
    assert answer.count(b"Connection: close") == 1


def test_an_answer_says_when_and_not_by_what(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            return served.exchange(LAST)

    head = live(story).split(b"\r\n\r\n")[0]
    assert b"\r\nDate: " in head and head.endswith(b"Content-Length: 5")
    assert b"server" not in head.lower()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_has_none(live: Live, status: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response(status, [("Content-Length", "5")])
        return [b"wrong"]

    def story(runtime: Runtime) -> bytes:
        with serving(runtime, app) as served:
            return served.exchange(GET + LAST)

    answer = live(story)
    assert answer.count(b"HTTP/1.1 " + status.encode()) == 2
    assert b"wrong" not in answer and b"Content-Length" not in answer


@pytest.mark.parametrize(
    "headers",
    [[("X-Bad", "a\r\nX-Evil: 1")], [("X-Bad", "a\nb")], [("Content-Length", "99")]],
)
def test_an_answer_that_would_deceive_is_an_error(
    live: Live, headers: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", headers)
        return [b"short"]

    def story(runtime: Runtime) -> bytes:
        with serving(runtime, app) as served:
            return served.exchange(GET)

    answer = live(story)
    assert status_of(answer) == 500 and b"Evil" not in answer
    assert "uncaught error in a request" in caplog.text


def test_a_stream_that_breaks_does_not_look_complete(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        raise ValueError("a bug in the middle")

    def story(runtime: Runtime) -> str:
        def read() -> str:
            client = http.client.HTTPConnection("127.0.0.1", served.address[1], timeout=PATIENCE)
            try:
                client.request("GET", "/")
                client.getresponse().read()
            except (http.client.IncompleteRead, ConnectionError) as error:
                return type(error).__name__
            finally:
                client.close()
            return "complete"

        with serving(runtime, app) as served:
            return str(served.clients.run(read, timeout=PATIENCE))

    assert live(story) in ("IncompleteRead", "ConnectionResetError")
    assert "a bug in the middle" in caplog.text


# Direct routes


def test_direct_routes_answer_now_or_later_in_the_order_of_the_requests(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        def later(environ: dict[str, Any], respond: Callable[..., None]) -> None:
            runtime.after(0.01, respond, 200, (("X-Kind", "later"),), b"1")

        def now(environ: dict[str, Any], respond: Callable[..., None]) -> None:
            respond(201, (("X-Kind", "now"),), environ["wsgi.input"].read())
            respond(200, (), b"a second answer")

        direct = {("GET", "/later"): later, ("POST", "/now"): now}
        with serving(runtime, hello, direct=direct) as served:
            return served.exchange(
                b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n" + post("/now", b"2") + LAST
            )

    answer = live(story)
    kinds = [answer.index(kind) for kind in (b"X-Kind: later", b"X-Kind: now", b"hello")]
    assert kinds == sorted(kinds)
    assert b"HTTP/1.1 201 Created\r\n" in answer and b"second" not in answer


def test_a_thousand_direct_answers_at_once_do_not_nest(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        def now(environ: dict[str, Any], respond: Callable[..., None]) -> None:
            respond(200, (), b"x")

        with serving(runtime, hello, direct={("GET", "/"): now}) as served:
            return served.exchange(GET * 2000 + LAST)

    assert live(story).count(b"HTTP/1.1 200 OK") == 2001


def test_a_direct_route_that_fails_or_stays_silent_is_an_error(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    def story(runtime: Runtime) -> tuple[bytes, bytes, bytes]:
        late: list[Callable[..., None]] = []
        clock = [0.0]
        silent = runtime.event()

        def fail(environ: dict[str, Any], respond: Callable[..., None]) -> None:
            raise ValueError("a bug in a route")

        def wait(environ: dict[str, Any], respond: Callable[..., None]) -> None:
            late.append(respond)
            silent.set()

        direct = {("GET", "/fail"): fail, ("GET", "/wait"): wait}
        with serving(runtime, hello, direct=direct, clock=lambda: clock[0]) as served:
            failed = served.exchange(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
            got: list[bytes] = []
            request = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
            client = runtime.spawn(lambda: got.append(served.exchange(request)))
            assert silent.wait(PATIENCE)
            clock[0] += 61
            served.server.sweep()
            assert client.wait(PATIENCE)
            late[0](200, (), b"too late")
            return failed, got[0], served.exchange(LAST)

    failed, timed_out, after = live(story)
    assert status_of(failed) == 500 and "a bug in a route" in caplog.text
    assert status_of(timed_out) == 503 and b"Retry-After: 1" in timed_out
    assert json.loads(timed_out.split(b"\r\n\r\n")[1])["code"] == "unavailable"
    assert after.endswith(b"hello")


# Limits


def test_a_body_over_the_bound_is_refused_before_it_is_read(backend: str) -> None:
    def story(runtime: Runtime) -> list[bytes]:
        with serving(runtime, hello, max_body=lambda environ: 1000) as served:
            return [
                served.exchange(post("/", b"x" * 500_000)),
                served.exchange(
                    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"3e8\r\n%b\r\n" % (b"x" * 1000) + b"1\r\nx\r\n",
                ),
                served.exchange(post("/", b"x" * 1000), LAST),
            ]

    refused, chunked, taken = run_on_loop(backend, story)
    for answer in (refused, chunked):
        assert status_of(answer) == 413 and b"Connection: close" in answer
        assert json.loads(answer.split(b"\r\n\r\n")[1])["code"] == "too_large"
    assert status_of(taken) == 200


def test_a_body_without_end_is_read_for_a_while_only(live: Live) -> None:
    def story(runtime: Runtime) -> int:
        def send_for_ever() -> int:
            sent = 0
            with socket.create_connection(served.address, timeout=PATIENCE) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
                try:
                    while sent < 2**30:
                        sent += client.send(b"x" * 65536)
                except ConnectionError:
                    pass
            return sent

        with serving(runtime, hello) as served:
            return int(served.clients.run(send_for_ever, timeout=PATIENCE))

    assert live(story) < 2**30


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"\r\n" * 40_000, 431),
        (GET[:-2] + b"X-Long" + b"x" * 300 + b": 1\r\n\r\n", 431),
    ],
)
def test_what_readers_could_take_for_different_requests_is_refused(
    request_: bytes, status: int
) -> None:
    """Fed as a whole and in pieces: a parser without I/O needs no server."""
    for size in (len(request_), 1000, 7):
        parser = RequestParser({}, Limits(), lambda environ: 1000)
        for start in range(0, len(request_), size):
            parser.feed(request_[start : start + size])
        (refusal,) = parser.requests
        assert isinstance(refusal, Refusal)
        assert refusal.status == status
        assert json.loads(refusal.body)["status"] == "error"
        assert parser.is_over


def test_what_came_before_a_malformed_request_is_answered(backend: str) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            return served.exchange(GET + b"nonsense\r\n\r\n")

    answer = run_on_loop(backend, story)
    assert answer.startswith(b"HTTP/1.1 200 OK") and b"hello" in answer
    assert b"HTTP/1.1 400 Bad Request" in answer


def test_a_large_body_is_put_together_once() -> None:
    parser = RequestParser({}, Limits(), lambda environ: 2**26)
    body = os.urandom(2**16) * 512
    request = post("/", body)
    for start in range(0, len(request), 2**16):
        parser.feed(request[start : start + 2**16])
    (whole,) = parser.requests
    assert isinstance(whole, Request)
    assert whole.environ["wsgi.input"].read() == body


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b"", 15),
        (GET, 75),
        (b"GET / HT", 10),
        (GET + b"GET / HT", 10),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", 60),
    ],
)
def test_who_says_nothing_for_too_long_is_closed(live: Live, sent: bytes, seconds: float) -> None:
    def story(runtime: Runtime) -> None:
        clock = [1000.0]
        read = runtime.event()

        def seen(environ: dict[str, Any]) -> int:
            read.set()
            return 100

        met: list[str] = []
        options = {"clock": lambda: clock[0], "max_body": seen, "on_limit": met.append}
        with serving(runtime, hello, **options) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(sent)
            if sent.startswith(GET):
                assert served.clients.run(client.recv, 1000).endswith(b"hello")
            # Another connection's answer comes after what was sent here has been read.
            served.exchange(LAST)
            clock[0] += seconds - 1
            served.server.sweep()
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.settimeout(PATIENCE)
            clock[0] += 1
            served.server.sweep()
            last_words = served.clients.run(read_all, client)
            if sent in (b"", GET):
                assert last_words == b""
            else:
                assert status_of(last_words) == 408
                assert b'"code":"invalid"' in last_words
            client.close()
        assert met == ["idle_seconds" if sent in (b"", GET) else "request_seconds"]

    live(story)


def read_all(client: socket.socket) -> bytes:
    got = b""
    while piece := client.recv(65536):
        got += piece
    return got


def test_a_body_that_trickles_is_not_waited_for_for_ever(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        clock = [1000.0]
        arrived = []
        with serving(runtime, hello, clock=lambda: clock[0]) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n")
            for piece in range(80):
                served.exchange(LAST)
                clock[0] += 5
                served.server.sweep()
                try:
                    client.sendall(b"x")
                except OSError:
                    break
                arrived.append(piece)
                if len(served.server._connections) == 0:
                    break
            client.close()
        assert 11 <= len(arrived) <= 14

    live(story)


def test_a_sweep_that_fails_is_not_the_last(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        sweeps = []

        def sweep() -> None:
            sweeps.append(1)
            raise RuntimeError("a defect")

        with serving(runtime, hello, limits=Limits(sweep_seconds=0.01)) as served:
            served.server.sweep = sweep  # type: ignore[method-assign]
            until(runtime, lambda: len(sweeps) > 2)

    live(story)


def test_a_large_body_has_the_time_that_its_size_needs(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        clock = [1000.0]
        pieces = 20
        with serving(runtime, hello, clock=lambda: clock[0]) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            client.sendall(head % (pieces * 20_000))
            for _ in range(pieces):
                client.sendall(b"x" * 20_000)
                served.exchange(LAST)
                clock[0] += 19
                served.server.sweep()
            answer = served.clients.run(read_all, client)
            client.close()
        assert answer.endswith(b"x" * 1000)

    live(story)


# Seats


def nobody_is_exempt(limit: int) -> Seats:
    return Seats(limit, lambda address: address)


def test_who_has_as_many_connections_as_it_may_is_told_so(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        seats, met = nobody_is_exempt(2), []
        with serving(runtime, hello, seats=seats, on_limit=met.append) as served:
            first = [socket.create_connection(served.address, timeout=PATIENCE) for _ in range(2)]
            for client in first:
                client.sendall(GET)
                assert served.clients.run(client.recv, 1000).endswith(b"hello")
            told = served.exchange(LAST)
            assert status_of(told) == 429
            assert b"Retry-After: 1" in told and b'"code":"rate_limited"' in told
            assert met == ["connections"]
            first.pop().close()
            until(runtime, lambda: not seats.is_full("127.0.0.1"))
            assert status_of(served.exchange(LAST)) == 200
            first.pop().close()
        assert len(seats) == 0

    live(story)


def test_of_many_too_many_most_are_just_closed(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        seats, met = nobody_is_exempt(1), []
        limits = Limits(turned_away=3)
        with serving(runtime, hello, seats=seats, limits=limits, on_limit=met.append) as served:
            clients = [
                socket.create_connection(served.address, timeout=PATIENCE) for _ in range(10)
            ]
            clients[0].sendall(GET)
            assert served.clients.run(clients[0].recv, 1000).endswith(b"hello")
            said = [served.clients.run(read_all, client) for client in clients[1:]]
            assert [bool(words) for words in said] == [True] * 3 + [False] * 6
            assert len(met) == 9
            for client in clients:
                client.close()
        assert len(seats) == 0

    live(story)


def test_a_socket_that_is_taken_over_keeps_its_seat_until_it_is_closed(live: Live) -> None:
    taken = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        sock, _ = take_over(environ)
        taken.append(sock)
        sock.send(b"mine")
        return []

    def story(runtime: Runtime) -> None:
        seats = nobody_is_exempt(1)
        with serving(runtime, app, seats=seats) as served:
            with socket.create_connection(served.address, timeout=PATIENCE) as client:
                client.sendall(UPGRADE)
                assert served.clients.run(client.recv, 4) == b"mine"
            assert seats.is_full("127.0.0.1")
            taken[0].close()
            taken[0].close()
            assert not seats.is_full("127.0.0.1")
        assert len(seats) == 0

    live(story)


def test_who_is_not_counted_has_its_socket_as_it_was() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert Seats(1, lambda address: None).seat(one, "x") is one
        assert Seats(None, lambda address: address).seat(one, "x") is one


# Slow readers


def test_a_slow_reader_holds_up_nobody_and_gets_everything(live: Live) -> None:
    large = os.urandom(2**20) * 16

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [large if environ["PATH_INFO"] == "/large" else b"hello"]

    def story(runtime: Runtime) -> tuple[bytes, bytes]:
        def finish() -> bytes:
            got = bytearray()
            while piece := client.recv(2**20):
                got += piece
            return bytes(got)

        with serving(runtime, app) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
            assert served.clients.run(client.recv, 1) == b"H"
            other = served.exchange(LAST)
            rest = served.clients.run(finish, timeout=PATIENCE)
            client.close()
            return other, rest

    other, rest = live(story)
    assert other.endswith(b"hello")
    assert large in rest and rest.endswith(b"hello")


def test_who_does_not_read_is_closed_in_the_end(live: Live) -> None:
    def story(runtime: Runtime) -> None:
        clock = [1000.0]
        ended = runtime.event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [])
            try:
                while True:
                    yield b"x" * 2**16
            finally:
                ended.set()

        with serving(runtime, app, clock=lambda: clock[0]) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(GET)
            assert served.clients.run(client.recv, 1) == b"H"
            while not ended.wait(0.01):
                clock[0] += 61
                served.server.sweep()
            client.close()

    live(story)


# Life


def test_many_connections_leave_nothing_behind(live: Live) -> None:
    kinds = (RequestParser, HTTPServer)

    def story(runtime: Runtime) -> None:
        process = psutil.Process()

        def come_and_go(count: int) -> None:
            for number in range(count):
                with socket.create_connection(served.address, timeout=PATIENCE) as client:
                    if number % 4 == 1:
                        client.sendall(b"GET / HT")
                    if number % 4 == 2:
                        client.sendall(GET)
                        client.recv(1000)
                    if number % 4 == 3:
                        client.sendall(post("/", b"x" * 100)[:-10])

        def left() -> tuple[int, int]:
            gc.collect()
            objects = sum(isinstance(each, kinds) for each in gc.get_objects())
            return process.num_fds(), objects - others

        def settled() -> bool:
            # Who comes last is accepted last: once it is answered, all others were accepted.
            assert status_of(served.exchange(LAST)) == 200
            assert served.server.wait_empty(PATIENCE)
            return left()[1] == 1  # the server itself; what was called for the last ones is over

        gc.collect()
        others = sum(isinstance(each, kinds) for each in gc.get_objects())
        with serving(runtime, hello) as served:
            served.clients.run(come_and_go, 100)
            until(runtime, settled)
            before = left()
            served.clients.run(come_and_go, 2000)
            until(runtime, settled)
            assert left() == before

    live(story)


def test_drain_answers_a_request_that_was_not_read_yet(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        with serving(runtime, hello) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(GET)
            assert served.clients.run(client.recv, 1000).endswith(b"hello")
            client.sendall(GET)  # and the loop has no turn before the drain begins
            assert served.server.drain(PATIENCE)
            answer = served.clients.run(client.recv, 1000)
            client.close()
            return bytes(answer)

    answer = live(story)
    assert answer.endswith(b"hello") and b"Connection: close" in answer


def test_what_is_taken_over_belongs_to_the_taker(live: Live) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        sock, ahead = take_over(environ)
        assert ahead == b""
        sock.sendall(b"mine")
        sock.close()
        with pytest.raises(RuntimeError):
            take_over(environ)
        return []

    def story(runtime: Runtime) -> bytes:
        with serving(runtime, app) as served:
            return served.exchange(GET)

    assert live(story) == b"mine"


def test_a_stream_that_drain_finds_under_way_is_the_last_answer(live: Live) -> None:
    def story(runtime: Runtime) -> bytes:
        more = runtime.event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"first"
            assert more.wait(PATIENCE)
            yield b"last"

        with serving(runtime, app) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(GET)
            got = served.clients.run(client.recv, 1000)
            assert not served.server.drain(0.01)
            more.set()
            assert served.server.drain(PATIENCE)
            while piece := served.clients.run(client.recv, 1000):
                got += piece
            client.close()
            return bytes(got)

    assert live(story).endswith(b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")


def test_a_slow_reader_that_does_read_has_the_time_it_needs(live: Live) -> None:
    large = b"x" * 2**24

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [large]

    def story(runtime: Runtime) -> int:
        clock = [1000.0]

        def read_some() -> int:
            return sum(len(client.recv(2**16)) for _ in range(16))

        with serving(runtime, app, clock=lambda: clock[0]) as served:
            client = socket.create_connection(served.address, timeout=PATIENCE)
            client.sendall(LAST)
            got = 0
            while got < len(large):
                some = served.clients.run(read_some, timeout=PATIENCE)
                got += some
                clock[0] += 20
                served.server.sweep()
                if not some:
                    break
            client.close()
            return got

    assert live(story) > len(large)
