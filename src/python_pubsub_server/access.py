"""Whom a token speaks for, as things stand: verified once, looked up in the users each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from .errors import RequestError
from .identity import Identity
from .standing import Standing
from .tokens import LEEWAY_SECONDS, Claims, Verifier

MAX_REMEMBERED = 10_000


class Access:
    """Turns tokens into identities. Belongs to the event loop.

    A token's signature is checked the first time and remembered by the token's hash; its time and
    its user are looked at each time.
    """

    def __init__(self, verifier: Verifier, wall: Callable[[], float]) -> None:
        self.standing = Standing()
        self._verifier = verifier
        self._wall = wall
        self._remembered: OrderedDict[bytes, Claims] = OrderedDict()

    def identify(self, token: str, address: str) -> Identity:
        """Who a token speaks for. Raises Unauthenticated."""
        now = self._wall()
        claims = self._claims(token, now)
        self.standing.check(claims.subject, claims.token_id)
        return Identity(
            address, claims.subject, claims.rights, _ends_at(claims, now), claims.token_id
        )

    def check(self, identity: Identity) -> None:
        """Raises Unauthenticated when one that was let in would not be any more."""
        if identity.subject is not None:
            self.standing.check(identity.subject, identity.token_id)

    def _claims(self, token: str, now: float) -> Claims:
        digest = sha256(token.encode(errors="replace")).digest()
        claims = self._remembered.get(digest)
        if claims is None:
            claims = self._remembered[digest] = self._verifier.verify(token, now)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
            return claims
        try:
            claims.check_time(now)
        except RequestError:
            del self._remembered[digest]
            raise
        self._remembered.move_to_end(digest)
        return claims


def _ends_at(claims: Claims, now: float) -> float:
    """When a connection of a token ends; one that came late has what the leeway left."""
    return claims.expires_at if claims.expires_at > now else claims.expires_at + LEEWAY_SECONDS
