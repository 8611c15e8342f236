"""access.py: whom a token speaks for."""

from __future__ import annotations

import time

import pytest

from keys import AUDIENCE, Issuer
from python_pubsub_server import access as access_module
from python_pubsub_server.access import Access
from python_pubsub_server.errors import Unauthenticated
from python_pubsub_server.standing import Standing
from python_pubsub_server.tokens import LEEWAY_SECONDS, Claims, Verifier, read_public_keys

ISSUER = Issuer()
NOW = float(int(time.time()))  # at the import, minutes before a test may run
ADDRESS = "10.0.0.1"


class Counting(Verifier):
    """Counts how often a signature is looked at."""

    checked = 0

    def verify(self, token: str, now: float) -> Claims:
        self.checked += 1
        return super().verify(token, now)


class Story:
    def __init__(self) -> None:
        self.now = NOW
        self.verifier = Counting(read_public_keys(ISSUER.public), AUDIENCE, None)
        self.access = Access(self.verifier, lambda: self.now)

    def refused(self, token: str, match: str) -> None:
        with pytest.raises(Unauthenticated, match=match):
            self.access.identify(token, ADDRESS)


def test_an_identity_says_who_from_where_and_until_when() -> None:
    identity = Story().access.identify(ISSUER.token("ann", exp=NOW + 60, jti="t1"), ADDRESS)
    assert (identity.subject, identity.address) == ("ann", ADDRESS)
    assert (identity.ends_at, identity.token_id) == (NOW + 60, "t1")


def test_a_signature_is_looked_at_once() -> None:
    story = Story()
    for _ in range(3):
        story.access.identify(ISSUER.token(exp=NOW + 60), ADDRESS)
    assert story.verifier.checked == 1
    story.access.identify(ISSUER.token(exp=NOW + 61), ADDRESS)
    assert story.verifier.checked == 2


def test_a_token_that_is_remembered_ends_all_the_same() -> None:
    story = Story()
    token = ISSUER.token(exp=NOW + 60)
    story.access.identify(token, ADDRESS)
    story.now += 60 + LEEWAY_SECONDS + 1
    story.refused(token, "expired")
    story.refused(token, "expired")
    story.now = NOW
    assert story.access.identify(token, ADDRESS).subject == "ann"


def test_a_token_in_the_leeway_ends_with_the_leeway() -> None:
    story = Story()
    token = ISSUER.token(exp=NOW - 5)
    assert story.access.identify(token, ADDRESS).ends_at == NOW - 5 + LEEWAY_SECONDS


def test_no_more_tokens_are_remembered_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "MAX_REMEMBERED", 2)
    story = Story()
    tokens = [ISSUER.token(jti=str(number)) for number in range(3)]
    for token in tokens:
        story.access.identify(token, ADDRESS)
    story.access.identify(tokens[2], ADDRESS)
    story.access.identify(tokens[1], ADDRESS)
    assert story.verifier.checked == 3
    story.access.identify(tokens[0], ADDRESS)
    assert story.verifier.checked == 4


def test_bad_tokens_are_not_remembered() -> None:
    story = Story()
    for token in ISSUER.bad_tokens().values():
        for _ in range(2):
            story.refused(token, "token|Token|JWT")
    assert story.verifier.checked == 2 * len(ISSUER.bad_tokens())


def test_standing_counts_more_than_what_is_remembered() -> None:
    story = Story()
    token = ISSUER.token("ann", jti="t1")
    identity = story.access.identify(token, ADDRESS)
    for standing, match in (
        (Standing(revoked=frozenset({"t1"})), "revoked"),
        (Standing(disabled=frozenset({"ann"})), "disabled"),
        (Standing(known=frozenset({"bob"})), "not known"),
    ):
        story.access.standing = standing
        story.refused(token, match)
        with pytest.raises(Unauthenticated, match=match):
            story.access.check(identity)
    story.access.standing = Standing(
        known=frozenset({"ann"}), disabled=frozenset({"bob"}), revoked=frozenset({"t2"})
    )
    story.access.check(story.access.identify(token, ADDRESS))
