"""The thread that connects, again and again, and takes what comes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .confirmations import AGAIN
from .dispatch import Dispatcher
from .joining import Joining
from .link import Answer, Event, Link, LinkLost
from .session import Session
from .values import ClientError, Received

logger = logging.getLogger("pubsub.client")

Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None


class Reader:
    """Keeps the client connected until it ends. It never waits for a user's code."""

    def __init__(
        self,
        session: Session,
        dispatcher: Dispatcher,
        joining: Joining,
        *,
        url: str,
        auth: Auth,
        connect_timeout: float,
    ) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._joining = joining
        self._url = url
        self._auth = auth
        self._connect_timeout = connect_timeout
        self._failures = 0
        self.thread = threading.Thread(target=self._run, name="pubsub-reader", daemon=True)

    def _run(self) -> None:
        while not self._session.is_ended:
            try:
                self._converse()
            except LinkLost as error:
                logger.info("No connection to %s: %s", self._url, error)
            except ClientError as error:
                self._refused(error)
            except Exception:
                logger.exception("%s sent what this client does not understand", self._url)
            self._failures += 1
            delay = self._session.backoff.delay(self._failures)
            with self._session.changed:
                self._session.changed.wait_for(lambda: self._session.is_ended, delay)

    def _converse(self) -> None:
        """Connect, and take what comes until the connection is lost."""
        link = Link(self._url, self._credentials(), self._connect_timeout)
        try:
            self._connected(link)
            while True:
                packet = link.read()
                if isinstance(packet, Event):
                    self._take(packet)
                else:
                    self._take_answer(packet)
        finally:
            self._disconnected()
            link.close()

    def _connected(self, link: Link) -> None:
        session = self._session
        session.calls.attach(link)
        with session.changed:
            if session.is_ended:
                raise LinkLost("The client is closed")
            session.link = link
            tracks = [] if session.is_closing else list(session.tracks)
            if not tracks:
                # Nobody will tell the epoch; a wrong message is not confirmed, as its id says.
                self._dispatcher.connected(session.epoch)
        self._joining.join(tracks)

    def _disconnected(self) -> None:
        session = self._session
        with session.changed:
            session.link = None
            session.is_epoch_checked = False
            session.tracks.disconnected()
            self._dispatcher.disconnected()
        session.calls.detach()

    def _credentials(self) -> Mapping[str, Any] | None:
        if not callable(self._auth):
            return self._auth
        try:
            return self._auth()
        except Exception as error:
            raise ClientError("unauthenticated", f"`auth` raised {error!r}") from error

    def _refused(self, error: ClientError) -> None:
        """The server does not want this client: whoever waits for it hears so."""
        logger.info("Refused by %s: %s", self._url, error)
        if self._session.is_ended or error.code in AGAIN:
            return
        self._session.calls.refuse_kept(error)
        self._joining.refuse(error)
        with self._session.changed:
            self._dispatcher.tell_error(error)

    def _take(self, event: Event) -> None:
        if event.name == "message":
            self._take_message(msgspec.convert(event.argument, Received), event.size)
        elif event.name == "subscribed":
            self._take_joined(event.argument)
        elif event.name == "error":
            logger.warning("The server reports: %s", event.argument)

    def _take_answer(self, answer: Answer) -> None:
        if answer.content.get("status") == "ok":
            self._failures = 0
        self._session.calls.answered(answer.call_id, answer.content)

    def _take_message(self, message: Received, size: int) -> None:
        session = self._session
        with session.changed:
            track = session.tracks.covering(message.topic)
            if track is None or track.is_paused or session.is_closing:
                return
            if not self._dispatcher.has_room(size):
                # Reading goes on, because answers and pings come on the same connection.
                track.is_paused = True
            elif track.accept(message):
                self._dispatcher.put(track, message, size)

    def _take_joined(self, answer: Mapping[str, Any]) -> None:
        session = self._session
        with session.changed:
            self._dispatcher.connected(answer["epoch"])
            for joined in answer["topics"]:
                track = session.tracks.named(joined["topic"])
                if track is not None:
                    for topic in track.joined(answer["epoch"], joined):
                        self._dispatcher.tell_unrecovered(topic)
