"""What JSON may be sent, and its canonical form."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from ..errors import Invalid
from .names import MAX_NAME_LENGTH

MAX_DEPTH = 256
MAX_INTEGER_DIGITS = 4_300  # what Python's int() reads; a longer one would break its subscribers

decode_any = msgspec.json.Decoder().decode
encode_sorted = msgspec.json.Encoder(order="sorted").encode
encode = msgspec.json.Encoder().encode


def check_json(body: bytes) -> None:
    """Refuse what JSON readers do not agree on, so that every subscriber reads the same value.

    That is duplicate keys, lone surrogates, invalid UTF-8, NaN, numbers out of a double's range,
    integers too long to be read, and nesting deeper than 256 levels (RFC 8259 §4, §6, §8, §9).
    """
    try:
        value = decode_any(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        refuse_json(error)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise Invalid(f"The JSON is nested deeper than {MAX_DEPTH} levels")
    _refuse_duplicate_keys(body, value)


def canonical(message: bytes) -> bytes:
    """A JSON value's text with its keys sorted and its spaces gone."""
    value = decode_any(message)
    try:
        return encode_sorted(value)
    except OverflowError:  # an integer over 64 bits, which msgspec reads but does not write
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def refuse_json(error: Exception) -> NoReturn:
    if isinstance(error, RecursionError):
        raise Invalid(f"The JSON is nested deeper than {MAX_DEPTH} levels") from None
    if isinstance(error, UnicodeDecodeError):
        raise Invalid("The text is not valid UTF-8") from None
    text = str(error).removeprefix("JSON is malformed: ")
    if "surrogate" in text or "hex escape" in text:
        text += "; a lone surrogate (\\ud800) is not a character"
    if "out of range" in text:
        text += f"; numbers go up to 1.8e308, integers to {MAX_INTEGER_DIGITS} digits"
    raise Invalid(f"Malformed JSON: {text}") from None


def kind_of(body: bytes) -> str:
    """What a JSON text is, in words, by its first character."""
    first = body.lstrip()[:1]
    kinds = {b"{": "an object", b"[": "a list", b'"': "a string", b"n": "null"}
    return kinds.get(first, "true or false" if first in (b"t", b"f") else "a number")


def _refuse_duplicate_keys(body: bytes, value: Any) -> None:
    """Without escapes, a text has two quotes a string; a key that was dropped shows as fewer."""
    if b"\\" not in body:
        try:
            if encode_sorted(value).count(b'"') == body.count(b'"'):
                return
        except OverflowError:  # over 64 bits; the slow way tells
            pass
    json.loads(body, object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Invalid(f"The JSON has the key {key[:MAX_NAME_LENGTH]!r} twice in one object")
        seen.add(key)


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return depth - 1
