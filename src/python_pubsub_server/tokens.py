"""Tokens: what one must be to be believed, and how one is signed. The only place that knows JWT.

The algorithm is a property of each key that was configured. What a token's header says only has to
agree: `none`, or HS256 under a public key, finds no key that it could be checked with.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .errors import ConfigurationError, Invalid, Unauthenticated
from .identity import Rights, open_to, rights_of_users
from .wire import check_name, check_subscription

LEEWAY_SECONDS = 30.0
MAX_TOKEN_BYTES = 16_384
MAX_KEYS = 32
MAX_PATTERNS = 1_000
MIN_RSA_BITS = 2_048

AUDIENCE_OR_ISSUER = (
    jwt.InvalidAudienceError,
    jwt.InvalidIssuerError,
    jwt.MissingRequiredClaimError,
)
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    UnsupportedAlgorithm,
    jwt.PyJWTError,
)
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
# All but the signature and whom the token is for and from is checked here, with our own clock.
_UNCHECKED = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "sub", "jti")}


class Claims(msgspec.Struct, frozen=True):
    """What a token says whose signature is good. `token_id` is its `jti`."""

    subject: str
    rights: Rights
    expires_at: float
    not_before: float
    token_id: str | None

    def check_time(self, now: float) -> None:
        """Raises Unauthenticated before and after the token's time; clocks may differ a little."""
        if now > self.expires_at + LEEWAY_SECONDS:
            raise Unauthenticated("The token has expired; ask for a new one")
        if now < self.not_before - LEEWAY_SECONDS:
            raise Unauthenticated("The token is not valid yet; compare the clocks")


class Key(msgspec.Struct, frozen=True):
    """A key with the one algorithm that it is for, and its name (`kid`) if it has one."""

    material: Any
    algorithm: str
    name: str | None = None


class _RightsClaim(msgspec.Struct, forbid_unknown_fields=True):
    publish: list[str] = []
    subscribe: list[str] = []
    admin: bool = False


class _Payload(msgspec.Struct):
    sub: str
    exp: float
    nbf: float = 0.0
    iat: float = 0.0
    jti: str | None = None
    pubsub: _RightsClaim | None = None


class Verifier:
    """Believes tokens that one of its keys signed."""

    def __init__(self, keys: Sequence[Key], audience: str | None, issuer: str | None) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._options = cast(
            Any,
            _UNCHECKED | {"verify_aud": audience is not None, "verify_iss": issuer is not None},
        )

    def verify(self, token: str, now: float) -> Claims:
        """What a token says. Raises Unauthenticated, which says what is wrong with it."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Unauthenticated("The token is not a JWT")
        claims = _claims(self._payload(token))
        claims.check_time(now)
        return claims

    def _payload(self, token: str) -> dict[str, Any]:
        """The payload of a token with a good signature, for us."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise Unauthenticated("The token is not a JWT") from None
        if "crit" in header:
            raise Unauthenticated("The token's header has extensions that this server lacks")
        candidates = [
            key for key in self._named(header.get("kid")) if key.algorithm == header.get("alg")
        ]
        if not candidates:
            raise Unauthenticated("The token's algorithm or key id is none of this server's keys")
        for key in candidates:
            try:
                return jwt.decode(
                    token,
                    key.material,
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    options=self._options,
                )
            except jwt.InvalidSignatureError:
                continue
            except AUDIENCE_OR_ISSUER:
                raise Unauthenticated("The token is of another audience or issuer") from None
            except (jwt.InvalidTokenError, ValueError, RecursionError):
                raise Unauthenticated("The token cannot be read") from None
        raise Unauthenticated("The token's signature is wrong")

    def _named(self, name: object) -> Sequence[Key]:
        """The keys that a key id stands for: those of that name, else those without a name."""
        if name is None:
            return self._keys
        named = [key for key in self._keys if key.name == name]
        return named or [key for key in self._keys if key.name is None]


def _claims(payload: dict[str, Any]) -> Claims:
    try:
        read = msgspec.convert(payload, _Payload)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Unauthenticated(f"The token's claims are wrong: {error}") from None
    if not all(math.isfinite(time) for time in (read.exp, read.nbf, read.iat)):
        raise Unauthenticated("The token's claims are wrong: times must be numbers")
    try:
        subject = check_subject(read.sub)
        rights = _rights(subject, read.pubsub)
    except Invalid as error:
        raise Unauthenticated(f"The token's claims are wrong: {error.message}") from None
    return Claims(subject, rights, read.exp, max(read.nbf, read.iat), read.jti)


def check_subject(subject: str) -> str:
    """A user's name. Raises Invalid; a `*` would make a pattern of the user's own topics."""
    check_name(subject, "sub")
    if "*" in subject:
        raise Invalid(f"`sub` must not contain `*`: {subject!r}")
    return subject


def check_patterns(patterns: Sequence[str], field: str) -> tuple[str, ...]:
    """Topics and patterns of a right. Raises Invalid."""
    if len(patterns) > MAX_PATTERNS:
        raise Invalid(f"`{field}` has more than {MAX_PATTERNS} patterns")
    for pattern in patterns:
        check_subscription(pattern)
    return tuple(patterns)


def _rights(subject: str, claim: _RightsClaim | None) -> Rights:
    if claim is None:
        return rights_of_users(subject)
    return Rights(
        check_patterns(claim.publish, "publish"),
        (*check_patterns(claim.subscribe, "subscribe"), *open_to(subject)),
        claim.admin,
    )


def verifier(
    secret: str | None, public_key: str | None, audience: str | None, issuer: str | None
) -> Verifier:
    """A verifier with the keys of the settings. Raises ConfigurationError."""
    keys = [] if secret is None else [Key(secret.encode(), "HS256")]
    if public_key is not None:
        keys += read_public_keys(public_key)
    return Verifier(keys, audience, issuer)


def read_public_keys(text: str) -> list[Key]:
    """The keys of a PEM bundle or a JWKS, or of a file with one. Raises ConfigurationError."""
    if not text.startswith(("-----BEGIN", "{")):
        text = _read_key_file(Path(text))
    try:
        keys = _jwks(text) if text.startswith("{") else _pem_bundle(text)
    except UNREADABLE as error:
        raise ConfigurationError(
            f"PUBSUB_JWT_PUBLIC_KEY cannot be read: {_reason(error)}"
        ) from None
    if not 0 < len(keys) <= MAX_KEYS:
        raise ConfigurationError(
            f"PUBSUB_JWT_PUBLIC_KEY: 1 to {MAX_KEYS} public keys are wanted, not {len(keys)}"
        )
    names = [key.name for key in keys if key.name is not None]
    if len(names) != len(set(names)):
        raise ConfigurationError("PUBSUB_JWT_PUBLIC_KEY: two keys have the same `kid`")
    return keys


def _read_key_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(
            f"PUBSUB_JWT_PUBLIC_KEY: {path} cannot be read: {reason}"
        ) from None


def _pem_bundle(text: str) -> list[Key]:
    blocks = [found[0] for found in _PEM.finditer(text)]
    if any("PRIVATE KEY" in block for block in blocks):
        raise ValueError("it holds a private key; give the public half, and keep this one secret")
    loaded = [serialization.load_pem_public_key(block.encode()) for block in blocks]
    return [Key(key, _algorithm(key)) for key in loaded]


def _jwks(text: str) -> list[Key]:
    document = json.loads(text)
    keys = []
    for entry in document.get("keys", [document]):
        if entry.get("kty") == "oct" or "d" in entry:
            raise ValueError("it holds a secret or private key; give public ones")
        if entry.get("use", "sig") != "sig":
            continue
        material = jwt.PyJWK(entry).key
        algorithm = _algorithm(material)
        if entry.get("alg", algorithm) not in (algorithm, "Ed25519"):
            raise ValueError(f"keys must be for RS256, ES256 or EdDSA, not {entry['alg']}")
        keys.append(Key(material, algorithm, entry.get("kid")))
    return keys


def _algorithm(key: object) -> str:
    """The one algorithm that a key is used with. Raises ValueError."""
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise ValueError(f"an RSA key needs {MIN_RSA_BITS} bits or more, not {key.key_size}")
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey | EllipticCurvePrivateKey) and isinstance(
        key.curve, SECP256R1
    ):
        return "ES256"
    if isinstance(key, Ed25519PublicKey | Ed25519PrivateKey):
        return "EdDSA"
    raise ValueError("keys must be RSA, EC on the curve P-256, or Ed25519")


def _reason(error: Exception) -> str:
    """Our own words, or none: what libraries say may quote the key."""
    return (
        str(error)
        if type(error) is ValueError and len(str(error)) < 100
        else "it is no PEM or JWKS"
    )


def signing_key(secret: str | None, private_pem: bytes | None, name: str | None = None) -> Key:
    """The key to sign with: a private key, else the secret. Raises ConfigurationError."""
    if private_pem is not None:
        try:
            key = serialization.load_pem_private_key(private_pem, password=None)
            return Key(key, _algorithm(key), name)
        except UNREADABLE as error:
            raise ConfigurationError(
                f"the private key cannot be used: {_reason(error)}; write a PEM without password"
            ) from None
    if secret is None:
        raise ConfigurationError(
            "signing a token needs PUBSUB_JWT_SECRET, or the private key of "
            "PUBSUB_JWT_PUBLIC_KEY: --private-key FILE"
        )
    return Key(secret.encode(), "HS256", name)


def sign(
    key: Key,
    subject: str,
    rights: Rights | None,
    *,
    now: float,
    seconds: float,
    audience: str | None = None,
    issuer: str | None = None,
) -> tuple[str, str]:
    """A token and its id (`jti`). Rights None: those that every user has. Raises Invalid."""
    token_id = uuid.uuid4().hex
    payload: dict[str, Any] = {
        "sub": check_subject(subject),
        "iat": int(now),
        "exp": math.ceil(now + seconds),
        "jti": token_id,
    }
    if rights is not None:
        payload["pubsub"] = {
            "publish": check_patterns(rights.publish, "publish"),
            "subscribe": check_patterns(rights.subscribe, "subscribe"),
            "admin": rights.admin,
        }
    payload |= {k: v for k, v in (("aud", audience), ("iss", issuer)) if v is not None}
    headers = None if key.name is None else {"kid": key.name}
    return jwt.encode(payload, key.material, algorithm=key.algorithm, headers=headers), token_id
