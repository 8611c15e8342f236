"""The native thread that takes what other programs add to the stream `pubsub:ingress`.

The nodes are one consumer group, so each entry goes to one of them. It is deleted when it is
committed; until then it stays pending, and another node takes it over if this one dies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import redis
from redis.exceptions import ResponseError

from .bus import HearEntry, Verdict
from .redis_link import FAILURES, connect, pause_after, reason_of

STREAM = "pubsub:ingress"
REJECTED = "pubsub:ingress:rejected"
GROUP = "pubsub-server"
MAX_REJECTED = 1_000
MAX_TOGETHER = 100
BLOCK_SECONDS = 0.5  # how late it hears that it shall stop
CLAIM_SECONDS = 5.0
IDLE_SECONDS = 10.0  # of an entry whose node may be dead, or that could not be stored
ANSWER_SECONDS = 60.0
FORGET_SECONDS = 3_600.0  # of a dead node's name in the group

Entry = tuple[bytes, Mapping[bytes, bytes] | None]


class Round:
    """The entries that are being published, and what has become of them. Filled by the loop."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.verdicts: dict[bytes, tuple[Verdict, str]] = {}
        self.is_over = threading.Event()
        self._left = len(entries)

    def judge(self, entry_id: bytes, verdict: Verdict, reason: str) -> None:
        self.verdicts[entry_id] = (verdict, reason)
        self._left -= 1
        if not self._left:
            self.is_over.set()


class Ingress:
    """`run` is the thread; `hand` calls a function on the loop, `tell` hears what is wrong."""

    def __init__(
        self,
        url: str,
        node_id: str,
        hear: HearEntry,
        hand: Callable[..., None],
        tell: Callable[[str | None], None],
    ) -> None:
        self._url = url
        self._node_id = node_id
        self._hear = hear
        self._hand = hand
        self._tell = tell
        self._is_stopped = threading.Event()
        self._claimed_at = 0.0

    def stop(self) -> None:
        self._is_stopped.set()

    def run(self) -> None:
        failures = 0
        with connect(self._url, "pubsub-server") as client:
            while not self._is_stopped.is_set():
                try:
                    _make_group(client)
                    while not self._is_stopped.is_set():
                        self._take_some(client)
                        failures = 0
                        self._tell(None)
                except FAILURES as error:
                    failures += 1
                    self._tell(reason_of(error, self._url))
                    self._is_stopped.wait(pause_after(failures))

    def _take_some(self, client: redis.Redis) -> None:
        entries = self._claim(client) or self._read(client)
        if entries:
            self._publish(client, entries)

    def _read(self, client: redis.Redis) -> Sequence[Entry]:
        found: Any = client.xreadgroup(
            GROUP,
            self._node_id,
            {STREAM: ">"},
            count=MAX_TOGETHER,
            block=int(BLOCK_SECONDS * 1_000),
        )
        return found[0][1] if found else ()

    def _claim(self, client: redis.Redis) -> Sequence[Entry]:
        """Entries that were taken long ago and not published: by a dead node, or by this one."""
        if time.monotonic() - self._claimed_at < CLAIM_SECONDS:
            return ()
        found: Any = client.xautoclaim(
            STREAM, GROUP, self._node_id, int(IDLE_SECONDS * 1_000), count=MAX_TOGETHER
        )
        entries: Sequence[Entry] = found[1]
        if not entries:  # else there may be more
            self._claimed_at = time.monotonic()
            self._forget_dead(client)
        return entries

    def _forget_dead(self, client: redis.Redis) -> None:
        consumers: Any = client.xinfo_consumers(STREAM, GROUP)
        for consumer in consumers:
            if not consumer["pending"] and consumer["idle"] > FORGET_SECONDS * 1_000:
                client.xgroup_delconsumer(STREAM, GROUP, consumer["name"])

    def _publish(self, client: redis.Redis, entries: Sequence[Entry]) -> None:
        """Have entries published, and strike off the list what was, or never can be."""
        going = Round(entries)
        fields_of = dict(entries)
        for entry_id, fields in entries:
            if fields is None:  # deleted by somebody while it was pending
                going.judge(entry_id, Verdict.PUBLISHED, "")
            else:
                self._hand(self._hear, fields, partial(going.judge, entry_id))
        give_up_at = time.monotonic() + ANSWER_SECONDS
        while not going.is_over.wait(BLOCK_SECONDS) and time.monotonic() < give_up_at:
            if self._is_stopped.is_set():
                break  # what is not judged stays pending, and is recognised when it is repeated
        pipeline = client.pipeline()
        for entry_id, (verdict, reason) in list(going.verdicts.items()):
            if verdict is Verdict.LATER:
                continue
            if verdict is Verdict.REFUSED:
                rejected: dict[Any, Any] = {**(fields_of[entry_id] or {}), "reason": reason}
                pipeline.xadd(REJECTED, rejected, maxlen=MAX_REJECTED, approximate=True)
            pipeline.xack(STREAM, GROUP, entry_id)
            pipeline.xdel(STREAM, entry_id)
        pipeline.execute()


def _make_group(client: redis.Redis) -> None:
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
