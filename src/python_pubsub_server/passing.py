"""What other programs say on the bus channels of users, votes and resources: passed on, not stored.

Each node hears it itself and tells its own clients, so that each client has it once.
"""

from __future__ import annotations

from .bulletin import as_json
from .bus.bus import Bus
from .channels import NOTIFICATIONS, RESOURCES, VOTES
from .hub import Hub
from .transport.broadcasts import passing


class Passing:
    """Belongs to the event loop."""

    def __init__(self, bus: Bus, hub: Hub) -> None:
        self._hub = hub
        for channel in (f"{NOTIFICATIONS}*", VOTES, f"{RESOURCES}*"):
            bus.on_channel(channel, self._heard)

    def _heard(self, channel: str, payload: bytes) -> None:
        self._hub.tell(channel, passing(channel, as_json(payload)))
