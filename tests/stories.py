"""Words that make tests of the storage read as stories."""

from __future__ import annotations

import json
import uuid
import zlib
from typing import Any

from msgspec import Raw

from python_pubsub_server.model import Claim, Draft, Interest, Message, Published, Vote
from python_pubsub_server.storage.database import Batch, Committed, Database, Reader, Writer

ANY_SIZE = 2**40
WINDOW = 120.0  # of deduplication, in seconds


def draft(
    topic: str = "news",
    message_id: str = "m1",
    message: Any = None,
    producer: str = "ann",
    raw: str | None = None,
    fingerprint: int | None = None,
) -> Draft:
    """A draft as the edge makes it: `raw` is the text as written, else it is made of `message`."""
    text = json.dumps(message) if raw is None else raw
    meaning = json.dumps([producer, json.loads(text)], sort_keys=True)
    if fingerprint is None:
        fingerprint = zlib.crc32(meaning.encode())
    return Draft(topic, message_id, Raw(text.encode()), producer, fingerprint)


def content(message: Message) -> Any:
    return json.loads(bytes(message.message))


class Storage:
    """A database with its writer and one reader, spoken to in short sentences."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.writer: Writer = database.writer()
        self.reader: Reader = database.reader()

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def publish(self, *drafts: Draft, at: float = 1000.0) -> list[Published]:
        return list(self.commit(drafts=drafts, at=at).published)

    def claim(self, *claims: Claim, at: float = 2000.0) -> list[int | None]:
        return list(self.commit(claims=claims, at=at).claimed)

    def commit(
        self,
        *,
        drafts: tuple[Draft, ...] = (),
        claims: tuple[Claim, ...] = (),
        interests: tuple[Interest, ...] = (),
        votes: tuple[Vote, ...] = (),
        at: float = 1000.0,
    ) -> Committed:
        return self.writer.commit(
            Batch(at, interests, drafts, [at] * len(drafts), claims, votes=votes)
        )

    def vote(self, *votes: tuple[str, str, int], at: float = 1000.0) -> list[tuple[int, int, int]]:
        """Cast votes, `(suggestion, voter, value)`; the score, up and down after each."""
        committed = self.commit(votes=tuple(Vote(*vote, uuid.uuid4().hex) for vote in votes), at=at)
        return [(tally.score, tally.up, tally.down) for tally in committed.voted]

    def sequences(self, topic: str = "news") -> list[int]:
        return [message.sequence for message in self.log(topic)]

    def log(self, topic: str, after: int = 0, limit: int = 1_000_000) -> list[Message]:
        return list(self.reader.log(topic, after, limit, ANY_SIZE).messages)

    def found(self, text: str | None = None, **filters: Any) -> list[str]:
        """The ids of what `messages` lists, newest first."""
        return [m.message_id for _, m in self.reader.messages(1000, text=text, **filters)]

    def index_all(self) -> None:
        while self.writer.index(100):
            pass
