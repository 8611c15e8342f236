"""Votes on suggestions. Each change is a message on `suggestions:votes` with the new counts."""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec
from msgspec import Raw

from .bodies import read_object
from .broker import Broker
from .channels import VOTES
from .identity import Identity
from .model import Tally, Vote
from .wire import Subscribe, check_name, encode, parse_subscribe, raw_fields


class Ballot(msgspec.Struct, frozen=True):
    """A vote as it is sent: 0 takes it back. `user` counts only where no token says who it is."""

    value: Literal[1, 0, -1]
    user: str | None = None


class Votes:
    """The use cases."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def cast(self, identity: Identity, voter: str, suggestion_id: str, value: int) -> Tally:
        """Set a user's vote, in place of the one before; how the suggestion stands then.

        Raises Forbidden, RateLimited, Unavailable.
        """
        check_name(suggestion_id, "suggestion_id")
        vote = Vote(suggestion_id, check_name(voter, "user"), value, uuid.uuid4().hex)
        return self._broker.vote(identity, vote)

    def tally(self, identity: Identity, suggestion_id: str) -> Tally:
        """How a suggestion stands. Raises Forbidden."""
        identity.check_subscribe(VOTES)
        check_name(suggestion_id, "suggestion_id")
        return self._broker.readers.read(lambda reader: reader.tally(suggestion_id))


def parse_ballot(body: bytes) -> Ballot:
    """`{value, user?}`. Raises Invalid."""
    wrong = "`value` must be 1, -1, or 0 to take the vote back"
    return read_object(body, Ballot, wrong)


def parse_wanted(body: bytes) -> Subscribe:
    """`{consumer?, after?, epoch?}`, or nothing. Raises Invalid."""
    is_empty = body.strip() in (b"", b"null")
    fields = {} if is_empty else raw_fields(body, "subscribe:suggestions")
    kept = {name: fields[name] for name in ("consumer", "after", "epoch") if name in fields}
    return parse_subscribe(encode({"channel": Raw(encode(VOTES)), **kept}))
