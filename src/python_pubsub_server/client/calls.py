"""Events on their way to the server, until they are answered; some outlive the connection."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .link import Link, LinkLost
from .values import ClientError

OnAnswer = Callable[[Mapping[str, Any]], None]


class Call:
    """An event that waits for its answer."""

    __slots__ = ("body", "call_id", "event", "is_kept", "on_answer")

    def __init__(
        self, call_id: int, event: str, body: str, on_answer: OnAnswer, is_kept: bool
    ) -> None:
        self.call_id = call_id
        self.event = event
        self.body = body
        self.on_answer = on_answer
        self.is_kept = is_kept


class Calls:
    """The unanswered events of a client. Thread-safe.

    What is kept goes out again, unchanged and in its order, on each new connection, and before what
    is newer; the rest is forgotten with the connection. `on_answer` runs in the thread that reads
    and must not wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # of who emits; held while the socket takes it
        self._ids = itertools.count(1)
        self._waiting: dict[int, Call] = {}
        self._link: Link | None = None
        self._end: ClientError | None = None

    def attach(self, link: Link) -> None:
        """A connection is there: send what waited for one. Raises LinkLost."""
        with self._turn:
            with self._lock:
                self._link = link
                waiting = list(self._waiting.values())
            for call in waiting:
                self._emit(link, call)

    def detach(self) -> None:
        """The connection is gone, and with it what only made sense on it."""
        with self._lock:
            self._link = None
            self._waiting = {i: call for i, call in self._waiting.items() if call.is_kept}

    def send(
        self,
        event: str,
        body: str,
        on_answer: OnAnswer,
        *,
        is_kept: bool = False,
        only_on: Link | None = None,
    ) -> int:
        """Send an event now; what is kept, else with the next connection.

        What makes sense on one connection only is not sent on another. Raises ClientError once
        closed.
        """
        with self._turn:
            with self._lock:
                if self._end is not None:
                    raise self._end
                call = Call(next(self._ids), event, body, on_answer, is_kept)
                link = self._link if only_on in (None, self._link) else None
                if link is not None or is_kept:
                    self._waiting[call.call_id] = call
            if link is not None:
                # The reading thread finds out by itself, and reconnects.
                with contextlib.suppress(LinkLost):
                    self._emit(link, call)
        return call.call_id

    def answered(self, call_id: int, content: Mapping[str, Any]) -> None:
        with self._lock:
            call = self._waiting.pop(call_id, None)
        if call is not None:
            call.on_answer(content)

    def forget(self, call_id: int) -> None:
        with self._lock:
            self._waiting.pop(call_id, None)

    def refuse_kept(self, error: ClientError) -> None:
        """Answer what waits for a connection with the reason why there is none."""
        with self._lock:
            refused = list(self._waiting.values())
            self._waiting.clear()
        for call in refused:
            call.on_answer({"status": "error", "code": error.code, "message": error.message})

    def end(self, error: ClientError) -> None:
        """Refuse everything from now on."""
        with self._lock:
            self._end = error
        self.refuse_kept(error)

    def _emit(self, link: Link, call: Call) -> None:
        try:
            link.emit(call.event, call.body, call.call_id)
        except ClientError as error:
            self.answered(
                call.call_id, {"status": "error", "code": error.code, "message": error.message}
            )


def ignore(_: Mapping[str, Any]) -> None:
    """For events whose answer changes nothing."""
