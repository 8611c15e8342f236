"""What a subscriber missed: where a topic's replay begins, and whether anything is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .model import Loss, TopicPosition, is_pattern, matches
from .storage.database import Reader
from .wire import After, Subscribe


class Replay(msgspec.Struct, frozen=True):
    """What a subscriber missed of a topic: `count` messages after `after`, up to `last`.

    Of what a consumer has not consumed, `loss` says what retention has taken; then it can miss
    some of what lies between. `live_from`: what follows was published when the subscriber had
    joined already, and is not marked as replayed.
    """

    topic: str
    after: int
    last: int
    count: int
    recovered: bool
    loss: Loss | None = None
    live_from: int | None = None

    @property
    def marked_through(self) -> int:
        return self.last if self.live_from is None else self.live_from - 1


class Plan(msgspec.Struct, frozen=True):
    """Where the log and the wanted topics stand (patterns: each that they cover), what was missed.

    All of one state of the log.
    """

    position: int
    positions: Mapping[str, Sequence[TopicPosition]]
    replays: Mapping[str, Replay]


class Missing:
    """Works out plans. Used in a reader's thread, on one state of the log."""

    def __init__(self, epoch: str, replay_limit: int) -> None:
        self._epoch = epoch
        self._replay_limit = replay_limit

    def is_same_log(self, request: Subscribe) -> bool:
        return request.epoch in (None, self._epoch)

    def plan(self, reader: Reader, request: Subscribe, consumer: str) -> Plan:
        """Where the topics stand, and what must be replayed on which."""
        positions = {
            topic: reader.positions(topic) if is_pattern(topic) else [reader.position(topic)]
            for topic in request.topics
        }
        is_same_log = self.is_same_log(request)
        replays: dict[str, Replay] = {}
        for wanted, found in positions.items():
            for position in found:
                start = start_of(request, wanted, position.topic)
                if start is None or position.topic in replays:
                    continue
                if start == "consumed":
                    replay = self._unconsumed(reader, consumer, position, is_same_log)
                else:
                    replay = self._missed(position, start, is_same_log)
                replays[position.topic] = replay
        return Plan(reader.last_position(), positions, replays)

    def _unconsumed(
        self, reader: Reader, consumer: str, position: TopicPosition, is_same_log: bool
    ) -> Replay:
        """The oldest messages that a consumer has not consumed, as many as one replay may have.

        All of them only if retention took none that it has not been told of.
        """
        limit = self._replay_limit
        count = reader.count_unconsumed(consumer, position.topic, limit + 1)
        loss = reader.loss(consumer, position.topic)
        is_whole = is_same_log and count <= limit and loss.total <= loss.told
        return Replay(
            position.topic,
            position.first - 1,
            position.sequence,
            min(count, limit),
            is_whole,
            loss,
        )

    def _missed(self, position: TopicPosition, start: After, is_same_log: bool) -> Replay:
        """What came after a sequence; where that is too much or trimmed, what is left of it."""
        last, first = position.sequence, position.first
        if isinstance(start, int) and start < 0:  # the last ones, however few there are
            begin = max(first - 1, last + start)
            return Replay(position.topic, begin, last, last - begin, recovered=True)
        if isinstance(start, int) and is_same_log:
            if start > last:  # a sequence that this log never gave
                return Replay(position.topic, last, last, 0, recovered=False)
            wanted = start
        else:
            wanted = first - 1
        begin = max(wanted, first - 1, last - self._replay_limit)
        is_whole = is_same_log and begin == wanted
        return Replay(position.topic, begin, last, last - begin, recovered=is_whole)


def start_of(request: Subscribe, wanted: str, topic: str) -> After | None:
    """Where a topic's replay begins; None: it is only wanted from now on.

    A pattern resumed by its topics' sequences begins at the beginning of those that came since.
    """
    after = request.after
    if not isinstance(after, Mapping):
        return after
    if topic in after:
        return after[topic]
    if wanted in after:
        return after[wanted]
    if is_pattern(wanted) and any(matches(wanted, known) for known in after):
        return "beginning"
    return None
