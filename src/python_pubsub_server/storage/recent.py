"""Which of a batch's drafts repeat a message: the rule of deduplication, whatever the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from msgspec import Raw

from ..model import Draft, Message
from ..wire import canonical


class Recent:
    """The messages that a draft may repeat: stored inside the window, or earlier in the batch.

    The database adds those that it finds by a draft's topic, message id and fingerprint.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._messages: dict[tuple[str, str, int], list[Message]] = {}

    @property
    def is_on(self) -> bool:
        return self._window > 0

    def may_know(self, drafts: Sequence[Draft]) -> bool:
        """Whether one of these may repeat anything; nearly always it can be seen that none does."""
        message_ids = {draft.message_id for draft in drafts}
        return self.is_on and (bool(self._messages) or len(message_ids) < len(drafts))

    def add(self, draft: Draft, message: Message) -> None:
        if self._window > 0:
            key = (draft.topic, draft.message_id, draft.fingerprint)
            self._messages.setdefault(key, []).append(message)

    def add_stored(
        self, draft: Draft, text: str, producer: str, timestamp: float, sequence: int
    ) -> None:
        """Add a message of the log with a draft's topic, message id and fingerprint."""
        self.add(
            draft,
            Message(draft.topic, draft.message_id, Raw(text), producer, timestamp, sequence),
        )

    def add_deleted(
        self, draft: Draft, producer: str, content: bytes, timestamp: float, sequence: int
    ) -> None:
        """Add a message of which only the digest is left, where it is what the draft says."""
        if producer == draft.producer and content == digest(draft.message):
            self.add(
                draft,
                Message(
                    draft.topic, draft.message_id, draft.message, producer, timestamp, sequence
                ),
            )

    def earlier(self, draft: Draft, at: float) -> Message | None:
        """What this draft repeats. The fingerprint only finds candidates: content is compared."""
        candidates = self._messages.get((draft.topic, draft.message_id, draft.fingerprint), ())
        for message in candidates:
            if (
                message.timestamp >= at - self._window
                and message.producer == draft.producer
                and is_same_json(message.message, draft.message)
            ):
                return message
        return None


def digest(message: Raw) -> bytes:
    """What stands for a content: equal for equal JSON, and for no other that anybody can find."""
    return blake2b(canonical(bytes(message)), digest_size=16).digest()


def is_same_json(one: Raw, other: Raw) -> bool:
    """Whether two JSON texts mean the same, however they are spaced, escaped or ordered."""
    if bytes(one) == bytes(other):
        return True
    # Compared as text: in Python 1 == 1.0 == True, in JSON a boolean is not a number.
    return _canonical(one) == _canonical(other)


def _canonical(text: Raw) -> str:
    return json.dumps(json.loads(bytes(text)), sort_keys=True)
