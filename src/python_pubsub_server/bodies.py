"""What the features have in common at their doors: reading small objects, and publishing."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from .errors import Invalid
from .model import Draft
from .wire import check_json, fingerprint

T = TypeVar("T")

_MISSING = "Object missing required field `"


def read_object(body: bytes, kind: type[T], otherwise: str) -> T:
    """A JSON object of one shape; no body is an empty object.

    Raises Invalid: the name of a missing field, or `otherwise` with what is wrong in place of
    `{error}`.
    """
    check_json(body or b"{}")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        text = str(error)
        if text.startswith(_MISSING):
            missing = text.removeprefix(_MISSING).partition("`")[0]
            raise Invalid(f"Missing required field: {missing}") from None
        raise Invalid(otherwise.format(error=text)) from None


def draft_of(topic: str, message_id: str, content: bytes, producer: str) -> Draft:
    """A message of the server's own making, whose JSON and names are right."""
    return Draft(topic, message_id, Raw(content), producer, fingerprint(producer, content))
