"""Reading a topic's log from outside: pages of it, new messages as they come, and its ledger."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .deliveries import Deliveries
from .errors import NotFound, Unavailable
from .hub import Hub
from .identity import Identity
from .model import Explanation, Ledger, Message
from .runtime import Runtime
from .storage.database import Reader
from .storage.readers import Readers

PAGE_BYTES = 8 * 2**20
MAX_WAITING = 10_000


class HistoryPage(msgspec.Struct, frozen=True):
    """Messages of a topic, oldest first, and where the topic stands."""

    epoch: str
    messages: Sequence[Message]
    sequence: int
    first: int


class History:
    """The use cases of reading a topic. Waiting readers are woken by the hub's deliveries."""

    def __init__(
        self, readers: Readers, hub: Hub, runtime: Runtime, deliveries: Deliveries, epoch: str
    ) -> None:
        self._readers = readers
        self._hub = hub
        self._runtime = runtime
        self._deliveries = deliveries
        self._epoch = epoch

    def page(
        self, identity: Identity, topic: str, after: int, limit: int, wait: float = 0.0
    ) -> HistoryPage:
        """Messages behind a sequence; where there is none, wait up to `wait` seconds for one.

        Raises Forbidden.
        """
        identity.check_subscribe(topic)
        if wait <= 0:
            return self._read(topic, after, limit)
        if self._hub.listeners >= MAX_WAITING:
            raise Unavailable("Too many requests wait for messages already; ask without `wait`")
        with self._hub.bell(topic, self._runtime.event()) as bell:
            page = self._read(topic, after, limit)
            if page.messages or after > page.sequence or not bell.wait(wait):
                return page
        return self._read(topic, after, limit)

    def ledger(self, identity: Identity, topic: str, sequence: int) -> Ledger:
        """Who was sent a message and who consumed it: an admin's to know.

        Raises Forbidden, NotFound.
        """
        identity.check_admin()
        here = self._deliveries.position()
        ledger = self._readers.read(lambda reader: reader.ledger(topic, sequence, here))
        if ledger is None:
            raise NotFound(f"The topic {topic!r} has no message at sequence {sequence}")
        return ledger

    def explain(self, identity: Identity, topic: str, sequence: int, consumer: str) -> Explanation:
        """Why a consumer did or did not get the message at a sequence.

        Who is no admin may ask for its own names only. Raises Forbidden.
        """
        if not identity.rights.admin:
            identity.check_name(consumer, "consumer")
            if not identity.may_subscribe(topic):
                return Explanation("forbidden", None, "Its token does not allow this topic")
        here = self._deliveries.position()
        return self._readers.read(lambda r: r.explain(topic, sequence, consumer, here))

    def _read(self, topic: str, after: int, limit: int) -> HistoryPage:
        def read(reader: Reader) -> HistoryPage:
            position = reader.position(topic)
            page = reader.log(topic, after, limit, PAGE_BYTES)
            return HistoryPage(self._epoch, page.messages, position.sequence, position.first)

        return self._readers.read(lambda reader: reader.snapshot(read))
