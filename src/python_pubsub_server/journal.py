"""Group commit: what waits while one transaction commits goes into the next one together.

The journal belongs to the event loop; the writer to the one native thread that it commits in.
A transaction is finished in order: delivered first, then answered, and only then is the next one
started, so that nobody is told of a message that the log does not hold.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from operator import attrgetter
from typing import Protocol, TypeVar

from . import logs
from .clock import LogClock
from .errors import RequestError, Unavailable
from .metrics import Metrics
from .model import Claim, Draft, Interest, Loss, Published, Resent, SpanEnd, SpanStart, Tally, Vote
from .runtime import NativeThreads, Runtime
from .storage.database import Batch, Committed, Here, WriteFailed, Writer

MAX_BATCH = 4_096
MAX_BATCH_BYTES = 2**20
CLAIMS_AT_ONCE = 256  # in a transaction: some milliseconds, which a publish may have to wait for
MAX_WAITING = 100_000
MAX_WAITING_BYTES = 128 * 2**20
ANSWER_TIMEOUT = 60.0
FAILURE_SECONDS = 5.0

LONG_TURN_SECONDS = 0.002  # of a delivery
GATHER_SECONDS = 0.0005

T = TypeVar("T")

_number = attrgetter("number")

# A way to wait: calls what it is given when it is time to go on.
Pause = Callable[[Callable[[], object]], object]

Upkeep = Callable[[int | None, BaseException | None], None]


class Entry:
    """One request's share of a transaction: all of it is stored, or nothing.

    `then` is called on the event loop with what became of it, or with the refusal.
    """

    __slots__ = (
        "arrived_at",
        "claims",
        "deliveries",
        "drafts",
        "interests",
        "items",
        "number",
        "size",
        "then",
        "votes",
    )

    def __init__(
        self,
        then: Callable[[Committed | RequestError], None],
        *,
        drafts: Sequence[Draft] = (),
        claims: Sequence[Claim] = (),
        interests: Sequence[Interest] = (),
        deliveries: Sequence[SpanStart | SpanEnd | Resent | Loss] = (),
        votes: Sequence[Vote] = (),
    ) -> None:
        self.then = then
        self.votes = votes
        self.deliveries = deliveries
        self.drafts = drafts
        self.claims = claims
        self.interests = interests
        self.arrived_at = 0.0
        self.number = 0
        self.size = sum([memoryview(draft.message).nbytes for draft in drafts]) if drafts else 0
        self.items = len(drafts) + len(claims) + len(interests) + len(deliveries) + len(votes)

    @property
    def is_publish(self) -> bool:
        """Whether it is nothing but messages and votes."""
        return len(self.drafts) + len(self.votes) == self.items > 0

    @property
    def is_claim(self) -> bool:
        """Whether it is nothing but confirmations."""
        return len(self.claims) == self.items > 0


class Listener(Protocol):
    """Who hears of every commit, on the event loop, before its publishers are answered."""

    def committed(self, batch: Batch, outcome: Committed) -> Iterator[Pause] | None:
        """Deliver a batch. What cannot be done in one turn of the loop goes on with each `next`."""


class Journal:
    """Puts entries into transactions in the order of their arrival.

    Publishes alone may overtake confirmations, of which a transaction takes so few that nobody
    waits long for it. Nothing else overtakes anything.

    Bounded: past 100,000 waiting items or 128 MiB it refuses with Unavailable at once.
    """

    def __init__(
        self,
        writer: Writer,
        runtime: Runtime,
        clock: LogClock,
        listener: Listener,
        here: Callable[[], Here | None] = lambda: None,
        steady: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._started_at = 0.0
        self._here = here
        self._steady = steady
        self._committed_at = 0.0
        self._last_seconds = 0.0  # that the last transaction's delivery took
        self._last_entries = 0
        self._writer = writer
        self._runtime = runtime
        self._clock = clock
        self._listener = listener
        self._thread: NativeThreads = runtime.native_threads(1, "writer")
        self._numbers = count()
        self._waiting: deque[Entry] = deque()
        self._claims: deque[Entry] = deque()  # that wait, apart from what else does
        self._waiting_items = 0
        self._waiting_bytes = 0
        self._is_busy = False
        self._is_closed = False
        self._upkeep: deque[tuple[Callable[[Writer], int], Upkeep]] = deque()
        self._idle = runtime.event()
        self._idle.set()
        self._failure: tuple[str, float] | None = None

    @property
    def is_busy(self) -> bool:
        return self._is_busy

    @property
    def waiting_items(self) -> int:
        """What waits for a transaction."""
        return self._waiting_items

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    @property
    def recent_failure(self) -> str | None:
        """Why the last transaction failed, for some seconds; then the next one has to tell."""
        if self._failure is None or self._clock.now() - self._failure[1] > FAILURE_SECONDS:
            return None
        return self._failure[0]

    def append(self, entry: Entry) -> None:
        """Queue an entry. Raises Unavailable when too much waits already, or when stopping."""
        if self._is_closed:
            raise Unavailable("The server is stopping; try again in a moment")
        if self._waiting_items >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
            raise Unavailable("Too many publishes wait for the disk; slow down and try again")
        if entry.drafts:  # nothing else is stored with the time of its arrival
            entry.arrived_at = self._clock.now()
        entry.number = next(self._numbers)
        (self._claims if entry.is_claim else self._waiting).append(entry)
        self._waiting_items += entry.items
        self._waiting_bytes += entry.size
        if not self._is_busy:
            self._start_soon(was_idle=True)

    def write(
        self,
        *,
        drafts: Sequence[Draft] = (),
        claims: Sequence[Claim] = (),
        interests: Sequence[Interest] = (),
        votes: Sequence[Vote] = (),
    ) -> Committed:
        """Queue an entry and wait until it is committed. Raises RequestError."""
        outcome: list[Committed | RequestError] = []
        is_answered = self._runtime.event()

        def answer(result: Committed | RequestError) -> None:
            outcome.append(result)
            is_answered.set()

        self.append(Entry(answer, drafts=drafts, claims=claims, interests=interests, votes=votes))
        if not is_answered.wait(ANSWER_TIMEOUT):
            raise Unavailable(
                "The disk did not answer in time; it may still store this. Send it again with "
                "the same message_id"
            )
        result = outcome[0]
        if isinstance(result, RequestError):
            raise result
        return result

    def upkeep(self, function: Callable[[Writer], int]) -> int:
        """Run one short step of upkeep in the writer's thread, between two transactions.

        Under load at most one step comes between two transactions. Raises Unavailable when it
        failed; the log has nothing of it then.
        """
        if self._is_closed:
            raise Unavailable("The server is stopping")
        is_done = self._runtime.event()
        outcome: list[tuple[int | None, BaseException | None]] = []

        def answer(result: int | None, error: BaseException | None) -> None:
            outcome.append((result, error))
            is_done.set()

        self._upkeep.append((function, answer))
        if not self._is_busy:
            self._start_upkeep()
        if not is_done.wait(ANSWER_TIMEOUT):
            raise Unavailable("The disk did not answer in time")
        result, error = outcome[0]
        if result is None:
            raise Unavailable(f"Upkeep of the database failed: {error}") from error
        return result

    def close(self, timeout: float) -> None:
        """Refuse what comes, commit what waits, and close the writer."""
        self._is_closed = True
        if not self._idle.wait(timeout):
            self._abandon()
        self._thread.submit(self._writer.close, then=lambda _result, _error: None)
        self._thread.close(timeout)

    def _abandon(self) -> None:
        """Refuse what still waits; the transaction under way ends by itself."""
        refusal = Unavailable("The server stopped before this was stored")
        waiting = sorted([*self._waiting, *self._claims], key=_number)
        self._waiting, self._claims = deque(), deque()
        for entry in waiting:
            self._tell(entry.then, refusal)
        upkeep, self._upkeep = self._upkeep, deque()
        for _, answer in upkeep:
            answer(None, refusal)

    def _start_soon(self, *, was_idle: bool = False) -> None:
        """Start a transaction, at once unless that would split one that could be whole.

        Out of idleness it starts with all that this turn of the loop reads: after the loop stood
        still, what has piled up in the sockets would else wait for the first of it.

        While a large delivery kept the loop, its publishers' next entries have piled up in their
        sockets. The first of them waits half a millisecond for the others, so that they share the
        next delivery too; else every second one would be for a single entry.
        """
        self._is_busy = True
        self._idle.clear()
        if self._last_entries > 1 and self._last_seconds > LONG_TURN_SECONDS:
            self._runtime.after(GATHER_SECONDS, self._start)
        elif was_idle:
            self._runtime.after(0.0, self._start)
        else:
            self._start()

    def _start(self) -> None:
        entries = self._take()
        self._started_at = self._steady()
        self._last_entries = len(entries)
        batch = Batch(
            at=self._clock.now(),
            interests=[interest for entry in entries for interest in entry.interests],
            drafts=[draft for entry in entries for draft in entry.drafts],
            arrived_at=[entry.arrived_at for entry in entries for _ in entry.drafts],
            claims=[claim for entry in entries for claim in entry.claims],
            deliveries=[one for entry in entries for one in entry.deliveries],
            here=self._here(),
            votes=[vote for entry in entries for vote in entry.votes],
        )

        def finish(outcome: Committed | None, error: BaseException | None) -> None:
            self._finish(entries, batch, outcome, error)

        self._thread.submit(self._writer.commit, batch, then=finish)

    def _take(self) -> list[Entry]:
        """The entries of the next transaction: one at least, then as many as the bounds allow."""
        entries: list[Entry] = []
        waiting, claims = self._waiting, self._claims
        while claims and len(entries) < CLAIMS_AT_ONCE:
            entries.append(claims.popleft())
        items = size = 0
        while waiting and (
            not items
            or (items + waiting[0].items <= MAX_BATCH and size + waiting[0].size <= MAX_BATCH_BYTES)
        ):
            if claims and not waiting[0].is_publish and waiting[0].number > claims[0].number:
                break
            entry = waiting.popleft()
            items += entry.items
            size += entry.size
            entries.append(entry)
        entries.sort(key=_number)
        while waiting and entries[-1].number > waiting[0].number:
            claims.appendleft(entries.pop())  # what it confirms may be in what is left
        self._waiting_items -= sum([entry.items for entry in entries])
        self._waiting_bytes -= size
        return entries

    def _finish(
        self,
        entries: list[Entry],
        batch: Batch,
        outcome: Committed | None,
        error: BaseException | None,
    ) -> None:
        self._committed_at = self._steady()
        self._metrics.committed(self._committed_at - self._started_at)
        if outcome is None:
            self._metrics.commit_failed()
            self._refuse(entries, error)
            self._proceed()
        else:
            self._failure = None
            rest = self._tell(self._listener.committed, batch, outcome)
            self._conclude(iter(rest or ()), entries, outcome)

    def _conclude(self, rest: Iterator[Pause], entries: list[Entry], outcome: Committed) -> None:
        """Let what is left of a delivery go on, a turn at a time; then answer and proceed."""
        pause = self._tell(next, rest, None)
        if pause is not None:
            pause(partial(self._conclude, rest, entries, outcome))
            return
        self._answer(entries, outcome)
        self._proceed()

    def _proceed(self, *, was_upkeep: bool = False) -> None:
        """Give the writer its next work."""
        if not was_upkeep:
            self._last_seconds = self._steady() - self._committed_at
        is_waited_for = bool(self._waiting or self._claims)
        if self._upkeep and not (was_upkeep and is_waited_for):
            self._start_upkeep()
        elif is_waited_for:
            self._start_soon()
        else:
            self._is_busy = False
            self._idle.set()

    def _start_upkeep(self) -> None:
        self._is_busy = True
        self._idle.clear()
        function, answer = self._upkeep.popleft()

        def finish(result: int | None, error: BaseException | None) -> None:
            answer(result, error)
            self._proceed(was_upkeep=True)

        self._thread.submit(function, self._writer, then=finish)

    def _answer(self, entries: list[Entry], outcome: Committed) -> None:
        """Give each entry its part of the outcome."""
        drafts = claims = votes = 0
        for entry in entries:
            published: Sequence[Published] = ()
            claimed: Sequence[int | None] = ()
            voted: Sequence[Tally] = ()
            if entry.drafts:
                published = outcome.published[drafts : drafts + len(entry.drafts)]
                drafts += len(entry.drafts)
            if entry.claims:
                claimed = outcome.claimed[claims : claims + len(entry.claims)]
                claims += len(entry.claims)
            if entry.votes:
                voted = outcome.voted[votes : votes + len(entry.votes)]
                votes += len(entry.votes)
            self._tell(entry.then, Committed(published, claimed, voted=voted))

    def _tell(self, hear: Callable[..., T], *facts: object) -> T | None:
        """Call who wants to know; if that fails, the others still hear and the journal goes on."""
        try:
            return hear(*facts)
        except Exception as error:  # noqa: BLE001 - a defect of the callee, told by the log
            logs.event(logging.ERROR, "answer_failed", exception=error)
            return None

    def _refuse(self, entries: list[Entry], error: BaseException | None) -> None:
        if not isinstance(error, WriteFailed):
            logs.event(logging.ERROR, "commit_broken", exception=error)
        self._failure = (str(error), self._clock.now())
        logs.event(logging.ERROR, "commit_failed", reason=str(error), entries=len(entries))
        refusal = Unavailable(f"The database cannot write: {error}; nothing was stored")
        for entry in entries:
            self._tell(entry.then, refusal)
