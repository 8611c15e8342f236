"""Keys and tokens for tests: good ones, and each kind of bad one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

AUDIENCE = "tests"


class Issuer:
    """Signs tokens as the service does that a server trusts; the server knows `public`."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()
        self.public = (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
            .strip()
        )

    def token(self, subject: str = "ann", **claims: Any) -> str:
        """A good token, but for what the claims say; a claim that is `...` is left out."""
        payload = {"sub": subject, "aud": AUDIENCE, "exp": int(time.time()) + 600, **claims}
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not ...},
            self._key,
            algorithm="EdDSA",
        )

    def admin(self, subject: str = "root") -> str:
        everything = {"publish": ["*"], "subscribe": ["*"], "admin": True}
        return self.token(subject, pubsub=everything)

    def bad_tokens(self) -> dict[str, str]:
        """Every way in which a token can be no good, whatever the server's users are."""
        now = int(time.time())
        good = {"sub": "ann", "aud": AUDIENCE, "exp": now + 600, "pubsub": {"admin": True}}
        return {
            "none": "",
            "garbage": "garbage",
            "three parts": "a.b.c",
            "alg none": by_hand({"alg": "none", "typ": "JWT"}, good, b""),
            "HS256 with the public key": signed_with_secret(self.public, good),
            "HS256 with the public key and its line end": signed_with_secret(
                self.public + "\n", good
            ),
            "another key": Issuer().token(),
            "expired": self.token(exp=now - 86_400),
            "not yet valid": self.token(nbf=now + 86_400),
            "issued later": self.token(iat=now + 86_400),
            "wrong audience": self.token(aud="others"),
            "no audience": self.token(aud=...),
            "no end": self.token(exp=...),
            "no subject": self.token(sub=...),
            "wrong rights": self.token(pubsub={"admin": "yes"}),
        }


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes) -> str:
    """A token that no library would make."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(_encoded(part) for part in parts)


def signed_with_secret(secret: str, payload: dict[str, Any]) -> str:
    """HS256, whatever the secret is."""
    start = by_hand({"alg": "HS256", "typ": "JWT"}, payload, b"")
    mac = hmac.new(secret.encode(), start[:-1].encode(), hashlib.sha256).digest()
    return start + _encoded(mac)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")
