"""How much of the server one client may take: rates of publishing and connecting, new topics.

Whose share something is depends on who it is: a user's, or else an address's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from .auth import is_loopback
from .errors import RateLimited
from .identity import SERVER, Identity
from .metrics import Metrics
from .model import Published
from .runtime import Runtime

if TYPE_CHECKING:
    from .quota import Quota, Shared

MAX_PUBLISHERS = 100_000  # that are remembered; the one unheard of for longest is forgotten
MAX_LOOKS = 32  # for topics, at a time
IPV6_NETWORK = 64  # bits: what one customer gets, and may take any address of


class NewTopics:
    """How many topics each publisher has begun since the server started.

    At its limit a publisher goes on with the topics that there are. Whether there is one is looked
    up when it asks, behind the refusal: its next attempt may succeed.
    """

    def __init__(
        self, limit: int, exists: Callable[[str], bool], runtime: Runtime, max_known: int = 100_000
    ) -> None:
        self._limit = limit
        self._exists = exists
        self._runtime = runtime
        self._max_known = max_known
        self._begun: OrderedDict[str, int] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._looking: set[str] = set()
        self.full: set[str] = set()  # who has reached the limit

    def check(self, identity: Identity, topics: Iterable[str]) -> None:
        """Raises RateLimited for a topic that this publisher may not begin."""
        if holder_of(identity) not in self.full:
            return
        for topic in topics:
            if topic not in self._known:
                self._look(topic)
                raise RateLimited(
                    f"You have begun {self._limit} topics, which is all that you may, and {topic!r}"
                    " seems to be another one",
                    retry_after=1,
                )

    def note(self, identity: Identity, published: Iterable[Published]) -> None:
        """Count the topics that these messages began."""
        begun = sum(each.message.sequence == 1 and not each.duplicate for each in published)
        if not begun or is_exempt(identity):
            return
        holder = holder_of(identity)
        self._begun[holder] = begun = self._begun.get(holder, 0) + begun
        self._begun.move_to_end(holder)
        if begun >= self._limit:
            self.full.add(holder)
        if len(self._begun) > MAX_PUBLISHERS:
            forgotten, _ = self._begun.popitem(last=False)
            self.full.discard(forgotten)

    def _look(self, topic: str) -> None:
        if topic not in self._looking and len(self._looking) < MAX_LOOKS:
            self._looking.add(topic)
            self._runtime.spawn(self._look_up, topic)

    def _look_up(self, topic: str) -> None:
        try:
            if self._exists(topic):
                self._known[topic] = None
                if len(self._known) > self._max_known:
                    self._known.popitem(last=False)
        finally:
            self._looking.discard(topic)


class Limits:
    """All of them. Where nothing is limited, `publishing` and `connecting` are None."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        publishing: Quota | None = None,
        connecting: Quota | None = None,
        topics: NewTopics | None = None,
    ) -> None:
        self._metrics = metrics
        self.publishing = publishing
        self.connecting = connecting
        self.topics = topics
        self.shared: Shared | None = None

    def publish(self, identity: Identity, topics: Collection[str]) -> None:
        """Take a message on each of these topics out of a publisher's share. Raises RateLimited."""
        if self.topics is not None and self.topics.full:
            self._attempt("topics", self.topics.check, identity, topics)
        if self.publishing is not None and identity is not SERVER:
            self._attempt("publish_rate", self.publishing.take, holder_of(identity), len(topics))

    def published(self, identity: Identity, published: Iterable[Published]) -> None:
        """Hear what was stored."""
        if self.topics is not None and any(each.message.sequence == 1 for each in published):
            self.topics.note(identity, published)

    def connect(self, holder: str) -> None:
        """Take a connection out of a share (see `holder_at`). Raises RateLimited."""
        if self.connecting is not None:
            self._attempt("connect_rate", self.connecting.take, holder)

    def close(self, timeout: float) -> None:
        if self.shared is not None:
            self.shared.close(timeout)

    def _attempt(self, limit: str, take: Callable[..., None], *share: Any) -> None:
        try:
            take(*share)
        except RateLimited:
            self._metrics.limited(limit)
            raise


def holder_of(identity: Identity) -> str:
    """Whose share it is: the user's, else that of the address."""
    if identity.subject is not None:
        return f"user:{identity.subject}"
    return holder_at(identity.address)


@lru_cache(1_024)
def holder_at(address: str) -> str:
    """Who is at an address; one who has IPv6 has a whole network of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return f"address:{address}"
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        shift = 128 - IPV6_NETWORK
        return f"address:{IPv6Address(int(parsed) >> shift << shift)}/{IPV6_NETWORK}"
    return f"address:{parsed}"


def is_exempt(identity: Identity) -> bool:
    """Whether it may begin any number of topics: the server, and who is at its own machine
    where nobody says who it is."""
    if identity is SERVER:
        return True
    return identity.subject is None and is_loopback(identity.address)
