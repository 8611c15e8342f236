"""The client for asyncio: the same client, whose handlers run on the event loop."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypedDict, Unpack

from .bridge import Bridge
from .channel import Handlers
from .credentials import Auth
from .publication import no_answer
from .pubsub import PubSubClient
from .values import After, ClientError, Present, Receipt, Received, error_of

AsyncHandler = Callable[[Received], Awaitable[object] | object]
AsyncToken = str | Callable[[], Awaitable[str | None] | str | None] | None


class Options(TypedDict, total=False):
    """What else `PubSubClient` takes."""

    producer: str | None
    confirms: bool
    attempts: int
    max_queued: int
    max_queued_bytes: int
    deduplication_seconds: float
    connect_timeout: float
    random: Callable[[], float]
    clock: Callable[[], float]
    wall: Callable[[], float]


class AsyncPubSubClient:
    """`PubSubClient` with `await`: the same promises, because it is the same client inside.

    Make it where an event loop runs. Handlers, callbacks and `token` may be async functions or
    plain ones; they run on that loop, handlers and callbacks one after the other. The connection
    is read by a thread, so a loop that is busy for a while loses nothing.
    """

    def __init__(
        self,
        url: str,
        consumer: str | None = None,
        auth: Auth = None,
        *,
        token: AsyncToken = None,
        on_unrecovered: Callable[[str], Awaitable[object] | object] | None = None,
        on_error: Callable[[Exception, Received | None], Awaitable[object] | object] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self._bridge = bridge = Bridge(asyncio.get_running_loop())
        # One thread, so that what is published first leaves first.
        self._sender = ThreadPoolExecutor(1, "pubsub-sender")
        self._closing: asyncio.Task[bool] | None = None
        self._client = PubSubClient(
            url,
            consumer,
            auth,
            token=bridge.over(token) if callable(token) else token,
            on_unrecovered=on_unrecovered and bridge.over(on_unrecovered),
            on_error=on_error and bridge.over(on_error),
            **options,
        )

    async def __aenter__(self) -> AsyncPubSubClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def epoch(self) -> str | None:
        return self._client.epoch

    async def publish(
        self,
        topic: str,
        message: Any,
        producer: str | None = None,
        message_id: str | None = None,
        *,
        timeout: float = 30.0,
    ) -> Receipt:
        """Publish and wait until it is stored; see `PubSubClient.publish`.

        Publishes leave in the order in which they were called. When it is cancelled, the message
        may be stored or not.
        """
        publication = self._client.publication(topic, message, producer, message_id, timeout)
        while True:
            answer = await self._ask("publish", publication.body, publication.seconds_left)
            outcome = publication.outcome(answer)
            if isinstance(outcome, Receipt):
                return outcome
            await asyncio.sleep(outcome)

    async def subscribe(
        self,
        topics: str | Sequence[str],
        handler: AsyncHandler,
        after: After = "consumed",
        *,
        timeout: float = 30.0,
    ) -> None:
        """Call the handler with each message; see `PubSubClient.subscribe`."""
        handle = self._bridge.over(handler)
        await asyncio.to_thread(self._client.subscribe, topics, handle, after, timeout=timeout)

    async def unsubscribe(self, topics: str | Sequence[str]) -> None:
        await asyncio.to_thread(self._client.unsubscribe, topics)

    def channel(self, topic: str, after: After = None) -> AsyncChannel:
        """A topic or pattern with handlers by event; subscribed with its first handler."""
        return AsyncChannel(self, topic, after)

    async def presence(self, topic: str, *, timeout: float = 30.0) -> Sequence[Present]:
        """Who is subscribed to a topic under a name. Raises ClientError."""
        answer = await self.ask("presence", {"topic": topic}, timeout=timeout)
        return [Present(**user) for user in answer["users"]]

    async def ask(self, event: str, body: Any, *, timeout: float = 30.0) -> Mapping[str, Any]:
        """Any other request of the protocol; see `PubSubClient.ask`."""
        answer = await self._ask(event, json.dumps(body), timeout)
        error = error_of(answer)
        if error is not None:
            raise error
        return answer

    async def refresh(self, token: str | None = None, *, timeout: float = 30.0) -> None:
        """Go on with another token; see `PubSubClient.refresh`."""
        await asyncio.to_thread(self._client.refresh, token, timeout=timeout)

    async def close(self, timeout: float = 10.0) -> bool:
        """Stop handling, wait for confirmations, disconnect; see `PubSubClient.close`.

        From inside a handler it returns False at once, and closes when the handler has returned.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(timeout))
        if self._bridge.is_handling_here:
            return False
        return await asyncio.shield(self._closing)

    async def _close(self, timeout: float) -> bool:
        is_done = await asyncio.to_thread(self._client.close, timeout)
        await asyncio.to_thread(self._sender.shutdown)
        return is_done

    async def _ask(self, event: str, body: str, timeout: float) -> Mapping[str, Any]:
        """Send an event and wait for its answer, over as many connections as it takes."""
        loop = self._bridge.loop
        answered: asyncio.Future[Mapping[str, Any]] = loop.create_future()

        def settle(answer: Mapping[str, Any]) -> None:
            if not answered.done():
                answered.set_result(answer)

        def hear(answer: Mapping[str, Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, answer)

        if self._closing is not None:
            raise ClientError("closed", "The client is closed")
        sending = loop.run_in_executor(self._sender, self._client.send, event, body, hear)
        try:
            async with asyncio.timeout(timeout):
                return await answered_after(sending, answered)
        except TimeoutError:
            raise no_answer(event) from None
        finally:
            # Also one that is cancelled: it must not be sent again on a later connection.
            sending.add_done_callback(self._forget)

    def _forget(self, sending: asyncio.Future[int]) -> None:
        if not sending.cancelled() and sending.exception() is None:
            self._client.forget(sending.result())


async def answered_after(
    sending: asyncio.Future[int], answered: asyncio.Future[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The answer to what is being sent. Raises what the sending raised."""
    await asyncio.shield(sending)
    return await answered


class AsyncChannel:
    """A topic or pattern with handlers by event; see `Channel`."""

    def __init__(self, client: AsyncPubSubClient, topic: str, after: After) -> None:
        self.topic = topic
        self._client = client
        self._after = after
        self._handlers: Handlers[AsyncHandler] = Handlers()
        self._joining = asyncio.Lock()
        self._is_joined = False

    async def on(
        self, event: str, handler: AsyncHandler, *, timeout: float = 30.0
    ) -> Callable[[], None]:
        """Call the handler at each such event; the first one subscribes. Returns what ends it."""
        self._handlers.add(event, handler)
        try:
            await self._join(timeout)
        except BaseException:
            self._handlers.remove(event, handler)
            raise
        return lambda: self._handlers.remove(event, handler)

    def off(self, event: str, handler: AsyncHandler | None = None) -> None:
        """Take a handler off; without one, all of that event. The subscription stays."""
        self._handlers.remove(event, handler)

    async def publish(self, message: Any, **more: Any) -> Receipt:
        """Publish on this topic; see `PubSubClient.publish`."""
        return await self._client.publish(self.topic, message, **more)

    async def presence(self) -> Sequence[Present]:
        """Who is here under a name."""
        return await self._client.presence(self.topic)

    async def unsubscribe(self) -> None:
        """Leave; the next `on` subscribes again."""
        async with self._joining:
            self._is_joined = False
            await self._client.unsubscribe(self.topic)

    async def _join(self, timeout: float) -> None:
        async with self._joining:
            if self._is_joined:
                return
            await self._client.subscribe(self.topic, self._handle, self._after, timeout=timeout)
            self._is_joined = True

    async def _handle(self, message: Received) -> None:
        for handler in self._handlers.of(message.event):
            result = handler(message)
            if inspect.isawaitable(result):
                await result
