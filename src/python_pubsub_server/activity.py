"""How many messages came on which topic, and when: the last minute, hour and day in memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import msgspec

from .model import Message

MAX_TOPICS = 1_000  # of one slot; the messages of further ones count as `others`


class Window(msgspec.Struct, frozen=True):
    """A stretch of time in equal slots; `step` and `length` in seconds."""

    step: int
    length: int


WINDOWS: Mapping[str, Window] = {
    "minute": Window(1, 60),
    "hour": Window(60, 3_600),
    "day": Window(600, 86_400),
}


class TopicActivity(msgspec.Struct, frozen=True):
    """A topic's messages in each slot of a window, the oldest first."""

    topic: str
    counts: Sequence[int]


class ActivityReport(msgspec.Struct, frozen=True, rename={"start": "from"}):
    """A window's slots from the Unix time `start` on; the last one is not over yet.

    `topics` are the busiest ones; `others` counts the messages of all that are not among them.
    """

    start: int
    step: int
    topics: Sequence[TopicActivity]
    others: Sequence[int]


class Slot:
    """The messages of one stretch of time: all of them, and by topic."""

    __slots__ = ("start", "topics", "total")

    def __init__(self, start: int) -> None:
        self.start = start
        self.total = 0
        self.topics: dict[str, int] = {}

    def add(self, topic: str, number: int) -> None:
        self.total += number
        if topic in self.topics:
            self.topics[topic] += number
        elif len(self.topics) < MAX_TOPICS:
            self.topics[topic] = number


class Activity:
    """Counts messages by topic and second, and folds the seconds into longer slots.

    Bounded by its slots and the topics of each. Belongs to the event loop.
    """

    def __init__(self) -> None:
        self._slots: dict[str, deque[Slot]] = {name: deque() for name in WINDOWS}

    def count(self, messages: Sequence[Message], at: float) -> None:
        """Count messages that were committed together, at a time that never goes back."""
        if not messages:
            return
        numbers = Counter([message.topic for message in messages])
        for name, window in WINDOWS.items():
            slot = self._slot(self._slots[name], window, int(at))
            for topic, number in numbers.items():
                slot.add(topic, number)

    def report(self, window_name: str, now: float, limit: int) -> ActivityReport:
        """A window up to now, with its `limit` busiest topics. Raises KeyError."""
        window = WINDOWS[window_name]
        slots = window.length // window.step
        start = int(now) // window.step * window.step - window.length + window.step
        counts: dict[str, list[int]] = {}
        others = [0] * slots
        for slot in self._slots[window_name]:
            index = (slot.start - start) // window.step
            if not 0 <= index < slots:
                continue
            others[index] = slot.total
            for topic, number in slot.topics.items():
                counts.setdefault(topic, [0] * slots)[index] = number
        busiest = sorted(counts, key=lambda topic: (-sum(counts[topic]), topic))[:limit]
        for topic in busiest:
            others = [all_ - own for all_, own in zip(others, counts[topic], strict=True)]
        topics = [TopicActivity(topic, counts[topic]) for topic in busiest]
        return ActivityReport(start, window.step, topics, others)

    @staticmethod
    def _slot(slots: deque[Slot], window: Window, at: int) -> Slot:
        start = at // window.step * window.step
        if not slots or slots[-1].start < start:
            slots.append(Slot(start))
            while slots[0].start <= start - window.length:
                slots.popleft()
        return slots[-1]
