"""How the text of a setting becomes its value.

A reader takes text without spaces around it and returns a value, or raises ValueError whose text
completes the sentence "… is not valid; write …".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LARGEST = 2**53  # What every JSON reader and SQLite hold exactly.
TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})

_WHOLE = re.compile(r"[0-9]{1,16}")
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_ORIGIN = re.compile(r"https?://([^\s/?#@:\[\]]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)


def host(text: str) -> str:
    if not text or not text.isprintable() or any(mark in text for mark in " /"):
        raise ValueError("an address such as 127.0.0.1, 0.0.0.0 or ::")
    return text


def database_url(text: str) -> str:
    """Any URL; `open_database` knows which kinds there are."""
    scheme, separator, rest = text.partition("://")
    if not (scheme and separator and rest.strip("/")) or not text.isprintable():
        raise ValueError("a URL such as sqlite:///pubsub.db")
    return text


def boolean(text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError("true or false")


def choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(" or ".join([", ".join(words[:-1]), words[-1]]))
        return text.lower()

    return parse


def whole(low: int, high: int = LARGEST) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(*, above_zero: bool = False) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not _SECONDS.fullmatch(text) or (above_zero and float(text) == 0):
            raise ValueError(f"a number of seconds{' above 0' if above_zero else ', 0 or more'}")
        return float(text)

    return parse


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """The same, where nothing and `none` mean that there is no value."""

    def parse_unless_none(text: str) -> T | None:
        if text.lower() in ("", "none"):
            return None
        try:
            return parse(text)
        except ValueError as wanted:
            raise ValueError(f"{wanted}, or none") from wanted

    return parse_unless_none


def origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them (RFC 6454 §6.2): lower case, without a path."""
    found = tuple(item.strip() for item in text.split(",") if item.strip())
    if found in ((), ("none",)):
        return ()
    if found != ("*",) and not all(_ORIGIN.fullmatch(origin) for origin in found):
        raise ValueError("origins such as https://example.com,http://localhost:8080, or *")
    return tuple(origin.lower() for origin in found)
