"""`pubsub-server publish`, `subscribe` and `bench`, as one types them, against a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redis_server import free_port
from server import RunningServer, environment

PATIENCE = 60.0
PROGRAM = (sys.executable, "-c", "from python_pubsub_server.cli import main; main()")
SECRET = "thirty-two bytes are the least of a secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("verbs")) as server:
        yield server


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that lets nobody in without a token."""
    with RunningServer(tmp_path_factory.mktemp("closed"), jwt_secret=SECRET) as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", str(request.node.name)).strip("-")


def run(
    url: str, *arguments: str, code: int = 0, given: str | bytes = b"", **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*PROGRAM, *arguments],
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env=environment(PUBSUB_URL=url, **variables),
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, out + err
    assert "Traceback" not in err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


class Reader:
    """A running `subscribe`, and its lines as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def reading(server: RunningServer, *arguments: str) -> Iterator[Reader]:
    """A `subscribe` that has subscribed."""
    before = server.log.count(" subscribed ")
    process = subprocess.Popen(
        [*PROGRAM, "subscribe", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PUBSUB_URL=server.url),
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        server.until(
            lambda: process.poll() is not None or server.log.count(" subscribed ") > before
        )
        yield Reader(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def contents(server: RunningServer, topic: str) -> list[object]:
    page = server.get(f"/topics/{topic}/messages")
    return [message["message"] for message in page["messages"]]


def token(*arguments: str) -> str:
    done = run("", "token", "--jwt-secret", SECRET, *arguments)
    return done.stdout.strip()


class TestPublish:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"total": 12.5, "big": 123456789012345678901234567890}', None),
            ("[1, null]", [1, None]),
            ("42", 42),
            ("null", None),
            ('"quoted"', "quoted"),
            ("hello, world", "hello, world"),
            ("ünïcode 🎉", "ünïcode 🎉"),
            ("", ""),
        ],
    )
    def test_json_as_it_is_and_the_rest_as_text(
        self, server: RunningServer, topic: str, text: str, message: object
    ) -> None:
        wanted = json.loads(text) if text.startswith("{") else message
        assert run(server.url, "publish", topic, text).stdout == f"{topic} 1\n"
        assert contents(server, topic) == [wanted]

    def test_what_begins_as_json_and_is_none_is_refused_unless_it_is_text(
        self, server: RunningServer, topic: str
    ) -> None:
        done = run(server.url, "publish", topic, '{"a": ', code=1)
        assert done.stderr.startswith("pubsub-server: MESSAGE is not JSON (")
        assert done.stderr.endswith("; to publish it as text: --as text\n")
        run(server.url, "publish", topic, '{"a": ', "--as", "text")
        run(server.url, "publish", topic, "7", "--as", "text")
        assert contents(server, topic) == ['{"a": ', "7"]
        assert "is not JSON" in run(server.url, "publish", topic, "x", "--as=json", code=1).stderr

    def test_lines_of_standard_input_in_their_order(
        self, server: RunningServer, topic: str
    ) -> None:
        given = '\ufeffone\r\n\n{"two": 2}\n   \n3'
        done = run(server.url, "publish", topic, "-", given=given)
        assert done.stdout == f"{topic} 1\n{topic} 2\n{topic} 3\n"
        assert contents(server, topic) == ["one", {"two": 2}, 3]
        assert run(server.url, "publish", topic, "-", "-q", given="x").stdout == ""

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            (b'{"a"', "line 2 is not JSON ("),
            (b"\xff", "line 2 is not UTF-8; the lines before it are stored"),
            (b"[NaN]", "line 2: this cannot be a message: "),
        ],
    )
    def test_a_line_that_cannot_be_published_ends_it_there(
        self, server: RunningServer, topic: str, bad: bytes, said: str
    ) -> None:
        done = run(server.url, "publish", topic, "-", given=b"one\n" + bad + b"\nthree", code=1)
        assert done.stderr.startswith(f"pubsub-server: {said}")
        assert contents(server, topic) == ["one"]

    def test_a_message_that_has_a_name_is_stored_once(
        self, server: RunningServer, topic: str
    ) -> None:
        again = ("publish", topic, "x", "--message-id", "m-1", "--producer", "shop")
        assert run(server.url, *again).stdout == f"{topic} 1\n"
        assert run(server.url, *again).stdout == f"{topic} 1 (stored before)\n"
        (message,) = server.get(f"/topics/{topic}/messages")["messages"]
        assert (message["message_id"], message["producer"]) == ("m-1", "shop")
        done = run(server.url, "publish", topic, "-", "--message-id", "m-1", code=2)
        assert "--message-id names one message" in done.stderr

    def test_a_topic_that_cannot_be_is_said(self, server: RunningServer) -> None:
        done = run(server.url, "publish", "a*", "x", code=1)
        assert done.stderr.startswith("pubsub-server: `topic` must not contain `*`")

    def test_a_token_says_who_publishes(self, closed: RunningServer, topic: str) -> None:
        ann = token("--sub", "ann", "--publish", "*", "--subscribe", "*", "--admin")
        run(closed.url, "publish", topic, "x", "--token", ann)
        done = run(closed.url, "subscribe", topic, "--after=0", "--count=1", "--json",
                   PUBSUB_TOKEN=ann)  # fmt: skip
        assert json.loads(done.stdout)["producer"] == "ann"


class TestSubscribe:
    def test_a_line_for_each_message(self, server: RunningServer, topic: str) -> None:
        with reading(server, f"{topic}:*", topic) as reader:
            server.publish(f"{topic}:1", {"total": 12.5, "name": "é\n\x1b[31m\u202e"})
            server.publish(topic, None)
            lines = {reader.line(), reader.line()}
            assert lines == {
                f'{topic}:1 1 {{"total": 12.5, "name": "é\\n\\u001b[31m\\u202e"}}',
                f"{topic} 1 null",
            }
            assert reader.end() == 0

    def test_json_is_the_whole_message(self, server: RunningServer, topic: str) -> None:
        server.publish(topic, [1], message_id="m-1", producer="shop")
        done = run(server.url, "subscribe", topic, "--after", "beginning", "--json", "--count", "1")
        told = json.loads(done.stdout)
        (message,) = server.get(f"/topics/{topic}/messages")["messages"]
        assert told == message | {"replayed": True}

    def test_it_ends_after_so_many(self, server: RunningServer, topic: str) -> None:
        for number in range(5):
            server.publish(topic, number, message_id=f"m-{number}")
        done = run(server.url, "subscribe", topic, "--after", "1", "--count", "2")
        assert done.stdout == f"{topic} 2 1\n{topic} 3 2\n"
        assert done.stderr == ""

    def test_what_was_printed_is_confirmed_if_wanted(
        self, server: RunningServer, topic: str
    ) -> None:
        with reading(server, topic, "--consumer", topic, "--consume") as reader:
            for number in range(3):
                server.publish(topic, number, message_id=f"m-{number}")
            assert reader.line() == f"{topic} 1 0"
            server.until(lambda: len(server.get("/consumptions", topic=topic)) == 3)
            assert reader.end(signal.SIGTERM) == 0
        for number in range(3, 6):
            server.publish(topic, number, message_id=f"m-{number}")
        peek = ("subscribe", topic, "--consumer", topic, "--after", "consumed", "--count", "3")
        for _ in range(2):
            assert run(server.url, *peek).stdout == f"{topic} 4 3\n{topic} 5 4\n{topic} 6 5\n"
        taken = ("subscribe", topic, "--consumer", topic, "--consume", "--count", "1")
        assert [run(server.url, *taken).stdout for _ in range(3)] == [
            f"{topic} 4 3\n", f"{topic} 5 4\n", f"{topic} 6 5\n",
        ]  # fmt: skip
        assert len(server.get("/consumptions", topic=topic)) == 6

    def test_more_than_one_replay_brings_is_shown_without_confirming(
        self, tmp_path: Path, topic: str
    ) -> None:
        with RunningServer(tmp_path, replay_limit=10) as server:
            with reading(server, topic, "--consumer", "peek"):
                pass  # from now on it wants them
            server.until(lambda: not server.get("/clients"))
            for number in range(15):
                server.publish(topic, number, message_id=f"m-{number}")
            peek = ("subscribe", topic, "--consumer=peek", "--after=consumed", "--count=15")
            shown = run(server.url, *peek).stdout.splitlines()
        assert shown == [f"{topic} {number + 1} {number}" for number in range(15)]

    def test_it_goes_on_when_the_server_is_back(self, tmp_path: Path, topic: str) -> None:
        with RunningServer(tmp_path) as server, reading(server, topic) as reader:
            server.publish(topic, 1, message_id="m-1")
            assert reader.line() == f"{topic} 1 1"
            server.kill()
            assert reader.process.stderr is not None
            assert "; trying again" in reader.process.stderr.readline()
            server.start()
            server.publish(topic, 2, message_id="m-2")
            assert reader.line() == f"{topic} 2 2"
            assert reader.end() == 0

    def test_a_reader_that_has_enough_ends_it(self, server: RunningServer, topic: str) -> None:
        with reading(server, topic) as reader:
            assert reader.process.stdout is not None
            reader.process.stdout.close()
            server.publish(topic, 1)
            assert reader.process.wait(PATIENCE) == 0
            assert reader.process.stderr is not None
            assert reader.process.stderr.read() == ""
            reader.process.stdout = None

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "Missing argument 'TOPIC...'"),
            (("a", "--consume"), "--consume and --after consumed need --consumer NAME"),
            (("a", "--after", "consumed"), "need --consumer NAME"),
            (("a", "--after", "soon"), "'soon'; write a sequence, beginning or consumed"),
            (("a", "--after", "-1"), "write a sequence, beginning or consumed"),
            (("a", "--count", "0"), "'--count'"),
        ],
    )
    def test_a_mistake_is_told(self, arguments: tuple[str, ...], said: str) -> None:
        assert said in run("", "subscribe", *arguments, code=2).stderr

    def test_a_topic_that_cannot_be_is_said(self, server: RunningServer) -> None:
        done = run(server.url, "subscribe", "a*b", code=1)
        assert re.fullmatch(r"pubsub-server: .+a\*b.+\n", done.stderr)


VERBS = [("publish", "a", "x"), ("subscribe", "a")]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
class TestRefusals:
    def test_no_server(self, verb: tuple[str, ...]) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        done = run(url, *verb, code=1)
        assert done.stderr == f"pubsub-server: no server answers at {url}: Connection refused\n"

    def test_no_address(self, verb: tuple[str, ...]) -> None:
        done = run("localhost", *verb, code=1)
        assert done.stderr.startswith("pubsub-server: --url: write the address of a server such as")

    def test_the_address_is_of_the_settings_unless_it_is_given(self, verb: tuple[str, ...]) -> None:
        port = free_port()
        done = run("", *verb, code=1, PUBSUB_PORT=str(port))
        assert f"no server answers at http://127.0.0.1:{port}: " in done.stderr

    def test_no_token(self, closed: RunningServer, verb: tuple[str, ...]) -> None:
        done = run(closed.url, *verb, code=1)
        assert re.fullmatch(
            r"pubsub-server: .+; give a valid one with --token or PUBSUB_TOKEN\n", done.stderr
        )

    def test_a_wrong_token(self, closed: RunningServer, verb: tuple[str, ...]) -> None:
        done = run(closed.url, *verb, "--token", "x.y.z", code=1)
        assert re.fullmatch(
            r"pubsub-server: .+; give a valid one with --token or PUBSUB_TOKEN\n", done.stderr
        )

    def test_a_token_without_the_right(self, closed: RunningServer, verb: tuple[str, ...]) -> None:
        other = token("--sub", "ann", "--publish", "b", "--subscribe", "b")
        done = run(closed.url, *verb, code=1, PUBSUB_TOKEN=other)
        assert re.fullmatch(r"pubsub-server: .*not allow.*'a'.*\n", done.stderr)


def test_a_subscription_ends_with_its_token(closed: RunningServer) -> None:
    short = token("--sub", "ann", "--subscribe", "*", "--expires", "3s")
    done = run(closed.url, "subscribe", "a", "--token", short, code=1)
    # Either the connection ended with it, or it was too late for one.
    *_, last = done.stderr.splitlines()
    assert "token has expired" in last
    assert "PUBSUB_TOKEN" in last


FIGURES = re.compile(
    r"publishes   [\d,]+ a second\n"
    r"answered    p50 [\d,.]+ ms, p99 [\d,.]+ ms\n"
    r"deliveries  [\d,]+ a second\n"
    r"on the way  p50 [\d,.]+ ms, p99 [\d,.]+ ms, when it is calm\n"
    r"([\d,]+) messages of 10 bytes, 2 publishers and 2 subscribers in Python on this machine; "
    r"nothing was lost\. .+docs/benchmarks\.md\n"
)
QUICK = ("bench", "--seconds=0.3", "--publishers=2", "--subscribers=2", "--size=10")


class TestBench:
    def test_a_server_of_its_own_leaves_nothing(self, tmp_path: Path) -> None:
        done = run("", *QUICK, PUBSUB_DATABASE_URL=f"sqlite:///{tmp_path}/pubsub.db")
        assert FIGURES.fullmatch(done.stdout), done.stdout
        assert f"durability full, in {tmp_path}" in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_a_running_server_keeps_the_messages(self, server: RunningServer) -> None:
        done = run("", *QUICK, "--url", server.url)
        figures, _, rest = done.stdout.rpartition("its messages stay in the log of ")
        found = FIGURES.fullmatch(figures)
        assert found, done.stdout
        topic = rest.split()[-1]
        (one,) = [one for one in server.get("/topics") if one["topic"] == topic]
        assert f"{one['messages']:,}" == found[1]

    def test_no_server(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        done = run("", "bench", "--url", url, code=1)
        assert done.stderr == f"pubsub-server: no server answers at {url}: Connection refused\n"
