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
from .model import Message, Page, matches
from .storage.database import Reader
from .transport.broadcasts import replayed

PAGE = 500
DRAIN_TIMEOUT = 30.0


class Replaying:
    """Brings topics that are held back to the present. A page has `page_bytes` at most."""

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
            piece = [message for message in hold.take(self._page_bytes) if is_wanted(message)]
            is_last = not hold.messages
            if is_last:
                self._hub.release(subscriber, topic)
            send(subscriber, piece)
            last = piece[-1].sequence if piece else last
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
        hold = Hold() if replay.last - cursor < PAGE else None
        while self._has_room(subscriber):
            self._hub.hold_back(subscriber, topic, hold)
            page, position = self._log(topic, cursor)
            if not _wants(subscriber, topic):
                self._hub.release(subscriber, topic)
                return True
            if page is None:
                raise _trimmed(topic)
            send(subscriber, page.messages, replayed_through=replay.marked_through)
            if page.messages:
                cursor = page.messages[-1].sequence
            if not page.is_last:
                hold = None
            elif hold is not None:
                self._feed.settle(position)
                is_live, last = self.hand_over(subscriber, topic, hold, partial(_is_behind, cursor))
                cursor = max(cursor, last)
                if is_live:
                    self._note(subscriber, topic, start, cursor)
                    return True
            if page.is_last or replay.last - cursor < PAGE:
                hold = Hold()
        return False

    def _replay_unconsumed(self, subscriber: Subscriber, replay: Replay) -> int:
        """Send what a consumer has not consumed; the sequence from which the log goes on."""
        if replay.loss is None:
            return replay.after
        consumer = replay.loss.consumer
        start: int | None = None
        cursor, left = replay.after, replay.count
        is_trimmed = is_end = False
        while left and self._has_room(subscriber):
            first, page = self._unconsumed(consumer, replay, cursor, left)
            if not _wants(subscriber, replay.topic):
                break
            is_trimmed = is_trimmed or first > cursor + 1
            send(subscriber, page.messages, replayed_through=replay.marked_through)
            if page.messages:
                start = page.messages[0].sequence - 1 if start is None else start
                cursor = page.messages[-1].sequence
                left -= len(page.messages)
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

    def _unconsumed(self, consumer: str, replay: Replay, after: int, left: int) -> tuple[int, Page]:
        """The first sequence that is retained, and what was not consumed behind another."""

        def read(reader: Reader) -> tuple[int, Page]:
            return reader.position(replay.topic).first, reader.unconsumed(
                consumer, replay.topic, after, replay.last, min(left, PAGE), self._page_bytes
            )

        return self._readers.read(lambda reader: reader.snapshot(read))

    def _log(self, topic: str, after: int) -> tuple[Page | None, int]:
        """What follows a sequence (None: retention has deleted some of it by now).

        And the position that the log reached to then.
        """

        def read(reader: Reader) -> tuple[Page | None, int]:
            position = reader.last_position()
            if reader.position(topic).first > after + 1:
                return None, position
            return reader.log(topic, after, PAGE, self._page_bytes), position

        return self._readers.read(lambda reader: reader.snapshot(read))

    def _has_room_for_more(self, subscriber: Subscriber) -> bool:
        """As below, but a piece that waits already is no reason to wait."""
        is_empty = subscriber.connection.backlog <= self._page_bytes
        return is_empty or self._has_room(subscriber)

    def _has_room(self, subscriber: Subscriber) -> bool:
        """Wait until a subscriber can take a page; one that stays full is closed as slow."""
        if subscriber.is_gone:
            return False
        if subscriber.connection.wait_drained(DRAIN_TIMEOUT):
            return not subscriber.is_gone
        subscriber.connection.close("slow")
        return False


def _is_behind(sequence: int, message: Message) -> bool:
    return message.sequence > sequence


def _wants(subscriber: Subscriber, topic: str) -> bool:
    return any(matches(wanted, topic) for wanted in subscriber.subscriptions)


def _trimmed(topic: str) -> Unavailable:
    return Unavailable(f"The topic {topic!r} was trimmed while it was replayed; subscribe again")


def send(subscriber: Subscriber, messages: Sequence[Message], *, replayed_through: int = 0) -> None:
    """Send messages to one subscriber, those up to a sequence marked as replayed."""
    for broadcast in replayed(messages, replayed_through):
        subscriber.connection.send(broadcast)
