"""How the text of a setting becomes its value.

A reader takes text without spaces around it and returns a value, or raises ValueError whose text
completes the sentence "… is not valid; write …".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import TypeVar

T = TypeVar("T")

MIN_SECRET_BYTES = 32
LARGEST = 2**53  # What every JSON reader and SQLite hold exactly.
REDIS_SCHEMES = ("redis", "rediss", "unix")
TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})

_WHOLE = re.compile(r"[0-9]{1,16}")
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_RATE = re.compile(r"([1-9][0-9]{0,8}) ?/ ?(second|minute|hour|day)", re.IGNORECASE)
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


def secret(text: str) -> str:
    """HS256 wants a key as long as its hash (RFC 7518 §3.2)."""
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"at least {MIN_SECRET_BYTES} bytes (openssl rand -hex 32)")
    return text


def public_key(text: str) -> str:
    """PEM or JSON as it stands, or the path of a file with it; what is in it is read later.

    A PEM in one line may have its line ends as `\\n`, which is how many tools write variables.
    """
    if "PRIVATE KEY" in text:
        raise ValueError("the public half of the key (openssl pkey -pubout); keep this one secret")
    if text.startswith(("-----BEGIN", "{")):
        return text.replace("\\n", "\n") if text.startswith("-") else text
    return line(text)


def line(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("one line of text")
    return text


def networks(text: str) -> tuple[str, ...]:
    """Addresses and networks (10.0.0.0/8), separated by commas."""
    found = tuple(item.strip() for item in text.split(",") if item.strip())
    if found in ((), ("none",)):
        return ()
    try:
        return tuple(str(ip_network(item)) for item in found)
    except ValueError:
        raise ValueError("addresses such as 10.0.0.5,192.168.0.0/16,::1") from None


def redis_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if scheme not in REDIS_SCHEMES or not separator or not rest or not text.isprintable():
        raise ValueError("a URL such as redis://127.0.0.1:6379/0")
    return text


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    shown = re.sub(r"(://[^/:@]*):[^/]*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&]\w*(?:passw|secret|key)\w*=)[^&]*", r"\1***", shown)


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


def silences(text: str) -> tuple[tuple[str, float], ...]:
    """Topics, each with how many seconds it may be silent."""
    found = []
    for item in filter(None, map(str.strip, text.split(","))):
        topic, _, number = item.rpartition("=")
        if item == text.strip() == "none":
            return ()
        if not topic or "*" in topic or not _SECONDS.fullmatch(number) or float(number) == 0:
            raise ValueError("topics with seconds above 0, such as orders=60,invoices=3600")
        found.append((topic.strip(), float(number)))
    return tuple(found)


def rate(text: str) -> str:
    """So many in so much time, in one spelling."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("a rate such as 100/second, 6000/minute, 10/hour or 1/day")
    return f"{found[1]}/{found[2].lower()}"


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
