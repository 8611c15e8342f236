"""The examples do what they say, against a real server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from javascript import installed
from server import ROOT, RunningServer

EXAMPLES = ROOT / "examples"
TOPICS = ("host:cpu", "host:memory", "host:disk", "host:network")
ROUNDS = 3
PATIENCE = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("examples")) as running:
        yield running


class Program:
    """An example in a process of its own."""

    def __init__(self, *command: str | Path, cwd: Path = EXAMPLES) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text: str) -> None:
        """Read what it says on standard error until that text comes."""
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if text in line:
                return
        raise AssertionError(f"{text!r} did not come:\n{said}")

    def end(self) -> str:
        """Wait for its end, which must be a good one; what it printed."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"it did not end:\n{out}\n{err}") from None
        assert self.process.returncode == 0, err
        return out


def python(name: str, server: RunningServer, *options: str) -> Program:
    return Program(sys.executable, EXAMPLES / name, "--url", server.url, *options)


@pytest.mark.javascript
def test_metrics_reach_both_consumers_and_each_confirms_each_once(
    server: RunningServer, pytestconfig: pytest.Config
) -> None:
    packages = installed(EXAMPLES, pytestconfig.cache.mkdir("javascript"))
    shutil.copy(EXAMPLES / "consumer.mjs", packages)
    count = str(ROUNDS * len(TOPICS))
    options = ("--topics", "host:*", "--count", count)
    consumers = (
        python("consumer.py", server, "--consumer", "py", *options),
        Program("node", "consumer.mjs", "--url", server.url, "--consumer", "js", *options,
                cwd=packages),
    )  # fmt: skip
    for consumer in consumers:
        consumer.wait_for("subscribed to host:*")
    out = python("host_metrics.py", server, "--interval", "0.05", "--count", str(ROUNDS)).end()
    assert out == f"{ROUNDS * len(TOPICS)} messages published\n"
    wanted = sorted(f"{topic} #{number + 1}" for topic in TOPICS for number in range(ROUNDS))
    for consumer in consumers:
        lines = consumer.end().splitlines()
        assert sorted(" ".join(line.split(" ")[:2]) for line in lines) == wanted
    recorded = Counter(row["consumer"] for row in server.get("/consumptions", limit=1_000))
    assert recorded == {"py": ROUNDS * len(TOPICS), "js": ROUNDS * len(TOPICS)}


def test_what_was_published_while_a_consumer_was_away_waits_for_it(server: RunningServer) -> None:
    options = ("--consumer", "sometimes", "--topics", "away", "--count", "2")
    first = python("consumer.py", server, *options)
    first.wait_for("subscribed to away")
    for number in (1, 2):
        server.publish("away", number, message_id=f"m-{number}")
    assert sorted(first.end().splitlines()) == ["away #1 1", "away #2 2"]
    for number in (3, 4):
        server.publish("away", number, message_id=f"m-{number}")
    second = python("consumer.py", server, *options)
    assert sorted(second.end().splitlines()) == ["away #3 3", "away #4 4"]


def test_nothing_is_lost_or_doubled_when_the_server_crashes(tmp_path: Path) -> None:
    rounds = 40
    with RunningServer(tmp_path) as server:
        program = python("host_metrics.py", server, "--interval", "0.02", "--count", str(rounds))
        server.until(lambda: server.get("/topics"))
        server.kill()
        program.wait_for("does not answer")
        server.start()
        assert program.end() == f"{rounds * len(TOPICS)} messages published\n"
        counts = {topic["topic"]: topic["messages"] for topic in server.get("/topics")}
    assert counts == dict.fromkeys(TOPICS, rounds)


def test_it_stops_at_ctrl_c_and_says_how_much_it_did(server: RunningServer) -> None:
    program = python("host_metrics.py", server, "--interval", "60")
    program.wait_for("publishing to")
    program.process.send_signal(signal.SIGINT)
    assert "messages published" in program.end()


def test_a_consumer_that_may_not_subscribe_says_why(server: RunningServer) -> None:
    program = python("consumer.py", server, "--topics", "a*b")
    _, err = program.process.communicate(timeout=PATIENCE)
    assert program.process.returncode == 1
    assert "cannot subscribe" in err


@pytest.mark.javascript
def test_what_concerns_a_user_is_printed_once_over_a_restart(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    packages = installed(EXAMPLES, pytestconfig.cache.mkdir("javascript"))
    shutil.copy(EXAMPLES / "notifications.mjs", packages)
    options = ("--user", "ann", "--resource", "plan", "--count", "5")
    with RunningServer(tmp_path) as server:
        programs = (
            python("notifications.py", server, *options),
            Program("node", "notifications.mjs", "--url", server.url, *options, cwd=packages),
        )
        for program in programs:
            program.wait_for("subscribed")
        server.publish("notifications:bob", {"title": "not hers"})
        server.publish("notifications:ann", {"title": "hers"})
        server.publish("suggestions:votes", {"suggestion_id": "tea", "score": 2})
        server.publish("resource:updates:plan", {"step": 1})
        server.kill()
        for program in programs:
            program.wait_for("disconnected")
        server.start()
        server.publish("notifications:ann", {"title": "hers again"}, message_id="m-2")
        for program in programs:
            program.wait_for("subscribed")
        server.publish("resource:updates:plan", {"step": 2}, message_id="m-2")
        expected = [
            "notification: hers",
            "notification: hers again",
            'resource:update: {"step":1}',
            'resource:update: {"step":2}',
            "suggestion:vote: tea stands at 2",
        ]
        for program in programs:
            assert sorted(program.end().splitlines()) == expected
