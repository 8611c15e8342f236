"""The client as its users see it."""

from __future__ import annotations

import json
import logging
import random as randomness
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from .backoff import Backoff
from .calls import OnAnswer
from .channel import Channel
from .credentials import Auth, Credentials, Token
from .dispatch import Dispatcher, OnError, OnUnrecovered
from .joining import Joining
from .link import socket_url
from .publication import Publication, check_timeout, fields_of, no_answer
from .reader import Reader
from .renewal import Renewal
from .session import Session, closed
from .tracks import Handler
from .values import After, ClientError, Present, Receipt, error_of

logger = logging.getLogger("pubsub.client")


class PubSubClient:
    """Publishes and subscribes; reconnects, resumes and confirms by itself. Thread-safe.

    Handlers and callbacks run one after the other in one thread of the client's own. `token`
    says who this is; a function is asked at each connect, and again before its token ends, in
    another thread. `auth` is what else the handshake says, or a function that gives it. With
    `confirms=False` what a consumer handled stays unconsumed.
    `on_error(error, message)` hears of handlers that raised and of what the server refused later
    (`message` is None then); `on_unrecovered(topic)` of messages that were missed
    for good. `random` and `clock` are for tests.
    """

    def __init__(
        self,
        url: str,
        consumer: str | None = None,
        auth: Auth = None,
        *,
        token: Token = None,
        producer: str | None = None,
        confirms: bool = True,
        on_unrecovered: OnUnrecovered | None = None,
        on_error: OnError | None = None,
        attempts: int = 3,
        max_queued: int = 10_000,
        max_queued_bytes: int = 2**24,
        deduplication_seconds: float = 120.0,
        connect_timeout: float = 10.0,
        random: Callable[[], float] = randomness.random,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        address = socket_url(url)
        if min(attempts, max_queued, max_queued_bytes) < 1:
            raise ValueError("`attempts`, `max_queued` and `max_queued_bytes` are 1 at least")
        self.consumer = consumer
        self.producer = producer or consumer or f"client-{uuid.uuid4().hex[:8]}"
        # A retry has to arrive while the server remembers the first try.
        self._max_publish_seconds = 0.75 * deduplication_seconds
        self._session = Session(consumer, Backoff(random), clock)
        self._joining = Joining(self._session, self._tell_error)
        self._dispatcher = Dispatcher(
            self._session,
            self._joining.idle,
            on_error,
            on_unrecovered,
            confirms=confirms,
            attempts=attempts,
            max_queued=max_queued,
            max_queued_bytes=max_queued_bytes,
        )
        self._credentials = Credentials(auth, token)
        self._renewal = Renewal(self._session, self._credentials, self._tell_error, wall)
        self._reader = Reader(
            self._session,
            self._dispatcher,
            self._joining,
            self._credentials,
            self._renewal,
            url=address,
            connect_timeout=connect_timeout,
        )
        self._threads = [self._reader.thread, self._dispatcher.thread]
        if self._credentials.is_renewable:
            self._threads.append(self._renewal.thread)
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> PubSubClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def epoch(self) -> str | None:
        """Which log the sequences belong to; None before the first subscription."""
        with self._session.changed:
            return self._session.epoch

    def publish(
        self,
        topic: str,
        message: Any,
        producer: str | None = None,
        message_id: str | None = None,
        *,
        timeout: float = 30.0,
    ) -> Receipt:
        """Publish and wait until it is stored; sent again after reconnects, stored once.

        Raises ClientError: `timeout` when no answer came (it may be stored or not), or what the
        server said; ValueError when the message is not JSON or the timeout is longer than the
        server remembers message ids.
        """
        publication = self.publication(topic, message, producer, message_id, timeout)
        while True:
            answer = self._ask("publish", publication.body, publication.deadline)
            outcome = publication.outcome(answer)
            if isinstance(outcome, Receipt):
                return outcome
            self._session.pause(outcome)

    def publication(
        self,
        topic: str,
        message: Any,
        producer: str | None,
        message_id: str | None,
        timeout: float,
    ) -> Publication:
        """A publish that is to be sent; for those who wait for its answers by themselves."""
        check_timeout(timeout, self._max_publish_seconds)
        fields = fields_of(topic, message, producer or self.producer, message_id)
        session = self._session
        return Publication(fields, timeout, clock=session.clock, backoff=session.backoff)

    def publish_event(self, channel: str, data: Any, *, timeout: float = 30.0) -> None:
        """Say something on a channel `cluster:…`, to every node, its clients and other programs.

        It is not stored: who is not there misses it, and after a reconnect it may be said twice.
        Raises ClientError, and ValueError when the data is not JSON.
        """
        body = json.dumps({"channel": channel, "data": data}, ensure_ascii=False, allow_nan=False)
        body.encode()
        error = error_of(self._ask("publish_event", body, self._session.clock() + timeout))
        if error is not None:
            raise error

    def subscribe(
        self,
        topics: str | Sequence[str],
        handler: Handler,
        after: After = "consumed",
        *,
        timeout: float = 30.0,
    ) -> None:
        """Call the handler with each message of topics or patterns (`host:*`), in their order.

        `after` says where to begin: "consumed" (what this consumer did not consume since it first
        subscribed), "beginning", behind a sequence, a map of those by topic, or None: from now on.
        Returns when the server has joined. Raises ClientError, and ValueError for a topic that has
        a handler already.
        """
        wanted = [topics] if isinstance(topics, str) else topics
        starts = after.values() if isinstance(after, Mapping) else (after,)
        if self.consumer is None and "consumed" in starts:
            raise ValueError('after="consumed" needs PubSubClient(consumer=...); or say after=None')
        with self._session.changed:
            if self._session.is_closing:
                raise closed()
            tracks = self._session.tracks.add(wanted, handler, after)
        try:
            self._joining.join(tracks)
            self._joining.wait(tracks, timeout)
        except ClientError:
            self._joining.leave(tracks)
            raise

    def unsubscribe(self, topics: str | Sequence[str]) -> None:
        """Leave topics or patterns, named as they were subscribed to; what is queued is let go."""
        names = [topics] if isinstance(topics, str) else topics
        with self._session.changed:
            tracks = [track for name in names if (track := self._session.tracks.named(name))]
        self._joining.leave(tracks)

    def channel(self, topic: str, after: After = None) -> Channel:
        """A topic or pattern with handlers by event: `client.channel(t).on("notification", f)`.

        It is subscribed with its first handler, and begins where `after` says.
        """
        return Channel(self, topic, after)

    def presence(self, topic: str, *, timeout: float = 30.0) -> Sequence[Present]:
        """Who is subscribed to a topic under a name. Raises ClientError."""
        answer = self.ask("presence", {"topic": topic}, timeout=timeout)
        return [Present(**user) for user in answer["users"]]

    def ask(self, event: str, body: Any, *, timeout: float = 30.0) -> Mapping[str, Any]:
        """Any other request of the protocol (`history`, ...) and its answer. Raises ClientError.

        It is sent again on each new connection until it is answered.
        """
        answer = self._ask(event, json.dumps(body), self._session.clock() + timeout)
        error = error_of(answer)
        if error is not None:
            raise error
        return answer

    def refresh(self, token: str | None = None, *, timeout: float = 30.0) -> None:
        """Go on with another token of the same user, on the connection that there is.

        Without one, the client's function is asked again. With another user's token it connects
        anew. Raises ClientError when the server refuses the token.
        """
        if token is not None:
            self._credentials.replace(token)
        token = self._credentials.token()
        link = self._session.link
        if token is None or link is None:
            return  # the next connection says it
        try:
            self.ask("refresh", {"token": token}, timeout=timeout)
        except ClientError as error:
            if error.code == "forbidden":
                link.abort()
            raise
        if self._credentials.is_renewable:
            self._renewal.plan(token)

    def close(self, timeout: float = 10.0) -> bool:
        """Stop handling, wait until what was handled is confirmed, disconnect, end the threads.

        False: time was up before that; what is not confirmed will be delivered again. From inside
        a handler it returns False at once, and the client closes when the handler has returned.
        """
        with self._session.changed:
            self._session.is_closing = True
            self._dispatcher.clear()
        if threading.current_thread() is self._dispatcher.thread:
            threading.Thread(target=self._end, args=(timeout,), name="pubsub-close").start()
            return False
        return self._end(timeout)

    def _end(self, timeout: float) -> bool:
        session = self._session
        deadline = session.clock() + timeout
        self._dispatcher.thread.join(timeout)
        with session.changed:
            is_done = self._dispatcher.is_confirmed and not self._dispatcher.thread.is_alive()
            session.is_ended = True
            link = session.link
            session.changed.notify_all()
        session.calls.end(closed())
        if link is not None:
            link.abort()
        for thread in self._threads:
            thread.join(max(1.0, deadline - session.clock()))
            if thread.is_alive():
                logger.warning("%s did not end in time", thread.name)
        return is_done

    def send(self, event: str, body: str, on_answer: OnAnswer) -> int:
        """Send an event, again on each new connection until it is answered or forgotten.

        `on_answer` runs in the thread that reads and must not wait. Raises ClientError once closed.
        """
        return self._session.calls.send(event, body, on_answer, is_kept=True)

    def forget(self, call_id: int) -> None:
        self._session.calls.forget(call_id)

    def _ask(self, event: str, body: str, deadline: float) -> Mapping[str, Any]:
        """Send an event and wait for its answer, over as many connections as it takes."""
        answers: list[Mapping[str, Any]] = []
        is_answered = threading.Event()

        def keep(answer: Mapping[str, Any]) -> None:
            answers.append(answer)
            is_answered.set()

        call_id = self.send(event, body, keep)
        if not is_answered.wait(max(0.0, deadline - self._session.clock())):
            self.forget(call_id)
            if not answers:
                raise no_answer(event)
        return answers[0]

    def _tell_error(self, error: Exception) -> None:
        self._dispatcher.tell_error(error)
