"""The HTTP server, by real sockets on both loops. Clients live in native threads."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loops import BACKENDS, Serving, run_on_loop, serving
from python_pubsub_server.runtime import Runtime
from python_pubsub_server.transport.http import take_over

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
            client = http.client.HTTPConnection("127.0.0.1", served.address[1], timeout=5)
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
            with socket.create_connection(served.address, timeout=5) as client:
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
            assert more.wait(5)
            yield b"second"

        def read() -> tuple[bytes, bytes]:
            client = http.client.HTTPConnection("127.0.0.1", served.address[1], timeout=5)
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
            with socket.create_connection(address, timeout=10) as client:
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
        assert told.wait(10)
        assert refused == ["cannot accept a connection: Too many open files"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.settimeout(10)
        assert threads.run(client.recv, 1000).startswith(b"HTTP/1.1 200")
        client.close()
        server.stop()
        assert serving.wait(5) and threads.close(5)
        runtime.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": "src"},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_more_connections_than_1024_are_served(live: Live) -> None:
    def story(runtime: Runtime) -> int:
        def open_many() -> int:
            clients = [socket.create_connection(served.address, timeout=10) for _ in range(1100)]
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
            go.wait(5)
            return hello(environ, start_response)

        with serving(runtime, app) as served:
            idle = socket.create_connection(served.address, timeout=5)
            answers: list[bytes] = []
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            client = runtime.spawn(lambda: answers.append(served.exchange(request)))
            assert asked.wait(5)
            served.server.stop_accepting()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(served.address, timeout=5)
            assert not served.server.drain(0.01)
            assert served.clients.run(idle.recv, 1) == b""
            idle.close()
            go.set()
            assert served.server.drain(5)
            assert client.wait(5)
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
        assert asked.wait(5)
        served.server.stop()
        ended = served.task.wait(5) and client.wait(5)
        assert served.clients.close(5)
        return ended and served.server.drain(5)

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
            client = socket.create_connection(served.address, timeout=5)
            client.sendall(early)
            assert got.wait(5)
            assert served.server.drain(5)  # the server has let go of it
        sock, ahead = taken
        assert not sock.getblocking()
        read = runtime.event()
        pieces: list[bytes] = [ahead]

        def take() -> None:
            pieces.append(sock.recv(100))
            read.set()

        watch = runtime.watch_readable(sock.fileno(), take)
        client.sendall(b" and late")
        assert read.wait(5)
        sock.send(b"raw")
        assert client.recv(100) == b"raw"
        watch.close()
        sock.close()
        client.close()
        return b"".join(pieces)

    assert live(story) == b"early and late"
