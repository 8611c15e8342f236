"""When a replay may send more: so that what is live meanwhile still fits behind it."""

from __future__ import annotations


def has_room(unsent: int, size: int, budget: int) -> bool:
    """Whether so many bytes may go behind what is unsent: a quarter of the budget at most, and half
    of it with them. More than that may go only where nothing waits.
    """
    return not unsent or (unsent <= budget // 4 and unsent + size <= budget // 2)
