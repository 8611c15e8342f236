"""The fields of a request, each as it was written, and what is read from one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from ..errors import Invalid
from .json_rules import check_json, kind_of, refuse_json
from .names import check_name

MAX_INTEGER = 2**63 - 1

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def raw_fields(body: bytes, what: str) -> dict[str, Raw]:
    """The fields of a JSON object, each still JSON text, after a check of the whole.

    Raises Invalid, which calls the request by its name, `what`.
    """
    if not body.strip():
        raise Invalid(f"`{what}` takes a JSON object, but nothing was sent")
    try:
        fields = _decode_object(body)
    except msgspec.ValidationError:
        check_json(body)
        raise Invalid(f"`{what}` takes a JSON object, not {kind_of(body)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse_json(error)
    check_json(body)
    return fields


def required(fields: Mapping[str, Raw], name: str) -> Raw:
    """A field that must be there."""
    if name not in fields:
        raise Invalid(f"Missing required field: {name}")
    return fields[name]


def only_field(body: bytes, what: str, name: str) -> Raw:
    """The one field of a request, which may also be sent as a bare string."""
    if is_string(body):
        check_json(body)
        return Raw(body)
    return required(raw_fields(body, what), name)


def is_string(body: bytes) -> bool:
    """Whether a JSON text is one string."""
    return body.lstrip()[:1] == b'"'


def given(fields: Mapping[str, Raw], name: str) -> Raw | None:
    """A field, None where it is missing or null."""
    raw = fields.get(name)
    return None if raw is None or bytes(raw) == b"null" else raw


def name_in(raw: Raw, field: str) -> str:
    return check_name(text_in(raw, field), field)


def text_in(raw: Raw, field: str) -> str:
    try:
        return _decode_text(raw)
    except msgspec.ValidationError:
        raise Invalid(f"`{field}` must be a string, not {kind_of(bytes(raw))}") from None


def integer_in(raw: Raw, field: str, *, minimum: int) -> int:
    try:
        value = msgspec.json.decode(raw, type=int)
    except msgspec.ValidationError:
        raise Invalid(f"`{field}` must be a whole number, not {kind_of(bytes(raw))}") from None
    if not minimum <= value <= MAX_INTEGER:
        raise Invalid(f"`{field}` must be a whole number from {minimum} to {MAX_INTEGER}")
    return value
