"""The thread that replaces a token before it ends, so that the connection lives on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .credentials import SHORTEST_SECONDS, Credentials, renewal_delay
from .link import Link
from .session import Session
from .values import ClientError, error_of


class Renewal:
    """Asks for a new token in time and tells the server; fails loudly, and tries again."""

    def __init__(
        self,
        session: Session,
        credentials: Credentials,
        tell_error: Callable[[Exception], None],
        wall: Callable[[], float],
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._tell_error = tell_error
        self._wall = wall
        self._due: float | None = None
        self._failures = 0
        self.thread = threading.Thread(target=self._run, name="pubsub-token", daemon=True)

    def plan(self, token: str | None) -> None:
        """The server was told this token."""
        delay = None if token is None else renewal_delay(token, self._wall())
        with self._session.changed:
            self._failures = 0
            self._due = None if delay is None else self._session.clock() + delay
            self._session.changed.notify_all()

    def _run(self) -> None:
        while (link := self._next_link()) is not None:
            try:
                self._renew(link)
            except ClientError as error:
                self._failed(error)

    def _next_link(self) -> Link | None:
        """The connection whose token is to be replaced now, once there is one; None at the end."""
        session = self._session
        with session.changed:
            while not session.is_ended:
                wait = None
                if session.link is not None and self._due is not None:
                    wait = self._due - session.clock()
                    if wait <= 0:
                        self._due = None
                        return session.link
                session.changed.wait(wait)
        return None

    def _renew(self, link: Link) -> None:
        token = self._credentials.token()
        if token is None:
            return
        answered = partial(self._answered, link, token)
        body = json.dumps({"token": token})
        self._session.calls.send("refresh", body, answered, only_on=link)

    def _answered(self, link: Link, token: str, answer: Mapping[str, Any]) -> None:
        """In the reading thread: the server took the token, or not."""
        error = error_of(answer)
        if error is None:
            self.plan(token)
            return
        if error.code == "forbidden":  # another user's, for example; it may come in anew
            link.abort()
        elif error.code != "invalid":  # a server that knows no tokens
            self._failed(error)

    def _failed(self, error: ClientError) -> None:
        session = self._session
        if session.is_ended:
            return
        with session.changed:
            self._failures += 1
            delay = SHORTEST_SECONDS + session.backoff.delay(self._failures)
            self._due = session.clock() + delay
            self._tell_error(error)
            session.changed.notify_all()
