"""Who may talk to this server: whom a token speaks for, and pages of the same origin only.

Without keys for tokens it is this machine only, until somebody says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from .errors import Forbidden, Unauthenticated
from .identity import NOTHING, Identity

HOW_TO_OPEN = (
    "This server is open to this machine only, because no authentication is configured. "
    "To give users tokens, start it with PUBSUB_JWT_SECRET or PUBSUB_JWT_PUBLIC_KEY. "
    "To let everybody who can reach it publish and read, start it with PUBSUB_ALLOW_ANONYMOUS=true"
)
HOW_TO_COME_IN = (
    "This needs a token: send the header `Authorization: Bearer TOKEN`, in Socket.IO "
    "`auth: {token}`, in browsers' WebSocket and EventSource `?access_token=TOKEN`"
)

# What browsers open without being able to send a header. Nowhere else a token is taken from the
# URL, which proxies write to their logs.
OPENED_BY_BROWSERS = re.compile(r"/socket\.io/?|/ws/?|/chat/ws/?|/topics/.+/events")

# What proxies add to a request that comes from elsewhere.
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_VIA",
)


class Tokens(Protocol):
    """Knows whom a token speaks for."""

    def identify(self, token: str, address: str) -> Identity:
        """Raises Unauthenticated."""


class Gate:
    """Lets a request in, or says why not. Shared by every door; holds settings only.

    Without `tokens` nobody has to say who it is.
    """

    def __init__(
        self,
        *,
        allow_anonymous: bool,
        cors_origins: tuple[str, ...],
        trusted_proxies: tuple[str, ...] = (),
        tokens: Tokens | None = None,
    ) -> None:
        self._allow_anonymous = allow_anonymous
        self._cors_origins = frozenset(origin.rstrip("/") for origin in cors_origins)
        self._proxies = tuple(ip_network(proxy) for proxy in trusted_proxies)
        self._tokens = tokens

    def admit(self, environ: Mapping[str, Any], token: str | None = None) -> Identity:
        """The identity of a request, given its WSGI environment, and its token if not there.

        Raises Unauthenticated, Forbidden.
        """
        self._check_origin(environ)
        address = self.address(environ)
        if self._tokens is not None:
            return self._tokens.identify(token or token_of(environ), address)
        self._check_address(environ)
        return Identity(address)

    def admit_anybody(self, environ: Mapping[str, Any]) -> Identity:
        """The same for what needs no token, such as a page: an identity that may do nothing.

        Without authentication it is as good as any other. Raises Forbidden.
        """
        if self._tokens is None:
            return self.admit(environ)
        self._check_origin(environ)
        return Identity(self.address(environ), rights=NOTHING)

    def address(self, environ: Mapping[str, Any]) -> str:
        """The client's address: behind proxies that we trust, the last one that they do not say.

        Each proxy appends whom it heard, so what stands further left may be anybody's invention.
        """
        address = str(environ.get("REMOTE_ADDR", ""))
        if not self._proxies or not self.is_proxy(address):
            return address
        for hop in reversed(str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")):
            try:
                address = str(_parsed(hop.strip()))
            except ValueError:
                break
            if not self.is_proxy(address):
                break
        return address

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

    def is_proxy(self, address: str) -> bool:
        """Whether what this address says of others is believed."""
        try:
            parsed = _parsed(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def _check_address(self, environ: Mapping[str, Any]) -> None:
        if not self._allow_anonymous and not is_local_request(environ):
            raise Forbidden(HOW_TO_OPEN)

    def _check_origin(self, environ: Mapping[str, Any]) -> None:
        """A page of another origin may not write. (What it reads, its browser hides from it.)"""
        origin = environ.get("HTTP_ORIGIN")
        if not origin or environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS"):
            return
        if not self.allows_origin(origin, environ):
            raise Forbidden(
                f"Pages of {origin[:200]!r} may not write here; list that origin in "
                "PUBSUB_CORS_ORIGINS"
            )


def token_of(environ: Mapping[str, Any]) -> str:
    """The token that a request carries. Raises Unauthenticated when there is none."""
    scheme, _, token = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    query = str(environ.get("QUERY_STRING", ""))
    if (
        "access_token=" in query
        and environ["REQUEST_METHOD"] == "GET"
        and OPENED_BY_BROWSERS.fullmatch(environ.get("PATH_INFO", ""))
    ):
        for name, value in parse_qsl(query):
            if name == "access_token":
                return value
    raise Unauthenticated(HOW_TO_COME_IN)


def _parsed(address: str) -> IPv4Address | IPv6Address:
    """An address; one of IPv4 inside IPv6 as what it is. Raises ValueError."""
    parsed = ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed


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
        return _parsed(address).is_loopback
    except ValueError:
        return False


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
