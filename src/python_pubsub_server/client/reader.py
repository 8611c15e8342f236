"""The thread that connects, again and again, and takes what comes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from .confirmations import AGAIN
from .credentials import Credentials
from .dispatch import Dispatcher
from .joining import Joining
from .link import Answer, Event, Link, LinkLost, shown
from .renewal import Renewal
from .session import Session
from .tracks import Track
from .values import MESSAGE_EVENTS, ClientError, Received, error_of, received

logger = logging.getLogger("pubsub.client")


class Reader:
    """Keeps the client connected until it ends. It never waits for a user's code."""

    def __init__(
        self,
        session: Session,
        dispatcher: Dispatcher,
        joining: Joining,
        credentials: Credentials,
        renewal: Renewal,
        *,
        url: str,
        connect_timeout: float,
    ) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._joining = joining
        self._url = url
        self._place = shown(url)  # for the log
        self._credentials = credentials
        self._renewal = renewal
        self._connect_timeout = connect_timeout
        self._failures = 0
        self.thread = threading.Thread(target=self._run, name="pubsub-reader", daemon=True)

    def _run(self) -> None:
        while not self._session.is_ended:
            try:
                self._converse()
            except LinkLost as error:
                if self._session.is_ended:
                    return
                logger.info("No connection to %s: %s", self._place, error)
            except ClientError as error:
                self._refused(error)
            except Exception:
                logger.exception("%s sent what this client does not understand", self._place)
            self._failures += 1
            delay = self._session.backoff.delay(self._failures)
            with self._session.changed:
                self._session.changed.wait_for(lambda: self._session.is_ended, delay)

    def _converse(self) -> None:
        """Connect, and take what comes until the connection is lost."""
        token = self._credentials.token()
        handshake = self._credentials.handshake(token)
        link = Link(self._url, handshake, self._connect_timeout)
        try:
            if self._credentials.is_renewable:
                self._renewal.plan(token)
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
            session.changed.notify_all()
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

    def _refused(self, error: ClientError) -> None:
        """The server does not want this client: whoever waits for it hears so."""
        logger.info("Refused by %s: %s", self._place, error)
        if self._session.is_ended or error.code in AGAIN:
            return
        self._session.calls.refuse_kept(error)
        self._joining.refuse(error)
        with self._session.changed:
            self._dispatcher.tell_error(error)

    def _take(self, event: Event) -> None:
        if event.name in MESSAGE_EVENTS:
            self._take_message(received(event.name, event.argument), event.size)
        elif event.name == "subscribed":
            self._take_joined(event.argument)
        elif event.name == "error":
            logger.warning("The server reports: %s", event.argument)
            error = error_of(event.argument)
            if error is not None:
                with self._session.changed:
                    self._dispatcher.tell_error(error)

    def _take_answer(self, answer: Answer) -> None:
        if answer.content.get("status") == "ok":
            self._failures = 0
        self._session.calls.answered(answer.call_id, answer.content)

    def _take_message(self, message: Received, size: int) -> None:
        session = self._session
        with session.changed:
            track = session.tracks.covering(message.topic)
            if track is None or session.is_closing:
                return
            if not message.is_stored:
                self._take_passing(track, message, size)
                return
            if track.is_paused:
                return
            if not self._dispatcher.has_room(size):
                # Reading goes on, because answers and pings come on the same connection.
                track.is_paused = True
            elif track.accept(message):
                self._dispatcher.put(track, message, size)

    def _take_passing(self, track: Track, message: Received, size: int) -> None:
        """What is not in the log cannot be asked for again."""
        if self._dispatcher.has_room(size):
            self._dispatcher.put(track, message, size)
        else:
            logger.warning("Too slow for what is said on %s; one was let go", message.topic)

    def _take_joined(self, answer: Mapping[str, Any]) -> None:
        session = self._session
        with session.changed:
            self._dispatcher.connected(answer["epoch"])
            # The server itself joins a user to its notifications, and says so if some are lost;
            # what comes so early comes again, in order, with the subscription of this client.
            is_own = session.consumer in (None, answer["consumer"])
            for joined in answer["topics"]:
                track = session.tracks.named(joined["topic"])
                if track is None:
                    continue
                lost = track.joined(answer["epoch"], joined) if is_own else [joined["topic"]]
                for topic in lost:
                    self._dispatcher.tell_unrecovered(topic)
