"""What the nodes of one log say to each other, and how a bus is opened by its URL.

The log is the truth and the bus only wakes: whatever it loses is found in the log. So nothing here
waits for an answer, and what cannot be said is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from ..errors import ConfigurationError
from ..model import Message
from ..runtime import Runtime

# The first and the last position of a commit, and its messages; None: they are in the log.
Hear = Callable[[int, int, Sequence[Message] | None], None]
HearChannel = Callable[[str, bytes], None]


class Verdict(Enum):
    """What became of an entry that another program left with the bus."""

    PUBLISHED = "published"
    REFUSED = "refused"  # it will never be good
    LATER = "later"


# The fields of an entry, and who is told of its verdict (with a reason), at once or later.
HearEntry = Callable[[Mapping[bytes, bytes], Callable[[Verdict, str], None]], None]


class BusFailed(Exception):
    """The bus could not do what was asked. The text says why."""


class Card(msgspec.Struct, frozen=True):
    """What a node shows of itself: some facts, and who is connected to it.

    `clients` need not be read again while the version stays the same.
    """

    node_id: str
    facts: bytes
    version: str
    clients: bytes


class Bus(Protocol):
    """Belongs to the event loop; `exchange` and `withdraw` to a native thread."""

    is_shared: bool  # whether other nodes can be there at all

    @property
    def failure(self) -> str | None:
        """Why the bus does not work now; then nobody hears and the log has to be looked at."""

    def on_channel(self, pattern: str, hear: HearChannel) -> None:
        """Hear what anybody publishes on a channel, or on those with a prefix (`cluster:*`).

        At most once each. To be said before the start; patterns must not cover each other.
        """

    def on_entry(self, hear: HearEntry) -> None:
        """Take what other programs leave to be published, each entry on one node. Before start."""

    def start(self, hear: Hear, changed: Callable[[], None]) -> None:
        """Hear what other nodes commit, and of each change of `failure`.

        Waits a moment for the connection, so that a node normally starts with a working bus.
        """

    def announce(self, first: int, last: int, messages: Sequence[Message] | None) -> None:
        """Tell the other nodes what this one committed."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Tell everybody on a channel, this node included; this one alone while the bus is away."""

    def exchange(self, card: Card) -> Sequence[Card]:
        """Show one's card for some seconds, and see those of the other nodes that are there.

        Raises BusFailed. May wait, so never call it on the event loop.
        """

    def withdraw(self, node_id: str) -> None:
        """Take one's card back at once. Raises BusFailed; may wait as well."""

    def close(self, timeout: float) -> None: ...


def open_bus(url: str | None, *, log_id: str, node_id: str, runtime: Runtime) -> Bus:
    """The bus at a URL (`redis://HOST:PORT/0`); none: the one of a node that is alone.

    Only nodes with the same `log_id` hear each other. Raises ConfigurationError for another kind.
    """
    if url is None:
        from .local import LocalBus

        return LocalBus()
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        from .redis import RedisBus

        return RedisBus(url, log_id=log_id, node_id=node_id, runtime=runtime)
    raise ConfigurationError(f"PUBSUB_REDIS_URL: no bus of the kind {scheme!r}")


def channel_matches(pattern: str, channel: str) -> bool:
    if pattern.endswith("*"):
        return channel.startswith(pattern[:-1])
    return channel == pattern
