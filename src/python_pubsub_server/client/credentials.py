"""Who the client is: what its handshakes say, and when a token has to be replaced."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from .values import ClientError

Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None
Token = str | Callable[[], str | None] | None

MARGIN_SECONDS = 60.0
SHORTEST_SECONDS = 1.0  # a token that is over already must not be asked for in a tight loop


def renewal_delay(token: str, now: float) -> float | None:
    """Seconds until a token is to be replaced; None where it does not say when it ends.

    A minute before its end, and at three quarters of a short life. A clock that is late here is
    seen by `iat`, because a token that one is given is new.
    """
    claims = claims_of(token)
    ends_at, issued_at = claims.get("exp"), claims.get("iat")
    if not isinstance(ends_at, int | float):
        return None
    left = ends_at - now
    if isinstance(issued_at, int | float):
        left = min(left, ends_at - issued_at)
    return max(left - min(MARGIN_SECONDS, left / 4), SHORTEST_SECONDS)


def claims_of(token: str) -> Mapping[str, Any]:
    """What a JWT says of itself (RFC 7519 §3), unverified: that is the server's part."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}  # no JWT: the server may know other tokens, their end is unknown here
    return claims if isinstance(claims, dict) else {}


class Credentials:
    """What a client says of itself, asked anew each time where it is a function's to say."""

    def __init__(self, auth: Auth, token: Token) -> None:
        self._auth = auth
        self._token = token

    @property
    def is_renewable(self) -> bool:
        return callable(self._token)

    def replace(self, token: Token) -> None:
        self._token = token

    def token(self) -> str | None:
        """The token of now. Raises ClientError; runs a user's code, which may take its time."""
        if not callable(self._token):
            return self._token
        try:
            return self._token()
        except Exception as error:
            raise ClientError("unauthenticated", f"`token` raised {error!r}") from error

    def handshake(self, token: str | None) -> Mapping[str, Any] | None:
        """What the next connection says. Raises ClientError; runs a user's code."""
        auth = self._auth
        if callable(auth):
            try:
                auth = auth()
            except Exception as error:
                raise ClientError("unauthenticated", f"`auth` raised {error!r}") from error
        return auth if token is None else {**(auth or {}), "token": token}
