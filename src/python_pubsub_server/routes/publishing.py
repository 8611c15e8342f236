"""`POST /publish` and `POST /publish/batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import wire
from ..model import Published
from ..node import Node
from .http import NDJSON, Request, Response, json_response

OK = Response(b'{"status":"ok"}')
DUPLICATE = Response(b'{"status":"ok","duplicate":true}')
MAX_BATCH_BYTES = 32 * 2**20
ENVELOPE_BYTES = 8_192  # what the fields around a message of the largest size may take


def publish(node: Node, request: Request) -> Response:
    """One message: `ok` once it is committed."""
    limit = node.settings.max_message_bytes
    draft = wire.parse_draft(request.json_body(limit), limit)
    (published,) = node.broker.publish(request.identity, (draft,))
    if "return=representation" in request.header("Prefer"):
        return json_response(
            representation(node.epoch, published), ("Preference-Applied", "return=representation")
        )
    return DUPLICATE if published.duplicate else OK


def publish_batch(node: Node, request: Request) -> Response:
    """Up to 10,000 messages, all or none."""
    limit = max(MAX_BATCH_BYTES, node.settings.max_message_bytes + ENVELOPE_BYTES)
    body = request.json_body(limit, NDJSON)
    drafts = wire.parse_batch(
        body, node.settings.max_message_bytes, ndjson=request.content_type == NDJSON
    )
    return json_response(
        {"status": "ok", "results": _results(node.broker.publish(request.identity, drafts))}
    )


def _results(published: Sequence[Published]) -> list[dict[str, Any]]:
    return [
        {
            "message_id": each.message.message_id,
            "topic": each.message.topic,
            "sequence": each.message.sequence,
            "duplicate": each.duplicate,
        }
        for each in published
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
