"""Subscribing on a connection: the first time, after a reconnect, and after falling behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .calls import ignore
from .confirmations import AGAIN
from .session import Session, closed
from .tracks import Track
from .values import ClientError, error_of


class Joining:
    """Keeps the server's subscriptions equal to the client's."""

    def __init__(self, session: Session, tell_error: Callable[[Exception], None]) -> None:
        self._session = session
        self._tell_error = tell_error
        self._not_before = 0.0
        self._refusals = 0

    def join(self, tracks: Sequence[Track], *, is_again: bool = False) -> None:
        """Subscribe what is not being subscribed already; without a connection, the next one does.

        Joining again on a connection leaves first: only a fresh join has no gap between what is
        replayed and what is live.
        """
        session = self._session
        with session.changed:
            link = session.link
            if link is None:
                return
            wanted = [t for t in tracks if session.tracks.named(t.wanted) is t]
            joining = [track for track in wanted if track.needs_join]
            for track in joining:
                track.is_joining = True
                if is_again:
                    track.begin_round()
            requests = [(group, self._request(group)) for group in self._groups(joining)]
        for group, request in requests:
            if is_again:
                session.calls.send("unsubscribe", _topics(group), ignore, only_on=link)
            answered = partial(self._on_answer, group)
            session.calls.send("subscribe", request, answered, only_on=link)

    def idle(self) -> Callable[[], None] | float | None:
        """Nothing is queued any more: what fell behind can be joined again, at once or later."""
        session = self._session
        again = [track for track in session.tracks if track.needs_join]
        if not again or session.link is None:
            return None
        if session.clock() < self._not_before:
            return self._not_before
        return partial(self._join_again, again)

    def leave(self, tracks: Sequence[Track]) -> None:
        session = self._session
        with session.changed:
            session.tracks.remove(tracks)
            link = session.link
        if link is not None and tracks:
            session.calls.send("unsubscribe", _topics(tracks), ignore, only_on=link)

    def wait(self, tracks: Sequence[Track], timeout: float) -> None:
        """Wait until all are joined. Raises ClientError."""
        session = self._session

        def is_over() -> bool:
            return session.is_closing or all(t.is_settled or t.failure for t in tracks)

        with session.changed:
            is_in_time = session.changed.wait_for(is_over, timeout)
            failure = next((track.failure for track in tracks if track.failure), None)
            if failure is not None:
                raise failure
            if session.is_closing:
                raise closed()
        if not is_in_time:
            raise ClientError("timeout", "The server did not answer `subscribe` in time")

    def refuse(self, error: ClientError) -> None:
        """There will be no connection for now: whoever waits to subscribe hears why."""
        with self._session.changed:
            self._fail([t for t in self._session.tracks if not t.is_settled], error)

    def _join_again(self, tracks: Sequence[Track]) -> None:
        try:
            self.join(tracks, is_again=True)
        except ClientError as error:
            if error.code != "closed":
                raise

    def _groups(self, tracks: Sequence[Track]) -> list[list[Track]]:
        """What is asked for at once: what a caller did, without a name one topic at a time.

        So a topic that is refused takes down only what was asked for together with it.
        """
        if self._session.consumer is None:
            return [[track] for track in tracks]
        groups: dict[int, list[Track]] = {}
        for track in tracks:
            groups.setdefault(id(track.siblings), []).append(track)
        return list(groups.values())

    def _request(self, tracks: Sequence[Track]) -> str:
        after: dict[str, Any] = {}
        for track in tracks:
            after |= track.after()
        request: dict[str, Any] = {"after": after, "epoch": self._session.epoch}
        if self._session.consumer is None:
            return json.dumps(request | {"channel": tracks[0].wanted})
        named = {"consumer": self._session.consumer, "topics": [t.wanted for t in tracks]}
        return json.dumps(named | request)

    def _on_answer(self, tracks: Sequence[Track], answer: Mapping[str, Any]) -> None:
        """In the reading thread: the replay is on its way, or the server refused."""
        session = self._session
        error = error_of(answer)
        with session.changed:
            for track in tracks:
                track.is_joining = False
            if error is None:
                self._refusals = 0
                for track in tracks:
                    track.settle()
            elif error.code in AGAIN:
                self._refusals += 1
                self._not_before = session.clock() + session.backoff.delay(self._refusals)
            else:
                if any(track.is_settled for track in tracks):
                    self._tell_error(error)
                self._fail(tracks, error)
            session.changed.notify_all()

    def _fail(self, tracks: Sequence[Track], error: ClientError) -> None:
        self._session.tracks.remove(tracks)
        for track in tracks:
            track.failure = error
        self._session.changed.notify_all()


def _topics(tracks: Sequence[Track]) -> str:
    return json.dumps({"topics": [track.wanted for track in tracks]})
