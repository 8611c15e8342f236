"""`pubsub-server users` and `pubsub-server token`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from python_pubsub_server.cli import cli
from python_pubsub_server.config import table
from python_pubsub_server.storage.database import open_database
from python_pubsub_server.tokens import Claims, verifier

SECRET = "a secret of more than 32 bytes, for tests"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for row in table():
        monkeypatch.delenv(row.variable, raising=False)
    return tmp_path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments, prog_name="pubsub-server")
    assert result.exit_code == code, result.output
    return result


def claims(text: str, **checks: str | None) -> Claims:
    aud, iss = checks.get("aud"), checks.get("iss")
    return verifier(SECRET, None, aud, iss).verify(text, time.time())


# users


def test_users_are_added_listed_disabled_and_enabled() -> None:
    assert run("users", "list").stdout == ""
    assert run("users", "add", "ann").stdout == "added ann\n"
    assert run("users", "disable", "ann").stdout == "disabled ann\n"
    assert run("users", "disable", "bob").stdout == "disabled bob (who was not known before)\n"
    lines = run("users", "list").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["ann", "bob"]
    assert all("\tdisabled since " in line for line in lines)
    run("users", "enable", "ann")
    assert "disabled" not in run("users", "list").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "ann"), "there is a user 'ann' already"),
        (("add", "a*"), "the name must not contain `*`: 'a*'"),
        (("add", ""), "the name must not be empty"),
        (("enable", "bob"), "there is no user 'bob'; add it"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], said: str) -> None:
    run("users", "add", "ann")
    assert run("users", *arguments, code=1).stderr == f"pubsub-server: {said}\n"


# token


def test_a_token_is_printed_alone_and_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_JWT_SECRET", SECRET)
    result = run(
        *("token", "--sub", "ann", "--publish", "orders:*", "--publish", "x"),
        *("--subscribe", "*", "--admin", "--expires", "2h"),
    )
    found = claims(result.stdout.strip())
    assert (found.subject, found.rights.publish) == ("ann", ("orders:*", "x"))
    assert found.rights.admin
    assert "*" in found.rights.subscribe
    assert 7_190 < found.expires_at - time.time() < 7_202
    assert f"token {found.token_id} of ann until " in result.stderr


def test_without_rights_it_has_those_of_every_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_JWT_SECRET", SECRET)
    found = claims(run("token", "--sub", "ann").stdout.strip())
    assert "chat:*" in found.rights.subscribe
    assert not found.rights.admin


def test_it_is_for_the_audience_and_from_the_issuer_of_the_settings() -> None:
    result = run(
        *("token", "--sub", "ann", "--jwt-secret", SECRET),
        *("--jwt-audience", "shop", "--jwt-issuer", "me"),
    )
    assert claims(result.stdout.strip(), aud="shop", iss="me").subject == "ann"


def test_a_private_key_signs_for_its_public_half(empty_directory: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    (empty_directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    result = run("token", "--sub", "ann", "--private-key", "key.pem", "--kid", "k1")
    keys = verifier(None, public.decode(), None, None)
    assert keys.verify(result.stdout.strip(), time.time()).subject == "ann"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Missing option '--sub'"),
        (("--sub", "ann"), 1, "--private-key FILE"),
        (("--sub", "a*", "--jwt-secret", SECRET), 1, "must not contain `*`"),
        (("--sub", "ann", "--jwt-secret", SECRET, "--publish", "a*b"), 1, "end of a pattern"),
        (("--sub", "ann", "--jwt-secret", "short"), 1, "at least 32 bytes"),
        (("--sub", "ann", "--jwt-secret", SECRET, "--expires", "0"), 2, "no duration"),
        (("--sub", "ann", "--jwt-secret", SECRET, "--expires", "1y"), 2, "no duration"),
        (("--sub", "ann", "--private-key", "nowhere"), 2, "nowhere"),
    ],
)
def test_a_token_that_cannot_be_signed_is_explained(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = run("token", *arguments, code=code)
    assert said in result.stderr
    assert result.stdout == ""
    assert SECRET not in result.stderr


def test_a_token_is_revoked_by_its_id() -> None:
    assert run("token", "revoke", "t1", "--expires", "1h").stdout == "revoked t1\n"
    run("token", "revoke", "t2")
    registry = open_database("sqlite:///pubsub.db").registry()
    assert sorted(registry.registered(time.time()).revoked) == ["t1", "t2"]
    assert list(registry.registered(time.time() + 10 * 3_600).revoked) == ["t2"]
    registry.close()
    run("token", "revoke", "", code=1)
    run("token", "revoke", "x\n", code=1)
