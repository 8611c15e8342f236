"""The asyncio client against a real server: the same promises, on the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from network import TIMEOUT, Proxy, soon
from python_pubsub_server.client import AsyncPubSubClient, ClientError, Received
from server import RunningServer, connections_of

SECRET = "a secret that only these tests know, 32 bytes"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("async")) as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 3 * TIMEOUT))


class Inbox:
    """An async handler that keeps what it got."""

    def __init__(self) -> None:
        self.all: list[Received] = []
        self._got: asyncio.Queue[Received] = asyncio.Queue()

    async def __call__(self, message: Received) -> None:
        await asyncio.sleep(0)
        self.all.append(message)
        self._got.put_nowait(message)

    async def next(self, count: int) -> list[Any]:
        async with asyncio.timeout(TIMEOUT):
            return [(await self._got.get()).message for _ in range(count)]


def test_it_publishes_and_hears_and_confirms(server: RunningServer, topic: str) -> None:
    async def story() -> None:
        inbox = Inbox()
        async with AsyncPubSubClient(server.url, "ann") as client:
            await client.subscribe(topic, inbox)
            receipt = await client.publish(topic, {"n": 1})
            assert (receipt.sequence, receipt.duplicate) == (1, False)
            assert await inbox.next(1) == [{"n": 1}]
            assert [user.user for user in await client.presence(topic)] == ["ann"]
            history = await client.ask("history", {"topic": topic})
            assert history["sequence"] == 1
            assert client.epoch == history["epoch"]
            await client.unsubscribe(topic)
            assert await client.presence(topic) == []

    run(story)
    assert [each["consumer"] for each in server.get("/consumptions", topic=topic)] == ["ann"]


def test_publishes_leave_in_the_order_of_their_calls(server: RunningServer, topic: str) -> None:
    async def story() -> None:
        async with AsyncPubSubClient(server.url) as client:
            receipts = await asyncio.gather(*(client.publish(topic, n) for n in range(300)))
            assert [receipt.sequence for receipt in receipts] == list(range(1, 301))

    run(story)
    messages = server.get("/messages", topic=topic, limit=1000)
    assert [each["message"] for each in reversed(messages)] == list(range(300))


def test_handlers_run_one_after_the_other_on_the_loop(server: RunningServer, topic: str) -> None:
    async def story() -> None:
        here = threading.current_thread()
        steps: list[str] = []
        is_done = asyncio.Event()

        async def handle(message: Received) -> None:
            assert threading.current_thread() is here
            steps.append(f"begin {message.message}")
            await asyncio.sleep(0.01)
            steps.append(f"end {message.message}")
            if message.message == 1:
                is_done.set()

        async with AsyncPubSubClient(server.url) as client:
            await client.channel(topic).on("message", handle)
            for n in range(2):
                await client.publish(topic, n)
            await asyncio.wait_for(is_done.wait(), TIMEOUT)
        assert steps == ["begin 0", "end 0", "begin 1", "end 1"]

    run(story)


def test_a_channel_hears_its_event_in_plain_and_async_handlers(server: RunningServer) -> None:
    async def story() -> None:
        inbox, plain = Inbox(), []
        async with AsyncPubSubClient(server.url) as client:
            channel = client.channel("suggestions:votes")
            end = await channel.on("suggestion:vote", lambda message: plain.append(message.message))
            await channel.on("suggestion:vote", inbox)
            await channel.publish({"score": 1})
            assert await inbox.next(1) == [{"score": 1}]
            end()
            await channel.publish({"score": 2})
            assert await inbox.next(1) == [{"score": 2}]
            channel.off("suggestion:vote")
            await channel.unsubscribe()
            assert list(await channel.presence()) == []
        assert plain == [{"score": 1}]

    run(story)


def test_a_handler_that_raises_is_called_again_and_told(server: RunningServer, topic: str) -> None:
    async def story() -> None:
        errors: list[str] = []
        calls: list[int] = []
        is_done = asyncio.Event()

        async def handle(message: Received) -> None:
            calls.append(message.sequence)
            if len(calls) < 2:
                raise RuntimeError("not yet")
            is_done.set()

        async def complain(error: Exception, message: Received | None) -> None:
            errors.append(f"{error} {message.sequence if message else ''}")

        async with AsyncPubSubClient(server.url, "ann", on_error=complain, random=soon) as client:
            await client.subscribe(topic, handle)
            await client.publish(topic, 1)
            async with asyncio.timeout(TIMEOUT):
                await is_done.wait()
        assert calls == [1, 1]
        assert errors == ["not yet 1"]

    run(story)


def test_refusals_and_mistakes_raise(server: RunningServer, topic: str) -> None:
    async def story() -> None:
        async with AsyncPubSubClient(server.url) as client:
            with pytest.raises(ClientError) as refusal:
                await client.publish("no*", 1)
            assert refusal.value.code == "invalid"
            with pytest.raises(ClientError) as refusal:
                await client.ask("history", {"topic": "a*b"})
            assert refusal.value.code == "invalid"
            with pytest.raises(ClientError):
                await client.channel("a*b").on("message", print)
            with pytest.raises(ValueError):
                await client.publish(topic, float("nan"))
        with pytest.raises(ClientError) as refusal:
            await client.publish(topic, 1)
        assert refusal.value.code == "closed"

    run(story)


def test_a_cancelled_publish_is_not_sent_later(tmp_path: Path, topic: str) -> None:
    async def story() -> None:
        with RunningServer(tmp_path) as server:
            async with AsyncPubSubClient(server.url, random=soon) as client:
                await client.publish(topic, "first")
                server.kill()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.publish(topic, "second"), 0.3)
                with pytest.raises(ClientError) as error:
                    await client.publish(topic, "third", timeout=0.3)
                assert error.value.code == "timeout"
                await asyncio.to_thread(server.start)
                assert (await client.publish(topic, "fourth")).sequence == 2
            said = [each["message"] for each in server.get("/messages", topic=topic)]
            assert said == ["fourth", "first"]

    run(story)


def test_restarts_lose_and_repeat_nothing(tmp_path: Path, topic: str) -> None:
    async def story() -> None:
        inbox = Inbox()
        with RunningServer(tmp_path) as server:
            async with AsyncPubSubClient(server.url, "ann", random=soon) as client:
                await client.subscribe(topic, inbox)
                publishing = asyncio.gather(*(client.publish(topic, n) for n in range(200)))
                for _ in range(2):
                    await inbox.next(30)
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                await inbox.next(140)
                await publishing
        assert [message.message for message in inbox.all] == list(range(200))

    run(story)


def test_a_slow_network_that_is_cut_loses_and_repeats_nothing(
    server: RunningServer, topic: str
) -> None:
    async def story() -> None:
        inbox = Inbox()
        with Proxy(server.port) as proxy:
            proxy.delay = 0.03
            async with AsyncPubSubClient(proxy.url, random=soon) as client:
                await client.channel(topic).on("message", inbox)
                for n in range(15):
                    await client.publish(topic, n)
                    if n % 5 == 4:
                        proxy.cut()
                assert await inbox.next(15) == list(range(15))
        assert len(inbox.all) == 15

    run(story)


def test_a_connection_outlives_its_tokens(tmp_path: Path) -> None:
    async def story() -> None:
        given: asyncio.Queue[str] = asyncio.Queue()
        errors: list[Exception] = []

        async def token() -> str:
            now = time.time()
            claims = {"sub": "ann", "iat": now, "exp": now + 4}
            text = jwt.encode(claims, SECRET, algorithm="HS256")
            given.put_nowait(text)
            return text

        inbox = Inbox()
        with RunningServer(tmp_path, jwt_secret=SECRET) as server:
            async with AsyncPubSubClient(
                server.url, token=token, on_error=lambda error, _: errors.append(error)
            ) as client:
                await client.channel("notifications:ann").on("notification", inbox)
                async with asyncio.timeout(TIMEOUT):
                    for _ in range(3):  # beyond the end of the first
                        last = await given.get()
                await client.refresh()
                assert await given.get() != last
                assert len(server.until(lambda: connections_of("ann", server.log))) == 1
        assert errors == []

    run(story)


def test_closing_inside_a_handler_returns_at_once_and_leaves_no_thread(
    server: RunningServer, topic: str
) -> None:
    before = set(threading.enumerate())

    async def story() -> None:
        answers: asyncio.Queue[bool] = asyncio.Queue()
        client = AsyncPubSubClient(server.url, "ann")

        async def handle(_: Received) -> None:
            answers.put_nowait(await client.close())

        await client.subscribe(topic, handle)
        await client.publish(topic, 1)
        assert await asyncio.wait_for(answers.get(), TIMEOUT) is False
        assert await client.close()

    run(story)
    assert set(threading.enumerate()) == before
    assert len(server.get("/consumptions", topic=topic)) == 1
