"""Who may talk to this server: loopback only until somebody says otherwise, and same origin."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .errors import Forbidden

HOW_TO_OPEN = (
    "This server is open to this machine only, because no authentication is configured. "
    "To let everybody who can reach it publish and read, start it with PUBSUB_ALLOW_ANONYMOUS=true"
)

# What proxies add to a request that comes from elsewhere.
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_VIA",
)


class Identity(msgspec.Struct, frozen=True):
    """Who a request speaks for."""

    address: str


class Gate:
    """Lets a request in, or says why not. Shared by every door; holds settings only."""

    def __init__(self, *, allow_anonymous: bool, cors_origins: tuple[str, ...]) -> None:
        self._allow_anonymous = allow_anonymous
        self._cors_origins = frozenset(origin.rstrip("/") for origin in cors_origins)

    def admit(self, environ: Mapping[str, Any]) -> Identity:
        """The identity of a request, given its WSGI environment. Raises Forbidden."""
        address = str(environ.get("REMOTE_ADDR", ""))
        if not self._allow_anonymous and not is_local_request(environ):
            raise Forbidden(HOW_TO_OPEN)
        origin = environ.get("HTTP_ORIGIN")
        if origin and environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
            self._check_origin(origin, environ)
        return Identity(address)

    def allows_origin(self, origin: str | None, environ: Mapping[str, Any]) -> bool:
        """Whether a browser's page of that origin may use this server: its own, or a listed one."""
        if not origin:
            return True
        if "*" in self._cors_origins or origin.rstrip("/") in self._cors_origins:
            return True
        try:
            host = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return bool(host) and host == environ.get("HTTP_HOST", "").lower()

    def cors_headers(self, environ: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """What lets a listed page of another origin read an answer; nothing for any other page.

        A preflight is answered for all that such a page may send (Fetch §3.2).
        """
        origin = environ.get("HTTP_ORIGIN")
        if not origin or not self._cors_origins or not self.allows_origin(origin, environ):
            return ()
        allowed = (
            ("Access-Control-Allow-Origin", origin),
            ("Vary", "Origin"),
            ("Access-Control-Expose-Headers", "Link, Retry-After, Preference-Applied"),
        )
        if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            return allowed
        return (
            *allowed,
            ("Access-Control-Allow-Methods", "GET, POST"),
            ("Access-Control-Allow-Headers", "Authorization, Content-Type, Prefer"),
            ("Access-Control-Max-Age", "600"),
        )

    def _check_origin(self, origin: str, environ: Mapping[str, Any]) -> None:
        if not self.allows_origin(origin, environ):
            raise Forbidden(
                f"Pages of {origin[:200]!r} may not write here; list that origin in "
                "PUBSUB_CORS_ORIGINS"
            )


def is_local_request(environ: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine and was meant for it.

    What a proxy forwards comes from elsewhere. A Host that is not this machine's means that a
    page made its own name point here to be same-origin with us (DNS rebinding).
    """
    if any(name in environ for name in FORWARDED):
        return False
    return is_loopback(str(environ.get("REMOTE_ADDR", ""))) and is_local_host(
        str(environ.get("HTTP_HOST", "localhost"))
    )


@lru_cache(64)
def is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


@lru_cache(64)  # both are asked of every request, and few answers are new
def is_local_host(host: str) -> bool:
    """Whether a Host header names this machine: localhost or an address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
