"""A short measurement of one server with the Python client, in two parts.

First every publisher publishes as fast as it is answered, with everybody listening. Then one
publishes at a pace that no server should notice, which shows how long a message is on its way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import msgspec

from .client import ClientError, PubSubClient, Received
from .errors import CommandError

PACE_SECONDS = 0.02  # between two paced messages
SETTLE_SECONDS = 30.0  # for what was published to reach everybody


class Load(msgspec.Struct, frozen=True):
    """What is to be done; `seconds` is the length of each part."""

    publishers: int
    subscribers: int
    seconds: float
    size: int  # bytes of each message's text


class Measured(msgspec.Struct, frozen=True):
    """Per second, and milliseconds as (median, 99th percentile).

    `missing` counts deliveries that did not come in time, where there should be none.
    """

    published: int
    publishes_per_second: float
    deliveries_per_second: float
    answered_ms: tuple[float, float]
    delivered_ms: tuple[float, float]
    missing: int


class Listener:
    """What one subscriber was sent: how many messages, and how long each was on its way."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.last_at = 0.0
        self._come = threading.Condition()

    def __call__(self, message: Received) -> None:
        now = time.perf_counter()
        with self._come:
            self.waits.append(now - message.message[0])
            self.last_at = now
            self._come.notify_all()

    def wait(self, count: int, seconds: float) -> int:
        """Wait for so many messages; how many of them did not come."""
        with self._come:
            self._come.wait_for(lambda: len(self.waits) >= count, seconds)
            return max(0, count - len(self.waits))


def measure(
    open_client: Callable[[], PubSubClient],
    topic: str,
    load: Load,
    tell: Callable[[str], None],
) -> Measured:
    """Measure a server that clients are opened to. Raises CommandError, ClientError."""
    text = "x" * load.size
    listeners = [Listener() for _ in range(load.subscribers)]
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(open_client()).subscribe(topic, listener, None)
        clients = [stack.enter_context(open_client()) for _ in range(load.publishers)]

        def send(client: PubSubClient) -> float:
            begun = time.perf_counter()
            client.publish(topic, [begun, text])
            return time.perf_counter() - begun

        for client in clients:
            send(client)  # connects
        settled = len(clients)
        missing = sum(each.wait(settled, SETTLE_SECONDS) for each in listeners)
        tell(f"{load.publishers} publishers, as fast as they are answered …")
        begun = time.perf_counter()
        answers = at_once([partial(flood, send, client, load.seconds) for client in clients])
        took = time.perf_counter() - begun
        published = len(answers)
        missing += sum(each.wait(settled + published, SETTLE_SECONDS) for each in listeners)
        last_at = max((each.last_at for each in listeners), default=begun + took)
        tell(f"one publisher, {1 / PACE_SECONDS:.0f} messages a second …")
        before = [len(each.waits) for each in listeners]
        paced = pace(send, clients[0], load.seconds)
        missing += sum(each.wait(settled + published + paced, SETTLE_SECONDS) for each in listeners)
    waits = [
        wait for each, start in zip(listeners, before, strict=True) for wait in each.waits[start:]
    ]
    return Measured(
        published=settled + published + paced,
        publishes_per_second=published / took,
        deliveries_per_second=sum(before) / max(last_at - begun, took),
        answered_ms=spread(answers),
        delivered_ms=spread(waits),
        missing=missing,
    )


def flood(
    send: Callable[[PubSubClient], float], client: PubSubClient, seconds: float
) -> list[float]:
    """Publish until time is up; how long each answer took."""
    end = time.perf_counter() + seconds
    answers = []
    while time.perf_counter() < end:
        answers.append(send(client))
    return answers


def pace(send: Callable[[PubSubClient], float], client: PubSubClient, seconds: float) -> int:
    """Publish at an even pace until time is up; how many."""
    begun = time.perf_counter()
    count = 0
    while (due := count * PACE_SECONDS) < seconds:
        time.sleep(max(0.0, begun + due - time.perf_counter()))
        send(client)
        count += 1
    return count


def at_once(works: Sequence[Callable[[], list[float]]]) -> list[float]:
    """What all of them found, each in a thread of its own. Raises what the first of them raised."""
    found: list[float] = []
    errors: list[Exception] = []

    def run(work: Callable[[], list[float]]) -> None:
        try:
            found.extend(work())
        except (ClientError, CommandError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


def spread(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile of times, in milliseconds; 0 where there are none."""
    if not seconds:
        return 0.0, 0.0
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return ordered[last // 2] * 1_000, ordered[round(last * 0.99)] * 1_000
