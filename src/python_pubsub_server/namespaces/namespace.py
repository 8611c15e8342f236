"""What a namespace is: its events, and what happens when a client comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from ..node import Node
from .session import Handler, Session, attempt


def _admit(node: Node, session: Session, environ: dict[str, Any]) -> None:
    """Everybody who passed the gate."""


def _open(node: Node, session: Session) -> None:
    """Nothing is said first."""


class Namespace(msgspec.Struct, frozen=True):
    """`connect` may refuse a client by raising a RequestError, and must leave nothing behind but
    the session's `state`, because the connection may still fail. `opened` is the first that may
    send something; no event comes before it has returned, and a `disconnect` follows it for sure.

    `is_counted`: its clients are among the node's connections (dashboards are not).
    """

    events: Mapping[str, Handler]
    disconnect: Callable[[Node, Session], None]
    connect: Callable[[Node, Session, dict[str, Any]], None] = _admit
    opened: Callable[[Node, Session], None] = _open
    is_counted: bool = True


def open_namespace(node: Node, namespace: Namespace, session: Session) -> None:
    """Say what is to be said first; what fails there becomes the client's error."""
    attempt(session, "connect", None, partial(namespace.opened, node, session))
