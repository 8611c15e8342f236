"""How a node is: what `GET /api/health` answers, in one shape for every door."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` is `ok` or `error`, and `message` why."""

    status: str
    message: str | None = None


class Health(msgspec.Struct, frozen=True):
    """`degraded`: only the bus does not work. `unhealthy`: the database, or it is stopping."""

    status: str
    timestamp: float
    version: str
    node_id: str
    uptime_seconds: float
    websocket_clients: int
    checks: Mapping[str, Check]


def status_of(*, is_draining: bool, database: str | None, bus: str | None) -> str:
    """`database` and `bus` say why these do not work, None: they do."""
    if is_draining or database is not None:
        return UNHEALTHY
    return HEALTHY if bus is None else DEGRADED


def checked(failure: str | None) -> Check:
    return Check("ok") if failure is None else Check("error", failure)
