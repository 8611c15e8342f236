"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Exponential backoff with full jitter: anything from 0 to a bound that doubles each time.

    Full jitter, so that the clients of a server that comes back do not all come back at once.
    """

    random: Callable[[], float]
    first_seconds: float = 0.5
    most_seconds: float = 10.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        bound = self.first_seconds * 2.0 ** min(max(failures - 1, 0), 32)
        return self.random() * min(self.most_seconds, bound)
