"""Votes: one a user and suggestion, counted in the transaction that stores and tells them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from ..channels import VOTES
from ..model import Draft, Tally, Vote
from ..wire import encode, fingerprint
from .database import Batch
from .sql import Connection

PRODUCER = "server"

_COUNTS = "SELECT up, down FROM suggestions WHERE suggestion_id = ?"
_KNOWN = """SELECT voter, value FROM votes
    WHERE suggestion_id = ? AND voter IN (SELECT value FROM json_each(?))"""
_SET_VOTE = """INSERT INTO votes (suggestion_id, voter, value, at) VALUES (?, ?, ?, ?)
    ON CONFLICT (suggestion_id, voter) DO UPDATE SET value = excluded.value, at = excluded.at"""
_SET_COUNTS = """INSERT INTO suggestions (suggestion_id, up, down) VALUES (?, ?, ?)
    ON CONFLICT (suggestion_id) DO UPDATE SET up = excluded.up, down = excluded.down"""


def read_tally(connection: Connection, suggestion_id: str) -> Tally:
    up, down = connection.execute(_COUNTS, (suggestion_id,)).fetchone() or (0, 0)
    return Tally(suggestion_id, up - down, up, down)


def with_votes(connection: Connection, batch: Batch) -> tuple[Batch, Sequence[Tally]]:
    """Store a batch's votes; the batch with the drafts that tell of them, and their tallies."""
    if not batch.votes:
        return batch, ()
    tallies, drafts = _cast(connection, batch.votes, batch.at)
    told = msgspec.structs.replace(
        batch,
        drafts=[*batch.drafts, *drafts],
        arrived_at=[*batch.arrived_at, *(batch.at for _ in drafts)],
    )
    return told, tallies


def _cast(
    connection: Connection, votes: Sequence[Vote], at: float
) -> tuple[list[Tally], list[Draft]]:
    counts, known = _read(connection, votes)
    changed: dict[tuple[str, str], int] = {}
    tallies: list[Tally] = []
    drafts: list[Draft] = []
    for vote in votes:
        key = (vote.suggestion_id, vote.voter)
        before = known.get(key, 0)
        tally = counts[vote.suggestion_id]
        if vote.value != before:
            changed[key] = known[key] = vote.value
            up = tally.up + (vote.value == 1) - (before == 1)
            down = tally.down + (vote.value == -1) - (before == -1)
            tally = counts[vote.suggestion_id] = Tally(vote.suggestion_id, up - down, up, down)
            drafts.append(_told(vote, tally))
        tallies.append(tally)
    if changed:
        connection.executemany(_SET_VOTE, [(*key, value, at) for key, value in changed.items()])
        rows = [(s, counts[s].up, counts[s].down) for s in {s: None for s, _ in changed}]
        connection.executemany(_SET_COUNTS, rows)
    return tallies, drafts


def _read(
    connection: Connection, votes: Sequence[Vote]
) -> tuple[dict[str, Tally], dict[tuple[str, str], int]]:
    """How the suggestions stand, and what these voters said of them before."""
    voters: dict[str, list[str]] = {}
    for vote in votes:
        voters.setdefault(vote.suggestion_id, []).append(vote.voter)
    counts: dict[str, Tally] = {}
    known: dict[tuple[str, str], int] = {}
    for suggestion_id, names in voters.items():
        counts[suggestion_id] = read_tally(connection, suggestion_id)
        asked = connection.execute(_KNOWN, (suggestion_id, json.dumps(names)))
        known.update({(suggestion_id, voter): value for voter, value in asked.fetchall()})
    return counts, known


def _told(vote: Vote, tally: Tally) -> Draft:
    content = encode(tally)
    print_of_it = fingerprint(PRODUCER, content)
    return Draft(VOTES, vote.message_id, Raw(content), PRODUCER, print_of_it)
