"""`POST /publish` and `POST /publish/batch`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from .. import wire
from ..errors import RequestError, Unavailable
from ..journal import ANSWER_TIMEOUT
from ..model import Published
from ..node import Node
from .http import NDJSON, Request, Respond, Response, json_response, refused

OK = Response(b'{"status":"ok"}')
DUPLICATE = Response(b'{"status":"ok","duplicate":true}')
MAX_BATCH_BYTES = 32 * 2**20
PARSED_AT_ONCE_BYTES = 2**16  # a larger batch would hold up the loop while it is read
ENVELOPE_BYTES = 8_192  # what the fields around a message of the largest size may take


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of an item of a batch."""

    message_id: str
    topic: str
    sequence: int
    duplicate: bool


def publish_soon(node: Node, request: Request, respond: Respond) -> None:
    """One message: `ok` once it is committed. Does not wait for that."""
    limit = node.settings.max_message_bytes
    draft = wire.parse_draft(request.json_body(limit), limit)
    wants_all = wants_representation(request.header("Prefer"))

    def answer(outcome: Sequence[Published] | RequestError) -> None:
        if isinstance(outcome, RequestError):
            respond(refused(node, outcome))
            return
        (published,) = outcome
        if wants_all:
            respond(
                json_response(
                    representation(node.epoch, published),
                    ("Preference-Applied", "return=representation"),
                )
            )
        else:
            respond(DUPLICATE if published.duplicate else OK)

    node.broker.publish_soon(request.identity, draft, answer)


def publish(node: Node, request: Request) -> Response:
    """The same, for who waits."""
    answers: list[Response] = []
    is_answered = node.runtime.event()

    def respond(response: Response) -> None:
        answers.append(response)
        is_answered.set()

    publish_soon(node, request, respond)
    if not is_answered.wait(ANSWER_TIMEOUT):
        raise Unavailable(
            "The disk did not answer in time; it may still store this. Send it again with "
            "the same message_id"
        )
    return answers[0]


def max_batch_bytes(max_message_bytes: int) -> int:
    return max(MAX_BATCH_BYTES, max_message_bytes + ENVELOPE_BYTES)


def publish_batch(node: Node, request: Request) -> Response:
    """Up to 10,000 messages, all or none."""
    body = request.json_body(max_batch_bytes(node.settings.max_message_bytes), NDJSON)
    parse = partial(
        wire.parse_batch,
        body,
        node.settings.max_message_bytes,
        ndjson=request.content_type == NDJSON,
    )
    drafts = parse() if len(body) <= PARSED_AT_ONCE_BYTES else node.readers.compute(parse)
    return json_response(
        {"status": "ok", "results": _results(node.broker.publish(request.identity, drafts))}
    )


def _results(published: Sequence[Published]) -> list[Result]:
    return [
        Result(message.message_id, message.topic, message.sequence, each.duplicate)
        for each in published
        for message in (each.message,)
    ]


def representation(epoch: str, published: Published) -> dict[str, Any]:
    """What became of a publish, in full."""
    message = published.message
    return {
        "status": "ok",
        "topic": message.topic,
        "message_id": message.message_id,
        "sequence": message.sequence,
        "timestamp": message.timestamp,
        "epoch": epoch,
        "duplicate": published.duplicate,
    }


def wants_representation(prefer: str) -> bool:
    """Whether a Prefer header asks for it, in any case, quoted or not (RFC 7240 §2)."""
    return bool(prefer) and any(
        preference.partition(";")[0].replace('"', "").replace(" ", "").lower()
        == "return=representation"
        for preference in prefer.split(",")
    )
