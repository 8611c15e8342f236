"""What is subscribed to and how far it has come: where to resume, and what was seen before.

Plain state, without threads or sockets; the client calls it under its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..model import is_pattern, matches
from .values import After, Received, Start

Handler = Callable[[Received], object]


class Place:
    """How far one topic has come.

    By position: everything through `position` was accepted. By consumption: `seen` was accepted
    and is not known to be recorded as consumed, so the server may send it again; `position` is
    the highest that the last replay brought, which was not all there is if it `is_partial`.
    """

    __slots__ = (
        "failures",
        "has_progressed",
        "is_partial",
        "is_stuck",
        "position",
        "recorded",
        "seen",
    )

    def __init__(self, position: int) -> None:
        self.position = position
        self.seen: set[int] = set()
        self.recorded: set[int] = set()
        self.is_partial = False
        self.is_stuck = False
        self.has_progressed = False
        self.failures = 0


class Track:
    """One topic or pattern with its handler; its siblings were asked for in the same call.

    While `is_paused` what comes is let go: it is asked for again by the next join.
    """

    def __init__(self, wanted: str, handler: Handler, start: Start | None) -> None:
        self.wanted = wanted
        self.handler = handler
        self.start = start
        self.starts: dict[str, Start] = {}
        self.siblings: Sequence[Track] = ()
        self.epoch: str | None = None
        self.places: dict[str, Place] = {}
        self.is_paused = True
        self.is_joining = False
        self.is_settled = False
        self.failure: Exception | None = None

    @property
    def is_by_consumption(self) -> bool:
        return self.start == "consumed"

    @property
    def needs_join(self) -> bool:
        return not self.is_joining and (
            self.is_paused or any(place.is_partial for place in self.places.values())
        )

    def after(self) -> dict[str, Start]:
        """Where the next join begins, as the `after` of the protocol."""
        if self.epoch is None:
            return self.starts | ({} if self.start is None else {self.wanted: self.start})
        if not self.is_by_consumption:
            # A topic that came since, under a pattern, is wanted from its first message on.
            new: dict[str, Start] = {self.wanted: 0} if is_pattern(self.wanted) else {}
            return new | {topic: place.position for topic, place in self.places.items()}
        unconsumed: dict[str, Start] = {self.wanted: "consumed"}
        return unconsumed | {
            topic: place.position for topic, place in self.places.items() if place.is_stuck
        }

    def begin_round(self) -> None:
        """All that a partial replay brought is done with; ask for the next part.

        Where all of it was given up, the same would come for ever: go on behind it.
        """
        for place in self.places.values():
            is_fruitless = place.failures > 0 and not place.has_progressed
            place.is_stuck = place.is_partial and is_fruitless and not self.is_paused

    def joined(self, epoch: str, answer: Mapping[str, Any]) -> list[str]:
        """The server says where its replay begins; the topics that it cannot recover."""
        is_new_log = self.epoch not in (None, epoch)
        unrecovered = dict.fromkeys(self.places) if is_new_log else {}
        if is_new_log:
            self.places = {}
        topics = answer.get("topics") or []
        for each in topics if is_pattern(self.wanted) else [answer]:
            if not self._begin(each):
                unrecovered[each["topic"]] = None
        self.epoch = epoch
        self.is_paused = False
        return list(unrecovered)

    def _begin(self, answer: Mapping[str, Any]) -> bool:
        """Whether a topic's replay brings all that was missed, now or with the next rounds."""
        is_whole = bool(answer["recovered"])
        begin = int(answer["sequence"]) - int(answer["replayed"])
        new = Place(0 if self.is_by_consumption else begin)
        place = self.places.setdefault(answer["topic"], new)
        was_stuck, place.is_stuck = place.is_stuck, False
        place.has_progressed, place.failures = False, 0
        if self.is_by_consumption and not was_stuck:
            place.position = 0
            # Not whole means that one replay has no room for all that was not consumed.
            place.is_partial = not is_whole
            return True
        place.is_partial = False
        if not is_whole:
            place.position = begin
        return is_whole

    def accept(self, message: Received) -> bool:
        """Whether a message is new here; from then on it is not."""
        place = self.places.get(message.topic)
        if place is None:
            place = self.places[message.topic] = Place(message.sequence - 1)
        if not self.is_by_consumption:
            is_new = message.sequence > place.position
        else:
            # What is live comes after what one replay had no room for: the next join brings it.
            is_new = message.sequence not in place.seen and not (
                place.is_partial and not message.replayed
            )
            if is_new:
                place.seen.add(message.sequence)
        place.position = max(place.position, message.sequence) if is_new else place.position
        return is_new

    def recorded(self, topic: str, sequence: int) -> None:
        """The server knows that this was consumed. A replay may have been read before it did."""
        place = self.places.get(topic)
        if place is not None and sequence in place.seen:
            place.has_progressed = True
            if self.is_joining:
                place.recorded.add(sequence)
            else:
                place.seen.discard(sequence)

    def gave_up(self, topic: str, sequence: int) -> None:
        """This was not consumed and will not be; the next join may bring it again."""
        place = self.places.get(topic)
        if place is not None:
            place.failures += 1
            place.seen.discard(sequence)

    def left_unconsumed(self, topic: str) -> None:
        """A message was handled and stays unconsumed: go on behind what was replayed."""
        place = self.places.get(topic)
        if place is not None:
            place.failures += 1

    def settle(self) -> None:
        """The replay is through."""
        self.is_joining = False
        self.is_settled = True
        for place in self.places.values():
            place.seen -= place.recorded
            place.recorded.clear()


class Tracks:
    """All subscriptions of a client; no two of them want the same topic."""

    def __init__(self) -> None:
        self._by_name: dict[str, Track] = {}
        self._patterns: list[Track] = []

    def __iter__(self) -> Iterator[Track]:
        return iter(list(self._by_name.values()))

    def add(self, topics: Sequence[str], handler: Handler, after: After) -> list[Track]:
        """Begin to want topics. Raises ValueError, and then none is wanted."""
        tracks = []
        for topic in dict.fromkeys(topics):
            other = next((name for name in self._by_name if _overlap(name, topic)), None)
            if other is not None:
                raise ValueError(f"{topic!r} overlaps {other!r}, which has a handler already")
            start = after.get(topic) if isinstance(after, Mapping) else after
            track = Track(topic, handler, start)
            if isinstance(after, Mapping):
                track.starts = {t: s for t, s in after.items() if matches(topic, t)}
                if start != "consumed" and "consumed" in track.starts.values():
                    raise ValueError(f'"consumed" is for all of {topic!r} or for none of it')
            tracks.append(track)
        if not tracks:
            raise ValueError("Name at least one topic")
        for track in tracks:
            track.siblings = tracks
        self._by_name |= {track.wanted: track for track in tracks}
        self._patterns += [track for track in tracks if is_pattern(track.wanted)]
        return tracks

    def remove(self, tracks: Iterable[Track]) -> None:
        for track in tracks:
            if self._by_name.get(track.wanted) is track:
                del self._by_name[track.wanted]
        self._patterns = [t for t in self._patterns if t.wanted in self._by_name]

    def named(self, wanted: str) -> Track | None:
        return self._by_name.get(wanted)

    def covering(self, topic: str) -> Track | None:
        """The subscription that a topic's messages belong to."""
        track = self._by_name.get(topic)
        if track is not None:
            return track
        return next((t for t in self._patterns if matches(t.wanted, topic)), None)

    def disconnected(self) -> None:
        for track in self._by_name.values():
            track.is_paused = True
            track.is_joining = False


def _overlap(one: str, other: str) -> bool:
    """Whether some topic belongs to both."""
    if not is_pattern(one):
        return matches(other, one)
    if not is_pattern(other):
        return matches(one, other)
    return one.startswith(other[:-1]) or other.startswith(one[:-1])
