"""tokens.py: which tokens are believed, and what they say."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from python_pubsub_server.errors import ConfigurationError, Invalid, Unauthenticated
from python_pubsub_server.identity import Rights
from python_pubsub_server.tokens import (
    LEEWAY_SECONDS,
    Claims,
    Key,
    Verifier,
    read_public_keys,
    sign,
    signing_key,
    verifier,
)

SECRET = "a secret of more than 32 bytes, for tests"
NOW = 1_000_000.0
KINDS = ("RS256", "ES256", "EdDSA")


@cache
def private_key(kind: str, which: int = 0) -> Any:
    if kind == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def private_pem(key: Any) -> str:
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def public_pem(key: Any) -> str:
    encoded: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded.decode()


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    algorithm = {"RSAPrivateKey": "RS256", "ECPrivateKey": "ES256"}.get(
        type(key).__name__.removeprefix("_"), "EdDSA"
    )
    converted = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**converted, **more}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    payload = {"sub": "ann", "exp": NOW + 60} | claims
    payload = {name: value for name, value in payload.items() if value is not ...}
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers)


def by_hand(header: dict[str, Any], payload: dict[str, Any] | bytes, signature: bytes) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    parts = (json.dumps(header).encode(), raw, signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def verify(text: str, key: Verifier | None = None, now: float = NOW) -> Claims:
    return (key or verifier(SECRET, None, None, None)).verify(text, now)


def refused(text: str, match: str, key: Verifier | None = None, now: float = NOW) -> None:
    with pytest.raises(Unauthenticated, match=match) as caught:
        verify(text, key, now)
    assert text not in caught.value.message
    assert caught.value.__cause__ is None


# What is believed


def test_a_good_token_says_who_and_until_when() -> None:
    claims = verify(token(jti="t1", nbf=NOW - 5, iat=NOW - 6))
    assert (claims.subject, claims.expires_at, claims.token_id) == ("ann", NOW + 60, "t1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_key_believes_what_its_other_half_signed(kind: str) -> None:
    own, other = private_key(kind), private_key(kind, 1)
    keys = verifier(None, public_pem(own), None, None)
    assert verify(token(own, kind), keys).subject == "ann"
    refused(token(other, kind), "signature", keys)
    refused(token(SECRET), "algorithm", keys)


def test_without_the_claim_everybody_has_the_same_rights() -> None:
    rights = verify(token()).rights
    assert rights.publish == ("chat:*", "resource:updates:*")
    assert set(rights.subscribe) == {
        "notifications:ann",
        "suggestions:votes",
        "resource:updates:*",
        "chat:*",
    }
    assert not rights.admin


def test_the_claim_says_the_rights_and_leaves_a_user_its_own_notifications() -> None:
    claim = {"publish": ["a:*"], "subscribe": ["*", "b"], "admin": True}
    rights = verify(token(pubsub=claim)).rights
    assert (rights.publish, rights.admin) == (("a:*",), True)
    assert {"*", "b", "notifications:ann"} <= set(rights.subscribe)
    rights = verify(token(pubsub={})).rights
    assert (rights.publish, rights.admin) == ((), False)
    assert "chat:*" not in rights.subscribe


# What is not


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b", "a.b.c", "a.b.c.d", "é" * 9, "x" * 20_000, "..", by_hand({}, b"", b"")],
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(text)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS384", "HS512", "RS256", 7])
def test_the_token_does_not_choose_the_algorithm(algorithm: Any) -> None:
    payload = {"sub": "ann", "exp": NOW + 60}
    for signature in (b"", b"x" * 32):
        refused(by_hand({"alg": algorithm, "typ": "JWT"}, payload, signature), "algorithm")
    refused(by_hand({"typ": "JWT"}, payload, b""), "algorithm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_key_is_no_secret(kind: str) -> None:
    import hashlib
    import hmac

    pem = public_pem(private_key(kind)).strip()
    keys = verifier(None, pem, None, None)
    for secret in (pem, pem + "\n"):
        unsigned = by_hand({"alg": "HS256", "typ": "JWT"}, {"sub": "ann", "exp": NOW + 60}, b"")
        start = unsigned[:-1].encode()
        mac = hmac.new(secret.encode(), start, hashlib.sha256).digest()
        forged = f"{start.decode()}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        refused(forged, "algorithm", keys)


def test_a_changed_token_is_refused() -> None:
    head, _, signature = token().split(".")
    payload = by_hand({}, {"sub": "bob", "exp": NOW + 60}, b"").split(".")[1]
    refused(f"{head}.{payload}.{signature}", "signature")
    refused(token(key="another secret of more than 32 bytes"), "signature")


def test_extensions_of_the_header_are_not_ignored() -> None:
    header = {"alg": "HS256", "crit": ["b64"], "b64": True}
    refused(by_hand(header, {"sub": "ann", "exp": NOW + 60}, b"x"), "extensions")


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ({"exp": ...}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": True}, "exp"),
        ({"nbf": "x"}, "nbf"),
        ({"iat": "x"}, "iat"),
        ({"sub": ...}, "sub"),
        ({"sub": None}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 201}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "*"}, r"\*"),
        ({"sub": "a*"}, r"\*"),
        ({"jti": 7}, "jti"),
        ({"pubsub": []}, "pubsub"),
        ({"pubsub": "admin"}, "pubsub"),
        ({"pubsub": {"publish": "*"}}, "publish"),
        ({"pubsub": {"publish": [7]}}, "publish"),
        ({"pubsub": {"subscribe": [""]}}, "empty"),
        ({"pubsub": {"subscribe": ["a*b"]}}, "end of a pattern"),
        ({"pubsub": {"subscribe": ["x" * 201]}}, "201"),
        ({"pubsub": {"publish": ["x"] * 1_001}}, "1000"),
        ({"pubsub": {"admin": "yes"}}, "admin"),
        ({"pubsub": {"subcribe": ["x"]}}, "subcribe"),
    ],
)
def test_wrong_claims_are_named(claims: dict[str, Any], match: str) -> None:
    refused(token(**claims), match)


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_times_are_numbers(time: str, claim: str) -> None:
    import hashlib
    import hmac

    payload = f'{{"sub":"ann","exp":{NOW + 60},"{claim}":{time}}}'.encode()
    start = by_hand({"alg": "HS256"}, payload, b"")[:-1]
    mac = hmac.new(SECRET.encode(), start.encode(), hashlib.sha256).digest()
    text = f"{start}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    with pytest.raises(Unauthenticated):
        verify(text)


def test_clocks_may_differ_by_the_leeway() -> None:
    assert verify(token(exp=NOW - LEEWAY_SECONDS + 1))
    refused(token(exp=NOW - LEEWAY_SECONDS - 1), "expired")
    for claim in ("nbf", "iat"):
        assert verify(token(**{claim: NOW + LEEWAY_SECONDS - 1}))
        refused(token(**{claim: NOW + LEEWAY_SECONDS + 1}), "not valid yet")


def test_audience_and_issuer_are_looked_at_where_they_are_configured() -> None:
    assert verify(token(aud="shop", iss="me"))
    strict = verifier(SECRET, None, "shop", "me")
    assert verify(token(aud="shop", iss="me"), strict)
    assert verify(token(aud=["bank", "shop"], iss="me"), strict)
    for claims in (
        {},
        {"aud": "shop"},
        {"iss": "me"},
        {"aud": "bank", "iss": "me"},
        {"aud": "shop", "iss": "you"},
        {"aud": [], "iss": "me"},
        {"aud": {"shop": 1}, "iss": "me"},
    ):
        with pytest.raises(Unauthenticated):
            verify(token(**claims), strict)


# Several keys


def test_the_key_id_picks_among_named_keys() -> None:
    old, new = private_key("ES256"), private_key("ES256", 1)
    jwks = json.dumps({"keys": [jwk(old, kid="old"), jwk(new, kid="new", use="sig", alg="ES256")]})
    keys = verifier(None, jwks, None, None)
    assert verify(token(old, "ES256", {"kid": "old"}), keys)
    assert verify(token(new, "ES256", {"kid": "new"}), keys)
    assert verify(token(new, "ES256"), keys)
    refused(token(new, "ES256", {"kid": "old"}), "signature", keys)
    refused(token(new, "ES256", {"kid": "other"}), "key id", keys)


def test_keys_without_names_are_all_tried() -> None:
    kinds = [private_key(kind) for kind in KINDS]
    keys = verifier(SECRET, "\n".join(public_pem(key) for key in kinds), None, None)
    for kind, key in zip(KINDS, kinds, strict=True):
        assert verify(token(key, kind, {"kid": "anything"}), keys)
    assert verify(token(), keys)


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(public_pem(private_key("EdDSA")))
    assert [key.algorithm for key in read_public_keys(str(path))] == ["EdDSA"]
    path.write_text(json.dumps(jwk(private_key("RS256"), kid="one")))
    assert [(key.algorithm, key.name) for key in read_public_keys(str(path))] == [("RS256", "one")]


def weak_key() -> str:
    return public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))


@pytest.mark.parametrize(
    "text",
    [
        "/nonexistent/key.pem",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----",
        "{",
        "{}",
        '{"keys": []}',
        '{"keys": [7]}',
        '{"keys": {"a": 1}}',
        '{"kty": "oct", "k": "c2VjcmV0"}',
        '{"kty": "EC", "crv": "P-256"}',
        public_pem(ec.generate_private_key(ec.SECP384R1())),
        weak_key(),
        json.dumps(jwk(private_key("RS256"), alg="RS512")),
        json.dumps(
            {"keys": [jwk(private_key("EdDSA"), kid="a"), jwk(private_key("ES256"), kid="a")]}
        ),
        json.dumps(jwk(private_key("EdDSA"), d="AAAA")),
        json.dumps(jwk(private_key("EdDSA"), use="enc")),
    ],
)
def test_keys_that_cannot_be_used_stop_the_server_in_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_public_keys(text)
    assert "PUBSUB_JWT_PUBLIC_KEY" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_private_key_in_a_file_is_refused_unseen(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(private_pem(private_key("EdDSA")))
    with pytest.raises(ConfigurationError, match="private key") as caught:
        read_public_keys(str(path))
    assert path.read_text().split("\n")[1] not in str(caught.value)


# Signing


def test_what_is_signed_is_believed() -> None:
    rights = Rights(("a",), ("b:*",), admin=True)
    text, token_id = sign(
        signing_key(SECRET, None), "ann", rights, now=NOW, seconds=60, audience="shop", issuer="me"
    )
    claims = verify(text, verifier(SECRET, None, "shop", "me"))
    assert (claims.subject, claims.expires_at, claims.token_id) == ("ann", NOW + 60, token_id)
    assert (claims.rights.publish, claims.rights.admin) == (("a",), True)
    assert "b:*" in claims.rights.subscribe


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_key_signs(kind: str) -> None:
    key = signing_key(None, private_pem(private_key(kind)).encode(), "one")
    text, _ = sign(key, "ann", None, now=NOW, seconds=1.5)
    jwks = json.dumps(jwk(private_key(kind), kid="one"))
    assert verify(text, verifier(None, jwks, None, None)).expires_at == NOW + 2


def test_two_tokens_have_two_ids() -> None:
    key = Key(SECRET, "HS256")
    assert len({sign(key, "ann", None, now=NOW, seconds=1)[1] for _ in range(2)}) == 2


@pytest.mark.parametrize("subject", ["", "a*", "x" * 201])
def test_only_what_would_be_believed_is_signed(subject: str) -> None:
    with pytest.raises(Invalid):
        sign(Key(SECRET, "HS256"), subject, None, now=NOW, seconds=1)
    with pytest.raises(Invalid):
        sign(Key(SECRET, "HS256"), "ann", Rights(publish=("a*b",)), now=NOW, seconds=1)


def test_signing_without_a_key_says_what_to_configure() -> None:
    with pytest.raises(ConfigurationError, match="--private-key"):
        signing_key(None, None)
    with pytest.raises(ConfigurationError, match="PEM"):
        signing_key(None, b"nonsense")
