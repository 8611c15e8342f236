"""Sending a subscriber what it missed, up to the present, without filling its connection.

What was missed is read from the log in pages. Near the present a hold keeps what is published in
the meantime; the last page and the hold meet at a sequence that both know, and from there the
topic is live. Everything here runs in the greenlet of the connection that subscribes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .broker import Broker
from .deliveries import Deliveries
from .errors import Unavailable
from .feed import Feed
from .hub import Hold, Subscriber
from .missed import Replay
from .model import Message, Page, bytes_of, matches
from .storage.database import Reader
from .transport.broadcasts import replayed
from .transport.connection import Broadcast

PAGE = 500
FIRST_PAGE = 50  # until it is known how large the messages are
DRAIN_TIMEOUT = 30.0  # without anything having left


class Replaying:
    """Brings topics that are held back to the present.

    What is sent at once has `page_bytes` at most, or is a single message.
    """

    def __init__(self, broker: Broker, feed: Feed, deliveries: Deliveries, page_bytes: int) -> None:
        self._hub = broker.hub
        self._feed = feed
        self._readers = broker.readers
        self._deliveries = deliveries
        self._page_bytes = page_bytes

    def hand_over(
        self,
        subscriber: Subscriber,
        topic: str,
        hold: Hold,
        is_wanted: Callable[[Message], bool],
    ) -> tuple[bool, int]:
        """Send what a topic or pattern was held back for, then let it be live.

        In pieces, for each of which there is room; the hold goes on until the last one. Says if it
        came to that (else the connection ended, or the hold broke) and the last sequence sent.
        """
        last = 0
        while not hold.is_broken and self._has_room_for_more(subscriber):
            taken = [message for message in hold.take(self._page_bytes) if is_wanted(message)]
            pieces = replayed(taken, 0, self._page_bytes)
            is_last = not hold.messages and self._fits(subscriber, pieces)
            if is_last:  # no waiting from here on, so that nothing live comes before them
                self._hub.release(subscriber, topic)
            for broadcast, size in pieces:
                if not (is_last or self._has_room(subscriber, size)):
                    return False, last
                subscriber.connection.send(broadcast)
            last = taken[-1].sequence if taken else last
            if is_last:
                return True, last
        return False, last

    def catch_up(self, subscriber: Subscriber, replay: Replay) -> bool:
        """Replay a topic up to the present and join it there; False: the connection ended.

        Who leaves the topic meanwhile, or may not have it any more, gets no more of it.

        A page that was the last one while a hold was on it is the present: what came since is in
        the hold. So a hold is begun as soon as the page before it was short.
        """
        topic = replay.topic
        self._hub.hold_back(subscriber, topic, None)
        start = cursor = self._replay_unconsumed(subscriber, replay)
        limit = min(FIRST_PAGE, PAGE)
        hold = Hold() if replay.last - cursor < limit else None
        while self._has_room(subscriber):
            self._hub.hold_back(subscriber, topic, hold)
            page, position = self._log(topic, cursor, limit)
            if not _wants(subscriber, topic):
                self._hub.release(subscriber, topic)
                return True
            if page is None:
                raise _trimmed(topic)
            if not self._send(subscriber, replay, page.messages):
                continue  # to see why
            if page.messages:
                cursor = page.messages[-1].sequence
                limit = self._fitting(page)
            if not page.is_last:
                hold = None
            elif hold is not None:
                self._feed.settle(position)
                is_live, last = self.hand_over(subscriber, topic, hold, partial(_is_behind, cursor))
                cursor = max(cursor, last)
                if is_live:
                    self._note(subscriber, topic, start, cursor)
                    return True
            if page.is_last or replay.last - cursor < limit:
                hold = Hold()
        return False

    def _replay_unconsumed(self, subscriber: Subscriber, replay: Replay) -> int:
        """Send what a consumer has not consumed; the sequence from which the log goes on."""
        if replay.loss is None:
            return replay.after
        consumer = replay.loss.consumer
        start: int | None = None
        cursor, left, limit = replay.after, replay.count, min(FIRST_PAGE, PAGE)
        is_trimmed = is_end = False
        while left and self._has_room(subscriber):
            first, page = self._unconsumed(consumer, replay, cursor, min(left, limit))
            if not _wants(subscriber, replay.topic):
                break
            is_trimmed = is_trimmed or first > cursor + 1
            if not self._send(subscriber, replay, page.messages):
                break
            if page.messages:
                start = page.messages[0].sequence - 1 if start is None else start
                cursor = page.messages[-1].sequence
                left -= len(page.messages)
                limit = self._fitting(page)
            is_end = page.is_last
            if is_end:
                break
        if start is not None:
            self._note(subscriber, replay.topic, start, cursor)
        if is_end and left and is_trimmed:  # or all of it was confirmed elsewhere meanwhile
            raise _trimmed(replay.topic)
        return replay.last

    def _note(self, subscriber: Subscriber, topic: str, after: int, through: int) -> None:
        """Keep for the ledger what was sent from the log."""
        if subscriber.is_named and not subscriber.is_gone and after < through:
            self._deliveries.resent(subscriber.consumer, topic, after, through)

    def _send(self, subscriber: Subscriber, replay: Replay, messages: Sequence[Message]) -> bool:
        """Send a part of a replay, in pieces for each of which there is room.

        False: the connection ended, or left the topic, before the last one.
        """
        for broadcast, size in replayed(messages, replay.marked_through, self._page_bytes):
            if not (self._has_room(subscriber, size) and _wants(subscriber, replay.topic)):
                return False
            subscriber.connection.send(broadcast)
        return True

    def _fitting(self, page: Page) -> int:
        """How many messages to ask for behind a page: twice as many as would fit, if all are alike.

        What does not fit is read in vain: of large messages the log gives only a few at a time.
        """
        size = sum(map(bytes_of, page.messages))
        return min(PAGE, 1 + 2 * self._page_bytes * len(page.messages) // size)

    def _unconsumed(
        self, consumer: str, replay: Replay, after: int, limit: int
    ) -> tuple[int, Page]:
        """The first sequence that is retained, and what was not consumed behind another."""

        def read(reader: Reader) -> tuple[int, Page]:
            return reader.position(replay.topic).first, reader.unconsumed(
                consumer, replay.topic, after, replay.last, limit, self._page_bytes
            )

        return self._readers.read(lambda reader: reader.snapshot(read))

    def _log(self, topic: str, after: int, limit: int) -> tuple[Page | None, int]:
        """What follows a sequence (None: retention has deleted some of it by now).

        And the position that the log reached to then.
        """

        def read(reader: Reader) -> tuple[Page | None, int]:
            position = reader.last_position()
            if reader.position(topic).first > after + 1:
                return None, position
            return reader.log(topic, after, limit, self._page_bytes), position

        return self._readers.read(lambda reader: reader.snapshot(read))

    def _has_room_for_more(self, subscriber: Subscriber) -> bool:
        """As below, but a piece that waits already is no reason to wait."""
        is_empty = subscriber.connection.backlog <= self._page_bytes
        return is_empty or self._has_room(subscriber)

    def _fits(self, subscriber: Subscriber, pieces: Sequence[tuple[Broadcast, int]]) -> bool:
        """Whether there is room for all of these without waiting."""
        backlog = subscriber.connection.backlog
        if backlog + sum(size for _, size in pieces) <= 2 * self._page_bytes:
            return True
        return not backlog and len(pieces) == 1

    def _has_room(self, subscriber: Subscriber, size: int = 0) -> bool:
        """Wait until a subscriber can take so many bytes; one that takes nothing is closed as slow.

        However little it reads at a time, a replay does not outrun it.
        """
        connection = subscriber.connection
        before = connection.backlog
        while not (subscriber.is_gone or connection.wait_drained(DRAIN_TIMEOUT, size)):
            if connection.backlog >= before:
                connection.close("slow")
                return False
            before = connection.backlog
        return not subscriber.is_gone


def _is_behind(sequence: int, message: Message) -> bool:
    return message.sequence > sequence


def _wants(subscriber: Subscriber, topic: str) -> bool:
    return any(matches(wanted, topic) for wanted in subscriber.subscriptions)


def _trimmed(topic: str) -> Unavailable:
    return Unavailable(f"The topic {topic!r} was trimmed while it was replayed; subscribe again")
